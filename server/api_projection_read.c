/* api_projection_read: reading models: queries, the schema, the events set aside.
 *
 * Each is a job. A query that waits for a position is not run before the model is there, and holds
 * nothing meanwhile. */
#include "server/api_projection.h"
#include "server/codec_projection.h"
#include "server/router.h"

#include "storage/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define ERRORS_DEFAULT 100
#define ERRORS_MAX     10000

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
    if (job->answer == JOB_BODY) {
        buf_done(&job->body);
        buf_init(&job->body, 1);
    }
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

void api_projection_run_read(struct job *job)
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
    buf_init(&job->body, job->app->limits.query_bytes_max * 2 + API_PROJECTION_BODY_SLACK);
    r->until_us = workers_now_us() + (int64_t)job->app->limits.query_time_ms * 1000;
    job->version = version;
    err = r->read(job, reader, &job->position, &et);
    workers_give_reader(job->app->workers, r->projection, reader, version);
    if (err == ERR_OK && buf_status(&job->body) != ERR_OK) {
        err = ERR_LIMIT;
    }
    if (err != ERR_OK) {
        answer_failed_read(job, err, &et);
    }
}

bool api_projection_is_over(void *ctx)
{
    struct job *job = ctx;
    const struct read_request *r = job->ctx;
    return workers_now_us() > r->until_us || jobs_are_stopping(job->app->jobs) ||
           job_client_is_gone(job);
}

/* ---- POST …/query ---- */

static err_t read_query(struct job *job, struct reader *reader, uint64_t *ret_position,
                        struct err_text *et)
{
    struct read_request *r = job->ctx;
    struct json_rows rows = {.b = &job->body};
    bool json = job->encoding == ENCODING_JSON;
    const struct query_sink sink = json ? json_rows_sink(&rows) : codec_rows_sink(&job->body);
    const struct model_query query = {.sql = r->query.sql,
                                      .arguments = r->query.arguments,
                                      .argument_count = r->query.argument_count,
                                      .rows_max = job->app->limits.query_rows_max,
                                      .bytes_max = job->app->limits.query_bytes_max,
                                      .cancelled = api_projection_is_over,
                                      .cancel_ctx = job};
    err_t err = reader_query(reader, &query, &sink, ret_position, et);
    if (err == ERR_OK && json) {
        buf_put_format(rows.b, "],\"position\":%" PRIu64 "}", *ret_position);
    } else if (err == ERR_OK) {
        codec_put_number(&job->body, CODEC_RESULT_POSITION, *ret_position);
    }
    return err;
}

bool api_projection_read_query(struct http_request *rq, struct bytes body, struct arena *arena,
                               struct read_request *read)
{
    struct json_query *q = &read->query;
    bool json = read->body == ENCODING_JSON;
    if (json ? json_query_read(body, arena, q) : codec_read_query(body, arena, q)) {
        return true;
    }
    reply_problem(rq,
                  !q->malformed ? PROBLEM_INVALID_FIELD
                  : json        ? PROBLEM_INVALID_JSON
                                : PROBLEM_INVALID_PROTOBUF,
                  &(struct problem_extra){.detail = q->detail, .field = q->field});
    return false;
}

void api_projection_submit_job(struct job *job)
{
    const struct read_request *read = job->ctx;
    if (read->min_position.given || read->wait.given) {
        job->is_ready = is_ready;
        job->wait_us = (int64_t)read->wait.value * 1000;
    }
    jobs_submit(job->app->jobs, job);
}

void api_projection_submit_read(struct http_request *rq, struct app *app,
                                const struct read_request *read, enum encoding encoding)
{
    struct job *job = job_new(rq, app, sizeof *read);
    if (job != NULL) {
        memcpy(job->ctx, read, sizeof *read);
        job->encoding = encoding;
        job->run = api_projection_run_read;
        api_projection_submit_job(job);
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
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, parameters) ||
        !reply_content_type(rq, &r.body) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER | OFFER(ENCODING_NDJSON), &encoding)) {
        return;
    }
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL && encoding == ENCODING_NDJSON) {
        api_projection_stream(rq, app, &r);
    } else if (r.projection != NULL &&
               api_projection_read_query(rq, http_body(rq), http_arena(rq), &r)) {
        api_projection_submit_read(rq, app, &r, encoding);
    }
}

/* ---- GET …/schema ---- */

struct schema {
    struct buf *b;
    struct buf table; /* in protobuf: the one whose columns come */
    char name[EVENT_NAME_MAX + 1];
    bool any;
};

static err_t skip_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

/* Rows come by table: "table", "kind", "column", "type", "not_null", "primary_key". */
static bool is_next_table(struct schema *s, const struct sql_value *v)
{
    char name[sizeof s->name];
    snprintf(name, sizeof name, "%.*s", BYTES_ARGS(v[0].bytes));
    bool next = !s->any || strcmp(name, s->name) != 0;
    memcpy(s->name, name, sizeof name);
    return next;
}

static err_t put_schema_row(void *ctx, const struct sql_value *v, unsigned n)
{
    struct schema *s = ctx;
    CHECK(n == 6);
    if (is_next_table(s, v)) {
        buf_put_string(s->b, s->any ? "]},{\"name\":" : "{\"name\":");
        buf_put_json_string(s->b, v[0].bytes);
        buf_put_string(s->b, ",\"kind\":");
        buf_put_json_string(s->b, v[1].bytes);
        buf_put_string(s->b, ",\"columns\":[");
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

/* The table before is whole. */
static void end_table(struct schema *s)
{
    if (s->any) {
        codec_put_nested(s->b, 1, buf_bytes(&s->table));
    }
    buf_clear(&s->table);
}

static err_t put_schema_message(void *ctx, const struct sql_value *v, unsigned n)
{
    struct schema *s = ctx;
    struct buf column;
    CHECK(n == 6);
    if (is_next_table(s, v)) {
        end_table(s);
        codec_put_text(&s->table, 1, v[0].bytes);
        codec_put_text(&s->table, 2, v[1].bytes);
        s->any = true;
    }
    buf_init(&column, API_PROJECTION_BODY_SLACK);
    codec_put_text(&column, 1, v[2].bytes);
    codec_put_text(&column, 2, v[3].bytes);
    codec_put_number(&column, 3, v[4].integer != 0);
    codec_put_number(&column, 4, v[5].integer != 0);
    codec_put_nested(&s->table, 3, buf_bytes(&column));
    buf_done(&column);
    return ERR_OK;
}

static err_t read_schema(struct job *job, struct reader *reader, uint64_t *ret_position,
                         struct err_text *et)
{
    struct schema s = {.b = &job->body};
    bool json = job->encoding == ENCODING_JSON;
    const struct query_sink sink = {skip_columns, json ? put_schema_row : put_schema_message, &s};
    buf_init(&s.table, SQL_TEXT_BYTES_MAX);
    buf_put_string(s.b, json ? "{\"tables\":[" : "");
    err_t err = reader_schema(reader, &sink, ret_position, et);
    if (json) {
        buf_put_format(s.b, "%s],\"position\":%" PRIu64 "}", s.any ? "]}" : "", *ret_position);
    } else {
        end_table(&s);
        codec_put_number(s.b, 2, *ret_position);
    }
    buf_done(&s.table);
    return err;
}

void api_projection_schema(struct http_request *rq, struct app *app)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    struct read_request r = {.read = read_schema};
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, none) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL) {
        api_projection_submit_read(rq, app, &r, encoding);
    }
}

/* ---- GET …/errors ---- */

struct errors {
    const struct errors_page *page;
    uint64_t count, last;
};

static void put_error_json(struct buf *b, const struct sql_value *v, bool first)
{
    buf_put_format(b, "%s{\"position\":%" PRId64 ",\"stream\":", first ? "" : ",", v[0].integer);
    buf_put_json_string(b, v[1].bytes);
    buf_put_string(b, ",\"type\":");
    buf_put_json_string(b, v[2].bytes);
    buf_put_format(b, ",\"attempts\":%" PRId64 ",\"skipped\":%s,\"detail\":", v[4].integer,
                   v[5].integer != 0 ? "true" : "false");
    buf_put_json_string(b, v[6].bytes);
    buf_put_byte(b, '}');
}

/* "position", "stream", "type", "time_us", "attempts", "skipped", "error" */
static err_t put_error_row(void *ctx, const struct sql_value *v, unsigned n)
{
    struct errors *e = ctx;
    CHECK(n == 7);
    if (e->page->encoding == ENCODING_PROTOBUF) {
        codec_put_error_row(e->page->b, e->page->field, v);
    } else {
        put_error_json(e->page->b, v, e->count == 0);
    }
    e->count++;
    e->last = (uint64_t)v[0].integer;
    return ERR_OK;
}

err_t api_projection_put_errors(const struct errors_page *page, struct reader *reader,
                                uint64_t *ret_position, struct err_text *et)
{
    struct errors e = {.page = page, .last = page->after};
    const struct query_sink sink = {skip_columns, put_error_row, &e};
    bool json = page->encoding == ENCODING_JSON;
    buf_put_string(page->b, json ? "\"errors\":[" : "");
    err_t err = reader_errors(reader, page->after, page->limit, &sink, ret_position, et);
    bool end = e.count < page->limit;
    if (json) {
        buf_put_format(page->b, "],\"next\":%" PRIu64 ",\"end\":%s", e.last,
                       end ? "true" : "false");
    } else {
        codec_put_number(page->b, page->field + 1, e.last);
        codec_put_number(page->b, page->field + 2, end);
    }
    return err;
}

static err_t read_errors(struct job *job, struct reader *reader, uint64_t *ret_position,
                         struct err_text *et)
{
    const struct read_request *r = job->ctx;
    bool json = job->encoding == ENCODING_JSON;
    const struct errors_page page = {&job->body, job->encoding, 1, r->after.value, r->limit.value};
    buf_put_string(&job->body, json ? "{" : "");
    err_t err = api_projection_put_errors(&page, reader, ret_position, et);
    buf_put_string(&job->body, json ? "}" : "");
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
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    if (r.limit.value > ERRORS_MAX) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit", "must be at most %d",
                             ERRORS_MAX);
        return;
    }
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL) {
        api_projection_submit_read(rq, app, &r, encoding);
    }
}
