/* apply: moving the tail into LMDB, a bounded step at a time, off the commit path.
 *
 * A frozen generation goes in three stages. First its records, in blocks at the end of the log:
 * purely sequential. Then what they say of streams' lives (rarely anything). Then its names,
 * sorted: the rows and blocks that change are at random places, which is why a whole generation's
 * changes are gathered. The last transaction moves the index position; only then is the generation
 * dropped from memory and its journal let go. A crash between any two steps loses nothing: the log
 * rows say themselves how far they go, the names skip what they have. */
#include "storage/base/check.h"
#include "store_int.h"

#define LOG_STEP_BYTES (4u << 20)

static uint64_t last_of(const struct tail_generation *g)
{
    return g->first + g->n - 1;
}

static err_t append_blocks(struct applier *a, struct kv_txn *txn)
{
    struct tail_generation *g = a->generation;
    uint32_t next = a->log_next;
    for (size_t done = 0; next < g->n && done < LOG_STEP_BYTES;) {
        uint32_t taken;
        size_t bytes;
        err_t err =
            log_append(txn, g->first + next, g->records + next, g->n - next, &taken, &bytes);
        if (err != ERR_OK) {
            return err;
        }
        next += taken;
        done += bytes;
    }
    a->log_next = next;
    return ERR_OK;
}

static err_t start_index(struct store *s)
{
    err_t err = index_job_init(&s->applier.job, s->applier.generation);
    if (err == ERR_OK) {
        s->applier.stage = APPLY_INDEX;
    }
    return err;
}

/* One transaction of records. */
static err_t append_step(struct store *s)
{
    struct applier *a = &s->applier;
    uint32_t before = a->log_next;
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = append_blocks(a, txn);
    if (err != ERR_OK) {
        kv_abort(txn);
    } else {
        err = kv_commit(txn);
    }
    if (err != ERR_OK) {
        a->log_next = before;
        return err;
    }
    s->log_position = a->generation->first + a->log_next - 1;
    return ERR_OK;
}

static err_t log_step(struct store *s)
{
    struct applier *a = &s->applier;
    err_t err = a->log_next < a->generation->n ? append_step(s) : ERR_OK;
    if (err != ERR_OK || a->log_next < a->generation->n) {
        return err;
    }
    if (a->generation->lives.n == 0 && a->generation->redactions.n == 0) {
        return start_index(s);
    }
    a->stage = APPLY_LIVES;
    return ERR_OK;
}

/* Lives come before the index position moves: a view that has the position has them. */
static err_t lives_step(struct store *s)
{
    struct applier *a = &s->applier;
    err_t err = life_job_step(s, &a->lives, a->generation);
    return err == ERR_OK && a->lives.done ? start_index(s) : err;
}

static void finish(struct store *s)
{
    struct applier *a = &s->applier;
    uint64_t applied = last_of(a->generation);
    index_job_done(&a->job);
    *a = (struct applier){.stage = APPLY_IDLE};
    atomic_store(&s->applied, applied);
    tail_drop_oldest(&s->tail);
}

static err_t index_step(struct store *s)
{
    struct applier *a = &s->applier;
    size_t before = a->job.at;
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = index_job_step(&a->job, txn);
    bool last = a->job.at == a->job.n;
    if (err == ERR_OK && last) {
        err = meta_put(txn, META_INDEX_POSITION, last_of(a->generation));
    }
    if (err != ERR_OK) {
        kv_abort(txn);
    } else {
        err = kv_commit(txn);
    }
    if (err != ERR_OK) {
        a->job.at = before;
        return err;
    }
    if (last) {
        finish(s);
    }
    return ERR_OK;
}

/* Takes the next generation on; false: there is none. */
static bool start(struct store *s, bool flush)
{
    struct tail_generation *g = tail_oldest_frozen(&s->tail, flush || tail_is_ripe(&s->tail));
    if (g == NULL) {
        return false;
    }
    atomic_store(&s->apply_target, last_of(g));
    /* After a crash, or in a reindex, the log has the beginning of the generation already. */
    uint64_t have = s->log_position < g->first ? 0 : s->log_position - g->first + 1;
    s->applier = (struct applier){
        .stage = APPLY_LOG, .generation = g, .log_next = have < g->n ? (uint32_t)have : g->n};
    return true;
}

err_t apply_records(struct store *s)
{
    index_job_done(&s->applier.job);
    s->applier = (struct applier){.stage = APPLY_IDLE};
    while (start(s, true)) {
        while (s->applier.log_next < s->applier.generation->n) {
            err_t err = append_step(s);
            if (err != ERR_OK) {
                return err;
            }
        }
        s->applier = (struct applier){.stage = APPLY_IDLE};
        tail_drop_oldest(&s->tail);
    }
    return ERR_OK;
}

static err_t step(struct store *s)
{
    switch (s->applier.stage) {
    case APPLY_LOG:
        return log_step(s);
    case APPLY_LIVES:
        return lives_step(s);
    case APPLY_INDEX:
        return index_step(s);
    case APPLY_IDLE:
        break;
    }
    return ERR_OK;
}

err_t store_apply(struct store *s, bool flush, bool *ret_more)
{
    err_t err = ERR_OK;
    *ret_more = false;
    if (s->applier.stage == APPLY_IDLE && !start(s, flush)) {
        return ERR_OK;
    }
    err = step(s);
    if (err == ERR_OK && s->applier.stage == APPLY_IDLE) {
        uint64_t applied = atomic_load(&s->applied);
        bool idle = applied == store_position(s);
        err = s->journal->methods->trim(s->journal, applied, idle);
        *ret_more = !idle && tail_is_ripe(&s->tail);
    } else {
        *ret_more = err == ERR_OK;
    }
    return err;
}
