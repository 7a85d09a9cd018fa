/* buf: growing, and the encodings that are appended on hot paths. */
#include "buf.h"

#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN          64
#define U64_DIGITS_MAX   20
#define VARINT_BYTES_MAX 10

#define EACH_BYTE(c) (0x0101010101010101ULL * (c))

static bool grow(struct buf *b, size_t cap_wanted);
static size_t json_plain_length(const uint8_t *p, size_t n);
static void put_json_escape(struct buf *b, uint8_t c);

void buf_init(struct buf *b, size_t max)
{
    CHECK(max > 0);
    *b = (struct buf){.max = max, .status = ERR_OK};
}

void buf_done(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max, .status = ERR_OK};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->status = ERR_OK;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->status != ERR_OK) {
        return NULL;
    }
    if (n > b->max - b->n) {
        b->status = ERR_LIMIT;
        return NULL;
    }
    if ((n > b->cap - b->n || b->p == NULL) && !grow(b, b->n + n)) {
        b->status = ERR_MEMORY;
        return NULL;
    }
    return b->p + b->n;
}

void buf_advance(struct buf *b, size_t n)
{
    CHECK(n <= b->cap - b->n);
    b->n += n;
}

void buf_put(struct buf *b, struct bytes data)
{
    if (data.n == 0) {
        return;
    }
    uint8_t *to = buf_reserve(b, data.n);
    if (to != NULL) {
        memcpy(to, data.p, data.n);
        b->n += data.n;
    }
}

void buf_put_byte(struct buf *b, uint8_t byte)
{
    uint8_t *to = buf_reserve(b, 1);
    if (to != NULL) {
        *to = byte;
        b->n++;
    }
}

void buf_put_string(struct buf *b, const char *s)
{
    buf_put(b, bytes_of_string(s));
}

void buf_put_format(struct buf *b, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) {
        b->status = b->status == ERR_OK ? ERR_INVALID : b->status;
        return;
    }
    if ((size_t)n < sizeof small) {
        buf_put(b, bytes_of(small, (size_t)n));
        return;
    }
    uint8_t *to = buf_reserve(b, (size_t)n);
    if (to != NULL) {
        /* Its terminator lands in the spare byte that grow() allocates. */
        va_start(args, format);
        vsnprintf((char *)to, (size_t)n + 1, format, args);
        va_end(args);
        b->n += (size_t)n;
    }
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    uint8_t digits[U64_DIGITS_MAX];
    size_t at = U64_DIGITS_MAX;
    do {
        digits[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    buf_put(b, bytes_of(digits + at, U64_DIGITS_MAX - at));
}

void buf_put_json_string(struct buf *b, struct bytes s)
{
    /* Escapes only make it longer, so where this much does not fit, nothing will. */
    if (s.n > SIZE_MAX - 2 || buf_reserve(b, s.n + 2) == NULL) {
        b->status = b->status == ERR_OK ? ERR_LIMIT : b->status;
        return;
    }
    buf_put_byte(b, '"');
    size_t i = 0;
    while (i < s.n) {
        size_t plain = json_plain_length(s.p + i, s.n - i);
        buf_put(b, bytes_of(s.p + i, plain));
        i += plain;
        if (i < s.n) {
            put_json_escape(b, s.p[i++]);
        }
    }
    buf_put_byte(b, '"');
}

void buf_put_base64(struct buf *b, struct bytes data)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t groups = data.n / 3 + (data.n % 3 != 0);
    uint8_t *to = buf_reserve(b, groups > SIZE_MAX / 4 ? SIZE_MAX : groups * 4);
    if (to == NULL) {
        return;
    }
    const uint8_t *p = data.p;
    size_t left = data.n;
    for (; left >= 3; left -= 3, p += 3, to += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        to[0] = (uint8_t)digits[v >> 18];
        to[1] = (uint8_t)digits[v >> 12 & 63];
        to[2] = (uint8_t)digits[v >> 6 & 63];
        to[3] = (uint8_t)digits[v & 63];
    }
    if (left > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);
        to[0] = (uint8_t)digits[v >> 18];
        to[1] = (uint8_t)digits[v >> 12 & 63];
        to[2] = left == 2 ? (uint8_t)digits[v >> 6 & 63] : '=';
        to[3] = '=';
    }
    b->n += groups * 4;
}

void buf_put_varint(struct buf *b, uint64_t v)
{
    uint8_t out[VARINT_BYTES_MAX];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) {
        out[n++] = (uint8_t)(v | 0x80);
    }
    out[n++] = (uint8_t)v;
    buf_put(b, bytes_of(out, n));
}

/* The status stays: an error that nobody has looked at yet must not get lost with the memory. */
uint8_t *buf_take(struct buf *b, size_t *ret_n)
{
    uint8_t *p = b->p;
    *ret_n = b->n;
    *b = (struct buf){.max = b->max, .status = b->status};
    return p;
}

/* One byte more than `cap` is allocated, for the terminator that vsnprintf insists on. */
static bool grow(struct buf *b, size_t cap_wanted)
{
    size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
    cap = cap < CAP_MIN ? CAP_MIN : cap;
    cap = cap < cap_wanted ? cap_wanted : cap;
    cap = cap > b->max ? b->max : cap;
    if (cap == SIZE_MAX) {
        return false;
    }
    uint8_t *p = realloc(b->p, cap + 1);
    if (p == NULL) {
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

/* Non-zero where one of eight bytes is zero (the classic trick: only a zero byte borrows into its
 * top bit). */
static uint64_t zero_bytes(uint64_t v)
{
    return (v - EACH_BYTE(0x01)) & ~v & EACH_BYTE(0x80);
}

static bool json_is_plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

/* How many bytes from p on can be copied as they are. */
static size_t json_plain_length(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, sizeof v);
        uint64_t control = (v - EACH_BYTE(0x20)) & ~v & EACH_BYTE(0x80);
        if ((control | zero_bytes(v ^ EACH_BYTE('"')) | zero_bytes(v ^ EACH_BYTE('\\'))) != 0) {
            break;
        }
    }
    while (i < n && json_is_plain(p[i])) {
        i++;
    }
    return i;
}

static void put_json_escape(struct buf *b, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    /* The letters of the short escapes, by control character; 0 has none. */
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t n = sizeof escape;
    if (c >= 0x20 || letters[c] != 0) {
        escape[1] = c >= 0x20 ? (char)c : letters[c];
        n = 2;
    }
    buf_put(b, bytes_of(escape, n));
}
