/* query: query parameters, read by a table: what a route takes, of which kind each is, where it
 * goes.
 *
 * Loop's thread. Values are borrowed from the request. */
#ifndef DAYBOOK_SERVER_QUERY_H
#define DAYBOOK_SERVER_QUERY_H

#include "server/reply.h"

#define QUERY_DETAIL_MAX  128
#define QUERY_WAIT_MS_MAX 60000

enum query_kind {
    QUERY_NUMBER,        /* from 0: struct query_number */
    QUERY_POSITIVE,      /* from 1: struct query_number */
    QUERY_NUMBER_OR_END, /* a number or "end": struct query_number */
    QUERY_PLACE,         /* a number, "end" or "snapshot": struct query_number */
    QUERY_FLAG,          /* "true" or "false": bool */
    QUERY_DIRECTION,     /* "forward" or "backward": bool, true is backward */
    QUERY_NAME,          /* struct bytes */
    QUERY_NAMES,         /* repeatable: struct query_names */
    QUERY_TIME,          /* RFC 3339: struct query_time */
    QUERY_WAIT, /* "500ms", "10s", "1m", at most QUERY_WAIT_MS_MAX: struct query_number of ms */
    QUERY_EXPECTATION, /* a number, "any", "no_stream", "stream_exists": query_expectation */
};

struct query_number {
    bool given;
    bool end;      /* "end"; value is 0 */
    bool snapshot; /* "snapshot"; value is 0 */
    uint64_t value;
};

struct query_time {
    bool given;
    int64_t us; /* since 1970 */
};

struct query_expectation {
    bool given;
    struct expectation value;
};

struct query_names {
    size_t n;
    struct bytes items[STORE_FILTER_MAX];
};

struct query_parameter {
    const char *name;
    enum query_kind kind;
    void *ret; /* zero-initialised by the caller: what is not there stays so */
};

/* Reads all parameters of the request. Where one is unknown, repeated without leave or not valid it
 * replies 400, naming it, and returns false. `parameters` ends with one whose name is NULL. */
bool query_read(struct http_request *rq, const struct query_parameter *parameters);

/* The {stream} of the path, which is segment 2. Where it is no name it replies 400 and returns
 * false. */
bool query_stream(struct http_request *rq, struct bytes *ret);

/* Reads one value; false with the reason in `detail`. */
bool query_parse(enum query_kind kind, struct bytes value, void *ret,
                 char detail[QUERY_DETAIL_MAX]);

/* Decimal digits only, at most INT64_MAX. */
bool query_parse_number(struct bytes value, uint64_t *ret);

#endif
