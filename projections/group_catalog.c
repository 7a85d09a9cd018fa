/* group_catalog: settings and their limits, and the events about groups as JSON. */
#include "projections/group_catalog.h"

#include <inttypes.h>
#include <stdlib.h>

#include "projections/catalog.h"
#include "projections/group_json.h"

#define EVENT_BYTES_MAX ((size_t)4 << 20)
#define SAID_BYTES_MAX  ((size_t)4 << 20)

static const char *const TYPES[GROUP_CHANGE_COUNT] = {
    [GROUP_DEFINED] = "$group-defined",
    [GROUP_SEEKED] = "$group-seeked",
    [GROUP_DELETED] = "$group-deleted",
    [GROUP_ACKED] = "$acked",
};
static const char *const ORDERINGS[] = {"stream", "none"};
static const char *const ON_PARKS[] = {"block", "continue"};

/* ---- settings ---- */

struct group_settings group_settings_default(void)
{
    return (struct group_settings){
        .ordering = GROUP_ORDER_STREAM,
        .on_park = GROUP_PARK_BLOCK,
        .ack_timeout_us = 30 * (int64_t)1000000,
        .max_attempts = 10,
        .backoff_initial_us = 1000000,
        .backoff_max_us = 300 * (int64_t)1000000,
        .max_in_flight = 1000,
    };
}

static err_t check_names(const struct bytes *names, size_t n, const char *list, struct err_text *et)
{
    if (n > STORE_FILTER_MAX) {
        return err_set(et, ERR_INVALID, "filter.%s has more than %d names", list, STORE_FILTER_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if (!event_name_is_valid(names[i]) || event_name_is_system(names[i])) {
            return err_set(et, ERR_INVALID,
                           "filter.%s: each must be 1 to %d bytes of UTF-8 without control "
                           "characters and not start with '$'",
                           list, EVENT_NAME_MAX);
        }
    }
    return ERR_OK;
}

static err_t check_filter(const struct store_filter *f, struct err_text *et)
{
    if (f->system || f->since_us != 0 || f->until_us != 0 || f->all_tag_count != 0) {
        return err_set(et, ERR_INVALID, "filter: only category, type, prefix and tag");
    }
    err_t err = check_names(f->categories, f->category_count, "category", et);
    if (err == ERR_OK) {
        err = check_names(f->types, f->type_count, "type", et);
    }
    if (err == ERR_OK) {
        err = check_names(f->prefixes, f->prefix_count, "prefix", et);
    }
    return err == ERR_OK ? check_names(f->tags, f->tag_count, "tag", et) : err;
}

err_t group_settings_check(const struct group_settings *s, struct err_text *et)
{
    if (s->ack_timeout_us < GROUP_ACK_TIMEOUT_MIN || s->ack_timeout_us > GROUP_ACK_TIMEOUT_MAX) {
        return err_set(et, ERR_INVALID, "ack_timeout_s must be from 0.1 to 86400");
    }
    if (s->max_attempts < 1 || s->max_attempts > GROUP_ATTEMPTS_MAX) {
        return err_set(et, ERR_INVALID, "max_attempts must be from 1 to %d", GROUP_ATTEMPTS_MAX);
    }
    if (s->backoff_max_us < 0 || s->backoff_max_us > GROUP_BACKOFF_MAX) {
        return err_set(et, ERR_INVALID, "backoff.max_s must be from 0 to 604800");
    }
    if (s->backoff_initial_us < 0 || s->backoff_initial_us > s->backoff_max_us) {
        return err_set(et, ERR_INVALID, "backoff.initial_s must be from 0 to backoff.max_s");
    }
    if (s->max_in_flight < 1 || s->max_in_flight > GROUP_IN_FLIGHT_MAX) {
        return err_set(et, ERR_INVALID, "max_in_flight must be from 1 to %d", GROUP_IN_FLIGHT_MAX);
    }
    if (s->push.n > GROUP_PUSH_MAX) {
        return err_set(et, ERR_INVALID, "push must not be longer than %d bytes", GROUP_PUSH_MAX);
    }
    return check_filter(&s->filter, et);
}

/* ---- writing ---- */

static void put_names(struct buf *b, const char *list, const struct bytes *names, size_t n)
{
    buf_put_format(b, "\"%s\":[", list);
    for (size_t i = 0; i < n; i++) {
        buf_put_string(b, i == 0 ? "" : ",");
        buf_put_json_string(b, names[i]);
    }
    buf_put_string(b, "]");
}

static void put_settings(struct buf *b, const struct group_settings *s)
{
    const struct store_filter *f = &s->filter;
    buf_put_string(b, ",\"filter\":{");
    put_names(b, "category", f->categories, f->category_count);
    buf_put_string(b, ",");
    put_names(b, "type", f->types, f->type_count);
    buf_put_string(b, ",");
    put_names(b, "prefix", f->prefixes, f->prefix_count);
    buf_put_string(b, ",");
    put_names(b, "tag", f->tags, f->tag_count);
    buf_put_format(b, "},\"ordering\":\"%s\",\"on_park\":\"%s\"", ORDERINGS[s->ordering],
                   ON_PARKS[s->on_park]);
    buf_put_format(b, ",\"ack_timeout_us\":%" PRId64 ",\"max_attempts\":%" PRIu32,
                   s->ack_timeout_us, s->max_attempts);
    buf_put_format(b, ",\"backoff_initial_us\":%" PRId64 ",\"backoff_max_us\":%" PRId64,
                   s->backoff_initial_us, s->backoff_max_us);
    buf_put_format(b, ",\"max_in_flight\":%" PRIu32 ",\"paused\":%s", s->max_in_flight,
                   s->paused ? "true" : "false");
    if (s->push.n > 0) {
        buf_put_string(b, ",\"push\":");
        buf_put(b, s->push);
    }
}

static void put_change(struct buf *b, const struct group_change *c)
{
    buf_put_string(b, "{\"group\":");
    buf_put_json_string(b, c->name);
    if (c->kind == GROUP_DEFINED || c->kind == GROUP_SEEKED) {
        buf_put_format(b, ",\"position\":%" PRIu64, c->position);
    }
    if (c->kind == GROUP_DEFINED) {
        put_settings(b, c->settings);
    }
    if (c->kind == GROUP_ACKED) {
        buf_put_format(b, ",\"id\":%" PRIu64 ",\"positions\":[", c->group_id);
        for (size_t i = 0; i < c->position_count; i++) {
            buf_put_string(b, i == 0 ? "" : ",");
            buf_put_u64(b, c->positions[i]);
        }
        buf_put_string(b, "]");
    }
    buf_put_string(b, "}");
}

err_t group_make_event(const struct group_change *change, struct arena *arena,
                       struct event_draft *ret)
{
    struct buf b;
    struct bytes data;
    buf_init(&b, EVENT_BYTES_MAX);
    put_change(&b, change);
    err_t err = buf_status(&b);
    if (err == ERR_OK) {
        err = arena_copy(arena, buf_bytes(&b), &data);
    }
    buf_done(&b);
    if (err == ERR_OK) {
        *ret = (struct event_draft){.type = bytes_of_string(TYPES[change->kind]), .data = data};
    }
    return err;
}

/* ---- reading ---- */

static void read_names(struct group_json *j, const struct bytes **ret, size_t *ret_n)
{
    struct bytes *names = arena_alloc(j->arena, STORE_FILTER_MAX * sizeof *names);
    size_t n = 0;
    bool first = true;
    while (names != NULL && group_json_item(j, &first)) {
        if (n == STORE_FILTER_MAX) {
            j->failed = true;
            return;
        }
        names[n++] = group_json_string(j);
    }
    j->failed = j->failed || names == NULL;
    *ret = names;
    *ret_n = n;
}

static void read_filter(struct group_json *j, struct store_filter *f)
{
    bool first = true;
    struct bytes name;
    while (group_json_member(j, &first, &name)) {
        if (bytes_equal(name, BYTES_LITERAL("category"))) {
            read_names(j, &f->categories, &f->category_count);
        } else if (bytes_equal(name, BYTES_LITERAL("type"))) {
            read_names(j, &f->types, &f->type_count);
        } else if (bytes_equal(name, BYTES_LITERAL("prefix"))) {
            read_names(j, &f->prefixes, &f->prefix_count);
        } else if (bytes_equal(name, BYTES_LITERAL("tag"))) {
            read_names(j, &f->tags, &f->tag_count);
        } else {
            group_json_raw(j);
        }
    }
}

/* Which of two words; the first where it is neither. */
static unsigned read_word(struct group_json *j, const char *const words[2])
{
    struct bytes word = group_json_string(j);
    bool known = bytes_equal(word, bytes_of_string(words[0])) ||
                 bytes_equal(word, bytes_of_string(words[1]));
    j->failed = j->failed || !known;
    return bytes_equal(word, bytes_of_string(words[1])) ? 1 : 0;
}

static uint32_t read_u32(struct group_json *j)
{
    uint64_t v = group_json_number(j);
    j->failed = j->failed || v > UINT32_MAX;
    return (uint32_t)v;
}

static int64_t read_time(struct group_json *j)
{
    uint64_t v = group_json_number(j);
    j->failed = j->failed || v > INT64_MAX;
    return (int64_t)v;
}

/* False: it is none of the settings. */
static bool read_setting(struct group_json *j, struct bytes name, struct group_settings *s)
{
    if (bytes_equal(name, BYTES_LITERAL("filter"))) {
        read_filter(j, &s->filter);
    } else if (bytes_equal(name, BYTES_LITERAL("ordering"))) {
        s->ordering = read_word(j, ORDERINGS) == 1 ? GROUP_ORDER_NONE : GROUP_ORDER_STREAM;
    } else if (bytes_equal(name, BYTES_LITERAL("on_park"))) {
        s->on_park = read_word(j, ON_PARKS) == 1 ? GROUP_PARK_CONTINUE : GROUP_PARK_BLOCK;
    } else if (bytes_equal(name, BYTES_LITERAL("ack_timeout_us"))) {
        s->ack_timeout_us = read_time(j);
    } else if (bytes_equal(name, BYTES_LITERAL("max_attempts"))) {
        s->max_attempts = read_u32(j);
    } else if (bytes_equal(name, BYTES_LITERAL("backoff_initial_us"))) {
        s->backoff_initial_us = read_time(j);
    } else if (bytes_equal(name, BYTES_LITERAL("backoff_max_us"))) {
        s->backoff_max_us = read_time(j);
    } else if (bytes_equal(name, BYTES_LITERAL("max_in_flight"))) {
        s->max_in_flight = read_u32(j);
    } else if (bytes_equal(name, BYTES_LITERAL("paused"))) {
        s->paused = group_json_bool(j);
    } else if (bytes_equal(name, BYTES_LITERAL("push"))) {
        s->push = group_json_raw(j);
    } else {
        return false;
    }
    return true;
}

static void read_positions(struct group_json *j, struct group_change *c)
{
    size_t most = (size_t)(j->end - j->p) / 2 + 1; /* a digit and a comma each */
    uint64_t *positions = arena_alloc(j->arena, most * sizeof *positions);
    bool first = true;
    while (positions != NULL && group_json_item(j, &first)) {
        positions[c->position_count++] = group_json_number(j);
    }
    j->failed = j->failed || positions == NULL;
    c->positions = positions;
}

static void read_members(struct group_json *j, struct group_said *said)
{
    bool first = true;
    struct bytes name;
    struct group_change *c = &said->change;
    while (group_json_member(j, &first, &name)) {
        if (bytes_equal(name, BYTES_LITERAL("group"))) {
            c->name = group_json_string(j);
        } else if (bytes_equal(name, BYTES_LITERAL("position"))) {
            c->position = group_json_number(j);
        } else if (bytes_equal(name, BYTES_LITERAL("id"))) {
            c->group_id = group_json_number(j);
        } else if (bytes_equal(name, BYTES_LITERAL("positions"))) {
            read_positions(j, c);
        } else if (!read_setting(j, name, &said->settings)) {
            group_json_raw(j);
        }
    }
}

static bool find_kind(struct bytes type, enum group_change_kind *ret)
{
    for (int i = 0; i < GROUP_CHANGE_COUNT; i++) {
        if (bytes_equal(type, bytes_of_string(TYPES[i]))) {
            *ret = (enum group_change_kind)i;
            return true;
        }
    }
    return false;
}

/* What is not set in the event is as in the defaults, so that older events can be read. */
err_t group_read_event(struct bytes type, struct bytes data, struct group_said *ret)
{
    struct group_json j;
    struct bytes copy;
    *ret = (struct group_said){.settings = group_settings_default()};
    if (!find_kind(type, &ret->change.kind)) {
        return ERR_UNSUPPORTED;
    }
    arena_init(&ret->arena, 4096, SAID_BYTES_MAX + 8 * data.n);
    err_t err = arena_copy(&ret->arena, data, &copy);
    if (err == ERR_OK) {
        group_json_init(&j, copy, &ret->arena);
        read_members(&j, ret);
        bool wrong = j.failed || !catalog_name_is_valid(ret->change.name) ||
                     group_settings_check(&ret->settings, NULL) != ERR_OK;
        err = wrong ? ERR_UNSUPPORTED : ERR_OK;
    }
    if (err != ERR_OK) {
        group_said_done(ret);
        return err == ERR_LIMIT ? ERR_MEMORY : err;
    }
    ret->change.settings = &ret->settings;
    return ERR_OK;
}

void group_said_done(struct group_said *said)
{
    arena_done(&said->arena);
}

err_t group_position_of_time(struct store_view *v, int64_t time_us, uint64_t *ret)
{
    struct store_query query = {.filter = {.since_us = time_us, .system = true}};
    struct store_read *read;
    struct store_record record;
    if (time_us <= 0) {
        *ret = 0;
        return ERR_OK;
    }
    err_t err = store_read_open(v, &query, &read);
    if (err != ERR_OK) {
        return err;
    }
    do {
        err = store_read_next(read, &record);
    } while (err == ERR_FULL);
    store_read_close(read);
    if (err != ERR_OK && err != ERR_END) {
        return err;
    }
    *ret = err == ERR_END ? store_view_position(v) : record.position - 1;
    return ERR_OK;
}
