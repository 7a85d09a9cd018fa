/* api_event: single events, by position and by revision. But for redaction they never change, so
 * that caches may keep them. */
#include "server/cloudevents.h"
#include "server/codec.h"
#include "server/etag.h"
#include "server/json.h"
#include "server/query.h"
#include "server/router.h"

#define EVENT_ANSWER_BYTES_MAX (256u << 20)

/* Which event the path names: number 0 where it names none. */
struct event_place {
    struct bytes stream; /* empty: the log */
    uint64_t number;
    bool cloudevents_binary; /* its CloudEvent in binary mode */
};

/* How it is answered. */
struct answer {
    bool binary; /* a CloudEvent in binary mode; then `encoding` is not used */
    enum encoding encoding;
    uint64_t position;
};

static bool read_place(struct http_request *rq, struct event_place place, size_t segment,
                       struct event_place *ret);
static void handle_event(struct http_request *rq, struct app *app, const struct event_place *place);
static void answer_event(struct http_request *rq, const struct store_record *record,
                         const struct answer *answer, uint64_t number);
static void answer_failure(struct http_request *rq, const struct answer *answer, err_t err);
static void answer_missing(struct http_request *rq, struct store_view *v,
                           const struct event_place *place, err_t err);

void api_read_stream_event(struct http_request *rq, struct app *app)
{
    struct event_place place = {.stream = BYTES_NONE};
    if (query_stream(rq, &place.stream) && read_place(rq, place, 4, &place)) {
        handle_event(rq, app, &place);
    }
}

void api_read_log_event(struct http_request *rq, struct app *app)
{
    struct event_place place = {.stream = BYTES_NONE};
    if (read_place(rq, place, 2, &place)) {
        handle_event(rq, app, &place);
    }
}

static bool read_place(struct http_request *rq, struct event_place place, size_t segment,
                       struct event_place *ret)
{
    struct bytes mode = BYTES_NONE;
    const struct query_parameter parameters[] = {{"cloudevents", QUERY_NAME, &mode},
                                                 {NULL, QUERY_FLAG, NULL}};
    bool of_stream = place.stream.n > 0;
    if (!query_read(rq, parameters)) {
        return false;
    }
    place.cloudevents_binary = bytes_equal(mode, BYTES_LITERAL("binary"));
    if (mode.p != NULL && !place.cloudevents_binary) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.cloudevents",
                             "must be binary; the other modes are chosen by Accept");
        return false;
    }
    if (!query_parse_number(http_path_segment(rq, segment), &place.number)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER,
                             of_stream ? "path.revision" : "path.position",
                             "must be an integer, in digits");
        return false;
    }
    *ret = place;
    return true;
}

static void handle_event(struct http_request *rq, struct app *app, const struct event_place *place)
{
    struct answer answer = {.binary = place->cloudevents_binary, .encoding = ENCODING_JSON};
    struct store_view *v;
    unsigned offered = OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF) | OFFER(ENCODING_CE_JSON) |
                       OFFER(ENCODING_CE_PROTOBUF);
    /* In binary mode the media type is the data's, whatever is accepted. */
    if (!answer.binary && !reply_negotiate(rq, offered, &answer.encoding)) {
        return;
    }
    err_t err = app_view_open(app->store, &v);
    if (err != ERR_OK) {
        reply_error(rq, err, "reading an event");
        return;
    }
    struct store_record record;
    if (place->number == 0) {
        err = ERR_NOT_FOUND;
    } else if (place->stream.n > 0) {
        err = store_get_stream_event(v, place->stream, place->number, &record);
    } else {
        err = store_get_event(v, place->number, &record);
    }
    if (err == ERR_OK) {
        answer.position = store_view_position(v);
        answer_event(rq, &record, &answer, place->number);
    } else {
        answer_missing(rq, v, place, err);
    }
    store_view_close(v);
}

/* `record` is `e` as it is stored. */
static err_t put_event(struct http_request *rq, const struct store_record *record,
                       const struct event *e, const struct answer *answer, struct buf *body,
                       const char **ret_type)
{
    if (answer->binary) {
        return cloudevents_put_binary(rq, e, body, ret_type);
    }
    if (answer->encoding == ENCODING_PROTOBUF) {
        codec_put_event(body, record);
        return buf_status(body);
    }
    if (answer->encoding == ENCODING_JSON) {
        json_put_event(body, e);
        return buf_status(body);
    }
    struct arena scratch;
    arena_init(&scratch, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    err_t err = answer->encoding == ENCODING_CE_JSON ? cloudevents_put_json(body, &scratch, e)
                                                     : cloudevents_put_protobuf(body, &scratch, e);
    arena_done(&scratch);
    return err;
}

static void answer_event(struct http_request *rq, const struct store_record *record,
                         const struct answer *answer, uint64_t number)
{
    struct buf body;
    struct event e;
    const char *binary_type = NULL;
    buf_init(&body, EVENT_ANSWER_BYTES_MAX);
    err_t err = store_record_decode(record, &e);
    if (err == ERR_OK) {
        err = put_event(rq, record, &e, answer, &body, &binary_type);
    }
    if (err != ERR_OK) {
        buf_done(&body);
        answer_failure(rq, answer, err);
        return;
    }
    http_reply_header(rq, "Vary", "Accept");
    if (e.redacted) {
        /* Not what a client may still have under the event's tag. */
        http_reply_header(rq, "Cache-Control", "no-cache");
    } else {
        etag_set(rq, number);
        http_reply_header(rq, "Cache-Control", "public, max-age=31536000, immutable");
    }
    if (!e.redacted && etag_is_known(rq, number)) {
        buf_done(&body);
        etag_reply_not_modified(rq, answer->position);
    } else if (answer->binary) {
        reply_foreign(rq, binary_type, answer->position, &body);
    } else {
        reply_body(rq, 200, answer->encoding, answer->position, &body);
    }
}

static void answer_failure(struct http_request *rq, const struct answer *answer, err_t err)
{
    if (answer->binary && err == ERR_LIMIT) {
        reply_problem_detail(rq, PROBLEM_NOT_ACCEPTABLE, "query.cloudevents",
                             "its attributes do not fit into a response's header: accept "
                             "application/cloudevents+json instead");
        return;
    }
    reply_error(rq, err, "reading an event");
}

static void answer_missing(struct http_request *rq, struct store_view *v,
                           const struct event_place *place, err_t err)
{
    struct store_stream_info info;
    unsigned long long number = place->number;
    const char *kind = place->stream.n > 0 ? "revision" : "position";
    if (err == ERR_CORRUPT) {
        reply_problem_detail(rq, PROBLEM_DATA_DAMAGED, NULL, "the event at %s %llu is damaged",
                             kind, number);
    } else if (err == ERR_GONE) {
        reply_problem(rq, PROBLEM_STREAM_DELETED, &(struct problem_extra){.field = "stream"});
    } else if (err != ERR_NOT_FOUND) {
        reply_error(rq, err, "reading an event");
    } else if (place->stream.n > 0 && store_get_stream(v, place->stream, &info) == ERR_NOT_FOUND) {
        reply_problem(rq, PROBLEM_STREAM_NOT_FOUND, &(struct problem_extra){.field = "stream"});
    } else {
        reply_problem_detail(rq, PROBLEM_EVENT_NOT_FOUND, NULL, "there is no event at %s %llu",
                             kind, number);
    }
}
