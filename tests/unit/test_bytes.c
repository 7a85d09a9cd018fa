/* Tests of storage/base/bytes.h. */
#include "storage/base/bytes.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Byte order decides, and where one is the beginning of the other the shorter comes first. */
static void test_bytes_compare_order(void **state)
{
    (void)state;
    static const struct bytes sorted[] = {
        {NULL, 0},
        {(const uint8_t *)"\0", 1},
        {(const uint8_t *)"a", 1},
        {(const uint8_t *)"a\0", 2},
        {(const uint8_t *)"ab", 2},
        {(const uint8_t *)"b", 1},
        {(const uint8_t *)"\x7f", 1},
        {(const uint8_t *)"\x80", 1},
        {(const uint8_t *)"\xff", 1},
    };
    for (size_t i = 0; i < sizeof sorted / sizeof sorted[0]; i++) {
        for (size_t j = 0; j < sizeof sorted / sizeof sorted[0]; j++) {
            int order = bytes_compare(sorted[i], sorted[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(bytes_equal(sorted[i], sorted[j]), i == j);
        }
    }
}

/* An empty run is equal to and a prefix of what it should be, even where its pointer is NULL. */
static void test_bytes_have_prefix_empty(void **state)
{
    (void)state;
    assert_true(bytes_equal(BYTES_NONE, BYTES_LITERAL("")));
    assert_true(bytes_have_prefix(BYTES_NONE, BYTES_NONE));
    assert_true(bytes_have_prefix(BYTES_LITERAL("abc"), BYTES_NONE));
    assert_true(bytes_have_prefix(BYTES_LITERAL("abc"), BYTES_LITERAL("ab")));
    assert_false(bytes_have_prefix(BYTES_LITERAL("ab"), BYTES_LITERAL("abc")));
    assert_false(bytes_have_prefix(BYTES_NONE, BYTES_LITERAL("a")));
    assert_int_equal(bytes_of_string(NULL).n, 0);
}

/* The hash depends on the content and the seed only, not on the address. */
static void test_bytes_hash_alignment(void **state)
{
    (void)state;
    uint8_t text[128];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t n = 0; n <= 100; n++) {
        uint64_t want = bytes_hash(bytes_of(text, n), 5);
        for (size_t shift = 0; shift < 8; shift++) {
            uint8_t copy[128];
            memcpy(copy + shift, text, n);
            assert_true(bytes_hash(bytes_of(copy + shift, n), 5) == want);
        }
        assert_true(bytes_hash(bytes_of(text, n), 6) != want);
    }
    assert_true(bytes_hash(BYTES_NONE, 1) == bytes_hash(BYTES_LITERAL(""), 1));
}

/* Each single bit of the input changes the hash, and so does the length where all bytes are
 * zero. */
static void test_bytes_hash_every_bit(void **state)
{
    (void)state;
    uint8_t text[70] = {0};
    for (size_t n = 1; n <= sizeof text; n++) {
        uint64_t zero = bytes_hash(bytes_of(text, n), 0);
        assert_true(zero != bytes_hash(bytes_of(text, n - 1), 0));
        for (size_t bit = 0; bit < n * 8; bit++) {
            text[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(bytes_hash(bytes_of(text, n), 0) != zero);
            text[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* Keys that differ in a number only spread evenly over the low bits a table uses. */
static void test_bytes_hash_spread(void **state)
{
    (void)state;
    enum { BUCKETS = 256, KEYS = BUCKETS * 256 };
    int counts[BUCKETS] = {0};
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t key[12] = "stream-";
        bytes_put_u32le(key + 7, i);
        counts[bytes_hash(bytes_of(key, 11), 0) % BUCKETS]++;
    }
    /* The expected count is 256 with a standard deviation of 16. */
    for (int i = 0; i < BUCKETS; i++) {
        assert_in_range(counts[i], 256 - 96, 256 + 96);
    }
}

static bool text_is_utf8(const char *text, size_t n)
{
    /* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = malloc(n == 0 ? 1 : n);
    assert_non_null(copy);
    memcpy(copy, text, n);
    bool ok = bytes_are_utf8(bytes_of(copy, n));
    free(copy);
    return ok;
}

/* The first and last character of each length and of each gap are accepted. */
static void test_bytes_are_utf8_valid(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "a",
        "plain ASCII text of some length",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "1234567\xc3\xa9",
        "12345678\xe2\x82\xac--------",
    };
    assert_true(bytes_are_utf8(BYTES_NONE));
    assert_true(text_is_utf8("a\0b", 3));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(text_is_utf8(texts[i], strlen(texts[i])));
    }
}

/* Overlong forms, surrogates, characters above U+10FFFF, stray and missing bytes are rejected, at
 * every distance from the words that the fast path looks at. */
static void test_bytes_are_utf8_invalid(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2 ",
        "\xc2\xc2",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xe2\x82 ",
        "\xe2 \x82",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf0\x9f\x98",
        "\xf0\x9f\x98 ",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t at = 0; at < 20; at++) {
            char text[40];
            size_t n = strlen(texts[i]);
            memset(text, 'a', sizeof text);
            memcpy(text + at, texts[i], n);
            assert_false(text_is_utf8(text, at + n));
            assert_false(text_is_utf8(text, at + n + 9));
        }
    }
}

/* The definition, slowly: decode, then ask whether encoding gives the same bytes. */
static bool is_one_character(const uint8_t *p, size_t n)
{
    uint32_t c = n == 2 ? p[0] & 0x1fu : n == 3 ? p[0] & 0x0fu : p[0] & 0x07u;
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (p[i] & 0x3fu);
    }
    uint32_t least = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
    if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return false;
    }
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    bool same = p[0] == (leads[n] | c >> 6 * (n - 1));
    for (size_t i = 1; i < n; i++) {
        same = same && p[i] == (0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
    }
    return same;
}

/* All sequences of two and three bytes that begin with a lead byte, and those of four with the
 * edges of the last byte, are judged as the definition does. */
static void test_bytes_are_utf8_exhaustive(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    uint8_t p[4];
    for (uint32_t v = 0xc000; v <= 0xffff; v++) {
        p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v;
        assert_true(bytes_are_utf8(bytes_of(p, 2)) == is_one_character(p, 2));
    }
    for (uint32_t v = 0xe00000; v <= 0xffffff; v++) {
        p[0] = (uint8_t)(v >> 16), p[1] = (uint8_t)(v >> 8), p[2] = (uint8_t)v;
        if (bytes_are_utf8(bytes_of(p, 3)) != is_one_character(p, 3)) {
            fail_msg("%02x %02x %02x", p[0], p[1], p[2]);
        }
        for (size_t i = 0; i < sizeof edges; i++) {
            p[3] = edges[i];
            bool mixed = is_one_character(p, 3) && p[3] < 0x80;
            if (bytes_are_utf8(bytes_of(p, 4)) != (mixed || is_one_character(p, 4))) {
                fail_msg("%02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
            }
        }
    }
}

/* What is put comes back, and the bytes stand in the named order. */
static void test_bytes_put_get_numbers(void **state)
{
    (void)state;
    uint8_t p[9];
    bytes_put_u32le(p + 1, 0x81020304);
    assert_memory_equal(p + 1, "\x04\x03\x02\x81", 4);
    assert_true(bytes_get_u32le(p + 1) == 0x81020304);
    bytes_put_u64le(p + 1, 0x8102030405060788);
    assert_memory_equal(p + 1, "\x88\x07\x06\x05\x04\x03\x02\x81", 8);
    assert_true(bytes_get_u64le(p + 1) == 0x8102030405060788);
    bytes_put_u64be(p + 1, 0x8102030405060788);
    assert_memory_equal(p + 1, "\x81\x02\x03\x04\x05\x06\x07\x88", 8);
    assert_true(bytes_get_u64be(p + 1) == 0x8102030405060788);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_compare_order),
        cmocka_unit_test(test_bytes_have_prefix_empty),
        cmocka_unit_test(test_bytes_hash_alignment),
        cmocka_unit_test(test_bytes_hash_every_bit),
        cmocka_unit_test(test_bytes_hash_spread),
        cmocka_unit_test(test_bytes_are_utf8_valid),
        cmocka_unit_test(test_bytes_are_utf8_invalid),
        cmocka_unit_test(test_bytes_are_utf8_exhaustive),
        cmocka_unit_test(test_bytes_put_get_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
