/* Tests of the parts of `daybook consume` and `daybook group` that need no server. */
#include "clients/cli/consume_command.h"
#include "clients/cli/group_int.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The last line that is not blank, wherever the pieces are cut. */
static void test_last_line(void **state)
{
    (void)state;
    static const char text[] = "first\nsecond\n  \n\t\nlast one\r\n\n";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct consume_line l = {0};
        consume_line_add(&l, text, cut);
        consume_line_add(&l, text + cut, sizeof text - 1 - cut);
        assert_string_equal(consume_line_end(&l), "last one\r");
    }
    struct consume_line l = {0};
    assert_string_equal(consume_line_end(&l), "");
    consume_line_add(&l, "a\nno end", 8);
    assert_string_equal(consume_line_end(&l), "no end");
}

/* A line that is too long is cut, and the next one is whole. */
static void test_long_line(void **state)
{
    (void)state;
    struct consume_line l = {0};
    for (int i = 0; i < 300; i++) {
        consume_line_add(&l, "0123456789", 10);
    }
    consume_line_add(&l, "\n", 1);
    assert_int_equal(strlen(l.last), CONSUME_LINE_BYTES);
    consume_line_add(&l, "next", 4);
    assert_string_equal(consume_line_end(&l), "next");
}

static void test_verdicts(void **state)
{
    (void)state;
    assert_int_equal(consume_verdict_of(0), CONSUME_ACK);
    assert_int_equal(consume_verdict_of(99), CONSUME_SKIP);
    assert_int_equal(consume_verdict_of(100), CONSUME_PARK);
    assert_int_equal(consume_verdict_of(126), CONSUME_STOP);
    assert_int_equal(consume_verdict_of(127), CONSUME_STOP);
    assert_int_equal(consume_verdict_of(1), CONSUME_RETRY);
    assert_int_equal(consume_verdict_of(137), CONSUME_RETRY);
}

static void test_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"30", 30},   {"1.5", 1.5}, {"250ms", 0.25}, {"10s", 10},
                {"10m", 600}, {"2h", 7200}, {"1d", 86400},   {"0", 0}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double seconds = -1;
        assert_true(group_parse_seconds(good[i].text, &seconds));
        assert_true(fabs(seconds - good[i].seconds) < 1e-9);
    }
    static const char *const bad[] = {"",      "s",  ".",   "-1",   "1 s",
                                      "1.2.3", "1w", "1e3", "1ms2", "12345678901234567"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double seconds = -1;
        assert_false(group_parse_seconds(bad[i], &seconds));
        assert_true(seconds < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_line),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
