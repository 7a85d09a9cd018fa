/* apply_life: the stage of applying that moves lives and redactions from a generation to their
 * tables. Putting one again after a crash changes nothing. */
#include "store_int.h"

#define STEP_ROWS 512

/* The newest version replaces the row; how far reclaim came stays. */
static err_t put_life(struct kv_txn *txn, const struct tail_lives *lives)
{
    struct life before, now = lives->newest->life;
    err_t err = lives_get(txn, lives->stream, &before);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return err;
    }
    now.reclaimed = err == ERR_OK ? before.reclaimed : 0;
    return lives_put(txn, &now);
}

/* Counted before it can be seen (view.c). */
static err_t put_redaction(struct store *s, struct kv_txn *txn, const struct tail_redaction *r,
                           uint64_t *added)
{
    uint64_t by;
    err_t err = redactions_get(txn, r->target, &by);
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    atomic_fetch_add(&s->redactions_waiting, 1);
    (*added)++;
    return redactions_put(txn, r->target, r->position);
}

static err_t put_some(struct store *s, struct kv_txn *txn, struct life_job *job,
                      const struct tail_generation *g, uint64_t *added)
{
    err_t err = ERR_OK;
    for (size_t n = 0; n < STEP_ROWS && err == ERR_OK; n++) {
        const struct tail_lives *lives = map_next(&g->lives, &job->lives_at);
        if (lives != NULL) {
            err = put_life(txn, lives);
            continue;
        }
        const struct tail_redaction *r = map_next(&g->redactions, &job->redactions_at);
        if (r == NULL) {
            job->done = true;
            break;
        }
        err = put_redaction(s, txn, r, added);
    }
    return err;
}

err_t life_job_step(struct store *s, struct life_job *job, const struct tail_generation *g)
{
    struct life_job before = *job;
    struct kv_txn *txn;
    uint64_t added = 0;
    err_t err = kv_begin(s->kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = put_some(s, txn, job, g, &added);
    if (err != ERR_OK) {
        kv_abort(txn);
    } else {
        err = kv_commit(txn);
    }
    if (err != ERR_OK) {
        atomic_fetch_sub(&s->redactions_waiting, added);
        *job = before;
    }
    return err;
}
