/* cloudevents_headers: binary content mode. Attributes are ce- headers, whose values are
 * percent-encoded UTF-8 and may be quoted by senders of older versions; Content-Type is
 * datacontenttype and the body is the data. */
#include "server/cloudevents_int.h"

#include <stdio.h>
#include <strings.h>

#define HEADER_PREFIX     "ce-"
#define HEADERS_BYTES_MAX ((size_t)8 << 10) /* libmicrohttpd's memory of a connection is 24 KiB */

static bool unquote(struct bytes value, uint8_t *to, size_t *ret_n);
static bool decode_percent(uint8_t *p, size_t *n);

bool cloudevents_read_headers(struct cloudevents_input *in, struct http_request *rq)
{
    size_t n = http_header_count(rq);
    for (size_t i = 0; i < n; i++) {
        if (!cloudevents_take_header(in, http_header_name(rq, i), http_header_value(rq, i))) {
            return false;
        }
    }
    return cloudevents_take_body(in, http_header(rq, "Content-Type"), http_body(rq));
}

/* Header names have no case; those of attributes are lower case. */
static bool attribute_name(struct arena *arena, struct bytes header, struct bytes *ret)
{
    size_t prefix = strlen(HEADER_PREFIX);
    uint8_t *name = arena_alloc(arena, header.n);
    if (name == NULL) {
        return false;
    }
    for (size_t i = prefix; i < header.n; i++) {
        bool upper = header.p[i] >= 'A' && header.p[i] <= 'Z';
        name[i - prefix] = upper ? (uint8_t)(header.p[i] + 32) : header.p[i];
    }
    *ret = bytes_of(name, header.n - prefix);
    return true;
}

bool cloudevents_take_header(struct cloudevents_input *in, struct bytes name, struct bytes value)
{
    char why[CLOUDEVENT_WHY_MAX];
    struct bytes attribute;
    struct bytes text;
    struct arena *arena = in->draft->arena;
    size_t prefix = strlen(HEADER_PREFIX);
    if (name.n < prefix || strncasecmp((const char *)name.p, HEADER_PREFIX, prefix) != 0) {
        return true;
    }
    if (!attribute_name(arena, name, &attribute)) {
        return cloudevents_reject(in, PROBLEM_OVERLOADED, BYTES_NONE,
                                  "there is not enough memory for this request");
    }
    if (bytes_equal(attribute, BYTES_LITERAL("datacontenttype"))) {
        return cloudevents_reject(in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("datacontenttype"),
                                  "in binary mode Content-Type says it, not ce-datacontenttype");
    }
    if (!cloudevents_decode_header(arena, value, &text)) {
        return cloudevents_reject(in, PROBLEM_INVALID_FIELD, attribute,
                                  "must be percent-encoded UTF-8: each % before two hexadecimal "
                                  "digits, quotes in pairs");
    }
    return cloudevent_set(&in->event, attribute, CLOUDEVENT_STRING, text, why) ||
           cloudevents_reject(in, PROBLEM_INVALID_FIELD, attribute, why);
}

bool cloudevents_take_body(struct cloudevents_input *in, struct bytes content_type,
                           struct bytes body)
{
    char why[CLOUDEVENT_WHY_MAX];
    struct bytes name = BYTES_LITERAL("datacontenttype");
    if (content_type.n > 0 &&
        !cloudevent_set(&in->event, name, CLOUDEVENT_STRING, content_type, why)) {
        return cloudevents_reject(in, PROBLEM_INVALID_FIELD, name, why);
    }
    in->event.form = body.n > 0 ? CLOUDEVENT_DATA_BINARY : CLOUDEVENT_DATA_NONE;
    in->event.data = body;
    return cloudevents_add(in);
}

bool cloudevents_decode_header(struct arena *arena, struct bytes value, struct bytes *ret)
{
    size_t n;
    uint8_t *to = arena_alloc(arena, value.n);
    if (to == NULL || !unquote(value, to, &n) || !decode_percent(to, &n) ||
        !bytes_are_utf8(bytes_of(to, n))) {
        return false;
    }
    *ret = bytes_of(to, n);
    return true;
}

/* Takes the quotes of quoted strings away, and the backslashes inside them. */
static bool unquote(struct bytes value, uint8_t *to, size_t *ret_n)
{
    bool quoted = false;
    size_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && value.p[i] == '\\' && ++i == value.n) {
            return false;
        }
        to[n++] = value.p[i];
    }
    *ret_n = n;
    return !quoted;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Once, in place. */
static bool decode_percent(uint8_t *p, size_t *n)
{
    size_t to = 0;
    for (size_t i = 0; i < *n; i++) {
        if (p[i] != '%') {
            p[to++] = p[i];
            continue;
        }
        int high = *n - i >= 3 ? hex_digit(p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(p[i + 2]) : -1;
        if (low < 0) {
            return false;
        }
        p[to++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    *n = to;
    return true;
}

/* ---- out ---- */

void cloudevents_encode_header(struct buf *b, struct bytes value)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = value.p[i];
        if (c > 0x20 && c < 0x7f && c != '"' && c != '%') {
            buf_put_byte(b, c);
        } else {
            buf_put_byte(b, '%');
            buf_put_byte(b, (uint8_t)hex[c >> 4]);
            buf_put_byte(b, (uint8_t)hex[c & 15]);
        }
    }
}

/* One after the other in one text, each ended by NUL: name, value, name, value. libmicrohttpd sends
 * no empty values, so an attribute that is empty, as only an extension can be, is left out. */
static void put_header(struct buf *b, struct bytes name, struct bytes value)
{
    if (value.n > 0) {
        buf_put_string(b, HEADER_PREFIX);
        buf_put(b, name);
        buf_put_byte(b, '\0');
        cloudevents_encode_header(b, value);
        buf_put_byte(b, '\0');
    }
}

static void put_headers(struct buf *b, const struct cloudevent *ce)
{
    put_header(b, BYTES_LITERAL("specversion"), ce->specversion);
    put_header(b, BYTES_LITERAL("id"), ce->id);
    put_header(b, BYTES_LITERAL("source"), ce->source);
    put_header(b, BYTES_LITERAL("type"), ce->type);
    put_header(b, BYTES_LITERAL("subject"), ce->subject);
    put_header(b, BYTES_LITERAL("time"), ce->time);
    put_header(b, BYTES_LITERAL("dataschema"), ce->dataschema);
    for (size_t i = 0; i < ce->extension_count; i++) {
        put_header(b, ce->extensions[i].name, ce->extensions[i].text);
    }
}

static err_t send_headers(struct http_request *rq, const struct cloudevent *ce)
{
    struct buf b;
    struct bytes kept = BYTES_NONE;
    buf_init(&b, HEADERS_BYTES_MAX);
    put_headers(&b, ce);
    err_t err = buf_status(&b);
    if (err == ERR_OK) {
        err = arena_copy(http_arena(rq), buf_bytes(&b), &kept);
    }
    buf_done(&b);
    if (err != ERR_OK) {
        return err;
    }
    const char *p = (const char *)kept.p;
    for (const char *end = p + kept.n; p < end;) {
        const char *value = p + strlen(p) + 1;
        http_reply_header(rq, p, value);
        p = value + strlen(value) + 1;
    }
    return ERR_OK;
}

err_t cloudevents_put_binary(struct http_request *rq, const struct event *e, struct buf *body,
                             const char **ret_type)
{
    struct cloudevent ce;
    err_t err = cloudevent_of_event(e, http_arena(rq), &ce);
    if (err != ERR_OK) {
        return err;
    }
    cloudevent_tell_implied(&ce);
    struct bytes type = ce.datacontenttype;
    char *text = arena_alloc(http_arena(rq), type.n + 1);
    if (text == NULL) {
        return ERR_MEMORY;
    }
    if (type.n > 0) {
        memcpy(text, type.p, type.n);
    }
    text[type.n] = '\0';
    err = send_headers(rq, &ce);
    if (err == ERR_OK) {
        *ret_type = type.n > 0 ? text : NULL;
        buf_put(body, ce.data);
        err = buf_status(body);
    }
    return err;
}
