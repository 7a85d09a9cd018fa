/* writer: group commit, and the thread behind it that fills LMDB.
 *
 * The writer's thread sleeps until a command is queued, takes the whole queue (up to a group's
 * bounds), commits it with one synced write and resumes its requests; what was queued meanwhile is
 * the next group. So a lone command waits for nothing, and a crowd shares one sync.
 *
 * A command that is alone when its loop has nothing else to do is committed by the loop's thread
 * itself: waking the writer and being woken by it would take half as long again as the synced write
 * (measured: 40 of 200 us). The loop does nothing else meanwhile, so only as long as commits are
 * short; what comes while it is busy makes the next turn's group, which goes to the writer's
 * thread.
 *
 * The applier's thread moves the tail into LMDB: when APPLY_BYTES have been committed since it last
 * looked, when the oldest event that waits has waited for apply_interval_ms, or when the tail is
 * full and the writer waits for room. It also has the next journal segment ready before it is
 * needed, and reclaims (reclaim.h) while there is nothing to apply.
 *
 * One mutex guards everything below `mutex`; neither thread holds it while it commits, applies or
 * resumes. Signals are sent only where somebody sleeps. Failures: after an I/O error of a commit
 * nothing may be written any more: `failed` is set, what is queued is handed back undecided, and
 * the application is told to stop the process. */
#include "server/writer_int.h"

#include "server/feed.h"
#include "server/http.h"
#include "server/metrics.h"
#include "storage/base/check.h"

#include <stdlib.h>
#include <time.h>

/* The same as the store's, so that a call is one group and is decided as a whole. */
#define GROUP_BYTES_MAX  (4u << 20)
#define GROUP_EVENTS_MAX 16384
#define APPLY_BYTES      (1u << 20)
/* Where commits take longer than this, on average, no loop is held up by one. */
#define TURN_COMMIT_US_MAX 500
#define AVERAGE_OVER       8

static void *run_writer(void *ctx);
static err_t start_threads(struct writer *w);
static void init_conditions(struct writer *w);
static err_t submit(struct writer *w, struct writer_job *job, bool in_turn);
static bool wait_for_group(struct writer *w);
static void take_group(struct writer *w);
static void commit_group(struct writer *w);
static void commit_in_turn(struct writer *w);
static void put_back(struct writer *w);
static void end_commit(struct writer *w);
static err_t commit(struct writer *w);
static err_t wait_for_room(struct writer *w);
static void complete_group(struct writer *w, err_t err);
static void count_group(struct writer *w);

err_t writer_start(const struct writer_options *options, struct writer **ret)
{
    struct writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_MEMORY;
    }
    w->options = *options;
    init_conditions(w);
    /* What recovery left in the tail is applied like anything else. */
    w->unapplied_since_us = writer_clock_us(CLOCK_MONOTONIC);
    w->apply_wanted = true;
    reclaim_init(&w->reclaim, options->store, options->reclaim_interval_s);
    err_t err = start_threads(w);
    if (err != ERR_OK) {
        free(w);
        return err;
    }
    *ret = w;
    return ERR_OK;
}

void writer_stop(struct writer *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->writer_thread, NULL);
    pthread_mutex_lock(&w->mutex);
    w->writer_done = true;
    pthread_cond_signal(&w->apply);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->applier_thread, NULL);
    CHECK(w->head == NULL);
}

void writer_free(struct writer *w)
{
    if (w == NULL) {
        return;
    }
    pthread_cond_destroy(&w->room);
    pthread_cond_destroy(&w->apply);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

err_t writer_submit(struct writer *w, struct writer_job *job)
{
    return submit(w, job, false);
}

err_t writer_submit_in_turn(struct writer *w, struct writer_job *job)
{
    return submit(w, job, true);
}

void writer_end_turn(struct writer *w)
{
    bool mine = false, wake = false;
    pthread_mutex_lock(&w->mutex);
    if (w->head != NULL && w->writer_sleeps && !w->committing) {
        /* Where the last group was a crowd, so will the next be: better not to hold it up. */
        mine =
            w->queue_commands == 1 && w->n <= 1 && w->commit_us <= TURN_COMMIT_US_MAX && !w->failed;
        wake = !mine;
    }
    if (mine) {
        take_group(w);
    }
    w->writer_sleeps = w->writer_sleeps && !wake;
    pthread_mutex_unlock(&w->mutex);
    if (wake) {
        pthread_cond_signal(&w->work);
    }
    if (mine) {
        commit_in_turn(w);
    }
}

static err_t submit(struct writer *w, struct writer_job *job, bool in_turn)
{
    size_t bytes = command_bytes(job->command);
    job->next = NULL;
    job->error = ERR_OK;
    bool wake = false;
    err_t err = ERR_OK;
    pthread_mutex_lock(&w->mutex);
    bool fits = w->queue_commands < w->options.queue_commands_max &&
                (w->queue_commands == 0 || w->queue_bytes + bytes <= w->options.queue_bytes_max);
    if (w->stopping || w->failed) {
        err = ERR_CLOSED;
    } else if (!fits) {
        err = ERR_FULL;
    } else {
        if (w->tail == NULL) {
            w->head = job;
        } else {
            w->tail->next = job;
        }
        w->tail = job;
        w->queue_commands++;
        w->queue_bytes += bytes;
        wake = w->writer_sleeps && !(in_turn && w->queue_commands == 1);
        w->writer_sleeps = w->writer_sleeps && !wake;
    }
    pthread_mutex_unlock(&w->mutex);
    if (wake) {
        pthread_cond_signal(&w->work);
    }
    return err;
}

void writer_get_stats(struct writer *w, struct writer_stats *ret)
{
    pthread_mutex_lock(&w->mutex);
    *ret = (struct writer_stats){
        .queue_commands = w->queue_commands,
        .queue_commands_max = w->options.queue_commands_max,
        .groups = w->groups,
        .commands = w->commands,
        .disk_full = w->disk_full,
    };
    pthread_mutex_unlock(&w->mutex);
}

static void init_conditions(struct writer *w)
{
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->room, NULL);
    pthread_cond_init(&w->apply, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static err_t start_threads(struct writer *w)
{
    if (pthread_create(&w->applier_thread, NULL, writer_run_applier, w) != 0) {
        return ERR_MEMORY;
    }
    if (pthread_create(&w->writer_thread, NULL, run_writer, w) == 0) {
        pthread_setname_np(w->writer_thread, "writer");
        pthread_setname_np(w->applier_thread, "applier");
        return ERR_OK;
    }
    pthread_mutex_lock(&w->mutex);
    w->writer_done = true;
    pthread_cond_signal(&w->apply);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->applier_thread, NULL);
    return ERR_MEMORY;
}

/* ---- the writer's thread ---- */

static void *run_writer(void *ctx)
{
    struct writer *w = ctx;
    while (wait_for_group(w)) {
        commit_group(w);
    }
    return NULL;
}

/* Waits for the next group and takes it. False when it is time to end. */
static bool wait_for_group(struct writer *w)
{
    pthread_mutex_lock(&w->mutex);
    while (w->committing || (w->head == NULL && !w->stopping)) {
        w->writer_sleeps = true;
        pthread_cond_wait(&w->work, &w->mutex);
    }
    w->writer_sleeps = false;
    bool any = w->head != NULL;
    if (any) {
        take_group(w);
    }
    pthread_mutex_unlock(&w->mutex);
    return any;
}

/* Under the mutex. */
static void take_group(struct writer *w)
{
    w->committing = true;
    w->n = 0;
    w->bytes = 0;
    size_t events = 0;
    while (w->head != NULL && w->n < WRITER_GROUP_COMMANDS_MAX) {
        struct writer_job *job = w->head;
        size_t bytes = command_bytes(job->command);
        events += command_events(job->command);
        if (w->n > 0 && (w->bytes + bytes > GROUP_BYTES_MAX || events > GROUP_EVENTS_MAX)) {
            break;
        }
        w->head = job->next;
        w->tail = w->head == NULL ? NULL : w->tail;
        w->queue_commands--;
        w->queue_bytes -= bytes;
        w->bytes += bytes;
        w->jobs[w->n] = job;
        w->group[w->n++] = job->command;
        w->events = events;
    }
}

static void commit_group(struct writer *w)
{
    err_t err;
    do {
        err = w->failed ? ERR_CLOSED : commit(w);
        if (err == ERR_FULL) {
            err = wait_for_room(w);
            if (err == ERR_OK) {
                err = ERR_FULL; /* there may be room now: decide again */
            }
        }
    } while (err == ERR_FULL);
    if (err == ERR_OK) {
        count_group(w);
    } else if (err != ERR_DISK_FULL) {
        writer_fail(w, err);
    }
    complete_group(w, err);
    end_commit(w);
}

/* A loop's thread with the one command that it took. It does not wait for room in the tail. */
static void commit_in_turn(struct writer *w)
{
    err_t err = commit(w);
    if (err == ERR_FULL) {
        put_back(w);
    } else {
        if (err == ERR_OK) {
            count_group(w);
        } else {
            writer_fail(w, err);
        }
        complete_group(w, err);
    }
    end_commit(w);
}

static void put_back(struct writer *w)
{
    pthread_mutex_lock(&w->mutex);
    struct writer_job *job = w->jobs[0];
    job->next = w->head;
    w->head = job;
    w->tail = w->tail == NULL ? job : w->tail;
    w->queue_commands++;
    w->queue_bytes += w->bytes;
    pthread_mutex_unlock(&w->mutex);
}

/* What came meanwhile, and a stop, are for the writer's thread. */
static void end_commit(struct writer *w)
{
    pthread_mutex_lock(&w->mutex);
    w->committing = false;
    bool wake = w->writer_sleeps && (w->head != NULL || w->stopping);
    w->writer_sleeps = w->writer_sleeps && !wake;
    pthread_mutex_unlock(&w->mutex);
    if (wake) {
        pthread_cond_signal(&w->work);
    }
}

static err_t commit(struct writer *w)
{
    int64_t before_us = writer_clock_us(CLOCK_MONOTONIC);
    err_t err = store_commit(w->options.store, w->group, w->n, writer_clock_us(CLOCK_REALTIME));
    int64_t took_us = writer_clock_us(CLOCK_MONOTONIC) - before_us;
    w->commit_us += (took_us - w->commit_us) / AVERAGE_OVER;
    w->took_us = took_us;
    return err;
}

/* The tail is full. ERR_DISK_FULL: the applier cannot make room now, so the group is refused rather
 * than kept waiting. */
static err_t wait_for_room(struct writer *w)
{
    pthread_mutex_lock(&w->mutex);
    uint64_t step = w->apply_steps;
    w->flush_wanted = true;
    pthread_cond_signal(&w->apply);
    while (w->apply_steps == step && !w->failed && !w->disk_full) {
        pthread_cond_wait(&w->room, &w->mutex);
    }
    err_t err = w->failed ? ERR_CLOSED : w->apply_steps == step ? ERR_DISK_FULL : ERR_OK;
    pthread_mutex_unlock(&w->mutex);
    return err;
}

/* A job belongs to its request's thread as soon as that is resumed, so nothing of it is read
 * afterwards. Who appended is answered before followers are told. */
static void complete_group(struct writer *w, err_t err)
{
    size_t requests = 0;
    for (size_t i = 0; i < w->n; i++) {
        struct writer_job *job = w->jobs[i];
        job->error = err;
        if (job->request != NULL) {
            w->requests[requests++] = job->request;
        } else {
            job->decided(job);
        }
    }
    if (requests > 0) {
        http_resume_all(w->requests, requests);
    }
    if (err == ERR_OK && w->options.feed != NULL) {
        feed_publish(w->options.feed, store_position(w->options.store));
    }
}

static void count_group(struct writer *w)
{
    bool wake = false;
    metrics_observe(METRICS_COMMIT_US, w->took_us < 0 ? 0 : (uint64_t)w->took_us);
    metrics_observe(METRICS_COMMIT_COMMANDS, w->n);
    metrics_observe(METRICS_COMMIT_EVENTS, w->events);
    pthread_mutex_lock(&w->mutex);
    w->groups++;
    w->commands += w->n;
    w->unapplied_bytes += w->bytes;
    if (w->unapplied_since_us == 0) {
        w->unapplied_since_us = writer_clock_us(CLOCK_MONOTONIC);
        wake = true;
    }
    if (w->unapplied_bytes >= APPLY_BYTES) {
        w->unapplied_bytes = 0;
        w->apply_wanted = true;
        wake = true;
    }
    pthread_mutex_unlock(&w->mutex);
    if (wake) {
        pthread_cond_signal(&w->apply);
    }
}

/* Either thread; only the first failure is told. */
void writer_fail(struct writer *w, err_t err)
{
    pthread_mutex_lock(&w->mutex);
    bool first = !w->failed;
    w->failed = true;
    pthread_cond_signal(&w->room);
    pthread_cond_signal(&w->apply);
    pthread_mutex_unlock(&w->mutex);
    if (first && w->options.failed != NULL) {
        w->options.failed(w->options.ctx, err);
    }
}

int64_t writer_clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * WRITER_US_PER_SECOND + now.tv_nsec / 1000;
}
