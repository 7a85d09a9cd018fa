/* body: a JSON body that is one object, read by a table: which members there may be, of which kind
 * each is, where it goes.
 *
 * Loop's thread. Values are borrowed from the request, or live in its arena. */
#ifndef DAYBOOK_SERVER_BODY_H
#define DAYBOOK_SERVER_BODY_H

#include "server/reply.h"

#define BODY_NAMES_MAX 10000

enum body_kind {
    BODY_TEXT,           /* a string: struct bytes */
    BODY_COUNT,          /* an integer from 0: uint64_t */
    BODY_FLAG,           /* bool */
    BODY_SECONDS,        /* a number from 0, fractions too: int64_t, microseconds */
    BODY_PLACE,          /* a position, "start" or "end": struct body_place */
    BODY_TIME,           /* RFC 3339: int64_t, microseconds */
    BODY_NAMES,          /* a string or a list of strings: struct body_names */
    BODY_OBJECT,         /* struct bytes, its text */
    BODY_OBJECT_OR_NULL, /* the same; null is given, and empty */
};

struct body_place {
    bool end;
    uint64_t position; /* "start": 0 */
};

struct body_names {
    struct bytes *items;
    size_t n;
};

struct body_field {
    const char *name; /* NULL ends the table */
    enum body_kind kind;
    void *ret;   /* stays as it is where the member is missing or null */
    bool *given; /* may be NULL */
};

/* Reads `text` ("" counts as an empty object) with paths that begin with `root`, which is "" or
 * ends in a dot. Where it is no object, a member is unknown, there twice or of another kind, it
 * replies 400, naming it, and returns false. */
bool body_read(struct http_request *rq, struct bytes text, const char *root,
               const struct body_field *fields);

#endif
