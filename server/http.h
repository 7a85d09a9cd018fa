/* http: the HTTP server, and the only file that knows libmicrohttpd.
 *
 * It runs `threads` event loops, each a thread of its own that drives one libmicrohttpd daemon. A
 * request is handled on its loop's thread: the handler either replies before it returns, or calls
 * http_suspend, and whoever finishes the work calls http_resume from any thread; the continuation
 * then runs on the loop's thread and replies. Resumes of one batch cost one wake-up
 * (http_resume_all).
 *
 * It refuses what libmicrohttpd 0.9.75 lets through (DESIGN section 6) and enforces sizes and
 * deadlines before a handler sees the request. Requests belong to this module; a handler may use
 * one until it has replied and returned. */
#ifndef DAYBOOK_SERVER_HTTP_H
#define DAYBOOK_SERVER_HTTP_H

#include "storage/base/arena.h"
#include "storage/base/buf.h"

struct http;
struct http_request;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};

/* Why a request is refused before it reaches the handler; the refusal callback writes the problem
 * document. */
enum http_refusal {
    HTTP_REFUSE_FRAMING, /* 400 and close: ambiguous framing, control bytes, more than one Host */
    HTTP_REFUSE_BODY_TOO_LARGE,   /* 413 and close */
    HTTP_REFUSE_HEADER_TOO_LARGE, /* 431 and close */
    HTTP_REFUSE_TARGET,           /* 400: percent-encoding in the path or query is broken */
    HTTP_REFUSE_TARGET_TOO_LONG,  /* 414 and close */
    HTTP_REFUSE_BODY_TIMEOUT,     /* 408 and close */
    HTTP_REFUSE_OVERLOADED,       /* 503, Retry-After, and close: body_memory_max is used up */
    HTTP_REFUSE_STOPPING,         /* 503, Retry-After: the server drains */
};

/* Refusals "and close" come before the body was read: the response is written at once, and the rest
 * is dropped. */
struct http_options {
    const char *host; /* to listen on: an address or a name; "" or "*": all */
    unsigned port;    /* 0: any free one, see http_port */
    unsigned threads;
    unsigned connections_max;
    unsigned connections_per_address_max; /* 0: no limit */
    size_t header_bytes_max;
    size_t body_bytes_max;
    size_t body_memory_max; /* for the bodies that are arriving, over all connections */
    unsigned header_timeout_s, body_timeout_s, idle_timeout_s;
    /* Called on a loop's thread for every request with its whole body. */
    void (*handle)(struct http_request *rq, void *ctx);
    /* Called instead where a request is refused; must reply. `detail` says what was wrong. */
    void (*refuse)(struct http_request *rq, enum http_refusal why, const char *detail, void *ctx);
    /* Called when a response has been sent or the connection is gone (then status may be 0); for
     * logs and metrics. May be NULL. */
    void (*done)(struct http_request *rq, unsigned status, uint64_t response_bytes, void *ctx);
    /* Called on a loop's thread when a turn in which requests were suspended has handled all that
     * had come. What it resumes is answered at once, without a wake-up. May be NULL. */
    void (*end_turn)(void *ctx);
    void *ctx;
};

MUST_CHECK err_t http_start(const struct http_options *options, struct http **ret,
                            struct err_text *et);
/* No new connections; requests that arrive on old ones are refused with HTTP_REFUSE_STOPPING. When
 * it returns, no handler runs or will be called; continuations still are. Idempotent. Not on a
 * loop's thread. */
void http_drain(struct http *h);
/* Resumes and ends everything, joins the threads. The caller has stopped whoever resumes requests.
 * NULL is fine. */
void http_stop(struct http *h);
/* The port it listens on; open connections; requests being handled (not yet replied). Any
 * thread. */
unsigned http_port(const struct http *h);
unsigned http_connections(const struct http *h);
unsigned http_requests_active(const struct http *h);

/* ---- what came (borrowed until the reply) ---- */
enum http_method http_method(const struct http_request *rq);
/* The raw path as it came, without the query, NUL-terminated too; for logs. */
struct bytes http_raw_path(const struct http_request *rq);
/* Path segments, percent-decoded ("/v1/streams/a%2Fb/events" has 4: "v1", "streams", "a/b",
 * "events"). */
size_t http_path_segments(const struct http_request *rq);
struct bytes http_path_segment(const struct http_request *rq, size_t i);
/* Query parameters, percent-decoded ('+' is a space), in order, repeated ones kept. */
size_t http_query_count(const struct http_request *rq);
struct bytes http_query_name(const struct http_request *rq, size_t i);
struct bytes http_query_value(const struct http_request *rq, size_t i);
/* A request header by name (case-insensitive); the values of a repeated one are joined by ", ". .p
 * is NULL when absent. */
struct bytes http_header(struct http_request *rq, const char *name);
/* All of them, in order, repeated ones kept. */
size_t http_header_count(const struct http_request *rq);
struct bytes http_header_name(const struct http_request *rq, size_t i);
struct bytes http_header_value(const struct http_request *rq, size_t i);
struct bytes http_body(const struct http_request *rq);
/* The peer's address as text. */
const char *http_peer(const struct http_request *rq);
/* Microseconds (monotonic clock) at which the request's first bytes were seen. */
int64_t http_started_us(const struct http_request *rq);
/* Scratch memory for the handler, freed with the request. */
struct arena *http_arena(struct http_request *rq);
/* A pointer of the application's, kept with the request and passed to `free_ctx` (may be NULL) when
 * it is over. */
void http_set_context(struct http_request *rq, void *ctx, void (*free_ctx)(void *ctx));
void *http_context(const struct http_request *rq);
/* The route label for logs and metrics, a static string, and a number of the application's for it
 * (0 where it was not set). */
void http_set_route(struct http_request *rq, const char *route, unsigned number);
const char *http_route(const struct http_request *rq);
unsigned http_route_number(const struct http_request *rq);
/* Whether its answer was made at once and whole: it neither waited long nor was streamed, so that
 * how long it took says how fast the server is. */
bool http_is_short(const struct http_request *rq);

/* ---- the reply: headers first, then exactly one of the bodies; loop's thread only ---- */
/* The value is copied, the name is not. */
void http_reply_header(struct http_request *rq, const char *name, const char *value);
/* Takes the buf's memory (take_); content_type is copied and may be NULL for an empty body. HEAD
 * sends no body. */
void http_reply(struct http_request *rq, unsigned status, const char *content_type,
                struct buf *take_body);
/* A body of unknown length. `next` fills p[0..max) on the loop's thread and sets *ret_n (0: nothing
 * yet, ask again in the loop's next turn); ERR_END ends the body; any other error breaks the
 * connection, so that the client sees a cut body, never a complete one. `free_ctx` is always
 * called. */
typedef err_t (*http_next_fn)(void *ctx, uint8_t *p, size_t max, size_t *ret_n);
void http_reply_stream(struct http_request *rq, unsigned status, const char *content_type,
                       http_next_fn next, void (*free_ctx)(void *ctx), void *take_ctx);

/* ---- waiting ---- */
/* The handler returns without a reply; `resumed` runs on the loop's thread after http_resume. */
void http_suspend(struct http_request *rq, void (*resumed)(struct http_request *rq, void *ctx),
                  void *ctx);
/* The same for a wait that may be long: libmicrohttpd lets go of the connection at once, so that
 * until http_resume the socket may be watched (not read) by whoever will call that. */
void http_suspend_long(struct http_request *rq, void (*resumed)(struct http_request *rq, void *ctx),
                       void *ctx);
int http_socket(const struct http_request *rq);
/* Any thread, once per suspend; it may even come before the handler has returned. */
void http_resume(struct http_request *rq);
/* Resumes `n` requests, waking each loop once. The array is in another order afterwards, its
 * requests out of reach. */
void http_resume_all(struct http_request **rqs, size_t n);

/* ---- a response that another thread writes (http_detach.c) ---- */
/* Instead of a reply, on the loop's thread: composes status and headers. From here on the request
 * is its owner's, one thread, until http_detached_end; only the functions below may be called
 * for it, and http_socket, to watch the socket for room and for a hang-up. What the handler got
 * from the request (path, query, headers, arena, context) is gone when this returns. */
void http_detach(struct http_request *rq, unsigned status, const char *content_type);
/* Sends one block of the body, framed as the peer's HTTP version wants it, after the response's
 * header if that is not out yet. Never waits. *sent: where the block stands, 0 at first, for the
 * next call. An empty block: the header alone. ERR_FULL: call again with the same block when the
 * socket has room. ERR_CLOSED: the peer is gone. */
MUST_CHECK err_t http_detached_send(struct http_request *rq, struct bytes block, size_t *sent);
/* How many bytes the peer has acknowledged; `all` of those that were sent? */
uint64_t http_detached_acknowledged(const struct http_request *rq, bool *ret_all);
/* Ends the body, `whole` so that the peer sees a complete one, and gives the request back: the
 * connection is closed. The socket must not be watched any more. */
void http_detached_end(struct http_request *rq, bool whole);

#endif
