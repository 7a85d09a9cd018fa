/* api_projection_dry: what a definition would do with the first events, in memory. */
#include "server/api_projection.h"
#include "server/codec_projection.h"

#include <inttypes.h>
#include <stdio.h>

#define DRY_RUN_EVENTS     1000
#define DRY_RUN_EVENTS_MAX 100000
#define DRY_RUN_ERRORS     20
#define DRY_RUN_ROWS       5

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
    return ++d->events >= d->limit || workers_now_us() > d->until_us ||
           jobs_are_stopping(d->job->app->jobs);
}

static err_t dry_steps(struct dry_run *d, struct runner *r)
{
    bool caught_up = false;
    err_t err = ERR_OK;
    while (err == ERR_OK && !caught_up && d->events < d->limit && workers_now_us() <= d->until_us) {
        struct store_view *v;
        err = app_view_open(d->job->app->store, &v);
        if (err == ERR_OK) {
            err = runner_step(r, v, is_enough, d, &caught_up, d->et);
            store_view_close(v);
        }
    }
    return err;
}

static err_t query_sample(struct dry_run *d, const char *table, const struct query_sink *sink)
{
    char sql[EVENT_NAME_MAX * 2];
    uint64_t position;
    int n = snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" LIMIT %d", table, DRY_RUN_ROWS);
    const struct model_query query = {.sql = bytes_of(sql, (size_t)n),
                                      .rows_max = DRY_RUN_ROWS,
                                      .bytes_max = d->job->app->limits.query_bytes_max};
    return n > 0 && (size_t)n < sizeof sql && strchr(table, '"') == NULL
               ? reader_query(d->reader, &query, sink, &position, d->et)
               : ERR_LIMIT;
}

/* A table with its number of rows and the first few of them. */
static void put_sample(void *ctx, const char *table, uint64_t rows)
{
    struct dry_run *d = ctx;
    struct buf *b = &d->job->body;
    buf_put_string(b, d->any ? ",{\"name\":" : "{\"name\":");
    d->any = true;
    buf_put_json_string(b, bytes_of_string(table));
    buf_put_format(b, ",\"count\":%" PRIu64 ",\"sample\":", rows);
    struct json_rows sample = {.b = b};
    const struct query_sink sink = json_rows_sink(&sample);
    err_t err = query_sample(d, table, &sink);
    buf_put_string(b, err == ERR_OK ? "]}}" : "null}");
    d->err = d->err == ERR_OK && err != ERR_LIMIT ? err : d->err;
}

static void put_sample_message(void *ctx, const char *table, uint64_t rows)
{
    struct dry_run *d = ctx;
    struct buf message, sample;
    size_t max = d->job->app->limits.query_bytes_max * 2 + API_PROJECTION_BODY_SLACK;
    buf_init(&message, max);
    buf_init(&sample, max);
    codec_put_text(&message, 1, bytes_of_string(table));
    codec_put_number(&message, 2, rows);
    const struct query_sink sink = codec_rows_sink(&sample);
    err_t err = query_sample(d, table, &sink);
    if (err == ERR_OK) {
        codec_put_nested(&message, 3, buf_bytes(&sample));
    }
    codec_put_nested(&d->job->body, 4, buf_bytes(&message));
    d->err = d->err == ERR_OK && err != ERR_LIMIT ? err : d->err;
    buf_done(&message);
    buf_done(&sample);
}

static err_t put_dry_run(struct dry_run *d, struct model *m)
{
    struct buf *b = &d->job->body;
    bool json = d->job->encoding == ENCODING_JSON;
    const struct errors_page errors = {b, d->job->encoding, 5, 0, DRY_RUN_ERRORS};
    uint64_t position;
    err_t err = reader_of_model(m, &d->reader, d->et);
    if (err != ERR_OK) {
        return err;
    }
    d->job->position = model_checkpoint(m);
    if (json) {
        buf_put_format(b, "{\"dry_run\":true,\"kind\":\"%s\",\"position\":%" PRIu64 ",\"tables\":[",
                       d->definition.kind->name, d->job->position);
    } else {
        codec_put_number(b, 1, true);
        codec_put_text(b, 2, bytes_of_string(d->definition.kind->name));
        codec_put_number(b, 3, d->job->position);
    }
    err = model_count_rows(m, json ? put_sample : put_sample_message, d, d->et);
    buf_put_string(b, json ? "]," : "");
    if (err == ERR_OK) {
        err = d->err;
    }
    if (err == ERR_OK) {
        err = api_projection_put_errors(&errors, d->reader, &position, d->et);
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
    d->until_us = workers_now_us() + (int64_t)job->app->limits.query_time_ms * 1000;
    err_t err = model_open(d->definition.kind, NULL, d->definition.source, &m, &et);
    if (err == ERR_INVALID) {
        job_fail(job, PROBLEM_INVALID_PROJECTION, "body", "%s", et.text);
        return;
    }
    err = err == ERR_OK ? runner_new(m, &policy, &r) : err;
    err = err == ERR_OK ? dry_steps(d, r) : err;
    buf_init(&job->body, job->app->limits.query_bytes_max * 2 + API_PROJECTION_BODY_SLACK);
    if (err == ERR_OK) {
        struct runner_status status;
        runner_get_status(r, &status);
        err = put_dry_run(d, m);
        if (job->encoding == ENCODING_JSON) {
            buf_put_format(&job->body, ",\"events\":%" PRIu64 "}", status.events);
        } else {
            codec_put_number(&job->body, 8, status.events);
        }
    }
    runner_free(r);
    if (err != ERR_OK) {
        job_error(job, err, "running the definition");
    }
}

void api_projection_dry_run(struct http_request *rq, struct app *app,
                            const struct catalog_definition *d, uint64_t limit,
                            enum encoding encoding)
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
        job->encoding = encoding;
        job->run = run_dry;
        jobs_submit(app->jobs, job);
    }
}
