/* view: a consistent snapshot: the tail's generations first, then an LMDB read transaction.
 *
 * What the applier moves is found in both for a while and in at least one always: it is dropped
 * from the tail only after it is committed to LMDB, and the transaction begins after the references
 * to the tail were taken. The one thing that can go wrong is a transaction that knows more than the
 * snapshot's position; `apply_target` tells, and then a newer snapshot is taken. */
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/posting.h"
#include "storage/record.h"
#include "store_int.h"

static bool is_ahead(const struct store_view *v)
{
#if !defined(__SANITIZE_THREAD__)              /* which knows no fences: gcc refuses them there */
    atomic_thread_fence(memory_order_acquire); /* LMDB reads its transaction's number plainly */
#endif
    return atomic_load(&v->store->apply_target) > v->tail.position;
}

err_t view_init(struct store_view *v, struct store *s)
{
    v->store = s;
    v->txn = NULL;
    v->log.cursor = NULL;
    v->log.first = 0;
    tail_snapshot_take(&s->tail, &v->tail);
    err_t err = kv_begin(s->kv, false, &v->txn);
    if (err == ERR_OK && is_ahead(v)) {
        view_park(v);
        err = view_renew(v);
    }
    if (err != ERR_OK) {
        view_done(v);
    }
    return err;
}

err_t view_renew(struct store_view *v)
{
    for (;;) {
        tail_snapshot_take(&v->store->tail, &v->tail);
        err_t err = kv_renew(v->txn);
        if (err != ERR_OK || !is_ahead(v)) {
            return err;
        }
        view_park(v);
    }
}

void view_park(struct store_view *v)
{
    log_cursor_reset(&v->log);
    kv_reset(v->txn);
    tail_snapshot_done(&v->tail);
}

void view_done(struct store_view *v)
{
    log_cursor_done(&v->log);
    kv_abort(v->txn);
    v->txn = NULL;
    tail_snapshot_done(&v->tail);
}

err_t store_view_open(struct store *s, struct store_view **ret)
{
    struct store_view *v = malloc(sizeof *v);
    if (v == NULL) {
        return ERR_MEMORY;
    }
    err_t err = view_init(v, s);
    if (err != ERR_OK) {
        free(v);
        return err;
    }
    *ret = v;
    return ERR_OK;
}

void store_view_close(struct store_view *v)
{
    if (v != NULL) {
        view_done(v);
        free(v);
    }
}

uint64_t store_view_position(const struct store_view *v)
{
    return v->tail.position;
}

err_t view_record(struct store_view *v, uint64_t position, struct bytes *ret_body,
                  uint32_t *ret_flags)
{
    if (position == 0 || position > v->tail.position) {
        return ERR_NOT_FOUND;
    }
    struct bytes at;
    if (position >= v->tail.first) {
        const uint8_t *record = tail_record(&v->tail, position);
        at = bytes_of(record, record_size(record));
    } else {
        err_t err = log_find(&v->log, v->txn, position, &at);
        if (err != ERR_OK) {
            return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* the log has no gaps */
        }
    }
    return record_check(at, position, ret_body, ret_flags);
}

err_t view_name(struct store_view *v, enum name_kind kind, struct bytes name,
                struct name_state *ret)
{
    err_t err = names_get(v->txn, kind, name, &ret->row);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return err;
    }
    struct tail_span spans[TAIL_GENERATIONS_MAX];
    size_t n = tail_find(&v->tail, kind, name, spans);
    ret->count = ret->row.count;
    ret->first_position = ret->row.first;
    for (size_t i = 0; i < n; i++) {
        size_t from = posting_search(spans[i].positions, spans[i].n, ret->row.last + 1);
        if (ret->first_position == 0 && from < spans[i].n) {
            ret->first_position = spans[i].positions[from];
        }
        ret->count += spans[i].n - from;
    }
    return ret->count == 0 ? ERR_NOT_FOUND : ERR_OK;
}

err_t store_get_event(struct store_view *v, uint64_t position, struct store_record *ret)
{
    uint32_t flags;
    err_t err = view_record(v, position, &ret->body, &flags);
    if (err == ERR_OK) {
        ret->position = position;
    }
    return err;
}

err_t store_record_decode(const struct store_record *record, struct event *ret)
{
    return record_decode(record->position, record->body, ret);
}

err_t store_get_stream(struct store_view *v, struct bytes stream, struct store_stream_info *ret)
{
    struct name_state state;
    err_t err = view_name(v, NAME_STREAM, stream, &state);
    if (err != ERR_OK) {
        return err;
    }
    struct store_record record;
    struct event first;
    err = store_get_event(v, state.first_position, &record);
    if (err == ERR_OK) {
        err = store_record_decode(&record, &first);
    }
    if (err != ERR_OK) {
        return err;
    }
    *ret = (struct store_stream_info){.head_revision = state.count,
                                      .first_revision = 1,
                                      .events = state.count,
                                      .created_position = state.first_position,
                                      .created_time_us = first.time_us};
    return ERR_OK;
}
