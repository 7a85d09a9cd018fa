/* http_framing: refuses what libmicrohttpd 0.9.75 lets through and another server on the way may
 * read differently (request smuggling): more than one length, whitespace and control bytes, folded
 * lines.
 *
 * libmicrohttpd parses in place and hands out C strings, so a NUL, a bare line feed or a folded
 * line is invisible in what it tells. But it also tells the header's size, and name and value point
 * into it: each well-formed line is as long as (value - name) + value + CRLF. If the lines do not
 * add up to the header, something was hidden. From 0.9.76 on the library is strict itself and lays
 * the header out differently. */
#include "server/http_int.h"

#include <strings.h>

#if MHD_VERSION < 0x00097600
#define COUNT_BYTES 1
#else
#define COUNT_BYTES 0
#endif

#define VERSION_BYTES (sizeof "HTTP/1.1" - 1)

struct scan {
    struct http_request *rq;
    const char *fault;
    size_t bytes; /* what the lines add up to */
    unsigned hosts, lengths, encodings;
};

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_bytes, const char *value, size_t value_bytes);
static const char *scan_special(struct scan *s, struct bytes name, struct bytes value,
                                bool trimmed);
static const char *scan_whole(const struct scan *s, const char *version);
static const char *request_line_fault(const struct http_request *rq, const char *method,
                                      const char *version, size_t lines_bytes);
static bool is_token(struct bytes b);
static bool has_control(struct bytes b);
static bool add_header(struct http_request *rq, struct bytes name, struct bytes value);

/* What is wrong with the header, or NULL. Fills what the request has of it. */
const char *http_framing_fault(struct http_request *rq, const char *method, const char *version)
{
    struct scan s = {.rq = rq};
    MHD_get_connection_values_n(rq->mhd, MHD_HEADER_KIND, scan_header, &s);
    if (s.fault == NULL) {
        s.fault = scan_whole(&s, version);
    }
    if (s.fault == NULL) {
        s.fault = request_line_fault(rq, method, version, s.bytes);
    }
    return s.fault;
}

/* Borrowed values become the request's own, because the connection goes. */
void http_headers_keep(struct http_request *rq)
{
    for (size_t i = 0; i < rq->header_count; i++) {
        struct header *h = &rq->headers[i];
        if (arena_copy(&rq->arena, h->name, &h->name) != ERR_OK ||
            arena_copy(&rq->arena, h->value, &h->value) != ERR_OK) {
            /* Its reply goes nowhere, so it may as well be made from nothing. */
            rq->header_count = i;
        }
    }
}

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_bytes, const char *value, size_t value_bytes)
{
    struct scan *s = cls;
    struct bytes n = bytes_of(name, name_bytes);
    struct bytes v = bytes_of(value, value == NULL ? 0 : value_bytes);
    (void)kind;
    s->bytes += (size_t)((uintptr_t)value - (uintptr_t)name) + value_bytes + 2;
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t')) {
        v.n--;
    }
    if (!is_token(n)) {
        s->fault = "a header name has a byte that is not allowed there";
    } else if (has_control(v)) {
        s->fault = "a header value has a control byte";
    } else if (!add_header(s->rq, n, v)) {
        s->fault = "the header does not fit into memory";
    } else {
        s->fault = scan_special(s, n, v, v.n != value_bytes);
    }
    return s->fault == NULL ? MHD_YES : MHD_NO;
}

static bool is_named(struct bytes name, const char *wanted)
{
    return strncasecmp((const char *)name.p, wanted, name.n) == 0;
}

static const char *scan_length(struct scan *s, struct bytes value)
{
    uint64_t n = 0;
    bool overflow = false;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') {
            return "Content-Length is not a number";
        }
        overflow = overflow || n > (UINT64_MAX - 9) / 10;
        n = n * 10 + (uint64_t)(value.p[i] - '0');
    }
    s->rq->content_length = overflow ? UINT64_MAX : n;
    s->lengths++;
    return value.n == 0 ? "Content-Length is empty" : NULL;
}

static const char *scan_special(struct scan *s, struct bytes name, struct bytes value, bool trimmed)
{
    if (name.n == 4 && is_named(name, "Host")) {
        s->hosts++;
        for (size_t i = 0; i < value.n; i++) {
            if (strchr(" \t,/?#@\\", value.p[i]) != NULL) {
                return "Host has a byte that is not allowed there";
            }
        }
    } else if (name.n == 6 && is_named(name, "Expect")) {
        s->rq->expects_continue = value.n == 12 && is_named(value, "100-continue");
    } else if (name.n == 14 && is_named(name, "Content-Length")) {
        return scan_length(s, value);
    } else if (name.n == 17 && is_named(name, "Transfer-Encoding")) {
        s->encodings++;
        s->rq->chunked = true;
        /* With a space behind it libmicrohttpd would not take it for chunked. */
        if (value.n != 7 || trimmed || !is_named(value, "chunked")) {
            return "Transfer-Encoding is not exactly \"chunked\"";
        }
    }
    return NULL;
}

static const char *scan_whole(const struct scan *s, const char *version)
{
    bool is_1_0 = strcmp(version, "HTTP/1.0") == 0;
    if (s->lengths > 1) {
        return "there is more than one Content-Length";
    }
    if (s->encodings > 1) {
        return "there is more than one Transfer-Encoding";
    }
    if (s->lengths > 0 && s->encodings > 0) {
        return "there are both Content-Length and Transfer-Encoding";
    }
    if (s->encodings > 0 && is_1_0) {
        return "Transfer-Encoding is not part of HTTP/1.0";
    }
    if (s->hosts > 1) {
        return "there is more than one Host";
    }
    if (s->hosts == 0 && !is_1_0) {
        return "there is no Host";
    }
    return NULL;
}

static const char *request_line_fault(const struct http_request *rq, const char *method,
                                      const char *version, size_t lines_bytes)
{
    size_t method_bytes = strlen(method);
    if (!is_token(bytes_of(method, method_bytes))) {
        return "the method has a byte that is not allowed there";
    }
    for (size_t i = 0; i < rq->uri_bytes; i++) {
        if (rq->raw_target[i] <= ' ' || rq->raw_target[i] == 0x7f) {
            return "the request target has a space or a control byte";
        }
    }
    if (!COUNT_BYTES) {
        return NULL;
    }
    uintptr_t at_uri = (uintptr_t)method + method_bytes + 1;
    uintptr_t at_version = at_uri + rq->uri_bytes + 1;
    if ((uintptr_t)rq->uri != at_uri || (uintptr_t)version != at_version) {
        return "the request line is not METHOD, one space, target, one space, version";
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(rq->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t expected = at_version - (uintptr_t)method + VERSION_BYTES + 2 + lines_bytes + 2;
    if (info == NULL || info->header_size != expected) {
        return "the header has a folded line, a line that does not end with CRLF, or a NUL";
    }
    return NULL;
}

/* RFC 9110 section 5.6.2. */
static bool is_token(struct bytes b)
{
    static const bool token[256] = {
        ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
        ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1, ['0'] = 1,
        ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1,  ['7'] = 1, ['8'] = 1,
        ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,  ['F'] = 1, ['G'] = 1,
        ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,  ['N'] = 1, ['O'] = 1,
        ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1,
        ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,  ['d'] = 1, ['e'] = 1,
        ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,  ['l'] = 1, ['m'] = 1,
        ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,  ['t'] = 1, ['u'] = 1,
        ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
    };
    bool ok = b.n > 0;
    for (size_t i = 0; i < b.n; i++) {
        ok = ok && token[b.p[i]];
    }
    return ok;
}

static bool has_control(struct bytes b)
{
    bool found = false;
    for (size_t i = 0; i < b.n; i++) {
        found = found || (b.p[i] < 0x20 && b.p[i] != '\t') || b.p[i] == 0x7f;
    }
    return found;
}

static bool add_header(struct http_request *rq, struct bytes name, struct bytes value)
{
    if (rq->header_count == rq->header_cap) {
        size_t cap = rq->header_cap == 0 ? HEADERS_INLINE : rq->header_cap * 4;
        struct header *more =
            rq->header_cap == 0 ? rq->headers_inline : arena_alloc(&rq->arena, cap * sizeof *more);
        if (more == NULL) {
            return false;
        }
        if (rq->header_count > 0) {
            memcpy(more, rq->headers, rq->header_count * sizeof *more);
        }
        rq->headers = more;
        rq->header_cap = cap;
    }
    rq->headers[rq->header_count++] = (struct header){name, value};
    return true;
}
