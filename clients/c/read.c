/* read: the iterator over events.
 *
 * The answer to a protobuf read is one EventBatch: nothing but the field `events` over and over,
 * each with its length in front, so whole events can be taken off its front while the rest is still
 * on its way. The server may go away in the middle: since an event says its own number, the request
 * is then made anew for what follows the last event taken, and the caller does not notice. */
#include "client_int.h"

#include <stdlib.h>
#include <string.h>

#define FIELD_EVENTS    0x0a /* EventBatch.events, length-delimited */
#define EVENT_BYTES_MAX ((size_t)256 << 20)
#define AHEAD_BYTES     ((size_t)1 << 20)
#define URL_BYTES_MAX   ((size_t)1 << 20)

struct daybook_events {
    struct daybook *db;                  /* borrowed */
    struct daybook_arena kept;           /* the options' strings */
    struct daybook_read_options options; /* what is left to read: moves on with each event */
    struct daybook_buffer url;
    struct daybook_transfer transfer;
    size_t consumed;            /* bytes at the front of the transfer's body */
    struct daybook_arena arena; /* the current event */
    struct daybook_event event;
    bool finished; /* the limit or the first event was reached */
    struct daybook_retry retry;
    enum daybook_result failed;
};

/* What lies at the front of the body. */
enum front { FRONT_EVENT, FRONT_PART, FRONT_DAMAGED };

static bool keep_options(struct daybook_events *e, const struct daybook_read_options *options);
static bool start(struct daybook_events *e);
static enum front look(const struct daybook_events *e, size_t *ret_header, size_t *ret_n);
static enum daybook_result take(struct daybook_events *e, struct daybook_bytes packed);
static enum daybook_result go_on(struct daybook_events *e, size_t wanted);
static enum daybook_result answer_is_over(struct daybook_events *e);

enum daybook_result daybook_read(struct daybook *db, const struct daybook_read_options *options,
                                 struct daybook_events **ret)
{
    static const struct daybook_read_options everything;
    struct daybook_events *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return daybook_fail_memory(db);
    }
    e->db = db;
    daybook_buffer_init(&e->url, URL_BYTES_MAX);
    if (!keep_options(e, options == NULL ? &everything : options) ||
        !daybook_transfer_init(&e->transfer, db, EVENT_BYTES_MAX + AHEAD_BYTES) || !start(e)) {
        daybook_events_free(e);
        return daybook_fail_memory(db);
    }
    *ret = e;
    return DAYBOOK_OK;
}

void daybook_events_free(struct daybook_events *e)
{
    if (e != NULL) {
        daybook_transfer_done(&e->transfer);
        daybook_buffer_done(&e->url);
        daybook_arena_done(&e->kept);
        daybook_arena_done(&e->arena);
        free(e);
    }
}

/* ---- the request ---- */

static bool keep_names(struct daybook_arena *arena, struct daybook_names *names)
{
    const char **items = daybook_arena_get(arena, (names->n + 1) * sizeof *items);
    if (items == NULL) {
        return false;
    }
    for (size_t i = 0; i < names->n; i++) {
        items[i] = daybook_arena_copy(arena, names->items[i], strlen(names->items[i]));
        if (items[i] == NULL) {
            return false;
        }
    }
    names->items = items;
    return true;
}

static bool keep_options(struct daybook_events *e, const struct daybook_read_options *options)
{
    e->options = *options;
    struct daybook_read_options *o = &e->options;
    if (o->stream != NULL) {
        o->stream = daybook_arena_copy(&e->kept, o->stream, strlen(o->stream));
        if (o->stream == NULL) {
            return false;
        }
    }
    return keep_names(&e->kept, &o->types) && keep_names(&e->kept, &o->categories) &&
           keep_names(&e->kept, &o->prefixes) && keep_names(&e->kept, &o->tags);
}

static bool add_filter(struct daybook_buffer *url, char *mark, const char *name,
                       const struct daybook_names *names)
{
    bool ok = true;
    for (size_t i = 0; ok && i < names->n; i++) {
        ok = daybook_url_text(url, mark, name, names->items[i]);
    }
    return ok;
}

static bool add_path(struct daybook_events *e)
{
    if (e->options.stream == NULL) {
        return daybook_url_begin(e->db, &e->url, "/v1/events");
    }
    return daybook_url_begin(e->db, &e->url, "/v1/streams/") &&
           daybook_url_segment(&e->url, e->options.stream) &&
           daybook_buffer_add_text(&e->url, "/events");
}

/* Begins the request, or begins it again for what is left. */
static bool start(struct daybook_events *e)
{
    const struct daybook_read_options *o = &e->options;
    char mark = '?';
    bool ok = add_path(e);
    if (o->backward) {
        ok = ok && daybook_url_text(&e->url, &mark, "direction", "backward");
    }
    if (o->before > 0) {
        ok = ok && daybook_url_number(&e->url, &mark, "before", o->before);
    }
    if (o->after > 0) {
        ok = ok && daybook_url_number(&e->url, &mark, "after", o->after);
    }
    if (o->limit > 0) {
        ok = ok && daybook_url_number(&e->url, &mark, "limit", o->limit);
    }
    ok = ok && add_filter(&e->url, &mark, "type", &o->types) &&
         add_filter(&e->url, &mark, "category", &o->categories) &&
         add_filter(&e->url, &mark, "prefix", &o->prefixes) &&
         add_filter(&e->url, &mark, "tag", &o->tags) && daybook_url_end(&e->url);
    e->consumed = 0;
    return ok && daybook_transfer_start(&e->transfer, (const char *)e->url.p, NULL);
}

/* ---- the answer ---- */

enum daybook_result daybook_events_next(struct daybook_events *e, const struct daybook_event **ret)
{
    while (e->failed == DAYBOOK_OK) {
        if (e->finished) {
            return DAYBOOK_END;
        }
        size_t header = 0;
        size_t n = 0;
        switch (look(e, &header, &n)) {
        case FRONT_EVENT: {
            struct daybook_bytes packed = {e->transfer.body.p + e->consumed + header, n};
            e->consumed += header + n;
            e->failed = take(e, packed);
            if (e->failed == DAYBOOK_OK) {
                *ret = &e->event;
                return DAYBOOK_OK;
            }
            break;
        }
        case FRONT_PART:
            e->failed = go_on(e, header + n);
            break;
        case FRONT_DAMAGED:
            e->failed = daybook_fail_protocol(e->db, "it is no EventBatch");
            break;
        }
    }
    return e->failed;
}

/* Whether a whole event is there: then its header's size and its own. Of a part, how many bytes it
 * will have as far as that can be said: header + n. */
static enum front look(const struct daybook_events *e, size_t *ret_header, size_t *ret_n)
{
    long status = 0;
    size_t have = e->transfer.body.n - e->consumed;
    *ret_header = have + 1;
    if (have == 0) {
        return FRONT_PART;
    }
    (void)curl_easy_getinfo(e->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        *ret_header = SIZE_MAX / 2;
        return FRONT_PART;
    }
    const uint8_t *p = e->transfer.body.p + e->consumed;
    if (p[0] != FIELD_EVENTS) {
        return FRONT_DAMAGED;
    }
    uint64_t n = 0;
    for (size_t i = 1; i < 6; i++) {
        if (i == have) {
            return FRONT_PART;
        }
        n |= (uint64_t)(p[i] & 0x7f) << (7 * (i - 1));
        if (p[i] < 0x80) {
            *ret_header = i + 1;
            *ret_n = (size_t)n;
            return n > EVENT_BYTES_MAX ? FRONT_DAMAGED
                   : have - i - 1 < n  ? FRONT_PART
                                       : FRONT_EVENT;
        }
    }
    return FRONT_DAMAGED;
}

/* Makes the event the current one; what is left to read is what follows it. */
static enum daybook_result take(struct daybook_events *e, struct daybook_bytes packed)
{
    daybook_arena_reset(&e->arena);
    if (!daybook_event_unpack(&e->arena, packed, &e->event)) {
        return daybook_fail_protocol(e->db, "it has a damaged event");
    }
    struct daybook_read_options *o = &e->options;
    uint64_t number = o->stream != NULL ? e->event.revision : e->event.position;
    if (o->backward) {
        o->before = number;
        e->finished = number <= 1;
    } else {
        o->after = number;
    }
    if (o->limit > 0) {
        o->limit--;
        e->finished = e->finished || o->limit == 0;
    }
    e->retry = (struct daybook_retry){0};
    return DAYBOOK_OK;
}

/* Waits until `wanted` bytes lie behind those consumed, or tries again, or says how it ended. */
static enum daybook_result go_on(struct daybook_events *e, size_t wanted)
{
    daybook_buffer_drop(&e->transfer.body, e->consumed);
    e->consumed = 0;
    if (!e->transfer.running) {
        return answer_is_over(e);
    }
    e->transfer.body_target = AHEAD_BYTES;
    daybook_transfer_wait(&e->transfer, wanted - 1);
    return DAYBOOK_OK;
}

static enum daybook_result answer_is_over(struct daybook_events *e)
{
    if (daybook_transfer_ok(&e->transfer)) {
        return e->transfer.body.n == 0
                   ? DAYBOOK_END
                   : daybook_fail_protocol(e->db, "its last event is cut short");
    }
    if (!daybook_http_retry(&e->transfer, &e->retry)) {
        return daybook_fail_transfer(&e->transfer);
    }
    return start(e) ? DAYBOOK_OK : daybook_fail_memory(e->db);
}
