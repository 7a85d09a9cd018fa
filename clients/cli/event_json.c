/* event_json: see event_json.h. */
#include "event_json.h"

#include "text.h"

#include <string.h>

static bool add_text(struct daybook_buffer *b, const char *name, const char *value);
static bool add_id(struct daybook_buffer *b, const struct daybook_event *event);
static bool add_data(struct daybook_buffer *b, const struct daybook_event *event, bool exact);
static bool add_optional(struct daybook_buffer *b, const struct daybook_event *event);

bool event_json_add(struct daybook_buffer *b, const struct daybook_event *event)
{
    char time[TEXT_TIME_SIZE];
    text_time(event->time_us, time);
    return daybook_buffer_add_text(b, "{\"position\":") &&
           daybook_buffer_add_number(b, event->position) &&
           add_text(b, ",\"stream\":", event->stream) &&
           daybook_buffer_add_text(b, ",\"revision\":") &&
           daybook_buffer_add_number(b, event->revision) && add_id(b, event) &&
           add_text(b, ",\"type\":", event->type) && add_text(b, ",\"time\":", time) &&
           (event->occurred_at[0] == '\0' ||
            add_text(b, ",\"occurred_at\":", event->occurred_at)) &&
           add_text(b, ",\"content_type\":", event->content_type) && add_data(b, event, false) &&
           add_optional(b, event);
}

bool event_json_add_export(struct daybook_buffer *b, const struct daybook_event *event)
{
    char time[TEXT_TIME_SIZE];
    text_time(event->time_us, time);
    return add_text(b, "{\"stream\":", event->stream) && add_text(b, ",\"type\":", event->type) &&
           add_text(b, ",\"time\":", event->occurred_at[0] != '\0' ? event->occurred_at : time) &&
           add_data(b, event, true) && add_id(b, event) &&
           (strcmp(event->content_type, "application/json") == 0 || event->redacted ||
            add_text(b, ",\"content_type\":", event->content_type)) &&
           add_optional(b, event);
}

static bool add_text(struct daybook_buffer *b, const char *name, const char *value)
{
    return daybook_buffer_add_text(b, name) && text_add_json(b, value);
}

static bool add_id(struct daybook_buffer *b, const struct daybook_event *event)
{
    char id[TEXT_UUID_SIZE];
    text_uuid(event->id, id);
    return add_text(b, ",\"id\":", id);
}

/* JSON as it is. Line breaks can only be between its tokens, where a blank means the same. */
static bool add_verbatim(struct daybook_buffer *b, struct daybook_bytes json)
{
    size_t start = b->n;
    if (!daybook_buffer_add(b, json.p, json.n)) {
        return false;
    }
    for (size_t i = start; i < b->n; i++) {
        if (b->p[i] == '\n' || b->p[i] == '\r') {
            b->p[i] = ' ';
        }
    }
    return true;
}

static bool has_break(struct daybook_bytes bytes)
{
    return bytes.n > 0 &&
           (memchr(bytes.p, '\n', bytes.n) != NULL || memchr(bytes.p, '\r', bytes.n) != NULL);
}

static bool add_data(struct daybook_buffer *b, const struct daybook_event *event, bool exact)
{
    struct daybook_bytes data = event->data;
    if (event->redacted) {
        return daybook_buffer_add_text(b, ",\"data\":null,\"redacted\":true");
    }
    bool is_json = text_media_is_json(event->content_type);
    if (!is_json || (exact && has_break(data))) {
        return daybook_buffer_add_text(b, ",\"data_base64\":\"") &&
               text_add_base64(b, data.p, data.n) && daybook_buffer_add_byte(b, '"');
    }
    if (data.n == 0) {
        data = (struct daybook_bytes){"null", 4};
    }
    return daybook_buffer_add_text(b, ",\"data\":") && add_verbatim(b, data);
}

static bool add_tags(struct daybook_buffer *b, const struct daybook_event *event)
{
    bool ok = true;
    for (size_t i = 0; ok && i < event->tags_n; i++) {
        ok = daybook_buffer_add_text(b, i == 0 ? ",\"tags\":[" : ",") &&
             text_add_json(b, event->tags[i]);
    }
    return ok && (event->tags_n == 0 || daybook_buffer_add_byte(b, ']'));
}

static bool add_optional(struct daybook_buffer *b, const struct daybook_event *event)
{
    bool ok = event->metadata.n == 0 ||
              (daybook_buffer_add_text(b, ",\"metadata\":") && add_verbatim(b, event->metadata));
    ok = ok && add_tags(b, event);
    if (ok && event->schema_version > 0) {
        ok = daybook_buffer_add_text(b, ",\"schema_version\":") &&
             daybook_buffer_add_number(b, event->schema_version);
    }
    return ok && daybook_buffer_add_text(b, "}\n");
}
