/* json_write: JSON out. An event is written in one go into room that was reserved for its longest
 * form, so that nothing but the data's length decides what it costs. */
#include "server/json.h"

#include "storage/base/timestamp.h"

#define EACH_BYTE(c) (0x0101010101010101ULL * (c))

/* Keys, punctuation, numbers, id and time of an event: 300 bytes at most. */
#define EVENT_FIXED_BYTES 320
/* An escaped byte: \u00xx. */
#define ESCAPED_BYTES_MAX 6
#define US_PER_SECOND     1000000
#define SECOND_BYTES      20 /* "2026-01-01T00:00:00." */
#define U64_DIGITS_MAX    20

/* Appends a literal. */
#define PUT(to, literal) (memcpy((to), (literal), sizeof(literal) - 1), (to) + sizeof(literal) - 1)

static size_t longest_form(const struct event *e, bool is_json);
static uint8_t *put_string(uint8_t *to, struct bytes s);
static uint8_t *put_u64(uint8_t *to, uint64_t v);
static uint8_t *put_uuid(uint8_t *to, struct bytes id);
static uint8_t *put_time(uint8_t *to, int64_t time_us);
static uint8_t *put_bytes(uint8_t *to, struct bytes b);
static uint8_t *put_head(uint8_t *to, const struct event *e);
static uint8_t *put_rest(uint8_t *to, const struct event *e);

void json_put_event(struct buf *b, const struct event *e)
{
    bool is_json = event_content_is_json(e->content_type);
    uint8_t *start = buf_reserve(b, longest_form(e, is_json));
    if (start == NULL) {
        return;
    }
    uint8_t *to = put_head(start, e);
    if (e->redacted) {
        to = PUT(to, ",\"data\":null,\"redacted\":true");
    } else if (is_json) {
        to = PUT(to, ",\"data\":");
        to = put_bytes(to, e->data);
    } else {
        to = PUT(to, ",\"data_base64\":\"");
        buf_advance(b, (size_t)(to - start));
        buf_put_base64(b, e->data);
        start = b->p + b->n;
        to = PUT(start, "\"");
    }
    to = put_rest(to, e);
    buf_advance(b, (size_t)(to - start));
}

/* Line breaks in JSON are white space between tokens, never part of a string: as blanks they mean
 * the same. */
void json_put_event_line(struct buf *b, const struct event *e)
{
    size_t start = b->n;
    json_put_event(b, e);
    bool may_have_breaks = e->data.n > 0 && (memchr(e->data.p, '\n', e->data.n) != NULL ||
                                             memchr(e->data.p, '\r', e->data.n) != NULL);
    may_have_breaks = may_have_breaks || e->metadata.n > 0;
    for (size_t i = start; may_have_breaks && i < b->n; i++) {
        if (b->p[i] == '\n' || b->p[i] == '\r') {
            b->p[i] = ' ';
        }
    }
    buf_put_byte(b, '\n');
}

void json_put_time(struct buf *b, int64_t time_us)
{
    uint8_t *to = buf_reserve(b, TIMESTAMP_TEXT_BYTES + 2);
    if (to != NULL) {
        *to = '"';
        put_time(to + 1, time_us);
        to[TIMESTAMP_TEXT_BYTES + 1] = '"';
        buf_advance(b, TIMESTAMP_TEXT_BYTES + 2);
    }
}

static size_t longest_form(const struct event *e, bool is_json)
{
    size_t names = e->stream.n + e->type.n + e->content_type.n + e->occurred_at.n;
    size_t quotes = 0;
    for (uint32_t i = 0; i < e->tag_count; i++) {
        names += e->tags[i].n;
        quotes += 3;
    }
    size_t data = is_json ? e->data.n : (e->data.n / 3 + 1) * 4;
    return EVENT_FIXED_BYTES + names * ESCAPED_BYTES_MAX + quotes + data + e->metadata.n;
}

static uint8_t *put_rest(uint8_t *to, const struct event *e)
{
    if (e->metadata.n > 0) {
        to = PUT(to, ",\"metadata\":");
        to = put_bytes(to, e->metadata);
    }
    if (e->tag_count > 0) {
        to = PUT(to, ",\"tags\":[");
        for (uint32_t i = 0; i < e->tag_count; i++) {
            to = put_string(to, e->tags[i]);
            *to++ = ',';
        }
        to[-1] = ']';
    }
    if (e->schema_version != 0) {
        to = PUT(to, ",\"schema_version\":");
        to = put_u64(to, e->schema_version);
    }
    *to++ = '}';
    return to;
}

static uint8_t *put_head(uint8_t *to, const struct event *e)
{
    to = PUT(to, "{\"position\":");
    to = put_u64(to, e->position);
    to = PUT(to, ",\"stream\":");
    to = put_string(to, e->stream);
    to = PUT(to, ",\"revision\":");
    to = put_u64(to, e->revision);
    to = PUT(to, ",\"id\":\"");
    to = put_uuid(to, e->id);
    to = PUT(to, "\",\"type\":");
    to = put_string(to, e->type);
    to = PUT(to, ",\"time\":\"");
    to = put_time(to, e->time_us);
    *to++ = '"';
    if (e->occurred_at.n > 0) {
        to = PUT(to, ",\"occurred_at\":");
        to = put_string(to, e->occurred_at);
    }
    if (e->content_type.n == 0) {
        to = PUT(to, ",\"content_type\":\"application/json\"");
    } else {
        to = PUT(to, ",\"content_type\":");
        to = put_string(to, e->content_type);
    }
    return to;
}

static uint8_t *put_bytes(uint8_t *to, struct bytes b)
{
    if (b.n > 0) {
        memcpy(to, b.p, b.n);
    }
    return to + b.n;
}

/* Non-zero where one of the eight bytes must be escaped. */
static uint64_t must_escape(uint64_t v)
{
    uint64_t quote = v ^ EACH_BYTE('"');
    uint64_t backslash = v ^ EACH_BYTE('\\');
    uint64_t control = (v - EACH_BYTE(0x20)) & ~v;
    return (control | ((quote - EACH_BYTE(1)) & ~quote) |
            ((backslash - EACH_BYTE(1)) & ~backslash)) &
           EACH_BYTE(0x80);
}

static uint8_t *put_escaped(uint8_t *to, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    *to++ = '\\';
    if (c == '"' || c == '\\') {
        *to++ = c;
        return to;
    }
    to = PUT(to, "u00");
    *to++ = (uint8_t)hex[c >> 4];
    *to++ = (uint8_t)hex[c & 15];
    return to;
}

static uint8_t *put_string(uint8_t *to, struct bytes s)
{
    *to++ = '"';
    size_t i = 0;
    for (uint64_t v; s.n - i >= sizeof v; i += sizeof v) {
        memcpy(&v, s.p + i, sizeof v);
        if (must_escape(v) != 0) {
            break;
        }
        memcpy(to, &v, sizeof v);
        to += sizeof v;
    }
    for (; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            to = put_escaped(to, c);
        } else {
            *to++ = c;
        }
    }
    *to++ = '"';
    return to;
}

static uint8_t *put_u64(uint8_t *to, uint64_t v)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";
    char digits[U64_DIGITS_MAX];
    size_t at = sizeof digits;
    while (v >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + v * 2, 2);
    } else {
        digits[--at] = (char)('0' + v);
    }
    memcpy(to, digits + at, sizeof digits - at);
    return to + (sizeof digits - at);
}

static uint8_t *put_uuid(uint8_t *to, struct bytes id)
{
    static const uint8_t none[UUID_BYTES];
    uuid_format(id.n == UUID_BYTES ? id.p : none, (char *)to);
    return to + UUID_TEXT_BYTES;
}

/* Events that follow each other were mostly committed in the same second. */
static uint8_t *put_time(uint8_t *to, int64_t time_us)
{
    static _Thread_local int64_t cached_second = -1;
    static _Thread_local char cached[TIMESTAMP_TEXT_BYTES];
    int64_t second = time_us / US_PER_SECOND;
    if (time_us < 0 || second != cached_second) {
        timestamp_format(time_us, cached);
        cached_second = time_us < 0 ? -1 : second;
        memcpy(to, cached, TIMESTAMP_TEXT_BYTES);
        return to + TIMESTAMP_TEXT_BYTES;
    }
    memcpy(to, cached, SECOND_BYTES);
    uint32_t us = (uint32_t)(time_us % US_PER_SECOND);
    for (int i = 5; i >= 0; i--, us /= 10) {
        to[SECOND_BYTES + i] = (uint8_t)('0' + us % 10);
    }
    to[TIMESTAMP_TEXT_BYTES - 1] = 'Z';
    return to + TIMESTAMP_TEXT_BYTES;
}
