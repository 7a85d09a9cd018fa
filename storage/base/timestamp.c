/* timestamp: calendar arithmetic and RFC 3339 text.
 *
 * Days are counted with years that begin in March, so that the leap day is the last of its year,
 * and in eras of 400 years, which all have the same 146097 days. */
#include "timestamp.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (INT64_C(86400) * US_PER_SECOND)
#define DAYS_PER_ERA  146097
/* Days from 0000-03-01 to 1970-01-01. */
#define EPOCH_DAYS 719468
/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z. */
#define TIME_US_MIN         (INT64_C(-719162) * US_PER_DAY)
#define TIME_US_MAX         (INT64_C(2932897) * US_PER_DAY - 1)
#define FRACTION_DIGITS_MAX 9
#define LAST_MINUTE_OF_DAY  (24 * 60 - 1)

/* What is left to read. */
struct cursor {
    const uint8_t *p;
    size_t n;
};

struct date {
    int32_t year;
    int32_t month; /* 1 to 12 */
    int32_t day;   /* 1 to 31 */
};

struct time_of_day {
    int32_t hour;
    int32_t minute;
    int32_t second; /* 60 in a leap second */
    int32_t us;
};

static struct date date_of_days(int32_t days);
static int32_t days_of_date(struct date d);
static char *put_digits(char *to, int32_t value, int digits);
static bool read_date(struct cursor *c, struct date *ret);
static bool read_time(struct cursor *c, struct time_of_day *ret);
static bool read_fraction(struct cursor *c, int32_t *ret_us);
static bool read_offset(struct cursor *c, int32_t *ret_minutes);
static bool read_digits(struct cursor *c, int digits, int32_t *ret);
static bool read_char(struct cursor *c, char wanted);

/* The text has no room for other years, so a time outside them is shown as the nearest that it
 * has. */
void timestamp_format(int64_t time_us, char ret[TIMESTAMP_TEXT_BYTES])
{
    int64_t time = time_us < TIME_US_MIN   ? TIME_US_MIN
                   : time_us > TIME_US_MAX ? TIME_US_MAX
                                           : time_us;
    int64_t since_min = time - TIME_US_MIN;
    int32_t days = (int32_t)(since_min / US_PER_DAY + TIME_US_MIN / US_PER_DAY);
    int64_t us = since_min % US_PER_DAY;
    int32_t seconds = (int32_t)(us / US_PER_SECOND);
    struct date d = date_of_days(days);

    char *to = put_digits(ret, d.year, 4);
    *to++ = '-';
    to = put_digits(to, d.month, 2);
    *to++ = '-';
    to = put_digits(to, d.day, 2);
    *to++ = 'T';
    to = put_digits(to, seconds / 3600, 2);
    *to++ = ':';
    to = put_digits(to, seconds / 60 % 60, 2);
    *to++ = ':';
    to = put_digits(to, seconds % 60, 2);
    *to++ = '.';
    to = put_digits(to, (int32_t)(us % US_PER_SECOND), 6);
    *to = 'Z';
}

err_t timestamp_parse(struct bytes text, int64_t *ret_us)
{
    struct cursor c = {text.p, text.n};
    struct date d;
    struct time_of_day t;
    int32_t offset_minutes;
    if (!read_date(&c, &d) || !(read_char(&c, 'T') || read_char(&c, 't')) || !read_time(&c, &t) ||
        !read_offset(&c, &offset_minutes) || c.n != 0) {
        return ERR_INVALID;
    }
    int64_t minutes = (int64_t)days_of_date(d) * 1440 + t.hour * 60 + t.minute - offset_minutes;
    if (t.second == 60) {
        /* Leap seconds come only at the end of a UTC day. */
        int64_t minute_of_day = (minutes % 1440 + 1440) % 1440;
        if (minute_of_day != LAST_MINUTE_OF_DAY) {
            return ERR_INVALID;
        }
        t.second = 59;
        t.us = (int32_t)US_PER_SECOND - 1;
    }
    int64_t time_us = (minutes * 60 + t.second) * US_PER_SECOND + t.us;
    if (time_us < TIME_US_MIN || time_us > TIME_US_MAX) {
        return ERR_INVALID;
    }
    *ret_us = time_us;
    return ERR_OK;
}

static struct date date_of_days(int32_t days)
{
    int32_t shifted = days + EPOCH_DAYS;
    int32_t era = shifted / DAYS_PER_ERA;
    int32_t day_of_era = shifted % DAYS_PER_ERA;
    int32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int32_t march_month = (5 * day_of_year + 2) / 153; /* 0 is March */
    int32_t month = march_month < 10 ? march_month + 3 : march_month - 9;
    return (struct date){
        .year = era * 400 + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * march_month + 2) / 5 + 1,
    };
}

static int32_t days_of_date(struct date d)
{
    int32_t year = d.year - (d.month <= 2);
    int32_t march_month = d.month > 2 ? d.month - 3 : d.month + 9;
    int32_t day_of_year = (153 * march_month + 2) / 5 + d.day - 1;
    int32_t day_of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + day_of_year;
    return year / 400 * DAYS_PER_ERA + day_of_era - EPOCH_DAYS;
}

static char *put_digits(char *to, int32_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10) {
        to[i] = (char)('0' + value % 10);
    }
    return to + digits;
}

static int32_t days_in_month(int32_t year, int32_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool read_date(struct cursor *c, struct date *ret)
{
    return read_digits(c, 4, &ret->year) && read_char(c, '-') && read_digits(c, 2, &ret->month) &&
           read_char(c, '-') && read_digits(c, 2, &ret->day) && ret->year >= 1 && ret->month >= 1 &&
           ret->month <= 12 && ret->day >= 1 && ret->day <= days_in_month(ret->year, ret->month);
}

static bool read_time(struct cursor *c, struct time_of_day *ret)
{
    return read_digits(c, 2, &ret->hour) && read_char(c, ':') && read_digits(c, 2, &ret->minute) &&
           read_char(c, ':') && read_digits(c, 2, &ret->second) && ret->hour <= 23 &&
           ret->minute <= 59 && ret->second <= 60 && read_fraction(c, &ret->us);
}

/* Digits after the sixth are read and dropped. */
static bool read_fraction(struct cursor *c, int32_t *ret_us)
{
    *ret_us = 0;
    if (!read_char(c, '.')) {
        return true;
    }
    int32_t weight = (int32_t)US_PER_SECOND / 10;
    int digits = 0;
    int32_t digit;
    while (read_digits(c, 1, &digit)) {
        digits++;
        *ret_us += digit * weight;
        weight /= 10;
    }
    return digits >= 1 && digits <= FRACTION_DIGITS_MAX;
}

static bool read_offset(struct cursor *c, int32_t *ret_minutes)
{
    *ret_minutes = 0;
    if (read_char(c, 'Z') || read_char(c, 'z')) {
        return true;
    }
    bool west = read_char(c, '-');
    if (!west && !read_char(c, '+')) {
        return false;
    }
    int32_t hours;
    int32_t minutes;
    if (!read_digits(c, 2, &hours) || !read_char(c, ':') || !read_digits(c, 2, &minutes) ||
        hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = west ? -(hours * 60 + minutes) : hours * 60 + minutes;
    return true;
}

static bool read_digits(struct cursor *c, int digits, int32_t *ret)
{
    if (c->n < (size_t)digits) {
        return false;
    }
    int32_t value = 0;
    for (int i = 0; i < digits; i++) {
        if (c->p[i] < '0' || c->p[i] > '9') {
            return false;
        }
        value = value * 10 + (c->p[i] - '0');
    }
    *ret = value;
    c->p += digits;
    c->n -= (size_t)digits;
    return true;
}

static bool read_char(struct cursor *c, char wanted)
{
    if (c->n == 0 || *c->p != (uint8_t)wanted) {
        return false;
    }
    c->p++;
    c->n--;
    return true;
}
