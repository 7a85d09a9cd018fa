/* cloudevents: CloudEvents 1.0 over HTTP, in and out: binary, structured and batched content mode;
 * the JSON and the protobuf event format. README.md (CloudEvents) says how an event of ours and a
 * CloudEvent stand for each other.
 *
 * Loop's thread. What is read is borrowed from the request or lives in the arena that was given. */
#ifndef DAYBOOK_SERVER_CLOUDEVENTS_H
#define DAYBOOK_SERVER_CLOUDEVENTS_H

#include "server/draft.h"

/* ---- in ---- */

enum cloudevents_mode {
    CLOUDEVENTS_NONE, /* the body is one of ours */
    CLOUDEVENTS_BINARY,
    CLOUDEVENTS_JSON,
    CLOUDEVENTS_JSON_BATCH,
    CLOUDEVENTS_PROTOBUF,
    CLOUDEVENTS_PROTOBUF_BATCH,
};

/* How the request carries CloudEvents, from Content-Type and the ce- headers. Where it is a format
 * that is not known it replies 415 and returns false. */
bool cloudevents_mode_of(struct http_request *rq, enum cloudevents_mode *ret);

/* Reads the request's CloudEvents into the draft, which is for one stream (DRAFT_APPEND: `stream`
 * is that of the path) or for many (DRAFT_APPEND_MANY: each event names its own). False with the
 * draft's rejection set; field paths are those of the CloudEvent, from then on. */
bool cloudevents_read_draft(struct http_request *rq, enum cloudevents_mode mode,
                            struct bytes stream, struct draft *d);

/* ---- out ---- */

/* One event as a JSON object, or as a CloudEvent message; `arena` is for scratch, it is reset.
 * ERR_MEMORY, ERR_LIMIT; growth failures stick in the buf too. */
MUST_CHECK err_t cloudevents_put_json(struct buf *b, struct arena *arena, const struct event *e);
MUST_CHECK err_t cloudevents_put_protobuf(struct buf *b, struct arena *arena,
                                          const struct event *e);
/* The same as one entry of a CloudEventBatch. */
MUST_CHECK err_t cloudevents_put_batch_entry(struct buf *b, struct arena *arena,
                                             const struct event *e);

/* One event in binary mode: sets the ce- headers and puts the data into `body`; *ret_type is the
 * Content-Type, NULL where there is none. ERR_LIMIT: the attributes do not fit into a response's
 * header, none was set. */
MUST_CHECK err_t cloudevents_put_binary(struct http_request *rq, const struct event *e,
                                        struct buf *body, const char **ret_type);

/* For arenas of these functions. */
#define CLOUDEVENTS_CHUNK_BYTES   4096
#define CLOUDEVENTS_SCRATCH_BYTES (64u << 20)

#endif
