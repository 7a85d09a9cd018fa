/* group_json: a reader that walks. */
#include "projections/group_json.h"

#define DEPTH_MAX 32

void group_json_init(struct group_json *j, struct bytes text, struct arena *arena)
{
    *j = (struct group_json){.p = text.p, .end = text.p + text.n, .arena = arena};
}

static bool fail(struct group_json *j)
{
    j->failed = true;
    return false;
}

/* The next byte that is not white space; 0 at the end. */
static uint8_t peek(struct group_json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t')) {
        j->p++;
    }
    return j->p < j->end && !j->failed ? *j->p : 0;
}

static bool take(struct group_json *j, uint8_t byte)
{
    if (peek(j) != byte) {
        return fail(j);
    }
    j->p++;
    return true;
}

/* Before the first member or item: the opening; before the others: the comma. */
static bool advance(struct group_json *j, bool *first, uint8_t open, uint8_t close)
{
    bool was_first = *first;
    *first = false;
    if (was_first && !take(j, open)) {
        return false;
    }
    if (peek(j) == close) {
        j->p++;
        return false;
    }
    return was_first ? !j->failed : take(j, ',');
}

bool group_json_member(struct group_json *j, bool *first, struct bytes *ret_name)
{
    if (!advance(j, first, '{', '}')) {
        return false;
    }
    *ret_name = group_json_string(j);
    return take(j, ':');
}

bool group_json_item(struct group_json *j, bool *first)
{
    return advance(j, first, '[', ']');
}

/* ---- strings ---- */

/* To the closing quote: the bytes between, and whether there are escapes among them. */
static bool scan_string(struct group_json *j, struct bytes *ret, bool *ret_escaped)
{
    if (!take(j, '"')) {
        return false;
    }
    const uint8_t *start = j->p;
    *ret_escaped = false;
    while (j->p < j->end && *j->p != '"') {
        bool escape = *j->p == '\\';
        *ret_escaped = *ret_escaped || escape;
        j->p += escape && j->p + 1 < j->end ? 2 : 1;
    }
    if (j->p >= j->end) {
        return fail(j);
    }
    *ret = bytes_of(start, (size_t)(j->p - start));
    j->p++;
    return true;
}

static int hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The one byte that an escape at p (after the backslash) means; -1: none that we write. */
static int unescape_one(const uint8_t **p, const uint8_t *end)
{
    static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
    uint8_t c = *(*p)++;
    const char *at = c == 0 ? NULL : strchr(FROM, c);
    if (at != NULL) {
        return (uint8_t)TO[at - FROM];
    }
    if (c != 'u' || end - *p < 4 || (*p)[0] != '0' || (*p)[1] != '0') {
        return -1;
    }
    int high = hex_of((*p)[2]), low = hex_of((*p)[3]);
    *p += 4;
    return high < 0 || high > 7 || low < 0 ? -1 : high * 16 + low;
}

static struct bytes unescape(struct group_json *j, struct bytes text)
{
    uint8_t *copy = arena_alloc(j->arena, text.n);
    size_t n = 0;
    const uint8_t *p = text.p, *end = text.p + text.n;
    while (copy != NULL && p < end) {
        int byte = *p++;
        if (byte == '\\') {
            byte = p < end ? unescape_one(&p, end) : -1;
        }
        if (byte < 0) {
            copy = NULL;
        } else {
            copy[n++] = (uint8_t)byte;
        }
    }
    if (copy == NULL) {
        fail(j);
        return BYTES_NONE;
    }
    return bytes_of(copy, n);
}

struct bytes group_json_string(struct group_json *j)
{
    struct bytes text = BYTES_NONE;
    bool escaped = false;
    if (!scan_string(j, &text, &escaped)) {
        return BYTES_NONE;
    }
    return escaped ? unescape(j, text) : text;
}

/* ---- the rest ---- */

uint64_t group_json_number(struct group_json *j)
{
    uint64_t v = 0;
    uint8_t c = peek(j);
    if (c < '0' || c > '9') {
        fail(j);
        return 0;
    }
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
        uint64_t digit = (uint64_t)(*j->p++ - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            fail(j);
            return 0;
        }
        v = v * 10 + digit;
    }
    return v;
}

bool group_json_bool(struct group_json *j)
{
    struct bytes text = group_json_raw(j);
    if (bytes_equal(text, BYTES_LITERAL("true"))) {
        return true;
    }
    return bytes_equal(text, BYTES_LITERAL("false")) ? false : fail(j);
}

struct bytes group_json_raw(struct group_json *j)
{
    if (peek(j) == 0) {
        fail(j);
        return BYTES_NONE;
    }
    const uint8_t *start = j->p;
    int depth = 0;
    bool escaped;
    struct bytes text;
    do {
        uint8_t c = peek(j);
        if (c == '"') {
            scan_string(j, &text, &escaped);
        } else if (c == '{' || c == '[') {
            depth++;
            j->p++;
        } else if (c == '}' || c == ']') {
            depth--;
            j->p++;
        } else if (c == ',' || c == ':') {
            j->p++;
        } else {
            while (j->p < j->end && strchr(",:]}[{\" \t\r\n", *j->p) == NULL) {
                j->p++;
            }
        }
        if (c == 0 || depth < 0 || depth > DEPTH_MAX) {
            fail(j);
        }
    } while (depth > 0 && !j->failed);
    return j->failed ? BYTES_NONE : bytes_of(start, (size_t)(j->p - start));
}
