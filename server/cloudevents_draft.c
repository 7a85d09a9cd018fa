/* cloudevents_draft: from a CloudEvent to the event that is appended.
 *
 * What an event of ours has a field for goes there: type, time (occurred_at), datacontenttype
 * (content_type), data, and the id where it is a UUID. Extension attributes become members of the
 * metadata, where native clients put such things too. The rest goes into one more member:
 *
 *   "cloudevents": {"source", "id"?, "subject"?, "dataschema"?, "datacontenttype"?: null,
 *                   "no_data"?: true, "text_data"?: true, "data_type_url"?,
 *                   "attribute_types"?: {<extension>: "bytes" | "uri" | …}}
 *
 * Names of attributes have no underscore, so these cannot meet one. */
#include "server/cloudevents_int.h"

#include "server/negotiate.h"

#include <sodium.h>
#include <stdio.h>

#define METADATA_BYTES_MAX (64u << 20)

static bool complete_stream(struct cloudevents_input *in, struct bytes *ret);
static struct draft_event *add_event(struct cloudevents_input *in, struct bytes stream);
static void set_id(const struct cloudevent *ce, struct draft_event *e);
static void set_data(struct cloudevent *ce, struct draft_event *e);
static bool set_metadata(struct cloudevents_input *in, struct draft_event *e);
static void path_of(const struct draft *d, struct draft_place place, const char *member,
                    char ret[DRAFT_FIELD_MAX]);
static void batch_path_of(const struct draft *d, struct draft_place place, const char *member,
                          char ret[DRAFT_FIELD_MAX]);
static void header_path_of(const struct draft *d, struct draft_place place, const char *member,
                           char ret[DRAFT_FIELD_MAX]);

bool cloudevents_mode_of(struct http_request *rq, enum cloudevents_mode *ret)
{
    struct bytes type = http_header(rq, "Content-Type");
    enum encoding encoding;
    if (negotiate_cloudevents(type, &encoding)) {
        *ret = encoding == ENCODING_CE_JSON         ? CLOUDEVENTS_JSON
               : encoding == ENCODING_CE_JSON_BATCH ? CLOUDEVENTS_JSON_BATCH
               : encoding == ENCODING_CE_PROTOBUF   ? CLOUDEVENTS_PROTOBUF
                                                    : CLOUDEVENTS_PROTOBUF_BATCH;
        return true;
    }
    if (negotiate_is_cloudevents(type)) {
        reply_problem_detail(rq, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "header.Content-Type",
                             "of CloudEvents the formats +json and +protobuf are taken, and "
                             "application/cloudevents-batch of both, in UTF-8");
        return false;
    }
    /* Any of the required attributes, so that one without its version is told so. */
    bool binary = http_header(rq, "ce-specversion").p != NULL ||
                  http_header(rq, "ce-id").p != NULL || http_header(rq, "ce-source").p != NULL ||
                  http_header(rq, "ce-type").p != NULL;
    *ret = binary ? CLOUDEVENTS_BINARY : CLOUDEVENTS_NONE;
    return true;
}

bool cloudevents_read_draft(struct http_request *rq, enum cloudevents_mode mode,
                            struct bytes stream, struct draft *d)
{
    struct cloudevents_input in = {.stream = stream};
    cloudevents_input_init(&in, d, mode);
    switch (mode) {
    case CLOUDEVENTS_BINARY:
        return cloudevents_read_headers(&in, rq);
    case CLOUDEVENTS_JSON:
    case CLOUDEVENTS_JSON_BATCH:
        return cloudevents_read_json(&in, http_body(rq));
    case CLOUDEVENTS_PROTOBUF:
    case CLOUDEVENTS_PROTOBUF_BATCH:
        return cloudevents_read_protobuf(&in, http_body(rq));
    case CLOUDEVENTS_NONE:
        break;
    }
    return false;
}

void cloudevents_input_init(struct cloudevents_input *in, struct draft *d,
                            enum cloudevents_mode mode)
{
    in->draft = d;
    in->mode = mode;
    in->index = 0;
    in->event = (struct cloudevent){0};
    bool batch = mode == CLOUDEVENTS_JSON_BATCH || mode == CLOUDEVENTS_PROTOBUF_BATCH;
    d->path = mode == CLOUDEVENTS_BINARY ? header_path_of : batch ? batch_path_of : path_of;
}

/* ---- where something is wrong ---- */

static long index_of(const struct draft *d, struct draft_place place)
{
    return d->many ? place.append : place.event;
}

/* What draft_check calls by our names. */
static const char *attribute_of(const char *member)
{
    return strcmp(member, "occurred_at") == 0    ? "time"
           : strcmp(member, "content_type") == 0 ? "datacontenttype"
                                                 : member;
}

static void path_of(const struct draft *d, struct draft_place place, const char *member,
                    char ret[DRAFT_FIELD_MAX])
{
    (void)d;
    (void)place;
    snprintf(ret, DRAFT_FIELD_MAX, "%s", attribute_of(member));
}

static void batch_path_of(const struct draft *d, struct draft_place place, const char *member,
                          char ret[DRAFT_FIELD_MAX])
{
    long index = index_of(d, place);
    if (index < 0) {
        path_of(d, place, member, ret);
        return;
    }
    snprintf(ret, DRAFT_FIELD_MAX, "[%ld]%s%s", index, member[0] != '\0' ? "." : "",
             attribute_of(member));
}

static void header_path_of(const struct draft *d, struct draft_place place, const char *member,
                           char ret[DRAFT_FIELD_MAX])
{
    const char *attribute = attribute_of(member);
    if (index_of(d, place) < 0 || member[0] == '\0' || strcmp(member, "data") == 0) {
        snprintf(ret, DRAFT_FIELD_MAX, "%s", attribute);
    } else if (strcmp(attribute, "datacontenttype") == 0) {
        snprintf(ret, DRAFT_FIELD_MAX, "header.Content-Type");
    } else {
        snprintf(ret, DRAFT_FIELD_MAX, "header.ce-%s", attribute);
    }
}

/* The name of an attribute as it came may be anything: it is shown where it is text, and cut
 * between two characters where it is long. */
bool cloudevents_reject(struct cloudevents_input *in, enum problem problem, struct bytes member,
                        const char *why)
{
    char name[CLOUDEVENT_NAME_MAX + 1];
    member = bytes_are_utf8(member) ? member : BYTES_NONE;
    size_t n = member.n > CLOUDEVENT_NAME_MAX ? CLOUDEVENT_NAME_MAX : member.n;
    while (n > 0 && n < member.n && (member.p[n] & 0xc0) == 0x80) {
        n--;
    }
    snprintf(name, sizeof name, "%.*s", (int)n, n > 0 ? (const char *)member.p : "");
    long index = (long)in->index;
    struct draft_place place = {in->draft->many ? index : 0, -1, in->draft->many ? 0 : index};
    return draft_reject(in->draft, problem, place, name, "%s", why);
}

/* ---- making the event ---- */

bool cloudevents_add(struct cloudevents_input *in)
{
    struct cloudevent *ce = &in->event;
    const struct {
        const char *name;
        struct bytes value;
    } required[] = {{"specversion", ce->specversion},
                    {"id", ce->id},
                    {"source", ce->source},
                    {"type", ce->type}};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        if (required[i].value.p == NULL) {
            return cloudevents_reject(in, PROBLEM_MISSING_FIELD, bytes_of_string(required[i].name),
                                      "every CloudEvent has specversion, id, source and type");
        }
    }
    struct bytes stream = in->stream;
    if (!complete_stream(in, &stream)) {
        return false;
    }
    struct draft_event *e = add_event(in, stream);
    if (e == NULL) {
        return false;
    }
    set_id(ce, e);
    e->fields.type = ce->type;
    e->fields.occurred_at = ce->time;
    set_data(ce, e);
    if (!set_metadata(in, e)) {
        return false;
    }
    in->index++;
    in->event = (struct cloudevent){0};
    return true;
}

/* Takes `stream` out of the extension attributes, which comes back from where the event is. */
static struct bytes take_stream(struct cloudevent *ce)
{
    for (size_t i = 0; i < ce->extension_count; i++) {
        if (bytes_equal(ce->extensions[i].name, BYTES_LITERAL("stream"))) {
            struct bytes text = ce->extensions[i].text;
            ce->extensions[i] = ce->extensions[--ce->extension_count];
            return text;
        }
    }
    return BYTES_NONE;
}

static bool complete_stream(struct cloudevents_input *in, struct bytes *ret)
{
    struct bytes named = take_stream(&in->event);
    if (in->stream.n > 0) {
        return named.p == NULL || bytes_equal(named, in->stream) ||
               cloudevents_reject(in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("stream"),
                                  "it is not the stream of the path");
    }
    bool by_subject = named.p == NULL;
    *ret = by_subject ? in->event.subject : named;
    if (ret->p == NULL) {
        return cloudevents_reject(in, PROBLEM_MISSING_FIELD, BYTES_LITERAL("stream"),
                                  "which stream? set the extension attribute stream, or subject, "
                                  "or send it to /v1/streams/{stream}/events");
    }
    struct bytes member = by_subject ? BYTES_LITERAL("subject") : BYTES_LITERAL("stream");
    if (!event_name_is_valid(*ret)) {
        return cloudevents_reject(in, PROBLEM_INVALID_NAME, member,
                                  "it names the stream, so it must be 1 to 255 bytes");
    }
    return !event_name_is_system(*ret) ||
           cloudevents_reject(in, PROBLEM_RESERVED_NAME, member,
                              "it names the stream, and '$' begins the system's names only");
}

static struct draft_event *add_event(struct cloudevents_input *in, struct bytes stream)
{
    struct draft *d = in->draft;
    struct draft_append *append = d->appends.last;
    if (append == NULL || d->many) {
        append = draft_add_append(d);
    }
    if (append == NULL) {
        return NULL;
    }
    append->stream = stream;
    return draft_add_event(d, append);
}

/* A CloudEvent is known by source and id together. */
static void hash_id(const struct cloudevent *ce, uint8_t ret[UUID_BYTES])
{
    static const uint8_t end[1] = {0};
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, ce->source.p, ce->source.n);
    crypto_hash_sha256_update(&state, end, sizeof end);
    crypto_hash_sha256_update(&state, ce->id.p, ce->id.n);
    crypto_hash_sha256_final(&state, hash);
    memcpy(ret, hash, UUID_BYTES);
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x80); /* version 8 */
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
}

static void set_id(const struct cloudevent *ce, struct draft_event *e)
{
    if (uuid_parse(ce->id, e->id) != ERR_OK) {
        hash_id(ce, e->id);
    }
    e->fields.id = bytes_of(e->id, UUID_BYTES);
}

/* Bytes of any kind, where nothing is said of them, are application/octet-stream for us. */
static struct bytes content_type_of(const struct cloudevent *ce)
{
    if (ce->datacontenttype.p != NULL) {
        return ce->datacontenttype;
    }
    switch (ce->form) {
    case CLOUDEVENT_DATA_TEXT:
        return BYTES_LITERAL("text/plain; charset=utf-8");
    case CLOUDEVENT_DATA_BINARY:
    case CLOUDEVENT_DATA_BASE64:
        return BYTES_LITERAL("application/octet-stream");
    case CLOUDEVENT_DATA_ANY:
        return BYTES_LITERAL("application/protobuf");
    case CLOUDEVENT_DATA_NONE:
    case CLOUDEVENT_DATA_JSON:
        break;
    }
    return BYTES_NONE;
}

static void set_data(struct cloudevent *ce, struct draft_event *e)
{
    struct bytes type = content_type_of(ce);
    bool is_json = event_content_is_json(type);
    if (is_json && ce->data.n == 0 && ce->form != CLOUDEVENT_DATA_BASE64) {
        ce->form = CLOUDEVENT_DATA_NONE; /* no bytes are no JSON */
    }
    e->fields.content_type = type;
    e->fields.data = ce->data;
    e->data_form = is_json && ce->form == CLOUDEVENT_DATA_JSON ? DRAFT_DATA_JSON
                   : ce->form == CLOUDEVENT_DATA_BASE64        ? DRAFT_DATA_BASE64
                                                               : DRAFT_DATA_BINARY;
}

/* ---- metadata ---- */

static void put_value(struct buf *b, const struct cloudevent_attribute *a)
{
    if (a->type == CLOUDEVENT_BOOLEAN || a->type == CLOUDEVENT_INTEGER) {
        buf_put(b, a->text);
    } else {
        buf_put_json_string(b, a->text);
    }
}

static void put_string_member(struct buf *b, const char *name, struct bytes text)
{
    if (text.p != NULL) {
        buf_put_format(b, ",\"%s\":", name);
        buf_put_json_string(b, text);
    }
}

/* What JSON's types do not tell. */
static void put_attribute_types(struct buf *b, const struct cloudevent *ce)
{
    bool any = false;
    for (size_t i = 0; i < ce->extension_count; i++) {
        const struct cloudevent_attribute *a = &ce->extensions[i];
        if (a->type == CLOUDEVENT_STRING || a->type == CLOUDEVENT_BOOLEAN ||
            a->type == CLOUDEVENT_INTEGER) {
            continue;
        }
        buf_put_string(b, any ? "," : ",\"attribute_types\":{");
        buf_put_json_string(b, a->name);
        buf_put_format(b, ":\"%s\"", cloudevent_type_name(a->type));
        any = true;
    }
    buf_put_string(b, any ? "}" : "");
}

static bool is_own_uuid(const struct cloudevent *ce, const struct draft_event *e)
{
    char text[UUID_TEXT_BYTES];
    uuid_format(e->id, text);
    return bytes_equal(ce->id, bytes_of(text, sizeof text));
}

static void put_metadata(struct buf *b, const struct cloudevent *ce, const struct draft_event *e)
{
    const struct cloudevent_attribute *own = NULL; /* an extension named as our member */
    buf_put_byte(b, '{');
    for (size_t i = 0; i < ce->extension_count; i++) {
        const struct cloudevent_attribute *a = &ce->extensions[i];
        if (bytes_equal(a->name, BYTES_LITERAL(CLOUDEVENT_MEMBER))) {
            own = a;
            continue;
        }
        buf_put_json_string(b, a->name);
        buf_put_byte(b, ':');
        put_value(b, a);
        buf_put_byte(b, ',');
    }
    buf_put_string(b, "\"" CLOUDEVENT_MEMBER "\":{\"source\":");
    buf_put_json_string(b, ce->source);
    put_string_member(b, "id", is_own_uuid(ce, e) ? BYTES_NONE : ce->id);
    put_string_member(b, "subject", ce->subject);
    put_string_member(b, "dataschema", ce->dataschema);
    put_string_member(b, "data_type_url", ce->data_type_url);
    buf_put_string(b, ce->datacontenttype.p == NULL ? ",\"datacontenttype\":null" : "");
    buf_put_string(b, ce->form == CLOUDEVENT_DATA_NONE ? ",\"no_data\":true" : "");
    bool odd_text =
        ce->form == CLOUDEVENT_DATA_TEXT && !cloudevent_media_is_text(e->fields.content_type);
    buf_put_string(b, odd_text ? ",\"text_data\":true" : "");
    put_attribute_types(b, ce);
    if (own != NULL) {
        buf_put_string(b, ",\"" CLOUDEVENT_MEMBER "\":");
        put_value(b, own);
    }
    buf_put_string(b, "}}");
}

static bool set_metadata(struct cloudevents_input *in, struct draft_event *e)
{
    struct buf b;
    buf_init(&b, METADATA_BYTES_MAX);
    put_metadata(&b, &in->event, e);
    bool ok = buf_status(&b) == ERR_OK &&
              arena_copy(in->draft->arena, buf_bytes(&b), &e->fields.metadata) == ERR_OK;
    buf_done(&b);
    e->metadata_is_json = true;
    return ok || cloudevents_reject(in, PROBLEM_OVERLOADED, BYTES_NONE,
                                    "there is not enough memory for this request");
}
