/* JSON out: the exact text of events and answers. */
#include "server/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t id[UUID_BYTES] = {1,    0x92, 0xd3, 0xc4, 0x5e, 0x6f, 0x7a, 0x8b,
                                       0x9c, 0x0d, 0x1e, 0x2f, 3,    4,    5,    6};

static struct event small_event(void)
{
    return (struct event){
        .position = 1234567890123,
        .revision = 7,
        .time_us = 1767225600000001,
        .stream = BYTES_LITERAL("loan-1"),
        .id = bytes_of(id, sizeof id),
        .type = BYTES_LITERAL("Opened"),
        .data = BYTES_LITERAL("{\"a\":1.10}"),
    };
}

static void assert_buf(struct buf *b, const char *expected)
{
    assert_int_equal(buf_status(b), ERR_OK);
    buf_put_byte(b, 0);
    assert_string_equal((const char *)b->p, expected);
    buf_done(b);
}

#define SMALL_HEAD                                                         \
    "{\"position\":1234567890123,\"stream\":\"loan-1\",\"revision\":7,"    \
    "\"id\":\"0192d3c4-5e6f-7a8b-9c0d-1e2f03040506\",\"type\":\"Opened\"," \
    "\"time\":\"2026-01-01T00:00:00.000001Z\""

static void test_small_event(void **state)
{
    (void)state;
    struct buf b;
    struct event e = small_event();
    buf_init(&b, 1u << 20);
    json_put_event(&b, &e);
    assert_buf(&b, SMALL_HEAD ",\"content_type\":\"application/json\",\"data\":{\"a\":1.10}}");
}

static void test_event_with_everything(void **state)
{
    (void)state;
    struct buf b;
    struct event e = small_event();
    e.occurred_at = BYTES_LITERAL("2026-01-01T00:00:00+01:00");
    e.content_type = BYTES_LITERAL("application/vnd.x+json; a=\"b\"");
    e.metadata = BYTES_LITERAL("{\"u\":\"\\u0041\"}");
    e.schema_version = 4294967295;
    e.tag_count = 2;
    e.tags[0] = BYTES_LITERAL("sku:a");
    e.tags[1] = BYTES_LITERAL("a\"b\\c\xc3\xa9");
    buf_init(&b, 1u << 20);
    json_put_event(&b, &e);
    assert_buf(&b, SMALL_HEAD
               ",\"occurred_at\":\"2026-01-01T00:00:00+01:00\","
               "\"content_type\":\"application/vnd.x+json; a=\\\"b\\\"\",\"data\":{\"a\":1.10},"
               "\"metadata\":{\"u\":\"\\u0041\"},\"tags\":[\"sku:a\",\"a\\\"b\\\\c\xc3\xa9\"],"
               "\"schema_version\":4294967295}");
}

/* Data that is not JSON travels as base64, of every remainder. */
static void test_binary_data(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "AA==", "AAE=", "AAEC", "AAECAw=="};
    static const uint8_t data[] = {0, 1, 2, 3};
    for (size_t n = 0; n <= sizeof data; n++) {
        char expected[512];
        struct buf b;
        struct event e = small_event();
        e.content_type = BYTES_LITERAL("image/png");
        e.data = bytes_of(data, n);
        e.metadata = BYTES_LITERAL("{}");
        snprintf(expected, sizeof expected,
                 SMALL_HEAD
                 ",\"content_type\":\"image/png\",\"data_base64\":\"%s\",\"metadata\":{}}",
                 texts[n]);
        buf_init(&b, 1u << 20);
        json_put_event(&b, &e);
        assert_buf(&b, expected);
    }
}

/* One event is one line, whatever white space its data has. */
static void test_lines(void **state)
{
    (void)state;
    struct buf b;
    struct event e = small_event();
    e.data = BYTES_LITERAL("{\r\n\"a\":\n1}");
    e.metadata = BYTES_LITERAL("{\n}");
    buf_init(&b, 1u << 20);
    json_put_event_line(&b, &e);
    assert_buf(&b, SMALL_HEAD
               ",\"content_type\":\"application/json\",\"data\":{  \"a\": 1},\"metadata\":{ }}\n");
}

/* The longest names, every byte of them escaped, fit what is reserved (the sanitizer looks). */
static void test_longest_names(void **state)
{
    (void)state;
    static uint8_t name[EVENT_NAME_MAX];
    memset(name, '\\', sizeof name);
    struct event e = small_event();
    e.position = e.revision = UINT64_MAX;
    e.schema_version = UINT32_MAX;
    e.stream = e.type = e.content_type = bytes_of(name, sizeof name);
    e.occurred_at = bytes_of(name, EVENT_TIME_MAX);
    e.tag_count = EVENT_TAGS_MAX;
    for (size_t i = 0; i < EVENT_TAGS_MAX; i++) {
        e.tags[i] = bytes_of(name, sizeof name);
    }
    struct buf b;
    buf_init(&b, 1u << 20);
    json_put_event(&b, &e);
    assert_int_equal(buf_status(&b), ERR_OK);
    char detail[JSON_DETAIL_MAX];
    assert_true(json_check(buf_bytes(&b), true, detail));
    buf_done(&b);
}

/* Times are right when the second changes, goes back, and before 1970. */
static void test_times(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {{1767225600999999, "\"2026-01-01T00:00:00.999999Z\""},
                 {1767225601000000, "\"2026-01-01T00:00:01.000000Z\""},
                 {1767225600000001, "\"2026-01-01T00:00:00.000001Z\""},
                 {-1, "\"1969-12-31T23:59:59.999999Z\""},
                 {0, "\"1970-01-01T00:00:00.000000Z\""},
                 {999999, "\"1970-01-01T00:00:00.999999Z\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b;
        buf_init(&b, 64);
        json_put_time(&b, cases[i].us);
        assert_buf(&b, cases[i].text);
    }
}

/* A buffer that is too small says so and stays whole. */
static void test_limit(void **state)
{
    (void)state;
    struct buf b;
    struct event e = small_event();
    buf_init(&b, 100);
    json_put_event(&b, &e);
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    assert_int_equal(b.n, 0);
    buf_done(&b);
}

static void test_stream_info(void **state)
{
    (void)state;
    struct store_stream_info info = {
        .head_revision = 3, .first_revision = 1, .events = 3, .created_position = 9};
    struct buf b;
    buf_init(&b, 4096);
    json_put_stream_info(&b, BYTES_LITERAL("lo\"an-1-2"), &info);
    assert_buf(
        &b, "{\"stream\":\"lo\\\"an-1-2\",\"category\":\"lo\\\"an\",\"head_revision\":3,\"first_"
            "revision\":1,"
            "\"events\":3,\"created_position\":9,\"created_time\":\"1970-01-01T00:00:00.000000Z\","
            "\"deleted\":false,\"metadata\":{}}");
    info = (struct store_stream_info){.head_revision = 9,
                                      .first_revision = 10,
                                      .deleted = true,
                                      .tombstoned = true,
                                      .max_count = 5,
                                      .max_age_s = 60,
                                      .truncate_before = 4,
                                      .custom = BYTES_LITERAL("{ \"a\" :1.0}")};
    buf_init(&b, 4096);
    json_put_stream_info(&b, BYTES_LITERAL("s"), &info);
    assert_buf(&b, "{\"stream\":\"s\",\"category\":\"s\",\"head_revision\":9,\"first_revision\":10,"
                   "\"events\":0,\"created_position\":0,\"created_time\":"
                   "\"1970-01-01T00:00:00.000000Z\",\"deleted\":true,\"tombstoned\":true,"
                   "\"metadata\":{\"max_count\":5,\"max_age_s\":60,\"truncate_before\":4,"
                   "\"custom\":{ \"a\" :1.0}}}");
    info = (struct store_stream_info){.custom = BYTES_LITERAL("{}")};
    buf_init(&b, 4096);
    json_put_stream_metadata(&b, &info);
    assert_buf(&b, "{\"custom\":{}}");
}

/* What was done to a stream; the revision only where an event was redacted. */
static void test_life_result(void **state)
{
    (void)state;
    struct life_result result = {.position = 7, .head_revision = 3, .first_revision = 4};
    struct life_answer a = {.stream = BYTES_LITERAL("s"), .result = &result};
    struct buf b;
    buf_init(&b, 4096);
    json_put_life_result(&b, &a);
    assert_buf(&b, "{\"stream\":\"s\",\"position\":7,\"head_revision\":3,\"first_revision\":4,"
                   "\"deleted\":false,\"tombstoned\":false,\"duplicate\":false}");
    result.deleted = result.tombstoned = true;
    a.duplicate = true;
    a.revision = 2;
    buf_init(&b, 4096);
    json_put_life_result(&b, &a);
    assert_buf(&b, "{\"stream\":\"s\",\"revision\":2,\"position\":7,\"head_revision\":3,"
                   "\"first_revision\":4,\"deleted\":true,\"tombstoned\":true,\"duplicate\":true}");
}

/* A redacted event says so, whatever its data was. */
static void test_redacted(void **state)
{
    (void)state;
    static const char *const types[] = {"", "image/png"};
    for (size_t i = 0; i < 2; i++) {
        struct event e = small_event();
        struct buf b;
        e.data = BYTES_NONE;
        e.content_type = bytes_of_string(types[i]);
        e.redacted = true;
        buf_init(&b, 4096);
        json_put_event(&b, &e);
        buf_put_byte(&b, '\0');
        assert_non_null(strstr((const char *)b.p, ",\"data\":null,\"redacted\":true"));
        assert_null(strstr((const char *)b.p, "data_base64"));
        buf_done(&b);
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct store_name items[] = {{BYTES_LITERAL("a"), 1}, {BYTES_LITERAL("b-1"), 2}};
    struct store_name_list list = {.items = items, .n = 2, .end = false};
    struct store_name_list none = {.end = true};
    struct buf b;
    buf_init(&b, 4096);
    json_put_stream_list(&b, &list, BYTES_NONE);
    assert_buf(&b, "{\"streams\":[{\"stream\":\"a\",\"category\":\"a\",\"head_revision\":1},"
                   "{\"stream\":\"b-1\",\"category\":\"b\",\"head_revision\":2}],\"next\":\"b-1\","
                   "\"end\":false}");
    buf_init(&b, 4096);
    json_put_name_counts(&b, "types", &list, BYTES_NONE);
    assert_buf(&b, "{\"types\":[{\"name\":\"a\",\"events\":1},{\"name\":\"b-1\",\"events\":2}],"
                   "\"next\":\"b-1\",\"end\":false}");
    buf_init(&b, 4096);
    json_put_stream_list(&b, &none, BYTES_LITERAL("z"));
    assert_buf(&b, "{\"streams\":[],\"next\":\"z\",\"end\":true}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_event),   cmocka_unit_test(test_event_with_everything),
        cmocka_unit_test(test_binary_data),   cmocka_unit_test(test_lines),
        cmocka_unit_test(test_longest_names), cmocka_unit_test(test_times),
        cmocka_unit_test(test_limit),         cmocka_unit_test(test_stream_info),
        cmocka_unit_test(test_lists),         cmocka_unit_test(test_life_result),
        cmocka_unit_test(test_redacted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
