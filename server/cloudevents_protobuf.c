/* cloudevents_protobuf: the protobuf event format, in and out; the only file that knows the
 * generated code of cloudevents.proto. */
#include "cloudevents/v1/cloudevents.pb-c.h"
#include "server/base64.h"
#include "server/cloudevents_int.h"
#include "server/protobuf_memory.h"
#include "storage/base/check.h"
#include "storage/base/timestamp.h"

#include <stdio.h>
#include <stdlib.h>

#define NANOS_PER_SECOND 1000000000
#define NANOS_DIGITS     9
#define US_PER_SECOND    1000000
#define SECONDS_TEXT     19 /* "2026-01-01T00:00:00" */
#define TIME_TEXT_MAX    (SECONDS_TEXT + 1 + NANOS_DIGITS + 1)
/* Of the years 0001 to 9999. */
#define SECONDS_MIN (-62135596800)
#define SECONDS_MAX 253402300799
/* datacontenttype, dataschema, subject and time stand among the extension attributes. */
#define ENTRIES_MAX (CLOUDEVENT_EXTENSIONS_MAX + CLOUDEVENT_OWN_EXTENSIONS + 4)
/* The generated names of the cases. */
#define DATA(name) IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_##name
#define ATTR(name) IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_##name
#define TAG_ENTRY  0x0a /* field 1 of CloudEventBatch */

static bool read_event(struct cloudevents_input *in,
                       const Io__Cloudevents__V1__CloudEvent *message);
static bool read_data(struct cloudevents_input *in, const Io__Cloudevents__V1__CloudEvent *message);
static bool read_attribute(struct cloudevents_input *in,
                           const Io__Cloudevents__V1__CloudEvent__AttributesEntry *entry);

/* ---- in ---- */

static bool out_of_memory(struct cloudevents_input *in)
{
    return cloudevents_reject(in, PROBLEM_OVERLOADED, BYTES_NONE,
                              "there is not enough memory for this request");
}

bool cloudevents_read_protobuf(struct cloudevents_input *in, struct bytes body)
{
    bool batch = in->mode == CLOUDEVENTS_PROTOBUF_BATCH;
    struct draft *d = in->draft;
    struct draft_place nowhere = {-1, -1, -1};
    struct protobuf_memory memory;
    const ProtobufCMessageDescriptor *descriptor =
        batch ? &io__cloudevents__v1__cloud_event_batch__descriptor
              : &io__cloudevents__v1__cloud_event__descriptor;
    ProtobufCMessage *message = protobuf_memory_unpack(&memory, d->arena, descriptor, body);
    if (message == NULL && memory.exhausted) {
        return draft_reject(d, PROBLEM_TOO_MANY_EVENTS, nowhere, "",
                            "the request has far more parts than %zu events, the limit "
                            "(append-events-max), can have",
                            d->limits->append_events_max);
    }
    if (message == NULL) {
        return draft_reject(d, PROBLEM_INVALID_PROTOBUF, nowhere, "",
                            "the body does not parse as an %s", descriptor->name);
    }
    if (!batch) {
        return read_event(in, (const Io__Cloudevents__V1__CloudEvent *)message);
    }
    const Io__Cloudevents__V1__CloudEventBatch *list =
        (const Io__Cloudevents__V1__CloudEventBatch *)message;
    for (size_t i = 0; i < list->n_events; i++) {
        if (!read_event(in, list->events[i])) {
            return false;
        }
    }
    return in->index > 0 || draft_reject(d, PROBLEM_MISSING_FIELD, nowhere, "",
                                         "the batch is empty: at least one event is required");
}

static bool set(struct cloudevents_input *in, struct bytes name, enum cloudevent_type type,
                struct bytes text)
{
    char why[CLOUDEVENT_WHY_MAX];
    struct bytes present = text.p == NULL ? BYTES_LITERAL("") : text;
    return cloudevent_set(&in->event, name, type, present, why) ||
           cloudevents_reject(in, PROBLEM_INVALID_FIELD, name, why);
}

/* The required attributes are fields: what is absent is empty there. */
static bool set_required(struct cloudevents_input *in, const char *name, const char *value)
{
    struct bytes text = protobuf_memory_string(value);
    return text.n == 0 || set(in, bytes_of_string(name), CLOUDEVENT_STRING, text);
}

static bool read_event(struct cloudevents_input *in, const Io__Cloudevents__V1__CloudEvent *message)
{
    if (message->base.n_unknown_fields > 0) {
        return cloudevents_reject(in, PROBLEM_UNKNOWN_FIELD, BYTES_NONE,
                                  "the message has a field that CloudEvent does not have");
    }
    if (!set_required(in, "specversion", message->spec_version) ||
        !set_required(in, "id", message->id) || !set_required(in, "source", message->source) ||
        !set_required(in, "type", message->type)) {
        return false;
    }
    for (size_t i = 0; i < message->n_attributes; i++) {
        if (!read_attribute(in, message->attributes[i])) {
            return false;
        }
    }
    return read_data(in, message) && cloudevents_add(in);
}

static bool read_data(struct cloudevents_input *in, const Io__Cloudevents__V1__CloudEvent *message)
{
    struct cloudevent *ce = &in->event;
    switch (message->data_case) {
    case DATA(BINARY_DATA):
        ce->form = CLOUDEVENT_DATA_BINARY;
        ce->data = bytes_of(message->binary_data.data, message->binary_data.len);
        return true;
    case DATA(TEXT_DATA):
        ce->form = CLOUDEVENT_DATA_TEXT;
        ce->data = protobuf_memory_string(message->text_data);
        return bytes_are_utf8(ce->data) ||
               cloudevents_reject(in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("text_data"),
                                  "it is not UTF-8");
    case DATA(PROTO_DATA):
        ce->form = CLOUDEVENT_DATA_ANY;
        ce->data = bytes_of(message->proto_data->value.data, message->proto_data->value.len);
        ce->data_type_url = protobuf_memory_string(message->proto_data->type_url);
        return (bytes_are_utf8(ce->data_type_url) && cloudevent_text_is_valid(ce->data_type_url)) ||
               cloudevents_reject(in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("proto_data"),
                                  "its type_url must be UTF-8 without control characters");
    case DATA(_NOT_SET):
    case _IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA__CASE_IS_INT_SIZE:
        break;
    }
    return true;
}

/* RFC 3339, as fine as it is: no fraction, or nine digits. */
static bool format_stamp(const Io__Cloudevents__V1__CloudEvent__Timestamp *stamp,
                         char text[TIME_TEXT_MAX + 1])
{
    char whole[TIMESTAMP_TEXT_BYTES];
    if (stamp->seconds < SECONDS_MIN || stamp->seconds > SECONDS_MAX || stamp->nanos < 0 ||
        stamp->nanos >= NANOS_PER_SECOND) {
        return false;
    }
    timestamp_format(stamp->seconds * US_PER_SECOND, whole);
    if (stamp->nanos == 0) {
        snprintf(text, TIME_TEXT_MAX + 1, "%.*sZ", SECONDS_TEXT, whole);
    } else {
        snprintf(text, TIME_TEXT_MAX + 1, "%.*s.%09dZ", SECONDS_TEXT, whole, (int)stamp->nanos);
    }
    return true;
}

static bool set_stamp(struct cloudevents_input *in, struct bytes name,
                      const Io__Cloudevents__V1__CloudEvent__Timestamp *stamp)
{
    char text[TIME_TEXT_MAX + 1];
    struct bytes kept;
    if (!format_stamp(stamp, text)) {
        return cloudevents_reject(in, PROBLEM_INVALID_FIELD, name,
                                  "must be a time of the years 0001 to 9999");
    }
    if (arena_copy(in->draft->arena, bytes_of_string(text), &kept) != ERR_OK) {
        return out_of_memory(in);
    }
    return set(in, name, CLOUDEVENT_TIMESTAMP, kept);
}

static bool set_bytes(struct cloudevents_input *in, struct bytes name, ProtobufCBinaryData value)
{
    struct buf b;
    struct bytes kept = BYTES_NONE;
    buf_init(&b, value.len * 2 + 4);
    buf_put_base64(&b, bytes_of(value.data, value.len));
    bool ok =
        buf_status(&b) == ERR_OK && arena_copy(in->draft->arena, buf_bytes(&b), &kept) == ERR_OK;
    buf_done(&b);
    return ok ? set(in, name, CLOUDEVENT_BYTES, kept) : out_of_memory(in);
}

static bool set_integer(struct cloudevents_input *in, struct bytes name, int32_t value)
{
    char text[16];
    struct bytes kept;
    snprintf(text, sizeof text, "%d", (int)value);
    return arena_copy(in->draft->arena, bytes_of_string(text), &kept) == ERR_OK
               ? set(in, name, CLOUDEVENT_INTEGER, kept)
               : out_of_memory(in);
}

/* `type` in Timestamp's or another type's clothes: a field of its own in the message. */
static bool is_required(struct bytes name)
{
    return bytes_equal(name, BYTES_LITERAL("id")) || bytes_equal(name, BYTES_LITERAL("source")) ||
           bytes_equal(name, BYTES_LITERAL("type")) ||
           bytes_equal(name, BYTES_LITERAL("specversion"));
}

static bool read_attribute(struct cloudevents_input *in,
                           const Io__Cloudevents__V1__CloudEvent__AttributesEntry *entry)
{
    struct bytes name = protobuf_memory_string(entry->key);
    const Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue *value = entry->value;
    if (is_required(name)) {
        return cloudevents_reject(in, PROBLEM_INVALID_FIELD, name,
                                  "it has a field of its own and is none of the attributes");
    }
    switch (value == NULL ? ATTR(_NOT_SET) : value->attr_case) {
    case ATTR(CE_BOOLEAN):
        return set(in, name, CLOUDEVENT_BOOLEAN,
                   value->ce_boolean ? BYTES_LITERAL("true") : BYTES_LITERAL("false"));
    case ATTR(CE_INTEGER):
        return set_integer(in, name, value->ce_integer);
    case ATTR(CE_STRING):
        return set(in, name, CLOUDEVENT_STRING, protobuf_memory_string(value->ce_string));
    case ATTR(CE_BYTES):
        return set_bytes(in, name, value->ce_bytes);
    case ATTR(CE_URI):
        return set(in, name, CLOUDEVENT_URI, protobuf_memory_string(value->ce_uri));
    case ATTR(CE_URI_REF):
        return set(in, name, CLOUDEVENT_URI_REF, protobuf_memory_string(value->ce_uri_ref));
    case ATTR(CE_TIMESTAMP):
        return set_stamp(in, name, value->ce_timestamp);
    case ATTR(_NOT_SET):
    case _IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR__CASE_IS_INT_SIZE:
        break;
    }
    return cloudevents_reject(in, PROBLEM_INVALID_FIELD, name, "the attribute has no value");
}

/* ---- out ---- */

/* A message on its way: what its pointers lead to. */
struct writing {
    struct arena *arena;
    err_t err;
    Io__Cloudevents__V1__CloudEvent message;
    Io__Cloudevents__V1__CloudEvent__Any any;
    Io__Cloudevents__V1__CloudEvent__AttributesEntry *list[ENTRIES_MAX];
    Io__Cloudevents__V1__CloudEvent__AttributesEntry entries[ENTRIES_MAX];
    Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue values[ENTRIES_MAX];
    Io__Cloudevents__V1__CloudEvent__Timestamp stamps[ENTRIES_MAX];
};

/* As the generated structs want strings; attributes have no NUL inside. */
static char *terminated(struct writing *w, struct bytes text)
{
    char *copy = arena_alloc(w->arena, text.n + 1);
    if (copy == NULL) {
        w->err = ERR_MEMORY;
        return NULL;
    }
    if (text.n > 0) {
        memcpy(copy, text.p, text.n);
    }
    copy[text.n] = '\0';
    return copy;
}

/* False where the text is no time: then it goes as a string. */
static bool parse_stamp(struct bytes text, Io__Cloudevents__V1__CloudEvent__Timestamp *ret)
{
    int64_t us;
    if (timestamp_parse(text, &us) != ERR_OK) {
        return false;
    }
    int64_t seconds = us / US_PER_SECOND - (us % US_PER_SECOND < 0);
    int32_t nanos = 0;
    const uint8_t *dot = memchr(text.p, '.', text.n);
    int32_t weight = NANOS_PER_SECOND / 10;
    for (const uint8_t *p = dot == NULL ? text.p + text.n : dot + 1;
         p < text.p + text.n && *p >= '0' && *p <= '9'; p++, weight /= 10) {
        nanos += (*p - '0') * weight;
    }
    io__cloudevents__v1__cloud_event__timestamp__init(ret);
    ret->seconds = seconds;
    /* A leap second is the last moment before it for us. */
    bool leap = us - seconds * US_PER_SECOND != nanos / 1000;
    ret->nanos = leap ? (int32_t)(us - seconds * US_PER_SECOND) * 1000 : nanos;
    return true;
}

static bool decode_bytes(struct writing *w, struct bytes text, ProtobufCBinaryData *ret)
{
    uint8_t *to = arena_alloc(w->arena, BASE64_DECODED_MAX(text.n));
    if (to == NULL) {
        w->err = ERR_MEMORY;
        return true;
    }
    ret->data = to;
    return base64_decode(text, to, &ret->len);
}

static void set_value(struct writing *w,
                      Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue *value,
                      Io__Cloudevents__V1__CloudEvent__Timestamp *stamp, enum cloudevent_type type,
                      struct bytes text)
{
    int32_t number;
    io__cloudevents__v1__cloud_event__cloud_event_attribute_value__init(value);
    if (type == CLOUDEVENT_TIMESTAMP && parse_stamp(text, stamp)) {
        value->attr_case = ATTR(CE_TIMESTAMP);
        value->ce_timestamp = stamp;
    } else if (type == CLOUDEVENT_BYTES && decode_bytes(w, text, &value->ce_bytes)) {
        value->attr_case = ATTR(CE_BYTES);
    } else if (type == CLOUDEVENT_BOOLEAN) {
        value->attr_case = ATTR(CE_BOOLEAN);
        value->ce_boolean = bytes_equal(text, BYTES_LITERAL("true"));
    } else if (type == CLOUDEVENT_INTEGER && cloudevent_integer_is_valid(text, &number)) {
        value->attr_case = ATTR(CE_INTEGER);
        value->ce_integer = number;
    } else {
        value->attr_case = type == CLOUDEVENT_URI       ? ATTR(CE_URI)
                           : type == CLOUDEVENT_URI_REF ? ATTR(CE_URI_REF)
                                                        : ATTR(CE_STRING);
        value->ce_string = terminated(w, text); /* the three share their place */
    }
}

static void add_entry(struct writing *w, struct bytes name, enum cloudevent_type type,
                      struct bytes text)
{
    if (text.p == NULL) {
        return;
    }
    size_t i = w->message.n_attributes++;
    CHECK(i < ENTRIES_MAX);
    io__cloudevents__v1__cloud_event__attributes_entry__init(&w->entries[i]);
    set_value(w, &w->values[i], &w->stamps[i], type, text);
    w->entries[i].key = terminated(w, name);
    w->entries[i].value = &w->values[i];
    w->list[i] = &w->entries[i];
}

static void set_message_data(struct writing *w, const struct cloudevent *ce)
{
    Io__Cloudevents__V1__CloudEvent *m = &w->message;
    ProtobufCBinaryData bytes = {ce->data.n, (uint8_t *)(uintptr_t)ce->data.p};
    bool has_nul = ce->data.n > 0 && memchr(ce->data.p, '\0', ce->data.n) != NULL;
    switch (ce->form) {
    case CLOUDEVENT_DATA_NONE:
        return;
    case CLOUDEVENT_DATA_JSON:
    case CLOUDEVENT_DATA_TEXT:
        if (!has_nul) {
            m->data_case = DATA(TEXT_DATA);
            m->text_data = terminated(w, ce->data);
            return;
        }
        break;
    case CLOUDEVENT_DATA_ANY:
        io__cloudevents__v1__cloud_event__any__init(&w->any);
        w->any.type_url = terminated(w, ce->data_type_url);
        w->any.value = bytes;
        m->data_case = DATA(PROTO_DATA);
        m->proto_data = &w->any;
        return;
    case CLOUDEVENT_DATA_BINARY:
    case CLOUDEVENT_DATA_BASE64:
        break;
    }
    m->data_case = DATA(BINARY_DATA);
    m->binary_data = bytes;
}

/* Borrowed from the arena, which is reset. */
static err_t make_message(struct arena *arena, const struct event *e,
                          Io__Cloudevents__V1__CloudEvent **ret)
{
    struct cloudevent ce;
    arena_reset(arena);
    struct writing *w = arena_alloc(arena, sizeof *w);
    err_t err = w == NULL ? ERR_MEMORY : cloudevent_of_event(e, arena, &ce);
    if (err != ERR_OK) {
        return err;
    }
    cloudevent_tell_implied(&ce);
    w->arena = arena;
    w->err = ERR_OK;
    io__cloudevents__v1__cloud_event__init(&w->message);
    w->message.attributes = w->list;
    w->message.spec_version = terminated(w, ce.specversion);
    w->message.id = terminated(w, ce.id);
    w->message.source = terminated(w, ce.source);
    w->message.type = terminated(w, ce.type);
    add_entry(w, BYTES_LITERAL("subject"), CLOUDEVENT_STRING, ce.subject);
    add_entry(w, BYTES_LITERAL("time"), CLOUDEVENT_TIMESTAMP, ce.time);
    add_entry(w, BYTES_LITERAL("datacontenttype"), CLOUDEVENT_STRING, ce.datacontenttype);
    add_entry(w, BYTES_LITERAL("dataschema"), CLOUDEVENT_URI, ce.dataschema);
    for (size_t i = 0; i < ce.extension_count; i++) {
        const struct cloudevent_attribute *a = &ce.extensions[i];
        add_entry(w, a->name, a->type, a->text);
    }
    set_message_data(w, &ce);
    *ret = &w->message;
    return w->err;
}

static err_t put_message(struct buf *b, const Io__Cloudevents__V1__CloudEvent *message,
                         bool as_entry)
{
    size_t n = io__cloudevents__v1__cloud_event__get_packed_size(message);
    if (as_entry) {
        buf_put_byte(b, TAG_ENTRY);
        buf_put_varint(b, n);
    }
    uint8_t *to = buf_reserve(b, n);
    if (to != NULL) {
        buf_advance(b, io__cloudevents__v1__cloud_event__pack(message, to));
    }
    return buf_status(b);
}

err_t cloudevents_put_protobuf(struct buf *b, struct arena *arena, const struct event *e)
{
    Io__Cloudevents__V1__CloudEvent *message;
    err_t err = make_message(arena, e, &message);
    return err == ERR_OK ? put_message(b, message, false) : err;
}

err_t cloudevents_put_batch_entry(struct buf *b, struct arena *arena, const struct event *e)
{
    Io__Cloudevents__V1__CloudEvent *message;
    err_t err = make_message(arena, e, &message);
    return err == ERR_OK ? put_message(b, message, true) : err;
}
