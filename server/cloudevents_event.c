/* cloudevents_event: the CloudEvent that a stored event is.
 *
 * One that came as a CloudEvent has the member `cloudevents` in its metadata (cloudevents_draft.c)
 * and is given back as it was. A native one gets as its source the stream's path, as its id its
 * UUID, and as extension attributes the members of its metadata that can be attributes. Metadata is
 * the client's, so everything in it is checked: what would be no attribute is left out. */
#include "server/cloudevents_int.h"
#include "server/json_members.h"

#include "storage/base/timestamp.h"

#define SOURCE_PREFIX    "/v1/streams/"
#define U64_DIGITS_MAX   20
#define ENCODED_BYTE_MAX 3

struct maker {
    struct cloudevent *ce;
    struct arena *arena;
    struct bytes own;   /* the member `cloudevents`, an object */
    struct bytes types; /* its `attribute_types`, an object */
    bool no_content_type, no_data, text_data;
};

static err_t read_object(struct maker *m, struct bytes text,
                         bool (*member)(void *ctx, const struct json_found *found));
static bool on_metadata(void *ctx, const struct json_found *found);
static bool on_own(void *ctx, const struct json_found *found);
static bool on_type(void *ctx, const struct json_found *found);
static err_t complete_native(struct maker *m, const struct event *e);
static err_t set_place(struct maker *m, const struct event *e);
static void set_data(struct maker *m, const struct event *e);

err_t cloudevent_of_event(const struct event *e, struct arena *arena, struct cloudevent *ret)
{
    struct maker m = {.ce = ret, .arena = arena};
    *ret = (struct cloudevent){.specversion = BYTES_LITERAL("1.0"), .type = e->type};
    err_t err = set_place(&m, e); /* first, so that nothing in the metadata can take their names */
    if (err == ERR_OK && e->metadata.n > 0) {
        err = read_object(&m, e->metadata, on_metadata);
    }
    if (err == ERR_OK && m.own.n > 0) {
        err = read_object(&m, m.own, on_own);
    }
    if (err == ERR_OK && m.types.n > 0) {
        err = read_object(&m, m.types, on_type);
    }
    if (err == ERR_OK) {
        err = complete_native(&m, e);
    }
    set_data(&m, e);
    return err;
}

void cloudevent_tell_implied(struct cloudevent *ce)
{
    if (ce->datacontenttype.p == NULL && ce->form == CLOUDEVENT_DATA_JSON) {
        ce->datacontenttype = BYTES_LITERAL("application/json");
    }
}

/* Metadata is an object, or was when it was checked. */
static err_t read_object(struct maker *m, struct bytes text,
                         bool (*member)(void *ctx, const struct json_found *found))
{
    char detail[JSON_DETAIL_MAX];
    struct json_members_handler handler = {.member = member, .ctx = m};
    enum json_members_result result = json_read_members(text, false, m->arena, &handler, detail);
    return result == JSON_MEMBERS_MEMORY ? ERR_MEMORY : ERR_OK;
}

/* Sets an extension attribute, where it can be one. */
static void set_extension(struct maker *m, const struct json_found *found)
{
    char why[CLOUDEVENT_WHY_MAX];
    struct cloudevent unused;
    bool is_text = found->kind == KIND_STRING;
    if ((!is_text && found->kind != KIND_BOOLEAN && found->kind != KIND_NUMBER) ||
        cloudevent_context_attribute(&unused, found->name) != NULL) {
        return;
    }
    enum cloudevent_type type = is_text                       ? CLOUDEVENT_STRING
                                : found->kind == KIND_BOOLEAN ? CLOUDEVENT_BOOLEAN
                                                              : CLOUDEVENT_INTEGER;
    (void)cloudevent_set(m->ce, found->name, type, is_text ? found->text : found->source, why);
}

static bool on_metadata(void *ctx, const struct json_found *found)
{
    struct maker *m = ctx;
    if (bytes_equal(found->name, BYTES_LITERAL(CLOUDEVENT_MEMBER)) && found->kind == KIND_OBJECT) {
        m->own = found->source;
    } else {
        set_extension(m, found);
    }
    return true;
}

static bool name_is(const struct json_found *found, const char *name)
{
    return bytes_equal(found->name, bytes_of_string(name));
}

static bool on_own(void *ctx, const struct json_found *found)
{
    struct maker *m = ctx;
    char why[CLOUDEVENT_WHY_MAX];
    bool is_true = found->kind == KIND_BOOLEAN && found->source.n == 4;
    if (name_is(found, "datacontenttype")) {
        m->no_content_type = found->kind == KIND_NULL;
    } else if (name_is(found, "no_data")) {
        m->no_data = is_true;
    } else if (name_is(found, "text_data")) {
        m->text_data = is_true;
    } else if (name_is(found, "attribute_types") && found->kind == KIND_OBJECT) {
        m->types = found->source;
    } else if (name_is(found, "data_type_url") && found->kind == KIND_STRING &&
               cloudevent_text_is_valid(found->text)) {
        m->ce->data_type_url = found->text;
    } else if (name_is(found, CLOUDEVENT_MEMBER)) {
        set_extension(m, found);
    } else if (found->kind == KIND_STRING &&
               (name_is(found, "id") || name_is(found, "source") || name_is(found, "subject") ||
                name_is(found, "dataschema"))) {
        (void)cloudevent_set(m->ce, found->name, CLOUDEVENT_STRING, found->text, why);
    }
    return true;
}

static bool on_type(void *ctx, const struct json_found *found)
{
    struct maker *m = ctx;
    enum cloudevent_type type;
    if (found->kind != KIND_STRING || !cloudevent_type_of_name(found->text, &type)) {
        return true;
    }
    for (size_t i = 0; i < m->ce->extension_count; i++) {
        struct cloudevent_attribute *a = &m->ce->extensions[i];
        if (a->type == CLOUDEVENT_STRING && bytes_equal(a->name, found->name)) {
            a->type = type;
        }
    }
    return true;
}

/* ---- what every event has ---- */

static err_t copy_text(struct maker *m, const char *text, size_t n, struct bytes *ret)
{
    return arena_copy(m->arena, bytes_of(text, n), ret);
}

static err_t copy_number(struct maker *m, uint64_t number, struct bytes *ret)
{
    char digits[U64_DIGITS_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return copy_text(m, digits + at, sizeof digits - at, ret);
}

static void add_own_extension(struct maker *m, struct bytes name, enum cloudevent_type type,
                              struct bytes text)
{
    struct cloudevent *ce = m->ce;
    ce->extensions[ce->extension_count++] = (struct cloudevent_attribute){name, type, text};
    ce->own_extension_count++;
}

/* Where the event is. Integers of CloudEvents have 32 bits, so numbers are text. */
static err_t set_place(struct maker *m, const struct event *e)
{
    char time[TIMESTAMP_TEXT_BYTES];
    struct bytes revision, position, recorded;
    timestamp_format(e->time_us, time);
    err_t err = copy_number(m, e->revision, &revision);
    err = err != ERR_OK ? err : copy_number(m, e->position, &position);
    err = err != ERR_OK ? err : copy_text(m, time, sizeof time, &recorded);
    if (err == ERR_OK) {
        add_own_extension(m, BYTES_LITERAL("stream"), CLOUDEVENT_STRING, e->stream);
        add_own_extension(m, BYTES_LITERAL("revision"), CLOUDEVENT_STRING, revision);
        add_own_extension(m, BYTES_LITERAL("position"), CLOUDEVENT_STRING, position);
        add_own_extension(m, BYTES_LITERAL("recordedtime"), CLOUDEVENT_TIMESTAMP, recorded);
    }
    if (err == ERR_OK && e->redacted) {
        add_own_extension(m, BYTES_LITERAL("redacted"), CLOUDEVENT_BOOLEAN, BYTES_LITERAL("true"));
    }
    return err;
}

/* "/v1/streams/" and the stream's name, percent-encoded as one segment of a path. */
static err_t make_source(struct maker *m, struct bytes stream, struct bytes *ret)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = strlen(SOURCE_PREFIX);
    uint8_t *to = arena_alloc(m->arena, n + stream.n * ENCODED_BYTE_MAX);
    if (to == NULL) {
        return ERR_MEMORY;
    }
    memcpy(to, SOURCE_PREFIX, n);
    for (size_t i = 0; i < stream.n; i++) {
        uint8_t c = stream.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        to[n++] = plain ? c : '%';
        if (!plain) {
            to[n++] = (uint8_t)hex[c >> 4];
            to[n++] = (uint8_t)hex[c & 15];
        }
    }
    *ret = bytes_of(to, n);
    return ERR_OK;
}

static err_t complete_native(struct maker *m, const struct event *e)
{
    struct cloudevent *ce = m->ce;
    bool native = ce->source.p == NULL;
    char id[UUID_TEXT_BYTES];
    char time[TIMESTAMP_TEXT_BYTES];
    err_t err = ERR_OK;
    if (native) {
        err = make_source(m, e->stream, &ce->source);
        ce->id = BYTES_NONE;
    }
    if (err == ERR_OK && ce->id.p == NULL) {
        static const uint8_t none[UUID_BYTES];
        uuid_format(e->id.n == UUID_BYTES ? e->id.p : none, id);
        err = copy_text(m, id, sizeof id, &ce->id);
    }
    if (e->occurred_at.n > 0) {
        ce->time = e->occurred_at;
    } else if (err == ERR_OK && native) {
        timestamp_format(e->time_us, time);
        err = copy_text(m, time, sizeof time, &ce->time);
    }
    return err;
}

static void set_data(struct maker *m, const struct event *e)
{
    struct cloudevent *ce = m->ce;
    char detail[JSON_DETAIL_MAX];
    if (!m->no_content_type) {
        ce->datacontenttype =
            e->content_type.n > 0 ? e->content_type : BYTES_LITERAL("application/json");
    }
    bool is_json = event_content_is_json(e->content_type);
    bool is_null = bytes_equal(e->data, BYTES_LITERAL("null"));
    if (e->redacted || (is_json && e->data.n == 0) || (m->no_data && (e->data.n == 0 || is_null))) {
        ce->form = CLOUDEVENT_DATA_NONE;
        return;
    }
    ce->data = e->data;
    bool as_json = is_json || (!m->no_content_type && cloudevent_media_is_json(e->content_type) &&
                               json_check(e->data, false, detail));
    bool as_text =
        (m->text_data || cloudevent_media_is_text(e->content_type)) && bytes_are_utf8(e->data);
    ce->form = as_json                       ? CLOUDEVENT_DATA_JSON
               : ce->data_type_url.p != NULL ? CLOUDEVENT_DATA_ANY
               : as_text                     ? CLOUDEVENT_DATA_TEXT
                                             : CLOUDEVENT_DATA_BINARY;
}
