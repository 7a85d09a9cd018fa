/* api_projection: what the routes of projections share. Loop's thread. */
#ifndef DAYBOOK_SERVER_API_PROJECTION_H
#define DAYBOOK_SERVER_API_PROJECTION_H

#include "server/jobs.h"
#include "server/json_query.h"
#include "server/query.h"
#include "server/workers.h"

/* What every answer is offered as. */
#define API_PROJECTION_OFFER (OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF))

/* The {name} of the path; `changes`: it must not be a built-in one. Where it is not valid it
 * replies and returns false. */
bool api_projection_name(struct http_request *rq, bool changes, struct bytes *ret);
/* NULL: there is none, and it has replied. */
struct projection *api_projection_find(struct http_request *rq, struct app *app, struct bytes name);

/* A read of a model, done by a job. */
struct read_request {
    struct projection *projection;
    struct query_number min_position, wait;
    struct json_query query;             /* of a query */
    enum encoding body;                  /* that it came in */
    struct query_number after, limit;    /* of errors; of documents: limit */
    struct bytes key, prefix, after_key; /* of documents */
    /* Writes the answer's body. */
    err_t (*read)(struct job *job, struct reader *r, uint64_t *ret_position, struct err_text *et);
    int64_t until_us; /* the pool's */
};
/* Submits it: runs when the model is there, answers. */
void api_projection_submit_read(struct http_request *rq, struct app *app,
                                const struct read_request *read, enum encoding encoding);
/* The parts of it, for a job that is made otherwise. The body of a query, into read->query; where
 * it is not valid it replies and returns false. The job's ctx is the read_request. */
bool api_projection_read_query(struct http_request *rq, struct bytes body, struct arena *arena,
                               struct read_request *read); /* read->body is its encoding */
void api_projection_submit_job(struct job *job);
void api_projection_run_read(struct job *job);
/* A query whose rows go out while it runs, as NDJSON. */
void api_projection_stream(struct http_request *rq, struct app *app,
                           const struct read_request *read);
/* Whether the read of a job (the ctx) has to end: its time is over, or the server stops. */
bool api_projection_is_over(void *ctx);
/* A document projection; else it replies, naming the field, and returns NULL. */
struct projection *api_projection_find_documents(struct http_request *rq, struct app *app,
                                                 struct bytes name, const char *field);
/* Writes `"errors":[…],"next":…,"end":…`, or the fields of a ProjectionErrorList, whose numbers
 * begin with `field`. */
struct errors_page {
    struct buf *b;
    enum encoding encoding;
    unsigned field;
    uint64_t after, limit;
};
MUST_CHECK err_t api_projection_put_errors(const struct errors_page *page, struct reader *reader,
                                           uint64_t *ret_position, struct err_text *et);
/* Beside the values an answer has names and punctuation. */
#define API_PROJECTION_BODY_SLACK ((size_t)256 << 10)

/* What a definition would do with the first `limit` events that it takes (0: a thousand); nothing
 * is kept. Replies. */
void api_projection_dry_run(struct http_request *rq, struct app *app,
                            const struct catalog_definition *d, uint64_t limit,
                            enum encoding encoding);

#endif
