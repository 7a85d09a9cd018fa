/* groups: the thread that owns the consumer groups (projections/group.h). Requests about groups are
 * calls: they gather in a queue, the thread does all that are there within one transaction, one
 * synced write makes them durable, and then they are answered (group commit). A fetch that finds
 * nothing waits here, for the log to grow, a lease to end or its time to be over.
 *
 * Any loop's thread may submit. A call belongs to the thread from groups_submit until its request
 * was answered. */
#ifndef DAYBOOK_SERVER_GROUPS_H
#define DAYBOOK_SERVER_GROUPS_H

#include "projections/group_admin.h"
#include "server/jobs.h"

struct group_service;
struct group_call;

/* What one turn sees. */
struct group_turn {
    struct groups *groups; /* within a transaction */
    struct store_view *view;
    int64_t now_us; /* the wall clock */
};

enum group_outcome {
    GROUP_ANSWERED, /* the job has its answer, which counts once the transaction is committed */
    GROUP_WAITS,    /* a fetch that found nothing, and whose time is not over: again later */
    GROUP_COMMITS,  /* `command` is to be committed; then `run` is called again, `decided` */
    GROUP_FAILED,   /* `error` ends the transaction, and all calls of this turn with it */
};

struct group_call {
    struct job *job; /* NULL: of the server's own, see groups_submit_own */
    void (*done)(struct group_call *c);
    enum group_outcome (*run)(struct group_call *c, const struct group_turn *turn);
    void *ctx;          /* in the request's arena */
    struct bytes group; /* of the path */
    bool defines;       /* changes definitions: one at a time, so that each sees the one before */
    bool over;          /* its time is: it must not wait any more */
    bool anyway;        /* its answer counts also where the transaction failed */
    bool soon;          /* of GROUP_WAITS: there is more to look at; again in the next turn */
    int64_t wait_us;
    err_t error;
    /* Of GROUP_COMMITS. The command is freed with the call's request. */
    struct command *command;
    uint64_t ticket; /* of groups_ack_prepare; 0: none */
    bool decided;
    err_t submitted; /* not ERR_OK: the writer did not take it */
    struct writer_job writer_job;
    /* The service's. */
    struct group_service *service;
    int64_t deadline_us;
    uint64_t seen_position, seen_changed;
    struct group_call *next;
};

struct group_service_options {
    struct store *store;
    struct writer *writer;
    struct feed *feed;
    struct state_env *state;
    size_t calls_max;           /* waiting or queued; more are answered 503 */
    void (*defined)(void *ctx); /* definitions have changed; on the groups' thread; may be NULL */
    void *ctx;
};

MUST_CHECK err_t groups_start(const struct group_service_options *options,
                              struct group_service **ret, struct err_text *et);
/* Answers what waits, ends the thread; later calls are answered 503. Before writer_stop. NULL is
 * fine. */
void groups_stop(struct group_service *s);
/* When nobody submits any more. NULL is fine. */
void groups_free(struct group_service *s);

/* A call for a request, in its arena, with `ctx_bytes` of zeros as `ctx`; NULL, and it has replied,
 * where there is no memory. */
struct group_call *group_call_new(struct http_request *rq, struct app *app, size_t ctx_bytes);
/* A call that is no request's: `job` is NULL, `run` keeps its answer in `ctx`, and when that counts
 * `done` is called on the groups' thread, with `error` where it does not (ERR_CLOSED: it was not
 * taken, then on this thread). The call is the caller's to free from then on. */
void groups_submit_own(struct group_service *s, struct group_call *take_call);
/* Suspends the request; the answer comes by itself. */
void groups_submit(struct group_service *s, struct group_call *take_call);

#endif
