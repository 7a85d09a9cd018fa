/* group_append: a batch as JSON, for the one call that sends it so: an acknowledgement with an
 * append. */
#include "group_int.h"

#include "daybook/v1/commands.pb-c.h"

#include <string.h>
#include <strings.h>

/* ---- values ---- */

static bool add_text(struct daybook_buffer *b, const char *before, const char *text)
{
    return daybook_buffer_add_text(b, before) && daybook_json_add_string(b, text, strlen(text));
}

static bool add_base64(struct daybook_buffer *b, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bool ok = true;
    for (size_t i = 0; ok && i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (left > 2 ? (uint32_t)p[i + 2] : 0);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        ok = daybook_buffer_add(b, four, sizeof four);
    }
    return ok;
}

static bool add_id(struct daybook_buffer *b, ProtobufCBinaryData id)
{
    static const char digits[] = "0123456789abcdef";
    char text[37];
    size_t n = 0;
    for (size_t i = 0; i < id.len && i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[n++] = '-';
        }
        text[n++] = digits[id.data[i] >> 4];
        text[n++] = digits[id.data[i] & 15];
    }
    text[n] = '\0';
    return add_text(b, "\"id\":", text);
}

/* application/json or any +json; "" is. */
static bool is_json(const char *content_type)
{
    size_t n = strcspn(content_type, "; \t");
    return n == 0 || (n == 16 && strncasecmp(content_type, "application/json", n) == 0) ||
           (n > 5 && strncasecmp(content_type + n - 5, "+json", 5) == 0);
}

/* ---- events ---- */

static bool add_data(struct daybook_buffer *b, const Daybook__V1__NewEvent *e)
{
    if (!is_json(e->content_type)) {
        return daybook_buffer_add_text(b, ",\"data_base64\":\"") &&
               add_base64(b, e->data.data, e->data.len) && daybook_buffer_add_byte(b, '"');
    }
    return daybook_buffer_add_text(b, ",\"data\":") &&
           (e->data.len > 0 ? daybook_buffer_add(b, e->data.data, e->data.len)
                            : daybook_buffer_add_text(b, "null"));
}

static bool add_tags(struct daybook_buffer *b, const Daybook__V1__NewEvent *e)
{
    bool ok = e->n_tags == 0 || daybook_buffer_add_text(b, ",\"tags\":[");
    for (size_t i = 0; ok && i < e->n_tags; i++) {
        ok = add_text(b, i > 0 ? "," : "", e->tags[i]);
    }
    return ok && (e->n_tags == 0 || daybook_buffer_add_byte(b, ']'));
}

static bool add_event(struct daybook_buffer *b, const Daybook__V1__NewEvent *e)
{
    return daybook_buffer_add_byte(b, '{') && add_id(b, e->id) &&
           add_text(b, ",\"type\":", e->type) &&
           (e->content_type[0] == '\0' || add_text(b, ",\"content_type\":", e->content_type)) &&
           add_data(b, e) &&
           (e->metadata.len == 0 || (daybook_buffer_add_text(b, ",\"metadata\":") &&
                                     daybook_buffer_add(b, e->metadata.data, e->metadata.len))) &&
           add_tags(b, e) &&
           (e->occurred_at[0] == '\0' || add_text(b, ",\"occurred_at\":", e->occurred_at)) &&
           (e->schema_version == 0 || (daybook_buffer_add_text(b, ",\"schema_version\":") &&
                                       daybook_buffer_add_number(b, e->schema_version))) &&
           daybook_buffer_add_byte(b, '}');
}

/* ---- appends and checks ---- */

static bool add_state(struct daybook_buffer *b, Daybook__V1__StreamState state)
{
    const char *text = "\"any\"";
    if (state == DAYBOOK__V1__STREAM_STATE__STREAM_STATE_NO_STREAM) {
        text = "\"no_stream\"";
    } else if (state == DAYBOOK__V1__STREAM_STATE__STREAM_STATE_STREAM_EXISTS) {
        text = "\"stream_exists\"";
    }
    return daybook_buffer_add_text(b, text);
}

static bool begin_stream(struct daybook_buffer *b, bool first, const char *stream)
{
    return (first || daybook_buffer_add_byte(b, ',')) && add_text(b, "{\"stream\":", stream) &&
           daybook_buffer_add_text(b, ",\"expected_revision\":");
}

static bool add_append(struct daybook_buffer *b, bool first, const Daybook__V1__Append *a)
{
    bool by_number = a->expected_case == DAYBOOK__V1__APPEND__EXPECTED_EXPECTED_REVISION;
    bool ok = begin_stream(b, first, a->stream) &&
              (by_number ? daybook_buffer_add_number(b, a->expected_revision)
                         : add_state(b, a->expected_state)) &&
              daybook_buffer_add_text(b, ",\"events\":[");
    for (size_t i = 0; ok && i < a->n_events; i++) {
        ok = (i == 0 || daybook_buffer_add_byte(b, ',')) && add_event(b, a->events[i]);
    }
    return ok && daybook_buffer_add_text(b, "]}");
}

static bool add_check(struct daybook_buffer *b, bool first, const Daybook__V1__Check *c)
{
    bool by_number = c->expected_case == DAYBOOK__V1__CHECK__EXPECTED_EXPECTED_REVISION;
    return begin_stream(b, first, c->stream) &&
           (by_number ? daybook_buffer_add_number(b, c->expected_revision)
                      : add_state(b, c->expected_state)) &&
           daybook_buffer_add_byte(b, '}');
}

bool daybook_json_add_batch(struct daybook_buffer *b, const struct daybook_batch *batch)
{
    struct daybook_bytes packed = daybook_batch_packed(batch);
    Daybook__V1__AppendMany *m = daybook__v1__append_many__unpack(NULL, packed.n, packed.p);
    bool ok = m != NULL && daybook_buffer_add_text(b, "{\"appends\":[");
    for (size_t i = 0; ok && i < m->n_appends; i++) {
        ok = add_append(b, i == 0, m->appends[i]);
    }
    ok = ok && daybook_buffer_add_byte(b, ']');
    if (ok && m->n_checks > 0) {
        ok = daybook_buffer_add_text(b, ",\"checks\":[");
        for (size_t i = 0; ok && i < m->n_checks; i++) {
            ok = add_check(b, i == 0, m->checks[i]);
        }
        ok = ok && daybook_buffer_add_byte(b, ']');
    }
    if (m != NULL) {
        daybook__v1__append_many__free_unpacked(m, NULL);
    }
    return ok && daybook_buffer_add_byte(b, '}');
}
