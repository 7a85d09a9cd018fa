/* group_rows: varints, and runs of bytes with their length before them. */
#include "projections/group_rows.h"

#include "projections/state_env.h"
#include "storage/wire.h"

struct bytes group_key(enum group_row kind, uint64_t group, uint64_t number, struct group_key *ret)
{
    ret->bytes[0] = STATE_GROUPS;
    ret->bytes[1] = (uint8_t)kind;
    bytes_put_u64be(ret->bytes + 2, group);
    bytes_put_u64be(ret->bytes + 10, number);
    return bytes_of(ret->bytes, GROUP_KEY_BYTES);
}

bool group_key_is(struct bytes key, enum group_row kind, uint64_t group, uint64_t *ret_number)
{
    if (key.n != GROUP_KEY_BYTES || key.p[0] != STATE_GROUPS || key.p[1] != (uint8_t)kind ||
        bytes_get_u64be(key.p + 2) != group) {
        return false;
    }
    *ret_number = bytes_get_u64be(key.p + 10);
    return true;
}

/* ---- parts ---- */

static void put_time(struct buf *b, int64_t us)
{
    buf_put_varint(b, us < 0 ? 0 : (uint64_t)us);
}

static void put_text(struct buf *b, struct bytes text)
{
    buf_put_varint(b, text.n);
    buf_put(b, text);
}

/* Readers go on after a failure, with zeroes. */
struct reader {
    const uint8_t *p, *end;
    bool failed;
};

static struct reader reader_of(struct bytes value)
{
    return (struct reader){.p = value.p, .end = value.p + value.n};
}

static uint64_t get_number(struct reader *r)
{
    uint64_t v = 0;
    if (r->failed || !wire_get_varint(&r->p, r->end, &v)) {
        r->failed = true;
        return 0;
    }
    return v;
}

static int64_t get_time(struct reader *r)
{
    uint64_t v = get_number(r);
    r->failed = r->failed || v > INT64_MAX;
    return r->failed ? 0 : (int64_t)v;
}

static uint32_t get_u32(struct reader *r)
{
    uint64_t v = get_number(r);
    r->failed = r->failed || v > UINT32_MAX;
    return r->failed ? 0 : (uint32_t)v;
}

static struct bytes get_run(struct reader *r, size_t n)
{
    if (r->failed || n > (size_t)(r->end - r->p)) {
        r->failed = true;
        return BYTES_NONE;
    }
    struct bytes run = bytes_of(r->p, n);
    r->p += n;
    return run;
}

static struct bytes get_text(struct reader *r)
{
    return get_run(r, (size_t)get_number(r));
}

static err_t end_of(const struct reader *r)
{
    return r->failed || r->p != r->end ? ERR_CORRUPT : ERR_OK;
}

/* ---- the group's record ---- */

#define COUNTS (sizeof(struct group_counts) / sizeof(uint64_t))

void group_record_put(struct buf *b, const struct group_record *r)
{
    uint64_t counts[COUNTS];
    memcpy(counts, &r->counts, sizeof counts);
    buf_put_varint(b, r->fetched);
    buf_put_varint(b, r->next_batch);
    buf_put_varint(b, r->parked);
    buf_put_varint(b, r->replaying);
    for (size_t i = 0; i < COUNTS; i++) {
        buf_put_varint(b, counts[i]);
    }
}

err_t group_record_get(struct bytes value, struct group_record *ret)
{
    struct reader r = reader_of(value);
    struct group_record record = {0};
    uint64_t counts[COUNTS] = {0};
    record.fetched = get_number(&r);
    record.next_batch = get_number(&r);
    record.parked = get_number(&r);
    record.replaying = get_number(&r);
    for (size_t i = 0; i < COUNTS; i++) {
        counts[i] = get_number(&r);
    }
    memcpy(&record.counts, counts, sizeof counts);
    err_t err = end_of(&r);
    if (err == ERR_OK) {
        *ret = record;
    }
    return err;
}

/* ---- events ---- */

/* A first delivery that is in flight, or an event that was only held back, needs the flags alone.
 */
#define FLAG_REPLAY    0x01
#define FLAG_BLOCKS    0x02
#define FLAG_DUE       0x04
#define FLAG_ATTEMPTS  0x08 /* and their times */
#define FLAG_BACKWARDS 0x10 /* the position is before the last one's */

void group_event_put(struct buf *b, const struct group_row_event *e,
                     const struct group_row_event *last)
{
    bool backwards = e->position < last->position;
    unsigned flags = (e->replay ? FLAG_REPLAY : 0U) | (e->blocks ? FLAG_BLOCKS : 0U) |
                     (e->due_us != 0 ? FLAG_DUE : 0U) | (e->attempts != 0 ? FLAG_ATTEMPTS : 0U) |
                     (backwards ? FLAG_BACKWARDS : 0U);
    uint8_t stream[8];
    bytes_put_u64le(stream, e->stream);
    buf_put_byte(b, (uint8_t)flags);
    buf_put_varint(b, e->index - last->index);
    buf_put_varint(b, backwards ? last->position - e->position : e->position - last->position);
    buf_put(b, bytes_of(stream, sizeof stream));
    if (e->due_us != 0) {
        put_time(b, e->due_us);
    }
    if (e->attempts != 0) {
        buf_put_varint(b, e->attempts);
        put_time(b, e->first_us);
        put_time(b, e->last_us);
    }
}

bool group_event_get(struct bytes *value, struct group_row_event *inout, err_t *err)
{
    if (value->n == 0 || *err != ERR_OK) {
        return false;
    }
    unsigned flags = value->p[0];
    struct reader r = reader_of(bytes_of(value->p + 1, value->n - 1));
    struct group_row_event e = {.replay = (flags & FLAG_REPLAY) != 0,
                                .blocks = (flags & FLAG_BLOCKS) != 0};
    e.index = inout->index + get_u32(&r);
    uint64_t delta = get_number(&r);
    e.position = (flags & FLAG_BACKWARDS) != 0 ? inout->position - delta : inout->position + delta;
    struct bytes stream = get_run(&r, 8);
    e.stream = stream.n == 8 ? bytes_get_u64le(stream.p) : 0;
    e.due_us = (flags & FLAG_DUE) != 0 ? get_time(&r) : 0;
    if ((flags & FLAG_ATTEMPTS) != 0) {
        e.attempts = get_u32(&r);
        e.first_us = get_time(&r);
        e.last_us = get_time(&r);
    }
    if (r.failed || e.position == 0) {
        *err = ERR_CORRUPT;
        return false;
    }
    *inout = e;
    *value = bytes_of(r.p, (size_t)(r.end - r.p));
    return true;
}

/* ---- batches ---- */

void group_batch_put(struct buf *b, const struct group_row_batch *batch)
{
    buf_put(b, batch->token);
    buf_put_varint(b, batch->base);
    buf_put_varint(b, batch->count);
    put_time(b, batch->delivered_us);
    put_time(b, batch->deadline_us);
    put_text(b, batch->consumer);
}

err_t group_batch_get(struct bytes *value, struct group_row_batch *ret)
{
    struct reader r = reader_of(*value);
    ret->token = get_run(&r, GROUP_TOKEN_BYTES);
    ret->base = get_u32(&r);
    ret->count = get_u32(&r);
    ret->delivered_us = get_time(&r);
    ret->deadline_us = get_time(&r);
    ret->consumer = get_text(&r);
    *value = bytes_of(r.p, (size_t)(r.end - r.p));
    return r.failed ? ERR_CORRUPT : ERR_OK;
}

/* ---- parked events ---- */

void group_parked_put(struct buf *b, const struct group_row_parked *p)
{
    uint8_t stream[8];
    bytes_put_u64le(stream, p->stream);
    buf_put(b, bytes_of(stream, sizeof stream));
    buf_put_varint(b, p->attempts);
    buf_put_varint(b, p->cause);
    put_time(b, p->first_us);
    put_time(b, p->last_us);
    put_time(b, p->parked_us);
    put_text(b, p->reason);
    put_text(b, p->consumer);
}

err_t group_parked_get(struct bytes value, struct group_row_parked *ret)
{
    struct reader r = reader_of(value);
    struct bytes stream = get_run(&r, 8);
    *ret = (struct group_row_parked){.stream = stream.n == 8 ? bytes_get_u64le(stream.p) : 0};
    ret->attempts = get_u32(&r);
    uint64_t cause = get_number(&r);
    r.failed = r.failed || cause > GROUP_PARKED_BY_EXPIRY;
    ret->cause = r.failed ? GROUP_PARKED_BY_NACK : (enum group_park_cause)cause;
    ret->first_us = get_time(&r);
    ret->last_us = get_time(&r);
    ret->parked_us = get_time(&r);
    ret->reason = get_text(&r);
    ret->consumer = get_text(&r);
    return end_of(&r);
}

/* ---- definitions ---- */

void group_definition_put(struct buf *b, const struct group_row_definition *d)
{
    put_time(b, d->created_us);
    buf_put_varint(b, d->revision);
    put_text(b, d->type);
    put_text(b, d->data);
}

err_t group_definition_get(struct bytes value, struct group_row_definition *ret)
{
    struct reader r = reader_of(value);
    ret->created_us = get_time(&r);
    ret->revision = get_number(&r);
    ret->type = get_text(&r);
    ret->data = get_text(&r);
    return end_of(&r);
}
