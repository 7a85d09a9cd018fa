/* http_request: the way of a request: request line, header, body, handler, completion.
 *
 * libmicrohttpd calls http_on_request_line once it has the target; http_on_request once with the
 * header, then for each piece of the body, then once more when all has come (and again at every
 * turn while the request is pending); http_on_completed when the response was sent or the
 * connection is gone. A refusal before the end of the body is written to the socket by ourselves,
 * because libmicrohttpd takes no response while it reads a body, and closes without reading the
 * rest when it is given one earlier, so that the peer would see a reset instead of the answer. */
#include "server/http_int.h"

#include "storage/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define REQUESTS_KEPT_MAX  256
#define BODY_BYTES_KEPT    ((size_t)64 << 10)
#define ARENA_CHUNK_BYTES  ((size_t)8 << 10)
#define SHRUNK_ARENA_BYTES ((size_t)64)
#define HEAD_BYTES_MAX     ((size_t)16 << 10)

static struct http_request *request_new(struct http_loop *loop, struct conn *c);
static enum MHD_Result on_header(struct http_request *rq, const char *method, const char *version);
static enum MHD_Result on_body(struct http_request *rq, const char *data, size_t n);
static enum MHD_Result on_complete(struct http_request *rq);
static enum MHD_Result refuse_early(struct http_request *rq, enum http_refusal why,
                                    const char *detail);

void *http_on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct http_loop *loop = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *c = info == NULL ? NULL : info->socket_context;
    struct http_request *rq = c == NULL ? NULL : request_new(loop, c);
    if (rq == NULL) {
        return NULL; /* http_on_request closes it */
    }
    c->rq = loop->newest = rq;
    rq->uri = uri;
    rq->uri_bytes = strlen(uri);
    struct bytes target;
    if (arena_copy(&rq->arena, bytes_of(uri, rq->uri_bytes), &target) != ERR_OK) {
        rq->dead = true;
        return rq;
    }
    rq->raw_target = target.p;
    if (http_target_parse(&rq->arena, target, &rq->target, &rq->target_fault) == ERR_MEMORY) {
        rq->dead = true;
    }
    /* Next, libmicrohttpd takes the query apart into its own memory, for nothing, and loses its way
     * when there are more parameters than fit. The buffer is its own and writable: leave it
     * none. */
    char *question = strchr(uri, '?');
    if (question != NULL && question[1] != '\0') {
        question[1] = '\0';
    }
    return rq;
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_bytes, void **request)
{
    struct http_request *rq = *request;
    (void)cls;
    (void)mhd;
    (void)url;
    if (rq == NULL || rq->dead) {
        return MHD_NO;
    }
    size_t n = *data_bytes;
    *data_bytes = 0;
    switch (rq->stage) {
    case STAGE_HEADER:
        return on_header(rq, method, version);
    case STAGE_BODY:
        return n > 0 ? on_body(rq, data, n) : on_complete(rq);
    case STAGE_DISCARDING:
        return n > 0 ? MHD_YES : MHD_NO;
    case STAGE_HANDLED:
        break;
    }
    return MHD_YES; /* pending */
}

void http_on_completed(void *cls, struct MHD_Connection *mhd, void **request,
                       enum MHD_RequestTerminationCode why)
{
    struct http_loop *loop = cls;
    struct http_request *rq = *request;
    *request = NULL;
    if (rq == NULL) {
        return;
    }
    if (rq->reply_turn == loop->turn) {
        loop->unsent--;
    }
    if (rq->status == STATUS_NOT_REPLIED && rq->stage != STAGE_HANDLED) {
        /* A refusal of libmicrohttpd's own. */
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
        rq->status = info == NULL ? STATUS_NOT_REPLIED : info->http_status;
    }
    rq->conn->rq = NULL;
    http_conn_wait(rq->conn,
                   why == MHD_REQUEST_TERMINATED_COMPLETED_OK ? WAIT_NEXT_HEADER : WAIT_NOTHING);
    if (rq->in_call || rq->waiting != WAITING_NOT) {
        http_headers_keep(rq);
        struct bytes peer;
        rq->peer = arena_copy(&rq->arena, bytes_of(rq->peer, strlen(rq->peer) + 1), &peer) == ERR_OK
                       ? (const char *)peer.p
                       : "unknown";
        rq->conn = NULL;
        rq->mhd = NULL;
        return;
    }
    http_request_free(rq);
}

/* Whether libmicrohttpd has the whole header and is about to ask for the first time. */
static bool is_being_judged(const struct http_request *rq)
{
    return rq != NULL && rq->stage == STAGE_HEADER &&
           MHD_get_connection_info(rq->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE) != NULL;
}

/* Whether libmicrohttpd's memory for the connection is used up; what is put in is never looked
 * at. */
static bool is_full(const struct http_request *rq)
{
    return rq != NULL && rq->stage == STAGE_HEADER &&
           MHD_set_connection_value(rq->mhd, MHD_COOKIE_KIND, "", "") == MHD_NO;
}

/* libmicrohttpd answers a bad Content-Length by itself, before it asks us, and with a header that
 * is there twice; likewise a header that does not fit into its memory. It logs the error first, so
 * here is the moment to answer with a problem document and to close its way. */
void http_on_log(void *cls, const char *format, va_list args)
{
    struct http_loop *loop = cls;
    (void)format;
    (void)args;
    if (is_full(loop->newest)) {
        http_refuse_raw(loop->newest, HTTP_REFUSE_HEADER_TOO_LARGE,
                        "the header does not fit into header-bytes-max");
        return;
    }
    for (int what = WAIT_FIRST_HEADER; what <= WAIT_NEXT_HEADER; what++) {
        /* The newest first: most headers come in one piece. */
        for (struct conn *c = loop->waits[what].tail; c != NULL; c = c->prev) {
            if (is_being_judged(c->rq)) {
                http_refuse_raw(c->rq, HTTP_REFUSE_FRAMING,
                                "Content-Length is not a decimal number, or a very large one");
                return;
            }
        }
    }
}

/* Writes the refusal to the socket and sees to it that the connection ends. */
void http_refuse_raw(struct http_request *rq, enum http_refusal why, const char *detail)
{
    const struct http_options *o = &rq->loop->http->options;
    rq->raw = true;
    rq->stage = STAGE_DISCARDING;
    http_conn_wait(rq->conn, WAIT_LINGER);
    o->refuse(rq, why, detail, o->ctx);
    CHECK(rq->status != STATUS_NOT_REPLIED);
}

void http_request_free(struct http_request *rq)
{
    struct http_loop *loop = rq->loop;
    const struct http_options *o = &loop->http->options;
    if (o->done != NULL) {
        o->done(rq, rq->status, rq->response_bytes, o->ctx);
    }
    atomic_fetch_sub(&loop->http->body_bytes, rq->body_counted);
    rq->body_counted = 0;
    buf_done(&rq->head);
    if (rq->stream_free != NULL) {
        rq->stream_free(rq->stream_ctx);
    }
    if (rq->context_free != NULL) {
        rq->context_free(rq->context);
    }
    loop->requests--;
    loop->newest = loop->newest == rq ? NULL : loop->newest;
    if (loop->free_count >= REQUESTS_KEPT_MAX) {
        arena_done(&rq->arena);
        buf_done(&rq->body);
        free(rq);
        return;
    }
    if (rq->arena.chunk_bytes == ARENA_CHUNK_BYTES) {
        arena_reset(&rq->arena);
    } else {
        arena_done(&rq->arena);
        rq->arena.chunk_bytes = ARENA_CHUNK_BYTES;
    }
    if (rq->body.cap > BODY_BYTES_KEPT) {
        buf_done(&rq->body);
    }
    rq->next_free = loop->free_requests;
    loop->free_requests = rq;
    loop->free_count++;
}

void http_requests_free_kept(struct http_loop *loop)
{
    struct http_request *rq = loop->free_requests;
    while (rq != NULL) {
        struct http_request *next = rq->next_free;
        arena_done(&rq->arena);
        buf_done(&rq->body);
        free(rq);
        rq = next;
    }
    loop->free_requests = NULL;
    loop->free_count = 0;
}

static size_t arena_max(const struct http_loop *loop)
{
    return 4 * loop->http->options.body_bytes_max + ((size_t)1 << 20);
}

void http_request_shrink(struct http_request *rq)
{
    struct arena small;
    arena_init(&small, SHRUNK_ARENA_BYTES, arena_max(rq->loop));
    struct bytes path = http_raw_path(rq);
    if (arena_copy(&small, path, &path) != ERR_OK) {
        path = BYTES_NONE;
    }
    rq->target = (struct http_target){.path = path};
    rq->header_count = rq->reply_header_count = rq->reply_header_cap = 0;
    buf_done(&rq->body);
    if (rq->context_free != NULL) {
        rq->context_free(rq->context);
    }
    rq->context_free = NULL;
    arena_done(&rq->arena);
    rq->arena = small;
}

static struct http_request *request_new(struct http_loop *loop, struct conn *c)
{
    const struct http_options *o = &loop->http->options;
    struct http_request *rq = loop->free_requests;
    if (rq != NULL) {
        loop->free_requests = rq->next_free;
        loop->free_count--;
    } else {
        rq = malloc(sizeof *rq);
        if (rq == NULL) {
            return NULL;
        }
        arena_init(&rq->arena, ARENA_CHUNK_BYTES, arena_max(loop));
        buf_init(&rq->body, o->body_bytes_max);
    }
    buf_clear(&rq->body);
    *rq = (struct http_request){.loop = loop,
                                .conn = c,
                                .mhd = c->mhd,
                                .arena = rq->arena,
                                .body = rq->body,
                                .head = {.max = HEAD_BYTES_MAX},
                                .method = HTTP_OTHER,
                                .started_us = loop->now_us,
                                .peer = c->peer,
                                .route = ""};
    loop->requests++;
    return rq;
}

static enum http_method method_of(const char *text)
{
    static const struct {
        const char *text;
        enum http_method method;
    } methods[] = {
        {"GET", HTTP_GET},         {"POST", HTTP_POST},   {"HEAD", HTTP_HEAD},
        {"PUT", HTTP_PUT},         {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
        {"OPTIONS", HTTP_OPTIONS},
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(text, methods[i].text) == 0) {
            return methods[i].method;
        }
    }
    return HTTP_OTHER;
}

static enum MHD_Result on_header(struct http_request *rq, const char *method, const char *version)
{
    const struct http *h = rq->loop->http;
    rq->stage = STAGE_BODY;
    rq->method = method_of(method);
    rq->is_http10 = strcmp(version, "HTTP/1.0") == 0;
    const char *fault = http_framing_fault(rq, method, version);
    if (fault != NULL) {
        return refuse_early(rq, HTTP_REFUSE_FRAMING, fault);
    }
    if (rq->uri_bytes > h->options.header_bytes_max) {
        return refuse_early(rq, HTTP_REFUSE_TARGET_TOO_LONG,
                            "the request target is longer than header-bytes-max");
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(rq->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info == NULL || info->header_size > h->options.header_bytes_max) {
        return refuse_early(rq, HTTP_REFUSE_HEADER_TOO_LARGE,
                            "the request line and header are longer than header-bytes-max");
    }
    if (rq->content_length > h->options.body_bytes_max) {
        return refuse_early(rq, HTTP_REFUSE_BODY_TOO_LARGE,
                            "Content-Length is over body-bytes-max");
    }
    if (atomic_load_explicit(&h->draining, memory_order_relaxed)) {
        return refuse_early(rq, HTTP_REFUSE_STOPPING, NULL);
    }
    http_conn_wait(rq->conn, rq->chunked || rq->content_length > 0 ? WAIT_BODY : WAIT_NOTHING);
    return MHD_YES;
}

/* Small bodies are covered by the number of connections; large ones share a budget. */
static bool take_body_memory(struct http_request *rq, size_t wanted)
{
    struct http *h = rq->loop->http;
    if (wanted <= BODY_BYTES_KEPT || wanted <= rq->body_counted) {
        return true;
    }
    size_t more = wanted - rq->body_counted;
    if (atomic_fetch_add(&h->body_bytes, more) + more > h->options.body_memory_max) {
        atomic_fetch_sub(&h->body_bytes, more);
        return false;
    }
    rq->body_counted = wanted;
    return true;
}

static enum MHD_Result on_body(struct http_request *rq, const char *data, size_t n)
{
    rq->loop->busy = rq->chunked || rq->body.n + n < rq->content_length;
    if (n > rq->body.max - rq->body.n) {
        http_refuse_raw(rq, HTTP_REFUSE_BODY_TOO_LARGE, "the body is over body-bytes-max");
        return MHD_YES;
    }
    if (!take_body_memory(rq, rq->body.n + n)) {
        http_refuse_raw(rq, HTTP_REFUSE_OVERLOADED, "too many large bodies are arriving");
        return MHD_YES;
    }
    if (rq->body.n == 0 && rq->content_length > n) {
        /* As much as was announced, but what is only announced gets little. */
        (void)buf_reserve(&rq->body, rq->content_length < BODY_BYTES_KEPT
                                         ? (size_t)rq->content_length
                                         : BODY_BYTES_KEPT);
    }
    buf_put(&rq->body, bytes_of(data, n));
    return buf_status(&rq->body) == ERR_OK ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_complete(struct http_request *rq)
{
    const struct http_options *o = &rq->loop->http->options;
    rq->stage = STAGE_HANDLED;
    http_conn_wait(rq->conn, WAIT_NOTHING);
    atomic_fetch_add_explicit(&rq->loop->active, 1, memory_order_relaxed);
    rq->in_call = true;
    if (rq->target_fault != NULL) {
        o->refuse(rq, HTTP_REFUSE_TARGET, rq->target_fault, o->ctx);
    } else if (atomic_load_explicit(&rq->loop->quiesced, memory_order_relaxed)) {
        o->refuse(rq, HTTP_REFUSE_STOPPING, NULL, o->ctx);
    } else {
        o->handle(rq, o->ctx);
    }
    rq->in_call = false;
    CHECK(rq->waiting != WAITING_NOT || rq->status != STATUS_NOT_REPLIED);
    /* One that waits may be another thread's already: nothing else of it is looked at. */
    return rq->waiting == WAITING_NOT && rq->dead ? MHD_NO : MHD_YES;
}

/* MHD_YES lets the rest of the body come, to be dropped (or, where there is none, calls again at
 * once, and that ends the connection). Who waits for "100 Continue" sends none. */
static enum MHD_Result refuse_early(struct http_request *rq, enum http_refusal why,
                                    const char *detail)
{
    http_refuse_raw(rq, why, detail);
    return rq->expects_continue ? MHD_NO : MHD_YES;
}

/* ---- what came ---- */

enum http_method http_method(const struct http_request *rq)
{
    return rq->method;
}

struct bytes http_raw_path(const struct http_request *rq)
{
    return rq->target.path.p == NULL ? BYTES_LITERAL("") : rq->target.path;
}

size_t http_path_segments(const struct http_request *rq)
{
    return rq->target.segment_count;
}

struct bytes http_path_segment(const struct http_request *rq, size_t i)
{
    CHECK(i < rq->target.segment_count);
    return rq->target.segments[i];
}

size_t http_query_count(const struct http_request *rq)
{
    return rq->target.parameter_count;
}

struct bytes http_query_name(const struct http_request *rq, size_t i)
{
    CHECK(i < rq->target.parameter_count);
    return rq->target.parameters[i].name;
}

struct bytes http_query_value(const struct http_request *rq, size_t i)
{
    CHECK(i < rq->target.parameter_count);
    return rq->target.parameters[i].value;
}

static bool joins(struct http_request *rq, struct bytes *a, struct bytes b)
{
    uint8_t *p = arena_alloc(&rq->arena, a->n + 2 + b.n);
    if (p == NULL) {
        return false;
    }
    memcpy(p, a->p, a->n);
    memcpy(p + a->n, ", ", 2);
    memcpy(p + a->n + 2, b.p, b.n);
    *a = bytes_of(p, a->n + 2 + b.n);
    return true;
}

struct bytes http_header(struct http_request *rq, const char *name)
{
    struct bytes found = BYTES_NONE;
    size_t n = strlen(name);
    for (size_t i = 0; i < rq->header_count; i++) {
        const struct header *h = &rq->headers[i];
        if (h->name.n != n || strncasecmp((const char *)h->name.p, name, n) != 0) {
            continue;
        }
        if (found.p == NULL) {
            found = h->value;
        } else if (!joins(rq, &found, h->value)) {
            break;
        }
    }
    return found;
}

size_t http_header_count(const struct http_request *rq)
{
    return rq->header_count;
}

struct bytes http_header_name(const struct http_request *rq, size_t i)
{
    CHECK(i < rq->header_count);
    return rq->headers[i].name;
}

struct bytes http_header_value(const struct http_request *rq, size_t i)
{
    CHECK(i < rq->header_count);
    return rq->headers[i].value;
}

struct bytes http_body(const struct http_request *rq)
{
    return buf_bytes(&rq->body);
}

const char *http_peer(const struct http_request *rq)
{
    return rq->peer;
}

int64_t http_started_us(const struct http_request *rq)
{
    return rq->started_us;
}

struct arena *http_arena(struct http_request *rq)
{
    return &rq->arena;
}

void http_set_context(struct http_request *rq, void *ctx, void (*free_ctx)(void *ctx))
{
    rq->context = ctx;
    rq->context_free = free_ctx;
}

void *http_context(const struct http_request *rq)
{
    return rq->context;
}

void http_set_route(struct http_request *rq, const char *route, unsigned number)
{
    rq->route = route;
    rq->route_number = number;
}

unsigned http_route_number(const struct http_request *rq)
{
    return rq->route_number;
}

bool http_is_short(const struct http_request *rq)
{
    return !rq->waited_long && rq->next_block == NULL;
}

const char *http_route(const struct http_request *rq)
{
    return rq->route;
}
