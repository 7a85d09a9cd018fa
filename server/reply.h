/* reply: how every answer is made: content negotiation, problem documents, Daybook-Position.
 *
 * Loop's thread only. A handler ends with exactly one call of reply_*; each sets
 * `Daybook-Position`. */
#ifndef DAYBOOK_SERVER_REPLY_H
#define DAYBOOK_SERVER_REPLY_H

#include "server/http.h"
#include "server/negotiate.h"
#include "storage/store.h"

/* Where Daybook-Position comes from; once, before the first request. Without it the position is
 * 0. */
void reply_init(const struct store *store);

/* The stable codes of problem documents, one table: PROBLEM(NAME, "code", status, "title", "hint")
 * in problems.def. */
enum problem {
#define PROBLEM(name, code, status, title, hint) PROBLEM_##name,
#include "server/problems.def"
#undef PROBLEM
    PROBLEM_COUNT
};

/* Chooses the encoding of the answer from Accept (RFC 9110 quality values, wildcards; absent: the
 * first offered in the order of the enum). Where none fits it replies 406 and returns false. */
bool reply_negotiate(struct http_request *rq, unsigned offered, enum encoding *ret);
/* The encoding of the body from Content-Type (absent on an empty body: JSON): JSON or PROTOBUF,
 * else it replies 415, false. */
bool reply_content_type(struct http_request *rq, enum encoding *ret);

/* Everything a problem may carry beyond its row of problems.def. Zero-initialise. */
struct problem_extra {
    const char *detail; /* what was wrong with this request */
    const char *field;  /* path of the field at fault: "events[3].type", "query.limit" */
    const char *hint;   /* instead of the table's */
    const struct violation *violations;
    size_t violation_count;
    const struct condition_violation *condition_violations;
    size_t condition_violation_count;
    uint64_t stored_revision;   /* of snapshot-stale; 0: of none */
    unsigned status;            /* instead of the table's; 0: the table's */
    const struct bytes *leases; /* that are lost */
    size_t lease_count;
};

/* A problem document in the encoding that the client accepts (JSON unless it accepts only
 * protobuf). Adds Retry-After to 503. */
void reply_problem(struct http_request *rq, enum problem problem,
                   const struct problem_extra *extra);
/* The same as one JSON object, for an answer that has begun; and which problem an error is. */
void reply_put_problem(struct buf *b, enum problem problem, const struct problem_extra *extra);
enum problem reply_problem_of(err_t err);
/* printf style: detail only. */
void reply_problem_detail(struct http_request *rq, enum problem problem, const char *field,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* For an err_t that a library returned: one exhaustive switch; logs what is our own fault once. */
void reply_error(struct http_request *rq, err_t err, const char *doing);

/* What http_options.refuse is for; `ctx` is not used. */
void reply_refusal(struct http_request *rq, enum http_refusal why, const char *detail, void *ctx);

/* A row of problems.def, for those that list them. */
struct problem_row {
    const char *code;
    unsigned status;
    const char *title, *hint;
};
const struct problem_row *reply_problem_row(enum problem problem);

/* Sets Daybook-Position, for an answer that is not made by reply_*. */
void reply_position(struct http_request *rq, uint64_t position);

/* A whole body; takes the buf. `position`: for the Daybook-Position header. The media type follows
 * from the encoding. */
void reply_body(struct http_request *rq, unsigned status, enum encoding encoding, uint64_t position,
                struct buf *take_body);
/* A 200 whose bytes are a client's, of the media type that the client said (NULL: it said none):
 * told to browsers as nothing to run or guess at. */
void reply_foreign(struct http_request *rq, const char *media_type, uint64_t position,
                   struct buf *take_body);
void reply_stream(struct http_request *rq, enum encoding encoding, uint64_t position,
                  http_next_fn next, void (*free_ctx)(void *ctx), void *take_ctx);

#endif
