/* Tests of storage/base/timestamp.h. */
#include "storage/base/timestamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define US        INT64_C(1000000)
#define DAY_US    (86400 * US)
#define FIRST_US  INT64_C(-62135596800000000)
#define LAST_US   INT64_C(253402300799999999)
#define UNTOUCHED INT64_C(77)

static void assert_format(int64_t time_us, const char *want)
{
    char text[TIMESTAMP_TEXT_BYTES + 1];
    text[TIMESTAMP_TEXT_BYTES] = '\0';
    timestamp_format(time_us, text);
    assert_string_equal(text, want);
}

/* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
static err_t parse(const char *text, int64_t *ret_us)
{
    size_t n = strlen(text);
    char *copy = malloc(n == 0 ? 1 : n);
    assert_non_null(copy);
    memcpy(copy, text, n);
    err_t err = timestamp_parse(bytes_of(copy, n), ret_us);
    free(copy);
    return err;
}

static void assert_parse(const char *text, int64_t want_us)
{
    int64_t time_us = UNTOUCHED;
    if (parse(text, &time_us) != ERR_OK || time_us != want_us) {
        fail_msg("%s: got %" PRId64 ", want %" PRId64, text, time_us, want_us);
    }
}

static void assert_rejected(const char *text)
{
    int64_t time_us = UNTOUCHED;
    if (parse(text, &time_us) != ERR_INVALID || time_us != UNTOUCHED) {
        fail_msg("%s was accepted", text);
    }
}

/* Well-known instants, before and after the epoch, and both ends of the range. */
static void test_timestamp_format_instants(void **state)
{
    (void)state;
    assert_format(0, "1970-01-01T00:00:00.000000Z");
    assert_format(-1, "1969-12-31T23:59:59.999999Z");
    assert_format(1, "1970-01-01T00:00:00.000001Z");
    assert_format(INT64_C(951782400) * US, "2000-02-29T00:00:00.000000Z");
    assert_format(INT64_C(1000000000) * US + 123456, "2001-09-09T01:46:40.123456Z");
    assert_format(INT64_C(4107542399) * US, "2100-02-28T23:59:59.000000Z");
    assert_format(INT64_C(4107542400) * US, "2100-03-01T00:00:00.000000Z");
    assert_format(FIRST_US, "0001-01-01T00:00:00.000000Z");
    assert_format(LAST_US, "9999-12-31T23:59:59.999999Z");
}

/* A time outside the years 0001 to 9999 is written as the nearest inside. */
static void test_timestamp_format_out_of_range(void **state)
{
    (void)state;
    assert_format(FIRST_US - 1, "0001-01-01T00:00:00.000000Z");
    assert_format(INT64_MIN, "0001-01-01T00:00:00.000000Z");
    assert_format(LAST_US + 1, "9999-12-31T23:59:59.999999Z");
    assert_format(INT64_MAX, "9999-12-31T23:59:59.999999Z");
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

static void assert_same(int64_t time_us, const char want[TIMESTAMP_TEXT_BYTES])
{
    char text[TIMESTAMP_TEXT_BYTES];
    int64_t back = UNTOUCHED;
    timestamp_format(time_us, text);
    err_t err = timestamp_parse(bytes_of(text, sizeof text), &back);
    if (memcmp(text, want, sizeof text) != 0 || err != ERR_OK || back != time_us) {
        fail_msg("%.27s", want);
    }
}

/* Every day of all 9999 years, counted one by one, is written and read as such. */
static void test_timestamp_every_day(void **state)
{
    (void)state;
    int64_t time_us = FIRST_US + 5025 * US + 42;
    for (int month = 0; month < 9999 * 12; month++) {
        int days = days_in_month(month / 12 + 1, month % 12 + 1);
        char want[64];
        snprintf(want, sizeof want, "%04d-%02d-00T01:23:45.000042Z", month / 12 + 1,
                 month % 12 + 1);
        for (int day = 1; day <= days; day++, time_us += DAY_US) {
            want[8] = (char)('0' + day / 10);
            want[9] = (char)('0' + day % 10);
            assert_same(time_us, want);
        }
    }
    assert_true(time_us == LAST_US + 1 + 5025 * US + 42);
}

/* Every second of a day is written and read as such. */
static void test_timestamp_every_second(void **state)
{
    (void)state;
    for (int s = 0; s < 86400; s++) {
        char want[64];
        snprintf(want, sizeof want, "1969-12-31T%02d:%02d:%02d.000000Z", s / 3600, s / 60 % 60,
                 s % 60);
        assert_same(s * US - DAY_US, want);
    }
}

/* The separator and Z may be lower case, and the fraction may be absent. */
static void test_timestamp_parse_forms(void **state)
{
    (void)state;
    assert_parse("1970-01-01T00:00:00Z", 0);
    assert_parse("1970-01-01t00:00:00z", 0);
    assert_parse("1970-01-01T00:00:00+00:00", 0);
    assert_parse("1970-01-01T00:00:00-00:00", 0);
    assert_parse("1985-04-12T23:20:50.52Z", INT64_C(482196050520000));
    assert_parse("1937-01-01T12:00:27.87+00:20", INT64_C(-1041337172130000));
}

/* One to nine fraction digits count; what is finer than a microsecond is dropped, not rounded. */
static void test_timestamp_parse_fraction(void **state)
{
    (void)state;
    assert_parse("1970-01-01T00:00:00.1Z", 100000);
    assert_parse("1970-01-01T00:00:00.12Z", 120000);
    assert_parse("1970-01-01T00:00:00.000001Z", 1);
    assert_parse("1970-01-01T00:00:00.1234567Z", 123456);
    assert_parse("1970-01-01T00:00:00.999999999Z", 999999);
    assert_parse("1970-01-01T00:00:00.000000999+00:00", 0);
    /* Before the epoch too the digits that stay are those that were written. */
    assert_parse("1969-12-31T23:59:59.999999999Z", -1);
    assert_rejected("1970-01-01T00:00:00.Z");
    assert_rejected("1970-01-01T00:00:00.");
    assert_rejected("1970-01-01T00:00:00.0000000000Z");
    assert_rejected("1970-01-01T00:00:00,5Z");
    assert_rejected("1970-01-01T00:00:00.-5Z");
}

/* An offset may move the instant into another day, month or year. */
static void test_timestamp_parse_offset(void **state)
{
    (void)state;
    assert_parse("1970-01-01T00:00:00+01:00", -3600 * US);
    assert_parse("1969-12-31T23:00:00-01:00", 0);
    assert_parse("1970-01-02T05:29:59.5+05:30", DAY_US - US / 2);
    assert_parse("1990-12-31T15:59:59-08:00", INT64_C(662687999) * US);
    assert_parse("2000-02-28T23:30:00-00:30", INT64_C(951782400) * US);
    assert_parse("2000-03-01T00:00:00+23:59", INT64_C(951782400) * US + 60 * US);
    assert_parse("1969-12-31T00:01:00-23:59", 0);
    assert_rejected("1970-01-01T00:00:00+24:00");
    assert_rejected("1970-01-01T00:00:00+00:60");
    assert_rejected("1970-01-01T00:00:00+0100");
    assert_rejected("1970-01-01T00:00:00+01");
    assert_rejected("1970-01-01T00:00:00+1:00");
    assert_rejected("1970-01-01T00:00:00 +01:00");
    assert_rejected("1970-01-01T00:00:00Z+01:00");
    assert_rejected("1970-01-01T00:00:00");
}

/* Days exist as the calendar says, leap years included. */
static void test_timestamp_parse_calendar(void **state)
{
    (void)state;
    assert_parse("2000-02-29T00:00:00Z", INT64_C(951782400) * US);
    assert_parse("2024-02-29T00:00:00Z", INT64_C(1709164800) * US);
    static const char *const bad[] = {
        "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z", "2024-04-31T00:00:00Z", "2024-06-31T00:00:00Z",
        "2024-09-31T00:00:00Z", "2024-11-31T00:00:00Z", "2024-01-32T00:00:00Z",
        "2024-12-32T00:00:00Z", "2024-00-01T00:00:00Z", "2024-13-01T00:00:00Z",
        "2024-01-00T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z", "2024-99-99T99:99:99Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_rejected(bad[i]);
    }
}

/* The years 0001 to 9999 are the range, of the text and of the instant it means. */
static void test_timestamp_parse_range(void **state)
{
    (void)state;
    assert_parse("0001-01-01T00:00:00Z", FIRST_US);
    assert_parse("0001-01-01T01:00:00+01:00", FIRST_US);
    assert_parse("9999-12-31T23:59:59.999999999Z", LAST_US);
    assert_parse("9999-12-31T22:59:59.999999-01:00", LAST_US);
    assert_rejected("0001-01-01T00:00:00+00:01");
    assert_rejected("0001-01-01T00:59:59.999999+01:00");
    assert_rejected("9999-12-31T23:59:59-00:01");
    assert_rejected("0000-12-31T23:59:59Z");
    assert_rejected("0000-12-31T23:59:59-01:00");
    assert_rejected("10000-01-01T00:00:00Z");
    assert_rejected("-001-01-01T00:00:00Z");
}

/* A leap second is the last microsecond before midnight UTC, and is nowhere else in the day. */
static void test_timestamp_parse_leap_second(void **state)
{
    (void)state;
    int64_t last_us = INT64_C(662688000) * US - 1;
    assert_parse("1990-12-31T23:59:60Z", last_us);
    assert_parse("1990-12-31T23:59:60.5Z", last_us);
    assert_parse("1990-12-31T15:59:60-08:00", last_us);
    assert_parse("1991-01-01T08:59:60.123456789+09:00", last_us);
    assert_parse("1969-12-31T23:59:60Z", -1);
    assert_parse("0001-01-01T23:59:60Z", FIRST_US + DAY_US - 1);
    assert_parse("9999-12-31T23:59:60Z", LAST_US);
    assert_rejected("1990-12-31T22:59:60Z");
    assert_rejected("1990-12-31T23:58:60Z");
    assert_rejected("1990-12-31T23:59:60+01:00");
    assert_rejected("1960-06-30T12:00:60Z");
}

/* Every beginning of a good text, every longer one, and every other byte at a separator is
 * rejected. */
static void test_timestamp_parse_form_errors(void **state)
{
    (void)state;
    static const char good[] = "2026-01-02T03:04:05.678901Z";
    for (size_t n = 0; n < sizeof good - 1; n++) {
        char text[sizeof good] = {0};
        memcpy(text, good, n);
        assert_rejected(text);
    }
    for (size_t at = 0; at < sizeof good - 1; at++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        text[at] = '\x80';
        assert_rejected(text);
        text[at] = ' ';
        assert_rejected(text);
        text[at] = '/';
        assert_rejected(text);
    }
    assert_rejected("2026-01-02T03:04:05.678901Z ");
    assert_rejected(" 2026-01-02T03:04:05.678901Z");
    assert_rejected("2026-01-02 03:04:05Z");
    assert_rejected("20260102T030405Z");
    assert_rejected("2026-1-02T03:04:05Z");
    assert_rejected("+026-01-02T03:04:05Z");
    int64_t time_us;
    assert_int_equal(timestamp_parse(BYTES_LITERAL("2026-01-02T03:04:05Z\0"), &time_us),
                     ERR_INVALID);
    assert_int_equal(timestamp_parse(BYTES_NONE, &time_us), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timestamp_format_instants),
        cmocka_unit_test(test_timestamp_format_out_of_range),
        cmocka_unit_test(test_timestamp_every_day),
        cmocka_unit_test(test_timestamp_every_second),
        cmocka_unit_test(test_timestamp_parse_forms),
        cmocka_unit_test(test_timestamp_parse_fraction),
        cmocka_unit_test(test_timestamp_parse_offset),
        cmocka_unit_test(test_timestamp_parse_calendar),
        cmocka_unit_test(test_timestamp_parse_range),
        cmocka_unit_test(test_timestamp_parse_leap_second),
        cmocka_unit_test(test_timestamp_parse_form_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
