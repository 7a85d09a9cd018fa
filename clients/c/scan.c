/* scan: see scan.h. */
#include "scan.h"

#include <string.h>

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }
    return p;
}

/* Behind the string that begins at p; NULL: it has no end. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '"') {
            return p + 1;
        }
        if (*p == '\\' && ++p == end) {
            break;
        }
    }
    return NULL;
}

static const char *skip_plain(const char *p, const char *end)
{
    while (p < end && strchr(" \t\r\n,:]}[{\"", *p) == NULL) {
        p++;
    }
    return p;
}

/* Only the brackets count, and that they fit each other. */
static const char *skip_nested(const char *p, const char *end)
{
    char open[DAYBOOK_SCAN_DEPTH];
    size_t depth = 0;
    while (p != NULL && p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        if (*p == '{' || *p == '[') {
            if (depth == DAYBOOK_SCAN_DEPTH) {
                return NULL;
            }
            open[depth++] = *p == '{' ? '}' : ']';
        } else if ((*p == '}' || *p == ']') && (depth == 0 || open[--depth] != *p)) {
            return NULL;
        }
        p++;
        if (depth == 0) {
            return p;
        }
    }
    return NULL;
}

struct daybook_bytes daybook_scan_value(struct daybook_bytes text)
{
    const char *begin = text.n > 0 ? text.p : "";
    const char *end = begin + text.n;
    begin = skip_blanks(begin, end);
    const char *after = begin == end                     ? NULL
                        : *begin == '"'                  ? skip_string(begin, end)
                        : *begin == '{' || *begin == '[' ? skip_nested(begin, end)
                                                         : skip_plain(begin, end);
    return (struct daybook_bytes){begin, after == NULL ? 0 : (size_t)(after - begin)};
}

/* ---- walking ---- */

static struct daybook_scan walk(struct daybook_bytes value, char open)
{
    const char *p = value.p;
    if (value.n < 2 || p[0] != open) {
        return (struct daybook_scan){.at = NULL, .damaged = true};
    }
    return (struct daybook_scan){.at = p + 1, .end = p + value.n - 1};
}

struct daybook_scan daybook_scan_object(struct daybook_bytes object)
{
    return walk(object, '{');
}

struct daybook_scan daybook_scan_array(struct daybook_bytes array)
{
    return walk(array, '[');
}

/* The next value, and then what stands behind it: `behind`, or nothing at the end. */
static bool take(struct daybook_scan *s, char behind, struct daybook_bytes *ret)
{
    *ret = daybook_scan_value((struct daybook_bytes){s->at, (size_t)(s->end - s->at)});
    s->at = skip_blanks((const char *)ret->p + ret->n, s->end);
    if (ret->n == 0 || (s->at == s->end ? behind == ':' : *s->at != behind)) {
        s->damaged = true;
        s->at = NULL;
        return false;
    }
    s->at += s->at < s->end ? 1 : 0;
    return true;
}

static bool is_over(struct daybook_scan *s)
{
    return s->at == NULL || (s->at = skip_blanks(s->at, s->end)) == s->end;
}

bool daybook_scan_member(struct daybook_scan *s, struct daybook_bytes *ret_name,
                         struct daybook_bytes *ret_value)
{
    return !is_over(s) && take(s, ':', ret_name) && take(s, ',', ret_value);
}

bool daybook_scan_element(struct daybook_scan *s, struct daybook_bytes *ret_value)
{
    return !is_over(s) && take(s, ',', ret_value);
}

size_t daybook_scan_count(struct daybook_bytes array)
{
    struct daybook_scan s = daybook_scan_array(array);
    struct daybook_bytes value;
    size_t n = 0;
    while (daybook_scan_element(&s, &value)) {
        n++;
    }
    return n;
}

struct daybook_bytes daybook_scan_find(struct daybook_bytes object, const char *name)
{
    struct daybook_scan s = daybook_scan_object(object);
    struct daybook_bytes key, value;
    size_t n = strlen(name);
    while (daybook_scan_member(&s, &key, &value)) {
        if (key.n == n + 2 && memcmp((const char *)key.p + 1, name, n) == 0) {
            return value;
        }
    }
    return (struct daybook_bytes){NULL, 0};
}

/* ---- values ---- */

bool daybook_scan_is(struct daybook_bytes value, const char *literal)
{
    return value.n == strlen(literal) && memcmp(value.p, literal, value.n) == 0;
}

uint64_t daybook_scan_number(struct daybook_bytes value)
{
    const char *p = value.p;
    uint64_t number = 0;
    for (size_t i = 0; i < value.n; i++) {
        uint64_t digit = (uint64_t)(p[i] - '0');
        if (p[i] < '0' || p[i] > '9' || number > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        number = number * 10 + digit;
    }
    return number;
}

static bool read_hex(const char *p, const char *end, uint32_t *ret)
{
    uint32_t code = 0;
    if (end - p < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = p[i] == '\0' ? NULL : strchr(digits, p[i] | 0x20);
        if (digit == NULL) {
            return false;
        }
        code = code << 4 | (uint32_t)(digit - digits);
    }
    *ret = code;
    return true;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* \uXXXX at *at, with its other half where it is one of a pair. */
static bool read_code(const char **at, const char *end, uint32_t *ret)
{
    uint32_t low;
    if (!read_hex(*at, end, ret)) {
        return false;
    }
    *at += 4;
    if (*ret >= 0xd800 && *ret < 0xdc00) {
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' || !read_hex(*at + 2, end, &low) ||
            low < 0xdc00 || low > 0xdfff) {
            return false;
        }
        *at += 6;
        *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
    }
    return *ret != 0 && (*ret < 0xdc00 || *ret > 0xdfff);
}

/* An escape takes at least as many bytes as what it stands for. */
const char *daybook_scan_string(struct daybook_arena *arena, struct daybook_bytes value)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = value.p;
    if (value.n < 2 || p[0] != '"') {
        return NULL;
    }
    const char *end = p + value.n - 1;
    char *text = daybook_arena_get(arena, value.n), *out = text;
    for (p++; out != NULL && p < end;) {
        uint32_t code;
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        p++;
        const char *plain = p < end && *p != '\0' ? strchr(from, *p) : NULL;
        if (plain != NULL) {
            *out++ = to[plain - from];
            p++;
        } else if (p < end && *p == 'u' && (p++, read_code(&p, end, &code))) {
            out = put_utf8(out, code);
        } else {
            return NULL;
        }
    }
    if (out != NULL) {
        *out = '\0';
    }
    return text;
}
