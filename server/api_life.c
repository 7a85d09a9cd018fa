/* api_life: the routes that change what can be read of a stream: its limits, truncation, deletion,
 * redaction. They go the way of every write. */
#include "server/api_life.h"

#include "server/codec.h"
#include "server/etag.h"
#include "server/json.h"
#include "server/query.h"
#include "server/router.h"
#include "server/snapshot_writer.h"

#define ANSWER_BYTES_MAX 4096

static bool read_query(struct http_request *rq, struct life_request *life);
static void answer_result(struct http_request *rq, struct app *app, const struct command *c,
                          enum encoding encoding, const struct life_request *life);
static void answer_field(struct http_request *rq, const struct life_request *life,
                         enum problem problem, const char *member, const char *detail);

void api_set_metadata(struct http_request *rq, struct app *app)
{
    api_write(rq, app, DRAFT_SET_METADATA);
}

void api_delete_stream(struct http_request *rq, struct app *app)
{
    api_write(rq, app, DRAFT_DELETE_STREAM);
}

void api_redact(struct http_request *rq, struct app *app)
{
    api_write(rq, app, DRAFT_REDACT);
}

/* ---- reading ---- */

bool life_read_place(struct http_request *rq, enum draft_body body, struct life_request *ret)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    *ret = (struct life_request){.body = body, .root = ""};
    if (body == DRAFT_DELETE_STREAM) {
        return read_query(rq, ret);
    }
    if (!query_read(rq, none)) {
        return false;
    }
    if (body == DRAFT_REDACT && !query_parse_number(http_path_segment(rq, 4), &ret->revision)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "path.revision",
                             "must be an integer, in digits");
        return false;
    }
    return true;
}

/* A guard in a body would be passed over by what strips bodies from DELETE, so none is taken. */
static bool read_query(struct http_request *rq, struct life_request *life)
{
    struct query_expectation expected = {.given = false};
    const struct query_parameter parameters[] = {
        {"expected_revision", QUERY_EXPECTATION, &expected},
        {"tombstone", QUERY_FLAG, &life->tombstone},
        {NULL, QUERY_FLAG, NULL},
    };
    if (!query_read(rq, parameters)) {
        return false;
    }
    if (http_body(rq).n > 0) {
        reply_problem(rq, PROBLEM_INVALID_FIELD,
                      &(struct problem_extra){
                          .detail = "DELETE takes no body",
                          .hint = "send expected_revision and tombstone as query parameters"});
        return false;
    }
    life->expected_given = expected.given;
    life->expected = expected.value;
    return true;
}

bool life_complete(struct draft *d, const struct life_request *life)
{
    const struct draft_place nowhere = {-1, -1, -1};
    if (life->body == DRAFT_DELETE_STREAM) {
        d->life.tombstone = life->tombstone;
        d->life.target.expected_given = life->expected_given;
        d->life.target.expected = life->expected;
    }
    if (life->body != DRAFT_REDACT) {
        return true;
    }
    if (d->life.revision_given && d->life.revision != life->revision) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "revision",
                            "it is not the revision of the path");
    }
    d->life.revision_given = true;
    d->life.revision = life->revision;
    return life->revision > 0 || draft_reject(d, PROBLEM_EVENT_NOT_FOUND, nowhere, "revision",
                                              "there is no event at revision 0");
}

bool life_keep(struct draft *d, struct arena *arena, struct life_request *life)
{
    life->root = d->root;
    life->revision = d->life.revision;
    if (d->life.kind == COMMAND_APPEND ||
        arena_copy(arena, d->life.target.stream, &life->stream) == ERR_OK) {
        return true;
    }
    return draft_reject(d, PROBLEM_OVERLOADED, (struct draft_place){-1, -1, -1}, "",
                        "there is not enough memory for this request");
}

/* ---- answering ---- */

bool life_answer(struct http_request *rq, struct app *app, const struct command *c,
                 enum encoding encoding, const struct life_request *life)
{
    if (command_verdict(c) == VERDICT_COMMITTED && command_kind(c) != COMMAND_SET_METADATA) {
        snapshot_writer_kick(app->snapshot_writer);
    }
    switch (command_verdict(c)) {
    case VERDICT_COMMITTED:
    case VERDICT_DUPLICATE:
        answer_result(rq, app, c, encoding, life);
        return true;
    case VERDICT_STREAM_NOT_FOUND:
        answer_field(rq, life, PROBLEM_STREAM_NOT_FOUND, "stream", NULL);
        return true;
    case VERDICT_EVENT_NOT_FOUND:
        answer_field(rq, life, PROBLEM_EVENT_NOT_FOUND, "revision",
                     "the stream has no event with this revision, or not any more");
        return true;
    case VERDICT_INVALID_TRUNCATION:
        answer_field(rq, life, PROBLEM_INVALID_FIELD, "truncate_before",
                     "must be at most the head revision + 1, which hides every event");
        return true;
    case VERDICT_STREAM_DELETED:
        answer_field(rq, life, PROBLEM_STREAM_DELETED, "stream",
                     command_kind(c) == COMMAND_REDACT
                         ? "its events were deleted"
                         : "a stream that was deleted for ever stays as it is");
        return true;
    case VERDICT_WRONG_EXPECTED_REVISION:
    case VERDICT_ID_REUSED:
    case VERDICT_PARTIAL_DUPLICATE:
    case VERDICT_CONDITION_FAILED:
    case VERDICT_CONDITION_TOO_BROAD:
    case VERDICT_FAILED:
    case VERDICT_NONE:
        break;
    }
    return false;
}

/* Whoever changes metadata is told what is known of the stream now; the others, what was done. */
static void answer_result(struct http_request *rq, struct app *app, const struct command *c,
                          enum encoding encoding, const struct life_request *life)
{
    if (life->body == DRAFT_SET_METADATA) {
        api_reply_stream(rq, app, life->stream, encoding, false);
        return;
    }
    const struct life_answer a = {.stream = life->stream,
                                  .revision = life->revision,
                                  .duplicate = command_verdict(c) == VERDICT_DUPLICATE,
                                  .result = command_life_result(c)};
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    if (encoding == ENCODING_PROTOBUF) {
        codec_put_life_result(&body, &a);
    } else {
        json_put_life_result(&body, &a);
    }
    if (life->body != DRAFT_COMMAND) {
        etag_set(rq, a.result->head_revision); /* of the path's stream */
    }
    reply_body(rq, 200, encoding, store_position(app->store), &body);
}

static void answer_field(struct http_request *rq, const struct life_request *life,
                         enum problem problem, const char *member, const char *detail)
{
    const struct draft paths = {.root = life->root};
    char field[DRAFT_FIELD_MAX];
    draft_path(&paths, (struct draft_place){-1, -1, -1}, member, field);
    reply_problem(rq, problem, &(struct problem_extra){.detail = detail, .field = field});
}
