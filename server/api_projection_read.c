/* api_projection_read: reading models: queries, the schema, the events set aside, dry runs.
 *
 * Each is a job. A query that waits for a position is not run before the model is there, and holds
 * nothing meanwhile. */
#include "server/api_projection.h"
#include "server/json_query.h"
#include "server/query.h"
#include "server/router.h"

#include "storage/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DRY_RUN_EVENTS     1000
#define DRY_RUN_EVENTS_MAX 100000
#define DRY_RUN_ERRORS     20
#define DRY_RUN_ROWS       5
#define ERRORS_DEFAULT     100
#define ERRORS_MAX         10000
#define ARENA_SLACK        ((size_t)256 << 10)

struct read_request {
    struct projection *projection;
    struct query_number min_position, wait;
    struct json_query query;
    struct query_number after, limit;
    err_t (*read)(struct job *job, struct reader *r, uint64_t *ret_position, struct err_text *et);
    int64_t until_us;
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- when the model is there ---- */

static bool is_ready(struct job *job)
{
    const struct read_request *r = job->ctx;
    uint64_t position;
    enum workers_readiness ready =
        workers_readiness(job->app->workers, r->projection, r->min_position.value, &position);
    return ready == WORKERS_READY || ready == WORKERS_GONE;
}

static bool check_ready(struct job *job)
{
    const struct read_request *r = job->ctx;
    uint64_t position;
    switch (workers_readiness(job->app->workers, r->projection, r->min_position.value, &position)) {
    case WORKERS_READY:
        return true;
    case WORKERS_GONE:
        job_fail(job, PROBLEM_PROJECTION_NOT_FOUND, "name", "it was deleted");
        break;
    case WORKERS_BUILDING:
        job_fail(job, PROBLEM_NOT_CAUGHT_UP, NULL,
                 "it is being built for the first time and is at position %" PRIu64, position);
        break;
    case WORKERS_BEHIND:
        job_fail(job, PROBLEM_NOT_CAUGHT_UP, "query.min_position",
                 "it is at position %" PRIu64 ", not yet at %" PRIu64, position,
                 r->min_position.value);
        break;
    }
    job->position = position;
    return false;
}

/* ---- running ---- */

static void answer_failed_read(struct job *job, err_t err, const struct err_text *et)
{
    const struct app_limits *limits = &job->app->limits;
    buf_done(&job->body);
    buf_init(&job->body, 1);
    if (err == ERR_INVALID) {
        job_fail(job, PROBLEM_INVALID_QUERY, "sql", "%s", et->text);
    } else if (err == ERR_LIMIT) {
        job_fail(job, PROBLEM_QUERY_LIMIT, NULL,
                 "%s (query-rows-max is %zu, query-bytes-max is %zu)",
                 et->text[0] == '\0' ? "the answer is too large" : et->text, limits->query_rows_max,
                 limits->query_bytes_max);
    } else if (err == ERR_CLOSED && jobs_are_stopping(job->app->jobs)) {
        job_fail(job, PROBLEM_SHUTTING_DOWN, NULL, "the server is shutting down");
    } else if (err == ERR_CLOSED) {
        job_fail(job, PROBLEM_QUERY_LIMIT, NULL, "it took longer than %u ms (query-time-ms)",
                 limits->query_time_ms);
    } else {
        job_error(job, err, "reading the model");
    }
}

/* A version that is swapped out between the look and the opening is asked for again. */
static err_t take_reader(struct job *job, struct reader **ret, uint64_t *ret_version,
                         struct err_text *et)
{
    const struct read_request *r = job->ctx;
    err_t err = ERR_NOT_FOUND;
    for (int i = 0; i < 10 && err == ERR_NOT_FOUND; i++) {
        *et = (struct err_text){0};
        err = workers_take_reader(job->app->workers, r->projection, ret, ret_version, et);
    }
    return err;
}

static void run_read(struct job *job)
{
    struct read_request *r = job->ctx;
    struct reader *reader;
    uint64_t version;
    struct err_text et = {0};
    if (!check_ready(job)) {
        return;
    }
    err_t err = take_reader(job, &reader, &version, &et);
    if (err != ERR_OK) {
        job_error(job, err, "opening the model");
        return;
    }
    buf_init(&job->body, job->app->limits.query_bytes_max * 2 + ARENA_SLACK);
    r->until_us = now_us() + (int64_t)job->app->limits.query_time_ms * 1000;
    err = r->read(job, reader, &job->position, &et);
    workers_give_reader(job->app->workers, r->projection, reader, version);
    if (err == ERR_OK && buf_status(&job->body) != ERR_OK) {
        err = ERR_LIMIT;
    }
    if (err != ERR_OK) {
        answer_failed_read(job, err, &et);
    }
}

static bool is_over(void *ctx)
{
    const struct job *job = ctx;
    const struct read_request *r = job->ctx;
    return now_us() > r->until_us || jobs_are_stopping(job->app->jobs);
}

/* ---- rows as JSON ---- */

/* The names are borrowed from the statement, which outlives the rows. */
struct rows {
    struct buf *b;
    bool lines; /* NDJSON: an object a row */
    unsigned count;
    const char *names[500];
    uint64_t rows;
};

static err_t put_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    struct rows *r = ctx;
    (void)position;
    r->count = n;
    memcpy(r->names, names, n * sizeof *names);
    if (!r->lines) {
        buf_put_string(r->b, "{\"columns\":[");
        for (unsigned i = 0; i < n; i++) {
            buf_put_string(r->b, i == 0 ? "" : ",");
            buf_put_json_string(r->b, bytes_of_string(names[i]));
        }
        buf_put_string(r->b, "],\"rows\":[");
    }
    return ERR_OK;
}

static err_t put_row(void *ctx, const struct sql_value *values, unsigned n)
{
    struct rows *r = ctx;
    buf_put_string(r->b, r->lines ? "{" : r->rows == 0 ? "[" : ",[");
    for (unsigned i = 0; i < n; i++) {
        buf_put_string(r->b, i == 0 ? "" : ",");
        if (r->lines) {
            buf_put_json_string(r->b, bytes_of_string(r->names[i]));
            buf_put_byte(r->b, ':');
        }
        json_query_put_value(r->b, &values[i]);
    }
    buf_put_string(r->b, r->lines ? "}\n" : "]");
    r->rows++;
    return buf_status(r->b) == ERR_OK ? ERR_OK : ERR_LIMIT;
}

static err_t read_query(struct job *job, struct reader *reader, uint64_t *ret_position,
                        struct err_text *et)
{
    struct read_request *r = job->ctx;
    struct rows rows = {.b = &job->body, .lines = job->encoding == ENCODING_NDJSON};
    const struct query_sink sink = {put_columns, put_row, &rows};
    const struct model_query query = {.sql = r->query.sql,
                                      .arguments = r->query.arguments,
                                      .argument_count = r->query.argument_count,
                                      .rows_max = job->app->limits.query_rows_max,
                                      .bytes_max = job->app->limits.query_bytes_max,
                                      .cancelled = is_over,
                                      .cancel_ctx = job};
    err_t err = reader_query(reader, &query, &sink, ret_position, et);
    if (err == ERR_OK && !rows.lines) {
        buf_put_format(rows.b, "],\"position\":%" PRIu64 "}", *ret_position);
    }
    return err;
}

/* ---- POST …/query ---- */

static bool read_body(struct http_request *rq, struct read_request *r)
{
    struct bytes body = http_body(rq);
    if (json_query_read(body, http_arena(rq), &r->query)) {
        return true;
    }
    reply_problem(rq, r->query.malformed ? PROBLEM_INVALID_JSON : PROBLEM_INVALID_FIELD,
                  &(struct problem_extra){.detail = r->query.detail, .field = r->query.field});
    return false;
}

static void submit_read(struct http_request *rq, struct app *app, const struct read_request *read,
                        enum encoding encoding)
{
    struct job *job = job_new(rq, app, sizeof *read);
    if (job != NULL) {
        memcpy(job->ctx, read, sizeof *read);
        job->encoding = encoding;
        job->run = run_read;
        if (read->min_position.given || read->wait.given) {
            job->is_ready = is_ready;
            job->wait_us = (int64_t)read->wait.value * 1000;
        }
        jobs_submit(app->jobs, job);
    }
}

void api_projection_query(struct http_request *rq, struct app *app)
{
    struct read_request r = {.read = read_query};
    const struct query_parameter parameters[] = {
        {"min_position", QUERY_NUMBER, &r.min_position},
        {"wait", QUERY_WAIT, &r.wait},
        {NULL, QUERY_FLAG, NULL},
    };
    enum encoding encoding, body;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, parameters) ||
        !reply_content_type(rq, &body) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_NDJSON), &encoding)) {
        return;
    }
    if (body != ENCODING_JSON) {
        reply_problem(rq, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                      &(struct problem_extra){.hint = "send application/json"});
        return;
    }
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL && read_body(rq, &r)) {
        submit_read(rq, app, &r, encoding);
    }
}

/* ---- GET …/schema ---- */

struct schema {
    struct buf *b;
    char table[EVENT_NAME_MAX + 1];
    bool any;
};

static err_t skip_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

/* Rows come by table: "table", "kind", "column", "type", "not_null", "primary_key". */
static err_t put_schema_row(void *ctx, const struct sql_value *v, unsigned n)
{
    struct schema *s = ctx;
    CHECK(n == 6);
    char table[sizeof s->table];
    snprintf(table, sizeof table, "%.*s", BYTES_ARGS(v[0].bytes));
    if (!s->any || strcmp(table, s->table) != 0) {
        buf_put_string(s->b, s->any ? "]},{\"name\":" : "{\"name\":");
        buf_put_json_string(s->b, v[0].bytes);
        buf_put_string(s->b, ",\"kind\":");
        buf_put_json_string(s->b, v[1].bytes);
        buf_put_string(s->b, ",\"columns\":[");
        memcpy(s->table, table, sizeof table);
        s->any = true;
    } else {
        buf_put_byte(s->b, ',');
    }
    buf_put_string(s->b, "{\"name\":");
    buf_put_json_string(s->b, v[2].bytes);
    buf_put_string(s->b, ",\"type\":");
    buf_put_json_string(s->b, v[3].bytes);
    buf_put_format(s->b, ",\"not_null\":%s,\"primary_key\":%s}",
                   v[4].integer != 0 ? "true" : "false", v[5].integer != 0 ? "true" : "false");
    return ERR_OK;
}

static err_t read_schema(struct job *job, struct reader *reader, uint64_t *ret_position,
                         struct err_text *et)
{
    struct schema s = {.b = &job->body};
    const struct query_sink sink = {skip_columns, put_schema_row, &s};
    buf_put_string(s.b, "{\"tables\":[");
    err_t err = reader_schema(reader, &sink, ret_position, et);
    buf_put_format(s.b, "%s],\"position\":%" PRIu64 "}", s.any ? "]}" : "", *ret_position);
    return err;
}

void api_projection_schema(struct http_request *rq, struct app *app)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    struct read_request r = {.read = read_schema};
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, none) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON), &encoding)) {
        return;
    }
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL) {
        submit_read(rq, app, &r, encoding);
    }
}

/* ---- GET …/errors ---- */

struct errors {
    struct buf *b;
    uint64_t count, last;
};

/* "position", "stream", "type", "time_us", "attempts", "skipped", "error" */
static err_t put_error_row(void *ctx, const struct sql_value *v, unsigned n)
{
    struct errors *e = ctx;
    CHECK(n == 7);
    buf_put_format(e->b, "%s{\"position\":%" PRId64 ",\"stream\":", e->count == 0 ? "" : ",",
                   v[0].integer);
    buf_put_json_string(e->b, v[1].bytes);
    buf_put_string(e->b, ",\"type\":");
    buf_put_json_string(e->b, v[2].bytes);
    buf_put_format(e->b, ",\"attempts\":%" PRId64 ",\"skipped\":%s,\"detail\":", v[4].integer,
                   v[5].integer != 0 ? "true" : "false");
    buf_put_json_string(e->b, v[6].bytes);
    buf_put_byte(e->b, '}');
    e->count++;
    e->last = (uint64_t)v[0].integer;
    return ERR_OK;
}

static err_t put_errors(struct buf *b, struct reader *reader, uint64_t after, uint64_t limit,
                        uint64_t *ret_position, struct err_text *et)
{
    struct errors e = {.b = b, .last = after};
    const struct query_sink sink = {skip_columns, put_error_row, &e};
    buf_put_string(b, "\"errors\":[");
    err_t err = reader_errors(reader, after, limit, &sink, ret_position, et);
    buf_put_format(b, "],\"next\":%" PRIu64 ",\"end\":%s", e.last,
                   e.count < limit ? "true" : "false");
    return err;
}

static err_t read_errors(struct job *job, struct reader *reader, uint64_t *ret_position,
                         struct err_text *et)
{
    const struct read_request *r = job->ctx;
    buf_put_byte(&job->body, '{');
    err_t err = put_errors(&job->body, reader, r->after.value, r->limit.value, ret_position, et);
    buf_put_byte(&job->body, '}');
    return err;
}

/* Those of the version that is being built are what somebody who fixes a handler wants to see, so
 * they are shown while none serves. */
void api_projection_errors(struct http_request *rq, struct app *app)
{
    struct read_request r = {.read = read_errors, .limit.value = ERRORS_DEFAULT};
    const struct query_parameter parameters[] = {
        {"after", QUERY_NUMBER, &r.after},
        {"limit", QUERY_POSITIVE, &r.limit},
        {NULL, QUERY_FLAG, NULL},
    };
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, parameters) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON), &encoding)) {
        return;
    }
    if (r.limit.value > ERRORS_MAX) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit", "must be at most %d",
                             ERRORS_MAX);
        return;
    }
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL) {
        submit_read(rq, app, &r, encoding);
    }
}

/* ---- PUT …?dry_run=true ---- */

struct dry_run {
    struct catalog_definition definition;
    uint64_t limit, events;
    int64_t until_us;
    struct job *job;
    struct reader *reader;
    struct err_text *et;
    bool any;
    err_t err;
};

static bool is_enough(void *ctx)
{
    struct dry_run *d = ctx;
    return ++d->events >= d->limit || now_us() > d->until_us ||
           jobs_are_stopping(d->job->app->jobs);
}

static err_t dry_steps(struct dry_run *d, struct runner *r)
{
    bool caught_up = false;
    err_t err = ERR_OK;
    while (err == ERR_OK && !caught_up && d->events < d->limit && now_us() <= d->until_us) {
        struct store_view *v;
        err = app_view_open(d->job->app->store, &v);
        if (err == ERR_OK) {
            err = runner_step(r, v, is_enough, d, &caught_up, d->et);
            store_view_close(v);
        }
    }
    return err;
}

/* A table with its number of rows and the first few of them. */
static void put_sample(void *ctx, const char *table, uint64_t rows)
{
    struct dry_run *d = ctx;
    struct buf *b = &d->job->body;
    char sql[EVENT_NAME_MAX * 2];
    buf_put_string(b, d->any ? ",{\"name\":" : "{\"name\":");
    d->any = true;
    buf_put_json_string(b, bytes_of_string(table));
    buf_put_format(b, ",\"count\":%" PRIu64 ",\"sample\":", rows);
    int n = snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" LIMIT %d", table, DRY_RUN_ROWS);
    struct rows sample = {.b = b};
    const struct query_sink sink = {put_columns, put_row, &sample};
    const struct model_query query = {.sql = bytes_of(sql, (size_t)n),
                                      .rows_max = DRY_RUN_ROWS,
                                      .bytes_max = d->job->app->limits.query_bytes_max};
    uint64_t position;
    err_t err = n > 0 && (size_t)n < sizeof sql && strchr(table, '"') == NULL
                    ? reader_query(d->reader, &query, &sink, &position, d->et)
                    : ERR_LIMIT;
    buf_put_string(b, err == ERR_OK ? "]}}" : "null}");
    d->err = d->err == ERR_OK && err != ERR_LIMIT ? err : d->err;
}

static err_t put_dry_run(struct dry_run *d, struct model *m)
{
    struct buf *b = &d->job->body;
    uint64_t position;
    err_t err = reader_of_model(m, &d->reader, d->et);
    if (err != ERR_OK) {
        return err;
    }
    d->job->position = model_checkpoint(m);
    buf_put_format(b, "{\"dry_run\":true,\"kind\":\"%s\",\"position\":%" PRIu64 ",\"tables\":[",
                   d->definition.kind->name, d->job->position);
    err = model_count_rows(m, put_sample, d, d->et);
    buf_put_string(b, "],");
    if (err == ERR_OK) {
        err = d->err;
    }
    if (err == ERR_OK) {
        err = put_errors(b, d->reader, 0, DRY_RUN_ERRORS, &position, d->et);
    }
    reader_close(d->reader);
    return err;
}

static void run_dry(struct job *job)
{
    struct dry_run *d = job->ctx;
    struct err_text et = {0};
    struct model *m;
    struct runner *r = NULL;
    const struct runner_policy policy = {.set_aside = true, .attempts = 1};
    d->job = job, d->et = &et;
    d->until_us = now_us() + (int64_t)job->app->limits.query_time_ms * 1000;
    err_t err = model_open(d->definition.kind, NULL, d->definition.source, &m, &et);
    if (err == ERR_INVALID) {
        job_fail(job, PROBLEM_INVALID_PROJECTION, "body", "%s", et.text);
        return;
    }
    err = err == ERR_OK ? runner_new(m, &policy, &r) : err;
    err = err == ERR_OK ? dry_steps(d, r) : err;
    buf_init(&job->body, job->app->limits.query_bytes_max * 2 + ARENA_SLACK);
    if (err == ERR_OK) {
        struct runner_status status;
        runner_get_status(r, &status);
        err = put_dry_run(d, m);
        buf_put_format(&job->body, ",\"events\":%" PRIu64 "}", status.events);
    }
    runner_free(r);
    if (err != ERR_OK) {
        job_error(job, err, "running the definition");
    }
}

void api_projection_dry_run(struct http_request *rq, struct app *app,
                            const struct catalog_definition *d, uint64_t limit)
{
    if (limit > DRY_RUN_EVENTS_MAX) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit", "must be at most %d",
                             DRY_RUN_EVENTS_MAX);
        return;
    }
    struct job *job = job_new(rq, app, sizeof(struct dry_run));
    if (job != NULL) {
        struct dry_run *dry = job->ctx;
        dry->definition = *d;
        dry->limit = limit == 0 ? DRY_RUN_EVENTS : limit;
        job->run = run_dry;
        jobs_submit(app->jobs, job);
    }
}
