/* query: reading a model with SQL: a read-only connection that sees one commit, whole, and cannot
 * touch anything but the model's own tables.
 *
 * A reader belongs to one thread at a time; any number of them do not block the model's writer. No
 * clock: whoever limits the time of a query says so by `cancelled`. */
#ifndef DAYBOOK_PROJECTIONS_QUERY_H
#define DAYBOOK_PROJECTIONS_QUERY_H

#include "projections/model.h"
#include "projections/sql.h"

struct reader;

/* Of the model in `dir`, which exists. */
MUST_CHECK err_t reader_open(const char *dir, struct reader **ret, struct err_text *et);
/* Through the model's own connection, for one in memory; not while a batch is open. Closed before
 * the model. */
MUST_CHECK err_t reader_of_model(struct model *m, struct reader **ret, struct err_text *et);
void reader_close(struct reader *r);

/* A parameter of the query: by its place, or by name (without ':'). */
struct query_argument {
    struct bytes name; /* empty: the next place */
    struct sql_value value;
};

struct model_query {
    struct bytes sql;
    const struct query_argument *arguments;
    size_t argument_count;
    uint64_t rows_max, bytes_max; /* of the answer; beyond it the query fails */
    bool (*cancelled)(void *ctx); /* asked often while it runs; may be NULL */
    void *cancel_ctx;
};

/* Takes the answer: first `columns`, once, then `row` for each row. An error of theirs ends the
 * query with it. Values are borrowed for the call. */
struct query_sink {
    err_t (*columns)(void *ctx, const char *const *names, unsigned n, uint64_t position);
    err_t (*row)(void *ctx, const struct sql_value *values, unsigned n);
    void *ctx;
};

/* One statement, which only reads. ERR_INVALID: it is at fault, `et` says how. ERR_LIMIT: rows_max
 * or bytes_max. ERR_CLOSED: `cancelled` said so. *ret_position: the checkpoint of the model that
 * the answer was read from, set also on an error where it is known. */
MUST_CHECK err_t reader_query(struct reader *r, const struct model_query *query,
                              const struct query_sink *sink, uint64_t *ret_position,
                              struct err_text *et);

/* The same for two questions of ours: one row a column of each table and view ("table", "kind",
 * "column", "type", "not_null", "primary_key"); one row an event set aside ("position", "stream",
 * "type", "time_us", "attempts", "skipped", "error"), after a position. */
MUST_CHECK err_t reader_schema(struct reader *r, const struct query_sink *sink,
                               uint64_t *ret_position, struct err_text *et);
MUST_CHECK err_t reader_errors(struct reader *r, uint64_t after, uint64_t limit,
                               const struct query_sink *sink, uint64_t *ret_position,
                               struct err_text *et);

#endif
