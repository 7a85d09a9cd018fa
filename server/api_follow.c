/* api_follow: where a live read starts, and its handing over to the live thread. */
#include "server/api_follow.h"

#include "server/query.h"
#include "server/reply.h"

static bool read_last_event_id(struct http_request *rq, struct follow *f);
static err_t find_start(struct app *app, struct follow *f, uint64_t *ret_position);
static err_t no_more(void *ctx, uint8_t *p, size_t max, size_t *ret_n);

void api_follow(struct http_request *rq, struct app *app, const struct follow *f)
{
    struct follow own = *f;
    if (own.encoding == ENCODING_SSE && !read_last_event_id(rq, &own)) {
        return;
    }
    uint64_t position = 0;
    err_t err = find_start(app, &own, &position);
    if (err == ERR_NOT_FOUND) {
        reply_problem(rq, PROBLEM_STREAM_NOT_FOUND, &(struct problem_extra){.field = "stream"});
        return;
    }
    if (err == ERR_GONE) {
        reply_problem(rq, PROBLEM_STREAM_DELETED, &(struct problem_extra){.field = "stream"});
        return;
    }
    if (err == ERR_OK && http_method(rq) == HTTP_HEAD) {
        reply_stream(rq, own.encoding, position, no_more, NULL, NULL);
        return;
    }
    if (err == ERR_OK) {
        reply_position(rq, position);
        http_reply_header(rq, "Cache-Control", "no-store");
        http_reply_header(rq, "X-Accel-Buffering", "no"); /* nginx would collect the events */
        const struct live_stream stream = {&own.query, own.encoding, own.limit};
        err = live_follow(app->live, rq, &stream);
    }
    if (err != ERR_OK) {
        reply_error(rq, err, "following events");
    }
}

/* What a browser's EventSource sends when it connects again: the last id it has seen. It wins over
 * `after`, which is in the URL and stays what it was. */
static bool read_last_event_id(struct http_request *rq, struct follow *f)
{
    struct bytes id = http_header(rq, "Last-Event-ID");
    if (id.n == 0) {
        return true;
    }
    uint64_t number;
    if (!query_parse_number(id, &number)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "header.Last-Event-ID",
                             "must be the id of an event of this stream, in digits");
        return false;
    }
    f->query.from = number;
    f->after_end = false;
    return true;
}

static err_t find_start(struct app *app, struct follow *f, uint64_t *ret_position)
{
    struct store_view *v;
    err_t err = app_view_open(app->store, &v);
    if (err != ERR_OK) {
        return err;
    }
    *ret_position = store_view_position(v);
    uint64_t head = *ret_position;
    if (f->query.stream.n > 0) {
        struct store_stream_info info = {0};
        err = store_get_stream(v, f->query.stream, &info);
        err = err == ERR_OK && info.deleted ? ERR_GONE : err;
        head = info.head_revision;
    }
    f->query.from = f->after_end ? head : f->query.from;
    store_view_close(v);
    return err;
}

static err_t no_more(void *ctx, uint8_t *p, size_t max, size_t *ret_n)
{
    (void)ctx;
    (void)p;
    (void)max;
    (void)ret_n;
    return ERR_END;
}
