/* bench_request: see the header.
 *
 * An append as it is in memory; everything but the marked places stays as it was made:
 *
 *   POST /v1/streams/order-10042/events HTTP/1.1 ... Content-Length:       355\r\n\r\n
 *                          ^^^^^ stream                                    ^^^ length
 *   {"events":[{"type":"OrderPlaced","data":{"order":"00000017","customer":...}}],"expected_revision":42}
 *                                                     ^^^^^^^^ number             ^^^^^^^^^^^^ tail
 *
 * The protobuf is written by hand, for generated code cannot say at which byte a field is. */
#include "bench_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CATEGORY          "order"
#define EVENT_TYPE        "OrderPlaced"
#define NUMBER_DIGITS     8
#define LENGTH_DIGITS     9
#define TAIL_MAX          64
#define REQUEST_MAX       ((size_t)16 * 1024 * 1024 * 1024)
#define ID_BYTES          16
#define ID_COUNTER        6 /* bytes of an id that count */
#define VARINT_MAX        10
#define AFTER_WIDTH       20
#define HEX_ID_COUNTER_AT 24 /* behind the last '-' of an id's text form */

/* Fields of daybook/v1 as tags: number << 3 | wire type. */
#define TAG_NEW_EVENT_ID    (1U << 3 | 2)
#define TAG_NEW_EVENT_TYPE  (2U << 3 | 2)
#define TAG_NEW_EVENT_DATA  (3U << 3 | 2)
#define TAG_APPEND_EXPECTED (2U << 3 | 0)
#define TAG_APPEND_EVENTS   (4U << 3 | 2)

static size_t write_decimal(char *p, uint64_t number)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < n; i++) {
        p[i] = digits[n - 1 - i];
    }
    return n;
}

/* Exactly so many digits, with zeros in front. */
static void write_digits(char *p, unsigned digits, uint64_t number)
{
    while (digits-- > 0) {
        p[digits] = (char)('0' + number % 10);
        number /= 10;
    }
}

static size_t write_varint(uint8_t *p, uint64_t number)
{
    size_t n = 0;
    for (; number >= 0x80; number >>= 7) {
        p[n++] = (uint8_t)(number | 0x80);
    }
    p[n++] = (uint8_t)number;
    return n;
}

static bool add_varint(struct daybook_buffer *b, uint64_t number)
{
    uint8_t varint[VARINT_MAX];
    return daybook_buffer_add(b, varint, write_varint(varint, number));
}

static bool add_field(struct daybook_buffer *b, unsigned tag, const void *p, size_t n)
{
    return add_varint(b, tag) && add_varint(b, n) && daybook_buffer_add(b, p, n);
}

/* ---- events ---- */

/* JSON of exactly `size` bytes. What fills it up is of no pattern, so that nobody gains by packing
 * it. `ret_number_at` is where its number is; 0: it is too short for one. */
static void make_payload(char *p, size_t size, size_t *ret_number_at)
{
    static const char front[] =
        "{\"order\":\"00000000\",\"customer\":\"c-48210\",\"currency\":\"EUR\","
        "\"total\":129.90,\"items\":[{\"sku\":\"A-1001\",\"quantity\":2}],\"note\":\"";
    static const char alphabet[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    const char *end = "\"";
    size_t front_n = 1;
    *ret_number_at = 0;
    p[0] = '"';
    if (size >= sizeof front + 1) {
        end = "\"}";
        front_n = sizeof front - 1;
        memcpy(p, front, front_n);
        *ret_number_at = strlen("{\"order\":\"");
    }
    size_t end_at = size - strlen(end);
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t i = front_n; i < end_at; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        p[i] = alphabet[state >> 58];
    }
    memcpy(p + end_at, end, strlen(end));
}

/* A UUID of version 7, but for its last six bytes, which are to count. */
static void make_id(uint8_t id[ID_BYTES])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    memset(id, 0, ID_BYTES);
    if (getrandom(id + 6, 4, 0) < 0) {
        id[6] = (uint8_t)now.tv_nsec;
    }
    for (int i = 0; i < 6; i++) {
        id[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    id[6] = (uint8_t)(0x70 | (id[6] & 0x0f));
    id[8] = (uint8_t)(0x80 | (id[8] & 0x3f));
}

/* Places are relative to the event's beginning. */
struct event_bytes {
    struct daybook_buffer bytes;
    size_t number_at, id_at;
};

static bool make_event_json(struct event_bytes *event, const char *data,
                            const struct bench_shape *s)
{
    struct daybook_buffer *b = &event->bytes;
    uint8_t id[ID_BYTES];
    char text[64];
    bool ok = daybook_buffer_add_text(b, "{");
    if (s->ids) {
        static const char key[] = "\"id\":\"";
        make_id(id);
        snprintf(text, sizeof text, "%s%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-000000000000\",",
                 key, id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9]);
        event->id_at = b->n + sizeof key - 1 + HEX_ID_COUNTER_AT;
        ok = ok && daybook_buffer_add_text(b, text);
    }
    ok = ok && daybook_buffer_add_text(b, "\"type\":\"" EVENT_TYPE "\",\"data\":");
    event->number_at += b->n;
    return ok && daybook_buffer_add(b, data, s->payload) && daybook_buffer_add_text(b, "},");
}

/* The event as a field of Append. */
static bool make_event_protobuf(struct event_bytes *event, const char *data,
                                const struct bench_shape *s)
{
    struct daybook_buffer body;
    uint8_t id[ID_BYTES];
    size_t id_at = 0;
    daybook_buffer_init(&body, REQUEST_MAX);
    bool ok = true;
    if (s->ids) {
        make_id(id);
        ok = add_field(&body, TAG_NEW_EVENT_ID, id, ID_BYTES);
        id_at = body.n - ID_COUNTER;
    }
    ok = ok && add_field(&body, TAG_NEW_EVENT_TYPE, EVENT_TYPE, strlen(EVENT_TYPE)) &&
         add_field(&body, TAG_NEW_EVENT_DATA, data, s->payload);
    size_t data_at = body.n - s->payload;
    ok = ok && add_field(&event->bytes, TAG_APPEND_EVENTS, body.p, body.n);
    size_t body_at = event->bytes.n - body.n;
    event->number_at += body_at + data_at;
    event->id_at = s->ids ? body_at + id_at : 0;
    daybook_buffer_done(&body);
    return ok;
}

static bool make_event(struct event_bytes *event, const struct bench_shape *shape,
                       bool *ret_numbered)
{
    daybook_buffer_init(&event->bytes, REQUEST_MAX);
    event->number_at = event->id_at = 0;
    char *data = malloc(shape->payload);
    if (data == NULL) {
        return false;
    }
    make_payload(data, shape->payload, &event->number_at);
    *ret_numbered = event->number_at > 0;
    bool ok = shape->protobuf ? make_event_protobuf(event, data, shape)
                              : make_event_json(event, data, shape);
    free(data);
    return ok;
}

/* ---- making ---- */

/* Numbers begin where they have as many digits as the last: 10000 to 19999, and no zeros in
 * front. */
static void number_streams(struct bench_template *t, uint64_t streams)
{
    t->digits = 1;
    for (t->stream_base = 1; t->stream_base < streams; t->stream_base *= 10) {
        t->digits++;
    }
}

/* The path, with a stream's number in place of a '*'. */
static bool add_path(struct bench_template *t, const char *path)
{
    const char *star = strchr(path, '*');
    if (star == NULL) {
        return daybook_buffer_add_text(&t->bytes, path);
    }
    bool ok = daybook_buffer_add(&t->bytes, path, (size_t)(star - path));
    t->stream_at = t->bytes.n;
    return ok && daybook_buffer_add_number(&t->bytes, t->stream_base) &&
           daybook_buffer_add_text(&t->bytes, star + 1);
}

static bool add_head(struct bench_template *t, const struct bench_shape *shape, const char *method,
                     const char *path, const char *accept)
{
    struct daybook_buffer *b = &t->bytes;
    return daybook_buffer_add_text(b, method) && daybook_buffer_add_text(b, shape->prefix) &&
           add_path(t, path) && daybook_buffer_add_text(b, " HTTP/1.1\r\nHost: ") &&
           daybook_buffer_add_text(b, shape->host) && daybook_buffer_add_text(b, "\r\nAccept: ") &&
           daybook_buffer_add_text(b, accept) && daybook_buffer_add_text(b, "\r\n");
}

static void write_length(struct bench_template *t)
{
    char digits[20];
    size_t n = write_decimal(digits, t->bytes.n - t->body_at);
    uint8_t *p = t->bytes.p + t->length_at;
    memset(p, ' ', LENGTH_DIGITS - n);
    memcpy(p + LENGTH_DIGITS - n, digits, n);
}

/* What is behind the events; there is room for it. */
static void write_tail(struct bench_template *t, uint64_t head)
{
    uint8_t *p = t->bytes.p + t->tail_at;
    size_t n = 0;
    if (t->protobuf && t->exact) {
        p[n++] = TAG_APPEND_EXPECTED;
        n += write_varint(p + n, head);
    } else if (!t->protobuf && t->exact) {
        static const char key[] = "],\"expected_revision\":";
        memcpy(p, key, sizeof key - 1);
        n = sizeof key - 1;
        n += write_decimal((char *)p + n, head);
        p[n++] = '}';
    } else if (!t->protobuf) {
        p[n++] = ']';
        p[n++] = '}';
    }
    if (t->bytes.n != t->tail_at + n) {
        t->bytes.n = t->tail_at + n;
        write_length(t);
    }
}

/* The body: `batch` times the event, and the tail. */
static bool add_events(struct bench_template *t, const struct bench_shape *shape)
{
    struct daybook_buffer *b = &t->bytes;
    struct event_bytes event;
    bool numbered = false;
    bool ok = make_event(&event, shape, &numbered) &&
              daybook_buffer_add_text(b, shape->protobuf ? "" : "{\"events\":[");
    size_t events_at = b->n;
    t->number_at = numbered ? events_at + event.number_at : 0;
    t->id_at = event.id_at > 0 ? events_at + event.id_at : 0;
    t->stride = event.bytes.n;
    ok = ok && daybook_buffer_reserve(b, shape->batch * event.bytes.n + TAIL_MAX);
    for (uint64_t i = 0; ok && i < shape->batch; i++) {
        ok = daybook_buffer_add(b, event.bytes.p, event.bytes.n);
    }
    daybook_buffer_done(&event.bytes);
    if (ok) {
        t->tail_at = b->n - (shape->protobuf ? 0 : 1); /* over the last ',' */
        b->n = t->body_at;
        write_tail(t, 0);
    }
    return ok;
}

/* ---- events with tags ---- */

/* Adds text in which each '*' stands for the stream's number, and each '#' for its last digit. */
static bool add_numbered(struct bench_template *t, const char *text)
{
    bool ok = true;
    for (; ok && *text != '\0'; text += *text != '\0') {
        size_t n = strcspn(text, "*#");
        ok = daybook_buffer_add(&t->bytes, text, n);
        text += n;
        if (ok && *text != '\0') {
            unsigned digits = *text == '*' ? t->digits : 1;
            t->places[t->place_count] = t->bytes.n;
            t->place_n[t->place_count++] = digits;
            ok = daybook_buffer_add(&t->bytes, "00000000000000000000", digits);
        }
    }
    return ok;
}

/* Of two tags one is the stream's own, the other that of every tenth. */
#define TAGS "\"tags\":[\"" CATEGORY ":*\",\"region:#\"]"

static bool add_tagged(struct bench_template *t, const struct bench_shape *shape)
{
    static const char spaces[AFTER_WIDTH + 1] = "                   0";
    struct daybook_buffer *b = &t->bytes;
    size_t number_at;
    char *data = malloc(shape->payload);
    bool ok = data != NULL &&
              add_numbered(t, "{\"appends\":[{\"stream\":\"" CATEGORY
                              "-*\",\"events\":[{\"type\":\"" EVENT_TYPE "\"," TAGS ",\"data\":");
    if (ok) {
        make_payload(data, shape->payload, &number_at);
        t->number_at = number_at > 0 ? b->n + number_at : 0;
        ok = daybook_buffer_add(b, data, shape->payload) && daybook_buffer_add_text(b, "}]}]");
    }
    free(data);
    if (ok && shape->condition) {
        ok = add_numbered(
            t, ",\"condition\":{\"fail_if_events_match\":{\"items\":[{\"types\":[\"" EVENT_TYPE
               "\"]," TAGS "}]},\"after\":");
        t->after_at = b->n;
        ok = ok && daybook_buffer_add_text(b, spaces) && daybook_buffer_add_text(b, "}");
    }
    ok = ok && daybook_buffer_add_text(b, "}");
    if (ok) {
        write_length(t);
    }
    return ok;
}

bool bench_append_init(struct bench_template *t, const struct bench_shape *shape)
{
    const char *media = shape->protobuf ? "application/x-protobuf" : "application/json";
    const char *path = shape->path != NULL ? shape->path
                       : shape->tagged     ? "/v1/events"
                                           : "/v1/streams/" CATEGORY "-*/events";
    memset(t, 0, sizeof *t);
    t->batch = shape->batch;
    t->exact = shape->exact;
    t->protobuf = shape->protobuf;
    number_streams(t, shape->streams);
    daybook_buffer_init(&t->bytes, REQUEST_MAX);
    if (!add_head(t, shape, "POST ", path, media) ||
        !daybook_buffer_add_text(&t->bytes, "Content-Type: ") ||
        !daybook_buffer_add_text(&t->bytes, media) ||
        !daybook_buffer_add_text(&t->bytes, "\r\nContent-Length: ")) {
        return false;
    }
    t->length_at = t->bytes.n;
    if (!daybook_buffer_add_text(&t->bytes, "000000000\r\n\r\n")) {
        return false;
    }
    t->body_at = t->bytes.n;
    return shape->tagged ? add_tagged(t, shape) : add_events(t, shape);
}

bool bench_get_init(struct bench_template *t, const struct bench_shape *shape, const char *path,
                    const char *accept)
{
    memset(t, 0, sizeof *t);
    number_streams(t, shape->streams);
    daybook_buffer_init(&t->bytes, REQUEST_MAX);
    return add_head(t, shape, "GET ", path, accept) && daybook_buffer_add_text(&t->bytes, "\r\n");
}

void bench_template_done(struct bench_template *t)
{
    daybook_buffer_done(&t->bytes);
}

/* ---- patching ---- */

void bench_patch_stream(struct bench_template *t, uint64_t stream)
{
    if (t->stream_at > 0) {
        write_digits((char *)t->bytes.p + t->stream_at, t->digits, t->stream_base + stream);
    }
    for (size_t i = 0; i < t->place_count; i++) {
        write_digits((char *)t->bytes.p + t->places[i], (unsigned)t->place_n[i],
                     t->stream_base + stream);
    }
}

/* Blanks in front of a number are as good as none. */
void bench_patch_after(struct bench_template *t, uint64_t position)
{
    if (t->after_at > 0) {
        char digits[AFTER_WIDTH];
        size_t n = write_decimal(digits, position);
        uint8_t *p = t->bytes.p + t->after_at;
        memset(p, ' ', AFTER_WIDTH - n);
        memcpy(p + AFTER_WIDTH - n, digits, n);
    }
}

static void write_id_counter(struct bench_template *t, uint8_t *p, uint64_t number)
{
    static const char hex[] = "0123456789abcdef";
    for (int i = ID_COUNTER - 1; i >= 0; i--, number >>= 8) {
        if (t->protobuf) {
            p[i] = (uint8_t)number;
        } else {
            p[2 * i] = (uint8_t)hex[number >> 4 & 15];
            p[2 * i + 1] = (uint8_t)hex[number & 15];
        }
    }
}

void bench_patch_events(struct bench_template *t, uint64_t first)
{
    uint8_t *event = t->bytes.p;
    for (uint64_t i = 0; i < t->batch; i++, event += t->stride) {
        if (t->number_at > 0) {
            write_digits((char *)event + t->number_at, NUMBER_DIGITS, first + i);
        }
        if (t->id_at > 0) {
            write_id_counter(t, event + t->id_at, first + i);
        }
    }
}

void bench_patch_expected(struct bench_template *t, uint64_t head)
{
    if (t->exact) {
        write_tail(t, head);
    }
}
