/* Tests of clients/c/scan.h, and of the event and the batch in JSON that are made with it. */
#include "clients/c/group_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct daybook_arena arena;

static int teardown(void **state)
{
    (void)state;
    daybook_arena_done(&arena);
    return 0;
}

static struct daybook_bytes text(const char *text)
{
    return (struct daybook_bytes){text, strlen(text)};
}

static void assert_value(struct daybook_bytes value, const char *expected)
{
    assert_int_equal(value.n, strlen(expected));
    assert_memory_equal(value.p, expected, value.n);
}

/* A value ends where it ends, whatever stands behind it. */
static void test_value(void **state)
{
    (void)state;
    assert_value(daybook_scan_value(text(" \n 12.50,")), "12.50");
    assert_value(daybook_scan_value(text("\"a\\\"b]\" x")), "\"a\\\"b]\"");
    assert_value(daybook_scan_value(text("{\"a\":[1,{\"}\":\"]\"}]}}")),
                 "{\"a\":[1,{\"}\":\"]\"}]}");
    assert_value(daybook_scan_value(text("null")), "null");
    static const char *const none[] = {"", "  ", "\"a", "\"\\", "[1", "{\"a\":]}", ":", "}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(daybook_scan_value(text(none[i])).n, 0);
    }
}

/* Deep nesting is an end, not a crash. */
static void test_depth(void **state)
{
    (void)state;
    char deep[2 * DAYBOOK_SCAN_DEPTH + 2];
    memset(deep, '[', DAYBOOK_SCAN_DEPTH + 1);
    memset(deep + DAYBOOK_SCAN_DEPTH + 1, ']', DAYBOOK_SCAN_DEPTH + 1);
    assert_int_equal(daybook_scan_value((struct daybook_bytes){deep, sizeof deep}).n, 0);
    struct daybook_bytes inner = {deep + 1, sizeof deep - 2};
    assert_int_equal(daybook_scan_value(inner).n, inner.n);
}

static void test_members(void **state)
{
    (void)state;
    struct daybook_bytes o = text("{ \"a\" : 1 , \"b\":[ ],\"c\" : {\"a\":2}}");
    assert_value(daybook_scan_find(o, "a"), "1");
    assert_value(daybook_scan_find(o, "b"), "[ ]");
    assert_value(daybook_scan_find(daybook_scan_find(o, "c"), "a"), "2");
    assert_int_equal(daybook_scan_find(o, "d").n, 0);
    assert_int_equal(daybook_scan_find(text("7"), "a").n, 0);
    assert_int_equal(daybook_scan_count(text("[1,\"2,3\",[4,5]]")), 3);
    assert_int_equal(daybook_scan_count(text("[]")), 0);
}

/* A walk over what is cut short says so. */
static void test_damage(void **state)
{
    (void)state;
    static const char *const damaged[] = {"{\"a\" 1}", "{\"a\":1 \"b\":2}", "{\"a\"}", "{\"a\":}"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct daybook_bytes name, value;
        struct daybook_scan s = daybook_scan_object(text(damaged[i]));
        while (daybook_scan_member(&s, &name, &value)) {
        }
        assert_true(s.damaged);
    }
}

static void test_strings(void **state)
{
    (void)state;
    struct daybook_bytes all =
        text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"");
    assert_string_equal(daybook_scan_string(&arena, all),
                        "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    static const char *const none[] = {"",
                                       "1",
                                       "\"\\x\"",
                                       "\"\\u12\"",
                                       "\"\\ud83d\"",
                                       "\"\\u0000\"",
                                       "\"\\ud83d\\u0041\"",
                                       "\"\\ude00\""};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_null(daybook_scan_string(&arena, text(none[i])));
    }
}

static void test_numbers(void **state)
{
    (void)state;
    assert_true(daybook_scan_number(text("18446744073709551615")) == UINT64_MAX);
    assert_int_equal(daybook_scan_number(text("18446744073709551616")), 0);
    assert_int_equal(daybook_scan_number(text("-1")), 0);
    assert_int_equal(daybook_scan_number(text("1.0")), 0);
    assert_true(daybook_scan_time(text("\"1970-01-01T00:00:01.5Z\"")) == 1500000);
    assert_true(daybook_scan_time(text("\"2026-11-28T04:18:51.591778Z\"")) == 1795839531591778);
    assert_true(daybook_scan_time(text("\"2026-11-28T04:18:51Z\"")) == 1795839531000000);
    assert_true(daybook_scan_time(text("\"2026-11-28 04:18:51Z\"")) == 0);
    assert_true(daybook_scan_time(text("\"2026-11-28T04:18:51+01:00\"")) == 0);
}

#define EVENT                                                                   \
    "{\"position\":52,\"stream\":\"s-\\u00e9\",\"revision\":11,"                \
    "\"id\":\"478eea93-99b9-5f83-b013-da45170a2ab1\",\"type\":\"T\","           \
    "\"time\":\"2026-11-28T04:18:51.591778Z\",\"content_type\":\"text/plain\"," \
    "\"data_base64\":\"AP8KYQ==\",\"metadata\":{ "                              \
    "\"m\":1.0},\"tags\":[\"a\",\"b\"],\"schema_version\":7}"

static void test_event(void **state)
{
    (void)state;
    struct daybook_event e;
    assert_true(daybook_event_scan(&arena, text(EVENT), &e));
    assert_int_equal(e.position, 52);
    assert_int_equal(e.revision, 11);
    assert_string_equal(e.stream, "s-\xc3\xa9");
    assert_string_equal(e.content_type, "text/plain");
    assert_int_equal(e.id[0], 0x47);
    assert_int_equal(e.id[15], 0xb1);
    assert_int_equal(e.data.n, 4);
    assert_memory_equal(e.data.p, "\0\xff\na", 4);
    assert_value(e.metadata, "{ \"m\":1.0}");
    assert_int_equal(e.tags_n, 2);
    assert_string_equal(e.tags[1], "b");
    assert_int_equal(e.schema_version, 7);
    assert_true(daybook_event_scan(
        &arena, text("{\"position\":1,\"stream\":\"s\",\"data\":null,\"redacted\":true}"), &e));
    assert_true(e.redacted && e.data.n == 0);
}

/* Whatever the bytes are, nothing outside of them is read: each text has just its own memory. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint64_t random = 0x9e3779b97f4a7c15;
    for (int round = 0; round < 20000; round++) {
        size_t n = sizeof EVENT - 1;
        random = random * 6364136223846793005 + 1442695040888963407;
        n = round % 2 == 0 ? n : (random >> 33) % n;
        char *bytes = malloc(n + 1);
        assert_non_null(bytes);
        memcpy(bytes, EVENT, n);
        for (int i = 0; i < 2 && n > 0; i++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            bytes[(random >> 33) % n] = "\"\\{}[],:u0 \0x"[(random >> 20) % 13];
        }
        char *exact = realloc(bytes, n > 0 ? n : 1);
        assert_non_null(exact);
        struct daybook_event e;
        struct daybook_bytes value = daybook_scan_value((struct daybook_bytes){exact, n});
        (void)daybook_event_scan(&arena, value, &e);
        (void)daybook_scan_string(&arena, (struct daybook_bytes){exact, n});
        free(exact);
        daybook_arena_reset(&arena);
    }
}

/* A batch as JSON: ids, expectations, JSON as it is, other data in base64. */
static void test_batch(void **state)
{
    (void)state;
    static const uint8_t id[16] = {0x47, 0x8e, 0xea, 0x93, 0x99, 0xb9, 0x5f, 0x83,
                                   0xb0, 0x13, 0xda, 0x45, 0x17, 0x0a, 0x2a, 0xb1};
    static const char *const tags[] = {"a\"b"};
    const struct daybook_new_event events[] = {
        {.id = id,
         .type = "T",
         .data = {"{ \"n\":1.0}", 10},
         .metadata = {"{}", 2},
         .tags = tags,
         .tags_n = 1,
         .occurred_at = "2026-01-01T00:00:00Z",
         .schema_version = 3},
        {.id = id, .type = "T"},
        {.id = id, .type = "T", .content_type = "text/plain", .data = {"\0\xff\na", 4}},
    };
    struct daybook *db = NULL;
    struct daybook_buffer b;
    daybook_buffer_init(&b, 1 << 20);
    assert_int_equal(daybook_open("http://127.0.0.1:1", NULL, &db), DAYBOOK_OK);
    struct daybook_batch *batch = daybook_batch_new(db);
    assert_int_equal(
        daybook_batch_append(batch, "s", (struct daybook_expect){DAYBOOK_REVISION, 4}, events, 2),
        DAYBOOK_OK);
    assert_int_equal(daybook_batch_append(batch, "t", (struct daybook_expect){DAYBOOK_NO_STREAM, 0},
                                          events + 2, 1),
                     DAYBOOK_OK);
    assert_int_equal(daybook_batch_check(batch, "u", (struct daybook_expect){DAYBOOK_ANY, 0}),
                     DAYBOOK_OK);
    assert_true(daybook_json_add_batch(&b, batch) && daybook_buffer_add_byte(&b, '\0'));
#define ID "{\"id\":\"478eea93-99b9-5f83-b013-da45170a2ab1\",\"type\":\"T\""
    assert_string_equal((const char *)b.p,
                        "{\"appends\":[{\"stream\":\"s\",\"expected_revision\":4,\"events\":[" ID
                        ",\"data\":{ \"n\":1.0},\"metadata\":{},\"tags\":[\"a\\\"b\"],"
                        "\"occurred_at\":\"2026-01-01T00:00:00Z\",\"schema_version\":3}," ID
                        ",\"data\":null}]},"
                        "{\"stream\":\"t\",\"expected_revision\":\"no_stream\",\"events\":[" ID
                        ",\"content_type\":\"text/plain\",\"data_base64\":\"AP8KYQ==\"}]}],"
                        "\"checks\":[{\"stream\":\"u\",\"expected_revision\":\"any\"}]}");
    daybook_batch_free(batch);
    daybook_close(db);
    daybook_buffer_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value),   cmocka_unit_test(test_depth),
        cmocka_unit_test(test_members), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_strings), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_event),   cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
