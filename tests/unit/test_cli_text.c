/* Tests of clients/cli/text.h. */
#include "clients/cli/text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct daybook_buffer b;

static int setup(void **state)
{
    (void)state;
    daybook_buffer_init(&b, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    daybook_buffer_done(&b);
    return 0;
}

static void assert_built(const char *text)
{
    assert_int_equal(b.n, strlen(text));
    assert_memory_equal(b.p, text, b.n);
    b.n = 0;
}

static void assert_safe(const char *text, size_t n, const char *expected)
{
    assert_true(text_add_safe(&b, text, n));
    assert_built(expected);
}

#define SAFE(text, expected) assert_safe(text, sizeof(text) - 1, expected)

/* What a terminal would act on is shown, not sent; what it would show is kept. */
static void test_add_safe(void **state)
{
    (void)state;
    SAFE("plain \"text\" \\", "plain \"text\" \\");
    SAFE("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    SAFE("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m");
    SAFE("a\0b\a\b\x7f", "a\\x00b\\x07\\x08\\x7f");
    SAFE("a\nb\tc\rd", "a\\nb\\tc\\rd");
    SAFE("\xc2\x9b"
         "31m",
         "\\xc2\\x9b"
         "31m");
    SAFE("\xe2\x80\xae live", "\\xe2\\x80\\xae live");
    SAFE("\xff\xc3", "\\xff\\xc3");
    SAFE("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80", "\\xc0\\x80\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
}

/* No single byte and no pair of bytes gets a control character through. */
static void test_add_safe_every_pair(void **state)
{
    (void)state;
    for (int pair = 0; pair < 65536; pair++) {
        uint8_t bytes[2] = {(uint8_t)(pair >> 8), (uint8_t)pair};
        b.n = 0;
        assert_true(text_add_safe(&b, bytes, 2));
        assert_true(b.n <= 2 * TEXT_SAFE_GROWTH);
        for (size_t i = 0; i < b.n; i++) {
            assert_true(b.p[i] >= 0x20 && b.p[i] != 0x7f);
            assert_false(b.p[i] == 0xc2 && i + 1 < b.n && b.p[i + 1] < 0xa0);
        }
    }
    b.n = 0;
}

/* JSON strings have their escapes. */
static void test_add_json(void **state)
{
    (void)state;
    assert_true(text_add_json(&b, "a\"b\\c\n\x01 \xc3\xa9/"));
    assert_built("\"a\\\"b\\\\c\\u000a\\u0001 \xc3\xa9/\"");
}

/* The vectors of RFC 4648, and back. */
static void test_base64(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfb", "//77"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_true(text_add_base64(&b, vectors[i][0], strlen(vectors[i][0])));
        assert_built(vectors[i][1]);
        assert_true(text_decode_base64(&b, vectors[i][1], strlen(vectors[i][1])));
        assert_built(vectors[i][0]);
    }
    static const char *const wrong[] = {"A",    "AA",   "AAA",  "A===", "====",    "AA=A",
                                        "A A=", "AA-_", "Zh==", "Zm9=", "AA==AAAA"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(text_decode_base64(&b, wrong[i], strlen(wrong[i])));
        b.n = 0;
    }
}

/* UUIDs in either case, and nothing else. */
static void test_uuid(void **state)
{
    (void)state;
    uint8_t id[16];
    char text[TEXT_UUID_SIZE];
    assert_true(text_parse_uuid("0192F0C0-aaaa-7000-8000-00000000000F", id));
    text_uuid(id, text);
    assert_string_equal(text, "0192f0c0-aaaa-7000-8000-00000000000f");
    assert_false(text_parse_uuid("", id));
    assert_false(text_parse_uuid("0192F0C0-aaaa-7000-8000-00000000000", id));
    assert_false(text_parse_uuid("0192F0C0-aaaa-7000-8000-00000000000g", id));
    assert_false(text_parse_uuid("0192F0C0aaaaa-7000-8000-00000000000f", id));
    assert_false(text_parse_uuid("0192F0C0-aaaa-7000-8000-00000000000ff", id));
}

/* Times before and after 1970 have six digits behind the point. */
static void test_time(void **state)
{
    (void)state;
    char text[TEXT_TIME_SIZE];
    text_time(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    text_time(1767225600000001, text);
    assert_string_equal(text, "2026-01-01T00:00:00.000001Z");
    text_time(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
}

/* Text is cut between characters, where the next one does not fit into the columns. */
static void test_cut(void **state)
{
    (void)state;
    /* a, e acute (2 bytes, 1 column), a Chinese character (3 bytes, 2 columns), b */
    static const char text[] = "a\xc3\xa9\xe6\xbc\xa2"
                               "b";
    static const size_t bytes[] = {0, 1, 3, 3, 6, 7, 7};
    static const size_t taken[] = {0, 1, 2, 2, 4, 5, 5};
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    for (size_t columns = 0; columns < 7; columns++) {
        size_t got = SIZE_MAX;
        assert_int_equal(text_cut(text, strlen(text), columns, &got), bytes[columns]);
        assert_int_equal(got, taken[columns]);
    }
}

/* The content types whose data is JSON are the server's. */
static void test_media_is_json(void **state)
{
    (void)state;
    assert_true(text_media_is_json(NULL));
    assert_true(text_media_is_json(""));
    assert_true(text_media_is_json("Application/JSON"));
    assert_true(text_media_is_json("application/json ; charset=utf-8"));
    assert_true(text_media_is_json("application/vnd.x+json"));
    assert_false(text_media_is_json("text/plain"));
    assert_false(text_media_is_json("application/jsonx"));
    assert_false(text_media_is_json("+json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_safe), cmocka_unit_test(test_add_safe_every_pair),
        cmocka_unit_test(test_add_json), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_uuid),     cmocka_unit_test(test_time),
        cmocka_unit_test(test_cut),      cmocka_unit_test(test_media_is_json),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
