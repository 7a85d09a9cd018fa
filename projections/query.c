/* query: see query.h. Each read is a transaction, in which the checkpoint is read first. */
#include "query.h"

#include <inttypes.h>
#include <stdlib.h>

#define COLUMNS_MAX 500 /* sql.c's limit */

struct reader {
    struct sql *sql;
    bool borrowed; /* the connection is the model's */
    struct sql_statement *position;
};

static const char SCHEMA_SQL[] =
    "SELECT s.name AS \"table\", s.type AS kind, c.name AS \"column\", c.type AS type,"
    " c.\"notnull\" AS not_null, c.pk AS primary_key"
    " FROM sqlite_schema s JOIN pragma_table_info(s.name) c"
    " WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite@_%' ESCAPE '@'"
    " AND s.name NOT LIKE '@_daybook%' ESCAPE '@' ORDER BY s.name, c.cid";

static const char ERRORS_SQL[] =
    "SELECT position, stream, type, time_us, attempts, skipped, error FROM _daybook_errors"
    " WHERE position > ? ORDER BY position LIMIT ?";

static err_t finish_opening(struct reader *r, err_t err, struct reader **ret, struct err_text *et)
{
    if (err == ERR_OK) {
        err = sql_prepare_ours(r->sql, "SELECT value FROM _daybook_facts WHERE name = 'checkpoint'",
                               &r->position, et);
    }
    if (err != ERR_OK) {
        reader_close(r);
        return err;
    }
    *ret = r;
    return ERR_OK;
}

err_t reader_open(const char *dir, struct reader **ret, struct err_text *et)
{
    char path[MODEL_PATH_MAX];
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return ERR_MEMORY;
    }
    err_t err = model_path(dir, path);
    if (err == ERR_OK) {
        err = sql_open(path, true, &r->sql, et);
    }
    return finish_opening(r, err, ret, et);
}

err_t reader_of_model(struct model *m, struct reader **ret, struct err_text *et)
{
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return ERR_MEMORY;
    }
    r->sql = model_sql(m);
    r->borrowed = true;
    return finish_opening(r, ERR_OK, ret, et);
}

void reader_close(struct reader *r)
{
    if (r != NULL) {
        sql_finalize(r->position);
        if (!r->borrowed) {
            sql_close(r->sql);
        }
        free(r);
    }
}

static err_t read_position(struct reader *r, uint64_t *ret, struct err_text *et)
{
    err_t err = sql_step(r->position, et);
    if (err == ERR_OK) {
        *ret = sql_column_u64(r->position, 0);
    }
    sql_reset(r->position);
    return err == ERR_END ? ERR_CORRUPT : err;
}

static err_t put_columns(struct sql_statement *st, const struct query_sink *sink, uint64_t position)
{
    const char *names[COLUMNS_MAX];
    unsigned n = sql_columns(st);
    if (n > COLUMNS_MAX) {
        return ERR_LIMIT;
    }
    for (unsigned i = 0; i < n; i++) {
        names[i] = sql_column_name(st, i);
    }
    return sink->columns(sink->ctx, names, n, position);
}

static err_t put_row(struct sql_statement *st, const struct query_sink *sink, uint64_t *bytes)
{
    struct sql_value values[COLUMNS_MAX];
    unsigned n = sql_columns(st);
    for (unsigned i = 0; i < n; i++) {
        values[i] = sql_column(st, i);
        *bytes += values[i].bytes.n + sizeof(uint64_t);
    }
    return sink->row(sink->ctx, values, n);
}

static err_t put_rows(struct sql_statement *st, const struct model_query *q,
                      const struct query_sink *sink, struct err_text *et)
{
    uint64_t rows = 0, bytes = 0;
    err_t err;
    while ((err = sql_step(st, et)) == ERR_OK) {
        if (++rows > q->rows_max) {
            return err_set(et, ERR_LIMIT, "the answer has more than %" PRIu64 " rows", q->rows_max);
        }
        err = put_row(st, sink, &bytes);
        if (err == ERR_OK && bytes > q->bytes_max) {
            err =
                err_set(et, ERR_LIMIT, "the answer has more than %" PRIu64 " bytes", q->bytes_max);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return err == ERR_END ? ERR_OK : err;
}

/* ---- arguments ---- */

/* 0: the statement has no such parameter. */
static unsigned find_parameter(const struct sql_statement *st, struct bytes name)
{
    for (unsigned i = 1; i <= sql_parameters(st); i++) {
        const char *own = sql_parameter_name(st, i);
        if (own != NULL && bytes_equal(bytes_of_string(own + 1), name)) {
            return i;
        }
    }
    return 0;
}

static err_t bind_argument(struct sql_statement *st, const struct query_argument *a, size_t at,
                           struct err_text *et)
{
    unsigned i = (unsigned)at + 1;
    if (a->name.n > 0) {
        i = find_parameter(st, a->name);
    }
    if (i == 0 || i > sql_parameters(st)) {
        return a->name.n > 0 ? err_set(et, ERR_INVALID, "the statement has no parameter :%.*s",
                                       BYTES_ARGS(a->name))
                             : err_set(et, ERR_INVALID,
                                       "the statement has %u parameters, there are more values",
                                       sql_parameters(st));
    }
    if (a->value.bytes.n > SQL_VALUE_BYTES_MAX) {
        return err_set(et, ERR_INVALID, "a value is longer than %zu bytes", SQL_VALUE_BYTES_MAX);
    }
    sql_bind(st, i, &a->value);
    return ERR_OK;
}

static err_t bind_arguments(struct sql_statement *st, const struct model_query *q,
                            struct err_text *et)
{
    if (q->argument_count < sql_parameters(st)) {
        return err_set(et, ERR_INVALID, "the statement has %u parameters, there are %zu values",
                       sql_parameters(st), q->argument_count);
    }
    for (size_t i = 0; i < q->argument_count; i++) {
        err_t err = bind_argument(st, &q->arguments[i], i, et);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- reading ---- */

/* Whether nothing but white space, comments and semicolons follows. */
static err_t check_rest(struct reader *r, enum sql_trust trust, struct bytes rest,
                        struct err_text *et)
{
    while (rest.n > 0) {
        struct sql_statement *more = NULL;
        size_t used;
        err_t err = sql_prepare(r->sql, trust, rest, &more, &used, et);
        if (err != ERR_OK || more != NULL) {
            sql_finalize(more);
            return err_set(et, ERR_INVALID, "there is more than one statement");
        }
        if (used == 0) {
            break;
        }
        rest = bytes_of(rest.p + used, rest.n - used);
    }
    return ERR_OK;
}

static err_t run(struct reader *r, enum sql_trust trust, const struct model_query *q,
                 const struct query_sink *sink, uint64_t position, struct err_text *et)
{
    struct sql_statement *st;
    size_t used;
    err_t err = sql_prepare(r->sql, trust, q->sql, &st, &used, et);
    if (err != ERR_OK) {
        return err;
    }
    if (st == NULL) {
        return err_set(et, ERR_INVALID, "there is no statement");
    }
    err = check_rest(r, trust, bytes_after(q->sql, used), et);
    if (err == ERR_OK) {
        err = bind_arguments(st, q, et);
    }
    if (err == ERR_OK) {
        err = put_columns(st, sink, position);
    }
    if (err == ERR_OK) {
        err = put_rows(st, q, sink, et);
    }
    sql_finalize(st);
    return err;
}

static err_t run_at_one_commit(struct reader *r, enum sql_trust trust, const struct model_query *q,
                               const struct query_sink *sink, uint64_t *ret_position,
                               struct err_text *et)
{
    err_t err = sql_run(r->sql, "BEGIN", et);
    if (err == ERR_OK) {
        err = read_position(r, ret_position, et);
    }
    if (err == ERR_OK) {
        sql_set_cancel(r->sql, q->cancelled, q->cancel_ctx);
        err = run(r, trust, q, sink, *ret_position, et);
        sql_set_cancel(r->sql, NULL, NULL);
    }
    sql_rollback(r->sql);
    return err;
}

err_t reader_query(struct reader *r, const struct model_query *query, const struct query_sink *sink,
                   uint64_t *ret_position, struct err_text *et)
{
    return run_at_one_commit(r, SQL_QUERY, query, sink, ret_position, et);
}

err_t reader_schema(struct reader *r, const struct query_sink *sink, uint64_t *ret_position,
                    struct err_text *et)
{
    struct model_query q = {
        .sql = bytes_of_string(SCHEMA_SQL), .rows_max = UINT64_MAX, .bytes_max = UINT64_MAX};
    return run_at_one_commit(r, SQL_OURS, &q, sink, ret_position, et);
}

err_t reader_errors(struct reader *r, uint64_t after, uint64_t limit, const struct query_sink *sink,
                    uint64_t *ret_position, struct err_text *et)
{
    const struct query_argument arguments[] = {
        {.value = {.kind = SQL_INTEGER, .integer = (int64_t)after}},
        {.value = {.kind = SQL_INTEGER, .integer = (int64_t)limit}},
    };
    struct model_query q = {.sql = bytes_of_string(ERRORS_SQL),
                            .arguments = arguments,
                            .argument_count = 2,
                            .rows_max = UINT64_MAX,
                            .bytes_max = UINT64_MAX};
    return run_at_one_commit(r, SQL_OURS, &q, sink, ret_position, et);
}
