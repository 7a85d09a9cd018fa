/* api_snapshot: the routes of clients' snapshots. Writing goes through the thread that syncs them
 * (snapshot_writer.h); reading is a look at the state environment and at the log. */
#include "server/api_snapshot.h"

#include "server/etag.h"
#include "server/query.h"
#include "server/router.h"
#include "server/snapshot_draft.h"
#include "server/snapshot_writer.h"

#include <inttypes.h>
#include <stdio.h>

#define CHUNK_BYTES      4096
#define ANSWER_BYTES_MAX ((size_t)1 << 30)
#define TAG_BYTES        48

/* One write on its way; in the request's arena. */
struct snapshot_request {
    struct snapshot_job job;
    struct app *app;
    enum encoding encoding;
    struct snapshot put;
    struct arena decoded; /* what the body did not have as it is */
};

static const struct query_parameter no_parameters[] = {{NULL, QUERY_FLAG, NULL}};

static const char *format_tag(uint64_t revision, int64_t time_us, char room[TAG_BYTES])
{
    snprintf(room, TAG_BYTES, "\"%" PRIu64 ".%" PRId64 "\"", revision, time_us);
    return room;
}

static void reply_no_stream(struct http_request *rq, err_t err)
{
    if (err == ERR_NOT_FOUND) {
        reply_problem(rq, PROBLEM_STREAM_NOT_FOUND, &(struct problem_extra){.field = "stream"});
    } else if (err == ERR_GONE) {
        reply_problem(rq, PROBLEM_STREAM_DELETED, &(struct problem_extra){.field = "stream"});
    } else {
        reply_error(rq, err, "reading a snapshot");
    }
}

/* ---- writing ---- */

static void free_request(void *ctx)
{
    struct snapshot_request *r = ctx;
    arena_done(&r->decoded);
}

static void answer_put(struct http_request *rq, struct snapshot_request *r)
{
    const struct snapshot_result *result = &r->job.result;
    const struct snapshot_answer a = {.stream = r->job.stream,
                                      .revision = r->put.revision,
                                      .time_us = result->time_us,
                                      .replaced = result->existed};
    struct buf body;
    char tag[TAG_BYTES];
    buf_init(&body, CHUNK_BYTES);
    if (r->encoding == ENCODING_PROTOBUF) {
        codec_put_snapshot_answer(&body, &a);
    } else {
        json_put_snapshot_answer(&body, &a);
    }
    http_reply_header(rq, "ETag", format_tag(a.revision, a.time_us, tag));
    reply_body(rq, a.replaced ? 200 : 201, r->encoding, r->job.position, &body);
}

static void answer_stale(struct http_request *rq, const struct snapshot_request *r)
{
    char detail[SNAPSHOT_DETAIL_MAX];
    snprintf(detail, sizeof detail,
             "the snapshot that is there is of revision %" PRIu64 ", this one of %" PRIu64,
             r->job.result.revision, r->put.revision);
    reply_problem(rq, PROBLEM_SNAPSHOT_STALE,
                  &(struct problem_extra){.detail = detail,
                                          .field = "revision",
                                          .stored_revision = r->job.result.revision});
}

static void answer_done(struct http_request *rq, struct snapshot_request *r)
{
    struct buf none;
    if (r->job.put != NULL) {
        answer_put(rq, r);
        return;
    }
    buf_init(&none, 1);
    reply_body(rq, 204, r->encoding, r->job.position, &none);
}

static void answer_write(struct http_request *rq, void *ctx)
{
    struct snapshot_request *r = ctx;
    if (r->job.error != ERR_OK) {
        reply_error(rq, r->job.error, "writing a snapshot");
        return;
    }
    switch (r->job.result.verdict) {
    case SNAPSHOT_DONE:
        answer_done(rq, r);
        return;
    case SNAPSHOT_NO_STREAM:
        reply_no_stream(rq, ERR_NOT_FOUND);
        return;
    case SNAPSHOT_STREAM_DELETED:
        reply_no_stream(rq, ERR_GONE);
        return;
    case SNAPSHOT_STALE:
        answer_stale(rq, r);
        return;
    case SNAPSHOT_BEYOND_HEAD:
        reply_problem_detail(rq, PROBLEM_INVALID_FIELD, "revision",
                             "the stream's head revision is %" PRIu64, r->job.result.revision);
        return;
    case SNAPSHOT_OF_DELETED:
        reply_problem_detail(rq, PROBLEM_INVALID_FIELD, "revision",
                             "the stream was deleted at revision %" PRIu64
                             ": a snapshot must be of a later one",
                             r->job.result.revision);
        return;
    case SNAPSHOT_NO_ROOM:
        reply_problem(rq, PROBLEM_INSUFFICIENT_STORAGE,
                      &(struct problem_extra){
                          .detail = "all snapshots together are at the limit (snapshots-bytes-max)",
                          .hint = "DELETE some, or raise snapshots-bytes-max"});
        return;
    }
}

static void submit(struct http_request *rq, struct snapshot_request *r)
{
    r->job.request = rq;
    http_suspend(rq, answer_write, r);
    err_t err = snapshot_writer_submit(r->app->snapshot_writer, &r->job);
    if (err != ERR_OK) {
        r->job.error = err;
        http_resume(rq);
    }
}

/* NULL: it has replied. */
static struct snapshot_request *start_write(struct http_request *rq, struct app *app)
{
    struct bytes stream;
    enum encoding encoding;
    if (!query_stream(rq, &stream) || !query_read(rq, no_parameters) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &encoding)) {
        return NULL;
    }
    if (event_name_is_system(stream)) {
        reply_problem(rq, PROBLEM_RESERVED_NAME, &(struct problem_extra){.field = "stream"});
        return NULL;
    }
    struct snapshot_request *r = arena_alloc(http_arena(rq), sizeof *r);
    if (r == NULL) {
        reply_error(rq, ERR_MEMORY, "reading the request");
        return NULL;
    }
    *r = (struct snapshot_request){.app = app, .encoding = encoding, .job.stream = stream};
    return r;
}

static bool read_body(struct http_request *rq, struct snapshot_request *r)
{
    struct snapshot_draft d = {.arena = &r->decoded};
    struct bytes body = http_body(rq);
    enum encoding encoding;
    if (!reply_content_type(rq, &encoding)) {
        return false;
    }
    bool read = encoding == ENCODING_PROTOBUF ? codec_read_snapshot(body, &d)
                                              : json_read_snapshot(body, &d);
    if (read && snapshot_check(&d, r->job.stream, r->app->limits.snapshot_bytes_max)) {
        r->put = d.snapshot;
        r->job.put = &r->put;
        return true;
    }
    reply_problem(rq, d.problem, &(struct problem_extra){.detail = d.detail, .field = d.field});
    return false;
}

void api_snapshot_put(struct http_request *rq, struct app *app)
{
    struct snapshot_request *r = start_write(rq, app);
    if (r == NULL) {
        return;
    }
    arena_init(&r->decoded, CHUNK_BYTES, 2 * http_body(rq).n + (size_t)16 * CHUNK_BYTES);
    http_set_context(rq, r, free_request);
    if (read_body(rq, r)) {
        submit(rq, r);
    }
}

void api_snapshot_delete(struct http_request *rq, struct app *app)
{
    if (http_body(rq).n > 0) {
        reply_problem_detail(rq, PROBLEM_INVALID_FIELD, NULL, "DELETE takes no body");
        return;
    }
    struct snapshot_request *r = start_write(rq, app);
    if (r != NULL) {
        submit(rq, r);
    }
}

/* ---- reading ---- */

/* `*ret_position`: of the view that it was judged by. */
static err_t read_snapshot(struct app *app, struct bytes stream, struct snapshot_read *r,
                           uint64_t *ret_position)
{
    struct store_view *v;
    err_t err = snapshots_read(app->snapshots, stream, r);
    if (err != ERR_OK && err != ERR_CORRUPT) {
        return err;
    }
    err_t view_err = app_view_open(app->store, &v);
    if (view_err != ERR_OK) {
        return view_err;
    }
    *ret_position = store_view_position(v);
    err_t judged = snapshots_judge(v, stream, r);
    store_view_close(v);
    return judged != ERR_OK ? judged : err;
}

static void answer_snapshot(struct http_request *rq, struct bytes stream,
                            const struct snapshot *snapshot, enum encoding encoding,
                            uint64_t position)
{
    char room[TAG_BYTES];
    const char *tag = format_tag(snapshot->revision, snapshot->time_us, room);
    struct bytes known = http_header(rq, "If-None-Match");
    http_reply_header(rq, "ETag", tag);
    http_reply_header(rq, "Vary", "Accept");
    http_reply_header(rq, "Cache-Control", "no-cache");
    if (known.n > 0 && etag_list_has_text(known, bytes_of_string(tag))) {
        etag_reply_not_modified(rq, position);
        return;
    }
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    if (encoding == ENCODING_PROTOBUF) {
        codec_put_snapshot(&body, stream, snapshot);
    } else {
        json_put_snapshot(&body, stream, snapshot);
    }
    reply_body(rq, 200, encoding, position, &body);
}

void api_snapshot(struct http_request *rq, struct app *app)
{
    struct bytes stream;
    enum encoding encoding;
    struct snapshot_read r;
    uint64_t position = 0;
    if (!query_stream(rq, &stream) || !query_read(rq, no_parameters) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &encoding)) {
        return;
    }
    snapshot_read_init(&r);
    err_t err = read_snapshot(app, stream, &r, &position);
    if (err != ERR_OK) {
        reply_no_stream(rq, err);
    } else if (r.found) {
        answer_snapshot(rq, stream, &r.snapshot, encoding, position);
    } else {
        reply_problem(rq, PROBLEM_SNAPSHOT_NOT_FOUND, &(struct problem_extra){.field = "stream"});
    }
    snapshot_read_done(&r);
}

bool api_snapshot_revision(struct http_request *rq, struct app *app, struct bytes stream,
                           uint64_t *ret)
{
    struct snapshot_read r;
    uint64_t position;
    char digits[24];
    snapshot_read_init(&r);
    err_t err = read_snapshot(app, stream, &r, &position);
    *ret = err == ERR_OK && r.found ? r.snapshot.revision : 0;
    snapshot_read_done(&r);
    if (err != ERR_OK) {
        reply_no_stream(rq, err);
        return false;
    }
    snprintf(digits, sizeof digits, "%" PRIu64, *ret);
    http_reply_header(rq, "Daybook-After", digits);
    return true;
}
