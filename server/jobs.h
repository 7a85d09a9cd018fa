/* jobs: requests that take longer than an event loop may: each is suspended, done by one of a few
 * threads, possibly after something it waits for, and answered.
 *
 * Any loop's thread may submit. A job belongs to the pool from jobs_submit until its answer is
 * written; `run` fills in the answer and must not touch the request otherwise than by reading. */
#ifndef DAYBOOK_SERVER_JOBS_H
#define DAYBOOK_SERVER_JOBS_H

#include "server/app.h"
#include "server/reply.h"

#define JOB_DETAIL_MAX 600

struct jobs;
struct job;

enum job_answer {
    JOB_BODY,    /* status, encoding, position, body */
    JOB_PROBLEM, /* problem, detail, field */
    JOB_ERROR,   /* error, doing */
    JOB_DETACH,  /* `detach` is called on the loop's thread, and detaches the request or replies */
};

struct job {
    struct http_request *rq;
    struct app *app;
    /* Whether it may run now: asked again after each jobs_kick; NULL: at once. It must not
     * block. */
    bool (*is_ready)(struct job *job);
    int64_t wait_us; /* how long it may wait for that */
    void (*run)(struct job *job);
    void *ctx; /* in the request's arena, as the job is */
    bool late; /* it has waited for so long in vain */
    bool gone; /* its client is */
    /* The answer. */
    enum job_answer answer;
    unsigned status;
    enum encoding encoding;
    uint64_t position;
    struct buf body;
    char etag[64];    /* with its quotes; empty: none. Where the client has it: 304 */
    uint64_t version; /* of the projection that was read */
    enum problem problem;
    char detail[JOB_DETAIL_MAX];
    const char *field, *doing;
    const struct bytes *leases; /* of a problem: those that are lost */
    size_t lease_count;
    err_t error;
    void (*detach)(struct http_request *rq, struct job *job);
    /* Where `run` sets it, it is called instead of resuming the request, and takes the job. */
    void (*finish)(struct job *job);
    /* The pool's. */
    int64_t deadline_us, look_us;
    struct job *next;
};

struct jobs_options {
    unsigned threads;
    size_t jobs_max; /* waiting or running; more are answered 503 */
};

MUST_CHECK err_t jobs_start(const struct jobs_options *options, struct jobs **ret);
/* Those that run are finished; those that wait are answered 503; later ones too. NULL is fine. */
void jobs_stop(struct jobs *j);
void jobs_free(struct jobs *j);

/* A job for a request, in its arena; NULL, and it has replied, where there is no memory. */
struct job *job_new(struct http_request *rq, struct app *app, size_t ctx_bytes);
/* For other threads that do jobs: suspends its request, which http_resume then answers as the job
 * says. */
void job_suspend(struct job *job);
/* Suspends the request; the answer comes by itself. */
void jobs_submit(struct jobs *j, struct job *take_job);
/* What jobs wait for may have come. Any thread. */
void jobs_kick(struct jobs *j);
/* Whether a job that runs should end: the server stops. Any thread. */
bool jobs_are_stopping(const struct jobs *j);
/* Whether nobody waits for its answer any more. The thread that runs it; it may ask often. */
bool job_client_is_gone(struct job *job);

/* How `run` says what the answer is. */
void job_fail(struct job *job, enum problem problem, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void job_error(struct job *job, err_t err, const char *doing);

#endif
