/* applier: the thread behind the writer (writer.c says when it works): it moves the tail into LMDB,
 * has the next journal segment ready, and reclaims. */
#include <errno.h>

#include "server/log.h"
#include "server/writer_int.h"

#define RETRY_MS 1000

static bool wait_to_apply(struct writer *w, bool *ret_flush);
static err_t apply(struct writer *w, bool flush);
static err_t apply_rest(struct writer *w);
static err_t reclaim(struct writer *w);
static void note_rest(struct writer *w);
static bool pause_after(struct writer *w, err_t err);

void *writer_run_applier(void *ctx)
{
    struct writer *w = ctx;
    bool last = false;
    while (!last) {
        bool flush;
        last = wait_to_apply(w, &flush);
        err_t err = w->failed ? ERR_OK : last ? apply_rest(w) : apply(w, flush);
        if (!last && (err == ERR_OK || err == ERR_DISK_FULL)) {
            err_t reclaimed = reclaim(w);
            err = reclaimed == ERR_OK ? err : reclaimed;
        }
        if (err != ERR_OK) {
            last = !pause_after(w, err) || last;
        }
    }
    return NULL;
}

static bool is_called(const struct writer *w)
{
    return w->apply_wanted || w->flush_wanted || w->writer_done || w->failed;
}

static int64_t apply_due_us(const struct writer *w)
{
    return w->unapplied_since_us == 0
               ? INT64_MAX
               : w->unapplied_since_us + (int64_t)w->options.apply_interval_ms * 1000;
}

/* Sleeps until there is something to do. True when this is the last time. */
static bool wait_to_apply(struct writer *w, bool *ret_flush)
{
    bool due = false;
    pthread_mutex_lock(&w->mutex);
    while (!is_called(w) && !due) {
        int64_t apply_us = apply_due_us(w), reclaim_us = reclaim_due_us(&w->reclaim);
        int64_t at_us = apply_us < reclaim_us ? apply_us : reclaim_us;
        if (at_us == INT64_MAX) {
            pthread_cond_wait(&w->apply, &w->mutex);
            continue;
        }
        struct timespec at = {at_us / WRITER_US_PER_SECOND, at_us % WRITER_US_PER_SECOND * 1000};
        due = pthread_cond_timedwait(&w->apply, &w->mutex, &at) == ETIMEDOUT;
    }
    *ret_flush =
        w->flush_wanted || w->writer_done || apply_due_us(w) <= writer_clock_us(CLOCK_MONOTONIC);
    w->apply_wanted = false;
    w->flush_wanted = false;
    if (*ret_flush) {
        w->unapplied_since_us = 0;
    }
    bool last = w->writer_done || w->failed;
    pthread_mutex_unlock(&w->mutex);
    return last;
}

/* Step by step, as long as nothing else is to be done. */
static err_t reclaim(struct writer *w)
{
    for (;;) {
        int64_t now_us = writer_clock_us(CLOCK_MONOTONIC);
        pthread_mutex_lock(&w->mutex);
        bool other = is_called(w) || apply_due_us(w) <= now_us;
        pthread_mutex_unlock(&w->mutex);
        if (other || reclaim_due_us(&w->reclaim) > now_us) {
            return ERR_OK;
        }
        err_t err = reclaim_step(&w->reclaim);
        if (err != ERR_OK) {
            return err;
        }
    }
}

static err_t apply(struct writer *w, bool flush)
{
    bool more = true;
    while (more) {
        err_t err = store_apply(w->options.store, flush, &more);
        if (err != ERR_OK) {
            return err;
        }
        pthread_mutex_lock(&w->mutex);
        w->apply_steps++;
        pthread_cond_signal(&w->room);
        pthread_mutex_unlock(&w->mutex);
    }
    note_rest(w);
    err_t err = store_prepare(w->options.store);
    if (err == ERR_OK) {
        pthread_mutex_lock(&w->mutex);
        w->disk_full = false;
        pthread_mutex_unlock(&w->mutex);
    }
    return err;
}

/* At the end: a flush may find a generation that was frozen before, and then leaves the newest one
 * alone, so it is asked for until a call applies nothing. */
static err_t apply_rest(struct writer *w)
{
    uint64_t before;
    err_t err;
    do {
        before = store_applied_position(w->options.store);
        err = apply(w, true);
    } while (err == ERR_OK && store_applied_position(w->options.store) > before);
    return err;
}

/* A flush takes what was frozen when it came; what was committed since, or stood in a group that
 * was open then, has its own interval. */
static void note_rest(struct writer *w)
{
    pthread_mutex_lock(&w->mutex);
    bool rest = store_applied_position(w->options.store) < store_position(w->options.store);
    if (rest && w->unapplied_since_us == 0) {
        w->unapplied_since_us = writer_clock_us(CLOCK_MONOTONIC);
    }
    pthread_mutex_unlock(&w->mutex);
}

/* A full disk is waited out; nothing is lost meanwhile, the journal has it. False when it is time
 * to end. */
static bool pause_after(struct writer *w, err_t err)
{
    if (err != ERR_DISK_FULL) {
        writer_fail(w, err);
        return false;
    }
    int64_t until_us = writer_clock_us(CLOCK_MONOTONIC) + RETRY_MS * 1000;
    struct timespec until = {until_us / WRITER_US_PER_SECOND,
                             until_us % WRITER_US_PER_SECOND * 1000};
    pthread_mutex_lock(&w->mutex);
    if (!w->disk_full) {
        log_line(LOG_LEVEL_ERROR,
                 "disk full: writes are refused while less than disk-free-min-bytes is free",
                 log_number("retry_ms", RETRY_MS));
    }
    w->disk_full = true;
    w->flush_wanted = true;
    pthread_cond_signal(&w->room);
    while (!w->writer_done && !w->failed &&
           pthread_cond_timedwait(&w->apply, &w->mutex, &until) != ETIMEDOUT) {
    }
    bool go_on = !w->writer_done && !w->failed;
    pthread_mutex_unlock(&w->mutex);
    return go_on;
}
