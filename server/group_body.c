/* group_body: see server/README.md, "Consumer groups", for the shapes. */
#include "server/group_body.h"

#include "server/json.h"
#include "server/push_message.h"

#include <inttypes.h>

#define PUSH_TIMEOUT_US      INT64_C(10000000)
#define PUSH_TIMEOUT_US_MAX  INT64_C(300000000)
#define PUSH_CONCURRENCY     4
#define PUSH_CONCURRENCY_MAX 100

/* ---- reading ---- */

static bool read_choice(struct http_request *rq, struct bytes text, const char *field,
                        const char *first, const char *second, bool *ret_second)
{
    *ret_second = bytes_equal(text, bytes_of_string(second));
    if (*ret_second || bytes_equal(text, bytes_of_string(first))) {
        return true;
    }
    reply_problem_detail(rq, PROBLEM_INVALID_FIELD, field, "must be \"%s\" or \"%s\"", first,
                         second);
    return false;
}

static void set_names(const struct body_names *names, const struct bytes **ret, size_t *ret_n)
{
    *ret = names->items;
    *ret_n = names->n;
}

bool group_body_read_filter(struct http_request *rq, struct bytes text, const char *root,
                            struct store_filter *ret)
{
    struct body_names category = {0}, type = {0}, prefix = {0}, tag = {0};
    const struct body_field fields[] = {
        {"category", BODY_NAMES, &category, NULL},
        {"type", BODY_NAMES, &type, NULL},
        {"prefix", BODY_NAMES, &prefix, NULL},
        {"tag", BODY_NAMES, &tag, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, text, root, fields)) {
        return false;
    }
    *ret = (struct store_filter){0};
    set_names(&category, &ret->categories, &ret->category_count);
    set_names(&type, &ret->types, &ret->type_count);
    set_names(&prefix, &ret->prefixes, &ret->prefix_count);
    set_names(&tag, &ret->tags, &ret->tag_count);
    return true;
}

static bool read_backoff(struct http_request *rq, struct bytes text, struct group_patch *ret)
{
    const struct body_field fields[] = {
        {"initial_s", BODY_SECONDS, &ret->values.backoff_initial_us, &ret->backoff_initial},
        {"max_s", BODY_SECONDS, &ret->values.backoff_max_us, &ret->backoff_max},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    return body_read(rq, text, "backoff.", fields);
}

/* What the log keeps of `push`: everything but the secret. */
static bool read_push(struct http_request *rq, struct bytes text, struct group_patch *ret)
{
    struct bytes url = BYTES_NONE;
    int64_t timeout_us = PUSH_TIMEOUT_US;
    uint64_t concurrency = PUSH_CONCURRENCY;
    const struct body_field fields[] = {
        {"url", BODY_TEXT, &url, NULL},
        {"secret", BODY_TEXT, &ret->secret, &ret->secret_given},
        {"timeout_s", BODY_SECONDS, &timeout_us, NULL},
        {"concurrency", BODY_COUNT, &concurrency, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (text.n == 0) {
        ret->secret_given = true; /* none any more */
        return true;
    }
    if (!body_read(rq, text, "push.", fields)) {
        return false;
    }
    const char *fault = push_url_fault(url);
    const char *field = fault != NULL ? "push.url" : NULL;
    if (fault == NULL && ret->secret.n > GROUP_SECRET_MAX) {
        field = "push.secret";
        fault = "must be at most 256 bytes";
    } else if (fault == NULL && (timeout_us < 1000 || timeout_us > PUSH_TIMEOUT_US_MAX)) {
        field = "push.timeout_s";
        fault = "must be from 0.001 to 300";
    } else if (fault == NULL && (concurrency < 1 || concurrency > PUSH_CONCURRENCY_MAX)) {
        field = "push.concurrency";
        fault = "must be from 1 to 100";
    }
    if (fault != NULL) {
        reply_problem_detail(rq, PROBLEM_INVALID_FIELD, field, "%s", fault);
        return false;
    }
    struct buf b;
    buf_init(&b, GROUP_PUSH_MAX);
    struct push_settings settings = {.timeout_us = timeout_us,
                                     .concurrency = (unsigned)concurrency};
    memcpy(settings.url, url.p, url.n);
    push_put_settings(&b, &settings);
    err_t err = buf_status(&b);
    if (err == ERR_OK) {
        err = arena_copy(http_arena(rq), buf_bytes(&b), &ret->values.push);
    }
    buf_done(&b);
    if (err != ERR_OK) {
        reply_error(rq, err, "reading push");
    }
    return err == ERR_OK;
}

/* The core checks the ranges; what does not fit its type is over every range. */
static uint32_t narrow(uint64_t v)
{
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

bool group_body_read_patch(struct http_request *rq, bool creates, struct group_patch *ret)
{
    *ret = (struct group_patch){0};
    struct bytes filter = BYTES_NONE, backoff = BYTES_NONE, ordering = BYTES_NONE,
                 on_park = BYTES_NONE, push = BYTES_NONE;
    uint64_t attempts = 0, in_flight = 0;
    bool second;
    const struct body_field fields[] = {
        {"filter", BODY_OBJECT, &filter, &ret->filter},
        {"ordering", BODY_TEXT, &ordering, &ret->ordering},
        {"on_park", BODY_TEXT, &on_park, &ret->on_park},
        {"ack_timeout_s", BODY_SECONDS, &ret->values.ack_timeout_us, &ret->ack_timeout},
        {"max_attempts", BODY_COUNT, &attempts, &ret->max_attempts},
        {"backoff", BODY_OBJECT, &backoff, NULL},
        {"max_in_flight", BODY_COUNT, &in_flight, &ret->max_in_flight},
        {"paused", BODY_FLAG, &ret->values.paused, &ret->paused},
        {"push", BODY_OBJECT_OR_NULL, &push, &ret->push},
        {creates ? "after" : NULL, BODY_PLACE, &ret->after, &ret->after_given},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, http_body(rq), "", fields) ||
        (ret->filter && !group_body_read_filter(rq, filter, "filter.", &ret->values.filter)) ||
        !read_backoff(rq, backoff, ret) || (ret->push && !read_push(rq, push, ret))) {
        return false;
    }
    ret->values.max_attempts = narrow(attempts);
    ret->values.max_in_flight = narrow(in_flight);
    if (ret->ordering) {
        if (!read_choice(rq, ordering, "ordering", "stream", "none", &second)) {
            return false;
        }
        ret->values.ordering = second ? GROUP_ORDER_NONE : GROUP_ORDER_STREAM;
    }
    if (ret->on_park) {
        if (!read_choice(rq, on_park, "on_park", "block", "continue", &second)) {
            return false;
        }
        ret->values.on_park = second ? GROUP_PARK_CONTINUE : GROUP_PARK_BLOCK;
    }
    return true;
}

void group_patch_apply(const struct group_patch *p, struct group_settings *s)
{
    const struct group_settings *v = &p->values;
    s->filter = p->filter ? v->filter : s->filter;
    s->ordering = p->ordering ? v->ordering : s->ordering;
    s->on_park = p->on_park ? v->on_park : s->on_park;
    s->ack_timeout_us = p->ack_timeout ? v->ack_timeout_us : s->ack_timeout_us;
    s->max_attempts = p->max_attempts ? v->max_attempts : s->max_attempts;
    s->backoff_initial_us = p->backoff_initial ? v->backoff_initial_us : s->backoff_initial_us;
    s->backoff_max_us = p->backoff_max ? v->backoff_max_us : s->backoff_max_us;
    s->max_in_flight = p->max_in_flight ? v->max_in_flight : s->max_in_flight;
    s->paused = p->paused ? v->paused : s->paused;
    s->push = p->push ? v->push : s->push;
}

/* ---- writing ---- */

static void put_names(struct buf *b, const char *name, const struct bytes *items, size_t n,
                      bool *any)
{
    for (size_t i = 0; i < n; i++) {
        if (i == 0) {
            buf_put_format(b, "%s\"%s\":[", *any ? "," : "", name);
        }
        buf_put_string(b, i == 0 ? "" : ",");
        buf_put_json_string(b, items[i]);
    }
    buf_put_string(b, n > 0 ? "]" : "");
    *any = *any || n > 0;
}

static void put_filter(struct buf *b, const struct store_filter *f)
{
    bool any = false;
    buf_put_string(b, "\"filter\":{");
    put_names(b, "category", f->categories, f->category_count, &any);
    put_names(b, "type", f->types, f->type_count, &any);
    put_names(b, "prefix", f->prefixes, f->prefix_count, &any);
    put_names(b, "tag", f->tags, f->tag_count, &any);
    buf_put_byte(b, '}');
}

static void put_seconds(struct buf *b, int64_t us)
{
    if (us % 1000000 == 0) {
        buf_put_format(b, "%" PRId64, us / 1000000);
    } else {
        buf_put_format(b, "%.6g", (double)us / 1e6);
    }
}

static void put_settings(struct buf *b, const struct group_settings *s)
{
    put_filter(b, &s->filter);
    buf_put_format(b, ",\"ordering\":\"%s\",\"on_park\":\"%s\",\"ack_timeout_s\":",
                   s->ordering == GROUP_ORDER_STREAM ? "stream" : "none",
                   s->on_park == GROUP_PARK_BLOCK ? "block" : "continue");
    put_seconds(b, s->ack_timeout_us);
    buf_put_format(b, ",\"max_attempts\":%" PRIu32 ",\"backoff\":{\"initial_s\":", s->max_attempts);
    put_seconds(b, s->backoff_initial_us);
    buf_put_string(b, ",\"max_s\":");
    put_seconds(b, s->backoff_max_us);
    buf_put_format(b, "},\"max_in_flight\":%" PRIu32 ",\"paused\":%s", s->max_in_flight,
                   s->paused ? "true" : "false");
}

static void put_number(struct buf *b, const char *name, uint64_t v)
{
    buf_put_format(b, ",\"%s\":%" PRIu64, name, v);
}

static void put_counts(struct buf *b, const struct group_counts *c)
{
    buf_put_format(b, ",\"counts\":{\"delivered\":%" PRIu64, c->delivered);
    put_number(b, "redelivered", c->redelivered);
    put_number(b, "acked", c->acked);
    put_number(b, "skipped", c->skipped);
    put_number(b, "gone", c->gone);
    put_number(b, "parked", c->parked);
    put_number(b, "replayed", c->replayed);
    put_number(b, "discarded", c->discarded);
    put_number(b, "expired", c->expired);
    buf_put_byte(b, '}');
}

void group_put_report(struct buf *b, const struct group_report *r)
{
    const struct group_status *s = &r->status;
    buf_put_string(b, "{\"name\":");
    buf_put_json_string(b, bytes_of_string(r->info.name));
    buf_put_byte(b, ',');
    put_settings(b, r->info.settings);
    struct push_settings push;
    if (r->info.settings->push.n > 0 && push_read_settings(r->info.settings->push, &push)) {
        buf_put_string(b, ",\"push\":{\"url\":");
        buf_put_json_string(b, bytes_of_string(push.url));
        buf_put_string(b, ",\"timeout_s\":");
        put_seconds(b, push.timeout_us);
        buf_put_format(b, ",\"concurrency\":%u}", push.concurrency);
    }
    buf_put_string(b, ",\"created_at\":");
    json_put_time(b, r->info.created_us);
    put_number(b, "revision", r->info.revision);
    put_number(b, "position", s->position);
    put_number(b, "fetched", s->fetched);
    put_number(b, "head", s->head);
    put_number(b, "lag_events", s->lag_events);
    buf_put_format(b, ",\"lag_is_exact\":%s,\"lag_seconds\":%.3f",
                   s->lag_is_exact ? "true" : "false", (double)s->lag_us / 1e6);
    put_number(b, "oldest", s->oldest);
    put_number(b, "in_flight", s->in_flight);
    put_number(b, "committing", s->committing);
    put_number(b, "waiting", s->waiting);
    put_number(b, "ready", s->ready);
    put_number(b, "held", s->held);
    put_number(b, "replaying", s->replaying);
    put_number(b, "parked", s->parked);
    put_number(b, "blocked_streams", s->blocked_streams);
    buf_put_format(b, ",\"held_full\":%s", s->held_full ? "true" : "false");
    put_counts(b, &s->counts);
}

void group_put_push_status(struct buf *b, const struct push_status *s)
{
    static const char *const states[] = {
        [PUSH_CLOSED] = "closed", [PUSH_OPEN] = "open", [PUSH_HALF_OPEN] = "half_open"};
    buf_put_format(b, ",\"push_status\":{\"circuit\":\"%s\",\"in_flight\":%u", states[s->state],
                   s->in_flight);
    put_number(b, "sent", s->sent);
    put_number(b, "failed", s->failed);
    if (s->state == PUSH_OPEN) {
        buf_put_string(b, ",\"retry_at\":");
        json_put_time(b, s->retry_at_us);
    }
    buf_put_string(b, ",\"last_error\":");
    buf_put_json_string(b, bytes_of_string(s->last_error));
    buf_put_byte(b, '}');
}

void group_put_consumer(struct buf *b, const struct group_consumer *c)
{
    buf_put_string(b, "{\"name\":");
    buf_put_json_string(b, c->name);
    buf_put_string(b, ",\"last_fetch_at\":");
    json_put_time(b, c->last_fetch_us);
    put_number(b, "in_flight", c->in_flight);
    put_number(b, "delivered", c->delivered);
    buf_put_byte(b, '}');
}

static err_t put_event(struct buf *b, const struct store_record *record)
{
    struct event e;
    err_t err = store_record_decode(record, &e);
    if (err == ERR_OK) {
        json_put_event(b, &e);
        err = buf_status(b);
    }
    return err;
}

err_t group_put_delivery(struct buf *b, const struct group_delivery *d)
{
    char lease[GROUP_LEASE_TEXT];
    group_lease_format(&d->lease, lease);
    buf_put_format(b, "{\"lease\":\"%.*s\",\"attempt\":%" PRIu32 ",\"replay\":%s,\"event\":",
                   GROUP_LEASE_TEXT, lease, d->attempt, d->replay ? "true" : "false");
    err_t err = put_event(b, &d->record);
    buf_put_byte(b, '}');
    return err;
}

err_t group_put_parked(struct buf *b, const struct group_parked *p)
{
    static const char *const causes[] = {[GROUP_PARKED_BY_NACK] = "nack",
                                         [GROUP_PARKED_BY_ATTEMPTS] = "attempts",
                                         [GROUP_PARKED_BY_EXPIRY] = "expiry"};
    err_t err = ERR_OK;
    buf_put_format(b, "{\"position\":%" PRIu64 ",\"attempts\":%" PRIu32 ",\"cause\":\"%s\"",
                   p->position, p->attempts, causes[p->cause]);
    buf_put_string(b, ",\"reason\":");
    buf_put_json_string(b, p->reason);
    buf_put_string(b, ",\"consumer\":");
    buf_put_json_string(b, p->consumer);
    buf_put_string(b, ",\"first_delivered_at\":");
    json_put_time(b, p->first_us);
    buf_put_string(b, ",\"last_delivered_at\":");
    json_put_time(b, p->last_us);
    buf_put_string(b, ",\"parked_at\":");
    json_put_time(b, p->parked_us);
    buf_put_format(b, ",\"blocks\":%s,\"gone\":%s", p->blocks ? "true" : "false",
                   p->gone ? "true" : "false");
    if (!p->gone) {
        buf_put_string(b, ",\"event\":");
        err = put_event(b, &p->record);
    }
    buf_put_byte(b, '}');
    return err;
}
