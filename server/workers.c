/* workers: see workers.h.
 *
 * A thread looks for a projection that nobody has claimed and that has something to do, claims it,
 * takes one bounded step with each of its versions and lets it go. One mutex guards all that is
 * known; it is never held across a step, a file or a wait for one. Each thread sleeps on an eventfd
 * that the feed and orders write to, so nobody sleeps through a change. */
#include "server/workers_int.h"

#include "server/log.h"
#include "storage/base/check.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* A step ends after so long, so that views are short, projections take turns and orders are heard.
 * A version that is built takes more at once: what it writes over and over costs less then. */
#define STEP_US       INT64_C(50000)
#define BUILD_STEP_US INT64_C(100000)
/* The last resort against a handler that runs on in spite of its other limits. */
#define EVENT_US_MAX INT64_C(10000000)

#define RETRY_US       INT64_C(1000000)
#define LOG_AGAIN_US   INT64_C(60000000)
#define RATE_WINDOW_US INT64_C(1000000)
#define SLEEP_US       INT64_C(1000000)
#define LOOK_AGAIN_US  INT64_C(20000)
#define BUILTIN_RESTS  10

static void *run_worker(void *ctx);

int64_t workers_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Processor time of the thread that asks. */
static int64_t thread_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- claims ---- */

void workers_claim(struct workers *w, struct projection *p)
{
    while (p->claimed) {
        pthread_cond_wait(&w->unclaimed, &w->mutex);
    }
    p->claimed = true;
}

void workers_unclaim(struct workers *w, struct projection *p)
{
    CHECK(p->claimed);
    p->claimed = false;
    pthread_cond_broadcast(&w->unclaimed);
}

static void show_rate(struct part *part)
{
    struct rate *r = &part->rate;
    int64_t now = workers_now_us(), took = now - r->since_us;
    if (r->since_us != 0 && took < RATE_WINDOW_US) {
        return;
    }
    if (r->since_us != 0) {
        double s = (double)took / 1e6;
        r->positions_per_s = (double)(part->seen.position - r->position) / s;
        r->events_per_s = (double)(part->seen.events - r->events) / s;
    }
    r->since_us = now;
    r->position = part->seen.position;
    r->events = part->seen.events;
}

static void show_part(struct part *part)
{
    if (part->runner != NULL) {
        runner_get_status(part->runner, &part->seen);
        part->shown_failing = part->failing;
        snprintf(part->fault, sizeof part->fault, "%s", part->seen.fault_text);
        show_rate(part);
    }
}

void workers_show(struct workers *w, struct projection *p)
{
    (void)w;
    show_part(&p->serving);
    show_part(&p->building);
}

void workers_kick(struct workers *w)
{
    for (size_t i = 0; i < w->started; i++) {
        feed_wake(&w->threads[i].sleeper);
    }
}

/* ---- starting and stopping ---- */

static err_t start_threads(struct workers *w)
{
    w->threads = calloc(w->options.threads, sizeof *w->threads);
    if (w->threads == NULL) {
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < w->options.threads; i++) {
        struct worker *worker = &w->threads[i];
        worker->workers = w;
        err_t err = feed_add_sleeper(w->options.feed, &worker->sleeper);
        if (err != ERR_OK) {
            return err;
        }
        if (pthread_create(&worker->thread, NULL, run_worker, worker) != 0) {
            return ERR_MEMORY; /* the sleeper stays in the feed, and in memory until workers_free */
        }
        w->started++;
    }
    return ERR_OK;
}

static struct projection *add(struct workers *w, const char *name)
{
    if (w->count == w->cap) {
        size_t cap = w->cap == 0 ? 8 : w->cap * 2;
        void *items = realloc(w->items, cap * sizeof(struct projection *));
        if (items == NULL) {
            return NULL;
        }
        w->items = items;
        w->cap = cap;
    }
    struct projection *p = calloc(1, sizeof *p);
    if (p != NULL) {
        snprintf(p->name, sizeof p->name, "%s", name);
        w->items[w->count++] = p;
    }
    return p;
}

static err_t start_counts(struct workers *w)
{
    pthread_mutex_lock(&w->mutex);
    struct projection *p = add(w, COUNTS_NAME);
    pthread_mutex_unlock(&w->mutex);
    return p == NULL ? ERR_MEMORY : models_open_counts(w, p);
}

static err_t start(struct workers *w, struct err_text *et)
{
    err_t err = models_make_dir(w, et);
    if (err == ERR_OK) {
        err = catalog_new(&w->catalog);
    }
    if (err == ERR_OK && w->options.counts) {
        err = start_counts(w);
    }
    if (err != ERR_OK) {
        return err;
    }
    (void)workers_begin_change(w);
    err = workers_refresh(w);
    workers_end_change(w);
    if (err != ERR_OK) {
        return err_set(et, err, "cannot read the definitions of projections: %s",
                       err_describe(err));
    }
    models_clean(w);
    return start_threads(w);
}

err_t workers_start(const struct workers_options *options, struct workers **ret,
                    struct err_text *et)
{
    struct workers *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_MEMORY;
    }
    w->options = *options;
    pthread_mutex_init(&w->change, NULL);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->unclaimed, NULL);
    *ret = w; /* also of a failed start: the feed knows sleepers of it */
    return start(w, et);
}

void workers_stop(struct workers *w)
{
    if (w == NULL) {
        return;
    }
    atomic_store(&w->stopping, true);
    workers_kick(w);
    for (size_t i = 0; i < w->started; i++) {
        pthread_join(w->threads[i].thread, NULL);
    }
}

void workers_free(struct workers *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        models_close(w, w->items[i]);
        free(w->items[i]);
    }
    for (size_t i = 0; i < w->started; i++) {
        feed_sleeper_done(&w->threads[i].sleeper);
    }
    free(w->items);
    free(w->threads);
    catalog_free(w->catalog);
    pthread_cond_destroy(&w->unclaimed);
    pthread_mutex_destroy(&w->mutex);
    pthread_mutex_destroy(&w->change);
    free(w);
}

/* ---- the threads ---- */

/* What a thread finds when it looks for something to do. */
struct look {
    int64_t now_us;
    uint64_t position;        /* committed, as of the look */
    struct projection *found; /* claimed; NULL: nothing is due */
    bool serves, builds;      /* which of its versions is due */
    int64_t until_us;         /* nothing is due before; */
    bool watches;             /* unless the position moves */
};

/* A version that is to be swapped in has work until it is, even where it has nothing to read. One
 * that serves and has caught up rests, so that a batch is more than a group of the writer's, and
 * nobody listens to the feed meanwhile: unless a reader waits for a position. */
static bool is_due(const struct part *part, bool serves, uint64_t wanted, struct look *look)
{
    bool moves = part->seen.state == RUNNER_BUILDING || part->seen.state == RUNNER_LIVE;
    if (part->version == 0 || !moves) {
        return false;
    }
    int64_t from_us = part->retry_at_us;
    bool awaited = wanted > part->seen.position;
    if (!(awaited && wanted <= look->position) && part->rest_until_us > from_us) {
        from_us = part->rest_until_us;
        look->watches = look->watches || awaited;
    }
    if (look->now_us < from_us) {
        look->until_us = from_us < look->until_us ? from_us : look->until_us;
        return false;
    }
    bool idle = serves && part->seen.state == RUNNER_LIVE && part->seen.position >= look->position;
    look->watches = look->watches || idle;
    return !idle;
}

/* In turn, so that none waits for ever behind one that always has something to do. Who has claimed
 * a projection looks at it again, but may have taken another one by then. */
static void look_for_work(struct workers *w, struct look *look)
{
    pthread_mutex_lock(&w->mutex);
    *look = (struct look){.now_us = workers_now_us(), .position = feed_position(w->options.feed)};
    look->until_us = look->now_us + SLEEP_US;
    for (size_t i = 0; i < w->count && look->found == NULL; i++) {
        struct projection *p = w->items[(w->next + i) % w->count];
        if (p->claimed && look->until_us > look->now_us + LOOK_AGAIN_US) {
            look->until_us = look->now_us + LOOK_AGAIN_US;
        }
        if (p->claimed || p->deleted) {
            continue;
        }
        look->serves = is_due(&p->serving, true, p->wanted, look);
        look->builds = is_due(&p->building, false, 0, look);
        if (look->serves || look->builds) {
            look->found = p;
            p->claimed = true;
            p->wanted = 0;
            p->step_since_us = look->now_us;
            w->next = (w->next + i + 1) % w->count;
        }
    }
    pthread_mutex_unlock(&w->mutex);
}

struct step {
    const struct workers *workers;
    int64_t until_us;
    unsigned events;
};

/* The clock is asked for every sixteenth event. */
static bool is_enough(void *ctx)
{
    struct step *s = ctx;
    return ++s->events % 16 == 0 &&
           (workers_now_us() >= s->until_us || atomic_load(&s->workers->stopping));
}

/* While a handler runs. */
static bool is_over(void *ctx)
{
    const struct step *s = ctx;
    return workers_now_us() >= s->until_us + EVENT_US_MAX || atomic_load(&s->workers->stopping);
}

static bool may_pass(err_t err)
{
    return err == ERR_DISK_FULL || err == ERR_MEMORY || err == ERR_BUSY;
}

/* What may pass is tried again every second and logged once a minute. */
static void step_failed(struct projection *p, struct part *part, err_t err,
                        const struct err_text *et)
{
    const char *detail = et->text[0] == '\0' ? err_describe(err) : et->text;
    int64_t now = workers_now_us();
    if (!may_pass(err) || part->logged_us == 0 || now - part->logged_us > LOG_AGAIN_US) {
        log_line(LOG_LEVEL_ERROR, "a projection failed", log_text("projection", p->name),
                 log_number("version", (int64_t)part->version), log_text("error", err_name(err)),
                 log_text("detail", detail));
        part->logged_us = now;
    }
    part->retry_at_us = now + RETRY_US;
    part->failing = err;
    if (!may_pass(err)) {
        runner_fail(part->runner, detail);
    }
}

/* Models leave room for the log: they stop at twice the space below which appends do. */
static bool disk_is_low(const struct workers *w)
{
    struct statvfs fs;
    return w->options.disk_free_min_bytes > 0 && statvfs(w->options.dir, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < 2 * w->options.disk_free_min_bytes;
}

/* Claimed, without the mutex. */
static bool step_part(struct workers *w, struct projection *p, struct part *part)
{
    struct store_view *v;
    struct err_text et = {0};
    bool caught_up = false;
    bool builds = part == &p->building;
    struct step step = {.workers = w,
                        .until_us = workers_now_us() + (builds ? BUILD_STEP_US : STEP_US)};
    if (disk_is_low(w)) {
        step_failed(p, part, ERR_DISK_FULL, &et);
        return false;
    }
    err_t err = app_view_open(w->options.store, &v);
    model_set_cancel(runner_model(part->runner), is_over, &step);
    if (err == ERR_OK) {
        err = runner_step(part->runner, v, is_enough, &step, &caught_up, &et);
        store_view_close(v);
    }
    model_set_cancel(runner_model(part->runner), NULL, NULL);
    part->failing = ERR_OK;
    if (err == ERR_CLOSED && atomic_load(&w->stopping)) {
        return false;
    }
    if (err != ERR_OK) {
        step_failed(p, part, err, &et);
    }
    struct runner_status status;
    runner_get_status(part->runner, &status);
    if (status.state == RUNNER_FAULTED && status.fault_position > 0) {
        log_line(LOG_LEVEL_WARN, "a projection stopped at an event",
                 log_text("projection", p->name), log_number("version", (int64_t)part->version),
                 log_number("position", (int64_t)status.fault_position),
                 log_text("detail", status.fault_text));
    }
    return err == ERR_OK && caught_up;
}

/* A step of a build, which gives way to appends: where the log moved meanwhile and it had to wait
 * for a processor or the disk, it rests as long as it waited, at most as long as it ran. True: it
 * has caught up. */
static bool step_build(struct workers *w, const struct look *look)
{
    struct part *part = &look->found->building;
    int64_t began_us = workers_now_us(), ran_us = thread_us();
    bool caught_up = step_part(w, look->found, part);
    int64_t now_us = workers_now_us();
    ran_us = thread_us() - ran_us;
    int64_t waited_us = now_us - began_us - ran_us;
    bool appends = feed_position(w->options.feed) > look->position;
    part->rest_until_us =
        appends && !caught_up ? now_us + (waited_us < ran_us ? waited_us : ran_us) : 0;
    return caught_up;
}

/* What is built in costs everybody, asked for or not, and is seldom looked at. */
static int64_t rest_us(const struct workers *w, const struct projection *p)
{
    return (int64_t)w->options.rest_ms * 1000 * (p->builtin ? BUILTIN_RESTS : 1);
}

/* A model that is swapped in is not behind the one it takes the place of, so that what a client has
 * read stays read. */
static void step(struct workers *w, const struct look *look)
{
    struct projection *p = look->found;
    if (look->serves) {
        bool rests = step_part(w, p, &p->serving);
        p->serving.rest_until_us = rests ? workers_now_us() + rest_us(w, p) : 0;
    }
    if (!look->builds || !step_build(w, look)) {
        return;
    }
    struct runner_status built;
    runner_get_status(p->building.runner, &built);
    bool behind = p->serving.runner != NULL &&
                  built.position < model_checkpoint(runner_model(p->serving.runner));
    if (!behind) {
        err_t err = models_swap(w, p);
        if (err != ERR_OK) {
            step_failed(p, &p->building, err, &(struct err_text){{0}});
        }
    }
}

static void sleep_until_due(struct worker *me, const struct look *look)
{
    struct feed *feed = me->workers->options.feed;
    if (!look->watches || feed_sleep(feed, &me->sleeper, look->position)) {
        struct pollfd fd = {.fd = me->sleeper.event_fd, .events = POLLIN};
        if (poll(&fd, 1, (int)((look->until_us - look->now_us + 999) / 1000)) > 0) {
            uint64_t count;
            (void)!read(fd.fd, &count, sizeof count);
        }
        feed_awake(&me->sleeper);
    }
}

static void *run_worker(void *ctx)
{
    struct worker *me = ctx;
    struct workers *w = me->workers;
    while (!atomic_load(&w->stopping)) {
        struct look look;
        look_for_work(w, &look);
        if (look.found == NULL) {
            sleep_until_due(me, &look);
            continue;
        }
        step(w, &look);
        pthread_mutex_lock(&w->mutex);
        look.found->step_since_us = 0;
        workers_show(w, look.found);
        workers_unclaim(w, look.found);
        if (look.found->wanted > look.found->serving.seen.position) { /* while it was claimed */
            workers_kick(w);
        }
        pthread_mutex_unlock(&w->mutex);
        w->options.moved(w->options.ctx);
    }
    return NULL;
}

/* ---- definitions ---- */

const struct catalog *workers_begin_change(struct workers *w)
{
    pthread_mutex_lock(&w->change);
    return w->catalog;
}

void workers_end_change(struct workers *w)
{
    pthread_mutex_unlock(&w->change);
}

/* The catalog changes within a change only, and is read by others under the mutex. */
static err_t fold_new(struct workers *w, struct store_view *v)
{
    struct store_read *read;
    struct store_record record;
    struct store_query query = {.stream = BYTES_LITERAL(CATALOG_STREAM),
                                .from = catalog_revision(w->catalog),
                                .filter.system = true};
    err_t err = store_read_open(v, &query, &read);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    while ((err = store_read_next(read, &record)) == ERR_OK || err == ERR_FULL) {
        struct event e;
        if (err == ERR_FULL) {
            continue;
        }
        err = store_record_decode(&record, &e);
        if (err == ERR_OK) {
            pthread_mutex_lock(&w->mutex);
            err = catalog_fold(w->catalog, &e);
            pthread_mutex_unlock(&w->mutex);
        }
        if (err != ERR_OK) {
            break;
        }
    }
    store_read_close(read);
    return err == ERR_END ? ERR_OK : err;
}

static struct projection *find(struct workers *w, struct bytes name)
{
    for (size_t i = 0; i < w->count; i++) {
        if (bytes_equal(bytes_of_string(w->items[i]->name), name)) {
            return w->items[i];
        }
    }
    return NULL;
}

struct projection *workers_find(struct workers *w, struct bytes name)
{
    pthread_mutex_lock(&w->mutex);
    struct projection *p = find(w, name);
    pthread_mutex_unlock(&w->mutex);
    return p;
}

struct projection *workers_at(struct workers *w, size_t i)
{
    pthread_mutex_lock(&w->mutex);
    struct projection *p = i < w->count ? w->items[i] : NULL;
    pthread_mutex_unlock(&w->mutex);
    return p;
}

static struct projection *find_or_add(struct workers *w, const char *name)
{
    pthread_mutex_lock(&w->mutex);
    struct projection *p = find(w, bytes_of_string(name));
    if (p == NULL) {
        p = add(w, name);
    }
    pthread_mutex_unlock(&w->mutex);
    return p;
}

err_t workers_refresh(struct workers *w)
{
    struct store_view *v;
    err_t err = app_view_open(w->options.store, &v);
    if (err != ERR_OK) {
        return err;
    }
    err = fold_new(w, v);
    store_view_close(v);
    for (size_t i = 0; err == ERR_OK && i < catalog_count(w->catalog); i++) {
        struct projection *p = find_or_add(w, catalog_at(w->catalog, i)->name);
        err = p == NULL ? ERR_MEMORY : models_reconcile(w, p);
    }
    workers_kick(w);
    w->options.moved(w->options.ctx); /* readers of what was deleted look again */
    return err;
}
