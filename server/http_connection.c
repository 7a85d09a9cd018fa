/* http_connection: connections from accept to close: how many, from where, and how long they may
 * take.
 *
 * libmicrohttpd's timeout starts anew with every byte, so a client that drips bytes would stay for
 * ever. Ours do not: each connection is in at most one list, by what it is being waited for; since
 * every list has one constant delay, appending keeps it in order and only its head must be looked
 * at. */
#include "server/http_int.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>

#define LINGER_US        ((int64_t)2000000)
#define LOOK_INTERVAL_US ((int64_t)500000)
#define TRIM_PEAK_MIN    512

static struct conn *conn_new(struct http_loop *loop, struct MHD_Connection *mhd);
static void conn_free(struct conn *c);
static void look_at(struct http_loop *loop, enum conn_wait what);

/* The check comes before the count (http_on_connection), so loops that accept at the same moment
 * may go over the limit by one each. */
enum MHD_Result http_on_accept(void *cls, const struct sockaddr *peer, socklen_t n)
{
    struct http_loop *loop = cls;
    struct http *h = loop->http;
    (void)n;
    if (atomic_load(&h->connections) >= h->options.connections_max || atomic_load(&h->draining)) {
        return MHD_NO;
    }
    unsigned max = h->options.connections_per_address_max;
    return max == 0 || address_table_count(&h->addresses, peer) < max ? MHD_YES : MHD_NO;
}

void http_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                        enum MHD_ConnectionNotificationCode code)
{
    struct http_loop *loop = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&loop->http->connections, 1);
        loop->open++;
        loop->open_peak = loop->open > loop->open_peak ? loop->open : loop->open_peak;
        /* Without memory it is NULL, and the first request line closes the connection. */
        *socket_context = conn_new(loop, mhd);
        return;
    }
    atomic_fetch_sub(&loop->http->connections, 1);
    loop->open--;
    conn_free(*socket_context);
    *socket_context = NULL;
}

static int64_t wait_us(const struct http_options *o, enum conn_wait what)
{
    const int64_t second = 1000000;
    switch (what) {
    case WAIT_FIRST_HEADER:
        return o->header_timeout_s * second;
    case WAIT_NEXT_HEADER:
        return (o->idle_timeout_s + o->header_timeout_s) * second;
    case WAIT_BODY:
        return o->body_timeout_s * second;
    case WAIT_LINGER:
    case WAIT_NOTHING:
        break;
    }
    return LINGER_US;
}

void http_conn_wait(struct conn *c, enum conn_wait what)
{
    struct conn_list *waits = c->loop->waits;
    if (c->waiting_for != WAIT_NOTHING) {
        struct conn_list *list = &waits[c->waiting_for];
        *(c->prev == NULL ? &list->head : &c->prev->next) = c->next;
        *(c->next == NULL ? &list->tail : &c->next->prev) = c->prev;
    }
    c->waiting_for = what;
    c->looked_at = false;
    c->prev = c->next = NULL;
    if (what != WAIT_NOTHING) {
        struct conn_list *list = &waits[what];
        c->deadline_us = c->loop->now_us + wait_us(&c->loop->http->options, what);
        c->prev = list->tail;
        *(list->tail == NULL ? &list->head : &list->tail->next) = c;
        list->tail = c;
    }
}

void http_conns_expire(struct http_loop *loop)
{
    for (int what = 0; what < WAIT_COUNT; what++) {
        struct conn *c = loop->waits[what].head;
        while (c != NULL && c->deadline_us <= loop->now_us) {
            if (what == WAIT_BODY && c->rq != NULL) {
                http_refuse_raw(c->rq, HTTP_REFUSE_BODY_TIMEOUT,
                                "the body did not arrive in body-timeout-s");
            }
            http_conn_wait(c, WAIT_NOTHING);
            /* libmicrohttpd then finds the socket closed and tells us in its usual way. */
            shutdown(c->fd, SHUT_RDWR);
            c = loop->waits[what].head;
        }
    }
}

int64_t http_conns_deadline_us(const struct http_loop *loop)
{
    int64_t first = INT64_MAX;
    for (int what = 0; what < WAIT_COUNT; what++) {
        const struct conn *head = loop->waits[what].head;
        first = head != NULL && head->deadline_us < first ? head->deadline_us : first;
    }
    return first;
}

static bool has_hung_up(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* libmicrohttpd does not read again after a read that did not fill its buffer, and epoll tells it
 * of each edge once: of a peer that closes its side in the same moment as it sends, it hears
 * nothing, and the connection would stay until its deadline. So we look ourselves at who has been
 * waiting for a while: once a wait, for a body again and again. What libmicrohttpd has in its
 * buffer is no concern: that would have been a request by now. */
void http_conns_look(struct http_loop *loop)
{
    if (loop->now_us < loop->look_us) {
        return;
    }
    loop->look_us = loop->now_us + LOOK_INTERVAL_US;
    for (int what = 0; what < WAIT_LINGER; what++) {
        look_at(loop, (enum conn_wait)what);
    }
}

/* From the newest, who is behind, to those that were looked at before. */
static void look_at(struct http_loop *loop, enum conn_wait what)
{
    int64_t old_us = loop->now_us - LOOK_INTERVAL_US + wait_us(&loop->http->options, what);
    struct conn *older;
    for (struct conn *c = loop->waits[what].tail; c != NULL && !c->looked_at; c = older) {
        older = c->prev;
        if (c->deadline_us > old_us) {
            continue;
        }
        c->looked_at = what != WAIT_BODY;
        if (has_hung_up(c->fd)) {
            http_conn_wait(c, WAIT_NOTHING);
            shutdown(c->fd, SHUT_RDWR); /* as in http_conns_expire */
        }
    }
}

/* After a crowd has left, its memory goes back to the system; malloc would keep it. */
void http_conns_trim(struct http_loop *loop)
{
    if (loop->open_peak >= TRIM_PEAK_MIN && loop->open <= loop->open_peak / 4) {
        loop->open_peak = loop->open;
        malloc_trim(0);
    }
}

static struct conn *conn_new(struct http_loop *loop, struct MHD_Connection *mhd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    *c = (struct conn){.loop = loop, .mhd = mhd, .waiting_for = WAIT_NOTHING, .peer = "unknown"};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    c->fd = info == NULL ? -1 : info->connect_fd;
    info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != NULL) {
        address_format(info->client_addr, c->peer);
        if (loop->http->options.connections_per_address_max > 0) {
            c->address = address_table_add(&loop->http->addresses, info->client_addr);
        }
    }
    http_conn_wait(c, WAIT_FIRST_HEADER);
    return c;
}

static void conn_free(struct conn *c)
{
    if (c == NULL) {
        return;
    }
    http_conn_wait(c, WAIT_NOTHING);
    address_table_remove(&c->loop->http->addresses, c->address);
    free(c);
}
