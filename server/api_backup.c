/* api_backup: POST /v1/admin/backup: a consistent copy of the log, while everything goes on.
 *
 * One at a time, on a thread of its own, which gives way to the others: it reads the log through
 * short views, packs, and writes to the socket of its detached request. A client that takes nothing
 * holds up nobody but the next backup, and not for longer than idle-timeout-s. */
#include "server/api_backup.h"

#include "server/app.h"
#include "server/backup.h"
#include "server/log.h"
#include "server/query.h"
#include "server/reply.h"
#include "server/router.h"
#include "storage/copy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define OUT_BYTES_MAX ((size_t)400 << 20)
#define NICENESS      10
#define POLL_MS       100

struct backup {
    struct http_request *rq;
    struct store *store;
    int64_t idle_us;
    struct backup_writer writer;
    struct buf out;
    uint64_t target; /* it is at least up to there */
    uint64_t bytes;
};

/* Of the one backup; all under the mutex. */
static struct {
    pthread_mutex_t mutex;
    pthread_t thread;
    bool joinable, running, stopped;
} one = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool is_stopped(void)
{
    pthread_mutex_lock(&one.mutex);
    bool stopped = one.stopped;
    pthread_mutex_unlock(&one.mutex);
    return stopped;
}

/* ---- its thread ---- */

/* Waits until the socket has room; not for longer than it may after `since_us`. */
static err_t wait_for_room(const struct backup *b, int64_t since_us)
{
    struct pollfd fd = {.fd = http_socket(b->rq), .events = POLLOUT};
    while (poll(&fd, 1, POLL_MS) != 1) {
        if (is_stopped() || clock_us(CLOCK_MONOTONIC) - since_us > b->idle_us) {
            return ERR_CLOSED;
        }
    }
    return ERR_OK;
}

/* Sends what is in `out`, at the client's pace, and leaves room for what ends a body. */
static err_t send_out(struct backup *b)
{
    size_t sent = 0;
    err_t err = buf_status(&b->out);
    while (err == ERR_OK &&
           (err = http_detached_send(b->rq, buf_bytes(&b->out), &sent)) == ERR_FULL) {
        err = wait_for_room(b, clock_us(CLOCK_MONOTONIC));
    }
    b->bytes += b->out.n;
    buf_clear(&b->out);
    return err == ERR_OK ? wait_for_room(b, clock_us(CLOCK_MONOTONIC)) : err;
}

/* The last frame is the one up to which nothing that it may have left out is missing. */
static bool is_complete(const struct backup *b)
{
    uint64_t position = b->writer.position;
    uint64_t needed = copy_needs(b->store, b->target);
    return position >= needed || position == store_position(b->store);
}

static err_t send_frame(struct backup *b)
{
    uint64_t reached;
    err_t err = copy_records(b->store, b->writer.position, BACKUP_FRAME_BYTES, &b->writer.records,
                             &reached);
    if (err != ERR_OK) {
        log_line(LOG_LEVEL_ERROR, "backup: an event cannot be read",
                 log_number("position", (int64_t)reached + 1), log_text("error", err_name(err)));
        return err;
    }
    if (reached > b->writer.position) {
        backup_put_frame(&b->writer, reached, &b->out);
    }
    return send_out(b);
}

static err_t run(struct backup *b)
{
    uint8_t id[UUID_BYTES];
    store_id(b->store, id);
    backup_begin(&b->writer, id, clock_us(CLOCK_REALTIME), &b->out);
    err_t err = send_out(b);
    while (err == ERR_OK && !is_complete(b)) {
        err = is_stopped() ? ERR_CLOSED : send_frame(b);
    }
    if (err == ERR_OK) {
        backup_put_end(&b->writer, copy_clock_us(b->store), &b->out);
        err = send_out(b);
    }
    return err;
}

static void *backup_main(void *arg)
{
    struct backup *b = arg;
    pthread_setname_np(pthread_self(), "backup");
    (void)!nice(NICENESS); /* of this thread alone, on Linux */
    int64_t began_us = clock_us(CLOCK_MONOTONIC);
    err_t err = run(b);
    log_line(err == ERR_OK ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "backup",
             log_number("position", (int64_t)b->writer.position),
             log_number("bytes", (int64_t)b->bytes),
             log_number("ms", (clock_us(CLOCK_MONOTONIC) - began_us) / 1000),
             log_text("result", err == ERR_OK ? "ok" : err_name(err)));
    /* Who has the end may begin the next one. */
    pthread_mutex_lock(&one.mutex);
    one.running = false;
    pthread_mutex_unlock(&one.mutex);
    http_detached_end(b->rq, err == ERR_OK);
    backup_writer_done(&b->writer);
    buf_done(&b->out);
    free(b);
    return NULL;
}

/* ---- the request ---- */

/* Detaches the request where it can begin: the thread may be done before this returns. */
static err_t start(struct backup *b)
{
    pthread_mutex_lock(&one.mutex);
    err_t err = one.stopped ? ERR_CLOSED : one.running ? ERR_BUSY : ERR_OK;
    if (err == ERR_OK && one.joinable) {
        pthread_join(one.thread, NULL); /* it has nothing left to do */
        one.joinable = false;
    }
    if (err == ERR_OK) {
        reply_position(b->rq, b->target);
        http_reply_header(b->rq, "Cache-Control", "no-store");
        http_detach(b->rq, 200, BACKUP_MEDIA_TYPE);
        one.running = one.joinable = pthread_create(&one.thread, NULL, backup_main, b) == 0;
        if (!one.running) {
            http_detached_end(b->rq, false);
            err = ERR_MEMORY;
        }
    }
    pthread_mutex_unlock(&one.mutex);
    return err;
}

void api_backup(struct http_request *rq, struct app *app)
{
    const struct query_parameter none[] = {{0}};
    if (!query_read(rq, none)) {
        return;
    }
    struct backup *b = calloc(1, sizeof *b);
    if (b == NULL) {
        reply_error(rq, ERR_MEMORY, "starting the backup");
        return;
    }
    *b = (struct backup){.rq = rq,
                         .store = app->store,
                         .idle_us = (int64_t)app->idle_timeout_s * 1000000,
                         .target = store_position(app->store)};
    buf_init(&b->out, OUT_BYTES_MAX);
    err_t err = start(b);
    if (err == ERR_OK) {
        return;
    }
    free(b);
    if (err == ERR_BUSY) {
        reply_problem_detail(rq, PROBLEM_OVERLOADED, NULL, "a backup is running already");
    } else if (err == ERR_CLOSED) {
        reply_problem(rq, PROBLEM_SHUTTING_DOWN, NULL);
    }
}

void api_backup_stop(void)
{
    pthread_mutex_lock(&one.mutex);
    one.stopped = true;
    bool join = one.joinable;
    one.joinable = false;
    pthread_mutex_unlock(&one.mutex);
    if (join) {
        pthread_join(one.thread, NULL);
    }
}
