/* live_member: one follower or poll: what its turn is, and how it begins and ends. */
#include "server/live_int.h"

#include "server/log.h"
#include "storage/base/check.h"

#include <stdlib.h>
#include <sys/epoll.h>

#define US_PER_SECOND     ((int64_t)1000000)
#define CONTROL_BYTES_MAX 512

/* Edge-triggered: where the socket was full, one event comes when there is room again. */
#define WATCHED_STREAM (EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define WATCHED_POLL   (EPOLLRDHUP | EPOLLET)

static void finish(struct live *l, struct live_member *m, bool whole, enum live_wake why);
static void step_stream(struct live *l, struct live_member *m);
static void step_poll(struct live *l, struct live_member *m);
static err_t next_chunk(struct live *l, struct live_member *m, bool *ret_caught_up);
static err_t send_chunk(struct live *l, struct live_member *m);
static void wait_for_more(struct live *l, struct live_member *m);
static void stop_waiting(struct live *l, struct live_member *m);
static void wait_for_room(struct live *l, struct live_member *m);
static bool is_heard(const struct live *l, struct live_member *m);
static void fail(struct live *l, struct live_member *m, err_t err);

static int64_t heartbeat_us(const struct live *l)
{
    return l->options.heartbeat_s * US_PER_SECOND;
}

static int64_t idle_us(const struct live *l)
{
    return l->options.idle_timeout_s * US_PER_SECOND;
}

/* ---- beginning and end ---- */

static void list_in_all(struct live *l, struct live_member *m)
{
    pthread_mutex_lock(&l->mutex);
    m->all_prev = NULL;
    m->all_next = l->all;
    if (l->all != NULL) {
        l->all->all_prev = m;
    }
    l->all = m;
    pthread_mutex_unlock(&l->mutex);
}

static void unlist_in_all(struct live *l, const struct live_member *m)
{
    pthread_mutex_lock(&l->mutex);
    *(m->all_prev == NULL ? &l->all : &m->all_prev->all_next) = m->all_next;
    if (m->all_next != NULL) {
        m->all_next->all_prev = m->all_prev;
    }
    pthread_mutex_unlock(&l->mutex);
}

void live_member_begin(struct live *l, struct live_member *m)
{
    l->members++;
    list_in_all(l, m);
    m->sent_us = m->heard_us = l->now_us;
    struct follower *follower = m->follower;
    m->follower = NULL;
    atomic_fetch_add(&l->watchers, m->watch != NULL);
    err_t err = deadlines_reserve(&l->deadlines, l->members);
    if (err == ERR_OK && follower != NULL) {
        err = live_groups_join(&l->groups, follower, m->encoding, m->poll != NULL, &m->group);
    } else {
        follower_free(follower);
    }
    struct epoll_event event = {.events = m->poll == NULL ? WATCHED_STREAM : WATCHED_POLL,
                                .data.ptr = m};
    if (err == ERR_OK && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, http_socket(m->rq), &event) != 0) {
        err = ERR_MEMORY;
    }
    if (err != ERR_OK) {
        finish(l, m, false, LIVE_OVER);
        return;
    }
    deadlines_set(&l->deadlines, &m->deadline,
                  m->poll == NULL ? l->now_us + heartbeat_us(l) : m->poll->deadline_us);
    live_member_ready(l, m);
}

/* From any state. `m` and its request are out of reach afterwards. */
static void finish(struct live *l, struct live_member *m, bool whole, enum live_wake why)
{
    if (m->state == MEMBER_READY) {
        live_list_remove(&l->ready, m);
    } else if (m->state == MEMBER_WAITING) {
        stop_waiting(l, m);
    }
    l->members--;
    atomic_fetch_sub(&l->watchers, m->watch != NULL);
    unlist_in_all(l, m);
    deadlines_remove(&l->deadlines, &m->deadline);
    live_chunk_unref(m->chunk);
    live_chunk_unref(m->last);
    if (m->group != NULL) {
        live_groups_leave(&l->groups, m->group);
    }
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, http_socket(m->rq), NULL);
    if (m->poll == NULL) {
        http_detached_end(m->rq, whole);
    } else {
        m->poll->why = why;
        m->poll->reached = m->checkpoint;
        http_resume(m->rq);
    }
    free(m->watch);
    free(m);
}

void live_member_end(struct live *l, struct live_member *m)
{
    bool whole = true;
    while (whole && m->chunk != NULL) {
        whole = send_chunk(l, m) == ERR_OK;
    }
    finish(l, m, whole, LIVE_OVER);
}

/* ---- what wakes it ---- */

static void stop_waiting(struct live *l, struct live_member *m)
{
    live_list_remove(m->group == NULL ? &l->watching : &m->group->waiting, m);
    l->waiting -= m->group != NULL;
}

void live_member_ready(struct live *l, struct live_member *m)
{
    if (m->state == MEMBER_WAITING) {
        stop_waiting(l, m);
    }
    CHECK(m->state != MEMBER_READY);
    m->state = MEMBER_READY;
    live_list_append(&l->ready, m);
}

void live_member_on_socket(struct live *l, struct live_member *m, uint32_t events)
{
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        finish(l, m, false, LIVE_OVER);
    } else if (m->state == MEMBER_BLOCKED) {
        live_member_ready(l, m);
    }
}

/* Whether the peer still takes what it is sent. A full socket has room again only when a good part
 * of it is free, which with a slow reader may take longer than anything here waits; and a peer that
 * vanished without a word leaves room for many heartbeats. So it is asked what is acknowledged. */
static bool is_heard(const struct live *l, struct live_member *m)
{
    bool all;
    uint64_t acknowledged = http_detached_acknowledged(m->rq, &all);
    if (all || acknowledged > m->acknowledged) {
        m->heard_us = l->now_us;
    }
    m->acknowledged = acknowledged;
    return l->now_us - m->heard_us < idle_us(l);
}

/* A heartbeat is due when nothing went out for so long; a deadline that came while events were sent
 * only moves. A heartbeat comes after a read, so it says how far that got. */
void live_member_on_deadline(struct live *l, struct live_member *m)
{
    if (m->poll != NULL) {
        finish(l, m, false, LIVE_TIMEOUT);
        return;
    }
    if (!is_heard(l, m)) {
        finish(l, m, false, LIVE_OVER);
        return;
    }
    if (m->state == MEMBER_BLOCKED) {
        deadlines_set(&l->deadlines, &m->deadline, m->heard_us + idle_us(l));
        return;
    }
    int64_t due_us = m->sent_us + heartbeat_us(l);
    if (due_us <= l->now_us) {
        m->beat_due = true;
        due_us = l->now_us + heartbeat_us(l);
        if (m->state == MEMBER_WAITING) {
            live_member_ready(l, m);
        }
    }
    deadlines_set(&l->deadlines, &m->deadline, due_us);
}

/* ---- its turn ---- */

void live_member_step(struct live *l, struct live_member *m)
{
    CHECK(m->state == MEMBER_READY);
    live_list_remove(&l->ready, m);
    m->state = MEMBER_NEW;
    if (m->poll != NULL) {
        step_poll(l, m);
    } else {
        step_stream(l, m);
    }
}

static void step_poll(struct live *l, struct live_member *m)
{
    struct store_view *view;
    struct live_chunk *c;
    err_t err = live_view(l, &view);
    if (err == ERR_OK) {
        err = live_group_read(&l->groups, m->group, view, m->checkpoint, 0, &c);
    }
    if (err != ERR_OK) {
        finish(l, m, false, LIVE_MORE); /* the handler meets the same error and answers it */
        return;
    }
    bool found = c->events > 0;
    bool caught_up = c->caught_up;
    m->checkpoint = c->reached;
    live_chunk_unref(c);
    if (found) {
        finish(l, m, false, LIVE_MORE);
    } else if (caught_up) {
        wait_for_more(l, m);
    } else {
        live_member_ready(l, m);
    }
}

static void step_stream(struct live *l, struct live_member *m)
{
    bool caught_up = false;
    err_t err = m->chunk == NULL ? next_chunk(l, m, &caught_up) : ERR_OK;
    if (err != ERR_OK) {
        fail(l, m, err);
        return;
    }
    err = send_chunk(l, m);
    if (err == ERR_FULL) {
        wait_for_room(l, m);
    } else if (err != ERR_OK || (m->left == 0 && m->chunk == NULL)) {
        finish(l, m, err == ERR_OK, LIVE_OVER);
    } else if (caught_up) {
        wait_for_more(l, m);
    } else {
        live_member_ready(l, m);
    }
}

/* Something to say instead of events. */
static err_t make_control(struct live *l, const struct live_member *m, enum wire_control_kind kind,
                          struct live_chunk **ret)
{
    struct live_chunk *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    bool of_stream = m->group->wire.of_stream;
    const struct wire_control control = {
        .kind = kind,
        .position = of_stream ? store_view_position(l->view) : m->checkpoint,
        .revision = m->checkpoint,
    };
    c->refs = 1;
    buf_init(&c->data, CONTROL_BYTES_MAX);
    wire_put_control(&c->data, m->group->wire, &control);
    err_t err = buf_status(&c->data);
    if (err != ERR_OK) {
        live_chunk_unref(c);
        return err;
    }
    *ret = c;
    return ERR_OK;
}

/* What to send next, NULL where it is nothing. *ret_caught_up: after that, wait. */
static err_t next_chunk(struct live *l, struct live_member *m, bool *ret_caught_up)
{
    struct store_view *view;
    struct live_chunk *c;
    bool limited = m->left != UINT64_MAX;
    if (m->watch != NULL) {
        *ret_caught_up = true;
        return live_document_next(m);
    }
    err_t err = live_view(l, &view);
    if (err == ERR_OK) {
        size_t max = limited ? (size_t)m->left : 0;
        err = live_group_read(&l->groups, m->group, view, m->checkpoint, max, &c);
    }
    if (err != ERR_OK) {
        return err;
    }
    m->checkpoint = c->reached;
    m->left -= limited ? c->events : 0;
    bool caught_up = c->caught_up;
    if (c->data.n > 0) {
        m->chunk = c;
        m->beat_due = false;
        *ret_caught_up = caught_up && m->was_told;
        return ERR_OK;
    }
    live_chunk_unref(c);
    *ret_caught_up = caught_up;
    if (caught_up && !m->was_told) {
        m->was_told = true;
        err = make_control(l, m, WIRE_CAUGHT_UP, &m->chunk);
    } else if (m->beat_due) {
        err = make_control(l, m, WIRE_HEARTBEAT, &m->chunk);
    }
    m->beat_due = false;
    return err;
}

/* Also sends the response's header where that is all there is yet. */
static err_t send_chunk(struct live *l, struct live_member *m)
{
    struct bytes block = m->chunk == NULL ? BYTES_NONE : buf_bytes(&m->chunk->data);
    size_t before = m->sent;
    if (l->now_us - m->heard_us >= US_PER_SECOND) {
        (void)is_heard(l, m); /* whether all before this has arrived */
    }
    err_t err = http_detached_send(m->rq, block, &m->sent);
    if (m->sent > before) {
        m->sent_us = l->now_us;
    }
    if (err == ERR_OK) {
        live_chunk_unref(m->chunk);
        m->chunk = m->last;
        m->last = NULL;
        m->sent = 0;
    }
    return err;
}

static void wait_for_more(struct live *l, struct live_member *m)
{
    m->state = MEMBER_WAITING;
    if (m->group == NULL) {
        live_list_append(&l->watching, m);
        return;
    }
    CHECK(store_view_position(l->view) >= l->dispatched);
    live_list_append(&m->group->waiting, m);
    l->waiting++;
}

static void wait_for_room(struct live *l, struct live_member *m)
{
    m->state = MEMBER_BLOCKED;
    (void)is_heard(l, m);
    int64_t until_us = m->heard_us + idle_us(l);
    if (m->deadline.at_us > until_us) {
        deadlines_set(&l->deadlines, &m->deadline, until_us);
    }
}

/* A stream that was deleted ends whole, there is nothing more of it. Else the answer is cut, so
 * that the client knows that something is missing. */
static void fail(struct live *l, struct live_member *m, err_t err)
{
    bool is_gone = err == ERR_NOT_FOUND || err == ERR_GONE;
    if (!is_gone && l->now_us - l->logged_us >= US_PER_SECOND) { /* many may meet the same */
        l->logged_us = l->now_us;
        log_line(LOG_LEVEL_ERROR, "a live read ends", log_text("error", err_describe(err)),
                 log_number("checkpoint", (int64_t)m->checkpoint));
    }
    finish(l, m, is_gone, LIVE_OVER);
}
