/* api_projection_stream: POST …/query as NDJSON: rows go out while the query runs.
 *
 * The happy path: a thread of the pool runs the query; rows gather in a buffer. As long as all fits
 * into one piece nothing is sent: then the answer is a whole one, with its length, on a connection
 * that stays, and whatever goes wrong is a problem with its status. When a piece is full, or the
 * first row has waited for a while, the request comes back to its loop once to be detached (http.h)
 * and from there on this thread writes to the socket, never waiting while the buffer has room.
 *
 * What else can happen:
 * - The client reads slowly. The buffer fills, then the query waits; but its time is limited
 *   (query-time-ms), since it holds one commit of the model and with it the write-ahead log. What
 *   is in the buffer when the query is over is left to the live thread, which can wait.
 * - The query fails after the first piece. The last line is the problem, as an object, instead of a
 *   row.
 * - The client goes away: seen by looking at the socket now and then; the query ends.
 *
 * A detached request has lost all that the handler got from it, so all that a query needs is copied
 * before, and belongs to the request's context until it is detached, then to the thread. */
#include "server/api_projection.h"
#include "server/json.h"
#include "server/router.h"

#include "storage/base/check.h"

#include <inttypes.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>

#define PIECE_BYTES   ((size_t)64 << 10)
#define BUFFER_BYTES  ((size_t)4 << 20)
#define PROBLEM_BYTES ((size_t)16 << 10)
#define FIRST_US      INT64_C(100000) /* a row waits no longer than this */
#define LOOK_MS       50
#define ARENA_CHUNK   4096

struct stream {
    struct job job;
    struct read_request read;
    struct arena arena;
    struct json_rows rows;
    sem_t detached;
    bool begun;    /* the thread's from then on */
    size_t piece;  /* bytes at the front of the buffer that are being sent */
    size_t sent;   /* of them, see http_detached_send */
    int64_t at_us; /* when rows were sent last, or began to gather */
};

static void stream_free(struct stream *s)
{
    buf_done(&s->job.body);
    arena_done(&s->arena);
    sem_destroy(&s->detached);
    free(s);
}

/* The request is over, or is being detached. */
static void release(void *ctx)
{
    struct stream *s = ctx;
    if (!s->begun) {
        stream_free(s);
    }
}

/* ---- sending ---- */

/* On the loop's thread, while the other one waits. */
static void detach(struct http_request *rq, struct job *job)
{
    struct stream *s = (struct stream *)job; /* its first member */
    s->begun = true;
    reply_position(rq, job->position);
    http_reply_header(rq, "Cache-Control", "no-store");
    http_reply_header(rq, "X-Accel-Buffering", "no");
    http_detach(rq, 200, negotiate_media_type(ENCODING_NDJSON));
    sem_post(&s->detached);
}

static void begin(struct stream *s)
{
    s->job.answer = JOB_DETACH;
    s->job.detach = detach;
    http_resume(s->job.rq);
    while (sem_wait(&s->detached) != 0) {
    }
}

static void drop_front(struct buf *b, size_t n)
{
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

/* ERR_FULL: the socket is. ERR_CLOSED: the client is gone. */
static err_t send_some(struct stream *s)
{
    struct buf *b = &s->job.body;
    while (b->n > 0) {
        s->piece = s->piece == 0 ? (b->n < PIECE_BYTES ? b->n : PIECE_BYTES) : s->piece;
        err_t err = http_detached_send(s->job.rq, bytes_of(b->p, s->piece), &s->sent);
        if (err != ERR_OK) {
            s->job.gone = s->job.gone || err == ERR_CLOSED;
            return err;
        }
        drop_front(b, s->piece);
        s->piece = s->sent = 0;
    }
    return ERR_OK;
}

/* Sends what the client takes. Waits only where the buffer is full, no longer than the query
 * may. */
static err_t pump(struct stream *s)
{
    if (!s->begun) {
        begin(s);
    }
    err_t err = send_some(s);
    while (err == ERR_FULL && s->job.body.n >= BUFFER_BYTES) {
        if (api_projection_is_over(&s->job)) {
            return ERR_CLOSED;
        }
        struct pollfd fd = {.fd = http_socket(s->job.rq), .events = POLLOUT | POLLRDHUP};
        (void)poll(&fd, 1, LOOK_MS);
        err = send_some(s);
    }
    s->at_us = workers_now_us();
    return err == ERR_FULL ? ERR_OK : err;
}

static bool is_due(const struct stream *s)
{
    return s->job.body.n >= PIECE_BYTES ||
           (s->job.body.n > 0 && workers_now_us() - s->at_us >= FIRST_US);
}

/* Also while SQLite looks for the next row. */
static bool is_over(void *ctx)
{
    struct stream *s = ctx;
    return api_projection_is_over(&s->job) || (is_due(s) && pump(s) != ERR_OK);
}

/* ---- rows ---- */

static err_t take_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    struct stream *s = ctx;
    s->job.position = position;
    s->at_us = workers_now_us();
    const struct query_sink sink = json_rows_sink(&s->rows);
    return sink.columns(sink.ctx, names, n, position);
}

static err_t take_row(void *ctx, const struct sql_value *values, unsigned n)
{
    struct stream *s = ctx;
    const struct query_sink sink = json_rows_sink(&s->rows);
    err_t err = sink.row(sink.ctx, values, n);
    return err == ERR_OK && is_due(s) ? pump(s) : err;
}

static err_t read_rows(struct job *job, struct reader *reader, uint64_t *ret_position,
                       struct err_text *et)
{
    struct stream *s = (struct stream *)job;
    s->rows = (struct json_rows){.b = &job->body, .lines = true};
    const struct query_sink sink = {take_columns, take_row, s};
    const struct model_query query = {.sql = s->read.query.sql,
                                      .arguments = s->read.query.arguments,
                                      .argument_count = s->read.query.argument_count,
                                      .rows_max = job->app->limits.query_rows_max,
                                      .bytes_max = job->app->limits.query_bytes_max,
                                      .cancelled = is_over,
                                      .cancel_ctx = s};
    return reader_query(reader, &query, &sink, ret_position, et);
}

/* ---- the end ---- */

/* What went wrong, as the last line. */
static void put_problem(struct stream *s)
{
    struct job *job = &s->job;
    bool is_error = job->answer == JOB_ERROR;
    enum problem problem = is_error ? reply_problem_of(job->error) : job->problem;
    const char *detail = is_error ? err_describe(job->error) : job->detail;
    reply_put_problem(&job->body, problem, &(struct problem_extra){.detail = detail});
    buf_put_byte(&job->body, '\n');
}

/* The live thread sends what the socket does not take now. */
static void finish(struct job *job)
{
    struct stream *s = (struct stream *)job;
    struct http_request *rq = job->rq;
    err_t err = job->gone || buf_status(&job->body) != ERR_OK ? ERR_CLOSED : send_some(s);
    if (err == ERR_FULL) {
        struct live_rest rest = {.rq = rq, .sent = s->sent};
        buf_init(&rest.piece, PIECE_BYTES * 2);
        buf_init(&rest.rest, job->body.n + 1);
        buf_put(&rest.piece, bytes_of(job->body.p, s->piece));
        buf_put(&rest.rest, bytes_of(job->body.p + s->piece, job->body.n - s->piece));
        err = live_send_rest(job->app->live, &rest);
        if (err == ERR_OK) {
            stream_free(s);
            return;
        }
        buf_done(&rest.piece);
        buf_done(&rest.rest);
    }
    http_detached_end(rq, err == ERR_OK);
    stream_free(s);
}

/* The reader is given back before anything more is sent: the model is not held by who reads. */
static void run(struct job *job)
{
    struct stream *s = (struct stream *)job;
    api_projection_run_read(job);
    if (!s->begun) {
        return; /* answered whole, like any job */
    }
    job->finish = finish;
    if (job->answer != JOB_DETACH && !job->gone) {
        put_problem(s);
    }
}

/* ---- the request ---- */

static struct stream *stream_new(struct http_request *rq, struct app *app,
                                 const struct read_request *read)
{
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->read = *read;
    s->read.read = read_rows;
    s->job = (struct job){.rq = rq,
                          .app = app,
                          .ctx = &s->read,
                          .status = 200,
                          .encoding = ENCODING_NDJSON,
                          .run = run};
    sem_init(&s->detached, 0, 0);
    buf_init(&s->job.body, 1);
    arena_init(&s->arena, ARENA_CHUNK, app->limits.body_bytes_max * 2 + PROBLEM_BYTES);
    return s;
}

void api_projection_stream(struct http_request *rq, struct app *app,
                           const struct read_request *read)
{
    struct stream *s = stream_new(rq, app, read);
    struct bytes body = http_body(rq);
    if (s == NULL || arena_copy(&s->arena, body, &body) != ERR_OK) {
        if (s != NULL) {
            stream_free(s);
        }
        reply_error(rq, ERR_MEMORY, "taking the query");
        return;
    }
    http_set_context(rq, s, release);
    if (api_projection_read_query(rq, body, &s->arena, &s->read)) {
        api_projection_submit_job(&s->job);
    }
}
