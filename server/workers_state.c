/* workers_state: what is known of projections, their readers, and orders that are no
 * definitions. */
#include "server/workers_int.h"

#include <time.h>

#define STALLED_US INT64_C(5000000)

static int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- what is known ---- */

static void fill_version(struct workers *w, const struct projection *p, const struct part *part,
                         struct version_status *ret)
{
    *ret = (struct version_status){.version = part->version, .eta_s = -1};
    if (part->version == 0) {
        return;
    }
    uint64_t head = feed_position(w->options.feed);
    const struct runner_status *seen = &part->seen;
    ret->state = seen->state;
    ret->position = seen->position;
    ret->lag_events = head > seen->position ? head - seen->position : 0;
    if (ret->lag_events > 0 && seen->time_us > 0) {
        ret->lag_us = wall_us() - seen->time_us;
    }
    bool moves = seen->state == RUNNER_BUILDING || seen->state == RUNNER_LIVE;
    ret->events_per_second = moves ? part->rate.events_per_s : 0;
    if (moves && ret->lag_events == 0) {
        ret->eta_s = 0;
        ret->events_per_second = 0;
    } else if (moves && part->rate.positions_per_s > 0) {
        ret->eta_s = (double)ret->lag_events / part->rate.positions_per_s;
    }
    ret->fault_position = seen->fault_position;
    ret->failing =
        moves && part->shown_failing != ERR_OK ? err_describe(part->shown_failing) : NULL;
    memcpy(ret->fault, part->fault, sizeof ret->fault);
    int64_t runs_us = p->step_since_us == 0 ? 0 : workers_now_us() - p->step_since_us;
    ret->stalled_us = runs_us > STALLED_US ? runs_us : 0;
}

bool workers_get_status(struct workers *w, struct projection *p, struct projection_status *ret)
{
    pthread_mutex_lock(&w->mutex);
    bool there = !p->deleted;
    if (there) {
        *ret = (struct projection_status){.builtin = p->builtin,
                                          .kind = p->definition.kind->name,
                                          .policy = p->definition.policy,
                                          .defined_us = p->definition.time_us,
                                          .previous = p->previous};
        memcpy(ret->name, p->name, sizeof ret->name);
        fill_version(w, p, &p->serving, &ret->serving);
        fill_version(w, p, &p->building, &ret->building);
        if (ret->building.state == RUNNER_LIVE) { /* it has served before, and is to do so again */
            ret->building.state = RUNNER_BUILDING;
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return there;
}

bool workers_get_version_source(struct workers *w, struct projection *p, uint64_t version,
                                struct buf *ret)
{
    pthread_mutex_lock(&w->mutex);
    const struct catalog_projection *c = catalog_find(w->catalog, bytes_of_string(p->name));
    const struct catalog_definition *d =
        c == NULL ? NULL : catalog_version(c, version == 0 ? c->desired : version);
    if (d != NULL) {
        buf_put(ret, d->source);
    }
    pthread_mutex_unlock(&w->mutex);
    return d != NULL && ret->n > 0;
}

bool workers_get_source(struct workers *w, struct projection *p, struct buf *ret)
{
    return workers_get_version_source(w, p, 0, ret);
}

/* ---- reading ---- */

/* Whoever has claimed it looks at what is wanted when the step is over. */
static void want(struct workers *w, struct projection *p, uint64_t position)
{
    if (p->wanted <= p->serving.seen.position || position < p->wanted) {
        p->wanted = position;
        if (!p->claimed) {
            workers_kick(w);
        }
    }
}

enum workers_readiness workers_readiness(struct workers *w, struct projection *p,
                                         uint64_t min_position, uint64_t *ret_position)
{
    pthread_mutex_lock(&w->mutex);
    const struct part *part = p->serving.version != 0 ? &p->serving : &p->building;
    *ret_position = part->seen.position;
    enum workers_readiness ready = WORKERS_READY;
    if (p->deleted) {
        ready = WORKERS_GONE;
    } else if (p->serving.version == 0) {
        ready = WORKERS_BUILDING;
    } else if (p->serving.seen.position < min_position) {
        ready = WORKERS_BEHIND;
        want(w, p, min_position);
    }
    pthread_mutex_unlock(&w->mutex);
    return ready;
}

bool workers_get_model(struct workers *w, struct projection *p, struct workers_model *ret)
{
    pthread_mutex_lock(&w->mutex);
    bool there = !p->deleted;
    const struct part *part = &p->serving;
    *ret = (struct workers_model){.version = part->version,
                                  .kind = part->kind,
                                  .position = part->seen.position,
                                  .since = part->since,
                                  .patches = part->patches};
    pthread_mutex_unlock(&w->mutex);
    return there;
}

err_t workers_take_reader(struct workers *w, struct projection *p, struct reader **ret,
                          uint64_t *ret_version, struct err_text *et)
{
    char dir[WORKERS_PATH_MAX];
    struct reader *r = NULL;
    pthread_mutex_lock(&w->mutex);
    uint64_t version = p->serving.version;
    if (version != 0 && p->readers_version == version && p->reader_count > 0) {
        r = p->readers[--p->reader_count];
    }
    pthread_mutex_unlock(&w->mutex);
    if (version == 0) {
        return ERR_NOT_FOUND;
    }
    err_t err = r != NULL ? ERR_OK : models_dir(w, p->name, version, dir);
    if (r == NULL && err == ERR_OK) {
        err = reader_open(dir, &r, et);
    }
    if (err == ERR_OK) {
        *ret = r;
        *ret_version = version;
    }
    return err;
}

void workers_give_reader(struct workers *w, struct projection *p, struct reader *take_reader,
                         uint64_t version)
{
    pthread_mutex_lock(&w->mutex);
    bool keep = !p->deleted && p->serving.version == version && p->readers_version == version &&
                p->reader_count < WORKERS_READERS_MAX;
    if (keep) {
        p->readers[p->reader_count++] = take_reader;
    }
    pthread_mutex_unlock(&w->mutex);
    if (!keep) {
        reader_close(take_reader);
    }
}

/* ---- orders ---- */

/* The version that is faulted, the one being built first. */
static struct part *faulted_part(struct projection *p)
{
    if (p->building.runner != NULL && p->building.seen.state == RUNNER_FAULTED) {
        return &p->building;
    }
    return p->serving.runner != NULL && p->serving.seen.state == RUNNER_FAULTED ? &p->serving
                                                                                : NULL;
}

static err_t order(struct workers *w, struct projection *p, bool skip, struct err_text *et)
{
    struct store_view *v;
    pthread_mutex_lock(&w->mutex);
    workers_claim(w, p);
    struct part *part = p->deleted ? NULL : faulted_part(p);
    pthread_mutex_unlock(&w->mutex);
    err_t err = part == NULL ? ERR_INVALID : ERR_OK;
    if (err == ERR_OK && skip) {
        err = app_view_open(w->options.store, &v);
        if (err == ERR_OK) {
            err = runner_skip(part->runner, v, et);
            store_view_close(v);
        }
    } else if (err == ERR_OK) {
        err = runner_resume(part->runner, et);
    }
    pthread_mutex_lock(&w->mutex);
    workers_show(w, p);
    workers_unclaim(w, p);
    pthread_mutex_unlock(&w->mutex);
    workers_kick(w);
    return err;
}

err_t workers_retry(struct workers *w, struct projection *p, struct err_text *et)
{
    return order(w, p, false, et);
}

err_t workers_skip(struct workers *w, struct projection *p, struct err_text *et)
{
    return order(w, p, true, et);
}
