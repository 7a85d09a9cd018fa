/* api_append: the routes that append, and the way of every write. A handler reads and checks the
 * body, hands the command to the writer and waits; when the writer has decided, the continuation
 * answers. */
#include "server/api_life.h"
#include "server/cloudevents.h"
#include "server/codec.h"
#include "server/etag.h"
#include "server/json.h"
#include "server/query.h"
#include "server/router.h"
#include "server/trace.h"
#include "storage/base/check.h"

#include <stdio.h>

/* Small pieces come from malloc's thread cache, so most requests get by with one of them. */
#define DRAFT_CHUNK_BYTES_SMALL 960
#define DRAFT_CHUNK_BYTES_LARGE 65536
#define SMALL_BODY_BYTES        4096
/* One result, as it mostly is. */
#define ANSWER_BYTES     384
#define ANSWER_BYTES_MAX (64u << 20)

/* One write on its way; lives in the request's arena, its command on the heap. */
struct append_request {
    struct writer_job job;
    struct app *app;
    enum encoding encoding;   /* of the answer */
    bool many;                /* of the command's form and of the answer's */
    const char *root;         /* what field paths begin with */
    draft_path_fn *path;      /* how they are made */
    bool header_expected;     /* the expectation came as a header */
    struct life_request life; /* what it asks for, where it is a change of a stream's life */
    err_t submitted;
};

static bool read_command(struct http_request *rq, struct app *app, enum draft_body body,
                         struct append_request *ar);
static bool read_body(struct http_request *rq, enum encoding encoding, enum cloudevents_mode mode,
                      struct draft *d);
static bool complete_draft(struct http_request *rq, struct draft *d, bool *ret_from_header);
static bool read_expected_header(struct http_request *rq, struct draft *d, struct expectation *ret,
                                 bool *ret_given);
static void submit(struct http_request *rq, struct append_request *ar);
static void answer(struct http_request *rq, void *ctx);
static void answer_verdict(struct http_request *rq, struct append_request *ar);
static void answer_result(struct http_request *rq, struct append_request *ar, unsigned status);
static void answer_violations(struct http_request *rq, struct append_request *ar);
static void answer_too_broad(struct http_request *rq, struct append_request *ar);
static void answer_fault(struct http_request *rq, struct append_request *ar, enum problem problem,
                         const char *member, const char *detail);
static void answer_failure(struct http_request *rq, err_t err);
static void free_request(void *ctx);

void api_append_stream(struct http_request *rq, struct app *app)
{
    api_write(rq, app, DRAFT_APPEND);
}

void api_append_many(struct http_request *rq, struct app *app)
{
    api_write(rq, app, DRAFT_APPEND_MANY);
}

void api_command(struct http_request *rq, struct app *app)
{
    api_write(rq, app, DRAFT_COMMAND);
}

void api_write(struct http_request *rq, struct app *app, enum draft_body body)
{
    struct append_request *ar = arena_alloc(http_arena(rq), sizeof *ar);
    if (ar == NULL) {
        reply_error(rq, ERR_MEMORY, "reading the request");
        return;
    }
    *ar = (struct append_request){.app = app, .job = {.request = rq}};
    if (!life_read_place(rq, body, &ar->life) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &ar->encoding) ||
        !read_command(rq, app, body, ar)) {
        return;
    }
    http_set_context(rq, ar, free_request);
    submit(rq, ar);
}

/* ---- reading ---- */

static void reply_rejection(struct http_request *rq, const struct draft *d)
{
    struct problem_extra extra = {.detail = d->rejection.detail};
    extra.field = d->rejection.field[0] != '\0' ? d->rejection.field : NULL;
    reply_problem(rq, d->rejection.problem, &extra);
}

/* An empty body that may be empty; what some clients say of its type does not matter. */
static bool needs_no_body(struct http_request *rq, enum draft_body body)
{
    return (body == DRAFT_DELETE_STREAM || body == DRAFT_REDACT) && http_body(rq).n == 0;
}

/* The command that the request asks for; where there is none it has replied. */
static bool read_command(struct http_request *rq, struct app *app, enum draft_body body,
                         struct append_request *ar)
{
    struct arena arena;
    struct draft d;
    struct bytes bytes = http_body(rq);
    enum encoding encoding = ENCODING_JSON;
    enum cloudevents_mode mode = CLOUDEVENTS_NONE;
    bool appends = body == DRAFT_APPEND || body == DRAFT_APPEND_MANY;
    if ((appends && !cloudevents_mode_of(rq, &mode)) ||
        (mode == CLOUDEVENTS_NONE && !needs_no_body(rq, body) &&
         !reply_content_type(rq, &encoding))) {
        return false;
    }
    /* Decoded text is not longer than its source; beside it there is a struct for each event. */
    arena_init(&arena,
               bytes.n <= SMALL_BODY_BYTES ? DRAFT_CHUNK_BYTES_SMALL : DRAFT_CHUNK_BYTES_LARGE,
               4 * bytes.n + app->limits.append_events_max * 1024 + DRAFT_CHUNK_BYTES_LARGE);
    draft_init(&d, body, &app->limits, &arena);
    bool ok = read_body(rq, encoding, mode, &d) && life_complete(&d, &ar->life) &&
              complete_draft(rq, &d, &ar->header_expected) && draft_check(&d) &&
              trace_keep(rq, &d, mode != CLOUDEVENTS_NONE) && draft_build(&d, &ar->job.command) &&
              life_keep(&d, http_arena(rq), &ar->life);
    ar->many = d.many;
    ar->root = d.root;
    ar->path = d.path;
    if (!ok) {
        reply_rejection(rq, &d);
    }
    arena_done(&arena);
    return ok;
}

static bool read_body(struct http_request *rq, enum encoding encoding, enum cloudevents_mode mode,
                      struct draft *d)
{
    if (needs_no_body(rq, d->body)) {
        return true;
    }
    if (mode != CLOUDEVENTS_NONE) {
        struct bytes stream = d->body == DRAFT_APPEND ? http_path_segment(rq, 2) : BYTES_NONE;
        return cloudevents_read_draft(rq, mode, stream, d);
    }
    return encoding == ENCODING_PROTOBUF ? codec_read_draft(http_body(rq), d)
                                         : json_read_draft(http_body(rq), d);
}

static bool is_same_expectation(struct expectation a, struct expectation b)
{
    return a.kind == b.kind && (a.kind != EXPECT_REVISION || a.revision == b.revision);
}

/* What the path and the headers say of the write. Headers guard the one stream of the path;
 * elsewhere, ignored, they would guard nothing, so they are refused. */
static bool complete_draft(struct http_request *rq, struct draft *d, bool *ret_from_header)
{
    struct draft_place place = {0, -1, -1};
    struct expectation expected = {EXPECT_ANY, 0};
    if (!read_expected_header(rq, d, &expected, ret_from_header)) {
        return false;
    }
    bool of_stream =
        d->body == DRAFT_APPEND || d->body == DRAFT_SET_METADATA || d->body == DRAFT_DELETE_STREAM;
    if (!of_stream && *ret_from_header) {
        d->root = ""; /* a header is not in the command */
        return draft_reject(d, PROBLEM_INVALID_FIELD, (struct draft_place){-1, -1, -1},
                            "header.If-Match",
                            "If-Match and If-None-Match are for POST to one stream's events and "
                            "for PATCH and DELETE of a stream only");
    }
    if (d->body == DRAFT_APPEND_MANY || d->body == DRAFT_COMMAND) {
        return true;
    }
    struct draft_append *append = d->body == DRAFT_APPEND ? d->appends.first : &d->life.target;
    struct bytes stream = http_path_segment(rq, 2);
    if (append->stream.p != NULL && !bytes_equal(append->stream, stream)) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "stream",
                            "it is not the stream of the path");
    }
    append->stream = stream;
    if (*ret_from_header && append->expected_given &&
        !is_same_expectation(append->expected, expected)) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "expected_revision",
                            "the header (If-Match or If-None-Match) and expected_revision differ");
    }
    if (*ret_from_header) {
        append->expected = expected;
        append->expected_given = true;
    }
    return true;
}

/* If-Match: "4" or *, If-None-Match: *. */
static bool read_expected_header(struct http_request *rq, struct draft *d, struct expectation *ret,
                                 bool *ret_given)
{
    struct draft_place nowhere = {-1, -1, -1};
    struct bytes match = http_header(rq, "If-Match");
    struct bytes none_match = http_header(rq, "If-None-Match");
    *ret_given = match.p != NULL || none_match.p != NULL;
    if (match.p != NULL && none_match.p != NULL) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "header.If-None-Match",
                            "send one of If-Match and If-None-Match");
    }
    if (none_match.p != NULL) {
        ret->kind = EXPECT_NO_STREAM;
        return bytes_equal(none_match, BYTES_LITERAL("*")) ||
               draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "header.If-None-Match", "must be *");
    }
    if (match.p == NULL || bytes_equal(match, BYTES_LITERAL("*"))) {
        ret->kind = match.p == NULL ? EXPECT_ANY : EXPECT_STREAM_EXISTS;
        return true;
    }
    ret->kind = EXPECT_REVISION;
    bool quoted = match.n >= 3 && match.p[0] == '"' && match.p[match.n - 1] == '"';
    return (quoted && query_parse_number(bytes_of(match.p + 1, match.n - 2), &ret->revision)) ||
           draft_reject(
               d, PROBLEM_INVALID_FIELD, nowhere, "header.If-Match",
               "must be * or one revision in quotes, such as \"4\", not weak and not a list");
}

/* ---- waiting and answering ---- */

/* From http_suspend on the request may be resumed at any time, so a refusal takes the same way
 * back. */
static void submit(struct http_request *rq, struct append_request *ar)
{
    http_suspend(rq, answer, ar);
    err_t err = writer_submit_in_turn(ar->app->writer, &ar->job);
    if (err != ERR_OK) {
        ar->submitted = err;
        http_resume(rq);
    }
}

static void answer(struct http_request *rq, void *ctx)
{
    struct append_request *ar = ctx;
    if (ar->submitted == ERR_FULL) {
        reply_problem_detail(rq, PROBLEM_OVERLOADED, NULL,
                             "the queue of writes is full; nothing was written");
    } else if (ar->submitted != ERR_OK) {
        reply_problem(rq, PROBLEM_SHUTTING_DOWN,
                      &(struct problem_extra){.detail = "nothing was written"});
    } else if (ar->job.error != ERR_OK) {
        answer_failure(rq, ar->job.error);
    } else {
        answer_verdict(rq, ar);
    }
}

static void answer_verdict(struct http_request *rq, struct append_request *ar)
{
    const struct command *c = ar->job.command;
    if (command_kind(c) != COMMAND_APPEND && life_answer(rq, ar->app, c, ar->encoding, &ar->life)) {
        return;
    }
    switch (command_verdict(c)) {
    case VERDICT_COMMITTED:
        answer_result(rq, ar, 201);
        return;
    case VERDICT_DUPLICATE:
        answer_result(rq, ar, 200);
        return;
    case VERDICT_WRONG_EXPECTED_REVISION:
    case VERDICT_CONDITION_FAILED:
        answer_violations(rq, ar);
        return;
    case VERDICT_CONDITION_TOO_BROAD:
        answer_too_broad(rq, ar);
        return;
    case VERDICT_ID_REUSED:
        answer_fault(rq, ar, PROBLEM_ID_REUSED, "id", "the id stands for another event");
        return;
    case VERDICT_PARTIAL_DUPLICATE:
        answer_fault(rq, ar, PROBLEM_PARTIAL_DUPLICATE, "id",
                     "the first event that does not continue an earlier append as the others do");
        return;
    case VERDICT_STREAM_DELETED:
        answer_fault(rq, ar, PROBLEM_STREAM_DELETED, NULL, "the stream takes no events any more");
        return;
    case VERDICT_FAILED:
        answer_failure(rq, command_error(c));
        return;
    case VERDICT_STREAM_NOT_FOUND:
    case VERDICT_EVENT_NOT_FOUND:
    case VERDICT_INVALID_TRUNCATION: /* life_answer has these */
    case VERDICT_NONE:
        break;
    }
    CHECK(false);
}

void api_reply_refused(struct http_request *rq, struct app *app, struct command *c,
                       const char *root)
{
    struct append_request ar = {.app = app, .job.command = c, .many = true, .root = root};
    answer_verdict(rq, &ar);
}

static void answer_result(struct http_request *rq, struct append_request *ar, unsigned status)
{
    const struct command *c = ar->job.command;
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    (void)buf_reserve(&body, ANSWER_BYTES);
    if (ar->many && ar->encoding == ENCODING_PROTOBUF) {
        codec_put_append_results(&body, c);
    } else if (ar->many) {
        json_put_append_results(&body, c);
    } else if (ar->encoding == ENCODING_PROTOBUF) {
        codec_put_append_result(&body, c, 0);
    } else {
        json_put_append_result(&body, c, 0);
    }
    if (buf_status(&body) != ERR_OK) {
        err_t err = buf_status(&body);
        buf_done(&body);
        reply_error(rq, err, "writing the answer; the events were written");
        return;
    }
    if (!ar->many) {
        etag_set(rq, command_result(c, 0)->last_revision);
    }
    reply_body(rq, status, ar->encoding, store_position(ar->app->store), &body);
}

static void describe_violation(const struct violation *v, char *detail, size_t room)
{
    static const char *const states[] = {[EXPECT_ANY] = "any",
                                         [EXPECT_NO_STREAM] = "no stream",
                                         [EXPECT_STREAM_EXISTS] = "an existing stream"};
    char expected[32];
    if (v->expected.kind == EXPECT_REVISION) {
        snprintf(expected, sizeof expected, "revision %llu",
                 (unsigned long long)v->expected.revision);
    } else {
        snprintf(expected, sizeof expected, "%s", states[v->expected.kind]);
    }
    snprintf(detail, room, "stream '%.*s' is at revision %llu, expected was %s",
             BYTES_ARGS(v->stream), (unsigned long long)v->actual, expected);
}

static void describe_condition_violation(const struct condition_violation *v, char *detail,
                                         size_t room)
{
    snprintf(detail, room, "the event at position %llu matches item %zu of the condition",
             (unsigned long long)v->position, v->item);
}

static void answer_violations(struct http_request *rq, struct append_request *ar)
{
    const struct command *c = ar->job.command;
    struct problem_extra extra = {.violation_count = command_violations(c),
                                  .condition_violation_count = command_condition_violations(c),
                                  .status = ar->header_expected ? 412 : 0};
    /* The command keeps them in two arrays. */
    if (extra.condition_violation_count > 0) {
        extra.condition_violations = command_condition_violation(c, 0);
    }
    char detail[DRAFT_DETAIL_MAX + EVENT_NAME_MAX];
    enum problem problem = PROBLEM_CONDITION_FAILED;
    if (extra.violation_count > 0) {
        extra.violations = command_violation(c, 0);
        problem = PROBLEM_WRONG_EXPECTED_REVISION;
        describe_violation(extra.violations, detail, sizeof detail);
    } else {
        CHECK(extra.condition_violation_count > 0);
        describe_condition_violation(extra.condition_violations, detail, sizeof detail);
    }
    extra.detail = detail;
    reply_problem(rq, problem, &extra);
}

static void answer_too_broad(struct http_request *rq, struct append_request *ar)
{
    char field[DRAFT_FIELD_MAX];
    struct draft paths = {.root = ar->root, .path = ar->path, .many = ar->many};
    draft_path(&paths, (struct draft_place){-1, -1, -1}, "condition.after", field);
    reply_problem_detail(rq, PROBLEM_CONDITION_TOO_BROAD, field,
                         "too many events after it match one type or tag of an item, but not the "
                         "others; nothing was written");
}

/* `member` is of the event at fault; NULL: its stream is at fault. */
static void answer_fault(struct http_request *rq, struct append_request *ar, enum problem problem,
                         const char *member, const char *detail)
{
    const struct command *c = ar->job.command;
    struct draft_place place = {(long)command_fault_append(c), -1, -1};
    if (member != NULL) {
        place.event = (long)command_fault_event(c);
    }
    struct draft paths = {.root = ar->root, .path = ar->path, .many = ar->many};
    char field[DRAFT_FIELD_MAX];
    draft_path(&paths, place, member != NULL ? member : "stream", field);
    reply_problem(rq, problem, &(struct problem_extra){.detail = detail, .field = field});
}

static void answer_failure(struct http_request *rq, err_t err)
{
    if (err == ERR_DISK_FULL) {
        reply_problem(rq, PROBLEM_INSUFFICIENT_STORAGE,
                      &(struct problem_extra){.detail = "nothing was written"});
        return;
    }
    if (err == ERR_LIMIT) { /* a group stands in one segment of the journal */
        reply_problem(rq, PROBLEM_BODY_TOO_LARGE,
                      &(struct problem_extra){
                          .detail = "its events do not fit into a segment of the journal; nothing "
                                    "was written",
                          .hint = "split the request, or raise segment-bytes"});
        return;
    }
    reply_error(rq, err, "committing the command");
}

static void free_request(void *ctx)
{
    struct append_request *ar = ctx;
    command_free(ar->job.command);
}
