/* json_raw: where values are in JSON text, for those that are handed on as they came: a parser
 * would write numbers anew. The text is well-formed, or what is said of it is wrong but within
 * it. */
#include "document_int.h"

#include <string.h>

static size_t skip_blank(struct daybook_bytes json, size_t at)
{
    const uint8_t *p = json.p;
    while (at < json.n && (p[at] == ' ' || p[at] == '\n' || p[at] == '\t' || p[at] == '\r')) {
        at++;
    }
    return at;
}

/* `at` is behind the opening quote. */
static size_t skip_string(struct daybook_bytes json, size_t at)
{
    const uint8_t *p = json.p;
    while (at < json.n && p[at] != '"') {
        at += p[at] == '\\' ? 2 : 1;
    }
    return at < json.n ? at + 1 : json.n;
}

static bool ends_scalar(uint8_t c)
{
    return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Behind the value that begins at `at`. */
static size_t skip_value(struct daybook_bytes json, size_t at)
{
    const uint8_t *p = json.p;
    size_t depth = 0;
    while (at < json.n) {
        if (p[at] == '"') {
            at = skip_string(json, at + 1);
        } else if (p[at] == '{' || p[at] == '[') {
            depth++;
            at++;
            continue;
        } else if (depth > 0) {
            depth -= p[at] == '}' || p[at] == ']';
            at++;
        } else {
            while (at < json.n && !ends_scalar(p[at])) {
                at++;
            }
        }
        if (depth == 0) {
            break;
        }
    }
    return at;
}

static struct daybook_bytes part(struct daybook_bytes json, size_t from, size_t to)
{
    return (struct daybook_bytes){(const uint8_t *)json.p + from, to - from};
}

bool daybook_json_raw_member(struct daybook_bytes object, const char *name,
                             struct daybook_bytes *ret)
{
    const uint8_t *p = object.p;
    size_t wanted = strlen(name);
    size_t at = skip_blank(object, 0);
    at += at < object.n;
    while ((at = skip_blank(object, at)) < object.n && p[at] == '"') {
        size_t begin = at + 1;
        at = skip_string(object, begin);
        bool found = at - begin == wanted + 1 && memcmp(p + begin, name, wanted) == 0;
        at = skip_blank(object, at);
        at = skip_blank(object, at + (at < object.n)); /* the colon */
        size_t end = skip_value(object, at);
        if (found) {
            *ret = part(object, at, end);
            return true;
        }
        at = skip_blank(object, end);
        at += at < object.n; /* the comma */
    }
    return false;
}

bool daybook_json_raw_element(struct daybook_bytes array, size_t *at, struct daybook_bytes *ret)
{
    const uint8_t *p = array.p;
    *at = skip_blank(array, *at);
    *at += *at < array.n; /* the bracket, or the comma before */
    size_t begin = skip_blank(array, *at);
    *at = skip_value(array, begin);
    *ret = part(array, begin, *at);
    return ret->n > 0 && p[begin] != ']';
}
