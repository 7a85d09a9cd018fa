/* Tests of server/json_query.c: the body of a query, and values as JSON. */
#include "server/json_query.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct json_query read_ok(const char *body)
{
    struct json_query q;
    if (!json_query_read(bytes_of_string(body), &arena, &q)) {
        fail_msg("%s: %s", body, q.detail);
    }
    return q;
}

static void expect_text(struct bytes text, const char *wanted)
{
    assert_true(bytes_equal(text, bytes_of_string(wanted)));
}

/* Parameters by place keep their kind: integers of 64 bits, reals beyond, booleans as 0 and 1. */
static void test_read_by_place(void **state)
{
    (void)state;
    struct json_query q =
        read_ok("{\"params\":[1,-9223372036854775808,9223372036854775808,1.5,true,"
                "null,\"a\\u00e4\\n\"],\"sql\":\"SELECT 1\"}");
    expect_text(q.sql, "SELECT 1");
    assert_int_equal(q.argument_count, 7);
    assert_int_equal(q.arguments[0].value.kind, SQL_INTEGER);
    assert_int_equal(q.arguments[0].value.integer, 1);
    assert_true(q.arguments[1].value.integer == INT64_MIN);
    assert_int_equal(q.arguments[2].value.kind, SQL_REAL);
    assert_true(q.arguments[2].value.real > 9.2e18 && q.arguments[2].value.real < 9.3e18);
    assert_true(q.arguments[3].value.real > 1.4 && q.arguments[3].value.real < 1.6);
    assert_int_equal(q.arguments[4].value.integer, 1);
    assert_int_equal(q.arguments[5].value.kind, SQL_NULL);
    expect_text(q.arguments[6].value.bytes, "a\xc3\xa4\n");
    assert_int_equal(q.arguments[6].name.n, 0);
}

/* By name; absent and null parameters are none. */
static void test_read_by_name(void **state)
{
    (void)state;
    struct json_query q = read_ok("{\"sql\":\"x\",\"params\":{\"a\":1,\"b\":\"\"}}");
    assert_int_equal(q.argument_count, 2);
    expect_text(q.arguments[1].name, "b");
    assert_int_equal(q.arguments[1].value.kind, SQL_TEXT);
    assert_int_equal(read_ok("{\"sql\":\"x\"}").argument_count, 0);
    assert_int_equal(read_ok("{\"sql\":\"x\",\"params\":null}").argument_count, 0);
    assert_int_equal(read_ok("{\"sql\":\"x\",\"params\":[]}").argument_count, 0);
}

/* What is wrong is told with its field. */
static void test_read_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *body, *field;
        bool malformed;
    } cases[] = {
        {"", NULL, true},
        {"{", NULL, true},
        {"{\"sql\":\"x\"} x", NULL, true},
        {"{\"sql\":\"\xff\"}", NULL, true},
        {"1", NULL, false},
        {"null", NULL, false},
        {"\"x\"", NULL, false},
        {"[]", NULL, false},
        {"{}", "sql", false},
        {"{\"sql\":1}", "sql", false},
        {"{\"sql\":null}", "sql", false},
        {"{\"sql\":{}}", "sql", false},
        {"{\"sql\":[]}", "sql", false},
        {"{\"sql\":\"x\",\"sql\":\"y\"}", "sql", false},
        {"{\"sql\":\"x\",\"other\":1}", NULL, false},
        {"{\"sql\":\"x\",\"params\":1}", "params", false},
        {"{\"sql\":\"x\",\"params\":\"a\"}", "params", false},
        {"{\"sql\":\"x\",\"params\":true}", "params", false},
        {"{\"sql\":\"x\",\"params\":[[]]}", "params", false},
        {"{\"sql\":\"x\",\"params\":[{}]}", "params", false},
        {"{\"sql\":\"x\",\"params\":{\"a\":[]}}", "params", false},
        {"{\"sql\":\"x\",\"params\":{\"\":1}}", "params", false},
        {"{\"sql\":\"x\",\"params\":[],\"params\":[]}", "params", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_query q;
        if (json_query_read(bytes_of_string(cases[i].body), &arena, &q)) {
            fail_msg("not refused: %s", cases[i].body);
        }
        assert_int_equal(q.malformed, cases[i].malformed);
        if (cases[i].field == NULL) {
            assert_null(q.field);
        } else {
            assert_string_equal(q.field, cases[i].field);
        }
        assert_true(q.detail[0] != '\0');
    }
}

static void expect_json(struct sql_value value, const char *wanted)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    json_query_put_value(&b, &value);
    buf_put_byte(&b, '\0');
    assert_string_equal((const char *)b.p, wanted);
    buf_done(&b);
}

/* Reals are the shortest text that is the same number, and stay reals. */
static void test_put_value(void **state)
{
    (void)state;
    expect_json((struct sql_value){.kind = SQL_NULL}, "null");
    expect_json((struct sql_value){.kind = SQL_INTEGER, .integer = INT64_MIN},
                "-9223372036854775808");
    expect_json((struct sql_value){.kind = SQL_REAL, .real = 0.1}, "0.1");
    expect_json((struct sql_value){.kind = SQL_REAL, .real = 2}, "2.0");
    expect_json((struct sql_value){.kind = SQL_REAL, .real = 1e300}, "1e+300");
    expect_json((struct sql_value){.kind = SQL_REAL, .real = 0.1 + 0.2}, "0.30000000000000004");
    expect_json((struct sql_value){.kind = SQL_REAL, .real = (double)INFINITY}, "9e999");
    expect_json((struct sql_value){.kind = SQL_REAL, .real = -(double)INFINITY}, "-9e999");
    expect_json((struct sql_value){.kind = SQL_TEXT, .bytes = BYTES_LITERAL("a\"b")}, "\"a\\\"b\"");
    expect_json((struct sql_value){.kind = SQL_TEXT, .bytes = BYTES_LITERAL("\xff")}, "\"/w==\"");
    expect_json((struct sql_value){.kind = SQL_BLOB, .bytes = BYTES_LITERAL("ab")}, "\"YWI=\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_by_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_value, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
