/* api_read: reading events as pages (page.h) and as streams of NDJSON or protobuf. Reads that
 * follow are handed on to api_follow.c.
 *
 * A page may wait for its first event (`wait`): where there is nothing yet the request is given to
 * the live thread, and read again when that says so, or at the deadline.
 *
 * A streamed read is a snapshot: it ends at what was committed when the request came. It holds no
 * view of the store while it waits for the network: each chunk is read through a view of its own,
 * from the place where the last one ended. Where everything fits in the first chunk, as reads of a
 * stream mostly do, the answer is an ordinary body. */
#include "server/api_follow.h"
#include "server/api_snapshot.h"
#include "server/page.h"
#include "server/query.h"
#include "server/router.h"
#include "server/wire.h"

#include <stdlib.h>
#include <time.h>

/* A chunk is closed by the event that reaches this size; one event may be larger. */
#define CHUNK_BYTES    65536
#define PAGE_BYTES_MAX (2u << 20)
#define OUT_BYTES_MAX  (256u << 20)
/* An ordinary event on top of a full chunk does not make the buffer grow. */
#define CHUNK_SLACK 4096

/* What the query parameters say; borrowed from the request. */
struct read_options {
    struct query_number after, before, limit, wait;
    bool backward, system, follow;
    struct query_names types, categories, prefixes, tags;
    struct query_time since, until;
};

/* One read on its way. */
struct reader {
    struct app *app;
    enum encoding encoding;
    struct store_query query; /* .from moves on with each chunk */
    uint64_t left;            /* events that may still be sent */
    uint64_t snapshot;        /* nothing behind this position is sent */
    uint64_t damaged;         /* position of the damaged record after ERR_CORRUPT */
    bool ended;
    bool from_snapshot;         /* it began after the snapshot … */
    uint64_t began;             /* … at this revision */
    struct page page;           /* writes to `out` */
    struct buf out;             /* the chunk */
    size_t sent;                /* bytes of it */
    struct store_query *copied; /* the query, once it outlives the request */
};

/* A page that waits; in the request's arena, where also its names are. */
struct waiting {
    struct live_poll poll;
    struct app *app;
    struct bytes stream;
    enum encoding encoding;
    struct read_options options;
};

static void handle_read(struct http_request *rq, struct app *app, bool of_stream);
static bool read_options(struct http_request *rq, bool of_stream, struct read_options *o);
static bool check_options(struct http_request *rq, const struct reader *r,
                          const struct read_options *o);
static bool check_live(struct http_request *rq, const struct reader *r,
                       const struct read_options *o);
static void set_query(struct reader *r, const struct read_options *o, struct bytes stream);
static err_t read_first(struct reader *r, const struct read_options *o, uint64_t *ret_head);
static err_t read_some(struct reader *r, struct store_read *read, size_t bytes_max);
static err_t put_record(struct reader *r, const struct store_record *record);
static void answer(struct http_request *rq, struct reader *r, uint64_t head);
static bool is_empty_page(const struct reader *r);
static void start_waiting(struct http_request *rq, struct reader *r, const struct read_options *o);
static void on_wake(struct http_request *rq, void *ctx);
static void answer_error(struct http_request *rq, struct reader *r, err_t err);
static err_t reader_keep(const struct reader *r, struct reader **ret);
static void reader_free(void *ctx);
static err_t next_bytes(void *ctx, uint8_t *p, size_t max, size_t *ret_n);

void api_read_stream(struct http_request *rq, struct app *app)
{
    handle_read(rq, app, true);
}

void api_read_log(struct http_request *rq, struct app *app)
{
    handle_read(rq, app, false);
}

static unsigned offered_for(const struct read_options *o)
{
    unsigned streams = OFFER(ENCODING_NDJSON) | OFFER(ENCODING_PROTOBUF) | OFFER(ENCODING_SSE);
    return o->follow ? streams : streams | PAGE_OFFERED;
}

/* A browser that connects again says itself where it is, and that wins (api_follow.c). */
static bool resumes(struct http_request *rq, const struct reader *r)
{
    return r->encoding == ENCODING_SSE && http_header(rq, "Last-Event-ID").n > 0;
}

static void handle_read(struct http_request *rq, struct app *app, bool of_stream)
{
    struct read_options o;
    struct reader r = {.app = app};
    struct bytes stream = BYTES_NONE;
    if ((of_stream && !query_stream(rq, &stream)) || !read_options(rq, of_stream, &o) ||
        !reply_negotiate(rq, offered_for(&o), &r.encoding)) {
        return;
    }
    o.follow = o.follow || r.encoding == ENCODING_SSE;
    if (!check_options(rq, &r, &o) || !check_live(rq, &r, &o)) {
        return;
    }
    if (o.after.snapshot && !resumes(rq, &r) &&
        !api_snapshot_revision(rq, app, stream, &o.after.value)) {
        return;
    }
    set_query(&r, &o, stream);
    if (o.follow) {
        const struct follow f = {r.query, o.after.end, r.encoding, o.limit.value};
        api_follow(rq, app, &f);
        return;
    }
    buf_init(&r.out, OUT_BYTES_MAX);
    uint64_t head = 0;
    err_t err = read_first(&r, &o, &head);
    if (err != ERR_OK) {
        answer_error(rq, &r, err);
    } else if (o.wait.given && is_empty_page(&r)) {
        start_waiting(rq, &r, &o);
    } else {
        answer(rq, &r, head);
    }
}

/* ---- what is asked for ---- */

static bool read_options(struct http_request *rq, bool of_stream, struct read_options *o)
{
    o->after = o->before = o->limit = o->wait = (struct query_number){0};
    o->backward = o->system = o->follow = false;
    o->since = o->until = (struct query_time){0};
    o->types.n = o->categories.n = o->prefixes.n = o->tags.n = 0;
    const struct query_parameter parameters[] = {
        {"after", of_stream ? QUERY_PLACE : QUERY_NUMBER_OR_END, &o->after},
        {"before", QUERY_NUMBER, &o->before},
        {"direction", QUERY_DIRECTION, &o->backward},
        {"limit", QUERY_POSITIVE, &o->limit},
        {"follow", QUERY_FLAG, &o->follow},
        {"wait", QUERY_WAIT, &o->wait},
        {"system", QUERY_FLAG, &o->system},
        {"type", QUERY_NAMES, &o->types},
        {"since", QUERY_TIME, &o->since},
        {"until", QUERY_TIME, &o->until},
        /* Of the log only: a stream's reads end here. */
        {of_stream ? NULL : "category", QUERY_NAMES, &o->categories},
        {"prefix", QUERY_NAMES, &o->prefixes},
        {"tag", QUERY_NAMES, &o->tags},
        {NULL, QUERY_FLAG, NULL},
    };
    return query_read(rq, parameters);
}

static bool check_options(struct http_request *rq, const struct reader *r,
                          const struct read_options *o)
{
    if (o->backward && o->after.given) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.after",
                             "direction=backward takes before, not after");
        return false;
    }
    if (!o->backward && o->before.given) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.before",
                             "before needs direction=backward");
        return false;
    }
    size_t page_max = r->app->limits.page_events_max;
    if (page_is(r->encoding) && o->limit.value > page_max) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit",
                             "a page has at most %zu events (page-events-max); NDJSON and "
                             "protobuf have no limit",
                             page_max);
        return false;
    }
    return true;
}

/* For the store 0 is no bound. No event is from before 1970: then `since` bounds nothing, and
 * `until` lets nothing through. */
static int64_t time_bound(const struct query_time *t, int64_t before_1970)
{
    return !t->given ? 0 : t->us > 0 ? t->us : before_1970;
}

/* Of reads that follow or wait. */
static bool check_live(struct http_request *rq, const struct reader *r,
                       const struct read_options *o)
{
    if (o->wait.given && !page_is(r->encoding)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.wait",
                             "wait is for pages; NDJSON and protobuf take follow=true, and "
                             "server-sent events always follow");
        return false;
    }
    if (o->backward && (o->wait.given || o->follow)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.direction",
                             "what waits for new events goes forward");
        return false;
    }
    if (o->until.given && (o->wait.given || o->follow)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.until",
                             "what waits for new events has no end");
        return false;
    }
    return true;
}

static void set_query(struct reader *r, const struct read_options *o, struct bytes stream)
{
    r->query = (struct store_query){
        .stream = stream,
        .backward = o->backward,
        .from = o->backward ? o->before.value : o->after.value,
        .filter = {.types = o->types.items,
                   .type_count = o->types.n,
                   .categories = o->categories.items,
                   .category_count = o->categories.n,
                   .prefixes = o->prefixes.items,
                   .prefix_count = o->prefixes.n,
                   .tags = o->tags.items,
                   .tag_count = o->tags.n,
                   .since_us = time_bound(&o->since, 0),
                   .until_us = time_bound(&o->until, 1),
                   .system = o->system || event_name_is_system(stream)},
    };
    r->from_snapshot = o->after.snapshot;
    r->began = o->after.value;
    size_t unlimited = page_is(r->encoding) ? r->app->limits.page_events_default : SIZE_MAX;
    r->left = o->limit.given ? o->limit.value : unlimited;
}

/* ---- reading ---- */

/* Where the read starts and what it cannot pass, from the first view. */
static err_t set_bounds(struct reader *r, const struct read_options *o, struct store_view *v,
                        uint64_t *ret_head)
{
    r->snapshot = store_view_position(v);
    *ret_head = r->snapshot;
    bool needs_head = o->after.end || page_is(r->encoding);
    if (r->query.stream.n > 0 && needs_head) {
        struct store_stream_info info;
        err_t err = store_get_stream(v, r->query.stream, &info);
        if (err != ERR_OK) {
            return err;
        }
        *ret_head = info.head_revision;
    }
    if (o->after.end) {
        r->query.from = *ret_head;
    }
    /* For the store a backward read from 0 is one from the newest; for the client nothing is before
     * 0. */
    if (o->before.given && o->before.value == 0) {
        r->left = 0;
        r->ended = true;
    }
    return ERR_OK;
}

static err_t read_first(struct reader *r, const struct read_options *o, uint64_t *ret_head)
{
    struct store_view *v;
    struct store_read *read;
    err_t err = app_view_open(r->app->store, &v);
    if (err != ERR_OK) {
        return err;
    }
    err = set_bounds(r, o, v, ret_head);
    if (err == ERR_OK) {
        err = store_read_open(v, &r->query, &read);
    }
    if (err == ERR_OK) {
        bool page = page_is(r->encoding);
        if (page) {
            r->page = (struct page){r->encoding, &r->out, 0};
            page_begin(&r->page);
        }
        (void)buf_reserve(&r->out, (page ? CHUNK_BYTES / 4 : CHUNK_BYTES) + CHUNK_SLACK);
        err = read_some(r, read, page ? PAGE_BYTES_MAX : CHUNK_BYTES);
        store_read_close(read);
    }
    store_view_close(v);
    return err;
}

/* Reads until the limit, the size or the end, or until the store has looked at so many events that
 * do not match that it gives the thread back: then a page ends early, with what it has. */
static err_t read_some(struct reader *r, struct store_read *read, size_t bytes_max)
{
    struct store_record record = {0};
    err_t err = ERR_OK;
    while (err == ERR_OK && !r->ended && r->left > 0 && r->out.n < bytes_max) {
        err = store_read_next(read, &record);
        if (err == ERR_OK && record.position > r->snapshot) {
            err = ERR_END;
        } else if (err == ERR_OK) {
            err = put_record(r, &record);
            r->left--;
        }
    }
    uint64_t place = store_read_place(read);
    if (err == ERR_CORRUPT) {
        r->damaged = record.position;
        return err;
    }
    bool is_page = page_is(r->encoding);
    /* Whether a page that is full holds the last event, only the next one can tell. */
    bool is_last = err == ERR_END || (err == ERR_OK && is_page && !r->ended &&
                                      store_read_next(read, &record) == ERR_END);
    if (!r->ended && (r->query.backward || place > r->query.from)) {
        r->query.from = place;
    }
    r->ended = r->ended || is_last || (!is_page && r->left == 0);
    return err == ERR_END || err == ERR_FULL ? ERR_OK : err;
}

static err_t put_record(struct reader *r, const struct store_record *record)
{
    if (!page_is(r->encoding)) {
        return wire_put_event(&r->out, (struct wire){r->encoding, r->query.stream.n > 0}, record);
    }
    struct event e;
    err_t err = store_record_decode(record, &e);
    return err == ERR_OK ? page_put(&r->page, &e) : err;
}

/* ---- answering ---- */

static void answer(struct http_request *rq, struct reader *r, uint64_t head)
{
    if (page_is(r->encoding)) {
        const struct page_end end = {r->query.backward, r->query.from, r->ended, head,
                                     r->from_snapshot,  r->began};
        page_finish(&r->page, rq, &end);
    }
    err_t err = buf_status(&r->out);
    if (err == ERR_OK && (page_is(r->encoding) || r->ended)) {
        reply_body(rq, 200, r->encoding, r->snapshot, &r->out);
        return;
    }
    struct reader *kept;
    if (err == ERR_OK) {
        err = reader_keep(r, &kept);
    }
    if (err != ERR_OK) {
        buf_done(&r->out);
        reply_error(rq, err, "reading events");
        return;
    }
    reply_stream(rq, r->encoding, r->snapshot, next_bytes, reader_free, kept);
}

static void answer_error(struct http_request *rq, struct reader *r, err_t err)
{
    buf_done(&r->out);
    if (err == ERR_NOT_FOUND) {
        reply_problem(rq, PROBLEM_STREAM_NOT_FOUND, &(struct problem_extra){.field = "stream"});
    } else if (err == ERR_GONE) {
        reply_problem(rq, PROBLEM_STREAM_DELETED, &(struct problem_extra){.field = "stream"});
    } else if (err == ERR_CORRUPT) {
        reply_problem_detail(rq, PROBLEM_DATA_DAMAGED, NULL,
                             "the event at position %llu is damaged",
                             (unsigned long long)r->damaged);
    } else {
        reply_error(rq, err, "reading events");
    }
}

/* ---- waiting for the first event of a page ---- */

static bool is_empty_page(const struct reader *r)
{
    return r->ended && page_is(r->encoding) && r->page.events == 0;
}

static int64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Takes the reader's buffer. */
static void wait_again(struct http_request *rq, struct waiting *w, struct reader *r)
{
    buf_done(&r->out);
    http_suspend_long(rq, on_wake, w);
    live_wait(w->app->live, &r->query, &w->poll);
}

static void start_waiting(struct http_request *rq, struct reader *r, const struct read_options *o)
{
    struct waiting *w = arena_alloc(http_arena(rq), sizeof *w);
    if (w == NULL) {
        answer_error(rq, r, ERR_MEMORY);
        return;
    }
    *w = (struct waiting){
        .app = r->app, .stream = r->query.stream, .encoding = r->encoding, .options = *o};
    w->options.after.end = false; /* the end is where it was when the request came */
    w->poll.request = rq;
    w->poll.deadline_us = clock_us() + (int64_t)o->wait.value * 1000;
    wait_again(rq, w, r);
}

/* The page, now: with what there is, unless that is nothing and there is time left. */
static void on_wake(struct http_request *rq, void *ctx)
{
    struct waiting *w = ctx;
    struct reader r = {.app = w->app, .encoding = w->encoding};
    set_query(&r, &w->options, w->stream);
    r.query.from = w->poll.reached;
    buf_init(&r.out, OUT_BYTES_MAX);
    uint64_t head = 0;
    err_t err = read_first(&r, &w->options, &head);
    if (err != ERR_OK) {
        answer_error(rq, &r, err);
    } else if (is_empty_page(&r) && w->poll.why == LIVE_MORE) {
        wait_again(rq, w, &r);
    } else {
        answer(rq, &r, head);
    }
}

/* ---- going on after the first chunk ---- */

/* Moves a reader to the heap, with its chunk and with a copy of what it borrowed from the
 * request. */
static err_t reader_keep(const struct reader *r, struct reader **ret)
{
    struct reader *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        return ERR_MEMORY;
    }
    *kept = *r;
    err_t err = store_query_copy(&r->query, &kept->copied);
    if (err != ERR_OK) {
        free(kept); /* the chunk is still the caller's */
        return err;
    }
    kept->query = *kept->copied;
    *ret = kept;
    return ERR_OK;
}

static void reader_free(void *ctx)
{
    struct reader *r = ctx;
    buf_done(&r->out);
    free(r->copied);
    free(r);
}

static err_t read_more(struct reader *r)
{
    struct store_view *v;
    struct store_read *read;
    err_t err = app_view_open(r->app->store, &v);
    if (err != ERR_OK) {
        return err;
    }
    err = store_read_open(v, &r->query, &read);
    if (err == ERR_OK) {
        err = read_some(r, read, CHUNK_BYTES);
        store_read_close(read);
    }
    store_view_close(v);
    return err;
}

static err_t next_bytes(void *ctx, uint8_t *p, size_t max, size_t *ret_n)
{
    struct reader *r = ctx;
    if (r->sent == r->out.n) {
        buf_clear(&r->out);
        r->sent = 0;
    }
    /* A sparse filter may take several turns, each with a view of its own, until there is something
     * to send. */
    if (r->out.n == 0) {
        err_t err = r->ended ? ERR_END : read_more(r);
        if (err != ERR_OK) {
            return err;
        }
        if (r->out.n == 0 && r->ended) {
            return ERR_END;
        }
    }
    size_t left = r->out.n - r->sent;
    size_t n = left < max ? left : max;
    memcpy(p, r->out.p + r->sent, n);
    r->sent += n;
    *ret_n = n;
    return ERR_OK;
}
