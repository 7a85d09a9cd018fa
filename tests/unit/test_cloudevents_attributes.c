/* Tests of server/cloudevents_attributes.c: which names and values attributes have. */
#include "server/cloudevents_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool set(struct cloudevent *ce, const char *name, enum cloudevent_type type,
                const char *text)
{
    char why[CLOUDEVENT_WHY_MAX] = "";
    bool ok = cloudevent_set(ce, bytes_of_string(name), type, bytes_of_string(text), why);
    assert_int_equal(ok, why[0] == '\0');
    return ok;
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum cloudevent_type type;
        bool wanted;
    } cases[] = {
        {"specversion", "1.0", CLOUDEVENT_STRING, true},
        {"specversion", "1.1", CLOUDEVENT_STRING, false},
        {"id", "\xc3\xbc", CLOUDEVENT_STRING, true},
        {"id", "", CLOUDEVENT_STRING, false},
        {"id", "1", CLOUDEVENT_INTEGER, false},
        {"id", "\x7f", CLOUDEVENT_STRING, false},
        {"id", "\xc2\x80", CLOUDEVENT_STRING, false},
        {"id", "\xff", CLOUDEVENT_STRING, false},
        {"source", "/a/b?c#d", CLOUDEVENT_STRING, true},
        {"source", "urn:x:%41", CLOUDEVENT_STRING, true},
        {"source", "%4", CLOUDEVENT_STRING, false},
        {"source", "a b", CLOUDEVENT_STRING, false},
        {"dataschema", "a+b.c-1:x", CLOUDEVENT_STRING, true},
        {"dataschema", ":x", CLOUDEVENT_STRING, false},
        {"dataschema", "1a:x", CLOUDEVENT_STRING, false},
        {"dataschema", "/x", CLOUDEVENT_STRING, false},
        {"time", "2026-01-01T00:00:00.5+01:00", CLOUDEVENT_STRING, true},
        {"time", "2026-13-01T00:00:00Z", CLOUDEVENT_STRING, false},
        {"datacontenttype", "text/plain; a=\"b\"", CLOUDEVENT_STRING, true},
        {"datacontenttype", "text", CLOUDEVENT_STRING, false},
        {"x1", "", CLOUDEVENT_STRING, true},
        {"x1", "-2147483648", CLOUDEVENT_INTEGER, true},
        {"x1", "2147483648", CLOUDEVENT_INTEGER, false},
        {"x1", "00", CLOUDEVENT_INTEGER, false},
        {"x1", "-", CLOUDEVENT_INTEGER, false},
        {"x1", "1.0", CLOUDEVENT_INTEGER, false},
        {"x1", "x", CLOUDEVENT_URI, false},
        {"x1", "x", CLOUDEVENT_URI_REF, true},
        {"x1", "x", CLOUDEVENT_TIMESTAMP, false},
        {"X1", "x", CLOUDEVENT_STRING, false},
        {"x_1", "x", CLOUDEVENT_STRING, false},
        {"data", "x", CLOUDEVENT_STRING, false},
        {"", "x", CLOUDEVENT_STRING, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cloudevent ce = {0};
        if (set(&ce, cases[i].name, cases[i].type, cases[i].text) != cases[i].wanted) {
            fail_msg("%s = '%s' of type %d", cases[i].name, cases[i].text, (int)cases[i].type);
        }
    }
}

static void test_each_is_set_once_and_there_are_not_too_many(void **state)
{
    (void)state;
    static char names[CLOUDEVENT_EXTENSIONS_MAX + 1][8];
    struct cloudevent ce = {0};
    assert_true(set(&ce, "id", CLOUDEVENT_STRING, "1"));
    assert_false(set(&ce, "id", CLOUDEVENT_STRING, "1"));
    for (size_t i = 0; i <= CLOUDEVENT_EXTENSIONS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "x%zu", i);
        assert_int_equal(set(&ce, names[i], CLOUDEVENT_STRING, ""), i < CLOUDEVENT_EXTENSIONS_MAX);
    }
    assert_false(set(&ce, "x0", CLOUDEVENT_STRING, "other"));
    assert_int_equal(ce.extension_count, CLOUDEVENT_EXTENSIONS_MAX);
}

static void test_media_types(void **state)
{
    (void)state;
    static const struct {
        const char *media;
        bool json, text;
    } cases[] = {
        {"", true, false},
        {"application/json", true, false},
        {"text/JSON ;charset=utf-8", true, true},
        {"application/x+json", true, false},
        {"application/jsonx", false, false},
        {"text/plain", false, true},
        {"text/plain; charset=UTF-8", false, true},
        {"text/plain; charset=latin-1", false, false},
        {"application/octet-stream", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(cloudevent_media_is_json(bytes_of_string(cases[i].media)), cases[i].json);
        assert_int_equal(cloudevent_media_is_text(bytes_of_string(cases[i].media)), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_each_is_set_once_and_there_are_not_too_many),
        cmocka_unit_test(test_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
