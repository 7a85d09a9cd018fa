/* http_wait: requests that wait for somebody else's work, and how they come back.
 *
 * The happy path: a handler calls http_suspend; the request is *pending*: libmicrohttpd was given
 * no response and will simply ask again. The writer finishes a group and calls http_resume_all,
 * which pushes the requests of each loop on that loop's stack and writes to its eventfd if the
 * stack was empty. The loop wakes up, takes the whole stack, runs the continuations, which reply,
 * and then lets libmicrohttpd send. So a request costs one receive and one send, and a group one
 * wake-up.
 *
 * What else can happen:
 * - The work takes long, or very many wait. Asking again at each turn would then cost more than it
 *   saves, so the connection is *suspended* in libmicrohttpd's sense: nothing asks, nothing is
 * read.
 * - The peer goes away while the request is pending. The request stays, without a connection,
 * because the other thread still has a pointer to it; its continuation runs as always and its reply
 * goes nowhere. (A suspended connection cannot go away: libmicrohttpd does not look at it.)
 * - The resume comes before http_suspend, or before the handler has returned. Nothing happens,
 * because the stack is only looked at between two runs of libmicrohttpd.
 * - The server stops. Whoever resumes has been stopped before; what still waits then is closed. */
#include "server/http_int.h"

#include "storage/base/check.h"

#define PENDING_MAX    256
#define PENDING_US_MAX ((int64_t)4000)

static void list_append(struct request_list *list, struct http_request *rq);
static void suspend(struct http_request *rq);
static void complete(struct http_request *rq);
static bool push(struct http_loop *loop, struct http_request *first, struct http_request *last);
static bool is_ending_turn(const struct http_loop *loop);

void http_suspend(struct http_request *rq, void (*resumed)(struct http_request *rq, void *ctx),
                  void *ctx)
{
    CHECK(rq->stage == STAGE_HANDLED && rq->status == STATUS_NOT_REPLIED && rq->resumed == NULL);
    rq->resumed = resumed;
    rq->resumed_ctx = ctx;
    rq->loop->suspended_any = true;
    if (rq->waiting != WAITING_NOT) {
        return; /* again, from its continuation: it still waits as before */
    }
    struct http_loop *loop = rq->loop;
    rq->waiting_since_us = loop->now_us;
    rq->waiting = WAITING_PENDING;
    list_append(&loop->pending, rq);
    if (loop->pending.n > PENDING_MAX) {
        suspend(rq);
    }
}

void http_suspend_long(struct http_request *rq, void (*resumed)(struct http_request *rq, void *ctx),
                       void *ctx)
{
    http_suspend(rq, resumed, ctx);
    rq->waited_long = true;
    if (rq->waiting == WAITING_PENDING) {
        suspend(rq);
    }
}

int http_socket(const struct http_request *rq)
{
    return rq->conn->fd;
}

void http_resume(struct http_request *rq)
{
    http_resume_all(&rq, 1);
}

void http_resume_all(struct http_request **rqs, size_t n)
{
    /* One chain for each loop, so that each stack is touched and each loop woken once. A request
     * must not be touched after it was pushed. */
    size_t i = 0;
    while (i < n) {
        struct http_loop *loop = rqs[i]->loop;
        struct http_request *first = NULL;
        struct http_request *last = rqs[i];
        for (size_t j = i; j < n; j++) {
            if (rqs[j]->loop == loop) {
                rqs[j]->next_completed = first;
                first = rqs[j];
                rqs[j] = rqs[i]; /* those of other loops move back */
                i++;
            }
        }
        if (push(loop, first, last) && !is_ending_turn(loop)) {
            http_loop_wake(loop);
        }
    }
}

void http_waits_complete(struct http_loop *loop)
{
    if (atomic_load_explicit(&loop->completed, memory_order_relaxed) == NULL) {
        return;
    }
    struct http_request *rq =
        atomic_exchange_explicit(&loop->completed, NULL, memory_order_acquire);
    /* The stack is newest first; the answers go out oldest first. */
    struct http_request *next = NULL;
    while (rq != NULL) {
        struct http_request *older = rq->next_completed;
        rq->next_completed = next;
        next = rq;
        rq = older;
    }
    while (next != NULL) {
        rq = next;
        next = rq->next_completed;
        complete(rq);
    }
}

void http_waits_settle(struct http_loop *loop)
{
    struct http_request *rq = loop->pending.head;
    while (rq != NULL && rq->waiting_since_us + PENDING_US_MAX <= loop->now_us) {
        suspend(rq);
        rq = loop->pending.head;
    }
}

void http_waits_abandon(struct http_loop *loop)
{
    struct request_list *lists[] = {&loop->pending, &loop->suspended};
    for (size_t i = 0; i < 2; i++) {
        while (lists[i]->head != NULL) {
            struct http_request *rq = lists[i]->head;
            bool suspended = rq->waiting == WAITING_SUSPENDED;
            http_wait_remove(rq);
            rq->dead = true;
            if (rq->status == STATUS_NOT_REPLIED) {
                atomic_fetch_sub_explicit(&loop->active, 1, memory_order_relaxed);
            }
            if (rq->mhd == NULL) {
                http_request_free(rq);
            } else if (suspended) {
                MHD_resume_connection(rq->mhd);
            }
        }
    }
}

void http_wait_remove(struct http_request *rq)
{
    struct http_loop *loop = rq->loop;
    struct request_list *list = rq->waiting == WAITING_PENDING ? &loop->pending : &loop->suspended;
    *(rq->wait_prev == NULL ? &list->head : &rq->wait_prev->wait_next) = rq->wait_next;
    *(rq->wait_next == NULL ? &list->tail : &rq->wait_next->wait_prev) = rq->wait_prev;
    list->n--;
    rq->wait_prev = rq->wait_next = NULL;
    rq->waiting = WAITING_NOT;
}

static void list_append(struct request_list *list, struct http_request *rq)
{
    rq->wait_prev = list->tail;
    rq->wait_next = NULL;
    *(list->tail == NULL ? &list->head : &list->tail->wait_next) = rq;
    list->tail = rq;
    list->n++;
}

/* From pending to suspended. One whose connection is gone only changes the list. */
static void suspend(struct http_request *rq)
{
    http_wait_remove(rq);
    rq->waiting = WAITING_SUSPENDED;
    list_append(&rq->loop->suspended, rq);
    if (rq->mhd != NULL) {
        MHD_suspend_connection(rq->mhd);
    }
}

static void complete(struct http_request *rq)
{
    void (*resumed)(struct http_request * rq, void *ctx) = rq->resumed;
    CHECK(rq->waiting != WAITING_NOT && resumed != NULL);
    rq->resumed = NULL;
    rq->in_call = true;
    resumed(rq, rq->resumed_ctx);
    rq->in_call = false;
    if (rq->resumed != NULL) {
        return;
    }
    CHECK(rq->status != STATUS_NOT_REPLIED);
    bool suspended = rq->waiting == WAITING_SUSPENDED;
    http_wait_remove(rq);
    if (rq->mhd == NULL) {
        http_request_free(rq);
    } else if (suspended) {
        MHD_resume_connection(rq->mhd);
        rq->loop->busy = true; /* it resumes in one turn and sends in the next */
    }
}

/* Whether the stack was empty. */
static bool push(struct http_loop *loop, struct http_request *first, struct http_request *last)
{
    struct http_request *head = atomic_load_explicit(&loop->completed, memory_order_relaxed);
    do {
        last->next_completed = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->completed, &head, first,
                                                    memory_order_release, memory_order_relaxed));
    return head == NULL;
}

/* Then this is the loop's own thread, which looks at the stack next. */
static bool is_ending_turn(const struct http_loop *loop)
{
    return pthread_equal(pthread_self(), loop->thread) && loop->ending_turn;
}
