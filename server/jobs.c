/* jobs: a queue, a list of those that wait, and a few threads. Those that wait are few, so after
 * each kick all of them are asked. */
#include "server/jobs.h"

#include "server/etag.h"

#include "server/workers.h"
#include "storage/base/check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_US INT64_C(50000)

struct jobs {
    struct jobs_options options;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct job *head, *tail; /* may run */
    struct job *waiting;
    size_t count;
    _Atomic size_t waiting_count;
    bool kicked;
    _Atomic bool stopping;
    pthread_t *threads;
    size_t started;
};

static void *run_jobs(void *ctx);
static void answer(struct http_request *rq, void *ctx);

err_t jobs_start(const struct jobs_options *options, struct jobs **ret)
{
    struct jobs *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return ERR_MEMORY;
    }
    j->options = *options;
    pthread_mutex_init(&j->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&j->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    j->threads = calloc(options->threads, sizeof *j->threads);
    while (j->threads != NULL && j->started < options->threads &&
           pthread_create(&j->threads[j->started], NULL, run_jobs, j) == 0) {
        j->started++;
    }
    if (j->started < options->threads) {
        jobs_stop(j);
        jobs_free(j);
        return ERR_MEMORY;
    }
    *ret = j;
    return ERR_OK;
}

void jobs_stop(struct jobs *j)
{
    if (j == NULL) {
        return;
    }
    pthread_mutex_lock(&j->mutex);
    atomic_store(&j->stopping, true);
    pthread_cond_broadcast(&j->work);
    pthread_mutex_unlock(&j->mutex);
    for (size_t i = 0; i < j->started; i++) {
        pthread_join(j->threads[i], NULL);
    }
    j->started = 0;
}

void jobs_free(struct jobs *j)
{
    if (j != NULL) {
        CHECK(j->started == 0 && j->head == NULL && j->waiting == NULL);
        pthread_cond_destroy(&j->work);
        pthread_mutex_destroy(&j->mutex);
        free(j->threads);
        free(j);
    }
}

bool jobs_are_stopping(const struct jobs *j)
{
    return atomic_load(&j->stopping);
}

/* The connection is suspended, so its socket is nobody else's. A client that has closed its side
 * is taken to be gone: who still reads has no reason to. */
bool job_client_is_gone(struct job *job)
{
    int64_t now = workers_now_us();
    if (!job->gone && now >= job->look_us) {
        struct pollfd fd = {.fd = http_socket(job->rq), .events = POLLRDHUP};
        job->look_us = now + LOOK_US;
        job->gone = poll(&fd, 1, 0) == 1;
    }
    return job->gone;
}

/* ---- submitting ---- */

static void free_job(void *ctx)
{
    struct job *job = ctx;
    buf_done(&job->body);
}

struct job *job_new(struct http_request *rq, struct app *app, size_t ctx_bytes)
{
    struct job *job = arena_alloc(http_arena(rq), sizeof *job);
    void *ctx = job == NULL ? NULL : arena_alloc(http_arena(rq), ctx_bytes);
    if (ctx == NULL) {
        reply_error(rq, ERR_MEMORY, "taking the request");
        return NULL;
    }
    memset(ctx, 0, ctx_bytes);
    *job = (struct job){.rq = rq, .app = app, .ctx = ctx, .status = 200};
    buf_init(&job->body, 1);
    http_set_context(rq, job, free_job);
    return job;
}

/* Long, so that the socket stays: see job_client_is_gone. */
void job_suspend(struct job *job)
{
    http_suspend_long(job->rq, answer, job);
}

void jobs_submit(struct jobs *j, struct job *take_job)
{
    struct job *job = take_job;
    job->deadline_us = workers_now_us() + job->wait_us;
    job_suspend(job);
    pthread_mutex_lock(&j->mutex);
    bool stopping = atomic_load(&j->stopping);
    bool taken = !stopping && j->count < j->options.jobs_max;
    if (taken && job->is_ready != NULL) {
        job->next = j->waiting;
        j->waiting = job;
        atomic_fetch_add(&j->waiting_count, 1);
        j->kicked = true;
    } else if (taken) {
        job->next = NULL;
        *(j->head == NULL ? &j->head : &j->tail->next) = job;
        j->tail = job;
    }
    j->count += taken;
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->mutex);
    if (!taken) {
        job_fail(job, stopping ? PROBLEM_SHUTTING_DOWN : PROBLEM_OVERLOADED, NULL,
                 "too many reads of projections wait");
        http_resume(job->rq);
    }
}

void jobs_kick(struct jobs *j)
{
    if (atomic_load(&j->waiting_count) > 0) {
        pthread_mutex_lock(&j->mutex);
        j->kicked = true;
        pthread_cond_signal(&j->work);
        pthread_mutex_unlock(&j->mutex);
    }
}

/* ---- the threads ---- */

static struct job *pop(struct jobs *j)
{
    struct job *job = j->head;
    if (job != NULL) {
        j->head = job->next;
    }
    return job;
}

/* Moves those that may run, or whose time is over, to the queue; returns the next deadline, 0: none
 * waits. */
static int64_t look_at_waiting(struct jobs *j)
{
    int64_t now = workers_now_us(), next = 0;
    for (struct job **at = &j->waiting; *at != NULL;) {
        struct job *job = *at;
        bool ready = job->is_ready(job);
        if (!ready && now < job->deadline_us && !atomic_load(&j->stopping)) {
            next = next == 0 || job->deadline_us < next ? job->deadline_us : next;
            at = &job->next;
            continue;
        }
        job->late = !ready;
        *at = job->next;
        job->next = NULL;
        atomic_fetch_sub(&j->waiting_count, 1);
        *(j->head == NULL ? &j->head : &j->tail->next) = job;
        j->tail = job;
    }
    return next;
}

static void wait_for_work(struct jobs *j, int64_t until_us)
{
    if (until_us == 0) {
        pthread_cond_wait(&j->work, &j->mutex);
        return;
    }
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    if (pthread_cond_timedwait(&j->work, &j->mutex, &until) == ETIMEDOUT) {
        j->kicked = true;
    }
}

/* With the mutex held; NULL: it ends. */
static struct job *next_job(struct jobs *j)
{
    for (;;) {
        int64_t deadline = 0;
        if (j->kicked || j->waiting != NULL) {
            j->kicked = false;
            deadline = look_at_waiting(j);
        }
        struct job *job = pop(j);
        if (job != NULL || atomic_load(&j->stopping)) {
            if (j->head != NULL) {
                pthread_cond_signal(&j->work);
            }
            return job;
        }
        wait_for_work(j, deadline);
    }
}

static void *run_jobs(void *ctx)
{
    struct jobs *j = ctx;
    pthread_mutex_lock(&j->mutex);
    for (struct job *job; (job = next_job(j)) != NULL;) {
        pthread_mutex_unlock(&j->mutex);
        if (atomic_load(&j->stopping)) {
            job_fail(job, PROBLEM_SHUTTING_DOWN, NULL, "the server is shutting down");
        } else {
            job->run(job);
        }
        if (job->finish != NULL) {
            job->finish(job);
        } else {
            http_resume(job->rq);
        }
        pthread_mutex_lock(&j->mutex);
        j->count--;
    }
    pthread_cond_broadcast(&j->work);
    pthread_mutex_unlock(&j->mutex);
    return NULL;
}

/* ---- answers ---- */

void job_fail(struct job *job, enum problem problem, const char *field, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(job->detail, sizeof job->detail, format, arguments);
    va_end(arguments);
    job->answer = JOB_PROBLEM;
    job->problem = problem;
    job->field = field;
}

void job_error(struct job *job, err_t err, const char *doing)
{
    job->answer = JOB_ERROR;
    job->error = err;
    job->doing = doing;
}

/* Sets the tag; where the client has it, replies 304. */
static bool is_known(struct http_request *rq, struct job *job)
{
    http_reply_header(rq, "ETag", job->etag);
    http_reply_header(rq, "Vary", "Accept");
    struct bytes known = http_header(rq, "If-None-Match");
    if (known.n == 0 || memmem(known.p, known.n, job->etag, strlen(job->etag)) == NULL) {
        return false;
    }
    etag_reply_not_modified(rq, job->position);
    return true;
}

static void answer(struct http_request *rq, void *ctx)
{
    struct job *job = ctx;
    switch (job->answer) {
    case JOB_BODY:
        if (job->etag[0] != '\0' && is_known(rq, job)) {
            break;
        }
        reply_body(rq, job->status, job->encoding, job->position, &job->body);
        break;
    case JOB_PROBLEM:
        reply_problem(rq, job->problem,
                      &(struct problem_extra){.detail = job->detail,
                                              .field = job->field,
                                              .leases = job->leases,
                                              .lease_count = job->lease_count});
        break;
    case JOB_ERROR:
        reply_error(rq, job->error, job->doing);
        break;
    case JOB_DETACH:
        job->detach(rq, job);
        break;
    }
}
