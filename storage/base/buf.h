/* buf: a growable buffer that names its maximum.
 *
 * One thread at a time. Failures stick: after the first one every append is a no-op and
 * `buf_status` tells (ERR_LIMIT or ERR_MEMORY; ERR_INVALID where printf itself failed), so a long
 * run of appends needs one check at its end. */
#ifndef DAYBOOK_BASE_BUF_H
#define DAYBOOK_BASE_BUF_H

#include "bytes.h"
#include "err.h"

struct buf {
    uint8_t *p;
    size_t n;
    size_t cap;
    size_t max;
    err_t status;
};

/* Embedded lifecycle. `max` is in bytes and must be > 0. Nothing is allocated until the first
 * append. */
void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);

/* Forgets the content and the status, keeps the memory. */
void buf_clear(struct buf *b);

/* Makes room for `n` more bytes and returns where they go (valid until the next call; also for
 * n = 0), or NULL with the status set. The caller writes up to n bytes there and then says
 * buf_advance(b, written). */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_advance(struct buf *b, size_t n);

void buf_put(struct buf *b, struct bytes data);
void buf_put_byte(struct buf *b, uint8_t byte);
void buf_put_string(struct buf *b, const char *s);
void buf_put_format(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Unsigned decimal digits, without printf's cost. */
void buf_put_u64(struct buf *b, uint64_t v);
/* A JSON string with its quotes, escaped as RFC 8259 asks; `s` must be valid UTF-8. */
void buf_put_json_string(struct buf *b, struct bytes s);
/* Standard base64 with padding (RFC 4648 section 4), no quotes. */
void buf_put_base64(struct buf *b, struct bytes data);
/* A protobuf base-128 varint. */
void buf_put_varint(struct buf *b, uint64_t v);

static inline struct bytes buf_bytes(const struct buf *b)
{
    return bytes_of(b->p, b->n);
}

MUST_CHECK static inline err_t buf_status(const struct buf *b)
{
    return b->status;
}

/* Hands the malloc'd memory over to the caller (free() it; may be NULL when *ret_n is 0) and leaves
 * the buf empty. The status stays. */
uint8_t *buf_take(struct buf *b, size_t *ret_n);

#endif
