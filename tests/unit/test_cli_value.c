/* Tests of clients/cli/value.h. */
#include "clients/cli/value.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct daybook_value read_value(const char *given)
{
    static struct daybook_buffer text;
    static uint8_t room[256];
    text = (struct daybook_buffer){.p = room, .capacity = sizeof room, .max = sizeof room};
    struct daybook_value v;
    assert_true(value_read(given, &text, &v));
    return v;
}

static void assert_text(const char *given, const char *expected, size_t n)
{
    struct daybook_value v = read_value(given);
    assert_int_equal(v.kind, DAYBOOK_TEXT);
    assert_int_equal(v.text.n, n);
    assert_memory_equal(v.text.p, expected, n);
}

/* JSON scalars are what they say. */
static void test_json(void **state)
{
    (void)state;
    assert_int_equal(read_value("null").kind, DAYBOOK_NULL);
    assert_int_equal(read_value("42").kind, DAYBOOK_INTEGER);
    assert_true(read_value("-9223372036854775808").integer == INT64_MIN);
    assert_int_equal(read_value("true").integer, 1);
    assert_int_equal(read_value("false").kind, DAYBOOK_INTEGER);
    struct daybook_value v = read_value("1.5");
    assert_true(v.kind == DAYBOOK_REAL && v.real == 1.5);
    v = read_value("9223372036854775808");
    assert_true(v.kind == DAYBOOK_REAL && v.real == 9223372036854775808.0);
    v = read_value("1e400");
    assert_true(v.kind == DAYBOOK_REAL && isinf(v.real));
    assert_text("\"5\"", "5", 1);
    assert_text("\"a\\u0000b\\\"\"", "a\0b\"", 4);
}

/* Everything else is text as it stands. */
static void test_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"",   "abc",        "1 2",    "0x10", "01",
                                        "+1", "nul",        "\"open", "[1]",  "{\"a\":1}",
                                        "1.", "2026-01-01", "-"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_text(texts[i], texts[i], strlen(texts[i]));
    }
}

static void test_wait(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"300ms", 300}, {"5s", 5000}, {"1m", 60000}, {"0s", 0}};
    static const char *const bad[] = {
        "", "5", "s", "5h", "-1s", "1.5s", "5 s", "5ss", "99999999999999999999s"};
    uint64_t ms = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(value_read_wait(bad[i], &ms));
        assert_true(ms == 7);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(value_read_wait(good[i].text, &ms));
        assert_true(ms == good[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_json), cmocka_unit_test(test_text),
                                       cmocka_unit_test(test_wait)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
