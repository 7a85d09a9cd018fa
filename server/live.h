/* live: everything that waits for new events: streams that follow, and long polls. One thread, the
 * live thread, owns them all; while they wait they cost memory and nothing else.
 *
 * live_follow and live_wait are called on loops' threads. The live thread reads the store through
 * short views, writes to the sockets of detached requests, and resumes polls; it never holds a view
 * while it waits and never waits for a peer. */
#ifndef DAYBOOK_SERVER_LIVE_H
#define DAYBOOK_SERVER_LIVE_H

#include "server/http.h"
#include "server/negotiate.h"
#include "storage/store.h"

struct feed;
struct live;
struct projection;
struct workers;

struct live_options {
    struct store *store;
    struct feed *feed;
    unsigned heartbeat_s;    /* at least this often something is sent */
    unsigned idle_timeout_s; /* a peer that takes nothing for so long is dropped */
};

MUST_CHECK err_t live_start(const struct live_options *options, struct live **ret);
/* Ends every stream whole where that is possible, resumes every poll, joins the thread; what comes
 * later is refused (ERR_CLOSED). NULL is fine. */
void live_stop(struct live *l);
/* After live_stop, once nobody publishes to the feed any more. NULL is fine. */
void live_free(struct live *l);

/* Streams and polls that the live thread has. Any thread. */
size_t live_count(struct live *l);
/* How many positions the slowest stream that follows the log is behind `position`. Any thread;
 * looks at each. */
uint64_t live_lag_max(struct live *l, uint64_t position);

/* A stream of events after query->from, for ever or until `limit` (0: none) were sent. */
struct live_stream {
    const struct store_query *query; /* copied; forward */
    enum encoding encoding;          /* not JSON */
    uint64_t limit;
};
/* Replies 200 with the encoding's media type and detaches the request (http.h). Headers are set
 * before. On an error nothing was done, and the caller replies: ERR_MEMORY, ERR_CLOSED. */
MUST_CHECK err_t live_follow(struct live *l, struct http_request *rq,
                             const struct live_stream *stream);

/* One document of a projection, now and after every change, as server-sent events. */
struct live_document {
    struct workers *workers; /* both stay until live_stop */
    struct projection *projection;
    struct bytes key;      /* copied */
    uint64_t min_position; /* of the model, before the first message */
    uint64_t after;        /* the id of the last message that the client has; 0: none */
    size_t bytes_max;      /* of a document */
};
/* As live_follow. */
MUST_CHECK err_t live_follow_document(struct live *l, struct http_request *rq,
                                      const struct live_document *document);
/* The end of an answer that another thread has begun (http_detach): `piece`, of which `sent` are
 * out already, and `rest`. Takes the request and both, which are sent and the answer ended; on an
 * error, ERR_MEMORY or ERR_CLOSED, it takes nothing. Any thread. */
struct live_rest {
    struct http_request *rq;
    struct buf piece, rest;
    size_t sent;
};
MUST_CHECK err_t live_send_rest(struct live *l, struct live_rest *take_rest);
/* Models have moved, or other versions serve, or projections were deleted. Any thread. */
void live_models_moved(struct live *l);

/* Why a poll came back. */
enum live_wake {
    LIVE_MORE,    /* there is an event after `reached` */
    LIVE_TIMEOUT, /* the deadline has passed */
    LIVE_OVER,    /* the peer is gone, the server stops, or there is no memory: answer at once */
};

/* One long poll; the caller's, in memory that lives as long as the request. */
struct live_poll {
    struct http_request *request; /* suspended by http_suspend_long; is resumed, once */
    int64_t deadline_us;          /* monotonic */
    /* Set before the request is resumed: */
    enum live_wake why;
    uint64_t reached; /* nothing up to here matches: read on after it */
};
/* Waits for an event of the query (copied) after query->from. Where it cannot, the request is
 * resumed at once, LIVE_OVER. */
void live_wait(struct live *l, const struct store_query *query, struct live_poll *poll);

#endif
