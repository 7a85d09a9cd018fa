/* view: a consistent snapshot: the tail's generations first, then an LMDB read transaction.
 *
 * What the applier moves is found in both for a while and in at least one always: it is dropped
 * from the tail only after it is committed to LMDB, and the transaction begins after the references
 * to the tail were taken. The one thing that can go wrong is a transaction that knows more than the
 * snapshot's position; `apply_target` tells, and then a newer snapshot is taken. */
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/hide.h"
#include "storage/posting.h"
#include "storage/record.h"
#include "storage/source.h"
#include "store_int.h"

#define WIPED_CHUNK_BYTES 16384

static bool is_ahead(const struct store_view *v)
{
#if !defined(__SANITIZE_THREAD__)              /* which knows no fences: gcc refuses them there */
    atomic_thread_fence(memory_order_acquire); /* LMDB reads its transaction's number plainly */
#endif
    return atomic_load(&v->store->apply_target) > v->tail.position;
}

/* Before the transaction begins: a redaction that waits is in the tail's snapshot or counted as a
 * row; one that is counted no more was wiped before. */
static void begin_hiding(struct store_view *v)
{
    v->life_position = v->tail.position;
    v->stored_redactions = atomic_load(&v->store->redactions_waiting) > 0;
    v->has_lives = atomic_load(&v->store->has_lives);
    v->tail_redactions = false;
    for (size_t i = 0; i < v->tail.count; i++) {
        v->tail_redactions =
            v->tail_redactions || atomic_load(&v->tail.generations[i]->has_redactions);
    }
}

/* After it has begun: what reclaim has taken away had expired at this time. */
static void finish_hiding(struct store_view *v)
{
    v->time_us = atomic_load(&v->store->clock_us);
}

static void done_hiding(struct store_view *v)
{
    view_forget_hidden(v);
    arena_done(&v->wiped);
    arena_init(&v->wiped, WIPED_CHUNK_BYTES, SIZE_MAX / 2);
}

err_t view_init(struct store_view *v, struct store *s)
{
    v->store = s;
    v->txn = NULL;
    v->log.cursor = NULL;
    v->log.first = 0;
    v->hide_cache = NULL;
    arena_init(&v->wiped, WIPED_CHUNK_BYTES, SIZE_MAX / 2);
    tail_snapshot_take(&s->tail, &v->tail);
    begin_hiding(v);
    err_t err = kv_begin(s->kv, false, &v->txn);
    finish_hiding(v);
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
        begin_hiding(v);
        err_t err = kv_renew(v->txn);
        finish_hiding(v);
        if (err != ERR_OK || !is_ahead(v)) {
            return err;
        }
        view_park(v);
    }
}

void view_park(struct store_view *v)
{
    done_hiding(v);
    log_cursor_reset(&v->log);
    kv_reset(v->txn);
    tail_snapshot_done(&v->tail);
}

void view_done(struct store_view *v)
{
    done_hiding(v);
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

void store_view_set_time(struct store_view *v, int64_t now_us)
{
    if (now_us > v->time_us) {
        v->time_us = now_us;
        view_forget_hidden(v);
    }
}

uint64_t store_view_position(const struct store_view *v)
{
    return v->tail.position;
}

static err_t find_record(struct store_view *v, uint64_t position, struct bytes *ret)
{
    if (position >= v->tail.first) {
        const uint8_t *record = tail_record(&v->tail, position);
        *ret = bytes_of(record, record_size(record));
        return ERR_OK;
    }
    err_t err = log_find(&v->log, v->txn, position, ret);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* the log has no gaps */
}

/* Replaces the body by one without data where a redaction waits. */
static err_t wipe(struct store_view *v, uint64_t position, struct bytes *body, uint32_t *flags)
{
    bool redacted;
    size_t n;
    err_t err = view_is_redacted(v, position, &redacted);
    if (err != ERR_OK || !redacted) {
        return err;
    }
    uint8_t *p = arena_alloc(&v->wiped, body->n + RECORD_REDACTED_BYTES);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    err = record_redact(*body, p, &n);
    *body = bytes_of(p, n);
    *flags |= RECORD_REDACTED;
    return err;
}

err_t view_record(struct store_view *v, uint64_t position, struct bytes *ret_body,
                  uint32_t *ret_flags)
{
    if (position == 0 || position > v->tail.position) {
        return ERR_NOT_FOUND;
    }
    struct bytes at;
    err_t err = find_record(v, position, &at);
    if (err == ERR_OK) {
        err = record_check(at, position, ret_body, ret_flags);
    }
    bool may_wait = v->tail_redactions || v->stored_redactions;
    if (err == ERR_OK && may_wait && (*ret_flags & (RECORD_REDACTED | RECORD_GONE)) == 0) {
        err = wipe(v, position, ret_body, ret_flags);
    }
    return err;
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
    if (source_misses_row(kind, spans, n, ret->row.count)) {
        return ERR_CORRUPT;
    }
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

/* A hidden event of a deleted stream is gone with it, any other was never there. */
static err_t why_hidden(struct store_view *v, struct bytes body)
{
    struct record_head head;
    struct name_state state;
    struct stream_window window;
    err_t err = record_peek(body, &head);
    if (err == ERR_OK) {
        err = view_name(v, NAME_STREAM, head.stream, &state);
    }
    if (err == ERR_OK) {
        err = view_window(v, head.stream, state.count, &window);
    }
    if (err != ERR_OK) {
        return err;
    }
    return window.deleted ? ERR_GONE : ERR_NOT_FOUND;
}

err_t store_get_event(struct store_view *v, uint64_t position, struct store_record *ret)
{
    uint32_t flags;
    bool hidden = false;
    struct bytes body;
    err_t err = view_record(v, position, &body, &flags);
    if (err == ERR_OK) {
        err = view_hides(v, body, flags, &hidden);
    }
    if (err == ERR_OK && hidden) {
        err = why_hidden(v, body);
    }
    if (err == ERR_OK) {
        *ret = (struct store_record){.position = position, .body = body};
    }
    return err;
}

err_t store_record_decode(const struct store_record *record, struct event *ret)
{
    return record_decode(record->position, record->body, ret);
}

static err_t created_time(struct store_view *v, uint64_t position, int64_t *ret)
{
    struct record_head head;
    struct bytes body;
    uint32_t flags;
    err_t err = view_record(v, position, &body, &flags);
    if (err == ERR_OK) {
        err = record_peek(body, &head);
    }
    if (err == ERR_OK) {
        *ret = head.time_us;
    }
    return err;
}

err_t store_get_stream(struct store_view *v, struct bytes stream, struct store_stream_info *ret)
{
    struct name_state state;
    struct stream_window window;
    int64_t created_us;
    err_t err = view_name(v, NAME_STREAM, stream, &state);
    if (err == ERR_OK) {
        err = view_window(v, stream, state.count, &window);
    }
    if (err == ERR_OK) {
        err = created_time(v, state.first_position, &created_us);
    }
    if (err != ERR_OK) {
        return err;
    }
    *ret = (struct store_stream_info){.head_revision = state.count,
                                      .first_revision = window.first,
                                      .events = state.count + 1 - window.first,
                                      .created_position = state.first_position,
                                      .created_time_us = created_us,
                                      .deleted = window.deleted,
                                      .tombstoned = window.life.tombstoned,
                                      .changed = window.has_life,
                                      .deleted_revision = window.life.deleted_head,
                                      .max_count = window.life.max_count,
                                      .max_age_s = window.life.max_age_s,
                                      .truncate_before = window.life.truncate_before,
                                      .custom = window.life.custom};
    return ERR_OK;
}
