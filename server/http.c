/* http: the loops: one thread, one libmicrohttpd daemon, one eventfd each, over one listening
 * socket.
 *
 * A turn of a loop: wait for sockets or the eventfd; run the continuations of what was resumed; let
 * libmicrohttpd do what it can; tell the application that all has been handled; act on deadlines.
 * Everything of a request happens in turns of its loop, so nothing in here needs a lock; other
 * threads only push on `completed` (http_wait.c), count and set flags. */
#include "server/http_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* The pool of a connection: the header, libmicrohttpd's 64 bytes a header line, the response's
 * header, and what a send of a stream carries. Not more, because libmicrohttpd clears all of it
 * after each request. */
#define POOL_BYTES_BESIDES_HEADER ((size_t)8 << 10)
#define POOL_BYTES_MIN            ((size_t)24 << 10)
/* How long a turn may wait while requests are pending, in case there is work that no event tells
 * of. */
#define PENDING_WAIT_MS 1
#define STOP_US         ((int64_t)1500000)
#define LOOPS_MAX       64

static err_t loop_start(struct http *h, struct http_loop *loop, int listen_fd, struct err_text *et);
static struct MHD_Daemon *daemon_start(struct http_loop *loop, int listen_fd);
static void *loop_main(void *arg);
static void loop_turn(struct http_loop *loop);
static void loop_end_turn(struct http_loop *loop);
static int loop_wait_ms(struct http_loop *loop);
static void loop_quiesce(struct http_loop *loop);
static void loop_end(struct http_loop *loop);
static void loop_done(struct http_loop *loop);

err_t http_start(const struct http_options *options, struct http **ret, struct err_text *et)
{
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return err_set(et, ERR_MEMORY, "no memory for the HTTP server");
    }
    h->options = *options;
    h->options.host = h->host = strdup(options->host);
    h->loop_count = options->threads < 1 ? 1 : options->threads;
    h->loop_count = h->loop_count > LOOPS_MAX ? LOOPS_MAX : h->loop_count;
    address_table_init(&h->addresses);
    h->loops = calloc(h->loop_count, sizeof *h->loops);
    if (h->host == NULL || h->loops == NULL) {
        http_stop(h);
        return err_set(et, ERR_MEMORY, "no memory for the HTTP server");
    }
    int fd = -1;
    err_t err = http_listen(h->host, options->port, &fd, et);
    if (err == ERR_OK) {
        h->port = http_listen_port(fd);
    }
    for (unsigned i = 0; err == ERR_OK && i < h->loop_count; i++) {
        err = loop_start(h, &h->loops[i], fd, et);
    }
    if (fd >= 0) {
        close(fd); /* each loop has its own duplicate */
    }
    if (err != ERR_OK) {
        http_stop(h);
        return err;
    }
    *ret = h;
    return ERR_OK;
}

void http_drain(struct http *h)
{
    atomic_store(&h->draining, true);
    for (unsigned i = 0; i < h->loop_count; i++) {
        http_loop_wake(&h->loops[i]);
    }
    for (unsigned i = 0; i < h->loop_count; i++) {
        while (!atomic_load(&h->loops[i].quiesced)) {
            usleep(200);
        }
    }
}

void http_stop(struct http *h)
{
    if (h == NULL) {
        return;
    }
    atomic_store(&h->draining, true);
    atomic_store(&h->stopping, true);
    for (unsigned i = 0; h->loops != NULL && i < h->loop_count; i++) {
        if (h->loops[i].started) {
            http_loop_wake(&h->loops[i]);
        }
    }
    for (unsigned i = 0; h->loops != NULL && i < h->loop_count; i++) {
        if (h->loops[i].started) {
            pthread_join(h->loops[i].thread, NULL);
            loop_done(&h->loops[i]);
        }
    }
    free(h->loops);
    free(h->host);
    address_table_done(&h->addresses);
    free(h);
}

unsigned http_port(const struct http *h)
{
    return h->port;
}

unsigned http_connections(const struct http *h)
{
    return atomic_load(&h->connections);
}

unsigned http_requests_active(const struct http *h)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->loop_count; i++) {
        n += atomic_load_explicit(&h->loops[i].active, memory_order_relaxed);
    }
    return n;
}

int64_t http_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The eventfd is watched edge-triggered, so nobody has to read it. */
void http_loop_wake(struct http_loop *loop)
{
    uint64_t one = 1;
    (void)!write(loop->event_fd, &one, sizeof one);
}

static bool watch(int epoll_fd, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static err_t loop_start(struct http *h, struct http_loop *loop, int listen_fd, struct err_text *et)
{
    loop->http = h;
    loop->now_us = http_clock_us();
    loop->turn = 1; /* 0 is the turn of a reply outside of libmicrohttpd's callbacks */
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int fd = dup(listen_fd);
    loop->daemon = fd < 0 ? NULL : daemon_start(loop, fd);
    const union MHD_DaemonInfo *info =
        loop->daemon == NULL ? NULL : MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info != NULL && watch(loop->epoll_fd, info->epoll_fd, EPOLLIN) &&
        watch(loop->epoll_fd, loop->event_fd, EPOLLIN | EPOLLET) &&
        pthread_create(&loop->thread, NULL, loop_main, loop) == 0) {
        loop->started = true;
        return ERR_OK;
    }
    int cause = errno;
    if (loop->daemon == NULL && fd >= 0) {
        close(fd);
    }
    loop_done(loop);
    return err_set(et, ERR_IO, "cannot start an HTTP thread: %s", strerror(cause));
}

static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *s)
{
    (void)cls;
    (void)mhd;
    return strlen(s);
}

/* STRICT_FOR_CLIENT stays off: it would only answer a missing Host and a space in the target
 * without a problem document, the first of them twice in a row; http_framing.c refuses both. */
static struct MHD_Daemon *daemon_start(struct http_loop *loop, int listen_fd)
{
    const struct http_options *o = &loop->http->options;
    size_t pool = o->header_bytes_max + POOL_BYTES_BESIDES_HEADER;
    pool = pool < POOL_BYTES_MIN ? POOL_BYTES_MIN : pool;
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, http_on_accept, loop,
        http_on_request, loop, MHD_OPTION_EXTERNAL_LOGGER, http_on_log, loop,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool,
        MHD_OPTION_CONNECTION_LIMIT, o->connections_max + 16, /* http_on_accept is the real one */
        MHD_OPTION_CONNECTION_TIMEOUT, o->idle_timeout_s, MHD_OPTION_NOTIFY_CONNECTION,
        http_on_connection, loop, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, loop,
        MHD_OPTION_URI_LOG_CALLBACK, http_on_request_line, loop, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
}

static void *loop_main(void *arg)
{
    struct http_loop *loop = arg;
    struct http *h = loop->http;
    pthread_setname_np(pthread_self(), "http");
    while (!atomic_load_explicit(&h->stopping, memory_order_relaxed)) {
        loop_turn(loop);
    }
    int64_t give_up_us = http_clock_us() + STOP_US;
    while (loop->requests > 0 && loop->now_us < give_up_us) {
        loop_turn(loop);
    }
    loop_end(loop);
    return NULL;
}

static void loop_turn(struct http_loop *loop)
{
    struct epoll_event events[2];
    (void)epoll_wait(loop->epoll_fd, events, 2, loop_wait_ms(loop));
    loop->now_us = http_clock_us();
    loop->turn++;
    loop->unsent = 0;
    loop->busy = false;
    if (atomic_load_explicit(&loop->http->draining, memory_order_relaxed) &&
        !atomic_load_explicit(&loop->quiesced, memory_order_relaxed)) {
        loop_quiesce(loop);
    }
    http_waits_complete(loop);
    loop->in_run = true;
    MHD_run(loop->daemon);
    loop->in_run = false;
    loop_end_turn(loop);
    http_conns_expire(loop);
    http_conns_look(loop);
    http_conns_trim(loop);
    http_waits_settle(loop);
}

static void loop_end_turn(struct http_loop *loop)
{
    const struct http_options *o = &loop->http->options;
    while (loop->suspended_any && o->end_turn != NULL) {
        loop->suspended_any = false;
        loop->ending_turn = true;
        o->end_turn(o->ctx);
        loop->ending_turn = false;
        http_waits_complete(loop);
    }
}

/* Where nothing is pending libmicrohttpd knows best. Else it always says "at once", since it wants
 * to ask again, and what is left to do must be known in another way. */
static int loop_wait_ms(struct http_loop *loop)
{
    if (loop->busy || loop->unsent > 0) {
        return 0;
    }
    int64_t deadline_us = http_conns_deadline_us(loop);
    int64_t wait_ms = deadline_us == INT64_MAX ? 1000 : (deadline_us - loop->now_us) / 1000 + 1;
    wait_ms = wait_ms < 0 ? 0 : wait_ms > 1000 ? 1000 : wait_ms;
    MHD_UNSIGNED_LONG_LONG mhd_ms;
    if (loop->pending.n > 0) {
        wait_ms = wait_ms < PENDING_WAIT_MS ? wait_ms : PENDING_WAIT_MS;
    } else if (MHD_get_timeout(loop->daemon, &mhd_ms) == MHD_YES && mhd_ms < (uint64_t)wait_ms) {
        wait_ms = (int64_t)mhd_ms;
    }
    return (int)wait_ms;
}

static void loop_quiesce(struct http_loop *loop)
{
    int fd = MHD_quiesce_daemon(loop->daemon);
    if (fd >= 0) {
        close(fd);
    }
    atomic_store(&loop->quiesced, true); /* from here on this loop calls no handler */
}

static void loop_end(struct http_loop *loop)
{
    http_waits_complete(loop);
    http_waits_abandon(loop);
    /* One run takes what was resumed back in, the next asks for it and is told to close. */
    loop->in_run = true;
    MHD_run(loop->daemon);
    MHD_run(loop->daemon);
    MHD_stop_daemon(loop->daemon);
    loop->daemon = NULL;
    loop->in_run = false;
}

static void loop_done(struct http_loop *loop)
{
    if (loop->daemon != NULL) {
        MHD_stop_daemon(loop->daemon);
    }
    http_requests_free_kept(loop);
    if (loop->event_fd >= 0) {
        close(loop->event_fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
}
