/* json_query: the body of a query of a projection, and its answer, in JSON.
 *
 * Any thread; nothing is shared. */
#ifndef DAYBOOK_SERVER_JSON_QUERY_H
#define DAYBOOK_SERVER_JSON_QUERY_H

#include "projections/query.h"
#include "storage/base/arena.h"
#include "storage/base/buf.h"

#define JSON_QUERY_ARGUMENTS_MAX 1000
#define JSON_QUERY_DETAIL_MAX    200

struct json_query {
    struct bytes sql;
    struct query_argument *arguments;
    size_t argument_count;
    /* What is wrong, where json_query_read returned false. */
    bool malformed;    /* no JSON at all */
    const char *field; /* a literal; NULL: none */
    char detail[JSON_QUERY_DETAIL_MAX];
};

/* {"sql":"…","params":[…]|{…}}. Decoded text lives in the arena. */
bool json_query_read(struct bytes body, struct arena *arena, struct json_query *ret);

/* Rows as they come: {"columns":[…],"rows":[… , where the caller writes the end, or an object a
 * line. Zero-initialise but for these two. */
struct json_rows {
    struct buf *b;
    bool lines;
    unsigned count;
    const char *names[500]; /* borrowed from the statement, which outlives the rows */
    uint64_t rows;
};
struct query_sink json_rows_sink(struct json_rows *rows);

/* One value: integers and reals as numbers, text that is no UTF-8 and blobs as base64. */
void json_query_put_value(struct buf *b, const struct sql_value *value);

#endif
