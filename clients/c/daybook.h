/* daybook: the client library. Append events to a Daybook server and read them back, over HTTP.
 *
 * A handle, and what was made from it, is for one thread at a time; different handles are
 * independent. Before the first daybook_open a program with threads calls curl_global_init().
 * Connections are kept and used again. The library starts no threads, logs nothing, touches no
 * signals, and never calls exit().
 *
 * Strings are UTF-8 with a NUL at the end. Arguments are borrowed for the call. Results are
 * borrowed from the handle (or batch, or iterator) and live until the next call that takes it.
 * Results come last and are untouched on failure. x_free(NULL) and daybook_close(NULL) do nothing.
 * Link with -ldaybook -lcurl -lprotobuf-c -lyajl. */
#ifndef DAYBOOK_H
#define DAYBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct daybook;        /* a server, as one thread sees it */
struct daybook_batch;  /* appends and checks that are sent as one */
struct daybook_events; /* events as they arrive */

enum daybook_result {
    DAYBOOK_OK = 0,
    DAYBOOK_END,                   /* daybook_events_next: there are no more events */
    DAYBOOK_ERR_ARGUMENT,          /* the call is wrong; nothing was sent */
    DAYBOOK_ERR_MEMORY,            /* out of memory, or over a bound of this library */
    DAYBOOK_ERR_TRANSPORT,         /* no whole answer, retries included */
    DAYBOOK_ERR_PROTOCOL,          /* the answer is none of a Daybook server */
    DAYBOOK_ERR_CONFLICT,          /* a stream is not as expected: see violations */
    DAYBOOK_ERR_ID_REUSED,         /* an event id was used before, for another event */
    DAYBOOK_ERR_PARTIAL_DUPLICATE, /* some events are there already and some are new */
    DAYBOOK_ERR_NOT_FOUND,         /* no such stream, event, projection or group */
    DAYBOOK_ERR_DELETED,           /* the stream was deleted */
    DAYBOOK_ERR_REJECTED,          /* any other fault that the server finds with the request */
    DAYBOOK_ERR_UNAVAILABLE,       /* overloaded, shutting down or disk full, retries included */
    DAYBOOK_ERR_SERVER,            /* the server failed */
    DAYBOOK_ERR_INTERRUPTED,       /* daybook_interrupt was called */
    DAYBOOK_ERR_LEASE_LOST,        /* leases ended before; nothing was changed: see leases */
};

struct daybook_violation {
    const char *stream;
    const char *expected; /* decimal digits, "no_stream" or "stream_exists" */
    uint64_t actual;      /* its head revision; 0 where it does not exist */
};

/* What went wrong. No string is NULL; what is not known is "". */
struct daybook_problem {
    enum daybook_result result;
    unsigned http_status; /* 0 where no answer came */
    const char *code;     /* the server's stable code, such as "wrong-expected-revision" */
    const char *title;    /* lower case, no values in it */
    const char *detail;   /* what was wrong with this call */
    const char *hint;     /* what to do about it */
    const char *field;    /* of the request, as a path: "appends[0].events[3].type" */
    const struct daybook_violation *violations;
    size_t violations_n;
    const char *const *leases; /* of DAYBOOK_ERR_LEASE_LOST: which */
    size_t leases_n;
};

/* ---- the handle ---- */

/* 0 and NULL stand for the defaults. */
struct daybook_options {
    uint64_t connect_timeout_ms; /* 5,000 */
    /* How long an answer may be silent: 30,000. daybook_verify has no limit. */
    uint64_t timeout_ms;
    /* How long a call is tried again when the server is away or answers 503: 5,000. */
    uint64_t retry_ms;
    const char *user_agent; /* "libdaybook/<version>" */
    /* Told why before each wait for the next try, and how long the wait is. */
    void (*waiting)(void *arg, const char *reason, uint64_t wait_ms);
    void *waiting_arg;
};
#define DAYBOOK_RETRY_NEVER   UINT64_MAX
#define DAYBOOK_RETRY_FOREVER (UINT64_MAX - 1)

/* Makes a handle for the server at `url` ("http://host:port", perhaps with a path to put before
 * "/v1"). `options` may be NULL. Does not connect yet: the first request does. */
enum daybook_result daybook_open(const char *url, const struct daybook_options *options,
                                 struct daybook **ret);
/* After everything that was made from it was freed. */
void daybook_close(struct daybook *db);
/* Ends what waits with this handle, and every later call that would ask the server, with
 * DAYBOOK_ERR_INTERRUPTED; of an append that was under way the outcome is then not known. The one
 * function that any thread may call, and a signal handler too, as long as the handle is open. */
void daybook_interrupt(struct daybook *db);
/* The problem of the last call with this handle (or a batch or iterator of it) that failed; never
 * NULL. */
const struct daybook_problem *daybook_problem(const struct daybook *db);
const char *daybook_version(void);
/* A new UUID version 7 from the system's clock and random source. */
void daybook_make_id(uint8_t ret[16]);

/* ---- append ---- */

struct daybook_bytes {
    const void *p; /* may be NULL where n is 0 */
    size_t n;
};

enum daybook_expect_kind {
    DAYBOOK_ANY,
    DAYBOOK_NO_STREAM,
    DAYBOOK_STREAM_EXISTS,
    DAYBOOK_REVISION
};

struct daybook_expect {
    enum daybook_expect_kind kind;
    uint64_t revision; /* for DAYBOOK_REVISION: the head revision the writer has seen, 0: none */
};

/* An event to append; {0} but for `type` is a whole one. */
struct daybook_new_event {
    const uint8_t *id; /* 16 bytes; NULL: daybook_make_id. To repeat a call that failed with
                          DAYBOOK_ERR_TRANSPORT, give ids: the same ids are appended only once */
    const char *type;
    struct daybook_bytes data;     /* kept byte for byte; empty JSON data means null */
    struct daybook_bytes metadata; /* a JSON object; empty: none */
    const char *content_type;      /* NULL: application/json */
    const char *const *tags;
    size_t tags_n;
    const char *occurred_at; /* RFC 3339, kept as given; NULL: none */
    uint32_t schema_version; /* 0: none */
};

struct daybook_appended {
    const char *stream;
    uint64_t first_revision, last_revision;
    uint64_t first_position, last_position;
    bool duplicate; /* the events were there already; the numbers are the original ones */
};

/* Appends events to one stream, all or nothing, durably. Tried again as long as options.retry_ms
 * allows; ids make that safe. After DAYBOOK_ERR_TRANSPORT, _PROTOCOL, _UNAVAILABLE, _SERVER,
 * _INTERRUPTED and _MEMORY the events may be there or not (an earlier try may have got through):
 * repeat the call with the same ids to know. After any other error they are not. */
enum daybook_result daybook_append(struct daybook *db, const char *stream,
                                   struct daybook_expect expect,
                                   const struct daybook_new_event *events, size_t events_n,
                                   struct daybook_appended *ret);

/* A batch of appends to any streams (one may come up again) and of guards on streams that are not
 * written; its events' ids are fixed when they are added. NULL: no memory. Free it before `db`. */
struct daybook_batch *daybook_batch_new(struct daybook *db);
void daybook_batch_free(struct daybook_batch *batch);
/* Copies the events into the batch. A batch is at most 1 GiB; the server's limit is lower. */
enum daybook_result daybook_batch_append(struct daybook_batch *batch, const char *stream,
                                         struct daybook_expect expect,
                                         const struct daybook_new_event *events, size_t events_n);
enum daybook_result daybook_batch_check(struct daybook_batch *batch, const char *stream,
                                        struct daybook_expect expect);
size_t daybook_batch_bytes(const struct daybook_batch *batch);
/* Empties it, keeping its memory. */
void daybook_batch_clear(struct daybook_batch *batch);
/* Sends it, all or nothing, as daybook_append does, and keeps its content: sending it again is
 * safe. One result for each append in their order. */
enum daybook_result daybook_batch_send(struct daybook_batch *batch,
                                       const struct daybook_appended **ret, size_t *ret_n);

#ifdef __cplusplus
}
#endif

#include "daybook_backup.h"
#include "daybook_document.h"
#include "daybook_follow.h"
#include "daybook_group.h"
#include "daybook_life.h"
#include "daybook_projection.h"
#include "daybook_read.h"

#endif
