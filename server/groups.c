/* groups: a queue, a list of those that wait, one thread. */
#include "server/groups.h"

#include "server/log.h"
#include "server/workers.h"
#include "storage/base/check.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RETRY_US    INT64_C(200000) /* after a turn that failed: of what was decided, or is due */
#define REST_FACTOR 16              /* what looking at growth took, so many times it rests after */
#define REST_US_MAX INT64_C(250000)
#define DRAIN_MS    50

struct call_list {
    struct group_call *first, *last;
    size_t n;
};

struct group_service {
    struct group_service_options options;
    struct groups *groups;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    struct call_list queue; /* under the mutex */
    _Atomic bool stopping;  /* set under the mutex */
    size_t calls;           /* under the mutex: queued, waiting or in the writer */
    struct feed_sleeper sleeper;
    /* The thread's own. */
    struct call_list waiting, postponed; /* definitions behind the one that is being committed */
    bool defining;
    int64_t rest_until_us; /* growth of the log alone is not looked at before */
    int64_t retry_at_us;
    struct call_list retry; /* decided, not taken in yet */
    int64_t wall_us;
};

static void *run_service(void *ctx);

/* ---- starting and stopping ---- */

err_t groups_start(const struct group_service_options *options, struct group_service **ret,
                   struct err_text *et)
{
    struct group_service *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    s->options = *options;
    s->sleeper.event_fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    err_t err = groups_open(options->state, &s->groups, et);
    if (err == ERR_OK) {
        err = feed_add_sleeper(options->feed, &s->sleeper);
        s->started = err == ERR_OK && pthread_create(&s->thread, NULL, run_service, s) == 0;
        err = err == ERR_OK && !s->started ? ERR_MEMORY : err;
    }
    *ret = s; /* also on an error: the sleeper is in the feed */
    return err;
}

void groups_stop(struct group_service *s)
{
    if (s == NULL || !s->started) {
        return;
    }
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_mutex_unlock(&s->mutex);
    feed_wake(&s->sleeper);
    pthread_join(s->thread, NULL);
    s->started = false;
}

void groups_free(struct group_service *s)
{
    if (s == NULL) {
        return;
    }
    CHECK(!s->started && s->queue.first == NULL && s->waiting.first == NULL);
    groups_close(s->groups);
    feed_sleeper_done(&s->sleeper);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

/* ---- lists ---- */

static void push(struct call_list *list, struct group_call *c)
{
    c->next = NULL;
    *(list->first == NULL ? &list->first : &list->last->next) = c;
    list->last = c;
    list->n++;
}

static struct group_call *pop(struct call_list *list)
{
    struct group_call *c = list->first;
    if (c != NULL) {
        list->first = c->next;
        list->n--;
    }
    return c;
}

static void move_all(struct call_list *from, struct call_list *to)
{
    struct group_call *c;
    while ((c = pop(from)) != NULL) {
        push(to, c);
    }
}

/* ---- submitting ---- */

static void free_call(void *ctx)
{
    struct group_call *c = ctx;
    buf_done(&c->job->body);
    command_free(c->command);
}

struct group_call *group_call_new(struct http_request *rq, struct app *app, size_t ctx_bytes)
{
    struct group_call *c = arena_alloc(http_arena(rq), sizeof *c);
    struct job *job = c == NULL ? NULL : job_new(rq, app, ctx_bytes);
    if (job == NULL) {
        if (c == NULL) {
            reply_error(rq, ERR_MEMORY, "taking the request");
        }
        return NULL;
    }
    *c = (struct group_call){.job = job, .ctx = job->ctx};
    http_set_context(rq, c, free_call);
    return c;
}

/* ERR_CLOSED: stopping; ERR_FULL: too many. */
static err_t enqueue(struct group_service *s, struct group_call *c)
{
    c->service = s;
    c->deadline_us = workers_now_us() + c->wait_us;
    pthread_mutex_lock(&s->mutex);
    err_t err = s->stopping ? ERR_CLOSED : s->calls >= s->options.calls_max ? ERR_FULL : ERR_OK;
    if (err == ERR_OK) {
        push(&s->queue, c);
        s->calls++;
    }
    bool wake = err == ERR_OK && s->queue.n == 1;
    pthread_mutex_unlock(&s->mutex);
    if (wake) {
        feed_wake(&s->sleeper);
    }
    return err;
}

void groups_submit(struct group_service *s, struct group_call *take_call)
{
    struct job *job = take_call->job;
    job_suspend(job);
    err_t err = enqueue(s, take_call);
    if (err != ERR_OK && take_call->anyway) {
        http_resume(job->rq);
    } else if (err != ERR_OK) {
        job_fail(job, err == ERR_CLOSED ? PROBLEM_SHUTTING_DOWN : PROBLEM_OVERLOADED, NULL,
                 "too many requests about groups wait");
        http_resume(job->rq);
    }
}

void groups_submit_own(struct group_service *s, struct group_call *take_call)
{
    err_t err = enqueue(s, take_call); /* from here on it is the thread's */
    if (err != ERR_OK) {
        take_call->error = err;
        take_call->done(take_call);
    }
}

/* The writer's thread. */
static void on_decided(struct writer_job *job)
{
    struct group_call *c =
        (struct group_call *)((char *)job - offsetof(struct group_call, writer_job));
    struct group_service *s = c->service;
    pthread_mutex_lock(&s->mutex);
    c->decided = true;
    push(&s->queue, c);
    pthread_mutex_unlock(&s->mutex);
    feed_wake(&s->sleeper);
}

/* ---- a turn ---- */

/* Never back: a clock that was set back would make leases last longer. */
static int64_t wall_clock(struct group_service *s)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t now = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    s->wall_us = now > s->wall_us ? now : s->wall_us;
    return s->wall_us;
}

struct outcome {
    struct call_list answered, waits, commits, failed;
};

static err_t run_calls(struct group_turn *turn, struct call_list *calls, struct outcome *out)
{
    struct group_call *c;
    err_t err = ERR_OK;
    while ((c = pop(calls)) != NULL) {
        enum group_outcome what = err == ERR_OK ? c->run(c, turn) : GROUP_FAILED;
        if (what == GROUP_FAILED && err == ERR_OK) {
            err = c->error;
        }
        if (what == GROUP_WAITS) {
            /* As it was for this call: the next one of this turn may change it. */
            c->seen_changed = groups_changed(turn->groups, c->group);
            c->seen_position = store_view_position(turn->view);
        }
        push(what == GROUP_ANSWERED  ? &out->answered
             : what == GROUP_WAITS   ? &out->waits
             : what == GROUP_COMMITS ? &out->commits
                                     : &out->failed,
             c);
    }
    return err;
}

static err_t expire(struct groups *g)
{
    bool more = true;
    err_t err = ERR_OK;
    while (err == ERR_OK && more) {
        err = groups_expire(g, &more);
    }
    return err;
}

/* One transaction with everything in it. After an error nothing of it happened. */
static err_t transact(struct group_service *s, int64_t now_us, struct call_list *calls,
                      struct outcome *out)
{
    struct group_turn turn = {.groups = s->groups, .now_us = now_us};
    err_t err = app_view_open(s->options.store, &turn.view);
    if (err != ERR_OK) {
        move_all(calls, &out->failed);
        return err;
    }
    err = groups_begin(s->groups, turn.view, turn.now_us);
    if (err != ERR_OK) {
        move_all(calls, &out->failed);
    } else {
        err = expire(s->groups);
        if (err == ERR_OK) {
            err = run_calls(&turn, calls, out);
        } else {
            move_all(calls, &out->failed);
        }
        if (err == ERR_OK) {
            err = groups_commit(s->groups);
        } else {
            groups_abort(s->groups);
        }
    }
    store_view_close(turn.view);
    return err;
}

/* What has been decided by the log stays so: it is taken in later. All others are told. */
static void fail_all(struct group_service *s, struct call_list *calls, struct call_list *answered,
                     err_t err)
{
    struct group_call *c;
    while ((c = pop(calls)) != NULL) {
        if (c->decided && !s->stopping) {
            push(&s->retry, c);
            continue;
        }
        if (c->ticket != 0) {
            groups_ack_finish(s->groups, c->ticket);
        }
        s->defining = c->defines && c->command != NULL ? false : s->defining;
        c->error = err;
        if (c->job != NULL && !c->anyway) {
            buf_clear(&c->job->body);
            job_error(c->job, err, "writing the state of the groups");
        }
        push(answered, c);
    }
}

static void submit_commands(struct group_service *s, struct call_list *commits)
{
    struct group_call *c;
    while ((c = pop(commits)) != NULL) {
        s->defining = s->defining || c->defines;
        c->writer_job = (struct writer_job){.command = c->command, .decided = on_decided};
        c->submitted = writer_submit(s->options.writer, &c->writer_job);
        if (c->submitted != ERR_OK) {
            on_decided(&c->writer_job);
        }
    }
}

static void resume_all(struct group_service *s, struct call_list *answered)
{
    struct http_request *rqs[64];
    size_t n = answered->n;
    bool defined = false;
    while (answered->first != NULL) {
        size_t k = 0;
        while (k < 64 && answered->first != NULL) {
            struct group_call *c = pop(answered);
            if (c->decided && c->defines) {
                s->defining = false;
                defined = true;
            }
            if (c->job == NULL) {
                c->done(c);
            } else {
                rqs[k++] = c->job->rq;
            }
        }
        http_resume_all(rqs, k);
    }
    pthread_mutex_lock(&s->mutex);
    s->calls -= n;
    pthread_mutex_unlock(&s->mutex);
    if (defined && s->options.defined != NULL) {
        s->options.defined(s->options.ctx);
    }
}

/* ---- what is to be done in a turn ---- */

/* Of those that wait the ones for which something may have changed. */
static void take_waiting(struct group_service *s, bool growth, bool due, struct call_list *ret)
{
    uint64_t position = feed_position(s->options.feed);
    int64_t now = workers_now_us();
    struct call_list rest = {0};
    struct group_call *c;
    while ((c = pop(&s->waiting)) != NULL) {
        c->over =
            now >= c->deadline_us || s->stopping || (c->job != NULL && job_client_is_gone(c->job));
        bool look = c->over || c->soon || due || (growth && position != c->seen_position) ||
                    groups_changed(s->groups, c->group) != c->seen_changed;
        push(look ? ret : &rest, c);
    }
    s->waiting = rest;
}

/* What has come. Definitions go one after the other: each is planned on what the one before has
 * left. */
static void take_new(struct group_service *s, struct call_list *ret)
{
    struct call_list new = s->postponed;
    s->postponed = (struct call_list){0};
    pthread_mutex_lock(&s->mutex);
    move_all(&s->queue, &new);
    pthread_mutex_unlock(&s->mutex);
    bool may_define = !s->defining;
    struct group_call *c;
    while ((c = pop(&new)) != NULL) {
        bool plans = c->defines && !c->decided;
        push(plans && !may_define ? &s->postponed : ret, c);
        may_define = may_define && !plans;
    }
}

static void turn(struct group_service *s, bool growth)
{
    struct call_list calls = {0};
    struct outcome out = {0};
    int64_t begun = workers_now_us();
    int64_t now_us = wall_clock(s); /* one reading: what ends by it is what wakes those that wait */
    bool may_retry = s->stopping || begun >= s->retry_at_us;
    bool due = may_retry && groups_due(s->groups) <= now_us;
    take_new(s, &calls);
    take_waiting(s, growth, due, &calls);
    if (may_retry) {
        move_all(&s->retry, &calls);
    }
    if (calls.first == NULL && !due) {
        return;
    }
    err_t err = transact(s, now_us, &calls, &out);
    if (err == ERR_OK) {
        submit_commands(s, &out.commits);
        move_all(&out.waits, &s->waiting);
    } else {
        move_all(&out.answered, &out.failed);
        move_all(&out.waits, &out.failed);
        move_all(&out.commits, &out.failed);
        fail_all(s, &out.failed, &out.answered, err);
        s->retry_at_us = begun + RETRY_US;
        log_line(LOG_LEVEL_WARN, "the state of the groups could not be written",
                 log_text("error", err_name(err)), log_text("detail", err_describe(err)));
    }
    resume_all(s, &out.answered);
    if (growth) {
        int64_t now = workers_now_us(), rest = (now - begun) * REST_FACTOR;
        s->rest_until_us = now + (rest < REST_US_MAX ? rest : REST_US_MAX);
    }
}

/* ---- the thread ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void await_wake(struct group_service *s, int ms)
{
    struct pollfd fd = {.fd = s->sleeper.event_fd, .events = POLLIN};
    if (poll(&fd, 1, ms) > 0) {
        uint64_t count;
        (void)!read(fd.fd, &count, sizeof count);
    }
}

/* Until there is something to do; true: the log has grown, and somebody waits for that. */
static bool sleep_until_more(struct group_service *s, uint64_t seen)
{
    int64_t now = workers_now_us();
    int64_t due = groups_due(s->groups), until = now + 1000000;
    if (due != INT64_MAX) {
        int64_t at = now + (due - wall_clock(s));
        until = earlier(until, at > s->retry_at_us ? at : s->retry_at_us);
    }
    for (struct group_call *c = s->waiting.first; c != NULL; c = c->next) {
        bool changed = groups_changed(s->groups, c->group) != c->seen_changed;
        until = c->soon || changed ? now : earlier(until, c->deadline_us);
    }
    until = s->retry.first != NULL ? earlier(until, s->retry_at_us) : until;
    bool resting = now < s->rest_until_us;
    bool watches = s->waiting.first != NULL && !resting;
    if (s->waiting.first != NULL && resting) {
        until = earlier(until, s->rest_until_us);
    }
    if (watches && !feed_sleep(s->options.feed, &s->sleeper, seen)) {
        return true;
    }
    await_wake(s, until <= now ? 0 : (int)((until - now + 999) / 1000));
    if (watches) {
        feed_awake(&s->sleeper);
    }
    return s->waiting.first != NULL && feed_position(s->options.feed) != seen &&
           workers_now_us() >= s->rest_until_us;
}

static bool is_idle(struct group_service *s)
{
    pthread_mutex_lock(&s->mutex);
    bool idle = s->queue.first == NULL;
    pthread_mutex_unlock(&s->mutex);
    return idle;
}

/* All that is there is answered, also what is still with the writer, which stops later. */
static void drain(struct group_service *s)
{
    for (;;) {
        turn(s, false);
        pthread_mutex_lock(&s->mutex);
        bool done = s->calls == 0;
        pthread_mutex_unlock(&s->mutex);
        if (done) {
            return;
        }
        await_wake(s, DRAIN_MS);
    }
}

static void *run_service(void *ctx)
{
    struct group_service *s = ctx;
    uint64_t seen = feed_position(s->options.feed);
    bool growth = false;
    while (!atomic_load(&s->stopping)) {
        if (growth) {
            seen = feed_position(s->options.feed);
        }
        turn(s, growth);
        growth = is_idle(s) ? sleep_until_more(s, seen)
                            : feed_position(s->options.feed) != seen &&
                                  workers_now_us() >= s->rest_until_us;
    }
    drain(s);
    return NULL;
}
