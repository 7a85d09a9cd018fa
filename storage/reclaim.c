/* reclaim: the stages of a pass, one step a call; see reclaim.h. */
#include "reclaim.h"

#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/hide.h"

#define NOTES_CHUNK_BYTES 65536

err_t reclaimer_new(struct reclaimer **ret)
{
    struct reclaimer *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return ERR_MEMORY;
    }
    arena_init(&r->arena, NOTES_CHUNK_BYTES, SIZE_MAX / 2);
    *ret = r;
    return ERR_OK;
}

void reclaimer_free(struct reclaimer *r)
{
    if (r != NULL) {
        arena_done(&r->arena);
        free(r->notes);
        free(r->targets);
        free(r);
    }
}

/* ---- beginning and end ---- */

static void forget_part(struct reclaimer *r)
{
    r->target_count = 0;
    r->target_at = 0;
    r->note_count = 0;
    arena_reset(&r->arena);
}

/* The time by which max_age_s is judged must be behind the writer: no later command may have an
 * earlier one, and then freeze less than was taken away. While a group is open that is not sure,
 * and the time before stays. */
static void settle_time(struct store *s)
{
    int64_t clock_us = atomic_load(&s->clock_us);
    tail_lock(&s->tail);
    bool open = s->tail.group_open;
    tail_unlock(&s->tail);
    if (!open) {
        s->reclaimer->time_us = clock_us;
    }
}

static err_t begin_pass(struct store *s)
{
    struct reclaimer *r = s->reclaimer;
    if (r->targets == NULL) {
        r->targets = malloc(RECLAIM_TARGETS_MAX * sizeof *r->targets);
    }
    if (r->targets == NULL) {
        return ERR_MEMORY;
    }
    settle_time(s);
    forget_part(r);
    r->stage = RECLAIM_COLLECT;
    r->applied = store_applied_position(s);
    r->under_way = true;
    r->for_good = r->redactions_taken = r->lives_taken = false;
    r->rolling = 0;
    r->name_bytes = 0;
    return ERR_OK;
}

static void end_pass(struct store *s)
{
    struct reclaimer *r = s->reclaimer;
    r->under_way = false;
    atomic_store(&s->reclaimed_position, r->applied);
}

/* ---- stages ---- */

static err_t collect_step(struct store *s)
{
    struct reclaimer *r = s->reclaimer;
    err_t err = reclaim_collect(s);
    if (err != ERR_OK) {
        forget_part(r);
        return err;
    }
    if (r->target_count > 0) {
        r->stage = RECLAIM_REWRITE;
    } else if (r->lives_taken) {
        r->stage = RECLAIM_SCRUB;
    }
    return ERR_OK;
}

static err_t rewrite_step(struct store *s)
{
    struct reclaimer *r = s->reclaimer;
    err_t err = reclaim_rewrite(s);
    if (err == ERR_OK && r->target_at == r->target_count) {
        r->stage = RECLAIM_NOTE;
    }
    return err;
}

static err_t put_note(struct kv_txn *txn, const struct reclaim_note *note)
{
    struct life life;
    err_t err = lives_get(txn, note->stream, &life);
    if (err == ERR_OK && note->through > life.reclaimed) {
        life.reclaimed = note->through;
        err = lives_put(txn, &life);
    }
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? ERR_OK : err;
}

static err_t put_notes(const struct reclaimer *r, struct kv_txn *txn, uint64_t *ret_redactions)
{
    err_t err = ERR_OK;
    *ret_redactions = 0;
    for (size_t i = 0; i < r->note_count && err == ERR_OK; i++) {
        err = put_note(txn, &r->notes[i]);
    }
    for (size_t i = 0; i < r->target_count && err == ERR_OK; i++) {
        if (r->targets[i].redact) {
            err = redactions_delete(txn, r->targets[i].position);
            ++*ret_redactions;
        }
    }
    return err;
}

static err_t note_step(struct store *s)
{
    struct reclaimer *r = s->reclaimer;
    struct kv_txn *txn;
    uint64_t redactions;
    err_t err = kv_begin(s->kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = put_notes(r, txn, &redactions);
    if (err != ERR_OK) {
        kv_abort(txn);
        return err;
    }
    err = kv_commit(txn);
    if (err == ERR_OK) {
        atomic_fetch_sub(&s->redactions_waiting, redactions);
        forget_part(r);
        r->stage = r->lives_taken ? RECLAIM_SCRUB : RECLAIM_COLLECT;
    }
    return err;
}

/* ---- marks in meta ---- */

static err_t read_mark(struct store *s, const char *name, uint64_t *ret)
{
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, false, &txn);
    if (err == ERR_OK) {
        err = meta_get(txn, name, ret);
        kv_abort(txn);
    }
    return err;
}

static err_t write_mark(struct store *s, const char *name, uint64_t value)
{
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = meta_put(txn, name, value);
    if (err != ERR_OK) {
        kv_abort(txn);
        return err;
    }
    return kv_commit(txn);
}

/* ---- files ---- */

static err_t scrub_step(struct store *s, bool *ret_waits)
{
    struct reclaimer *r = s->reclaimer;
    uint64_t wanted;
    bool done = false, more = false;
    err_t err = read_mark(s, META_SCRUB, &wanted);
    if (err == ERR_OK && wanted > 0) {
        err = kv_scrub(s->kv, wanted, &done, &more);
    }
    if (err != ERR_OK || more) {
        return err;
    }
    if (wanted == 0 || done) {
        err = done ? write_mark(s, META_SCRUB, 0) : ERR_OK;
        r->stage = err == ERR_OK ? RECLAIM_PURGE : r->stage;
        return err;
    }
    /* What a transaction has freed can be wiped when the next one is committed: on a store that is
     * idle this is it. Then only readers can be in the way. */
    *ret_waits = r->nudged == wanted;
    if (r->nudged != wanted) {
        r->nudged = wanted;
        err = write_mark(s, META_SCRUB, wanted);
    }
    return err;
}

static err_t purge_step(struct store *s, bool *ret_waits)
{
    uint64_t position;
    bool done = false;
    err_t err = read_mark(s, META_PURGE, &position);
    if (err == ERR_OK && position > 0) {
        uint64_t applied = store_applied_position(s);
        err = s->journal->methods->purge(s->journal, position, applied, &done);
        *ret_waits = !done;
    }
    if (err == ERR_OK && done) {
        err = write_mark(s, META_PURGE, 0);
    }
    if (err == ERR_OK && !*ret_waits) {
        end_pass(s);
    }
    return err;
}

/* ---- one step ---- */

static err_t step(struct store *s, bool *ret_waits)
{
    switch (s->reclaimer->stage) {
    case RECLAIM_COLLECT:
        return collect_step(s);
    case RECLAIM_REWRITE:
        return rewrite_step(s);
    case RECLAIM_NOTE:
        return note_step(s);
    case RECLAIM_SCRUB:
        return scrub_step(s, ret_waits);
    case RECLAIM_PURGE:
        return purge_step(s, ret_waits);
    }
    return ERR_OK;
}

/* Where no life hides more as time goes by, all that there was to do is done until a command asks
 * for more. */
static bool is_due(const struct store *s)
{
    return s->reclaimer->rolling > 0 || store_reclaim_is_wanted(s);
}

static err_t reclaim_locked(struct store *s, bool *ret_more)
{
    struct reclaimer *r = s->reclaimer;
    bool waits = false;
    err_t err = ERR_OK;
    /* A pass that waits for readers or for the journal does not hold up what is asked for later. */
    bool in_files = r->stage == RECLAIM_SCRUB || r->stage == RECLAIM_PURGE;
    bool later = in_files && store_applied_position(s) > r->applied &&
                 atomic_load(&s->life_position) > r->applied;
    if (!r->under_way && !is_due(s)) {
        return ERR_OK;
    }
    if (!r->under_way || later) {
        err = begin_pass(s);
    }
    if (err == ERR_OK) {
        err = step(s, &waits);
    }
    *ret_more = err == ERR_OK && r->under_way && !waits;
    return err;
}

err_t store_reclaim(struct store *s, int64_t now_us, bool *ret_more)
{
    *ret_more = false;
    clock_advance(s, now_us);
    /* A log that is ahead of the index, after a crash, must be posted as it is first. */
    bool between = s->applier.stage != APPLY_IDLE || s->log_position > store_applied_position(s);
    if (between || pthread_mutex_trylock(&s->reclaiming) != 0) {
        return ERR_OK;
    }
    err_t err = reclaim_locked(s, ret_more);
    pthread_mutex_unlock(&s->reclaiming);
    return err;
}

bool store_reclaim_is_wanted(const struct store *s)
{
    uint64_t done = atomic_load(&s->reclaimed_position);
    return atomic_load(&s->life_position) > done && atomic_load(&s->applied) > done;
}
