/* record: encode, stamp, check and decode one record. The wire format is protobuf's (fields in
 * ascending order), written by hand because this is the hot path of every append and read: no
 * message object, no allocation, no copy. The unit test holds it against protobuf-c's own
 * parser. */
#include "record.h"

#include "storage/base/check.h"
#include "storage/base/crc32c.h"

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
};

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_number(uint8_t *p, enum field field, uint64_t v)
{
    *p++ = (uint8_t)((unsigned)field << 3 | WIRE_VARINT);
    return put_varint(p, v);
}

/* Returns where the content starts in *ret, so that callers can point at it. */
static uint8_t *put_bytes(uint8_t *p, enum field field, struct bytes b, struct bytes *ret)
{
    *p++ = (uint8_t)((unsigned)field << 3 | WIRE_BYTES);
    p = put_varint(p, b.n);
    if (b.n > 0) {
        memcpy(p, b.p, b.n);
    }
    if (ret != NULL) {
        *ret = bytes_of(p, b.n);
    }
    return p + b.n;
}

static size_t bytes_field_bytes(struct bytes b)
{
    return 1 + varint_bytes(b.n) + b.n;
}

static size_t optional_field_bytes(struct bytes b)
{
    return b.n == 0 ? 0 : bytes_field_bytes(b);
}

size_t record_draft_bytes(struct bytes stream, const struct event_draft *draft)
{
    size_t n = bytes_field_bytes(stream) + bytes_field_bytes(draft->id) +
               bytes_field_bytes(draft->type) + bytes_field_bytes(draft->data) +
               optional_field_bytes(draft->content_type) + optional_field_bytes(draft->metadata) +
               optional_field_bytes(draft->occurred_at);
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        n += bytes_field_bytes(draft->tags[i]);
    }
    return n + (draft->schema_version == 0 ? 0 : 1 + varint_bytes(draft->schema_version));
}

void record_encode_draft(uint8_t *p, struct bytes stream, const struct event_draft *draft,
                         struct record_draft *ret)
{
    uint8_t *start = p;
    bool system = event_name_is_system(stream) || event_name_is_system(draft->type);
    p = put_bytes(p, FIELD_STREAM, stream, NULL);
    p = put_bytes(p, FIELD_ID, draft->id, &ret->id);
    p = put_bytes(p, FIELD_TYPE, draft->type, &ret->type);
    p = put_bytes(p, FIELD_DATA, draft->data, &ret->data);
    if (draft->content_type.n > 0) {
        p = put_bytes(p, FIELD_CONTENT_TYPE, draft->content_type, NULL);
    }
    if (draft->metadata.n > 0) {
        p = put_bytes(p, FIELD_METADATA, draft->metadata, NULL);
    }
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        p = put_bytes(p, FIELD_TAGS, draft->tags[i], NULL);
    }
    if (draft->occurred_at.n > 0) {
        p = put_bytes(p, FIELD_OCCURRED_AT, draft->occurred_at, NULL);
    }
    if (draft->schema_version != 0) {
        p = put_number(p, FIELD_SCHEMA_VERSION, draft->schema_version);
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

size_t record_stamp(uint8_t *p, const struct record_draft *draft, uint64_t position,
                    uint64_t revision, int64_t time_us)
{
    uint8_t *body = p + RECORD_HEADER_BYTES;
    uint8_t *end = put_number(body, FIELD_REVISION, revision);
    end = put_number(end, FIELD_TIME, (uint64_t)time_us);
    memcpy(end, draft->encoded.p, draft->encoded.n);
    end += draft->encoded.n;
    size_t n = (size_t)(end - body);
    CHECK(n <= RECORD_BODY_BYTES_MAX);
    bytes_put_u32le(p + 4, (uint32_t)n | draft->flags);
    bytes_put_u32le(p, checksum(p, position, n));
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

/* Reads a varint at *p, not past end; false where it is cut or over 64 bits. */
static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
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
    switch (field) {
    case FIELD_STREAM:
        e->stream = v;
        return true;
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
    default:
        return false;
    }
}

/* One field at *p; false where it is none that we write. */
static bool decode_field(const uint8_t **p, const uint8_t *end, struct event *e)
{
    uint64_t tag, v;
    if (!get_varint(p, end, &tag) || !get_varint(p, end, &v)) {
        return false;
    }
    if ((tag & 7) == WIRE_VARINT) {
        return set_number(e, tag >> 3, v);
    }
    if ((tag & 7) != WIRE_BYTES || v > (uint64_t)(end - *p)) {
        return false;
    }
    struct bytes content = bytes_of(*p, (size_t)v);
    *p += v;
    return set_bytes(e, tag >> 3, content);
}

err_t record_decode(uint64_t position, struct bytes body, struct event *ret)
{
    /* The tags array stays as it is: only tag_count says how much of it counts. */
    memset(ret, 0, offsetof(struct event, tags));
    ret->position = position;
    const uint8_t *p = body.p, *end = body.p + body.n;
    while (p < end) {
        if (!decode_field(&p, end, ret)) {
            return ERR_CORRUPT;
        }
    }
    bool whole = ret->revision > 0 && ret->stream.n > 0 && ret->type.n > 0 && ret->id.n > 0 &&
                 ret->stream.n <= EVENT_NAME_MAX && ret->type.n <= EVENT_NAME_MAX;
    return whole ? ERR_OK : ERR_CORRUPT;
}

uint16_t record_id_print(const uint8_t id[UUID_BYTES])
{
    uint32_t crc = crc32c(0, bytes_of(id, UUID_BYTES));
    return (uint16_t)(crc ^ crc >> 16);
}
