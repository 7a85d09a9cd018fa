/* api_state: GET /v1/streams/{stream}/state: the document of a stream, folded up to its head at the
 * time of the request. */
#include "server/api_projection.h"
#include "server/router.h"

#include "server/state_cache.h"
#include "storage/base/crc32c.h"

#include <inttypes.h>
#include <stdio.h>

/* Takes the one document, copied. */
static err_t take_document(void *ctx, const struct sql_value *values, unsigned n)
{
    struct buf *stored = ctx;
    (void)n;
    buf_put(stored, values[0].bytes);
    return buf_status(stored);
}

static err_t skip_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

static err_t read_stored(struct job *job, struct reader *reader, struct buf *ret,
                         uint64_t *ret_position, struct err_text *et)
{
    const struct read_request *r = job->ctx;
    const struct query_argument argument = {.value = {.kind = SQL_TEXT, .bytes = r->key}};
    const struct query_sink sink = {skip_columns, take_document, ret};
    const struct model_query query = {
        .sql = BYTES_LITERAL("SELECT document FROM documents WHERE key = ?"),
        .arguments = &argument,
        .argument_count = 1,
        .rows_max = 1,
        .bytes_max = job->app->limits.query_bytes_max};
    return reader_query(reader, &query, &sink, ret_position, et);
}

/* The tag names the version of the projection, so that one version's state is never taken for
 * another's, and the state's bytes, which change without the revision where an event of the tail is
 * redacted or one that was set aside is taken late. */
static void put_state(struct job *job, const struct buf *state, uint64_t revision)
{
    const struct read_request *r = job->ctx;
    buf_put_string(&job->body, "{\"stream\":");
    buf_put_json_string(&job->body, r->key);
    buf_put_format(&job->body,
                   ",\"revision\":%" PRIu64 ",\"projection_version\":%" PRIu64 ",\"state\":",
                   revision, job->version);
    if (state->n > 0) {
        buf_put(&job->body, bytes_of(state->p, state->n));
    } else {
        buf_put_string(&job->body, "null");
    }
    buf_put_byte(&job->body, '}');
    snprintf(job->etag, sizeof job->etag, "\"%" PRIu64 ".%" PRIu64 ".%08" PRIx32 "\"", job->version,
             revision, crc32c(0, buf_bytes(state)));
}

static void fail_fold(struct job *job, err_t err, const struct err_text *et)
{
    if (err == ERR_NOT_FOUND) {
        job_fail(job, PROBLEM_STREAM_NOT_FOUND, "stream", "the stream does not exist");
    } else if (err == ERR_GONE) {
        job_fail(job, PROBLEM_STREAM_DELETED, "stream", "the stream was deleted");
    } else if (err == ERR_UNSUPPORTED) {
        job_fail(job, PROBLEM_INVALID_QUERY, "query.projection",
                 "the projection chooses its own keys, so its documents are not by stream");
    } else if (err == ERR_INVALID || err == ERR_LIMIT || err == ERR_CLOSED) {
        job_fail(job, PROBLEM_STATE_NOT_FOLDED, "query.projection", "%s", et->text);
    } else {
        job_error(job, err, "folding the state");
    }
}

/* Where an automatic snapshot is kept: for one version of one model with what it took late, and one
 * stream. */
static void put_key(struct buf *b, const struct job *job, const struct workers_model *model)
{
    const struct read_request *r = job->ctx;
    const uint64_t numbers[] = {(uint64_t)(uintptr_t)r->projection, job->version, model->since,
                                model->patches};
    buf_put(b, bytes_of((const uint8_t *)numbers, sizeof numbers));
    buf_put(b, r->key);
}

/* Folds from the snapshot where that is still good, and keeps one where many events were folded. */
static err_t fold_from_snapshot(struct job *job, const struct state_request *whole,
                                struct bytes key, struct store_view *v, struct buf *ret,
                                struct err_text *et)
{
    struct app *app = job->app;
    struct state_request request = *whole;
    struct buf snapshot;
    struct state_mark mark;
    struct state_result result;
    buf_init(&snapshot, SQL_VALUE_BYTES_MAX);
    if (app->state_cache != NULL && state_cache_get(app->state_cache, key, &mark, &snapshot)) {
        request.mark = &mark;
        request.snapshot = buf_bytes(&snapshot);
    }
    err_t err = state_fold(&request, v, ret, &result, et);
    if (err == ERR_OK) {
        put_state(job, ret, result.mark.revision);
    }
    if (err == ERR_OK && app->state_cache != NULL &&
        result.folded >= app->limits.state_snapshot_events) {
        state_cache_put(app->state_cache, key, &result.mark, buf_bytes(ret));
    }
    buf_done(&snapshot);
    return err;
}

/* The view is opened after the model was read, so it has all that the model has. */
static err_t fold(struct job *job, const struct state_request *request,
                  const struct workers_model *model, struct buf *ret)
{
    struct buf key;
    struct store_view *v;
    struct err_text et = {0};
    buf_init(&key, 2 * EVENT_NAME_MAX);
    put_key(&key, job, model);
    err_t err = app_view_open(job->app->store, &v);
    if (err == ERR_OK) {
        job->position = store_view_position(v);
        err = buf_status(&key);
        err = err == ERR_OK ? fold_from_snapshot(job, request, buf_bytes(&key), v, ret, &et) : err;
        store_view_close(v);
    }
    buf_done(&key);
    if (err != ERR_OK) {
        fail_fold(job, err, &et);
    }
    return ERR_OK;
}

static err_t read_state(struct job *job, struct reader *reader, uint64_t *ret_position,
                        struct err_text *et)
{
    const struct read_request *r = job->ctx;
    struct buf source, stored, state;
    struct workers_model model = {0};
    uint64_t checkpoint = 0;
    /* Before the document is read: what comes late meanwhile has another number. */
    bool there = workers_get_model(job->app->workers, r->projection, &model);
    buf_init(&source, SQL_VALUE_BYTES_MAX);
    buf_init(&stored, SQL_VALUE_BYTES_MAX);
    buf_init(&state, SQL_VALUE_BYTES_MAX);
    err_t err = read_stored(job, reader, &stored, &checkpoint, et);
    *ret_position = checkpoint;
    if (err == ERR_OK && (!there || !workers_get_version_source(job->app->workers, r->projection,
                                                                job->version, &source))) {
        err = ERR_NOT_FOUND; /* deleted meanwhile */
    }
    if (err == ERR_OK) {
        const struct state_request request = {.source = buf_bytes(&source),
                                              .stream = r->key,
                                              .stored = buf_bytes(&stored),
                                              .checkpoint = checkpoint,
                                              .cancelled = api_projection_is_over,
                                              .cancel_ctx = job};
        err = fold(job, &request, &model, &state);
        *ret_position = job->position;
    }
    buf_done(&source);
    buf_done(&stored);
    buf_done(&state);
    return err;
}

void api_stream_state(struct http_request *rq, struct app *app)
{
    struct read_request r = {.read = read_state};
    struct bytes name = BYTES_NONE;
    const struct query_parameter parameters[] = {
        {"projection", QUERY_NAME, &name},
        {"wait", QUERY_WAIT, &r.wait},
        {NULL, QUERY_FLAG, NULL},
    };
    enum encoding encoding;
    if (!query_stream(rq, &r.key) || !query_read(rq, parameters) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON), &encoding)) {
        return;
    }
    if (name.n == 0) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.projection",
                             "is required: the name of a document projection");
        return;
    }
    r.projection = api_projection_find_documents(rq, app, name, "query.projection");
    if (r.projection != NULL) {
        api_projection_submit_read(rq, app, &r, encoding);
    }
}
