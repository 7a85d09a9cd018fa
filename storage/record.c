/* record: encode, stamp, check and decode one record. The wire format is protobuf's (fields in
 * ascending order), written by hand because this is the hot path of every append and read: no
 * message object, no allocation, no copy. The unit test holds it against protobuf-c's own
 * parser. */
#include "record.h"

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/wire.h"

/* Field numbers of daybook.v1.Event. */
enum field {
    FIELD_REVISION = 2,
    FIELD_TIME = 3,
    FIELD_STREAM = 4,
    FIELD_ID = 5,
    FIELD_TYPE = 6,
    FIELD_DATA = 7,
    FIELD_CONTENT_TYPE = 8,
    FIELD_METADATA = 9,
    FIELD_TAGS = 10,
    FIELD_OCCURRED_AT = 11,
    FIELD_SCHEMA_VERSION = 12,
    FIELD_REDACTED = 13,
    FIELD_LIFE = RECORD_FIELD_LIFE,
    FIELD_REDACTION = RECORD_FIELD_REDACTION,
};

size_t record_draft_bytes(struct bytes stream, const struct event_draft *draft)
{
    size_t n = wire_bytes_size(stream) + wire_bytes_size(draft->id) + wire_bytes_size(draft->type) +
               wire_bytes_size(draft->data) + wire_optional_bytes_size(draft->content_type) +
               wire_optional_bytes_size(draft->metadata) +
               wire_optional_bytes_size(draft->occurred_at);
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        n += wire_bytes_size(draft->tags[i]);
    }
    return n + (draft->schema_version == 0 ? 0 : 1 + wire_varint_bytes(draft->schema_version));
}

void record_encode_draft(uint8_t *p, struct bytes stream, const struct event_draft *draft,
                         struct record_draft *ret)
{
    uint8_t *start = p;
    bool system = event_name_is_system(stream) || event_name_is_system(draft->type);
    p = wire_put_bytes(p, FIELD_STREAM, stream, NULL);
    p = wire_put_bytes(p, FIELD_ID, draft->id, &ret->id);
    p = wire_put_bytes(p, FIELD_TYPE, draft->type, &ret->type);
    p = wire_put_bytes(p, FIELD_DATA, draft->data, &ret->data);
    if (draft->content_type.n > 0) {
        p = wire_put_bytes(p, FIELD_CONTENT_TYPE, draft->content_type, NULL);
    }
    if (draft->metadata.n > 0) {
        p = wire_put_bytes(p, FIELD_METADATA, draft->metadata, NULL);
    }
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        p = wire_put_bytes(p, FIELD_TAGS, draft->tags[i], NULL);
    }
    if (draft->occurred_at.n > 0) {
        p = wire_put_bytes(p, FIELD_OCCURRED_AT, draft->occurred_at, NULL);
    }
    if (draft->schema_version != 0) {
        p = wire_put_number(p, FIELD_SCHEMA_VERSION, draft->schema_version);
    }
    ret->encoded = bytes_of(start, (size_t)(p - start));
    ret->flags = system ? RECORD_SYSTEM : 0;
}

/* The checksum covers the position, the length with its flags, and the body. */
static uint32_t checksum(const uint8_t *record, uint64_t position, size_t body_bytes)
{
    uint8_t place[8];
    bytes_put_u64le(place, position);
    uint32_t crc = crc32c(0, bytes_of(place, sizeof place));
    return crc32c(crc, bytes_of(record + 4, 4 + body_bytes));
}

/* The header in front of a body of n bytes that stands already. */
static void put_header(uint8_t *p, uint64_t position, size_t n, uint32_t flags)
{
    bytes_put_u32le(p + 4, (uint32_t)n | flags);
    bytes_put_u32le(p, checksum(p, position, n));
}

size_t record_stamp(uint8_t *p, const struct record_draft *draft, uint64_t position,
                    uint64_t revision, int64_t time_us)
{
    uint8_t *body = p + RECORD_HEADER_BYTES;
    uint8_t *end = wire_put_number(body, FIELD_REVISION, revision);
    end = wire_put_number(end, FIELD_TIME, (uint64_t)time_us);
    memcpy(end, draft->encoded.p, draft->encoded.n);
    end += draft->encoded.n;
    size_t n = (size_t)(end - body);
    CHECK(n <= RECORD_BODY_BYTES_MAX);
    put_header(p, position, n, draft->flags);
    return RECORD_HEADER_BYTES + n;
}

err_t record_measure(struct bytes at, size_t *ret_size)
{
    if (at.n < RECORD_HEADER_BYTES) {
        return ERR_CORRUPT;
    }
    size_t n = bytes_get_u32le(at.p + 4) & ~RECORD_FLAGS;
    if (n > at.n - RECORD_HEADER_BYTES) {
        return ERR_CORRUPT;
    }
    *ret_size = RECORD_HEADER_BYTES + n;
    return ERR_OK;
}

err_t record_check(struct bytes at, uint64_t position, struct bytes *ret_body, uint32_t *ret_flags)
{
    size_t size;
    err_t err = record_measure(at, &size);
    if (err != ERR_OK) {
        return err;
    }
    size_t n = size - RECORD_HEADER_BYTES;
    if (bytes_get_u32le(at.p) != checksum(at.p, position, n)) {
        return ERR_CORRUPT;
    }
    *ret_body = bytes_of(at.p + RECORD_HEADER_BYTES, n);
    *ret_flags = bytes_get_u32le(at.p + 4) & RECORD_FLAGS;
    return ERR_OK;
}

static bool set_number(struct event *e, uint64_t field, uint64_t v)
{
    switch (field) {
    case FIELD_REVISION:
        e->revision = v;
        return true;
    case FIELD_TIME:
        e->time_us = (int64_t)v;
        return true;
    case FIELD_SCHEMA_VERSION:
        e->schema_version = (uint32_t)v;
        return v <= UINT32_MAX;
    case FIELD_REDACTED:
        e->redacted = v == 1;
        return v == 1;
    default:
        return false;
    }
}

static bool add_tag(struct event *e, struct bytes tag)
{
    if (e->tag_count == EVENT_TAGS_MAX || tag.n > EVENT_NAME_MAX) {
        return false;
    }
    e->tags[e->tag_count++] = tag;
    return true;
}

static bool set_bytes(struct event *e, uint64_t field, struct bytes v)
{
    bool is_first;
    switch (field) {
    case FIELD_STREAM: /* record_peek takes the first one, so there must be no other */
        is_first = e->stream.p == NULL;
        e->stream = v;
        return is_first;
    case FIELD_ID:
        e->id = v;
        return v.n == UUID_BYTES;
    case FIELD_TYPE:
        e->type = v;
        return true;
    case FIELD_DATA:
        e->data = v;
        return true;
    case FIELD_CONTENT_TYPE:
        e->content_type = v;
        return true;
    case FIELD_METADATA:
        e->metadata = v;
        return true;
    case FIELD_TAGS:
        return add_tag(e, v);
    case FIELD_OCCURRED_AT:
        e->occurred_at = v;
        return true;
    case FIELD_LIFE:
        e->life = v;
        return true;
    case FIELD_REDACTION:
        e->redaction = v;
        return true;
    default:
        return false;
    }
}

/* Splits a body; false where a field is none that we write. */
static bool split(struct bytes body, struct event *e)
{
    const uint8_t *p = body.p, *end = body.p + body.n;
    while (p < end) {
        struct wire_field f;
        if (!wire_get_field(&p, end, &f)) {
            return false;
        }
        if (!(f.is_bytes ? set_bytes(e, f.number, f.content) : set_number(e, f.number, f.value))) {
            return false;
        }
    }
    return e->revision > 0 && e->stream.n > 0 && e->stream.n <= EVENT_NAME_MAX;
}

err_t record_decode(uint64_t position, struct bytes body, struct event *ret)
{
    /* The tags array stays as it is: only tag_count says how much of it counts. */
    memset(ret, 0, offsetof(struct event, tags));
    ret->position = position;
    bool whole =
        split(body, ret) && ret->type.n > 0 && ret->id.n > 0 && ret->type.n <= EVENT_NAME_MAX;
    return whole ? ERR_OK : ERR_CORRUPT;
}

err_t record_decode_stored(uint64_t position, struct bytes body, uint32_t flags, struct event *ret)
{
    if ((flags & RECORD_GONE) == 0) {
        return record_decode(position, body, ret);
    }
    memset(ret, 0, offsetof(struct event, tags));
    ret->position = position;
    bool bare = split(body, ret) && ret->type.n == 0 && ret->id.n == 0 && ret->data.n == 0 &&
                ret->metadata.n == 0 && ret->tag_count == 0;
    return bare ? ERR_OK : ERR_CORRUPT;
}

err_t record_peek(struct bytes body, struct record_head *ret)
{
    const uint8_t *p = body.p, *end = body.p + body.n;
    struct wire_field revision, time, stream;
    bool sound = wire_get_field(&p, end, &revision) && wire_get_field(&p, end, &time) &&
                 wire_get_field(&p, end, &stream) && revision.number == FIELD_REVISION &&
                 time.number == FIELD_TIME && stream.number == FIELD_STREAM && stream.is_bytes &&
                 !revision.is_bytes && !time.is_bytes;
    if (!sound) {
        return ERR_CORRUPT;
    }
    *ret = (struct record_head){
        .revision = revision.value, .time_us = (int64_t)time.value, .stream = stream.content};
    return ERR_OK;
}

err_t record_redact(struct bytes body, uint8_t *p, size_t *ret_size)
{
    const uint8_t *from = body.p, *end = body.p + body.n;
    uint8_t *start = p;
    while (from < end) {
        const uint8_t *field = from;
        struct wire_field f;
        if (!wire_get_field(&from, end, &f)) {
            return ERR_CORRUPT;
        }
        if (f.number == FIELD_DATA || f.number == FIELD_METADATA || f.number == FIELD_REDACTED) {
            continue;
        }
        memcpy(p, field, (size_t)(from - field));
        p += from - field;
    }
    p = wire_put_number(p, FIELD_REDACTED, 1);
    *ret_size = (size_t)(p - start);
    return ERR_OK;
}

err_t record_make_redacted(struct bytes body, uint32_t flags, uint64_t position, uint8_t *p)
{
    size_t n;
    err_t err = record_redact(body, p + RECORD_HEADER_BYTES, &n);
    if (err == ERR_OK) {
        put_header(p, position, n, (flags & RECORD_SYSTEM) | RECORD_REDACTED);
    }
    return err;
}

err_t record_make_gone(struct bytes body, uint32_t flags, uint64_t position, uint8_t *p)
{
    struct record_head head;
    err_t err = record_peek(body, &head);
    if (err == ERR_OK) {
        size_t n = (size_t)(head.stream.p + head.stream.n - body.p);
        memcpy(p + RECORD_HEADER_BYTES, body.p, n);
        put_header(p, position, n, (flags & RECORD_SYSTEM) | RECORD_GONE);
    }
    return err;
}

uint16_t record_id_print(const uint8_t id[UUID_BYTES])
{
    uint32_t crc = crc32c(0, bytes_of(id, UUID_BYTES));
    return (uint16_t)(crc ^ crc >> 16);
}
