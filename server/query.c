/* query: strict reading of query parameters; a misspelt or repeated one is an error, not a
 * default. */
#include "server/query.h"

#include "server/json_int.h"
#include "storage/base/timestamp.h"

#include <stdio.h>

#define SHOWN_NAME_MAX 64

static bool parse_number(enum query_kind kind, struct bytes value, struct query_number *ret,
                         char detail[QUERY_DETAIL_MAX]);
static bool parse_wait(struct bytes value, struct query_number *ret, char detail[QUERY_DETAIL_MAX]);
static bool parse_choice(struct bytes value, const char *no, const char *yes, bool *ret,
                         char detail[QUERY_DETAIL_MAX]);
static bool parse_name(struct bytes value, struct bytes *ret, char detail[QUERY_DETAIL_MAX]);
static bool add_name(struct query_names *names, struct bytes value, char detail[QUERY_DETAIL_MAX]);
static bool parse_time(struct bytes value, struct query_time *ret, char detail[QUERY_DETAIL_MAX]);
static bool parse_expectation(struct bytes value, struct query_expectation *ret,
                              char detail[QUERY_DETAIL_MAX]);
static bool reject(struct http_request *rq, struct bytes name, const char *detail);

bool query_read(struct http_request *rq, const struct query_parameter *parameters)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < http_query_count(rq); i++) {
        struct bytes name = http_query_name(rq, i);
        const struct query_parameter *p = parameters;
        uint64_t bit = 1;
        while (p->name != NULL && !bytes_equal(name, bytes_of_string(p->name))) {
            p++, bit <<= 1;
        }
        if (p->name == NULL) {
            return reject(rq, name, "this route does not take it");
        }
        if ((seen & bit) != 0 && p->kind != QUERY_NAMES) {
            return reject(rq, name, "it is given more than once");
        }
        seen |= bit;
        char detail[QUERY_DETAIL_MAX];
        if (!query_parse(p->kind, http_query_value(rq, i), p->ret, detail)) {
            return reject(rq, name, detail);
        }
    }
    return true;
}

bool query_stream(struct http_request *rq, struct bytes *ret)
{
    struct bytes stream = http_path_segment(rq, 2);
    if (!event_name_is_valid(stream)) {
        reply_problem_detail(rq, PROBLEM_INVALID_NAME, "stream",
                             "the stream of the path is no valid name");
        return false;
    }
    *ret = stream;
    return true;
}

bool query_parse(enum query_kind kind, struct bytes value, void *ret, char detail[QUERY_DETAIL_MAX])
{
    switch (kind) {
    case QUERY_NUMBER:
    case QUERY_POSITIVE:
    case QUERY_NUMBER_OR_END:
    case QUERY_PLACE:
        return parse_number(kind, value, ret, detail);
    case QUERY_FLAG:
        return parse_choice(value, "false", "true", ret, detail);
    case QUERY_DIRECTION:
        return parse_choice(value, "forward", "backward", ret, detail);
    case QUERY_NAME:
        return parse_name(value, ret, detail);
    case QUERY_NAMES:
        return add_name(ret, value, detail);
    case QUERY_TIME:
        return parse_time(value, ret, detail);
    case QUERY_WAIT:
        return parse_wait(value, ret, detail);
    case QUERY_EXPECTATION:
        return parse_expectation(value, ret, detail);
    }
    return false;
}

bool query_parse_number(struct bytes value, uint64_t *ret)
{
    if (value.n == 0) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < value.n; i++) {
        unsigned digit = (unsigned)value.p[i] - '0';
        if (digit > 9 || v > ((uint64_t)INT64_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *ret = v;
    return true;
}

static bool parse_number(enum query_kind kind, struct bytes value, struct query_number *ret,
                         char detail[QUERY_DETAIL_MAX])
{
    *ret = (struct query_number){.given = true};
    bool may_be_end = kind == QUERY_NUMBER_OR_END || kind == QUERY_PLACE;
    ret->end = may_be_end && bytes_equal(value, BYTES_LITERAL("end"));
    ret->snapshot = kind == QUERY_PLACE && bytes_equal(value, BYTES_LITERAL("snapshot"));
    if (ret->end || ret->snapshot) {
        return true;
    }
    if (!query_parse_number(value, &ret->value) || (kind == QUERY_POSITIVE && ret->value == 0)) {
        snprintf(detail, QUERY_DETAIL_MAX, "must be an integer from %d, in digits%s",
                 kind == QUERY_POSITIVE ? 1 : 0,
                 kind == QUERY_PLACE ? ", \"end\" or \"snapshot\""
                 : may_be_end        ? ", or \"end\""
                                     : "");
        return false;
    }
    return true;
}

static bool parse_wait(struct bytes value, struct query_number *ret, char detail[QUERY_DETAIL_MAX])
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
    size_t digits = 0;
    while (digits < value.n && value.p[digits] >= '0' && value.p[digits] <= '9') {
        digits++;
    }
    struct bytes unit = bytes_after(value, digits);
    *ret = (struct query_number){.given = true};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        uint64_t n;
        if (bytes_equal(unit, bytes_of_string(units[i].unit)) &&
            query_parse_number(bytes_of(value.p, digits), &n) &&
            n <= QUERY_WAIT_MS_MAX / units[i].ms) {
            ret->value = n * units[i].ms;
            return true;
        }
    }
    snprintf(detail, QUERY_DETAIL_MAX, "must be a time like 500ms, 10s or 1m, at most %d s",
             QUERY_WAIT_MS_MAX / 1000);
    return false;
}

static bool parse_choice(struct bytes value, const char *no, const char *yes, bool *ret,
                         char detail[QUERY_DETAIL_MAX])
{
    *ret = bytes_equal(value, bytes_of_string(yes));
    if (*ret || bytes_equal(value, bytes_of_string(no))) {
        return true;
    }
    snprintf(detail, QUERY_DETAIL_MAX, "must be \"%s\" or \"%s\"", no, yes);
    return false;
}

static bool parse_name(struct bytes value, struct bytes *ret, char detail[QUERY_DETAIL_MAX])
{
    if (!event_name_is_valid(value)) {
        snprintf(detail, QUERY_DETAIL_MAX,
                 "must be 1-255 bytes of UTF-8 without control characters");
        return false;
    }
    *ret = value;
    return true;
}

/* A '+' that is not percent-encoded is a blank in a query. */
static bool parse_time(struct bytes value, struct query_time *ret, char detail[QUERY_DETAIL_MAX])
{
    ret->given = true;
    if (timestamp_parse(value, &ret->us) == ERR_OK) {
        return true;
    }
    bool has_blank = value.n > 0 && memchr(value.p, ' ', value.n) != NULL;
    snprintf(detail, QUERY_DETAIL_MAX, "must be an RFC 3339 time such as 2026-01-01T00:00:00Z%s",
             has_blank ? "; write + as %2B" : "");
    return false;
}

static bool add_name(struct query_names *names, struct bytes value, char detail[QUERY_DETAIL_MAX])
{
    if (names->n == STORE_FILTER_MAX) {
        snprintf(detail, QUERY_DETAIL_MAX, "it is given more than %d times", STORE_FILTER_MAX);
        return false;
    }
    if (!parse_name(value, &names->items[names->n], detail)) {
        return false;
    }
    names->n++;
    return true;
}

static bool parse_expectation(struct bytes value, struct query_expectation *ret,
                              char detail[QUERY_DETAIL_MAX])
{
    bool is_number = value.n > 0 && value.p[0] >= '0' && value.p[0] <= '9';
    ret->given = json_parse_expectation(is_number, value, &ret->value);
    if (!ret->given) {
        snprintf(detail, QUERY_DETAIL_MAX, "must be %s", EXPECTED_WANTED);
    }
    return ret->given;
}

/* The name may be anything that a client can percent-encode. */
static bool reject(struct http_request *rq, struct bytes name, const char *detail)
{
    char field[sizeof "query." + SHOWN_NAME_MAX];
    size_t n = name.n > SHOWN_NAME_MAX ? SHOWN_NAME_MAX : name.n;
    bool showable = event_name_is_valid(bytes_of(name.p, n));
    snprintf(field, sizeof field, "query.%.*s", showable ? (int)n : 1,
             showable ? (const char *)name.p : "?");
    reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, field, "%s", detail);
    return false;
}
