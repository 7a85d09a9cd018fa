/* json_values: the values of our own fields. */
#include "server/json_int.h"

#define U64_DIGITS_MAX  19
#define ESCAPE_U_LENGTH 6

/* Digits only: 1.0 and 1e3 are refused, since clients differ on what they are. */
bool json_parse_integer(struct bytes text, uint64_t max, uint64_t *ret)
{
    if (text.n > U64_DIGITS_MAX) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    if (v > max) {
        return false;
    }
    *ret = v;
    return true;
}

bool json_parse_expectation(bool is_number, struct bytes text, struct expectation *ret)
{
    static const struct {
        const char *name;
        enum expectation_kind kind;
    } names[] = {{"any", EXPECT_ANY},
                 {"no_stream", EXPECT_NO_STREAM},
                 {"stream_exists", EXPECT_STREAM_EXISTS}};
    if (is_number) {
        ret->kind = EXPECT_REVISION;
        return json_parse_integer(text, INT64_MAX, &ret->revision);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (bytes_equal(text, bytes_of_string(names[i].name))) {
            ret->kind = names[i].kind;
            return true;
        }
    }
    return false;
}

/* Whether every \uD800-\uDBFF is followed by a \uDC00-\uDFFF, and none of those stands alone. */
bool json_surrogates_are_paired(struct bytes source)
{
    bool high_before = false;
    for (size_t i = 0; i < source.n; i++) {
        bool high = false;
        bool low = false;
        size_t length = 1;
        if (source.p[i] == '\\' && source.n - i >= ESCAPE_U_LENGTH && source.p[i + 1] == 'u') {
            bool in_d = (source.p[i + 2] | 0x20) == 'd';
            uint8_t digit = source.p[i + 3] | 0x20;
            high = in_d && (digit == '8' || digit == '9' || digit == 'a' || digit == 'b');
            low = in_d && digit >= 'c' && digit <= 'f';
            length = ESCAPE_U_LENGTH;
        } else if (source.p[i] == '\\') {
            length = 2;
        }
        if (low != high_before) {
            return false;
        }
        high_before = high;
        i += length - 1;
    }
    return !high_before;
}
