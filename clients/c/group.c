/* group: the calls about consumer groups. They speak JSON, as the routes of groups do. */
#include "group_int.h"

#include <stdio.h>
#include <string.h>

/* ---- one exchange ---- */

static bool add_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);
    *list = longer == NULL ? *list : longer;
    return longer != NULL;
}

/* The body, where there is one, is db->request. */
static enum daybook_result call(struct daybook *db, bool ok, const char *method, bool has_body)
{
    struct daybook_shape shape = {.method = method};
    const struct daybook_bytes body = {db->request.p, db->request.n};
    ok = ok && daybook_url_end(&db->url) && add_header(&shape.headers, "Accept: " DAYBOOK_JSON) &&
         (!has_body || (add_header(&shape.headers, "Content-Type: " DAYBOOK_JSON) &&
                        add_header(&shape.headers, "Expect:")));
    enum daybook_result result =
        ok ? daybook_http_call_json(db, &db->url, has_body ? &body : NULL, &shape)
           : daybook_fail_memory(db);
    curl_slist_free_all(shape.headers);
    if (result == DAYBOOK_OK) {
        daybook_arena_reset(&db->arena);
    }
    return result;
}

static enum daybook_result check_name(struct daybook *db, const char *name)
{
    return name == NULL || name[0] == '\0' ? daybook_fail_argument(db, "the group has no name")
                                           : DAYBOOK_OK;
}

/* "/v1/groups/NAME" and "/MORE", where that is not NULL. */
static bool begin_url(struct daybook *db, const char *name, const char *more)
{
    bool ok = daybook_url_begin(db, &db->url, "/v1/groups/") && daybook_url_segment(&db->url, name);
    return ok && (more == NULL || (daybook_buffer_add_byte(&db->url, '/') &&
                                   daybook_buffer_add_text(&db->url, more)));
}

/* ---- writing a body ---- */

/* Each adds a member behind the ones there are. */
static bool add_name(struct daybook *db, const char *name)
{
    struct daybook_buffer *b = &db->request;
    char before = b->n > 0 ? (char)b->p[b->n - 1] : '{';
    return (before == '{' || daybook_buffer_add_byte(b, ',')) && daybook_buffer_add_byte(b, '"') &&
           daybook_buffer_add_text(b, name) && daybook_buffer_add_text(b, "\":");
}

static bool add_text(struct daybook *db, const char *name, const char *value)
{
    return value == NULL ||
           (add_name(db, name) && daybook_json_add_string(&db->request, value, strlen(value)));
}

static bool add_number(struct daybook *db, const char *name, uint64_t value)
{
    return add_name(db, name) && daybook_buffer_add_number(&db->request, value);
}

static bool add_real(struct daybook *db, const char *name, double value)
{
    return add_name(db, name) && daybook_json_add_real(&db->request, value);
}

static bool add_flag(struct daybook *db, const char *name, bool value)
{
    return add_name(db, name) && daybook_buffer_add_text(&db->request, value ? "true" : "false");
}

/* "start", "end" or a position. */
static bool add_place(struct daybook *db, const char *name, const char *place)
{
    bool digits = place != NULL && place[0] != '\0' && strspn(place, "0123456789") == strlen(place);
    return digits ? add_name(db, name) && daybook_buffer_add_text(&db->request, place)
                  : add_text(db, name, place);
}

static bool add_strings(struct daybook *db, const char *const *items, size_t n)
{
    struct daybook_buffer *b = &db->request;
    bool ok = daybook_buffer_add_byte(b, '[');
    for (size_t i = 0; ok && i < n; i++) {
        ok = (i == 0 || daybook_buffer_add_byte(b, ',')) &&
             daybook_json_add_string(b, items[i], strlen(items[i]));
    }
    return ok && daybook_buffer_add_byte(b, ']');
}

static bool add_filter(struct daybook *db, const struct daybook_names *const lists[4])
{
    static const char *const names[] = {"type", "category", "prefix", "tag"};
    bool ok = add_name(db, "filter") && daybook_buffer_add_byte(&db->request, '{');
    for (size_t i = 0; i < 4; i++) {
        ok = ok && (lists[i]->n == 0 ||
                    (add_name(db, names[i]) && add_strings(db, lists[i]->items, lists[i]->n)));
    }
    return ok && daybook_buffer_add_byte(&db->request, '}');
}

static bool begin_body(struct daybook *db)
{
    db->request.n = 0;
    return daybook_buffer_add_byte(&db->request, '{');
}

static bool end_body(struct daybook *db)
{
    return daybook_buffer_add_byte(&db->request, '}');
}

/* ---- what a group is ---- */

static bool add_settings(struct daybook *db, const struct daybook_group_settings *s)
{
    const struct daybook_names *const filter[] = {&s->types, &s->categories, &s->prefixes,
                                                  &s->tags};
    bool filtered = s->types.n + s->categories.n + s->prefixes.n + s->tags.n > 0;
    bool ok = !(filtered || s->set_filter) || add_filter(db, filter);
    ok = ok && add_text(db, "ordering", s->ordering) && add_text(db, "on_park", s->on_park);
    ok = ok && (s->ack_timeout_s <= 0 || add_real(db, "ack_timeout_s", s->ack_timeout_s));
    ok = ok && (s->max_attempts == 0 || add_number(db, "max_attempts", s->max_attempts));
    ok = ok && (s->max_in_flight == 0 || add_number(db, "max_in_flight", s->max_in_flight));
    if (s->backoff_initial_s != NULL || s->backoff_max_s != NULL) {
        ok = ok && add_name(db, "backoff") && daybook_buffer_add_byte(&db->request, '{') &&
             (s->backoff_initial_s == NULL || add_real(db, "initial_s", *s->backoff_initial_s)) &&
             (s->backoff_max_s == NULL || add_real(db, "max_s", *s->backoff_max_s)) &&
             daybook_buffer_add_byte(&db->request, '}');
    }
    return ok && (s->paused == DAYBOOK_AS_IT_IS || add_flag(db, "paused", s->paused == DAYBOOK_ON));
}

enum daybook_result daybook_group_define(struct daybook *db, const char *name,
                                         const struct daybook_group_settings *settings,
                                         const char *after, struct daybook_group *ret)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        bool ok = begin_body(db) && add_settings(db, settings) && add_place(db, "after", after) &&
                  end_body(db) && begin_url(db, name, NULL);
        result = call(db, ok, "PUT", true);
    }
    return result == DAYBOOK_OK ? daybook_json_group(db, ret) : result;
}

enum daybook_result daybook_group_edit(struct daybook *db, const char *name,
                                       const struct daybook_group_settings *settings,
                                       struct daybook_group *ret)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        bool ok = begin_body(db) && add_settings(db, settings) && end_body(db) &&
                  begin_url(db, name, NULL);
        result = call(db, ok, "PATCH", true);
    }
    return result == DAYBOOK_OK ? daybook_json_group(db, ret) : result;
}

enum daybook_result daybook_group_get(struct daybook *db, const char *name,
                                      struct daybook_group *ret)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        result = call(db, begin_url(db, name, NULL), NULL, false);
    }
    return result == DAYBOOK_OK ? daybook_json_group(db, ret) : result;
}

enum daybook_result daybook_group_list(struct daybook *db, const struct daybook_group **ret,
                                       size_t *ret_n)
{
    enum daybook_result result =
        call(db, daybook_url_begin(db, &db->url, "/v1/groups"), NULL, false);
    return result == DAYBOOK_OK ? daybook_json_groups(db, ret, ret_n) : result;
}

enum daybook_result daybook_group_delete(struct daybook *db, const char *name)
{
    enum daybook_result result = check_name(db, name);
    return result == DAYBOOK_OK ? call(db, begin_url(db, name, NULL), "DELETE", false) : result;
}

enum daybook_result daybook_group_seek(struct daybook *db, const char *name, const char *to,
                                       const char *time, struct daybook_group *ret)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        bool ok = begin_body(db) && add_place(db, "to", to) &&
                  add_text(db, "time", to == NULL ? time : NULL) && end_body(db) &&
                  begin_url(db, name, "seek");
        result = call(db, ok, NULL, true);
    }
    return result == DAYBOOK_OK ? daybook_json_group(db, ret) : result;
}

/* ---- consuming ---- */

/* The server is silent while it waits. */
enum daybook_result daybook_group_fetch(struct daybook *db, const struct daybook_fetch *fetch,
                                        struct daybook_fetched *ret)
{
    enum daybook_result result = check_name(db, fetch->group);
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = begin_body(db) && add_text(db, "consumer", fetch->consumer) &&
              (fetch->max == 0 || add_number(db, "max", fetch->max)) &&
              (fetch->wait_ms == 0 || add_real(db, "wait_s", (double)fetch->wait_ms / 1000)) &&
              end_body(db) && begin_url(db, fetch->group, "fetch");
    if (db->call.timeout_ms > 0 && fetch->wait_ms < UINT64_MAX / 2) {
        db->call.timeout_ms += fetch->wait_ms;
    }
    result = call(db, ok, NULL, true);
    db->call.timeout_ms = db->options.timeout_ms;
    return result == DAYBOOK_OK ? daybook_json_fetched(db, ret) : result;
}

static enum daybook_result check_leases(struct daybook *db, const struct daybook_leases *leases)
{
    enum daybook_result result = check_name(db, leases->group);
    return result == DAYBOOK_OK && leases->n == 0 ? daybook_fail_argument(db, "there are no leases")
                                                  : result;
}

static bool begin_leases(struct daybook *db, const struct daybook_leases *leases)
{
    return begin_body(db) && add_name(db, "leases") && add_strings(db, leases->items, leases->n);
}

enum daybook_result daybook_group_ack(struct daybook *db, const struct daybook_leases *leases)
{
    enum daybook_result result = check_leases(db, leases);
    if (result == DAYBOOK_OK) {
        bool ok = begin_leases(db, leases) && end_body(db) && begin_url(db, leases->group, "ack");
        result = call(db, ok, NULL, true);
    }
    return result;
}

enum daybook_result daybook_group_ack_append(struct daybook *db,
                                             const struct daybook_leases *leases,
                                             const struct daybook_batch *batch,
                                             const struct daybook_appended **ret, size_t *ret_n)
{
    enum daybook_result result = check_leases(db, leases);
    if (result == DAYBOOK_OK) {
        bool ok = begin_leases(db, leases) && add_name(db, "append") &&
                  daybook_json_add_batch(&db->request, batch) && end_body(db) &&
                  begin_url(db, leases->group, "ack");
        result = call(db, ok, NULL, true);
    }
    return result == DAYBOOK_OK ? daybook_json_appended(db, ret, ret_n) : result;
}

enum daybook_result daybook_group_nack(struct daybook *db, const struct daybook_leases *leases,
                                       const struct daybook_nack *nack, uint64_t *ret_parked)
{
    static const char *const actions[] = {
        [DAYBOOK_RETRY] = "retry", [DAYBOOK_PARK] = "park", [DAYBOOK_SKIP_EVENT] = "skip"};
    enum daybook_result result = check_leases(db, leases);
    if (result == DAYBOOK_OK) {
        bool ok = begin_leases(db, leases) && add_text(db, "action", actions[nack->action]) &&
                  (nack->delay_s == NULL || add_real(db, "delay_s", *nack->delay_s)) &&
                  add_text(db, "reason", nack->reason) && end_body(db) &&
                  begin_url(db, leases->group, "nack");
        result = call(db, ok, NULL, true);
    }
    if (result == DAYBOOK_OK && ret_parked != NULL) {
        *ret_parked = daybook_json_count(db, "parked");
    }
    return result;
}

enum daybook_result daybook_group_extend(struct daybook *db, const struct daybook_leases *leases,
                                         double timeout_s, int64_t *ret_until_us)
{
    enum daybook_result result = check_leases(db, leases);
    if (result == DAYBOOK_OK) {
        bool ok = begin_leases(db, leases) &&
                  (timeout_s <= 0 || add_real(db, "timeout_s", timeout_s)) && end_body(db) &&
                  begin_url(db, leases->group, "extend");
        result = call(db, ok, NULL, true);
    }
    if (result == DAYBOOK_OK && ret_until_us != NULL) {
        *ret_until_us = daybook_json_time(db, "lease_until");
    }
    return result;
}

/* ---- parked events ---- */

enum daybook_result daybook_group_parked(struct daybook *db, const char *name, uint64_t after,
                                         uint64_t limit, struct daybook_parked_list *ret)
{
    char mark = '?';
    enum daybook_result result = check_name(db, name);
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = begin_url(db, name, "parked") &&
              (after == 0 || daybook_url_number(&db->url, &mark, "after", after)) &&
              (limit == 0 || daybook_url_number(&db->url, &mark, "limit", limit));
    result = call(db, ok, NULL, false);
    return result == DAYBOOK_OK ? daybook_json_parked(db, ret) : result;
}

static bool add_selection(struct daybook *db, const struct daybook_selection *s)
{
    const struct daybook_names *const filter[] = {&s->types, &s->categories, &s->prefixes,
                                                  &s->tags};
    if (s->position > 0) {
        return add_number(db, "position", s->position);
    }
    return (s->from == 0 || add_number(db, "from", s->from)) &&
           (s->to == 0 || add_number(db, "to", s->to)) &&
           (s->types.n + s->categories.n + s->prefixes.n + s->tags.n == 0 ||
            add_filter(db, filter));
}

enum daybook_result daybook_group_replay(struct daybook *db, const char *name,
                                         const struct daybook_selection *selection, uint64_t *ret,
                                         uint64_t *ret_gone)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        bool ok = begin_body(db) && add_selection(db, selection) &&
                  (!selection->dry_run || add_flag(db, "dry_run", true)) && end_body(db) &&
                  begin_url(db, name, "parked/replay");
        result = call(db, ok, NULL, true);
    }
    if (result == DAYBOOK_OK) {
        *ret = daybook_json_count(db, "replayed");
        if (ret_gone != NULL) {
            *ret_gone = daybook_json_count(db, "gone");
        }
    }
    return result;
}

enum daybook_result daybook_group_discard(struct daybook *db, const char *name, uint64_t position,
                                          uint64_t *ret)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        bool ok = begin_url(db, name, "parked") &&
                  (position == 0 || (daybook_buffer_add_byte(&db->url, '/') &&
                                     daybook_buffer_add_number(&db->url, position)));
        result = call(db, ok, "DELETE", false);
    }
    if (result == DAYBOOK_OK) {
        *ret = daybook_json_count(db, "discarded");
    }
    return result;
}
