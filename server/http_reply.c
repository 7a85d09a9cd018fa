/* http_reply: responses, through libmicrohttpd or, where it would not take one, straight to the
 * socket. */
#include "server/http_int.h"

#include "storage/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

/* Only for HTTP/1.0 clients; else libmicrohttpd fills its own buffer, most of the connection's
 * memory. */
#define STREAM_BLOCK_BYTES ((size_t)16 << 10)
#define RAW_BYTES_MAX      ((size_t)64 << 10)

static void queue(struct http_request *rq, struct MHD_Response *response);
static void send_raw(struct http_request *rq, struct bytes body);
static ssize_t read_stream(void *cls, uint64_t position, char *p, size_t max);

/* Most replies have few; a CloudEvent in binary mode has one for each attribute. */
static bool has_room(struct http_request *rq)
{
    if (rq->reply_header_count < rq->reply_header_cap) {
        return true;
    }
    bool first = rq->reply_header_cap == 0;
    struct header *more =
        first ? rq->reply_headers_inline
              : arena_alloc(&rq->arena, REPLY_HEADERS_MAX * sizeof *rq->reply_headers);
    if (more == NULL) {
        return false;
    }
    if (!first) {
        memcpy(more, rq->reply_headers, rq->reply_header_count * sizeof *more);
    }
    rq->reply_headers = more;
    rq->reply_header_cap = first ? REPLY_HEADERS_INLINE : REPLY_HEADERS_MAX;
    return true;
}

void http_reply_header(struct http_request *rq, const char *name, const char *value)
{
    CHECK(rq->status == STATUS_NOT_REPLIED);
    CHECK(rq->reply_header_count < REPLY_HEADERS_MAX);
    struct bytes copy;
    if (!has_room(rq) ||
        arena_copy(&rq->arena, bytes_of(value, strlen(value) + 1), &copy) != ERR_OK) {
        http_reply_failed(rq);
        return;
    }
    rq->reply_headers[rq->reply_header_count++] =
        (struct header){bytes_of_string(name), bytes_of(copy.p, copy.n - 1)};
}

void http_reply(struct http_request *rq, unsigned status, const char *content_type,
                struct buf *take_body)
{
    size_t n = 0;
    uint8_t *p = take_body == NULL ? NULL : buf_take(take_body, &n);
    http_reply_begin(rq, status, content_type);
    if (rq->mhd == NULL || rq->raw || rq->dead) {
        if (rq->raw && !rq->dead) {
            send_raw(rq, bytes_of(p, n));
        }
        free(p);
        return;
    }
    rq->response_bytes = rq->method == HTTP_HEAD ? 0 : n;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        n, p, p == NULL ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(p);
        http_reply_failed(rq);
        return;
    }
    queue(rq, response);
}

void http_reply_stream(struct http_request *rq, unsigned status, const char *content_type,
                       http_next_fn next, void (*free_ctx)(void *ctx), void *take_ctx)
{
    CHECK(!rq->raw);
    rq->next_block = next;
    rq->stream_free = free_ctx; /* with the request, which outlives the stream */
    rq->stream_ctx = take_ctx;
    http_reply_begin(rq, status, content_type);
    if (rq->mhd == NULL || rq->dead) {
        return;
    }
    /* To HEAD libmicrohttpd 0.9.75 would send the last chunk of a body that is not there. */
    struct MHD_Response *response =
        rq->method == HTTP_HEAD ? MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT)
                                : MHD_create_response_from_callback(
                                      MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, rq, NULL);
    if (response == NULL) {
        http_reply_failed(rq);
        return;
    }
    queue(rq, response);
}

void http_reply_failed(struct http_request *rq)
{
    rq->dead = true;
    if (rq->conn != NULL) {
        shutdown(rq->conn->fd, SHUT_RDWR);
    }
}

void http_reply_begin(struct http_request *rq, unsigned status, const char *content_type)
{
    CHECK(rq->status == STATUS_NOT_REPLIED && status >= 200 && status <= 599);
    if (content_type != NULL) {
        http_reply_header(rq, "Content-Type", content_type);
    }
    rq->status = status;
    if (rq->stage == STAGE_HANDLED) {
        atomic_fetch_sub_explicit(&rq->loop->active, 1, memory_order_relaxed);
    }
}

/* Takes the response. */
static void queue(struct http_request *rq, struct MHD_Response *response)
{
    struct http_loop *loop = rq->loop;
    bool ok = true;
    for (size_t i = 0; i < rq->reply_header_count; i++) {
        const struct header *h = &rq->reply_headers[i];
        ok = ok && MHD_add_response_header(response, (const char *)h->name.p,
                                           (const char *)h->value.p) == MHD_YES;
    }
    if (atomic_load_explicit(&loop->http->draining, memory_order_relaxed)) {
        ok = ok && MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    }
    if (loop->in_run) {
        loop->unsent++;
        rq->reply_turn = loop->turn;
    }
    /* Outside of its callbacks libmicrohttpd goes on with the connection here and may even end
     * it. */
    ok = ok && MHD_queue_response(rq->mhd, rq->status, response) == MHD_YES;
    MHD_destroy_response(response);
    if (!ok) {
        http_reply_failed(rq);
    }
}

static void put_date(struct buf *b)
{
    char text[64];
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL &&
        strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm) > 0) {
        buf_put_string(b, text);
    }
}

void http_reply_put_head(struct http_request *rq, struct buf *b)
{
    buf_put_format(b, "HTTP/1.1 %u %s\r\nConnection: close\r\n", rq->status,
                   MHD_get_reason_phrase_for(rq->status));
    put_date(b);
    for (size_t i = 0; i < rq->reply_header_count; i++) {
        const struct header *h = &rq->reply_headers[i];
        buf_put_format(b, "%.*s: %.*s\r\n", BYTES_ARGS(h->name), BYTES_ARGS(h->value));
    }
}

/* What does not fit into the socket's buffer is lost; that is no more than a few hundred bytes to a
 * peer that has sent a bad request. */
static void send_raw(struct http_request *rq, struct bytes body)
{
    struct buf b;
    buf_init(&b, RAW_BYTES_MAX);
    http_reply_put_head(rq, &b);
    buf_put_format(&b, "Content-Length: %zu\r\n\r\n", body.n);
    if (rq->method != HTTP_HEAD) {
        buf_put(&b, body);
        rq->response_bytes = body.n;
    }
    if (buf_status(&b) == ERR_OK) {
        (void)!send(rq->conn->fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    buf_done(&b);
    shutdown(rq->conn->fd, SHUT_WR);
}

static ssize_t read_stream(void *cls, uint64_t position, char *p, size_t max)
{
    struct http_request *rq = cls;
    (void)position;
    rq->loop->busy = true;
    size_t n = 0;
    err_t err = rq->next_block(rq->stream_ctx, (uint8_t *)p, max, &n);
    if (err == ERR_END) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (err != ERR_OK) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    CHECK(n <= max); /* 0: nothing yet; libmicrohttpd asks again in the next turn */
    rq->response_bytes += n;
    return (ssize_t)n;
}
