/* Tests of clients/cli/import_line.h. */
#include "clients/cli/import_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct daybook_arena arena;
static char why[IMPORT_WHY_SIZE];

static int teardown(void **state)
{
    (void)state;
    daybook_arena_done(&arena);
    return 0;
}

static struct import_event parse_ok(const char *line)
{
    struct import_event event = {0};
    if (!import_line_parse(&arena, line, strlen(line), &event, why)) {
        fail_msg("%s: %s", line, why);
    }
    return event;
}

static void parse_fails(const char *line, const char *reason)
{
    struct import_event event = {.line = 7};
    assert_false(import_line_parse(&arena, line, strlen(line), &event, why));
    if (strstr(why, reason) == NULL) {
        fail_msg("%s: expected \"%s\", got \"%s\"", line, reason, why);
    }
    assert_int_equal(event.line, 7);
    assert_null(event.event.type);
}

static void assert_bytes(struct daybook_bytes bytes, const char *text)
{
    assert_int_equal(bytes.n, strlen(text));
    assert_memory_equal(bytes.p, text, bytes.n);
}

/* Every field arrives where it belongs. */
static void test_parse_all_fields(void **state)
{
    (void)state;
    static const uint8_t id[16] = {0x01, 0x92, 0xf0, 0xc0, 0xaa, 0xaa, 0x70, 0x00,
                                   0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0f};
    struct import_event e =
        parse_ok("{\"stream\":\"order-1\",\"type\":\"Added\",\"time\":\"2026-01-01T00:00:00Z\","
                 "\"data\":{\"a\":1},\"id\":\"0192F0C0-aaaa-7000-8000-00000000000f\","
                 "\"metadata\":{\"user\":\"7\"},\"tags\":[\"sku:a\",\"x\"],"
                 "\"content_type\":\"application/vnd.x+json\",\"schema_version\":4294967295,"
                 "\"position\":5,\"revision\":18446744073709551616}");
    assert_string_equal(e.stream, "order-1");
    assert_string_equal(e.event.type, "Added");
    assert_string_equal(e.event.occurred_at, "2026-01-01T00:00:00Z");
    assert_bytes(e.event.data, "{\"a\":1}");
    assert_bytes(e.event.metadata, "{\"user\":\"7\"}");
    assert_memory_equal(e.event.id, id, 16);
    assert_int_equal(e.event.tags_n, 2);
    assert_string_equal(e.event.tags[0], "sku:a");
    assert_string_equal(e.event.tags[1], "x");
    assert_string_equal(e.event.content_type, "application/vnd.x+json");
    assert_int_equal(e.event.schema_version, UINT32_MAX);
}

/* The least a line can have. */
static void test_parse_least(void **state)
{
    (void)state;
    struct import_event e = parse_ok("{\"type\":\"T\"}");
    assert_null(e.stream);
    assert_null(e.event.id);
    assert_null(e.event.occurred_at);
    assert_null(e.event.content_type);
    assert_int_equal(e.event.data.n, 0);
    assert_int_equal(e.event.metadata.n, 0);
    assert_int_equal(e.event.tags_n, 0);
}

/* Data is the source's bytes, whatever value it is and whatever stands around it. */
static void test_parse_data_verbatim(void **state)
{
    (void)state;
    static const char *const values[] = {
        "{\"a\":1.10,\"b\":1e400,\"c\":9223372036854775809,\"a\":2}",
        "null",
        "true",
        "false",
        "0",
        "-0.0",
        "1E+2",
        "123456789012345678901234567890",
        "\"\"",
        "\"text, with: \\\"quotes\\\" \\\\ \"",
        "\"\\ud800\"",
        "\"\\u0000 \xc3\xa9 \xf0\x9f\x98\x80\"",
        "[]",
        "{}",
        "[ 1 , [ 2 ] ,{ \"data\" : 3 } ]",
        "{ \"stream\" : { \"type\" : [ { } , null , true , 1 , \"x\" ] } }",
    };
    static const char *const frames[][2] = {
        {"{\"type\":\"T\",\"data\":", "}"},
        {" { \"data\" : ", " , \"type\" : \"T\" } "},
        {"{\"data\":\t", "\t,\"type\":\"T\",\"tags\":[]}"},
    };
    for (size_t f = 0; f < sizeof frames / sizeof frames[0]; f++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            char line[400];
            (void)snprintf(line, sizeof line, "%s%s%s", frames[f][0], values[v], frames[f][1]);
            assert_bytes(parse_ok(line).event.data, values[v]);
        }
    }
}

/* Metadata is kept byte for byte too, and what is inside it is not looked at. */
static void test_parse_metadata_verbatim(void **state)
{
    (void)state;
    struct import_event e = parse_ok(
        "{\"metadata\": { \"type\" : [1.0, {\"tags\":null}] } ,\"type\":\"T\",\"data\": 1 }");
    assert_bytes(e.event.metadata, "{ \"type\" : [1.0, {\"tags\":null}] }");
    assert_bytes(e.event.data, "1");
}

/* Escapes in our own strings are decoded. */
static void test_parse_escapes(void **state)
{
    (void)state;
    struct import_event e =
        parse_ok("{\"stream\":\"a\\u00e9\\ud83d\\ude00?\\\\ud800\",\"type\":\"\\\"T\\/\"}");
    assert_string_equal(e.stream, "a\xc3\xa9\xf0\x9f\x98\x80?\\ud800");
    assert_string_equal(e.event.type, "\"T/");
}

/* `null` is the same as absent, but for data, where it is a value. */
static void test_parse_null(void **state)
{
    (void)state;
    struct import_event e =
        parse_ok("{\"type\":\"T\",\"data\":null,\"id\":null,\"metadata\":null,\"tags\":null,"
                 "\"time\":null,\"schema_version\":null,\"content_type\":null}");
    assert_bytes(e.event.data, "null");
    assert_null(e.event.id);
    assert_int_equal(e.event.metadata.n, 0);
    assert_int_equal(e.event.tags_n, 0);
    assert_null(e.event.occurred_at);
}

/* occurred_at goes before time. */
static void test_parse_occurred_at(void **state)
{
    (void)state;
    assert_string_equal(
        parse_ok("{\"type\":\"T\",\"occurred_at\":\"o\",\"time\":\"t\"}").event.occurred_at, "o");
    assert_string_equal(parse_ok("{\"time\":\"t\",\"type\":\"T\"}").event.occurred_at, "t");
}

/* Binary data is decoded. */
static void test_parse_base64(void **state)
{
    (void)state;
    struct import_event e =
        parse_ok("{\"type\":\"T\",\"content_type\":\"image/png\",\"data_base64\":\"AP8K\"}");
    assert_int_equal(e.event.data.n, 3);
    assert_memory_equal(e.event.data.p, "\x00\xff\n", 3);
    e = parse_ok("{\"type\":\"T\",\"data_base64\":\"ewogfQ==\"}");
    assert_bytes(e.event.data, "{\n }");
    e = parse_ok("{\"type\":\"T\",\"content_type\":\"text/plain\",\"data_base64\":\"\"}");
    assert_int_equal(e.event.data.n, 0);
}

/* What is wrong is said by name. */
static void test_parse_reasons(void **state)
{
    (void)state;
    parse_fails("", "not valid JSON");
    parse_fails("hello", "not valid JSON, at byte");
    parse_fails("[]", "not a JSON object");
    parse_fails("\"x\"", "not a JSON object");
    parse_fails("1", "not ");
    parse_fails("null", "not a JSON object");
    parse_fails("{\"type\":\"T\"", "not valid JSON");
    parse_fails("{\"type\":\"T\"} {}", "not valid JSON");
    parse_fails("{\"type\":\"T\",\"data\":01}", "not valid JSON");
    parse_fails("{\"type\":\"T\",\"data\":\"\xff\"}", "not valid JSON");
    parse_fails("{\"data\":{}}", "type is missing");
    parse_fails("{\"type\":7}", "type must be a string");
    parse_fails("{\"type\":{}}", "type must be a string");
    parse_fails("{\"type\":[]}", "type must be a string");
    parse_fails("{\"type\":true}", "type must be a string");
    parse_fails("{\"type\":\"T\",\"typo\":1}", "there is no field typo");
    parse_fails("{\"type\":\"T\",\"type\":\"U\"}", "type comes twice");
    parse_fails("{\"type\":\"T\",\"data\":1,\"data\":2}", "data comes twice");
    parse_fails("{\"type\":\"T\",\"id\":\"x\"}", "id is not a UUID");
    parse_fails("{\"type\":\"T\",\"metadata\":[]}", "metadata must be an object");
    parse_fails("{\"type\":\"T\",\"metadata\":\"\"}", "metadata must be an object");
    parse_fails("{\"type\":\"T\",\"tags\":{}}", "tags must be an array of strings");
    parse_fails("{\"type\":\"T\",\"tags\":[1]}", "tags must be an array of strings");
    parse_fails("{\"type\":\"T\",\"tags\":[[\"a\"]]}", "tags must be an array of strings");
    parse_fails("{\"type\":\"T\",\"tags\":[null]}", "tags must be an array of strings");
    parse_fails("{\"type\":\"T\",\"schema_version\":-1}", "schema_version must be a whole number");
    parse_fails("{\"type\":\"T\",\"schema_version\":1.5}", "schema_version must be a whole number");
    parse_fails("{\"type\":\"T\",\"schema_version\":4294967296}", "at most 4294967295");
    parse_fails("{\"type\":\"a\\u0000b\"}", "type has a NUL character");
    parse_fails("{\"type\":\"\\ud800\"}", "half of a surrogate pair");
    parse_fails("{\"type\":\"\\udc00\\ud800\"}", "half of a surrogate pair");
    parse_fails("{\"type\":\"T\",\"tags\":[\"ok\" , \"\\ud800x\"]}", "half of a surrogate pair");
    parse_fails("{\"type\":\"T\",\"data\":1,\"data_base64\":\"\"}", "both data and data_base64");
    parse_fails("{\"type\":\"T\",\"data_base64\":\"A\"}", "not base64");
    parse_fails("{\"type\":\"T\",\"data_base64\":\"A===\"}", "not base64");
    parse_fails("{\"type\":\"T\",\"data_base64\":\"AB==\"}", "not base64");
    parse_fails("{\"type\":\"T\",\"data_base64\":\"QUJ\\u0000\"}", "NUL");
    parse_fails("{\"type\":\"T\",\"data\":\"x\",\"content_type\":\"text/plain\"}",
                "use data_base64");
}

/* Deep nesting is the server's to refuse; here it must only do no harm. */
static void test_parse_deep(void **state)
{
    (void)state;
    static char line[200100];
    size_t n = 0;
    n += (size_t)snprintf(line, sizeof line, "{\"type\":\"T\",\"data\":");
    size_t start = n;
    memset(line + n, '[', 100000);
    memset(line + n + 100000, ']', 100000 - 100);
    n += 200000 - 100;
    struct import_event event;
    assert_false(import_line_parse(&arena, line, n, &event, why));
    memset(line + n, ']', 100);
    n += 100;
    line[n++] = '}';
    assert_true(import_line_parse(&arena, line, n, &event, why));
    assert_int_equal(event.event.data.n, n - start - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_all_fields),    cmocka_unit_test(test_parse_least),
        cmocka_unit_test(test_parse_data_verbatim), cmocka_unit_test(test_parse_metadata_verbatim),
        cmocka_unit_test(test_parse_escapes),       cmocka_unit_test(test_parse_null),
        cmocka_unit_test(test_parse_occurred_at),   cmocka_unit_test(test_parse_base64),
        cmocka_unit_test(test_parse_reasons),       cmocka_unit_test(test_parse_deep),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
