/* Tests of storage/base/buf.h. */
#include "storage/base/buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_content(const struct buf *b, const char *want)
{
    assert_int_equal(buf_status(b), ERR_OK);
    assert_int_equal(b->n, strlen(want));
    assert_memory_equal(b->n == 0 ? (const uint8_t *)"" : b->p, want, b->n);
}

/* A fresh buffer is empty, fine, and owns no memory. */
static void test_buf_init_empty(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_null(b.p);
    assert_int_equal(buf_bytes(&b).n, 0);
    assert_int_equal(buf_status(&b), ERR_OK);
    buf_put(&b, BYTES_NONE);
    buf_put_string(&b, "");
    buf_put_string(&b, NULL);
    assert_null(b.p);
    buf_done(&b);
    buf_done(&b);
}

/* Appends of every kind follow each other. */
static void test_buf_put_sequence(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_put(&b, BYTES_LITERAL("ab"));
    buf_put_byte(&b, 'c');
    buf_put_string(&b, "de");
    buf_put_format(&b, "%d-%s", 7, "x");
    buf_put_u64(&b, 42);
    assert_content(&b, "abcde7-x42");
    buf_done(&b);
}

/* One byte below, at and above the maximum: what fits is kept, what does not fails as a whole. */
static void test_buf_put_limit(void **state)
{
    (void)state;
    for (size_t max = 1; max <= 200; max++) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++) {
            buf_put_byte(&b, 'a');
        }
        assert_int_equal(buf_status(&b), ERR_OK);
        assert_int_equal(b.n, max);
        assert_true(b.cap <= max);
        buf_put_byte(&b, 'a');
        assert_int_equal(buf_status(&b), ERR_LIMIT);
        assert_int_equal(b.n, max);
        buf_done(&b);
    }
}

/* After a failure all appends are no-ops, also those that would fit, until the buffer is
 * cleared. */
static void test_buf_status_sticky(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    buf_put_string(&b, "ab");
    buf_put_string(&b, "1234567");
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_put_string(&b, "c");
    buf_put_byte(&b, 'c');
    buf_put_u64(&b, 1);
    buf_put_varint(&b, 1);
    buf_put_format(&b, "%d", 1);
    buf_put_json_string(&b, BYTES_LITERAL("x"));
    buf_put_base64(&b, BYTES_LITERAL("x"));
    assert_null(buf_reserve(&b, 1));
    assert_null(buf_reserve(&b, 0));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    assert_int_equal(b.n, 2);
    buf_clear(&b);
    buf_put_string(&b, "12345678");
    assert_content(&b, "12345678");
    buf_done(&b);
}

/* Sizes near SIZE_MAX do not wrap around. */
static void test_buf_reserve_overflow(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_put_byte(&b, 'a');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_clear(&b);
    buf_put_json_string(&b, bytes_of("", SIZE_MAX));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_clear(&b);
    buf_put_json_string(&b, bytes_of("", SIZE_MAX - 2));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_clear(&b);
    buf_put_base64(&b, bytes_of("", SIZE_MAX));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_clear(&b);
    buf_put_base64(&b, bytes_of("", SIZE_MAX / 4 * 3 + 3));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_done(&b);
}

/* Where the maximum allows it but memory does not, the status is MEMORY and the content stays. */
static void test_buf_reserve_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, SIZE_MAX);
    buf_put_string(&b, "abc");
    assert_null(buf_reserve(&b, SIZE_MAX - 3));
    assert_int_equal(buf_status(&b), ERR_MEMORY);
    assert_int_equal(b.n, 3);
    assert_memory_equal(b.p, "abc", 3);
    buf_done(&b);
}

/* The place is there for exactly the wanted bytes, only what is advanced counts, and growth
 * doubles. */
static void test_buf_reserve_advance(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    uint8_t *p = buf_reserve(&b, 0);
    assert_non_null(p);
    p = buf_reserve(&b, 1000);
    assert_non_null(p);
    memset(p, 'x', 1000);
    assert_int_equal(b.n, 0);
    buf_advance(&b, 3);
    assert_content(&b, "xxx");
    size_t before = b.cap;
    assert_non_null(buf_reserve(&b, before));
    assert_int_equal(b.cap, 2 * before);
    assert_non_null(buf_reserve(&b, 100000 - 3));
    assert_int_equal(b.cap, 100000);
    buf_done(&b);
}

/* Clearing keeps the memory. */
static void test_buf_clear_keeps_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_put_string(&b, "abc");
    const uint8_t *p = b.p;
    buf_clear(&b);
    assert_content(&b, "");
    buf_put_string(&b, "d");
    assert_ptr_equal(b.p, p);
    assert_content(&b, "d");
    buf_done(&b);
}

/* Short, long and exactly full texts come out whole; one byte more than the maximum is a
 * failure. */
static void test_buf_put_format_sizes(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'f', sizeof text);
    for (int n = 0; n < (int)sizeof text; n++) {
        struct buf b;
        buf_init(&b, n == 0 ? 1 : (size_t)n);
        buf_put_format(&b, "%.*s", n, text);
        assert_int_equal(buf_status(&b), ERR_OK);
        assert_int_equal(b.n, n);
        assert_true(n == 0 || memcmp(b.p, text, (size_t)n) == 0);
        buf_clear(&b);
        buf_put_format(&b, "%.*s", n + 1, text);
        assert_int_equal(buf_status(&b), n == 0 ? ERR_OK : ERR_LIMIT);
        buf_done(&b);
    }
}

/* All numbers of digits, and the ends of the range, print as printf prints them. */
static void test_buf_put_u64_digits(void **state)
{
    (void)state;
    uint64_t power = 1;
    for (int digits = 1; digits <= 20; digits++, power *= 10) {
        const uint64_t values[] = {0, power - 1, power, power + 1, UINT64_MAX};
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            char want[32];
            snprintf(want, sizeof want, "%" PRIu64, values[i]);
            struct buf b;
            buf_init(&b, strlen(want));
            buf_put_u64(&b, values[i]);
            assert_content(&b, want);
            buf_done(&b);
        }
    }
}

static void assert_json(struct bytes s, const char *want)
{
    struct buf b;
    buf_init(&b, strlen(want));
    buf_put_json_string(&b, s);
    assert_content(&b, want);
    buf_done(&b);
    /* One byte of room too little. */
    buf_init(&b, strlen(want) - 1);
    buf_put_json_string(&b, s);
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_done(&b);
}

/* Quotes, backslashes and control characters are escaped, the short way where there is one; all
 * else, DEL and non-ASCII included, is copied. */
static void test_buf_put_json_string_escapes(void **state)
{
    (void)state;
    assert_json(BYTES_NONE, "\"\"");
    assert_json(BYTES_LITERAL("plain"), "\"plain\"");
    assert_json(BYTES_LITERAL("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
    assert_json(BYTES_LITERAL("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\"");
    assert_json(BYTES_LITERAL("\0\x01\x0b\x1f"), "\"\\u0000\\u0001\\u000b\\u001f\"");
    assert_json(BYTES_LITERAL(" \x7f\xc3\xa9\xf0\x9f\x98\x80"),
                "\" \x7f\xc3\xa9\xf0\x9f\x98\x80\"");
    assert_json(BYTES_LITERAL("\"\"\"\"\"\"\"\"\""), "\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\"");
}

/* Each byte is treated the same at each place of the eight that the fast path takes at once. */
static void test_buf_put_json_string_positions(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        struct buf alone;
        uint8_t byte = (uint8_t)c;
        buf_init(&alone, 8);
        buf_put_json_string(&alone, bytes_of(&byte, 1));
        for (size_t at = 0; at < 24; at++) {
            uint8_t text[24];
            memset(text, 0xc3, sizeof text);
            text[at] = byte;
            struct buf b;
            buf_init(&b, 100);
            buf_put_json_string(&b, bytes_of(text, sizeof text));
            assert_int_equal(b.n, 23 + alone.n);
            assert_memory_equal(b.p + 1 + at, alone.p + 1, alone.n - 2);
            assert_true(b.n - alone.n - at == 0 ||
                        b.p[b.n - 2] == (at == 23 ? alone.p[alone.n - 2] : 0xc3));
            buf_done(&b);
        }
        buf_done(&alone);
    }
}

/* The vectors of RFC 4648 section 10. */
static void test_buf_put_base64_vectors(void **state)
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
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        buf_put_base64(&b, bytes_of_string(vectors[i][0]));
        assert_content(&b, vectors[i][1]);
        buf_done(&b);
    }
}

/* Every value of every byte comes out as its bits, with the full alphabet, exactly up to the
 * maximum. */
static void test_buf_put_base64_all_bits(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t data[256 * 3];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    struct buf b;
    buf_init(&b, sizeof data / 3 * 4);
    buf_put_base64(&b, bytes_of(data, sizeof data));
    assert_int_equal(buf_status(&b), ERR_OK);
    assert_int_equal(b.n, sizeof data / 3 * 4);
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        const char *digit = memchr(digits, b.p[bit / 6], 64);
        assert_non_null(digit);
        assert_int_equal((digit - digits) >> (5 - bit % 6) & 1, data[bit / 8] >> (7 - bit % 8) & 1);
    }
    buf_put_base64(&b, bytes_of(data, 1));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_done(&b);
}

/* Seven bits a byte, lowest first, at each change of length. */
static void test_buf_put_varint_lengths(void **state)
{
    (void)state;
    for (int bits = 0; bits <= 63; bits++) {
        const uint64_t values[] = {(uint64_t)1 << bits, ((uint64_t)1 << bits) - 1,
                                   UINT64_MAX >> bits};
        for (size_t i = 0; i < 3; i++) {
            struct buf b;
            buf_init(&b, 10);
            buf_put_varint(&b, values[i]);
            assert_int_equal(buf_status(&b), ERR_OK);
            uint64_t back = 0;
            for (size_t at = 0; at < b.n; at++) {
                assert_int_equal(b.p[at] >> 7, at + 1 < b.n);
                back |= (uint64_t)(b.p[at] & 0x7f) << 7 * at;
            }
            assert_true(back == values[i]);
            assert_true(b.n == 1 || b.p[b.n - 1] != 0);
            buf_done(&b);
        }
    }
}

/* The caller gets the memory and the buffer starts anew. */
static void test_buf_take_memory(void **state)
{
    (void)state;
    struct buf b;
    size_t n = 77;
    buf_init(&b, 10);
    free(buf_take(&b, &n));
    assert_int_equal(n, 0);
    buf_put_string(&b, "abc");
    uint8_t *p = buf_take(&b, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "abc", 3);
    free(p);
    assert_content(&b, "");
    buf_put_string(&b, "0123456789");
    assert_content(&b, "0123456789");
    buf_done(&b);
}

/* An error that nobody has looked at is still there after the memory is gone. */
static void test_buf_take_status(void **state)
{
    (void)state;
    struct buf b;
    size_t n;
    buf_init(&b, 3);
    buf_put_string(&b, "abc");
    buf_put_string(&b, "d");
    free(buf_take(&b, &n));
    assert_int_equal(buf_status(&b), ERR_LIMIT);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_init_empty),
        cmocka_unit_test(test_buf_put_sequence),
        cmocka_unit_test(test_buf_put_limit),
        cmocka_unit_test(test_buf_status_sticky),
        cmocka_unit_test(test_buf_reserve_overflow),
        cmocka_unit_test(test_buf_reserve_memory),
        cmocka_unit_test(test_buf_reserve_advance),
        cmocka_unit_test(test_buf_clear_keeps_memory),
        cmocka_unit_test(test_buf_put_format_sizes),
        cmocka_unit_test(test_buf_put_u64_digits),
        cmocka_unit_test(test_buf_put_json_string_escapes),
        cmocka_unit_test(test_buf_put_json_string_positions),
        cmocka_unit_test(test_buf_put_base64_vectors),
        cmocka_unit_test(test_buf_put_base64_all_bits),
        cmocka_unit_test(test_buf_put_varint_lengths),
        cmocka_unit_test(test_buf_take_memory),
        cmocka_unit_test(test_buf_take_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
