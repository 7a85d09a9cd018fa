/* live: the live thread: sleeps until there is something to do, then does it in rounds.
 *
 * A round: take in who is new; read what was committed since the last round once, and hold each
 * event against the groups, which makes the followers that it concerns ready; act on deadlines; let
 * each that is ready have one turn. So an event costs nothing for those it does not concern, what
 * many want is read and encoded once, and one that has far to go takes its turn like any other.
 *
 * No event is missed: a follower waits only after a read through a view at least as new as what was
 * dispatched, and whatever is committed behind that view is dispatched later.
 *
 * Pacing: sending one event to a thousand followers is a thousand system calls. The writer and the
 * HTTP threads come first: this thread gives way to them, and after a round for a crowd it rests
 * three times as long as that took, while the next events gather. With few followers there is no
 * pause. */
#include "server/live_int.h"

#include "server/app.h"
#include "server/log.h"
#include "storage/base/check.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIVES_STREAM  "$streams"
#define NICENESS      5
#define SLICE_NS      100000000
#define EVENTS_A_WAIT 256
#define US_PER_SECOND ((int64_t)1000000)
/* Behind by more than this, holding each event against the groups costs more than reading. */
#define DISPATCH_MAX 4096
/* After this long a view is closed and the next turn opens a new one. */
#define VIEW_US_MAX ((int64_t)20000)
/* A round gives the sockets and new events a look after this long, or so many turns: polls that are
 * resumed all at once would hold up their loops. */
#define ROUND_US_MAX    ((int64_t)20000)
#define ROUND_TURNS_MAX 512
/* A round of so many turns is followed by a pause, so much longer than the round was. */
#define CROWD        64
#define PAUSE_FACTOR 3
#define PAUSE_US_MAX ((int64_t)50000)
/* At a stop: for what is committed and not sent yet. */
#define END_US ((int64_t)300000)

static err_t open_all(struct live *l);
static err_t take_over(struct live *l, struct http_request *rq, struct live_member *m);
static void *run(void *ctx);
static bool take_in(struct live *l);
static void dispatch(struct live *l);
static void expire(struct live *l);
static void send_round(struct live *l);
static void sleep_until_due(struct live *l);
static void end_all(struct live *l);
static int64_t clock_us(clockid_t clock);

err_t live_start(const struct live_options *options, struct live **ret)
{
    struct live *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return ERR_MEMORY;
    }
    l->options = *options;
    l->now_us = clock_us(CLOCK_MONOTONIC);
    l->epoll_fd = l->sleeper.event_fd = -1;
    pthread_mutex_init(&l->mutex, NULL);
    live_groups_init(&l->groups);
    deadlines_init(&l->deadlines);
    err_t err = open_all(l);
    if (err != ERR_OK) {
        live_free(l);
        return err;
    }
    *ret = l;
    return ERR_OK;
}

static err_t open_all(struct live *l)
{
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    err_t err = l->epoll_fd < 0 ? ERR_MEMORY : feed_add_sleeper(l->options.feed, &l->sleeper);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (err == ERR_OK && (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->sleeper.event_fd, &event) != 0 ||
                          pthread_create(&l->thread, NULL, run, l) != 0)) {
        err = ERR_MEMORY;
    }
    return err;
}

void live_stop(struct live *l)
{
    if (l == NULL) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    bool first = !l->stopping;
    l->stopping = true;
    pthread_mutex_unlock(&l->mutex);
    if (first) {
        feed_wake(&l->sleeper);
        pthread_join(l->thread, NULL);
    }
}

void live_free(struct live *l)
{
    if (l == NULL) {
        return;
    }
    CHECK(l->members == 0 && l->inbox.n == 0);
    live_groups_done(&l->groups);
    deadlines_done(&l->deadlines);
    if (l->sleeper.event_fd >= 0) {
        feed_sleeper_done(&l->sleeper);
    }
    if (l->epoll_fd >= 0) {
        close(l->epoll_fd);
    }
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* ---- from loops' threads ---- */

size_t live_count(struct live *l)
{
    return l->members;
}

/* One that waits has been held against everything that was dispatched. */
uint64_t live_lag_max(struct live *l, uint64_t position)
{
    uint64_t lag_max = 0;
    pthread_mutex_lock(&l->mutex);
    for (const struct live_member *m = l->all; m != NULL; m = m->all_next) {
        uint64_t at = m->of_log && m->state != MEMBER_WAITING ? m->checkpoint : position;
        uint64_t lag = at < position ? position - at : 0;
        lag_max = lag > lag_max ? lag : lag_max;
    }
    pthread_mutex_unlock(&l->mutex);
    return lag_max;
}

static struct live_member *member_new(const struct store_query *query)
{
    struct live_member *m = calloc(1, sizeof *m);
    if (m != NULL && query != NULL && follower_new(query, &m->follower) != ERR_OK) {
        free(m);
        return NULL;
    }
    if (m != NULL) {
        m->state = MEMBER_NEW;
        m->checkpoint = query == NULL ? 0 : query->from;
        m->of_log = query != NULL && query->stream.n == 0;
        m->left = UINT64_MAX;
    }
    return m;
}

static void member_free(struct live_member *m)
{
    if (m != NULL) {
        follower_free(m->follower);
        free(m->watch);
        free(m);
    }
}

/* With the mutex held. Whether the live thread must be woken: it looks at the whole inbox. */
static bool put_in(struct live *l, struct live_member *m)
{
    live_list_append(&l->inbox, m);
    return l->inbox.n == 1;
}

err_t live_follow(struct live *l, struct http_request *rq, const struct live_stream *stream)
{
    struct live_member *m = member_new(stream->query);
    if (m == NULL) {
        return ERR_MEMORY;
    }
    m->encoding = stream->encoding;
    m->left = stream->limit > 0 ? stream->limit : UINT64_MAX;
    return take_over(l, rq, m);
}

err_t live_follow_document(struct live *l, struct http_request *rq,
                           const struct live_document *document)
{
    struct live_member *m = member_new(NULL);
    if (m == NULL || live_watch_new(document, &m->watch) != ERR_OK) {
        member_free(m);
        return ERR_MEMORY;
    }
    m->encoding = ENCODING_SSE;
    return take_over(l, rq, m);
}

static struct live_chunk *chunk_of(struct buf *take_data)
{
    struct live_chunk *c = calloc(1, sizeof *c);
    if (c != NULL) {
        c->refs = 1;
        c->data = *take_data;
    }
    return c;
}

err_t live_send_rest(struct live *l, struct live_rest *take_rest)
{
    struct live_member *m = member_new(NULL);
    struct live_chunk *piece = chunk_of(&take_rest->piece), *rest = chunk_of(&take_rest->rest);
    pthread_mutex_lock(&l->mutex);
    bool taken = m != NULL && piece != NULL && rest != NULL && !l->stopping &&
                 buf_status(&take_rest->piece) == ERR_OK && buf_status(&take_rest->rest) == ERR_OK;
    bool wake = false;
    if (taken) {
        m->rq = take_rest->rq;
        m->left = 0;
        m->chunk = piece;
        m->sent = take_rest->sent;
        m->last = rest;
        wake = put_in(l, m);
    }
    pthread_mutex_unlock(&l->mutex);
    if (wake) {
        feed_wake(&l->sleeper);
    }
    if (!taken) {
        member_free(m);
        free(piece); /* without the bytes, which stay the caller's */
        free(rest);
    }
    return taken ? ERR_OK : ERR_CLOSED;
}

/* The member becomes the live thread's, or is freed. */
static err_t take_over(struct live *l, struct http_request *rq, struct live_member *m)
{
    m->rq = rq;
    pthread_mutex_lock(&l->mutex);
    bool closed = l->stopping;
    bool wake = false;
    if (!closed) {
        http_detach(rq, 200, negotiate_media_type(m->encoding));
        wake = put_in(l, m);
    }
    pthread_mutex_unlock(&l->mutex);
    if (closed) {
        member_free(m);
        return ERR_CLOSED;
    }
    if (wake) {
        feed_wake(&l->sleeper);
    }
    return ERR_OK;
}

void live_wait(struct live *l, const struct store_query *query, struct live_poll *poll)
{
    poll->why = LIVE_OVER;
    poll->reached = query->from;
    struct live_member *m = member_new(query);
    bool wake = false;
    pthread_mutex_lock(&l->mutex);
    bool taken = m != NULL && !l->stopping;
    if (taken) {
        m->rq = poll->request;
        m->poll = poll;
        wake = put_in(l, m);
    }
    pthread_mutex_unlock(&l->mutex);
    if (wake) {
        feed_wake(&l->sleeper);
    }
    if (!taken) {
        member_free(m);
        http_resume(poll->request);
    }
}

/* ---- the live thread ---- */

/* Others first: a lower priority (of this thread alone, on Linux), and a long slice, which means
 * that a thread with an ordinary one takes the processor over when it wakes up (Linux 6.12; before
 * that it changes nothing). Where neither is allowed, it goes without. */
static void give_way(void)
{
    (void)!nice(NICENESS);
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t niceness;
        uint32_t priority;
        uint64_t slice_ns, deadline_ns, period_ns;
    } wanted = {.size = sizeof wanted,
                .policy = SCHED_OTHER,
                .niceness = getpriority(PRIO_PROCESS, (id_t)gettid()),
                .slice_ns = SLICE_NS};
    (void)!syscall(SYS_sched_setattr, 0, &wanted, 0);
}

static void *run(void *ctx)
{
    struct live *l = ctx;
    pthread_setname_np(pthread_self(), "live");
    give_way();
    while (take_in(l)) {
        dispatch(l);
        live_documents_look(l);
        expire(l);
        send_round(l);
        live_view_close(l);
        sleep_until_due(l);
    }
    end_all(l);
    return NULL;
}

/* False when it is time to end. */
static bool take_in(struct live *l)
{
    pthread_mutex_lock(&l->mutex);
    struct live_members list = l->inbox;
    l->inbox = (struct live_members){0};
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->mutex);
    while (list.head != NULL) {
        struct live_member *m = list.head;
        live_list_remove(&list, m);
        live_member_begin(l, m);
    }
    return !stopping;
}

static void touch(void *ctx, struct live_group *g)
{
    while (g->waiting.head != NULL) {
        live_member_ready(ctx, g->waiting.head);
    }
}

static err_t dispatch_events(struct live *l, struct store_view *view)
{
    err_t err = ERR_OK;
    while (err == ERR_OK && l->waiting > 0 && l->dispatched < store_view_position(view)) {
        struct store_record record;
        struct event e;
        err = store_get_event(view, l->dispatched + 1, &record);
        if (err == ERR_OK) {
            err = store_record_decode(&record, &e);
        }
        if (err == ERR_OK && bytes_equal(e.stream, BYTES_LITERAL(LIVES_STREAM))) {
            /* The life of some stream has changed: who follows it looks whether it is still
             * there. */
            live_groups_match_all(&l->groups, touch, l);
        } else if (err == ERR_OK) {
            live_groups_match(&l->groups, &e, touch, l);
        } else if (err == ERR_NOT_FOUND || err == ERR_GONE) {
            err = ERR_OK; /* hidden from everybody already */
        }
        l->dispatched += err == ERR_OK;
    }
    return err;
}

/* Makes ready whom the events since the last time concern. Where that cannot be told, all: each
 * then finds out by itself. */
static void dispatch(struct live *l)
{
    uint64_t position = feed_position(l->options.feed);
    if (position == l->dispatched || l->now_us < l->pause_until_us) {
        return;
    }
    struct store_view *view;
    err_t err = ERR_OK;
    if (l->waiting > 0) {
        err = live_view(l, &view);
        if (err == ERR_OK) {
            position = store_view_position(view);
            err = position - l->dispatched > DISPATCH_MAX ? ERR_LIMIT : dispatch_events(l, view);
        }
    }
    if (err != ERR_OK) {
        live_groups_match_all(&l->groups, touch, l);
    }
    l->dispatched = position;
}

static void expire(struct live *l)
{
    struct deadline *d = deadlines_first(&l->deadlines);
    while (d != NULL && d->at_us <= l->now_us) {
        uint8_t *m = (uint8_t *)d - offsetof(struct live_member, deadline);
        live_member_on_deadline(l, (struct live_member *)(void *)m);
        d = deadlines_first(&l->deadlines);
    }
}

/* One turn for each that is ready now, up to a limit. */
static void send_round(struct live *l)
{
    if (l->now_us < l->pause_until_us) {
        return;
    }
    int64_t began_us = clock_us(CLOCK_MONOTONIC);
    l->now_us = began_us;
    size_t turns = 0;
    size_t max = l->ready.n < ROUND_TURNS_MAX ? l->ready.n : ROUND_TURNS_MAX;
    for (; turns < max && l->now_us - began_us < ROUND_US_MAX; turns++) {
        live_member_step(l, l->ready.head);
        l->now_us = clock_us(CLOCK_MONOTONIC);
        if (l->view != NULL && l->now_us - l->view_opened_us > VIEW_US_MAX) {
            live_view_close(l);
        }
    }
    if (turns >= CROWD) {
        int64_t pause_us = (l->now_us - began_us) * PAUSE_FACTOR;
        l->pause_until_us = l->now_us + (pause_us < PAUSE_US_MAX ? pause_us : PAUSE_US_MAX);
    }
}

static int wait_ms(struct live *l)
{
    const struct deadline *first = deadlines_first(&l->deadlines);
    int64_t until_us = first == NULL ? INT64_MAX : first->at_us;
    if (l->now_us < l->pause_until_us) {
        until_us = until_us < l->pause_until_us ? until_us : l->pause_until_us;
    } else if (l->ready.n > 0 ||
               (l->members > 0 && !feed_sleep(l->options.feed, &l->sleeper, l->dispatched))) {
        return 0;
    }
    if (until_us == INT64_MAX) {
        return -1;
    }
    int64_t left_us = until_us - l->now_us;
    return left_us <= 0 ? 0 : left_us > 60 * US_PER_SECOND ? 60000 : (int)((left_us + 999) / 1000);
}

static void sleep_until_due(struct live *l)
{
    struct epoll_event events[EVENTS_A_WAIT];
    l->now_us = clock_us(CLOCK_MONOTONIC);
    int n = epoll_wait(l->epoll_fd, events, EVENTS_A_WAIT, wait_ms(l));
    feed_awake(&l->sleeper);
    l->now_us = clock_us(CLOCK_MONOTONIC);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr != NULL) {
            live_member_on_socket(l, events[i].data.ptr, events[i].events);
        }
    }
}

/* What is committed goes out to whoever takes it, then everything ends. */
static void end_all(struct live *l)
{
    int64_t until_us = l->now_us + END_US;
    do {
        l->pause_until_us = 0;
        dispatch(l);
        live_documents_look(l);
        send_round(l);
        live_view_close(l);
    } while (l->ready.n > 0 && l->now_us < until_us);
    while (l->deadlines.n > 0) {
        uint8_t *m =
            (uint8_t *)deadlines_first(&l->deadlines) - offsetof(struct live_member, deadline);
        live_member_end(l, (struct live_member *)(void *)m);
    }
}

/* ---- what both files use ---- */

err_t live_view(struct live *l, struct store_view **ret)
{
    if (l->view == NULL) {
        err_t err = app_view_open(l->options.store, &l->view);
        if (err != ERR_OK) {
            l->view = NULL;
            return err;
        }
        l->view_opened_us = l->now_us;
        store_view_set_time(l->view, clock_us(CLOCK_REALTIME));
    }
    *ret = l->view;
    return ERR_OK;
}

void live_view_close(struct live *l)
{
    live_groups_forget(&l->groups);
    store_view_close(l->view);
    l->view = NULL;
}

void live_list_append(struct live_members *list, struct live_member *m)
{
    m->prev = list->tail;
    m->next = NULL;
    *(list->tail == NULL ? &list->head : &list->tail->next) = m;
    list->tail = m;
    list->n++;
}

void live_list_remove(struct live_members *list, struct live_member *m)
{
    *(m->prev == NULL ? &list->head : &m->prev->next) = m->next;
    *(m->next == NULL ? &list->tail : &m->next->prev) = m->prev;
    m->prev = m->next = NULL;
    list->n--;
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}
