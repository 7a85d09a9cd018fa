/* Tests of clients/c/json_raw.c and document_json.c: values are found whole, whatever is in them,
 * and text that is cut anywhere is read to its end and no further. */
#include "clients/c/document_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct daybook_bytes bytes(const char *text)
{
    return (struct daybook_bytes){text, strlen(text)};
}

static void assert_member(const char *object, const char *name, const char *expected)
{
    struct daybook_bytes raw;
    assert_true(daybook_json_raw_member(bytes(object), name, &raw));
    assert_int_equal(raw.n, strlen(expected));
    assert_memory_equal(raw.p, expected, raw.n);
}

/* Brackets, quotes and names inside of strings and of nested values are nothing. */
static void test_json_raw_member(void **state)
{
    (void)state;
    static const char object[] =
        " { \"a\" : 1.10 , \"s\":\"x\\\"},{\\\\\",\"o\":{\"s\":[1,{\"t\":\"]\"}]}, \"e\":[ ] ,"
        "\"n\":null,\"t\":-1e400}";
    assert_member(object, "a", "1.10");
    assert_member(object, "s", "\"x\\\"},{\\\\\"");
    assert_member(object, "o", "{\"s\":[1,{\"t\":\"]\"}]}");
    assert_member(object, "e", "[ ]");
    assert_member(object, "n", "null");
    assert_member(object, "t", "-1e400");
    struct daybook_bytes raw;
    assert_false(daybook_json_raw_member(bytes(object), "x", &raw));
    assert_false(daybook_json_raw_member(bytes("{}"), "x", &raw));
    assert_false(daybook_json_raw_member(bytes(""), "x", &raw));
}

static void test_json_raw_element(void **state)
{
    (void)state;
    static const char *const expected[] = {"1", "{\"a\":[2]}", "\"]\"", "[]"};
    struct daybook_bytes array = bytes(" [ 1,{\"a\":[2]} , \"]\",[]] "), element;
    size_t at = 0, n = 0;
    while (daybook_json_raw_element(array, &at, &element)) {
        assert_true(n < 4);
        assert_int_equal(element.n, strlen(expected[n]));
        assert_memory_equal(element.p, expected[n], element.n);
        n++;
    }
    assert_int_equal(n, 4);
    at = 0;
    assert_false(daybook_json_raw_element(bytes("[]"), &at, &element));
    at = 0;
    assert_false(daybook_json_raw_element(bytes(""), &at, &element));
}

/* Each prefix in memory of exactly its size, so that a sanitizer sees a byte too many. */
static void test_json_raw_cut(void **state)
{
    (void)state;
    static const char text[] =
        "{\"documents\":[{\"key\":\"a\\u00e4\",\"document\":{\"n\":[1,\"\\\\\"]}},{}],"
        "\"next\":\"a\",\"end\":true}";
    for (size_t n = 0; n < sizeof text; n++) {
        uint8_t *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy + 1, text, n);
        struct daybook_bytes cut = {copy + 1, n}, raw, element;
        (void)daybook_json_raw_member(cut, "end", &raw);
        if (daybook_json_raw_member(cut, "documents", &raw)) {
            for (size_t at = 0; daybook_json_raw_element(raw, &at, &element);) {
                assert_true(at <= raw.n);
                (void)daybook_json_raw_member(element, "document", &raw);
            }
        }
        free(copy);
    }
}

static void test_json_document(void **state)
{
    (void)state;
    struct daybook *db = NULL;
    struct daybook_document d;
    assert_int_equal(daybook_open("http://127.0.0.1:1", NULL, &db), DAYBOOK_OK);
    struct daybook_bytes json =
        bytes("{\"key\":\"\\u00e4\\n\",\"document\":{\"x\":1.10},\"position\":12}");
    assert_int_equal(daybook_json_document(db, json, &db->arena, &d), DAYBOOK_OK);
    assert_string_equal(d.key, "\xc3\xa4\n");
    assert_int_equal(d.position, 12);
    assert_int_equal(d.json.n, 10);
    assert_memory_equal(d.json.p, "{\"x\":1.10}", 10);
    json = bytes("{\"key\":\"a\",\"document\":null}");
    assert_int_equal(daybook_json_document(db, json, &db->arena, &d), DAYBOOK_OK);
    assert_int_equal(d.json.n, 0);
    assert_int_equal(daybook_json_document(db, bytes("{\"key\":\"a\"}"), &db->arena, &d),
                     DAYBOOK_ERR_PROTOCOL);
    daybook_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_raw_member),
        cmocka_unit_test(test_json_raw_element),
        cmocka_unit_test(test_json_raw_cut),
        cmocka_unit_test(test_json_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
