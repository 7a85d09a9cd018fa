/* snapshot_writer: see snapshot_writer.h.
 *
 * Deletions and redactions wake the thread by a kick of whoever has answered them. Where a kick is
 * missing, because the process died, the next start or the next write makes it good: readers do not
 * depend on it (snapshots.h). */
#include "server/snapshot_writer.h"

#include "server/app.h"
#include "server/http.h"
#include "server/log.h"
#include "storage/base/check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#define GROUP_MAX    256
#define WIPE_WAIT_MS 200 /* until an old reader is looked for again, or after a failure */

struct snapshot_writer {
    struct snapshot_writer_options options;
    char *dir;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work;
    struct snapshot_job *head, *tail;
    size_t count;
    bool kicked, stopping;
    /* The thread's. */
    struct snapshot_job *group[GROUP_MAX];
    size_t n;
    bool wipe_later, told_failure;
};

static void *run(void *ctx);

err_t snapshot_writer_start(const struct snapshot_writer_options *options,
                            struct snapshot_writer **ret)
{
    struct snapshot_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_MEMORY;
    }
    w->options = *options;
    w->kicked = true; /* what was deleted before a crash */
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&w->mutex, NULL);
    w->dir = strdup(options->dir);
    w->started = w->dir != NULL && pthread_create(&w->thread, NULL, run, w) == 0;
    if (!w->started) {
        snapshot_writer_free(w);
        return ERR_MEMORY;
    }
    pthread_setname_np(w->thread, "snapshots");
    *ret = w;
    return ERR_OK;
}

void snapshot_writer_stop(struct snapshot_writer *w)
{
    if (w == NULL || !w->started) {
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    w->started = false;
    CHECK(w->head == NULL);
}

void snapshot_writer_free(struct snapshot_writer *w)
{
    if (w != NULL) {
        pthread_cond_destroy(&w->work);
        pthread_mutex_destroy(&w->mutex);
        free(w->dir);
        free(w);
    }
}

err_t snapshot_writer_submit(struct snapshot_writer *w, struct snapshot_job *job)
{
    err_t err = ERR_OK;
    job->next = NULL;
    pthread_mutex_lock(&w->mutex);
    if (w->stopping) {
        err = ERR_CLOSED;
    } else if (w->count == w->options.queue_max) {
        err = ERR_FULL;
    } else {
        *(w->tail == NULL ? &w->head : &w->tail->next) = job;
        w->tail = job;
        w->count++;
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->mutex);
    return err;
}

void snapshot_writer_kick(struct snapshot_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    w->kicked = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mutex);
}

/* ---- the thread ---- */

static int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* With the mutex held. False: there was nothing for so long that wiping may go on. */
static bool sleep_for(struct snapshot_writer *w, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_cond_timedwait(&w->work, &w->mutex, &until) != ETIMEDOUT;
}

/* Takes the next group, which may be empty where there is something else to do. False: the end. */
static bool wait_for_group(struct snapshot_writer *w, bool *ret_fold)
{
    pthread_mutex_lock(&w->mutex);
    while (w->head == NULL && !w->kicked && !w->stopping) {
        if (!snapshots_must_wipe(w->options.snapshots)) {
            pthread_cond_wait(&w->work, &w->mutex);
        } else if (!w->wipe_later || !sleep_for(w, WIPE_WAIT_MS)) {
            break;
        }
    }
    bool goes_on = w->head != NULL || !w->stopping;
    for (w->n = 0; w->head != NULL && w->n < GROUP_MAX; w->n++) {
        w->group[w->n] = w->head;
        w->head = w->head->next;
        w->count--;
    }
    w->tail = w->head == NULL ? NULL : w->tail;
    *ret_fold = w->kicked;
    w->kicked = false;
    pthread_mutex_unlock(&w->mutex);
    return goes_on;
}

static bool disk_is_full(const struct snapshot_writer *w)
{
    struct statvfs fs;
    return statvfs(w->dir, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < w->options.disk_free_min_bytes;
}

/* A nearly full disk takes no snapshots, but lets them be deleted. */
static err_t do_job(struct snapshot_writer *w, struct snapshot_job *job, bool full)
{
    struct snapshots *s = w->options.snapshots;
    job->error = ERR_OK;
    if (job->put == NULL) {
        return snapshots_delete(s, job->stream, &job->result);
    }
    if (full) {
        job->error = ERR_DISK_FULL;
        return ERR_OK;
    }
    return snapshots_put(s, job->stream, job->put, wall_us(), &job->result);
}

/* One transaction for jobs [from, from + n). */
static err_t do_jobs(struct snapshot_writer *w, size_t from, size_t n)
{
    struct snapshots *s = w->options.snapshots;
    struct store_view *v;
    bool full = n > 0 && disk_is_full(w);
    err_t err = app_view_open(w->options.store, &v);
    if (err != ERR_OK) {
        return err;
    }
    err = snapshots_begin(s, v);
    if (err == ERR_OK) {
        for (size_t i = from; err == ERR_OK && i < from + n; i++) {
            w->group[i]->position = store_view_position(v);
            err = do_job(w, w->group[i], full);
        }
        if (err == ERR_OK) {
            err = snapshots_commit(s);
        } else {
            snapshots_abort(s);
        }
    }
    store_view_close(v);
    return err;
}

/* What fails as a group is tried one by one, so that nobody fails for another's sake. */
static void do_group(struct snapshot_writer *w)
{
    err_t err = do_jobs(w, 0, w->n);
    for (size_t i = 0; err != ERR_OK && i < w->n; i++) {
        err_t alone = w->n == 1 ? err : do_jobs(w, i, 1);
        if (alone != ERR_OK) {
            w->group[i]->error = alone;
        }
    }
    for (size_t i = 0; i < w->n; i++) {
        http_resume(w->group[i]->request);
    }
}

static void tell(struct snapshot_writer *w, err_t err)
{
    if (err != ERR_OK && !w->told_failure) {
        log_line(LOG_LEVEL_WARN, "snapshots of deleted or redacted events stay on disk for now",
                 log_text("error", err_name(err)), log_text("detail", err_describe(err)));
    }
    w->told_failure = err != ERR_OK;
}

static void wipe(struct snapshot_writer *w)
{
    bool waits = false;
    err_t err = snapshots_wipe(w->options.snapshots, &waits);
    tell(w, err);
    w->wipe_later = waits || err != ERR_OK;
}

static void *run(void *ctx)
{
    struct snapshot_writer *w = ctx;
    for (bool fold; wait_for_group(w, &fold);) {
        if (w->n > 0) {
            do_group(w);
        } else if (fold) {
            tell(w, do_jobs(w, 0, 0));
            w->wipe_later = false;
        } else {
            wipe(w);
        }
    }
    return NULL;
}
