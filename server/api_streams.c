/* api_streams: the directory: streams, one stream, categories, event types. */
#include "server/api_life.h"
#include "server/codec.h"
#include "server/etag.h"
#include "server/json.h"
#include "server/query.h"
#include "server/router.h"

#define LIST_DEFAULT     1000
#define LIST_BYTES_MAX   (64u << 20)
#define LIST_ARENA_CHUNK 4096

struct list_options {
    struct bytes prefix, category, after;
    struct query_number limit;
    bool system;
};

static bool read_list_options(struct http_request *rq, struct app *app, bool of_streams,
                              struct list_options *o, enum encoding *ret);
static void handle_names(struct http_request *rq, struct app *app, enum store_names kind,
                         const char *key);
static err_t list_category(struct store_view *v, const struct list_options *o,
                           struct store_name_list *ret);
static void answer_stream(struct http_request *rq, const struct store_stream_info *info,
                          enum encoding encoding, uint64_t position, bool conditional,
                          struct buf *body);
static void answer_list(struct http_request *rq, struct buf *body, enum encoding encoding,
                        uint64_t position);

void api_streams_list(struct http_request *rq, struct app *app)
{
    handle_names(rq, app, STORE_STREAMS, NULL);
}

void api_categories_list(struct http_request *rq, struct app *app)
{
    handle_names(rq, app, STORE_CATEGORIES, "categories");
}

void api_types_list(struct http_request *rq, struct app *app)
{
    handle_names(rq, app, STORE_TYPES, "types");
}

void api_stream_info(struct http_request *rq, struct app *app)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    enum encoding encoding;
    struct bytes stream;
    if (query_stream(rq, &stream) && query_read(rq, none) &&
        reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &encoding)) {
        api_reply_stream(rq, app, stream, encoding, true);
    }
}

void api_reply_stream(struct http_request *rq, struct app *app, struct bytes stream,
                      enum encoding encoding, bool conditional)
{
    struct store_view *v;
    struct store_stream_info info;
    struct buf body;
    err_t err = app_view_open(app->store, &v);
    if (err != ERR_OK) {
        reply_error(rq, err, "reading a stream's state");
        return;
    }
    uint64_t position = store_view_position(v);
    buf_init(&body, LIST_BYTES_MAX);
    err = store_get_stream(v, stream, &info);
    if (err == ERR_OK && encoding == ENCODING_PROTOBUF) {
        codec_put_stream_info(&body, stream, &info);
    } else if (err == ERR_OK) {
        json_put_stream_info(&body, stream, &info);
    }
    store_view_close(v);
    if (err == ERR_OK) {
        answer_stream(rq, &info, encoding, position, conditional, &body);
        return;
    }
    buf_done(&body);
    if (err == ERR_NOT_FOUND) {
        reply_problem(rq, PROBLEM_STREAM_NOT_FOUND, &(struct problem_extra){.field = "stream"});
    } else {
        reply_error(rq, err, "reading a stream's state");
    }
}

/* The tag is the head revision, so that it can be given back as If-Match. It says nothing of
 * metadata, age and deletion: where a stream has any of these, a client's copy may be old though
 * its tag is the same. */
static void answer_stream(struct http_request *rq, const struct store_stream_info *info,
                          enum encoding encoding, uint64_t position, bool conditional,
                          struct buf *body)
{
    etag_set(rq, info->head_revision);
    http_reply_header(rq, "Vary", "Accept");
    if (conditional && !info->changed && etag_is_known(rq, info->head_revision)) {
        buf_done(body);
        etag_reply_not_modified(rq, position);
        return;
    }
    answer_list(rq, body, encoding, position);
}

static bool read_list_options(struct http_request *rq, struct app *app, bool of_streams,
                              struct list_options *o, enum encoding *ret)
{
    *o = (struct list_options){.limit.value = LIST_DEFAULT};
    const struct query_parameter parameters[] = {
        {"prefix", QUERY_NAME, &o->prefix},
        {"after", QUERY_NAME, &o->after},
        {"limit", QUERY_POSITIVE, &o->limit},
        {"system", QUERY_FLAG, &o->system},
        {of_streams ? "category" : NULL, QUERY_NAME, &o->category},
        {NULL, QUERY_FLAG, NULL},
    };
    if (!query_read(rq, parameters) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), ret)) {
        return false;
    }
    if (o->limit.value > app->limits.page_events_max) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit",
                             "must be at most %zu (page-events-max)", app->limits.page_events_max);
        return false;
    }
    return true;
}

/* `key` names the JSON list of names with counts; NULL for streams, which have a form of their
 * own. */
static void handle_names(struct http_request *rq, struct app *app, enum store_names kind,
                         const char *key)
{
    struct list_options o;
    enum encoding encoding;
    struct store_view *v;
    if (!read_list_options(rq, app, key == NULL, &o, &encoding)) {
        return;
    }
    err_t err = app_view_open(app->store, &v);
    if (err != ERR_OK) {
        reply_error(rq, err, "listing names");
        return;
    }
    struct store_name_list list = {0};
    uint64_t position = store_view_position(v);
    struct store_list_query q = {.kind = kind,
                                 .prefix = o.prefix,
                                 .after = o.after,
                                 .limit = (size_t)o.limit.value,
                                 .system = o.system};
    err = o.category.n > 0 ? list_category(v, &o, &list) : store_list_names(v, &q, &list);
    store_view_close(v);
    if (err != ERR_OK) {
        store_name_list_done(&list);
        reply_error(rq, err, "listing names");
        return;
    }
    struct buf body;
    buf_init(&body, LIST_BYTES_MAX);
    if (encoding == ENCODING_PROTOBUF && key == NULL) {
        codec_put_stream_list(&body, &list, o.after);
    } else if (encoding == ENCODING_PROTOBUF) {
        codec_put_name_counts(&body, &list, o.after);
    } else if (key == NULL) {
        json_put_stream_list(&body, &list, o.after);
    } else {
        json_put_name_counts(&body, key, &list, o.after);
    }
    store_name_list_done(&list);
    answer_list(rq, &body, encoding, position);
}

/* The streams of category `c` are the one that is named `c` and those that start with `c-`; in byte
 * order others may come between them, so these are two listings. */
static err_t list_category(struct store_view *v, const struct list_options *o,
                           struct store_name_list *ret)
{
    struct store_stream_info info;
    uint8_t dashed[EVENT_NAME_MAX + 1];
    memcpy(dashed, o->category.p, o->category.n);
    dashed[o->category.n] = '-';
    struct bytes prefix = bytes_of(dashed, o->category.n + 1);
    bool named_so = bytes_compare(o->after, o->category) < 0 &&
                    bytes_have_prefix(o->category, o->prefix) &&
                    (o->system || !event_name_is_system(o->category)) &&
                    store_get_stream(v, o->category, &info) == ERR_OK && !info.deleted;
    if (bytes_have_prefix(o->prefix, prefix)) {
        prefix = o->prefix;
    } else if (!bytes_have_prefix(prefix, o->prefix)) {
        prefix = bytes_of("\xff", 1); /* no name starts with this: nothing has both */
    }
    size_t limit = (size_t)o->limit.value - named_so;
    struct store_list_query q = {.kind = STORE_STREAMS,
                                 .prefix = prefix,
                                 .after = o->after,
                                 .limit = limit > 0 ? limit : 1,
                                 .system = o->system};
    err_t err = store_list_names(v, &q, ret);
    if (err != ERR_OK || !named_so) {
        return err;
    }
    if (limit == 0) {
        ret->end = ret->n == 0;
        ret->n = 0;
    }
    struct store_name *items = arena_alloc(&ret->arena, (ret->n + 1) * sizeof *items);
    if (items == NULL) {
        return ERR_MEMORY;
    }
    err = arena_copy(&ret->arena, o->category, &items[0].name);
    items[0].events = info.head_revision;
    if (ret->n > 0) {
        memcpy(items + 1, ret->items, ret->n * sizeof *items);
    }
    ret->items = items;
    ret->n++;
    return err;
}

static void answer_list(struct http_request *rq, struct buf *body, enum encoding encoding,
                        uint64_t position)
{
    err_t err = buf_status(body);
    if (err != ERR_OK) {
        buf_done(body);
        reply_error(rq, err, "writing the answer");
        return;
    }
    reply_body(rq, 200, encoding, position, body);
}
