/* api_document: reading the documents of a document projection: one by its key, or in the order of
 * the keys. */
#include "server/api_projection.h"
#include "server/codec_projection.h"
#include "server/router.h"

#include <inttypes.h>

#define DOCUMENTS_DEFAULT 100
#define DOCUMENTS_MAX     10000

/* What the rows are written with: "key", "document". */
struct rows {
    struct buf *b;
    enum encoding encoding;
    bool alone; /* not in a list */
    uint64_t count;
    struct buf last; /* key */
};

static err_t take_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

static err_t put_document(void *ctx, const struct sql_value *values, unsigned n)
{
    struct rows *r = ctx;
    (void)n;
    if (r->encoding == ENCODING_PROTOBUF && r->alone) {
        codec_put_document(r->b, values[0].bytes, values[1].bytes, 0);
    } else if (r->encoding == ENCODING_PROTOBUF) {
        codec_put_document_entry(r->b, values[0].bytes, values[1].bytes);
    } else {
        buf_put_string(r->b, r->count == 0 ? "{\"key\":" : ",{\"key\":");
        buf_put_json_string(r->b, values[0].bytes);
        buf_put_string(r->b, ",\"document\":");
        buf_put(r->b, values[1].bytes);
        buf_put_byte(r->b, '}');
    }
    buf_clear(&r->last);
    buf_put(&r->last, values[0].bytes);
    r->count++;
    return buf_status(r->b) == ERR_OK ? ERR_OK : ERR_LIMIT;
}

/* Only a document projection has documents, whatever tables others name so. */
struct projection *api_projection_find_documents(struct http_request *rq, struct app *app,
                                                 struct bytes name, const char *field)
{
    struct projection_status status;
    struct projection *p = workers_find(app->workers, name);
    if (p == NULL || !workers_get_status(app->workers, p, &status)) {
        reply_problem(rq, PROBLEM_PROJECTION_NOT_FOUND, &(struct problem_extra){.field = field});
        return NULL;
    }
    if (strcmp(status.kind, "document") != 0) {
        reply_problem_detail(rq, PROBLEM_INVALID_QUERY, field,
                             "it is no document projection; query its tables with SQL");
        return NULL;
    }
    return p;
}

static struct sql_value text_value(struct bytes text)
{
    return (struct sql_value){.kind = SQL_TEXT, .bytes = text};
}

static err_t query(struct reader *reader, struct model_query *q, struct rows *rows,
                   uint64_t *ret_position, struct err_text *et)
{
    const struct query_sink sink = {take_columns, put_document, rows};
    q->rows_max = DOCUMENTS_MAX;
    return reader_query(reader, q, &sink, ret_position, et);
}

/* ---- one ---- */

static err_t read_one(struct job *job, struct reader *reader, uint64_t *ret_position,
                      struct err_text *et)
{
    const struct read_request *r = job->ctx;
    const struct query_argument arguments[] = {{.value = text_value(r->key)}};
    struct rows rows = {.b = &job->body, .encoding = job->encoding, .alone = true};
    buf_init(&rows.last, EVENT_NAME_MAX * 16);
    struct model_query q = {.sql =
                                BYTES_LITERAL("SELECT key, document FROM documents WHERE key = ?"),
                            .arguments = arguments,
                            .argument_count = 1,
                            .bytes_max = job->app->limits.query_bytes_max};
    err_t err = query(reader, &q, &rows, ret_position, et);
    buf_done(&rows.last);
    if (err == ERR_OK && rows.count == 0) {
        job_fail(job, PROBLEM_DOCUMENT_NOT_FOUND, "key",
                 "no document has this key at position %" PRIu64, *ret_position);
    } else if (err == ERR_OK && job->encoding == ENCODING_PROTOBUF) {
        codec_put_number(&job->body, 3, *ret_position);
    } else if (err == ERR_OK) {
        job->body.n--; /* the closing brace */
        buf_put_format(&job->body, ",\"position\":%" PRIu64 "}", *ret_position);
    }
    return err;
}

static err_t no_more(void *ctx, uint8_t *p, size_t max, size_t *ret_n)
{
    (void)ctx, (void)p, (void)max, (void)ret_n;
    return ERR_END;
}

/* To a browser's EventSource an answer that is not 200 is final, so a projection that is being
 * built, or a document that is not there yet, is waited for in the stream. */
static void follow(struct http_request *rq, struct app *app, const struct read_request *r)
{
    struct live_document document = {.workers = app->workers,
                                     .projection = r->projection,
                                     .key = r->key,
                                     .min_position = r->min_position.value,
                                     .after = r->after.value,
                                     .bytes_max = app->limits.query_bytes_max};
    struct bytes last = http_header(rq, "Last-Event-ID"); /* wins, as in api_follow.c */
    if (last.n > 0 && !query_parse_number(last, &document.after)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "header.Last-Event-ID",
                             "must be the id of a message of this document, in digits");
        return;
    }
    struct workers_model model;
    (void)workers_get_model(app->workers, r->projection, &model);
    if (http_method(rq) == HTTP_HEAD) {
        reply_stream(rq, ENCODING_SSE, model.position, no_more, NULL, NULL);
        return;
    }
    reply_position(rq, model.position);
    http_reply_header(rq, "Cache-Control", "no-store");
    http_reply_header(rq, "X-Accel-Buffering", "no"); /* nginx would collect the messages */
    err_t err = live_follow_document(app->live, rq, &document);
    if (err != ERR_OK) {
        reply_error(rq, err, "following a document");
    }
}

/* Where it is followed there is nothing to wait for, and otherwise nothing to go on after. */
static bool check_following(struct http_request *rq, const struct read_request *r, bool follows)
{
    if (follows ? r->wait.given : r->after.given) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, follows ? "query.wait" : "query.after",
                             follows ? "a document that is followed comes by itself"
                                     : "is for a document that is followed");
        return false;
    }
    return true;
}

void api_document(struct http_request *rq, struct app *app)
{
    struct read_request r = {.read = read_one, .key = http_path_segment(rq, 4)};
    bool follows = false;
    const struct query_parameter parameters[] = {
        {"min_position", QUERY_NUMBER, &r.min_position},
        {"wait", QUERY_WAIT, &r.wait},
        {"follow", QUERY_FLAG, &follows},
        {"after", QUERY_NUMBER, &r.after},
        {NULL, QUERY_FLAG, NULL},
    };
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, parameters)) {
        return;
    }
    unsigned offered = OFFER(ENCODING_SSE) | (follows ? 0 : API_PROJECTION_OFFER);
    if (!reply_negotiate(rq, offered, &encoding) ||
        !check_following(rq, &r, encoding == ENCODING_SSE)) {
        return;
    }
    r.projection = api_projection_find_documents(rq, app, name, "name");
    if (r.projection != NULL && encoding == ENCODING_SSE) {
        follow(rq, app, &r);
    } else if (r.projection != NULL) {
        api_projection_submit_read(rq, app, &r, encoding);
    }
}

/* ---- many ---- */

static void put_end(struct job *job, const struct rows *rows, bool end, uint64_t position)
{
    struct buf *b = &job->body;
    if (job->encoding == ENCODING_PROTOBUF) {
        codec_put_text(b, 2, buf_bytes(&rows->last));
        codec_put_number(b, 3, end);
        codec_put_number(b, 4, position);
        return;
    }
    buf_put_string(b, "],\"next\":");
    buf_put_json_string(b, buf_bytes(&rows->last));
    buf_put_format(b, ",\"end\":%s,\"position\":%" PRIu64 "}", end ? "true" : "false", position);
}

/* Keys that start with the prefix are those from it to before its last byte plus one, which no text
 * ends with where it is 0xff. */
static err_t read_list(struct job *job, struct reader *reader, uint64_t *ret_position,
                       struct err_text *et)
{
    const struct read_request *r = job->ctx;
    uint8_t end[EVENT_NAME_MAX + 1] = {0xff};
    size_t end_n = 1;
    if (r->prefix.n > 0) {
        memcpy(end, r->prefix.p, r->prefix.n);
        end_n = r->prefix.n;
        end[end_n - 1]++;
    }
    const struct query_argument arguments[] = {
        {.value = text_value(r->after_key)},
        {.value = text_value(r->prefix)},
        {.value = text_value(bytes_of(end, end_n))},
        {.value = {.kind = SQL_INTEGER, .integer = (int64_t)r->limit.value}},
    };
    struct rows rows = {.b = &job->body, .encoding = job->encoding};
    bool json = job->encoding == ENCODING_JSON;
    buf_init(&rows.last, EVENT_NAME_MAX * 16);
    buf_put(&rows.last, r->after_key);
    buf_put_string(&job->body, json ? "{\"documents\":[" : "");
    struct model_query q = {.sql =
                                BYTES_LITERAL("SELECT key, document FROM documents WHERE key > ? "
                                              "AND key >= ? AND key < ? ORDER BY key LIMIT ?"),
                            .arguments = arguments,
                            .argument_count = 4,
                            .bytes_max = job->app->limits.query_bytes_max};
    err_t err = query(reader, &q, &rows, ret_position, et);
    put_end(job, &rows, rows.count < r->limit.value, *ret_position);
    buf_done(&rows.last);
    return err;
}

void api_documents_list(struct http_request *rq, struct app *app)
{
    struct read_request r = {.read = read_list, .limit.value = DOCUMENTS_DEFAULT};
    const struct query_parameter parameters[] = {
        {"prefix", QUERY_NAME, &r.prefix},   {"after", QUERY_NAME, &r.after_key},
        {"limit", QUERY_POSITIVE, &r.limit}, {"min_position", QUERY_NUMBER, &r.min_position},
        {"wait", QUERY_WAIT, &r.wait},       {NULL, QUERY_FLAG, NULL},
    };
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, parameters) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    if (r.limit.value > DOCUMENTS_MAX) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit", "must be at most %d",
                             DOCUMENTS_MAX);
        return;
    }
    r.projection = api_projection_find_documents(rq, app, name, "name");
    if (r.projection != NULL) {
        api_projection_submit_read(rq, app, &r, encoding);
    }
}
