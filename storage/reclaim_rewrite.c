/* reclaim_rewrite: one step: some blocks of the log written again with stubs in place of events
 * that are gone and without the data of redacted ones, and their names' lists, in one
 * transaction. */
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/reclaim.h"
#include "storage/record.h"
#include "storage/unpost.h"

/* A step's transaction stays at a few MiB of changed pages; a block goes as a whole. */
#define STEP_BLOCKS 32
#define STEP_EVENTS 2048

struct rewriter {
    struct store *store;
    struct kv_txn *txn;
    struct log_cursor log;
    struct tail gone;   /* the events taken away, by name */
    struct arena arena; /* new records */
    size_t events, blocks;
    const uint8_t *records[LOG_BLOCK_RECORDS_MAX];
};

/* ---- one record ---- */

/* A damaged list leads to events that nobody wants gone. */
static bool is_meant(const struct reclaimer *r, const struct reclaim_target *t,
                     const struct event *event)
{
    return t->redact ||
           (event->revision == t->revision && bytes_equal(event->stream, r->notes[t->note].stream));
}

/* Makes the record that takes the place of *at, NULL: it stays. */
static err_t replace(struct rewriter *w, const struct reclaim_target *t, struct bytes at,
                     const uint8_t **ret)
{
    struct bytes body;
    struct event event;
    uint32_t flags;
    *ret = NULL;
    err_t err = record_check(at, t->position, &body, &flags);
    if (err == ERR_OK) {
        err = record_decode_stored(t->position, body, flags, &event);
    }
    if (err == ERR_CORRUPT) {
        return ERR_OK; /* for verify to tell; there is nothing to take its place */
    }
    bool done = (flags & RECORD_GONE) != 0 || (t->redact && (flags & RECORD_REDACTED) != 0);
    if (err != ERR_OK || done || !is_meant(w->store->reclaimer, t, &event)) {
        return err;
    }
    uint8_t *p = arena_alloc(&w->arena, RECORD_HEADER_BYTES + body.n + RECORD_REDACTED_BYTES);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    err = t->redact ? record_make_redacted(body, flags, t->position, p)
                    : record_make_gone(body, flags, t->position, p);
    if (err == ERR_OK && !t->redact) {
        err = index_add_event(&w->gone, &event, event.revision - 1);
    }
    *ret = p;
    w->events++;
    return err;
}

/* ---- one block ---- */

/* The records of the block that holds `position`; ERR_CORRUPT where they cannot all be told. */
static err_t take_block(struct rewriter *w, uint64_t position, uint64_t *ret_first, uint32_t *ret_n)
{
    struct bytes record;
    err_t err = log_find(&w->log, w->txn, position, &record);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    }
    *ret_first = w->log.first;
    *ret_n = w->log.n;
    for (uint32_t i = 0; i < *ret_n && err == ERR_OK; i++) {
        size_t size;
        err = log_find(&w->log, w->txn, *ret_first + i, &record);
        if (err == ERR_OK) {
            err = record_measure(record, &size);
        }
        if (err == ERR_OK) {
            w->records[i] = record.p;
        }
    }
    return err;
}

/* Puts in place what the targets from *at on make of the block's records. */
static err_t replace_records(struct rewriter *w, const struct reclaimer *r, uint64_t first,
                             uint32_t n, size_t *at)
{
    err_t err = ERR_OK;
    uint64_t before = 0;
    bool changed = false;
    for (; err == ERR_OK && *at < r->target_count && r->targets[*at].position < first + n; ++*at) {
        const struct reclaim_target *t = &r->targets[*at];
        const uint8_t *old = w->records[t->position - first], *other = NULL;
        if (t->position != before) { /* one that is taken away need not be wiped too */
            err = replace(w, t, bytes_of(old, record_size(old)), &other);
        }
        before = t->position;
        if (err == ERR_OK && other != NULL) {
            w->records[t->position - first] = other;
            changed = true;
        }
    }
    if (err != ERR_OK || !changed) {
        return err;
    }
    w->blocks++;
    return log_replace(w->txn, first, w->records, n);
}

/* The targets from *at on that are in one block; a damaged one stays as it is. */
static err_t rewrite_block(struct rewriter *w, const struct reclaimer *r, size_t *at)
{
    uint64_t first = 0;
    uint32_t n = 0;
    err_t err = take_block(w, r->targets[*at].position, &first, &n);
    log_cursor_reset(&w->log);
    if (err == ERR_CORRUPT) {
        ++*at;
        return ERR_OK;
    }
    return err == ERR_OK ? replace_records(w, r, first, n, at) : err;
}

/* ---- the step ---- */

static err_t rewrite_some(struct rewriter *w, const struct reclaimer *r, size_t *at)
{
    err_t err = ERR_OK;
    size_t looked_at = 0;
    while (err == ERR_OK && *at < r->target_count && looked_at++ < STEP_BLOCKS &&
           w->events < STEP_EVENTS) {
        err = rewrite_block(w, r, at);
    }
    return err;
}

static err_t unpost_all(struct rewriter *w)
{
    struct index_job job;
    err_t err = index_job_init(&job, w->gone.generations[0]);
    for (size_t i = 0; err == ERR_OK && i < job.n; i++) {
        err = unpost_list(w->txn, job.lists[i]);
    }
    index_job_done(&job);
    return err;
}

/* What must follow is in the same transaction. */
static err_t put_marks(struct rewriter *w, const struct reclaimer *r)
{
    err_t err = meta_put(w->txn, META_SCRUB, kv_txn_id(w->txn));
    if (err == ERR_OK && r->for_good) {
        err = meta_put(w->txn, META_PURGE, store_applied_position(w->store));
    }
    if (err == ERR_OK) {
        err = meta_put(w->txn, META_CLOCK, (uint64_t)r->time_us);
    }
    return err;
}

static err_t run(struct rewriter *w, size_t *at)
{
    const struct reclaimer *r = w->store->reclaimer;
    err_t err = rewrite_some(w, r, at);
    if (err == ERR_OK) {
        err = unpost_all(w);
    }
    if (err == ERR_OK && w->blocks > 0) {
        err = put_marks(w, r);
    }
    log_cursor_done(&w->log);
    if (err != ERR_OK || w->blocks == 0) {
        kv_abort(w->txn);
        return err;
    }
    return kv_commit(w->txn);
}

err_t reclaim_rewrite(struct store *s)
{
    size_t at = s->reclaimer->target_at;
    struct rewriter *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_MEMORY;
    }
    w->store = s;
    arena_init(&w->arena, (size_t)1 << 16, SIZE_MAX / 2);
    err_t err = tail_init(&w->gone, 1, SIZE_MAX / 2);
    if (err == ERR_OK) {
        err = kv_begin(s->kv, true, &w->txn);
        if (err == ERR_OK) {
            err = run(w, &at);
        }
        tail_done(&w->gone);
    }
    arena_done(&w->arena);
    free(w);
    if (err == ERR_OK) {
        s->reclaimer->target_at = at;
    }
    return err;
}
