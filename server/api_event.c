/* api_event: single events, by position and by revision. They never change, so that caches may keep
 * them. */
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
};

static bool read_place(struct http_request *rq, struct event_place place, size_t segment,
                       struct event_place *ret);
static void handle_event(struct http_request *rq, struct app *app, const struct event_place *place);
static void answer_event(struct http_request *rq, const struct store_record *record,
                         enum encoding encoding, uint64_t position, uint64_t number);
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
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    bool of_stream = place.stream.n > 0;
    if (!query_read(rq, none)) {
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
    enum encoding encoding;
    struct store_view *v;
    if (!reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &encoding)) {
        return;
    }
    err_t err = store_view_open(app->store, &v);
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
        answer_event(rq, &record, encoding, store_view_position(v), place->number);
    } else {
        answer_missing(rq, v, place, err);
    }
    store_view_close(v);
}

static void answer_event(struct http_request *rq, const struct store_record *record,
                         enum encoding encoding, uint64_t position, uint64_t number)
{
    struct buf body;
    struct event e;
    buf_init(&body, EVENT_ANSWER_BYTES_MAX);
    err_t err = ERR_OK;
    if (encoding == ENCODING_PROTOBUF) {
        codec_put_event(&body, record);
    } else {
        err = store_record_decode(record, &e);
        if (err == ERR_OK) {
            json_put_event(&body, &e);
        }
    }
    err = err != ERR_OK ? err : buf_status(&body);
    if (err != ERR_OK) {
        buf_done(&body);
        reply_error(rq, err, "reading an event");
        return;
    }
    etag_set(rq, number);
    http_reply_header(rq, "Vary", "Accept");
    http_reply_header(rq, "Cache-Control", "public, max-age=31536000, immutable");
    if (etag_is_known(rq, number)) {
        buf_done(&body);
        etag_reply_not_modified(rq, position);
        return;
    }
    reply_body(rq, 200, encoding, position, &body);
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
    } else if (err != ERR_NOT_FOUND) {
        reply_error(rq, err, "reading an event");
    } else if (place->stream.n > 0 && store_get_stream(v, place->stream, &info) == ERR_NOT_FOUND) {
        reply_problem(rq, PROBLEM_STREAM_NOT_FOUND, &(struct problem_extra){.field = "stream"});
    } else {
        reply_problem_detail(rq, PROBLEM_EVENT_NOT_FOUND, NULL, "there is no event at %s %llu",
                             kind, number);
    }
}
