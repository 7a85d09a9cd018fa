/* codec: protobuf bodies to drafts, and answers to protobuf. codec.c is the only file in here that
 * knows the generated code of daybook.v1's writes, but for codec_life.c, which has those of a
 * stream's life. */
#include "server/codec_int.h"

#include "daybook/v1/streams.pb-c.h"
#include "server/protobuf_memory.h"

#include <stdio.h>

#define TAG_ENTRY          0x0a /* field 1 of EventBatch, AppendResults and the lists */
#define TAG_CONTROL        0x12 /* EventBatch.controls = 2 */
#define TAG_EVENT_POSITION 0x08 /* Event.position = 1 */
#define VARINT_BYTES_MAX   10

static bool read_append(struct draft *d, const Daybook__V1__Append *message);
static bool read_many(struct draft *d, const Daybook__V1__AppendMany *message);
static bool read_command(struct draft *d, const Daybook__V1__Command *message);

static const struct draft_place nowhere = {-1, -1, -1};

bool codec_read_draft(struct bytes body, struct draft *d)
{
    static const ProtobufCMessageDescriptor *const descriptors[] = {
        [DRAFT_APPEND] = &daybook__v1__append__descriptor,
        [DRAFT_APPEND_MANY] = &daybook__v1__append_many__descriptor,
        [DRAFT_COMMAND] = &daybook__v1__command__descriptor,
        [DRAFT_SET_METADATA] = &daybook__v1__set_metadata__descriptor,
        [DRAFT_DELETE_STREAM] = &daybook__v1__delete_stream__descriptor,
        [DRAFT_REDACT] = &daybook__v1__redact__descriptor,
    };
    struct protobuf_memory memory;
    const ProtobufCMessageDescriptor *descriptor = descriptors[d->body];
    ProtobufCMessage *message = protobuf_memory_unpack(&memory, d->arena, descriptor, body);
    if (message == NULL && memory.exhausted) {
        return draft_reject(d, PROBLEM_TOO_MANY_EVENTS, nowhere, "",
                            "the request has far more parts than %zu events, the limit "
                            "(append-events-max), can have",
                            d->limits->append_events_max);
    }
    if (message == NULL) {
        return draft_reject(d, PROBLEM_INVALID_PROTOBUF, nowhere, "",
                            "the body does not parse as a %s", descriptor->name);
    }
    switch (d->body) {
    case DRAFT_APPEND:
        return read_append(d, (const Daybook__V1__Append *)message);
    case DRAFT_APPEND_MANY:
        return read_many(d, (const Daybook__V1__AppendMany *)message);
    case DRAFT_COMMAND:
        return read_command(d, (const Daybook__V1__Command *)message);
    case DRAFT_SET_METADATA:
        return codec_read_metadata(d, (const Daybook__V1__SetMetadata *)message, "");
    case DRAFT_DELETE_STREAM:
        return codec_read_delete(d, (const Daybook__V1__DeleteStream *)message, "");
    case DRAFT_REDACT:
        return codec_read_redact(d, (const Daybook__V1__Redact *)message, "");
    }
    return false;
}

/* ---- reading ---- */

struct bytes codec_text(const char *s)
{
    return protobuf_memory_string(s);
}

static struct bytes data_bytes(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

/* A guard that this server does not know must not be skipped silently, so nothing unknown is. */
static bool has_unknown_in(struct draft *d, const ProtobufCMessage *message,
                           struct draft_place place, const char *path)
{
    if (message->n_unknown_fields == 0) {
        return false;
    }
    char member[DRAFT_FIELD_MAX + 24];
    snprintf(member, sizeof member, "%s#%u", path, message->unknown_fields[0].tag);
    draft_reject(d, PROBLEM_UNKNOWN_FIELD, place, member, "%s has no field number %u",
                 message->descriptor->short_name, message->unknown_fields[0].tag);
    return true;
}

bool codec_has_unknown(struct draft *d, const ProtobufCMessage *message, struct draft_place place)
{
    return has_unknown_in(d, message, place, "");
}

bool codec_read_state(struct draft *d, Daybook__V1__StreamState state, struct draft_place place,
                      struct expectation *ret)
{
    switch (state) {
    case DAYBOOK__V1__STREAM_STATE__STREAM_STATE_ANY:
        ret->kind = EXPECT_ANY;
        return true;
    case DAYBOOK__V1__STREAM_STATE__STREAM_STATE_NO_STREAM:
        ret->kind = EXPECT_NO_STREAM;
        return true;
    case DAYBOOK__V1__STREAM_STATE__STREAM_STATE_STREAM_EXISTS:
        ret->kind = EXPECT_STREAM_EXISTS;
        return true;
    case _DAYBOOK__V1__STREAM_STATE_IS_INT_SIZE:
        break;
    }
    return draft_reject(d, PROBLEM_INVALID_FIELD, place, "expected_state",
                        "there is no stream state %d", (int)state);
}

static bool read_names(struct draft *d, char **from, size_t n, const struct bytes **ret)
{
    struct bytes *names = n == 0 ? NULL : arena_alloc(d->arena, n * sizeof *names);
    if (n > 0 && names == NULL) {
        return draft_reject(d, PROBLEM_OVERLOADED, nowhere, "",
                            "there is not enough memory for this request");
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = codec_text(from[i]);
    }
    *ret = names;
    return true;
}

static bool read_tags(struct draft *d, const Daybook__V1__NewEvent *message,
                      struct draft_place place, struct event_draft *f)
{
    if (message->n_tags > EVENT_TAGS_MAX) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, place, "tags", "there are more than %d tags",
                            EVENT_TAGS_MAX);
    }
    f->tag_count = (uint32_t)message->n_tags;
    return read_names(d, message->tags, message->n_tags, &f->tags);
}

static bool read_event(struct draft *d, const Daybook__V1__NewEvent *message,
                       struct draft_append *append, struct draft_place place)
{
    struct draft_event *e = draft_add_event(d, append);
    if (e == NULL || codec_has_unknown(d, &message->base, place)) {
        return false;
    }
    e->fields.id = data_bytes(message->id);
    e->fields.type = codec_text(message->type);
    e->fields.data = data_bytes(message->data);
    e->fields.content_type = codec_text(message->content_type);
    e->fields.metadata = data_bytes(message->metadata);
    e->fields.occurred_at = codec_text(message->occurred_at);
    e->fields.schema_version = message->schema_version;
    e->data_form = DRAFT_DATA_BINARY;
    return read_tags(d, message, place, &e->fields);
}

static bool read_append(struct draft *d, const Daybook__V1__Append *message)
{
    struct draft_append *append = draft_add_append(d);
    struct draft_place place = {(long)d->appends.n - 1, -1, -1};
    if (append == NULL || codec_has_unknown(d, &message->base, place)) {
        return false;
    }
    append->stream = codec_text(message->stream);
    append->expected_given = message->expected_case != DAYBOOK__V1__APPEND__EXPECTED__NOT_SET;
    if (message->expected_case == DAYBOOK__V1__APPEND__EXPECTED_EXPECTED_REVISION) {
        append->expected = (struct expectation){EXPECT_REVISION, message->expected_revision};
    } else if (append->expected_given &&
               !codec_read_state(d, message->expected_state, place, &append->expected)) {
        return false;
    }
    for (size_t i = 0; i < message->n_events; i++) {
        place.event = (long)i;
        if (!read_event(d, message->events[i], append, place)) {
            return false;
        }
    }
    return true;
}

static bool read_check(struct draft *d, const Daybook__V1__Check *message)
{
    struct draft_append *check = draft_add_check(d);
    struct draft_place place = {-1, (long)d->checks.n - 1, -1};
    if (check == NULL || codec_has_unknown(d, &message->base, place)) {
        return false;
    }
    check->stream = codec_text(message->stream);
    check->expected_given = message->expected_case != DAYBOOK__V1__CHECK__EXPECTED__NOT_SET;
    if (message->expected_case == DAYBOOK__V1__CHECK__EXPECTED_EXPECTED_REVISION) {
        check->expected = (struct expectation){EXPECT_REVISION, message->expected_revision};
        return true;
    }
    return !check->expected_given ||
           codec_read_state(d, message->expected_state, place, &check->expected);
}

static bool read_item(struct draft *d, const Daybook__V1__EventMatch *message)
{
    char path[DRAFT_FIELD_MAX];
    draft_item_path(d->condition.n, ".", path);
    struct draft_item *item = draft_add_item(d);
    if (item == NULL || has_unknown_in(d, &message->base, nowhere, path)) {
        return false;
    }
    item->fields.type_count = message->n_types;
    item->fields.tag_count = message->n_tags;
    return read_names(d, message->types, message->n_types, &item->fields.types) &&
           read_names(d, message->tags, message->n_tags, &item->fields.tags);
}

static bool read_condition(struct draft *d, const Daybook__V1__Condition *message)
{
    const Daybook__V1__EventQuery *query = message->fail_if_events_match;
    d->condition.given = true;
    d->condition.query_given = query != NULL;
    d->condition.after = message->after;
    if (has_unknown_in(d, &message->base, nowhere, "condition.") ||
        (query != NULL &&
         has_unknown_in(d, &query->base, nowhere, "condition.fail_if_events_match."))) {
        return false;
    }
    for (size_t i = 0; query != NULL && i < query->n_items; i++) {
        if (!read_item(d, query->items[i])) {
            return false;
        }
    }
    return true;
}

static bool read_many(struct draft *d, const Daybook__V1__AppendMany *message)
{
    if (codec_has_unknown(d, &message->base, nowhere)) {
        return false;
    }
    for (size_t i = 0; i < message->n_appends; i++) {
        if (!read_append(d, message->appends[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < message->n_checks; i++) {
        if (!read_check(d, message->checks[i])) {
            return false;
        }
    }
    return message->condition == NULL || read_condition(d, message->condition);
}

static bool read_command(struct draft *d, const Daybook__V1__Command *message)
{
    if (codec_has_unknown(d, &message->base, nowhere)) {
        return false;
    }
    switch (message->command_case) {
    case DAYBOOK__V1__COMMAND__COMMAND_APPEND:
        d->root = "append.";
        return read_append(d, message->append);
    case DAYBOOK__V1__COMMAND__COMMAND_APPEND_MANY:
        d->root = "append_many.";
        d->many = true;
        return read_many(d, message->append_many);
    case DAYBOOK__V1__COMMAND__COMMAND_SET_METADATA:
        return codec_read_metadata(d, message->set_metadata, "set_metadata.");
    case DAYBOOK__V1__COMMAND__COMMAND_DELETE_STREAM:
        return codec_read_delete(d, message->delete_stream, "delete_stream.");
    case DAYBOOK__V1__COMMAND__COMMAND_REDACT:
        return codec_read_redact(d, message->redact, "redact.");
    case DAYBOOK__V1__COMMAND__COMMAND__NOT_SET:
    case _DAYBOOK__V1__COMMAND__COMMAND__CASE_IS_INT_SIZE:
        break;
    }
    return draft_reject(d, PROBLEM_MISSING_FIELD, nowhere, "append",
                        "one of append, append_many, set_metadata, delete_stream and redact is "
                        "required");
}

/* ---- writing ---- */

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7) {
        n++;
    }
    return n;
}

static uint8_t *put_varint(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *to++ = (uint8_t)(v | 0x80);
    }
    *to++ = (uint8_t)v;
    return to;
}

void codec_put_batch_event(struct buf *b, const struct store_record *record)
{
    size_t length = 1 + varint_bytes(record->position) + record->body.n;
    uint8_t *start = buf_reserve(b, 1 + VARINT_BYTES_MAX + length);
    if (start == NULL) {
        return;
    }
    uint8_t *to = start;
    *to++ = TAG_ENTRY;
    to = put_varint(to, length);
    *to++ = TAG_EVENT_POSITION;
    to = put_varint(to, record->position);
    memcpy(to, record->body.p, record->body.n);
    buf_advance(b, (size_t)(to + record->body.n - start));
}

void codec_put_event(struct buf *b, const struct store_record *record)
{
    buf_put_byte(b, TAG_EVENT_POSITION);
    buf_put_varint(b, record->position);
    buf_put(b, record->body);
}

void codec_put_message(struct buf *b, const ProtobufCMessage *message)
{
    uint8_t *to = buf_reserve(b, protobuf_c_message_get_packed_size(message));
    if (to != NULL) {
        buf_advance(b, protobuf_c_message_pack(message, to));
    }
}

void codec_put_batch_control(struct buf *b, const struct wire_control *control, bool of_stream)
{
    Daybook__V1__Control message = DAYBOOK__V1__CONTROL__INIT;
    message.kind = control->kind == WIRE_CAUGHT_UP
                       ? DAYBOOK__V1__CONTROL_KIND__CONTROL_KIND_CAUGHT_UP
                       : DAYBOOK__V1__CONTROL_KIND__CONTROL_KIND_HEARTBEAT;
    message.position = control->position;
    message.revision = of_stream ? control->revision : 0;
    buf_put_byte(b, TAG_CONTROL);
    buf_put_varint(b, protobuf_c_message_get_packed_size(&message.base));
    codec_put_message(b, &message.base);
}

char *codec_terminated(struct bytes name, char room[EVENT_NAME_MAX + 1])
{
    size_t n = name.n > EVENT_NAME_MAX ? EVENT_NAME_MAX : name.n;
    if (n > 0) {
        memcpy(room, name.p, n);
    }
    room[n] = '\0';
    return room;
}

static void fill_result(Daybook__V1__AppendResult *message, const struct command *c, size_t append,
                        char *room)
{
    const struct append_result *r = command_result(c, append);
    daybook__v1__append_result__init(message);
    message->stream = codec_terminated(command_append_stream(c, append), room);
    message->first_revision = r->first_revision;
    message->last_revision = r->last_revision;
    message->first_position = r->first_position;
    message->last_position = r->last_position;
    message->duplicate = r->duplicate;
}

void codec_put_append_result(struct buf *b, const struct command *c, size_t append)
{
    Daybook__V1__AppendResult message;
    char room[EVENT_NAME_MAX + 1];
    fill_result(&message, c, append, room);
    codec_put_message(b, &message.base);
}

/* Puts one entry of a list whose repeated messages are field 1, so that a long list needs no array
 * of them. */
static void put_entry(struct buf *b, const ProtobufCMessage *message)
{
    buf_put_byte(b, TAG_ENTRY);
    buf_put_varint(b, protobuf_c_message_get_packed_size(message));
    codec_put_message(b, message);
}

void codec_put_append_results(struct buf *b, const struct command *c)
{
    Daybook__V1__AppendResult message;
    char room[EVENT_NAME_MAX + 1];
    for (size_t i = 0; i < command_appends(c); i++) {
        fill_result(&message, c, i, room);
        put_entry(b, &message.base);
    }
}

void codec_put_stream_list(struct buf *b, const struct store_name_list *list, struct bytes after)
{
    Daybook__V1__StreamSummary summary = DAYBOOK__V1__STREAM_SUMMARY__INIT;
    Daybook__V1__StreamList message = DAYBOOK__V1__STREAM_LIST__INIT;
    char name_room[EVENT_NAME_MAX + 1];
    char category_room[EVENT_NAME_MAX + 1];
    for (size_t i = 0; i < list->n; i++) {
        summary.stream = codec_terminated(list->items[i].name, name_room);
        summary.category = codec_terminated(event_category(list->items[i].name), category_room);
        summary.head_revision = list->items[i].events;
        put_entry(b, &summary.base);
    }
    message.next = codec_terminated(list->n > 0 ? list->items[list->n - 1].name : after, name_room);
    message.end = list->end;
    codec_put_message(b, &message.base);
}

void codec_put_name_counts(struct buf *b, const struct store_name_list *list, struct bytes after)
{
    Daybook__V1__NameCount count = DAYBOOK__V1__NAME_COUNT__INIT;
    Daybook__V1__NameCountList message = DAYBOOK__V1__NAME_COUNT_LIST__INIT;
    char room[EVENT_NAME_MAX + 1];
    for (size_t i = 0; i < list->n; i++) {
        count.name = codec_terminated(list->items[i].name, room);
        count.events = list->items[i].events;
        put_entry(b, &count.base);
    }
    message.next = codec_terminated(list->n > 0 ? list->items[list->n - 1].name : after, room);
    message.end = list->end;
    codec_put_message(b, &message.base);
}
