/* api_projection_errors: what is done about events that were set aside: one or all are tried again,
 * or one is thrown away.
 *
 * An event that is tried again is taken now, after those that came since, whatever it would have
 * been then. Who needs the order builds the model anew: a changed script does, and so does
 * `rebuild`. */
#include "server/api_projection.h"
#include "server/codec_projection.h"
#include "server/router.h"

#include "storage/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define PAGE         100
#define ANSWER_BYTES ((size_t)4 << 10)

struct errors_request {
    struct projection *projection;
    uint64_t position, after;
    int64_t until_us;
    uint64_t retried, discarded, failed;
    bool end;
    char first[JOB_DETAIL_MAX]; /* why the first of those that failed did */
};

/* Positions of one page of the list, but for what a user has skipped. */
struct page {
    uint64_t positions[PAGE];
    size_t n, seen;
    uint64_t last;
};

static void fail(struct job *job, err_t err, const struct err_text *et)
{
    const struct errors_request *r = job->ctx;
    switch ((int)err) {
    case ERR_NOT_FOUND:
        job_fail(job, PROBLEM_ERROR_NOT_FOUND, "position", "no event %" PRIu64 " is set aside",
                 r->position);
        break;
    case ERR_GONE:
        job_fail(job, PROBLEM_EVENT_NOT_FOUND, "position",
                 "event %" PRIu64 " is not in the log any more; DELETE takes it off the list",
                 r->position);
        break;
    case ERR_INVALID:
    case ERR_LIMIT:
    case ERR_CLOSED:
        job_fail(job, PROBLEM_RETRY_FAILED, "position", "%s",
                 et->text[0] == '\0' ? "it takes too long" : et->text);
        break;
    case ERR_BUSY:
        job_fail(job, PROBLEM_NOT_CAUGHT_UP, NULL, "no version of it serves yet");
        break;
    default:
        job_error(job, err, "changing the model");
    }
}

static void put_json(struct buf *b, const struct errors_request *r)
{
    buf_put_format(b,
                   "{\"retried\":%" PRIu64 ",\"discarded\":%" PRIu64 ",\"failed\":%" PRIu64
                   ",\"next\":%" PRIu64 ",\"end\":%s",
                   r->retried, r->discarded, r->failed, r->after, r->end ? "true" : "false");
    if (r->failed > 0) {
        buf_put_string(b, ",\"detail\":");
        buf_put_json_string(b, bytes_of_string(r->first));
    }
    buf_put_byte(b, '}');
}

static void put_message(struct buf *b, const struct errors_request *r)
{
    codec_put_number(b, 1, r->retried);
    codec_put_number(b, 2, r->discarded);
    codec_put_number(b, 3, r->failed);
    codec_put_number(b, 4, r->after);
    codec_put_number(b, 5, r->end);
    codec_put_text(b, 6, bytes_of_string(r->first));
}

static void answer(struct job *job)
{
    const struct errors_request *r = job->ctx;
    struct workers_model model;
    (void)workers_get_model(job->app->workers, r->projection, &model);
    job->position = model.position;
    buf_init(&job->body, ANSWER_BYTES);
    if (job->encoding == ENCODING_PROTOBUF) {
        put_message(&job->body, r);
    } else {
        put_json(&job->body, r);
    }
}

/* ---- one ---- */

static void run_retry(struct job *job)
{
    struct errors_request *r = job->ctx;
    struct err_text et = {0};
    err_t err = workers_retry_error(job->app->workers, r->projection, r->position, &et);
    if (err != ERR_OK) {
        fail(job, err, &et);
        return;
    }
    r->retried = 1;
    answer(job);
}

static void run_discard(struct job *job)
{
    struct errors_request *r = job->ctx;
    struct err_text et = {0};
    err_t err = workers_discard_error(job->app->workers, r->projection, r->position, &et);
    if (err != ERR_OK) {
        fail(job, err, &et);
        return;
    }
    r->discarded = 1;
    answer(job);
}

static void submit(struct http_request *rq, struct app *app, const struct errors_request *read,
                   enum encoding encoding, void (*run)(struct job *job))
{
    struct job *job = job_new(rq, app, sizeof *read);
    if (job != NULL) {
        memcpy(job->ctx, read, sizeof *read);
        job->encoding = encoding;
        job->run = run;
        jobs_submit(app->jobs, job);
    }
}

static void submit_one(struct http_request *rq, struct app *app, void (*run)(struct job *job))
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    struct errors_request r = {.end = true};
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, true, &name) || !query_read(rq, none) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    if (!query_parse_number(http_path_segment(rq, 4), &r.position) || r.position == 0) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "position",
                             "must be the position of an event, from 1");
        return;
    }
    r.after = r.position;
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL) {
        submit(rq, app, &r, encoding, run);
    }
}

void api_projection_error_retry(struct http_request *rq, struct app *app)
{
    submit_one(rq, app, run_retry);
}

void api_projection_error_discard(struct http_request *rq, struct app *app)
{
    submit_one(rq, app, run_discard);
}

/* ---- all ---- */

static err_t skip_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

/* "position", "stream", "type", "time_us", "attempts", "skipped", "error" */
static err_t take_position(void *ctx, const struct sql_value *v, unsigned n)
{
    struct page *page = ctx;
    CHECK(n == 7 && page->seen < PAGE);
    page->last = (uint64_t)v[0].integer;
    page->seen++;
    if (v[5].integer == 0) {
        page->positions[page->n++] = page->last;
    }
    return ERR_OK;
}

static err_t read_page(struct job *job, struct page *ret, struct err_text *et)
{
    const struct errors_request *r = job->ctx;
    const struct query_sink sink = {skip_columns, take_position, ret};
    struct reader *reader;
    uint64_t version, position;
    err_t err = workers_take_reader(job->app->workers, r->projection, &reader, &version, et);
    if (err == ERR_OK) {
        err = reader_errors(reader, r->after, PAGE, &sink, &position, et);
        workers_give_reader(job->app->workers, r->projection, reader, version);
    }
    return err == ERR_NOT_FOUND ? ERR_BUSY : err;
}

/* One that fails again stays on the list and holds nobody up. */
static err_t retry_one(struct job *job, uint64_t position, struct err_text *et)
{
    struct errors_request *r = job->ctx;
    *et = (struct err_text){0};
    err_t err = workers_retry_error(job->app->workers, r->projection, position, et);
    bool failed = err == ERR_INVALID || err == ERR_LIMIT || err == ERR_GONE;
    if (failed && r->failed++ == 0) {
        (void)snprintf(r->first, sizeof r->first, "%s",
                       err == ERR_GONE ? "an event is not in the log any more" : et->text);
    }
    r->retried += err == ERR_OK;
    return failed || err == ERR_NOT_FOUND ? ERR_OK : err; /* somebody else did it meanwhile */
}

static bool is_over(const struct job *job)
{
    const struct errors_request *r = job->ctx;
    return workers_now_us() > r->until_us || jobs_are_stopping(job->app->jobs);
}

static err_t retry_page(struct job *job, const struct page *page, struct err_text *et)
{
    struct errors_request *r = job->ctx;
    for (size_t i = 0; i < page->n; i++) {
        if (is_over(job)) {
            return ERR_OK;
        }
        err_t err = retry_one(job, page->positions[i], et);
        if (err != ERR_OK) {
            return err;
        }
        r->after = page->positions[i];
    }
    r->after = page->seen > 0 ? page->last : r->after;
    r->end = page->seen < PAGE;
    return ERR_OK;
}

static void run_retry_all(struct job *job)
{
    struct errors_request *r = job->ctx;
    struct err_text et = {0};
    err_t err = ERR_OK;
    r->until_us = workers_now_us() + (int64_t)job->app->limits.query_time_ms * 1000;
    while (err == ERR_OK && !r->end && !is_over(job)) {
        struct page page = {0};
        err = read_page(job, &page, &et);
        if (err == ERR_OK) {
            err = retry_page(job, &page, &et);
        }
    }
    if (err != ERR_OK) {
        fail(job, err, &et);
    } else {
        answer(job);
    }
}

void api_projection_errors_retry(struct http_request *rq, struct app *app)
{
    struct query_number after = {0};
    const struct query_parameter parameters[] = {{"after", QUERY_NUMBER, &after},
                                                 {NULL, QUERY_FLAG, NULL}};
    struct errors_request r = {0};
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, true, &name) || !query_read(rq, parameters) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    r.after = after.value;
    r.projection = api_projection_find(rq, app, name);
    if (r.projection != NULL) {
        submit(rq, app, &r, encoding, run_retry_all);
    }
}
