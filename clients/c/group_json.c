/* group_json: what the server says of consumer groups, out of JSON. What is absent is "", 0 or
 * false; members that are not known are passed over. */
#include "group_int.h"

/* ---- one answer ---- */

/* The object that the last answer is; 0 bytes, with the problem set, where it is none. */
static struct daybook_bytes answer(struct daybook *db)
{
    struct daybook_bytes body =
        daybook_scan_value((struct daybook_bytes){db->call.body.p, db->call.body.n});
    if (body.n < 2 || *(const char *)body.p != '{') {
        (void)daybook_fail_protocol(db, "it is not a JSON object");
        body.n = 0;
    }
    return body;
}

static enum daybook_result damaged(struct daybook *db)
{
    return daybook_fail_protocol(db, "it is not what a server says of a group");
}

static const char *text_of(struct daybook *db, struct daybook_bytes object, const char *name)
{
    const char *text = daybook_scan_string(&db->arena, daybook_scan_find(object, name));
    return text == NULL ? "" : text;
}

static uint64_t number_of(struct daybook_bytes object, const char *name)
{
    return daybook_scan_number(daybook_scan_find(object, name));
}

static double real_of(struct daybook_bytes object, const char *name)
{
    struct daybook_value value = {.text = daybook_scan_find(object, name)};
    if (value.text.n == 0) {
        return 0;
    }
    daybook_json_number(&value);
    return value.real;
}

static bool is_true(struct daybook_bytes object, const char *name)
{
    return daybook_scan_is(daybook_scan_find(object, name), "true");
}

static void *array_of(struct daybook *db, size_t n, size_t size)
{
    void *array = daybook_arena_get(&db->arena, (n + 1) * size);
    if (array == NULL) {
        (void)daybook_fail_memory(db);
    }
    return array;
}

uint64_t daybook_json_count(const struct daybook *db, const char *name)
{
    struct daybook_bytes body =
        daybook_scan_value((struct daybook_bytes){db->call.body.p, db->call.body.n});
    return number_of(body, name);
}

int64_t daybook_json_time(const struct daybook *db, const char *name)
{
    struct daybook_bytes body =
        daybook_scan_value((struct daybook_bytes){db->call.body.p, db->call.body.n});
    return daybook_scan_time(daybook_scan_find(body, name));
}

/* ---- groups ---- */

/* A list of strings, or one. */
static struct daybook_names names_of(struct daybook *db, struct daybook_bytes object,
                                     const char *name)
{
    struct daybook_bytes value = daybook_scan_find(object, name), element;
    size_t n = daybook_scan_count(value), have = 0;
    const char **names = array_of(db, n + 1, sizeof *names);
    struct daybook_scan s = daybook_scan_array(value);
    const char *one = daybook_scan_string(&db->arena, value);
    if (names != NULL && one != NULL) {
        names[have++] = one;
    }
    while (names != NULL && have < n && daybook_scan_element(&s, &element)) {
        const char *text = daybook_scan_string(&db->arena, element);
        names[have++] = text == NULL ? "" : text;
    }
    return (struct daybook_names){names, have};
}

static void read_consumers(struct daybook *db, struct daybook_bytes list, struct daybook_group *g)
{
    size_t n = daybook_scan_count(list);
    struct daybook_group_consumer *consumers = array_of(db, n, sizeof *consumers);
    struct daybook_scan s = daybook_scan_array(list);
    struct daybook_bytes o;
    g->consumers = consumers;
    while (consumers != NULL && g->consumers_n < n && daybook_scan_element(&s, &o)) {
        consumers[g->consumers_n++] = (struct daybook_group_consumer){
            .name = text_of(db, o, "name"),
            .last_fetch_at = text_of(db, o, "last_fetch_at"),
            .in_flight = number_of(o, "in_flight"),
            .delivered = number_of(o, "delivered"),
        };
    }
}

static void read_counts(struct daybook_bytes counts, struct daybook_group *g)
{
    g->delivered = number_of(counts, "delivered");
    g->redelivered = number_of(counts, "redelivered");
    g->acked = number_of(counts, "acked");
    g->skipped = number_of(counts, "skipped");
    g->gone = number_of(counts, "gone");
    g->parked_ever = number_of(counts, "parked");
    g->replayed = number_of(counts, "replayed");
    g->discarded = number_of(counts, "discarded");
    g->expired = number_of(counts, "expired");
}

static struct daybook_group read_group(struct daybook *db, struct daybook_bytes o)
{
    struct daybook_bytes filter = daybook_scan_find(o, "filter");
    struct daybook_bytes backoff = daybook_scan_find(o, "backoff");
    struct daybook_group g = {
        .name = text_of(db, o, "name"),
        .types = names_of(db, filter, "type"),
        .categories = names_of(db, filter, "category"),
        .prefixes = names_of(db, filter, "prefix"),
        .tags = names_of(db, filter, "tag"),
        .ordering = text_of(db, o, "ordering"),
        .on_park = text_of(db, o, "on_park"),
        .ack_timeout_s = real_of(o, "ack_timeout_s"),
        .backoff_initial_s = real_of(backoff, "initial_s"),
        .backoff_max_s = real_of(backoff, "max_s"),
        .max_attempts = number_of(o, "max_attempts"),
        .max_in_flight = number_of(o, "max_in_flight"),
        .paused = is_true(o, "paused"),
        .created_at = text_of(db, o, "created_at"),
        .revision = number_of(o, "revision"),
        .position = number_of(o, "position"),
        .fetched = number_of(o, "fetched"),
        .head = number_of(o, "head"),
        .lag_events = number_of(o, "lag_events"),
        .lag_is_exact = is_true(o, "lag_is_exact"),
        .lag_s = real_of(o, "lag_seconds"),
        .oldest = number_of(o, "oldest"),
        .in_flight = number_of(o, "in_flight"),
        .committing = number_of(o, "committing"),
        .waiting = number_of(o, "waiting"),
        .ready = number_of(o, "ready"),
        .held = number_of(o, "held"),
        .replaying = number_of(o, "replaying"),
        .parked = number_of(o, "parked"),
        .blocked_streams = number_of(o, "blocked_streams"),
        .held_full = is_true(o, "held_full"),
    };
    read_counts(daybook_scan_find(o, "counts"), &g);
    read_consumers(db, daybook_scan_find(o, "consumers"), &g);
    return g;
}

enum daybook_result daybook_json_group(struct daybook *db, struct daybook_group *ret)
{
    struct daybook_bytes o = answer(db);
    if (o.n == 0) {
        return db->problem.result;
    }
    struct daybook_group g = read_group(db, o);
    if (g.name[0] == '\0') {
        return damaged(db);
    }
    g.created = db->call.status == 201;
    *ret = g;
    return DAYBOOK_OK;
}

enum daybook_result daybook_json_groups(struct daybook *db, const struct daybook_group **ret,
                                        size_t *ret_n)
{
    struct daybook_bytes body = answer(db), o;
    if (body.n == 0) {
        return db->problem.result;
    }
    struct daybook_bytes list = daybook_scan_find(body, "groups");
    size_t n = daybook_scan_count(list), have = 0;
    struct daybook_group *groups = array_of(db, n, sizeof *groups);
    struct daybook_scan s = daybook_scan_array(list);
    if (groups == NULL) {
        return db->problem.result;
    }
    while (have < n && daybook_scan_element(&s, &o)) {
        groups[have++] = read_group(db, o);
    }
    *ret = groups;
    *ret_n = n;
    return DAYBOOK_OK;
}

/* ---- deliveries ---- */

static bool read_delivery(struct daybook *db, struct daybook_bytes o, struct daybook_delivery *ret)
{
    *ret = (struct daybook_delivery){
        .lease = daybook_scan_string(&db->arena, daybook_scan_find(o, "lease")),
        .attempt = number_of(o, "attempt"),
        .replay = is_true(o, "replay"),
    };
    return ret->lease != NULL &&
           daybook_event_scan(&db->arena, daybook_scan_find(o, "event"), &ret->event);
}

enum daybook_result daybook_json_fetched(struct daybook *db, struct daybook_fetched *ret)
{
    struct daybook_bytes body = answer(db), o;
    if (body.n == 0) {
        return db->problem.result;
    }
    struct daybook_bytes list = daybook_scan_find(body, "events");
    size_t n = daybook_scan_count(list), have = 0;
    struct daybook_delivery *deliveries = array_of(db, n, sizeof *deliveries);
    struct daybook_scan s = daybook_scan_array(list);
    if (deliveries == NULL) {
        return db->problem.result;
    }
    while (have < n && daybook_scan_element(&s, &o)) {
        if (!read_delivery(db, o, &deliveries[have++])) {
            return damaged(db);
        }
    }
    *ret = (struct daybook_fetched){
        .deliveries = deliveries,
        .deliveries_n = n,
        .lease_until_us = daybook_scan_time(daybook_scan_find(body, "lease_until")),
    };
    return s.damaged ? damaged(db) : DAYBOOK_OK;
}

/* ---- parked events ---- */

static bool read_parked(struct daybook *db, struct daybook_bytes o, struct daybook_parked *ret)
{
    *ret = (struct daybook_parked){
        .position = number_of(o, "position"),
        .attempts = number_of(o, "attempts"),
        .cause = text_of(db, o, "cause"),
        .reason = text_of(db, o, "reason"),
        .consumer = text_of(db, o, "consumer"),
        .first_delivered_at = text_of(db, o, "first_delivered_at"),
        .last_delivered_at = text_of(db, o, "last_delivered_at"),
        .parked_at = text_of(db, o, "parked_at"),
        .blocks = is_true(o, "blocks"),
        .gone = is_true(o, "gone"),
        .event = {.stream = "", .type = "", .content_type = "", .occurred_at = ""},
    };
    return ret->gone || daybook_event_scan(&db->arena, daybook_scan_find(o, "event"), &ret->event);
}

enum daybook_result daybook_json_parked(struct daybook *db, struct daybook_parked_list *ret)
{
    struct daybook_bytes body = answer(db), o;
    if (body.n == 0) {
        return db->problem.result;
    }
    struct daybook_bytes list = daybook_scan_find(body, "parked");
    size_t n = daybook_scan_count(list), have = 0;
    struct daybook_parked *parked = array_of(db, n, sizeof *parked);
    struct daybook_scan s = daybook_scan_array(list);
    if (parked == NULL) {
        return db->problem.result;
    }
    while (have < n && daybook_scan_element(&s, &o)) {
        if (!read_parked(db, o, &parked[have++])) {
            return damaged(db);
        }
    }
    *ret = (struct daybook_parked_list){
        .parked = parked,
        .parked_n = n,
        .next = number_of(body, "next"),
        .end = is_true(body, "end"),
    };
    return s.damaged ? damaged(db) : DAYBOOK_OK;
}

/* ---- appends ---- */

enum daybook_result daybook_json_appended(struct daybook *db, const struct daybook_appended **ret,
                                          size_t *ret_n)
{
    struct daybook_bytes body = answer(db), o;
    if (body.n == 0) {
        return db->problem.result;
    }
    struct daybook_bytes list = daybook_scan_find(body, "results");
    size_t n = daybook_scan_count(list), have = 0;
    struct daybook_appended *results = array_of(db, n, sizeof *results);
    struct daybook_scan s = daybook_scan_array(list);
    if (results == NULL) {
        return db->problem.result;
    }
    while (have < n && daybook_scan_element(&s, &o)) {
        results[have++] = (struct daybook_appended){
            .stream = text_of(db, o, "stream"),
            .first_revision = number_of(o, "first_revision"),
            .last_revision = number_of(o, "last_revision"),
            .first_position = number_of(o, "first_position"),
            .last_position = number_of(o, "last_position"),
            .duplicate = is_true(o, "duplicate"),
        };
    }
    *ret = results;
    *ret_n = n;
    return DAYBOOK_OK;
}
