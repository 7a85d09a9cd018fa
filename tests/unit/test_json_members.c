/* Tests of server/json_members.h: what is handed over of an object's members, and what is no
 * object.
 */
#include "server/json_members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Writes down what it is handed. */
struct notes {
    char text[1024];
    const char *stop_at; /* a member's name */
};

static bool note_open(void *ctx)
{
    struct notes *n = ctx;
    strcat(n->text, "{");
    return true;
}

static bool note_member(void *ctx, const struct json_found *found)
{
    struct notes *n = ctx;
    size_t at = strlen(n->text);
    struct bytes text = found->text.p == NULL ? BYTES_LITERAL("-") : found->text;
    snprintf(n->text + at, sizeof n->text - at, "%.*s:%d:%.*s:%.*s;", BYTES_ARGS(found->name),
             (int)found->kind, BYTES_ARGS(found->source), BYTES_ARGS(text));
    return n->stop_at == NULL || !bytes_equal(found->name, bytes_of_string(n->stop_at));
}

static bool note_close(void *ctx)
{
    struct notes *n = ctx;
    strcat(n->text, "}");
    return true;
}

static enum json_members_result read_text(const char *text, bool list, struct notes *n)
{
    char detail[JSON_DETAIL_MAX] = "";
    struct arena arena;
    struct json_members_handler handler = {note_open, note_member, note_close, n};
    arena_init(&arena, 256, 4096);
    enum json_members_result result =
        json_read_members(bytes_of_string(text), list, &arena, &handler, detail);
    assert_int_equal(result == JSON_MEMBERS_INVALID, detail[0] != '\0');
    arena_done(&arena);
    return result;
}

/* Names and strings are decoded, and the source of every value is exactly what stands there. */
static void test_members_are_handed_over(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
        bool list;
    } cases[] = {
        {"{}", "{}", false},
        {" {\"a\" : 1.50 , \"b\":\"x\"}\n", "{a:2:1.50:-;b:3:\"x\":x;}", false},
        {"{\"a\":null,\"b\":true,\"c\":-0}", "{a:0:null:-;b:1:true:-;c:2:-0:-;}", false},
        {"{\"\\u0061\":\"\\u00e9\\n\"}", "{a:3:\"\\u00e9\\n\":\xc3\xa9\n;}", false},
        {"{\"a\":{\"b\":[1, {}]} ,\"c\":[ ] }", "{a:4:{\"b\":[1, {}]}:-;c:5:[ ]:-;}", false},
        {"{\"a\":1,\"a\":2}", "{a:2:1:-;a:2:2:-;}", false},
        {"[]", "", true},
        {"[{\"a\":1}, {\"b\":[{}]}]", "{a:2:1:-;}{b:5:[{}]:-;}", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct notes n = {.text = ""};
        assert_int_equal(read_text(cases[i].text, cases[i].list, &n), JSON_MEMBERS_OK);
        assert_string_equal(n.text, cases[i].wanted);
    }
}

static void test_what_is_no_object_is_told_from_what_is_no_json(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool list;
        enum json_members_result wanted;
    } cases[] = {
        {"", false, JSON_MEMBERS_INVALID},
        {"{", false, JSON_MEMBERS_INVALID},
        {"{\"a\":}", false, JSON_MEMBERS_INVALID},
        {"{} x", false, JSON_MEMBERS_INVALID},
        {"{}\"x", false, JSON_MEMBERS_INVALID},
        {"[]\"]", true, JSON_MEMBERS_INVALID},
        {"{\"a\":[1}", false, JSON_MEMBERS_INVALID},
        {"{\"a\":8", false, JSON_MEMBERS_INVALID},
        {"{\"a\":\"x\",\"b\": 12", false, JSON_MEMBERS_INVALID},
        {"{\"a\":[1", false, JSON_MEMBERS_INVALID},
        {"\xff", false, JSON_MEMBERS_INVALID},
        {"{\"a\":\"\\ud800\"}", false, JSON_MEMBERS_INVALID},
        {"{\"\\udc00\":1}", false, JSON_MEMBERS_INVALID},
        {"1", false, JSON_MEMBERS_KIND},
        {"\"x\"", false, JSON_MEMBERS_KIND},
        {"[]", false, JSON_MEMBERS_KIND},
        {"{}", true, JSON_MEMBERS_KIND},
        {"null", true, JSON_MEMBERS_KIND},
        {"[1]", true, JSON_MEMBERS_KIND},
        {"[{},[]]", true, JSON_MEMBERS_KIND},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct notes n = {.text = ""};
        int result = (int)read_text(cases[i].text, cases[i].list, &n);
        if (result != (int)cases[i].wanted) {
            fail_msg("%s: %d, not %d", cases[i].text, result, (int)cases[i].wanted);
        }
    }
}

static void test_depth_and_memory_have_limits(void **state)
{
    (void)state;
    char deep[400] = "{\"a\":";
    memset(deep + 5, '[', JSON_DEPTH_MAX);
    memset(deep + 5 + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    strcpy(deep + 5 + 2 * JSON_DEPTH_MAX, "}");
    struct notes n = {.text = ""};
    assert_int_equal(read_text(deep, false, &n), JSON_MEMBERS_OK);
    strcpy(deep, "{\"a\":[");
    memset(deep + 6, '[', JSON_DEPTH_MAX);
    memset(deep + 6 + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX + 1);
    strcpy(deep + 7 + 2 * JSON_DEPTH_MAX, "}");
    assert_int_equal(read_text(deep, false, &n), JSON_MEMBERS_INVALID);

    static char long_text[6000] = "{\"a\":\"\\n";
    memset(long_text + 8, 'x', 5000);
    strcpy(long_text + 5008, "\"}");
    assert_int_equal(read_text(long_text, false, &n), JSON_MEMBERS_MEMORY);
}

static void test_the_handler_can_stop(void **state)
{
    (void)state;
    struct notes n = {.text = "", .stop_at = "b"};
    assert_int_equal(read_text("{\"a\":1,\"b\":[2],\"c\":3}", false, &n), JSON_MEMBERS_STOPPED);
    assert_string_equal(n.text, "{a:2:1:-;b:5:[2]:-;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_handed_over),
        cmocka_unit_test(test_what_is_no_object_is_told_from_what_is_no_json),
        cmocka_unit_test(test_depth_and_memory_have_limits),
        cmocka_unit_test(test_the_handler_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
