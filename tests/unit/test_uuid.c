/* Tests of storage/base/uuid.h. */
#include "storage/base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char example_text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
static const uint8_t example[UUID_BYTES] = {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3,
                                            0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};

/* The example of RFC 9562 appendix A.6. */
static void test_uuid_make_v7_rfc9562(void **state)
{
    (void)state;
    static const uint8_t random[10] = {0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    uint8_t uuid[UUID_BYTES];
    uuid_make_v7(0x017f22e279b0, random, uuid);
    assert_memory_equal(uuid, example, UUID_BYTES);
}

/* Version and variant are set whatever the random bits are, and all other bits are kept. */
static void test_uuid_make_v7_fixed_bits(void **state)
{
    (void)state;
    uint8_t random[10];
    uint8_t uuid[UUID_BYTES];
    memset(random, 0xff, sizeof random);
    uuid_make_v7(UINT64_MAX, random, uuid);
    assert_memory_equal(uuid, "\xff\xff\xff\xff\xff\xff\x7f\xff\xbf\xff\xff\xff\xff\xff\xff\xff",
                        16);
    memset(random, 0, sizeof random);
    uuid_make_v7(0, random, uuid);
    assert_memory_equal(uuid, "\0\0\0\0\0\0\x70\0\x80\0\0\0\0\0\0\0", 16);
}

/* Later milliseconds sort behind earlier ones. */
static void test_uuid_make_v7_order(void **state)
{
    (void)state;
    uint8_t high[10];
    uint8_t low[10] = {0};
    memset(high, 0xff, sizeof high);
    for (int bit = 0; bit < 48; bit++) {
        uint8_t earlier[UUID_BYTES];
        uint8_t later[UUID_BYTES];
        uuid_make_v7(((uint64_t)1 << bit) - 1, high, earlier);
        uuid_make_v7((uint64_t)1 << bit, low, later);
        assert_true(memcmp(earlier, later, UUID_BYTES) < 0);
    }
}

/* Either case is read and lower case is written. */
static void test_uuid_parse_either_case(void **state)
{
    (void)state;
    uint8_t uuid[UUID_BYTES];
    char text[UUID_TEXT_BYTES];
    assert_int_equal(uuid_parse(bytes_of_string(example_text), uuid), ERR_OK);
    assert_memory_equal(uuid, example, UUID_BYTES);
    assert_int_equal(uuid_parse(BYTES_LITERAL("017F22E2-79b0-7CC3-98c4-DC0C0C07398F"), uuid),
                     ERR_OK);
    assert_memory_equal(uuid, example, UUID_BYTES);
    uuid_format(uuid, text);
    assert_memory_equal(text, example_text, UUID_TEXT_BYTES);
}

/* Any version and the nil and max UUIDs are accepted. */
static void test_uuid_parse_any_version(void **state)
{
    (void)state;
    uint8_t uuid[UUID_BYTES];
    assert_int_equal(uuid_parse(BYTES_LITERAL("00000000-0000-0000-0000-000000000000"), uuid),
                     ERR_OK);
    assert_int_equal(uuid_parse(BYTES_LITERAL("ffffffff-ffff-ffff-ffff-ffffffffffff"), uuid),
                     ERR_OK);
    assert_int_equal(uuid_parse(BYTES_LITERAL("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), uuid),
                     ERR_OK);
}

/* A wrong byte at any place is INVALID and leaves the result untouched. */
static void test_uuid_parse_wrong_byte(void **state)
{
    (void)state;
    for (size_t at = 0; at < UUID_TEXT_BYTES; at++) {
        bool dash = example_text[at] == '-';
        for (int c = 0; c < 256; c++) {
            bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            uint8_t text[UUID_TEXT_BYTES];
            uint8_t uuid[UUID_BYTES] = "untouched......";
            memcpy(text, example_text, sizeof text);
            text[at] = (uint8_t)c;
            err_t want = (dash ? c == '-' : hex) ? ERR_OK : ERR_INVALID;
            assert_int_equal(uuid_parse(bytes_of(text, sizeof text), uuid), want);
            assert_true(want == ERR_OK || memcmp(uuid, "untouched......", UUID_BYTES) == 0);
        }
    }
}

/* Every other length is INVALID, and so are the other spellings that some libraries accept. */
static void test_uuid_parse_wrong_form(void **state)
{
    (void)state;
    uint8_t uuid[UUID_BYTES];
    char text[64];
    memset(text, '0', sizeof text);
    memcpy(text, example_text, UUID_TEXT_BYTES);
    for (size_t n = 0; n < sizeof text; n++) {
        if (n != UUID_TEXT_BYTES) {
            assert_int_equal(uuid_parse(bytes_of(text, n), uuid), ERR_INVALID);
        }
    }
    assert_int_equal(uuid_parse(BYTES_NONE, uuid), ERR_INVALID);
    assert_int_equal(uuid_parse(BYTES_LITERAL("017f22e279b07cc398c4dc0c0c07398f"), uuid),
                     ERR_INVALID);
    assert_int_equal(uuid_parse(BYTES_LITERAL("{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}"), uuid),
                     ERR_INVALID);
    assert_int_equal(uuid_parse(BYTES_LITERAL("-017f22e279b0-7cc3-98c4-dc0c0c07398f"), uuid),
                     ERR_INVALID);
}

/* What is written is read back, for every value of every byte. */
static void test_uuid_format_round_trip(void **state)
{
    (void)state;
    for (int v = 0; v < 256; v++) {
        uint8_t uuid[UUID_BYTES];
        uint8_t back[UUID_BYTES];
        char text[UUID_TEXT_BYTES + 1] = {0};
        for (int i = 0; i < UUID_BYTES; i++) {
            uuid[i] = (uint8_t)(v + i * 17);
        }
        text[UUID_TEXT_BYTES] = '#';
        uuid_format(uuid, text);
        assert_int_equal(text[UUID_TEXT_BYTES], '#');
        assert_int_equal(uuid_parse(bytes_of(text, UUID_TEXT_BYTES), back), ERR_OK);
        assert_memory_equal(back, uuid, UUID_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuid_make_v7_rfc9562),
        cmocka_unit_test(test_uuid_make_v7_fixed_bits),
        cmocka_unit_test(test_uuid_make_v7_order),
        cmocka_unit_test(test_uuid_parse_either_case),
        cmocka_unit_test(test_uuid_parse_any_version),
        cmocka_unit_test(test_uuid_parse_wrong_byte),
        cmocka_unit_test(test_uuid_parse_wrong_form),
        cmocka_unit_test(test_uuid_format_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
