/* event: one event out of its protobuf bytes. */
#include "client_int.h"

#include "daybook/v1/events.pb-c.h"

#include <string.h>

bool daybook_event_unpack(struct daybook_arena *arena, struct daybook_bytes packed,
                          struct daybook_event *ret)
{
    ProtobufCAllocator allocator = daybook_arena_allocator(arena);
    const Daybook__V1__Event *m = daybook__v1__event__unpack(&allocator, packed.n, packed.p);
    if (m == NULL || m->id.len != sizeof ret->id) {
        return false;
    }
    *ret = (struct daybook_event){
        .position = m->position,
        .revision = m->revision,
        .time_us = m->time_us,
        .stream = m->stream,
        .type = m->type,
        .content_type = m->content_type[0] == '\0' ? "application/json" : m->content_type,
        .occurred_at = m->occurred_at,
        .data = {m->data.data, m->data.len},
        .metadata = {m->metadata.data, m->metadata.len},
        .tags = (const char *const *)m->tags,
        .tags_n = m->n_tags,
        .schema_version = m->schema_version,
        .redacted = m->redacted,
    };
    memcpy(ret->id, m->id.data, sizeof ret->id);
    return true;
}
