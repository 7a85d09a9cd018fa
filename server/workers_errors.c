/* workers_errors: orders about events that were set aside. They go to the version that serves,
 * whose list is what readers see, while nobody else works on it. */
#include "server/workers_int.h"

/* As long as a step may take for one event. */
#define TRY_US INT64_C(10000000)

struct patience {
    const struct workers *workers;
    int64_t until_us;
};

static bool is_over(void *ctx)
{
    const struct patience *p = ctx;
    return workers_now_us() >= p->until_us || atomic_load(&p->workers->stopping);
}

/* NULL: none serves. What it returns is claimed. */
static struct runner *claim_serving(struct workers *w, struct projection *p)
{
    pthread_mutex_lock(&w->mutex);
    workers_claim(w, p);
    p->step_since_us = workers_now_us();
    struct runner *r = p->deleted ? NULL : p->serving.runner;
    pthread_mutex_unlock(&w->mutex);
    return r;
}

/* `taken`: an event was, so what was read before is not what it was. */
static void unclaim(struct workers *w, struct projection *p, bool taken)
{
    pthread_mutex_lock(&w->mutex);
    p->step_since_us = 0;
    workers_show(w, p);
    p->serving.patches += taken;
    p->serving.since = taken ? p->serving.seen.position : p->serving.since;
    workers_unclaim(w, p);
    pthread_mutex_unlock(&w->mutex);
    workers_kick(w); /* it may have become due while it was claimed */
    w->options.moved(w->options.ctx);
}

err_t workers_retry_error(struct workers *w, struct projection *p, uint64_t position,
                          struct err_text *et)
{
    struct store_view *v;
    struct patience patience = {w, workers_now_us() + TRY_US};
    struct runner *r = claim_serving(w, p);
    err_t err = r == NULL ? ERR_BUSY : app_view_open(w->options.store, &v);
    if (err == ERR_OK) {
        model_set_cancel(runner_model(r), is_over, &patience);
        err = runner_retry_error(r, v, position, et);
        model_set_cancel(runner_model(r), NULL, NULL);
        store_view_close(v);
    }
    unclaim(w, p, err == ERR_OK);
    return err;
}

err_t workers_discard_error(struct workers *w, struct projection *p, uint64_t position,
                            struct err_text *et)
{
    struct runner *r = claim_serving(w, p);
    err_t err = r == NULL ? ERR_BUSY : runner_discard_error(r, position, et);
    unclaim(w, p, false);
    return err;
}
