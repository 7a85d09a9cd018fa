/* codec_snapshot: snapshots in protobuf. */
#include "server/codec_int.h"

#include "daybook/v1/snapshots.pb-c.h"
#include "server/protobuf_memory.h"
#include "server/snapshot_draft.h"

#include <stdio.h>

#define FIELD_BYTES 16

static bool reject_unknown(struct snapshot_draft *d, const ProtobufCMessage *m)
{
    char *field = arena_alloc(d->arena, FIELD_BYTES);
    if (field != NULL) {
        snprintf(field, FIELD_BYTES, "#%u", m->unknown_fields[0].tag);
    }
    return snapshot_reject(d, PROBLEM_UNKNOWN_FIELD, field, "PutSnapshot has no field number %u",
                           m->unknown_fields[0].tag);
}

bool codec_read_snapshot(struct bytes body, struct snapshot_draft *d)
{
    struct protobuf_memory memory;
    const Daybook__V1__PutSnapshot *m = (const Daybook__V1__PutSnapshot *)protobuf_memory_unpack(
        &memory, d->arena, &daybook__v1__put_snapshot__descriptor, body);
    if (m == NULL && memory.exhausted) {
        return snapshot_reject(d, PROBLEM_OVERLOADED, NULL,
                               "there is not enough memory for this request");
    }
    if (m == NULL) {
        return snapshot_reject(d, PROBLEM_INVALID_PROTOBUF, NULL,
                               "the body does not parse as a PutSnapshot");
    }
    if (m->base.n_unknown_fields > 0) {
        return reject_unknown(d, &m->base);
    }
    struct bytes stream = protobuf_memory_string(m->stream);
    d->stream = stream.n > 0 ? stream : BYTES_NONE;
    d->snapshot = (struct snapshot){
        .revision = m->revision,
        .schema_version = m->schema_version,
        .name = protobuf_memory_string(m->name),
        .content_type = protobuf_memory_string(m->content_type),
        .data = bytes_of(m->data.data, m->data.len),
    };
    d->revision_given = m->revision > 0;
    bool is_absent = m->data.len == 0 && event_content_is_json(d->snapshot.content_type);
    d->data = is_absent ? SNAPSHOT_DATA_NONE : SNAPSHOT_DATA_BINARY;
    return true;
}

/* ---- writing ---- */

void codec_put_snapshot(struct buf *b, struct bytes stream, const struct snapshot *s)
{
    Daybook__V1__Snapshot m = DAYBOOK__V1__SNAPSHOT__INIT;
    char stream_room[EVENT_NAME_MAX + 1], name_room[EVENT_NAME_MAX + 1];
    char type_room[EVENT_MEDIA_MAX + 1];
    m.stream = codec_terminated(stream, stream_room);
    m.revision = s->revision;
    m.data = (ProtobufCBinaryData){.len = s->data.n, .data = (uint8_t *)(uintptr_t)s->data.p};
    m.content_type = codec_terminated(s->content_type, type_room);
    m.schema_version = s->schema_version;
    m.name = codec_terminated(s->name, name_room);
    m.time_us = s->time_us;
    codec_put_message(b, &m.base);
}

void codec_put_snapshot_answer(struct buf *b, const struct snapshot_answer *a)
{
    Daybook__V1__SnapshotResult m = DAYBOOK__V1__SNAPSHOT_RESULT__INIT;
    char room[EVENT_NAME_MAX + 1];
    m.stream = codec_terminated(a->stream, room);
    m.revision = a->revision;
    m.time_us = a->time_us;
    m.replaced = a->replaced;
    codec_put_message(b, &m.base);
}
