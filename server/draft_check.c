/* draft_check: the rules for what is appended, the same for JSON and protobuf bodies. */
#include "server/draft.h"

#include "server/json.h"
#include "storage/base/timestamp.h"

#include <stdio.h>

#define REVISION_MAX INT64_MAX

static bool check_append(struct draft *d, struct draft_append *append, long i);
static bool check_guard(struct draft *d, struct draft_append *check, long i);
static bool check_condition(struct draft *d);
static bool check_expectation(struct draft *d, struct expectation expected,
                              struct draft_place place);
static bool check_event(struct draft *d, struct draft_event *e, struct draft_place place);
static bool check_name(struct draft *d, struct bytes name, struct draft_place place,
                       const char *member);
static bool check_tags(struct draft *d, const struct event_draft *fields, struct draft_place place);
static bool check_media(struct draft *d, const struct event_draft *fields,
                        struct draft_place place);
static bool check_data(struct draft *d, struct draft_event *e, struct draft_place place);
static bool check_metadata(struct draft *d, const struct draft_event *e, struct draft_place place);

bool draft_check(struct draft *d)
{
    struct draft_place nowhere = {-1, -1, -1};
    if (d->life.kind != COMMAND_APPEND) {
        return draft_check_life(d);
    }
    if (d->appends.n == 0) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, nowhere, "appends",
                            d->checks.n > 0 || d->condition.given
                                ? "checks and a condition alone write nothing: add an append"
                                : "at least one append is required");
    }
    long i = 0;
    for (struct draft_append *a = d->appends.first; a != NULL; a = a->next, i++) {
        if (!check_append(d, a, i)) {
            return false;
        }
    }
    i = 0;
    for (struct draft_append *k = d->checks.first; k != NULL; k = k->next, i++) {
        if (!check_guard(d, k, i)) {
            return false;
        }
    }
    return !d->condition.given || check_condition(d);
}

static bool check_append(struct draft *d, struct draft_append *append, long i)
{
    struct draft_place place = {i, -1, -1};
    if (append->stream.p == NULL) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "stream", "stream is required");
    }
    if (!check_name(d, append->stream, place, "stream") ||
        !check_expectation(d, append->expected, place)) {
        return false;
    }
    if (append->events == 0) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "events",
                            "at least one event is required");
    }
    for (struct draft_event *e = append->first; e != NULL; e = e->next) {
        place.event++;
        if (!check_event(d, e, place)) {
            return false;
        }
    }
    return true;
}

static bool check_guard(struct draft *d, struct draft_append *check, long i)
{
    struct draft_place place = {-1, i, -1};
    if (check->stream.p == NULL) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "stream", "stream is required");
    }
    if (!check->expected_given) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "expected_revision",
                            "a check without an expectation checks nothing");
    }
    return check_name(d, check->stream, place, "stream") &&
           check_expectation(d, check->expected, place);
}

/* `list` is "types" or "tags". */
static bool check_item_names(struct draft *d, const struct bytes *names, size_t n, size_t item,
                             const char *list)
{
    for (size_t i = 0; i < n; i++) {
        char rest[32];
        char path[DRAFT_FIELD_MAX];
        snprintf(rest, sizeof rest, ".%s[%zu]", list, i);
        draft_item_path(item, rest, path);
        if (!check_name(d, names[i], (struct draft_place){-1, -1, -1}, path)) {
            return false;
        }
    }
    return true;
}

static bool check_item(struct draft *d, const struct condition_item *item, size_t i)
{
    struct draft_place nowhere = {-1, -1, -1};
    char path[DRAFT_FIELD_MAX];
    if (item->type_count + item->tag_count == 0) {
        draft_item_path(i, "", path);
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, path,
                            "an item without types and without tags matches every event");
    }
    bool many_types = item->type_count > CONDITION_TYPES_MAX;
    if (many_types || item->tag_count > CONDITION_TAGS_MAX) {
        draft_item_path(i, many_types ? ".types" : ".tags", path);
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, path, "there are more than %d %s",
                            many_types ? CONDITION_TYPES_MAX : CONDITION_TAGS_MAX,
                            many_types ? "types" : "tags");
    }
    return check_item_names(d, item->types, item->type_count, i, "types") &&
           check_item_names(d, item->tags, item->tag_count, i, "tags");
}

static bool check_condition(struct draft *d)
{
    struct draft_place nowhere = {-1, -1, -1};
    const struct draft_condition *condition = &d->condition;
    if (condition->n == 0) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, nowhere,
                            condition->query_given ? "condition.fail_if_events_match.items"
                                                   : "condition.fail_if_events_match",
                            "a condition without an item guards nothing");
    }
    if (condition->after > REVISION_MAX) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "condition.after",
                            "must be at most 9223372036854775807");
    }
    size_t i = 0;
    for (const struct draft_item *item = condition->first; item != NULL; item = item->next, i++) {
        if (!check_item(d, &item->fields, i)) {
            return false;
        }
    }
    return true;
}

bool draft_check_target(struct draft *d, const struct draft_append *target)
{
    struct draft_place place = {-1, -1, -1};
    if (target->stream.p == NULL) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "stream", "stream is required");
    }
    return check_name(d, target->stream, place, "stream") &&
           check_expectation(d, target->expected, place);
}

/* Revisions are kept below 2^63 so that every language has a type for them. */
static bool check_expectation(struct draft *d, struct expectation expected,
                              struct draft_place place)
{
    if (expected.kind == EXPECT_REVISION && expected.revision > REVISION_MAX) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "expected_revision",
                            "must be at most 9223372036854775807");
    }
    return true;
}

static bool check_event(struct draft *d, struct draft_event *e, struct draft_place place)
{
    const struct event_draft *f = &e->fields;
    if (f->type.p == NULL) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "type", "type is required");
    }
    if (!check_name(d, f->type, place, "type")) {
        return false;
    }
    if (f->id.n != 0 && f->id.n != UUID_BYTES) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "id",
                            "must be the 16 bytes of a UUID, not %zu bytes", f->id.n);
    }
    int64_t time_us;
    if (f->occurred_at.n > EVENT_TIME_MAX ||
        (f->occurred_at.n > 0 && timestamp_parse(f->occurred_at, &time_us) != ERR_OK)) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "occurred_at",
                            "must be an RFC 3339 time such as 2026-01-01T00:00:00Z");
    }
    if (f->data.n > d->limits->event_bytes_max ||
        f->metadata.n > d->limits->event_bytes_max - f->data.n) {
        return draft_reject(d, PROBLEM_EVENT_TOO_LARGE, place, "",
                            "its data and metadata are %zu bytes, the limit is %zu "
                            "(event-bytes-max)",
                            f->data.n + f->metadata.n, d->limits->event_bytes_max);
    }
    return check_tags(d, f, place) && check_media(d, f, place) && check_data(d, e, place) &&
           check_metadata(d, e, place);
}

static bool check_name(struct draft *d, struct bytes name, struct draft_place place,
                       const char *member)
{
    if (!event_name_is_valid(name)) {
        const char *why = name.n == 0               ? "it is empty"
                          : name.n > EVENT_NAME_MAX ? "it is longer than 255 bytes"
                          : !bytes_are_utf8(name)   ? "it is not UTF-8"
                                                    : "it has a control character";
        return draft_reject(d, PROBLEM_INVALID_NAME, place, member, "%s", why);
    }
    if (event_name_is_system(name)) {
        return draft_reject(d, PROBLEM_RESERVED_NAME, place, member,
                            "it starts with '$', which only the system's names do");
    }
    return true;
}

static bool check_tags(struct draft *d, const struct event_draft *fields, struct draft_place place)
{
    if (fields->tag_count > EVENT_TAGS_MAX) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "tags", "there are more than %d tags",
                            EVENT_TAGS_MAX);
    }
    char member[24];
    for (uint32_t i = 0; i < fields->tag_count; i++) {
        snprintf(member, sizeof member, "tags[%u]", i);
        if (!check_name(d, fields->tags[i], place, member)) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (bytes_equal(fields->tags[i], fields->tags[j])) {
                return draft_reject(d, PROBLEM_INVALID_FIELD, place, member,
                                    "the same tag is there before, as tags[%u]", j);
            }
        }
    }
    return true;
}

static bool check_media(struct draft *d, const struct event_draft *fields, struct draft_place place)
{
    if (fields->content_type.n > 0 && !draft_media_type_is_valid(fields->content_type)) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "content_type",
                            "must be a media type such as application/json, at most %d bytes",
                            EVENT_MEDIA_MAX);
    }
    return true;
}

static bool check_data(struct draft *d, struct draft_event *e, struct draft_place place)
{
    struct event_draft *f = &e->fields;
    bool is_json = event_content_is_json(f->content_type);
    if (!is_json && e->data_form == DRAFT_DATA_JSON) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "data",
                            "content_type is not JSON: send data_base64 instead of data");
    }
    if (!is_json && e->data_form == DRAFT_DATA_NONE) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, place, "data_base64",
                            "content_type is not JSON: data_base64 is required");
    }
    if (!is_json || e->data_form == DRAFT_DATA_JSON) {
        return true;
    }
    bool is_absent =
        e->data_form == DRAFT_DATA_NONE || (e->data_form == DRAFT_DATA_BINARY && f->data.n == 0);
    if (is_absent) {
        f->data = BYTES_LITERAL("null");
        return true;
    }
    char detail[JSON_DETAIL_MAX];
    if (!json_check(f->data, false, detail)) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place,
                            e->data_form == DRAFT_DATA_BASE64 ? "data_base64" : "data",
                            "content_type is JSON but the data is not: %s", detail);
    }
    return true;
}

static bool check_metadata(struct draft *d, const struct draft_event *e, struct draft_place place)
{
    char detail[JSON_DETAIL_MAX];
    if (e->metadata_is_json || e->fields.metadata.n == 0 ||
        json_check(e->fields.metadata, true, detail)) {
        return true;
    }
    return draft_reject(d, PROBLEM_INVALID_FIELD, place, "metadata", "must be a JSON object: %s",
                        detail);
}

/* RFC 9110 section 8.3.1, written as a walk over the text. */
struct walk {
    const uint8_t *p;
    size_t n;
};

static bool is_token_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool walk_byte(struct walk *w, uint8_t c)
{
    if (w->n == 0 || *w->p != c) {
        return false;
    }
    w->p++, w->n--;
    return true;
}

static bool walk_token(struct walk *w)
{
    size_t before = w->n;
    while (w->n > 0 && is_token_byte(*w->p)) {
        w->p++, w->n--;
    }
    return w->n < before;
}

static void walk_space(struct walk *w)
{
    while (walk_byte(w, ' ') || walk_byte(w, '\t')) {
    }
}

static bool walk_quoted(struct walk *w)
{
    if (!walk_byte(w, '"')) {
        return false;
    }
    while (w->n > 0 && *w->p != '"') {
        (void)walk_byte(w, '\\');
        if (w->n == 0 || (*w->p < 0x20 && *w->p != '\t') || *w->p >= 0x7f) {
            return false;
        }
        w->p++, w->n--;
    }
    return walk_byte(w, '"');
}

bool draft_media_type_is_valid(struct bytes text)
{
    struct walk w = {text.p, text.n};
    if (text.n > EVENT_MEDIA_MAX || !walk_token(&w) || !walk_byte(&w, '/') || !walk_token(&w)) {
        return false;
    }
    while (w.n > 0) {
        walk_space(&w);
        if (!walk_byte(&w, ';')) {
            return false;
        }
        walk_space(&w);
        if (!walk_token(&w) || !walk_byte(&w, '=') || !(walk_quoted(&w) || walk_token(&w))) {
            return false;
        }
    }
    return true;
}
