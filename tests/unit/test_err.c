/* Tests of storage/base/err.h. */
#include "storage/base/err.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Every code of the table has its own name and a text. */
static void test_err_name_table(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_OK), "OK");
    assert_string_equal(err_name(ERR_CORRUPT), "CORRUPT");
    assert_string_equal(err_describe(ERR_CORRUPT), "stored data is damaged");
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(strlen(err_name((err_t)i)) > 0);
        assert_true(strlen(err_describe((err_t)i)) > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(err_name((err_t)i), err_name((err_t)j));
        }
    }
}

/* A code out of range has a name and a text too, never NULL. */
static void test_err_name_out_of_range(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_COUNT), "UNKNOWN");
    assert_string_equal(err_name((err_t)-1), "UNKNOWN");
    assert_non_null(err_describe((err_t)1000));
    assert_non_null(err_describe((err_t)-1));
}

/* It returns the code it is given and formats the message. */
static void test_err_set_message(void **state)
{
    (void)state;
    struct err_text et = {{0}};
    assert_int_equal(err_set(&et, ERR_CORRUPT, "segment %d: %s", 7, "bad magic"), ERR_CORRUPT);
    assert_string_equal(et.text, "segment 7: bad magic");
}

/* Without a place for the message it still returns the code. */
static void test_err_set_null(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_IO, "x %d", 1), ERR_IO);
    err_prepend(NULL, "y %d", 2);
}

/* The old text may be an argument of the new one. */
static void test_err_set_own_text(void **state)
{
    (void)state;
    struct err_text et = {"disk"};
    assert_int_equal(err_set(&et, ERR_IO, "%s and %s", et.text, et.text), ERR_IO);
    assert_string_equal(et.text, "disk and disk");
}

/* A message that is too long fills the buffer and stays terminated. */
static void test_err_set_too_long(void **state)
{
    (void)state;
    char text[ERR_TEXT_MAX + 100];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    struct err_text et = {{0}};
    assert_int_equal(err_set(&et, ERR_LIMIT, "%s", text), ERR_LIMIT);
    assert_int_equal(strlen(et.text), ERR_TEXT_MAX - 1);
}

/* A cut never leaves a part of a character, wherever it falls. */
static void test_err_set_cut_at_character(void **state)
{
    (void)state;
    static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t c = 0; c < 3; c++) {
        size_t length = strlen(characters[c]);
        for (size_t before = 0; before < 4; before++) {
            char text[ERR_TEXT_MAX + 100] = "aaaa";
            size_t n = before;
            for (; n + length < sizeof text; n += length) {
                memcpy(text + n, characters[c], length + 1);
            }
            struct err_text et = {{0}};
            assert_int_equal(err_set(&et, ERR_LIMIT, "%s", text), ERR_LIMIT);
            size_t whole = (ERR_TEXT_MAX - 1 - before) / length * length;
            assert_int_equal(strlen(et.text), before + whole);
        }
    }
}

/* Context comes first, outermost last prepended. */
static void test_err_prepend_context(void **state)
{
    (void)state;
    struct err_text et = {{0}};
    assert_int_equal(err_set(&et, ERR_IO, "read failed"), ERR_IO);
    err_prepend(&et, "segment %d", 3);
    err_prepend(&et, "recovery");
    assert_string_equal(et.text, "recovery: segment 3: read failed");
}

/* Where there is no message yet, the context is the message. */
static void test_err_prepend_empty(void **state)
{
    (void)state;
    struct err_text et = {{0}};
    err_prepend(&et, "segment %d", 3);
    assert_string_equal(et.text, "segment 3");
}

/* A message that quotes bytes which are not UTF-8 has '?' for them, and can be put into JSON. */
static void test_err_set_not_utf8(void **state)
{
    (void)state;
    struct err_text et = {0};
    assert_int_equal(err_set(&et, ERR_INVALID, "near '%s'", "a\xff\xc3\xa9"), ERR_INVALID);
    assert_string_equal(et.text, "near 'a\?\?\?'");
    err_prepend(&et, "%s", "\xc3\xa9");
    assert_string_equal(et.text, "\xc3\xa9: near 'a\?\?\?'");
    err_prepend(&et, "%s", "\xc3");
    assert_string_equal(et.text, "?: \xc3\xa9: near 'a\?\?\?'");
}

/* The end of the old message is cut when both do not fit, and the context is cut last. */
static void test_err_prepend_too_long(void **state)
{
    (void)state;
    char text[ERR_TEXT_MAX + 100];
    memset(text, 'b', sizeof text);
    text[sizeof text - 1] = '\0';
    struct err_text et = {{0}};
    assert_int_equal(err_set(&et, ERR_IO, "%s", text), ERR_IO);
    err_prepend(&et, "context");
    assert_int_equal(strlen(et.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(et.text, "context: bbb", 12);
    /* From one byte of room to none at all. */
    for (int n = ERR_TEXT_MAX - 6; n < ERR_TEXT_MAX + 3; n++) {
        assert_int_equal(err_set(&et, ERR_IO, "old"), ERR_IO);
        err_prepend(&et, "%.*s", n, text);
        assert_true(strlen(et.text) < ERR_TEXT_MAX);
        assert_memory_equal(et.text, text, ERR_TEXT_MAX - 6);
    }
}

/* Where the old message is cut to make room, it is cut between characters. */
static void test_err_prepend_cut_at_character(void **state)
{
    (void)state;
    char euros[ERR_TEXT_MAX] = {0};
    for (size_t n = 0; n + 3 < sizeof euros; n += 3) {
        memcpy(euros + n, "\xe2\x82\xac", 3);
    }
    for (int n = 1; n <= 6; n++) {
        struct err_text et = {{0}};
        assert_int_equal(err_set(&et, ERR_IO, "%s", euros), ERR_IO);
        err_prepend(&et, "%.*s", n, "abcdef");
        assert_int_equal((strlen(et.text) - (size_t)n - 2) % 3, 0);
    }
}

/* The errno values that mean something special are told apart, all others are IO. */
static void test_err_from_errno_codes(void **state)
{
    (void)state;
    assert_int_equal(err_from_errno(ENOSPC), ERR_DISK_FULL);
    assert_int_equal(err_from_errno(EDQUOT), ERR_DISK_FULL);
    assert_int_equal(err_from_errno(ENOMEM), ERR_MEMORY);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_int_equal(err_from_errno(EIO), ERR_IO);
    assert_int_equal(err_from_errno(EACCES), ERR_IO);
    assert_int_equal(err_from_errno(-1), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_name_table),
        cmocka_unit_test(test_err_name_out_of_range),
        cmocka_unit_test(test_err_set_message),
        cmocka_unit_test(test_err_set_null),
        cmocka_unit_test(test_err_set_own_text),
        cmocka_unit_test(test_err_set_too_long),
        cmocka_unit_test(test_err_set_cut_at_character),
        cmocka_unit_test(test_err_set_not_utf8),
        cmocka_unit_test(test_err_prepend_context),
        cmocka_unit_test(test_err_prepend_empty),
        cmocka_unit_test(test_err_prepend_too_long),
        cmocka_unit_test(test_err_prepend_cut_at_character),
        cmocka_unit_test(test_err_from_errno_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
