/* Tests of storage/base/crc32c.h. DAYBOOK_TEST_SEED=n repeats a random run. */
#include "storage/base/crc32c.h"

#include <stdlib.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES_MAX 2000

static void fill_random(uint8_t *p, size_t n)
{
    const char *text = getenv("DAYBOOK_TEST_SEED");
    uint64_t random = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("DAYBOOK_TEST_SEED=%llu\n", (unsigned long long)random);
    for (size_t i = 0; i < n; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(random >> 56);
    }
}

static void assert_crc(struct bytes data, uint32_t want)
{
    assert_int_equal(crc32c(0, data), want);
    assert_int_equal(crc32c_portable(0, data), want);
}

/* The vectors of RFC 3720 appendix B.4 and the customary check value. */
static void test_crc32c_rfc3720(void **state)
{
    (void)state;
    uint8_t data[32];
    assert_crc(BYTES_NONE, 0);
    assert_crc(BYTES_LITERAL("123456789"), 0xe3069283);
    memset(data, 0, sizeof data);
    assert_crc(bytes_of(data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_crc(bytes_of(data, sizeof data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
    }
    assert_crc(bytes_of(data, sizeof data), 0x46dd794e);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(31 - i);
    }
    assert_crc(bytes_of(data, sizeof data), 0x113fdb5c);
    static const uint8_t read_command[48] = {
        0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
        0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,    0,
    };
    assert_crc(bytes_of(read_command, sizeof read_command), 0xd9963a56);
}

/* The portable form is the bit-by-bit definition. */
static void test_crc32c_portable_definition(void **state)
{
    (void)state;
    uint8_t data[100];
    fill_random(data, sizeof data);
    uint32_t crc = ~0u;
    for (size_t n = 0; n < sizeof data; n++) {
        assert_int_equal(crc32c_portable(0, bytes_of(data, n)), ~crc);
        crc ^= data[n];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
}

/* Both forms agree for all lengths up to 2000 bytes at all alignments, whatever the seed. */
static void test_crc32c_both_agree(void **state)
{
    (void)state;
    uint8_t data[BYTES_MAX + 8];
    fill_random(data, sizeof data);
    for (size_t shift = 0; shift < 8; shift++) {
        for (size_t n = 0; n <= BYTES_MAX; n++) {
            struct bytes piece = bytes_of(data + shift, n);
            uint32_t seed = n % 3 == 0 ? 0 : (uint32_t)n * 2654435761u;
            assert_int_equal(crc32c(seed, piece), crc32c_portable(seed, piece));
        }
    }
}

/* Both forms agree around the size of the largest block of three streams and its multiples. */
static void test_crc32c_large(void **state)
{
    (void)state;
    enum { BLOCK = 3 * 128 * 8, LARGEST = 3 * BLOCK + 200 };
    uint8_t *data = malloc(LARGEST);
    assert_non_null(data);
    fill_random(data, LARGEST);
    for (size_t blocks = 1; blocks <= 3; blocks++) {
        for (size_t n = blocks * BLOCK - 200; n <= blocks * BLOCK + 200; n++) {
            struct bytes piece = bytes_of(data + LARGEST - n, n);
            assert_int_equal(crc32c(1, piece), crc32c_portable(1, piece));
        }
    }
    free(data);
}

/* Going on from an earlier result gives the CRC of the whole, wherever the cut is. */
static void test_crc32c_continued(void **state)
{
    (void)state;
    uint8_t data[700];
    fill_random(data, sizeof data);
    uint32_t whole = crc32c(0, bytes_of(data, sizeof data));
    for (size_t n = 0; n <= sizeof data; n++) {
        struct bytes rest = bytes_of(data + n, sizeof data - n);
        assert_int_equal(crc32c(crc32c(0, bytes_of(data, n)), rest), whole);
        assert_int_equal(crc32c_portable(crc32c(0, bytes_of(data, n)), rest), whole);
    }
}

/* Each single flipped bit of a record is noticed. */
static void test_crc32c_flipped_bit(void **state)
{
    (void)state;
    uint8_t data[330];
    fill_random(data, sizeof data);
    uint32_t whole = crc32c(0, bytes_of(data, sizeof data));
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(crc32c(0, bytes_of(data, sizeof data)), whole);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_rfc3720),    cmocka_unit_test(test_crc32c_portable_definition),
        cmocka_unit_test(test_crc32c_both_agree), cmocka_unit_test(test_crc32c_large),
        cmocka_unit_test(test_crc32c_continued),  cmocka_unit_test(test_crc32c_flipped_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
