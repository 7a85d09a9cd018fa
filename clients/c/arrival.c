/* arrival: an EventBatch while it arrives.
 *
 * The answer to a protobuf read is one message of nothing but length-delimited fields (events, and
 * what a followed read says between them), so whole fields can be taken off its front while the
 * rest is still on its way. Which request is made, and what the fields mean, is for read.c and
 * follow.c. */
#include "client_int.h"

#include <string.h>

#define FIELD_BYTES_MAX ((size_t)256 << 20)
#define AHEAD_BYTES     ((size_t)1 << 20)
#define URL_BYTES_MAX   ((size_t)1 << 20)

bool daybook_arrival_init(struct daybook_arrival *a, struct daybook *db)
{
    *a = (struct daybook_arrival){.consumed = 0};
    daybook_buffer_init(&a->url, URL_BYTES_MAX);
    return daybook_transfer_init(&a->transfer, db, FIELD_BYTES_MAX + AHEAD_BYTES);
}

void daybook_arrival_done(struct daybook_arrival *a)
{
    daybook_transfer_done(&a->transfer);
    daybook_buffer_done(&a->url);
}

/* ---- the request ---- */

static bool keep_names(struct daybook_arena *arena, struct daybook_names *names)
{
    const char **items = daybook_arena_get(arena, (names->n + 1) * sizeof *items);
    if (items == NULL) {
        return false;
    }
    for (size_t i = 0; i < names->n; i++) {
        items[i] = daybook_arena_copy(arena, names->items[i], strlen(names->items[i]));
        if (items[i] == NULL) {
            return false;
        }
    }
    names->items = items;
    return true;
}

static bool keep_text(struct daybook_arena *arena, const char **text)
{
    if (*text != NULL) {
        *text = daybook_arena_copy(arena, *text, strlen(*text));
        return *text != NULL;
    }
    return true;
}

bool daybook_read_options_keep(struct daybook_arena *arena, struct daybook_read_options *o)
{
    return keep_text(arena, &o->stream) && keep_text(arena, &o->since) &&
           keep_text(arena, &o->until) && keep_names(arena, &o->types) &&
           keep_names(arena, &o->categories) && keep_names(arena, &o->prefixes) &&
           keep_names(arena, &o->tags);
}

static bool add_path(struct daybook_buffer *url, const struct daybook *db, const char *stream)
{
    if (stream == NULL) {
        return daybook_url_begin(db, url, "/v1/events");
    }
    return daybook_url_begin(db, url, "/v1/streams/") && daybook_url_segment(url, stream) &&
           daybook_buffer_add_text(url, "/events");
}

static bool add_numbers(struct daybook_buffer *url, char *mark,
                        const struct daybook_read_options *o)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"before", o->before}, {"after", o->after}, {"limit", o->limit}};
    bool ok = true;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].value > 0) {
            ok = ok && daybook_url_number(url, mark, numbers[i].name, numbers[i].value);
        }
    }
    return ok;
}

static bool add_texts(struct daybook_buffer *url, char *mark, const struct daybook_read_options *o)
{
    const struct {
        const char *name;
        struct daybook_names values;
    } texts[] = {
        {"since", {&o->since, o->since != NULL}},
        {"until", {&o->until, o->until != NULL}},
        {"type", o->types},
        {"category", o->categories},
        {"prefix", o->prefixes},
        {"tag", o->tags},
    };
    bool ok = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t k = 0; ok && k < texts[i].values.n; k++) {
            ok = daybook_url_text(url, mark, texts[i].name, texts[i].values.items[k]);
        }
    }
    return ok;
}

bool daybook_arrival_start(struct daybook_arrival *a, const struct daybook_read_options *o,
                           enum daybook_reading reading)
{
    struct daybook_buffer *url = &a->url;
    char mark = '?';
    bool ok = add_path(url, a->transfer.db, o->stream);
    if (o->backward) {
        ok = ok && daybook_url_text(url, &mark, "direction", "backward");
    }
    if (reading != DAYBOOK_READING_TO_THE_END) {
        ok = ok && daybook_url_text(url, &mark, "follow", "true");
    }
    if (reading == DAYBOOK_READING_NEW) {
        ok = ok && daybook_url_text(url, &mark, "after", "end");
    }
    ok = ok && add_numbers(url, &mark, o) && add_texts(url, &mark, o) && daybook_url_end(url);
    a->consumed = 0;
    return ok && daybook_transfer_start(&a->transfer, (const char *)url->p, NULL);
}

/* ---- the answer ---- */

/* The field's length begins at p[1]. False: it is cut short, or none. */
static bool read_length(const uint8_t *p, size_t have, size_t *ret_header, uint64_t *ret_length)
{
    uint64_t length = 0;
    for (size_t i = 1; i < 6 && i < have; i++) {
        length |= (uint64_t)(p[i] & 0x7f) << (7 * (i - 1));
        if (p[i] < 0x80) {
            *ret_header = i + 1;
            *ret_length = length;
            return true;
        }
    }
    return false;
}

enum daybook_front daybook_front_look(const uint8_t *p, size_t have, struct daybook_field *ret)
{
    size_t header = 0;
    uint64_t length = 0;
    *ret = (struct daybook_field){.size = have + 1};
    if (have == 0) {
        return DAYBOOK_FRONT_PART;
    }
    /* Length-delimited, with a number up to 15: there are no others in this message. */
    if ((p[0] & 7) != 2 || p[0] >= 0x80 || p[0] < 8) {
        return DAYBOOK_FRONT_DAMAGED;
    }
    if (!read_length(p, have, &header, &length)) {
        return have < 6 ? DAYBOOK_FRONT_PART : DAYBOOK_FRONT_DAMAGED;
    }
    if (length > FIELD_BYTES_MAX) {
        return DAYBOOK_FRONT_DAMAGED;
    }
    *ret = (struct daybook_field){
        .number = p[0] >> 3, .bytes = {p + header, length}, .size = header + length};
    return have < ret->size ? DAYBOOK_FRONT_PART : DAYBOOK_FRONT_FIELD;
}

/* An answer that is no 200 is a problem: it is waited for to its end. */
static enum daybook_front look(const struct daybook_arrival *a, struct daybook_field *ret)
{
    long status = 0;
    size_t have = a->transfer.body.n - a->consumed;
    (void)curl_easy_getinfo(a->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (have > 0 && status != 200) {
        *ret = (struct daybook_field){.size = SIZE_MAX / 2};
        return DAYBOOK_FRONT_PART;
    }
    return daybook_front_look(a->transfer.body.p + a->consumed, have, ret);
}

enum daybook_front daybook_arrival_next(struct daybook_arrival *a, struct daybook_field *ret)
{
    for (;;) {
        struct daybook_field field;
        enum daybook_front front = look(a, &field);
        if (front == DAYBOOK_FRONT_FIELD) {
            a->consumed += field.size;
            *ret = field;
        }
        if (front != DAYBOOK_FRONT_PART || !a->transfer.running) {
            return front;
        }
        daybook_buffer_drop(&a->transfer.body, a->consumed);
        a->consumed = 0;
        a->transfer.body_target = AHEAD_BYTES;
        daybook_transfer_wait(&a->transfer, field.size - 1);
    }
}

bool daybook_arrival_is_ready(const struct daybook_arrival *a)
{
    struct daybook_field field;
    return look(a, &field) == DAYBOOK_FRONT_FIELD;
}

bool daybook_arrival_is_cut(const struct daybook_arrival *a)
{
    return a->transfer.body.n > a->consumed;
}
