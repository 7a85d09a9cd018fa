/* batch: appends, encoded as they are added.
 *
 * A protobuf message is the concatenation of its fields, so an AppendMany is built by adding one
 * field after the other to a buffer: what is sent is there before it is sent, with its ids, and
 * sending it again sends the same bytes. */
#include "client_int.h"
#include "group_int.h"

#include "daybook/v1/commands.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES_MAX ((size_t)1 << 30)
#define FIELD_APPENDS   0x0a /* AppendMany.appends, length-delimited */
#define FIELD_CHECKS    0x12 /* AppendMany.checks, length-delimited */

struct daybook_batch {
    struct daybook *db;            /* borrowed */
    struct daybook_buffer encoded; /* an AppendMany */
    struct daybook_arena arena;    /* results of the last send */
};

static enum daybook_result check_append(struct daybook *db, const char *stream,
                                        const struct daybook_new_event *events, size_t events_n);
static bool build_append(struct daybook_arena *arena, Daybook__V1__Append *m,
                         const struct daybook_new_event *events, size_t events_n);
static Daybook__V1__NewEvent *build_event(struct daybook_arena *arena,
                                          const struct daybook_new_event *event);
static bool add_field(struct daybook_buffer *b, uint8_t tag, const ProtobufCMessage *m);
static bool add_packed(struct daybook_buffer *b, const ProtobufCMessage *m);
static struct daybook_appended appended(const Daybook__V1__AppendResult *m);

/* protobuf-c strings are not const, but packing only reads them. */
static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

static ProtobufCBinaryData binary(struct daybook_bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.n, .data = (uint8_t *)(uintptr_t)bytes.p};
}

/* ---- one append ---- */

/* Sets a message's expectation; Append and Check have the same fields for it. */
#define SET_EXPECTATION(m, expect, MESSAGE)                                            \
    do {                                                                               \
        if ((expect).kind == DAYBOOK_REVISION) {                                       \
            (m)->expected_case = DAYBOOK__V1__##MESSAGE##__EXPECTED_EXPECTED_REVISION; \
            (m)->expected_revision = (expect).revision;                                \
        } else {                                                                       \
            (m)->expected_case = DAYBOOK__V1__##MESSAGE##__EXPECTED_EXPECTED_STATE;    \
            (m)->expected_state = daybook_state_of((expect).kind);                     \
        }                                                                              \
    } while (0)

Daybook__V1__StreamState daybook_state_of(enum daybook_expect_kind kind)
{
    switch (kind) {
    case DAYBOOK_NO_STREAM:
        return DAYBOOK__V1__STREAM_STATE__STREAM_STATE_NO_STREAM;
    case DAYBOOK_STREAM_EXISTS:
        return DAYBOOK__V1__STREAM_STATE__STREAM_STATE_STREAM_EXISTS;
    case DAYBOOK_ANY:
    case DAYBOOK_REVISION:
        break;
    }
    return DAYBOOK__V1__STREAM_STATE__STREAM_STATE_ANY;
}

enum daybook_result daybook_append(struct daybook *db, const char *stream,
                                   struct daybook_expect expect,
                                   const struct daybook_new_event *events, size_t events_n,
                                   struct daybook_appended *ret)
{
    enum daybook_result result = check_append(db, stream, events, events_n);
    if (result != DAYBOOK_OK) {
        return result;
    }
    daybook_arena_reset(&db->arena);
    db->request.n = 0;
    Daybook__V1__Append m = DAYBOOK__V1__APPEND__INIT;
    m.stream = unconst(stream);
    SET_EXPECTATION(&m, expect, APPEND);
    if (!build_append(&db->arena, &m, events, events_n) || !add_packed(&db->request, &m.base) ||
        !daybook_url_begin(db, &db->url, "/v1/streams/") ||
        !daybook_url_segment(&db->url, stream) || !daybook_buffer_add_text(&db->url, "/events") ||
        !daybook_url_end(&db->url)) {
        return daybook_fail_memory(db);
    }
    struct daybook_bytes body = {db->request.p, db->request.n};
    result = daybook_http_call(db, &db->url, &body);
    if (result != DAYBOOK_OK) {
        return result;
    }
    daybook_arena_reset(&db->arena);
    ProtobufCAllocator allocator = daybook_arena_allocator(&db->arena);
    const Daybook__V1__AppendResult *answer =
        daybook__v1__append_result__unpack(&allocator, db->call.body.n, db->call.body.p);
    if (answer == NULL) {
        return daybook_fail_protocol(db, "it is no AppendResult");
    }
    *ret = appended(answer);
    return DAYBOOK_OK;
}

static enum daybook_result check_append(struct daybook *db, const char *stream,
                                        const struct daybook_new_event *events, size_t events_n)
{
    if (stream == NULL || stream[0] == '\0') {
        return daybook_fail_argument(db, "the stream has no name");
    }
    if (events_n == 0) {
        return daybook_fail_argument(db, "there are no events to append");
    }
    for (size_t i = 0; i < events_n; i++) {
        if (events[i].type == NULL) {
            return daybook_fail_argument(db, "an event has no type");
        }
    }
    return DAYBOOK_OK;
}

static bool build_append(struct daybook_arena *arena, Daybook__V1__Append *m,
                         const struct daybook_new_event *events, size_t events_n)
{
    m->events = daybook_arena_get(arena, events_n * sizeof(void *));
    if (m->events == NULL) {
        return false;
    }
    for (m->n_events = 0; m->n_events < events_n; m->n_events++) {
        m->events[m->n_events] = build_event(arena, &events[m->n_events]);
        if (m->events[m->n_events] == NULL) {
            return false;
        }
    }
    return true;
}

static Daybook__V1__NewEvent *build_event(struct daybook_arena *arena,
                                          const struct daybook_new_event *event)
{
    Daybook__V1__NewEvent *m = daybook_arena_get(arena, sizeof *m);
    uint8_t *id = daybook_arena_get(arena, 16);
    if (m == NULL || id == NULL) {
        return NULL;
    }
    if (event->id == NULL) {
        daybook_make_id(id);
    } else {
        memcpy(id, event->id, 16);
    }
    daybook__v1__new_event__init(m);
    m->id = (ProtobufCBinaryData){.len = 16, .data = id};
    m->type = unconst(event->type);
    m->data = binary(event->data);
    m->metadata = binary(event->metadata);
    if (event->content_type != NULL) {
        m->content_type = unconst(event->content_type);
    }
    if (event->occurred_at != NULL) {
        m->occurred_at = unconst(event->occurred_at);
    }
    m->n_tags = event->tags_n;
    m->tags = (char **)(uintptr_t)event->tags;
    m->schema_version = event->schema_version;
    return m;
}

static struct daybook_appended appended(const Daybook__V1__AppendResult *m)
{
    return (struct daybook_appended){
        .stream = m->stream,
        .first_revision = m->first_revision,
        .last_revision = m->last_revision,
        .first_position = m->first_position,
        .last_position = m->last_position,
        .duplicate = m->duplicate,
    };
}

/* ---- many ---- */

struct daybook_batch *daybook_batch_new(struct daybook *db)
{
    struct daybook_batch *batch = calloc(1, sizeof *batch);
    if (batch != NULL) {
        batch->db = db;
        daybook_buffer_init(&batch->encoded, BATCH_BYTES_MAX);
    }
    return batch;
}

void daybook_batch_free(struct daybook_batch *batch)
{
    if (batch != NULL) {
        daybook_buffer_done(&batch->encoded);
        daybook_arena_done(&batch->arena);
        free(batch);
    }
}

enum daybook_result daybook_batch_append(struct daybook_batch *batch, const char *stream,
                                         struct daybook_expect expect,
                                         const struct daybook_new_event *events, size_t events_n)
{
    enum daybook_result result = check_append(batch->db, stream, events, events_n);
    if (result != DAYBOOK_OK) {
        return result;
    }
    daybook_arena_reset(&batch->arena);
    Daybook__V1__Append m = DAYBOOK__V1__APPEND__INIT;
    m.stream = unconst(stream);
    SET_EXPECTATION(&m, expect, APPEND);
    if (!build_append(&batch->arena, &m, events, events_n) ||
        !add_field(&batch->encoded, FIELD_APPENDS, &m.base)) {
        return daybook_fail_memory(batch->db);
    }
    return DAYBOOK_OK;
}

enum daybook_result daybook_batch_check(struct daybook_batch *batch, const char *stream,
                                        struct daybook_expect expect)
{
    if (stream == NULL || stream[0] == '\0') {
        return daybook_fail_argument(batch->db, "the stream has no name");
    }
    Daybook__V1__Check m = DAYBOOK__V1__CHECK__INIT;
    m.stream = unconst(stream);
    SET_EXPECTATION(&m, expect, CHECK);
    if (!add_field(&batch->encoded, FIELD_CHECKS, &m.base)) {
        return daybook_fail_memory(batch->db);
    }
    return DAYBOOK_OK;
}

/* A length-delimited field: its tag, its length as a varint, its bytes. */
static bool add_field(struct daybook_buffer *b, uint8_t tag, const ProtobufCMessage *m)
{
    size_t before = b->n;
    bool ok = daybook_buffer_add_byte(b, tag);
    size_t left = protobuf_c_message_get_packed_size(m);
    for (; ok && left >= 0x80; left >>= 7) {
        ok = daybook_buffer_add_byte(b, (uint8_t)(0x80 | (left & 0x7f)));
    }
    ok = ok && daybook_buffer_add_byte(b, (uint8_t)left) && add_packed(b, m);
    if (!ok) {
        b->n = before;
    }
    return ok;
}

static bool add_packed(struct daybook_buffer *b, const ProtobufCMessage *m)
{
    if (!daybook_buffer_reserve(b, protobuf_c_message_get_packed_size(m))) {
        return false;
    }
    b->n += protobuf_c_message_pack(m, b->p + b->n);
    return true;
}

size_t daybook_batch_bytes(const struct daybook_batch *batch)
{
    return batch->encoded.n;
}

struct daybook_bytes daybook_batch_packed(const struct daybook_batch *batch)
{
    return (struct daybook_bytes){batch->encoded.p, batch->encoded.n};
}

void daybook_batch_clear(struct daybook_batch *batch)
{
    batch->encoded.n = 0;
    daybook_arena_reset(&batch->arena);
}

enum daybook_result daybook_batch_send(struct daybook_batch *batch,
                                       const struct daybook_appended **ret, size_t *ret_n)
{
    struct daybook *db = batch->db;
    if (!daybook_url_begin(db, &db->url, "/v1/events") || !daybook_url_end(&db->url)) {
        return daybook_fail_memory(db);
    }
    struct daybook_bytes body = {batch->encoded.p, batch->encoded.n};
    enum daybook_result result = daybook_http_call(db, &db->url, &body);
    if (result != DAYBOOK_OK) {
        return result;
    }
    daybook_arena_reset(&batch->arena);
    ProtobufCAllocator allocator = daybook_arena_allocator(&batch->arena);
    const Daybook__V1__AppendResults *answer =
        daybook__v1__append_results__unpack(&allocator, db->call.body.n, db->call.body.p);
    if (answer == NULL) {
        return daybook_fail_protocol(db, "it is no AppendResults");
    }
    struct daybook_appended *all =
        daybook_arena_get(&batch->arena, (answer->n_results + 1) * sizeof *all);
    if (all == NULL) {
        return daybook_fail_memory(db);
    }
    for (size_t i = 0; i < answer->n_results; i++) {
        all[i] = appended(answer->results[i]);
    }
    *ret = all;
    *ret_n = answer->n_results;
    return DAYBOOK_OK;
}
