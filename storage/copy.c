/* copy: records out of a store; and the checks between. copy_in.c has the other direction. */
#include "storage/copy.h"

#include "storage/hide.h"
#include "storage/record.h"

/* What is put for one event. The record of one that is neither hidden nor redacted stands as it is
 * in front of its body. */
static err_t put_record(struct store_view *v, uint64_t position, struct buf *b)
{
    struct bytes body;
    uint32_t flags;
    bool hidden;
    err_t err = view_record(v, position, &body, &flags);
    if (err == ERR_OK) {
        err = view_hides(v, body, flags, &hidden);
    }
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    }
    uint8_t *p = buf_reserve(b, RECORD_HEADER_BYTES + body.n + RECORD_REDACTED_BYTES);
    if (p == NULL) {
        return buf_status(b);
    }
    if (hidden && (flags & RECORD_GONE) == 0) {
        err = record_make_gone(body, flags, position, p);
    } else if ((flags & RECORD_REDACTED) != 0) {
        err = record_make_redacted(body, flags, position, p);
    } else {
        memcpy(p, body.p - RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + body.n);
    }
    if (err == ERR_OK) {
        buf_advance(b, record_size(p));
    }
    return err;
}

err_t copy_records(struct store *s, uint64_t after, size_t bytes, struct buf *b,
                   uint64_t *ret_reached)
{
    struct store_view *v;
    *ret_reached = after;
    err_t err = store_view_open(s, &v);
    if (err != ERR_OK) {
        return err;
    }
    while (err == ERR_OK && *ret_reached < store_view_position(v) && b->n < bytes) {
        err = put_record(v, *ret_reached + 1, b);
        *ret_reached += err == ERR_OK;
    }
    store_view_close(v);
    return err;
}

/* It moves before what it says can be seen. */
uint64_t copy_needs(const struct store *s, uint64_t position)
{
    uint64_t life = atomic_load(&s->life_position);
    return life > position ? life : position;
}

int64_t copy_clock_us(const struct store *s)
{
    return atomic_load(&s->clock_us);
}

err_t copy_check(struct bytes records, uint64_t first, uint32_t n, uint64_t *ret_position)
{
    for (uint32_t i = 0; i < n; i++) {
        struct bytes body;
        struct event event;
        uint32_t flags;
        size_t size = 0;
        *ret_position = first + i;
        err_t err = record_measure(records, &size);
        if (err == ERR_OK) {
            err = record_check(bytes_of(records.p, size), first + i, &body, &flags);
        }
        if (err == ERR_OK) {
            err = record_decode_stored(first + i, body, flags, &event);
        }
        if (err != ERR_OK) {
            return err;
        }
        records = bytes_of(records.p + size, records.n - size);
    }
    *ret_position = first + n;
    return records.n == 0 ? ERR_OK : ERR_CORRUPT;
}
