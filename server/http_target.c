/* http_target: one pass over the path, one over the query. */
#include "server/http_target.h"

#include <strings.h>

static struct bytes strip_authority(struct bytes target);
static size_t count_byte(struct bytes b, uint8_t byte);
static err_t parse_path(struct arena *arena, struct http_target *ret, const char **ret_fault);
static err_t parse_query(struct arena *arena, struct bytes query, struct http_target *ret,
                         const char **ret_fault);
static err_t decode(struct arena *arena, struct bytes text, bool plus_is_space, struct bytes *ret);

err_t http_target_parse(struct arena *arena, struct bytes target, struct http_target *ret,
                        const char **ret_fault)
{
    *ret = (struct http_target){0};
    *ret_fault = NULL;
    target = strip_authority(target);
    const uint8_t *question = target.n == 0 ? NULL : memchr(target.p, '?', target.n);
    size_t path_bytes = question == NULL ? target.n : (size_t)(question - target.p);
    char *path = arena_alloc(arena, path_bytes + 1);
    if (path == NULL) {
        return ERR_MEMORY;
    }
    if (path_bytes > 0) {
        memcpy(path, target.p, path_bytes);
    }
    path[path_bytes] = '\0';
    ret->path = bytes_of(path, path_bytes);
    if (bytes_equal(target, BYTES_LITERAL("*"))) {
        return ERR_OK;
    }
    if (path_bytes == 0 || path[0] != '/') {
        *ret_fault = "the request target does not start with '/'";
        return ERR_INVALID;
    }
    for (size_t i = 0; i < target.n; i++) {
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f || target.p[i] == '#') {
            *ret_fault = "the request target has a byte that must be percent-encoded";
            return ERR_INVALID;
        }
    }
    err_t err = parse_path(arena, ret, ret_fault);
    if (err == ERR_OK && question != NULL) {
        struct bytes query = bytes_of(question + 1, target.n - path_bytes - 1);
        err = parse_query(arena, query, ret, ret_fault);
    }
    return err;
}

/* RFC 9112 section 3.2.2: a server must accept the absolute form too. */
static struct bytes strip_authority(struct bytes target)
{
    size_t scheme = 0;
    if (target.n >= 7 && strncasecmp((const char *)target.p, "http://", 7) == 0) {
        scheme = 7;
    } else if (target.n >= 8 && strncasecmp((const char *)target.p, "https://", 8) == 0) {
        scheme = 8;
    } else {
        return target;
    }
    size_t i = scheme;
    while (i < target.n && target.p[i] != '/' && target.p[i] != '?') {
        i++;
    }
    return i == target.n ? BYTES_LITERAL("/") : bytes_of(target.p + i, target.n - i);
}

static size_t count_byte(struct bytes b, uint8_t byte)
{
    size_t n = 0;
    for (size_t i = 0; i < b.n; i++) {
        n += b.p[i] == byte;
    }
    return n;
}

/* The part of *rest up to `separator`; *rest becomes what follows it. */
static struct bytes next_part(struct bytes *rest, uint8_t separator)
{
    const uint8_t *end = rest->n == 0 ? NULL : memchr(rest->p, separator, rest->n);
    struct bytes part = bytes_of(rest->p, end == NULL ? rest->n : (size_t)(end - rest->p));
    size_t used = end == NULL ? rest->n : part.n + 1;
    *rest = bytes_of(rest->p + used, rest->n - used);
    return part;
}

static err_t parse_path(struct arena *arena, struct http_target *ret, const char **ret_fault)
{
    if (ret->path.n == 1) {
        return ERR_OK;
    }
    size_t n = count_byte(ret->path, '/');
    struct bytes *segments = arena_alloc(arena, n * sizeof *segments);
    if (segments == NULL) {
        return ERR_MEMORY;
    }
    struct bytes rest = bytes_of(ret->path.p + 1, ret->path.n - 1);
    for (size_t i = 0; i < n; i++) {
        err_t err = decode(arena, next_part(&rest, '/'), false, &segments[i]);
        if (err != ERR_OK) {
            *ret_fault = "the percent-encoding of the path is broken";
            return err;
        }
    }
    ret->segments = segments;
    ret->segment_count = n;
    return ERR_OK;
}

static err_t parse_query(struct arena *arena, struct bytes query, struct http_target *ret,
                         const char **ret_fault)
{
    size_t cap = count_byte(query, '&') + 1;
    struct http_parameter *parameters = arena_alloc(arena, cap * sizeof *parameters);
    if (parameters == NULL) {
        return ERR_MEMORY;
    }
    size_t n = 0;
    while (query.n > 0) {
        struct bytes value = next_part(&query, '&');
        if (value.n == 0) {
            continue;
        }
        struct bytes name = next_part(&value, '=');
        err_t err = decode(arena, name, true, &parameters[n].name);
        if (err == ERR_OK) {
            err = decode(arena, value, true, &parameters[n].value);
        }
        if (err != ERR_OK) {
            *ret_fault = "the percent-encoding of the query is broken";
            return err;
        }
        n++;
    }
    ret->parameters = parameters;
    ret->parameter_count = n;
    return ERR_OK;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static err_t decode(struct arena *arena, struct bytes text, bool plus_is_space, struct bytes *ret)
{
    uint8_t *out = arena_alloc(arena, text.n);
    if (out == NULL) {
        return ERR_MEMORY;
    }
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c == '%') {
            int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
            int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return ERR_INVALID;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    *ret = bytes_of(out, n);
    return ERR_OK;
}
