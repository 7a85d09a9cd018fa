/* recover: at a start the tail begins right after the index position. What follows stands in the
 * log (a crash between the log's and the index's transactions) and then in the journal; both go
 * through one function into the tail, as if they had been committed just now, and the applier goes
 * on from there. `reindex` is the same with an index position of 0. */
#include "recover.h"

#include <inttypes.h>

#include "storage/hide.h"
#include "storage/record.h"

#define PROGRESS_EVENTS 100000

/* Applies until the tail has room. A full disk must not prevent a start: there the tail grows
 * beyond its limit, about as far as it had grown when the journal was written. */
static err_t make_room(struct store *s)
{
    bool more = true;
    err_t err = s->options.read_only ? ERR_FULL : ERR_OK;
    while (err == ERR_OK && more) {
        err = store_apply(s, true, &more);
    }
    if (err == ERR_DISK_FULL) {
        tail_set_limit(&s->tail, SIZE_MAX / 2);
        err = ERR_OK;
    }
    return err;
}

static err_t open_group(struct store *s, size_t events, size_t bytes)
{
    err_t err = tail_open_group(&s->tail, events, bytes);
    if (err == ERR_FULL) {
        err = make_room(s);
        return err == ERR_OK ? tail_open_group(&s->tail, events, bytes) : err;
    }
    return err;
}

/* A stream's first event counts it, unless the index has it already (and with it the number in
 * META_STREAMS). */
static err_t count_stream(struct store *s, const struct event *event)
{
    if (event->revision != 1 || event_name_is_system(event->stream)) {
        return ERR_OK;
    }
    struct kv_txn *txn;
    struct name_row row;
    err_t err = kv_begin(s->kv, false, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = names_get(txn, NAME_STREAM, event->stream, &row);
    kv_abort(txn);
    if (err == ERR_NOT_FOUND) {
        atomic_fetch_add(&s->streams, 1);
    }
    /* A damaged row is for verify to report and reindex to mend, not a reason not to start. */
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? ERR_OK : err;
}

/* What an event of the system says of a stream's life. Under tail_lock. */
static err_t fold_event(struct store *s, const struct event *event)
{
    struct life life;
    struct redaction redaction;
    err_t err = ERR_OK;
    if (event->life.n > 0 || event->redaction.n > 0) {
        atomic_store(&s->life_position, event->position);
    }
    if (event->life.n > 0) {
        err = life_decode(event->life, &life);
        life.position = event->position;
        if (err == ERR_OK) {
            hide_mark(s, life.stream);
            err = tail_life_add(&s->tail, &life);
        }
    }
    if (err == ERR_OK && event->redaction.n > 0) {
        err = redaction_decode(event->redaction, &redaction);
        if (err == ERR_OK) {
            err = tail_redaction_add(&s->tail, redaction.position, event->position);
        }
    }
    return err;
}

static err_t add_record(struct store *s, uint64_t position, struct bytes record)
{
    struct bytes body;
    struct event event;
    uint32_t flags;
    err_t err = record_check(record, position, &body, &flags);
    if (err == ERR_OK) {
        err = record_decode_stored(position, body, flags, &event);
    }
    if (err == ERR_OK) {
        err = count_stream(s, &event);
    }
    if (err != ERR_OK) {
        return err;
    }
    size_t n = RECORD_HEADER_BYTES + body.n;
    uint8_t *p = tail_reserve(&s->tail, n);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    memcpy(p, record.p, n);
    tail_add(&s->tail, p, n);
    tail_lock(&s->tail);
    err = index_add_event(&s->tail, &event, event.revision - 1);
    if (err == ERR_OK) {
        err = fold_event(s, &event);
    }
    tail_unlock(&s->tail);
    return err;
}

/* ---- from the log ---- */

/* One block of the log from `position` on, as one group. */
static err_t add_block(struct store *s, struct kv_txn *txn, struct log_cursor *c, uint64_t position)
{
    struct bytes at;
    err_t err = log_find(c, txn, position, &at);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    }
    uint64_t end = c->first + c->n;
    err = open_group(s, (size_t)(end - position), c->block.n);
    for (; position < end && err == ERR_OK; position++) {
        err = log_find(c, txn, position, &at);
        if (err == ERR_OK) {
            err = add_record(s, position, at);
        }
    }
    if (err == ERR_OK) {
        tail_close_group(&s->tail, end - 1);
    }
    return err;
}

err_t recover_log(struct store *s, recover_progress_fn progress, void *ctx, struct err_text *et)
{
    uint64_t reported = 0;
    while (store_position(s) < s->log_position) {
        struct kv_txn *txn;
        struct log_cursor cursor = {0};
        uint64_t position = store_position(s) + 1;
        err_t err = kv_begin(s->kv, false, &txn);
        if (err != ERR_OK) {
            return err;
        }
        err = add_block(s, txn, &cursor, position);
        log_cursor_done(&cursor);
        kv_abort(txn);
        if (err != ERR_OK) {
            return err_set(et, err, "the log cannot be read near position %" PRIu64 ": %s",
                           position, err_describe(err));
        }
        if (progress != NULL && store_position(s) - reported >= PROGRESS_EVENTS) {
            reported = store_position(s);
            if (!progress(ctx, reported, s->log_position)) {
                return ERR_CLOSED;
            }
        }
    }
    return ERR_OK;
}

/* ---- from the journal ---- */

static err_t add_group(void *ctx, const struct journal_group *group)
{
    struct store *s = ctx;
    struct bytes left = group->records;
    if (group->count > TAIL_EVENTS_MAX) {
        return ERR_CORRUPT;
    }
    err_t err = open_group(s, group->count, left.n);
    uint64_t position = group->first_position;
    for (uint32_t i = 0; i < group->count && err == ERR_OK; i++, position++) {
        size_t size;
        err = record_measure(left, &size);
        /* The log may end in the middle of a group. */
        if (err == ERR_OK && position > store_position(s)) {
            err = add_record(s, position, left);
        }
        if (err == ERR_OK) {
            left = bytes_of(left.p + size, left.n - size);
        }
    }
    if (err == ERR_OK && left.n > 0) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        tail_close_group(&s->tail, position - 1);
    }
    return err;
}

err_t recover_journal(struct store *s, struct err_text *et)
{
    err_t err = s->journal->methods->replay(s->journal, store_position(s), add_group, s, et);
    if (err != ERR_OK && et != NULL && et->text[0] == '\0') {
        err_set(et, err, "the journal cannot be replayed after position %" PRIu64 ": %s",
                store_position(s), err_describe(err));
    }
    return err;
}
