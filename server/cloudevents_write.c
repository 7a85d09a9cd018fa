/* cloudevents_write: the JSON event format, out. */
#include "server/cloudevents_int.h"

static void put_string(struct buf *b, const char *name, struct bytes text)
{
    if (text.p != NULL) {
        buf_put_format(b, ",\"%s\":", name);
        buf_put_json_string(b, text);
    }
}

static void put_extension(struct buf *b, const struct cloudevent_attribute *a)
{
    buf_put_byte(b, ',');
    buf_put_json_string(b, a->name);
    buf_put_byte(b, ':');
    if (a->type == CLOUDEVENT_BOOLEAN || a->type == CLOUDEVENT_INTEGER) {
        buf_put(b, a->text);
    } else {
        buf_put_json_string(b, a->text);
    }
}

static void put_data(struct buf *b, const struct cloudevent *ce)
{
    enum cloudevent_data form = ce->form;
    if (form == CLOUDEVENT_DATA_TEXT && ce->datacontenttype.p == NULL) {
        form = CLOUDEVENT_DATA_BINARY; /* as `data` it would be a JSON string */
    }
    switch (form) {
    case CLOUDEVENT_DATA_JSON:
        buf_put_string(b, ",\"data\":");
        buf_put(b, ce->data);
        return;
    case CLOUDEVENT_DATA_TEXT:
        buf_put_string(b, ",\"data\":");
        buf_put_json_string(b, ce->data);
        return;
    case CLOUDEVENT_DATA_BINARY:
    case CLOUDEVENT_DATA_BASE64:
    case CLOUDEVENT_DATA_ANY:
        buf_put_string(b, ",\"data_base64\":\"");
        buf_put_base64(b, ce->data);
        buf_put_byte(b, '"');
        return;
    case CLOUDEVENT_DATA_NONE:
        return;
    }
}

err_t cloudevents_put_json(struct buf *b, struct arena *arena, const struct event *e)
{
    struct cloudevent ce;
    arena_reset(arena);
    err_t err = cloudevent_of_event(e, arena, &ce);
    if (err != ERR_OK) {
        return err;
    }
    buf_put_string(b, "{\"specversion\":\"1.0\"");
    put_string(b, "id", ce.id);
    put_string(b, "source", ce.source);
    put_string(b, "type", ce.type);
    put_string(b, "subject", ce.subject);
    put_string(b, "time", ce.time);
    put_string(b, "datacontenttype", ce.datacontenttype);
    put_string(b, "dataschema", ce.dataschema);
    for (size_t i = 0; i < ce.extension_count; i++) {
        put_extension(b, &ce.extensions[i]);
    }
    put_data(b, &ce);
    buf_put_byte(b, '}');
    return buf_status(b);
}
