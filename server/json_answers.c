/* json_answers: the JSON bodies of answers that are not events. */
#include "server/json.h"

static void put_member_u64(struct buf *b, const char *key, uint64_t v);
static void put_member_bool(struct buf *b, const char *key, bool v);

void json_put_append_result(struct buf *b, const struct command *c, size_t append)
{
    const struct append_result *r = command_result(c, append);
    buf_put_string(b, "{\"stream\":");
    buf_put_json_string(b, command_append_stream(c, append));
    put_member_u64(b, ",\"first_revision\":", r->first_revision);
    put_member_u64(b, ",\"last_revision\":", r->last_revision);
    put_member_u64(b, ",\"first_position\":", r->first_position);
    put_member_u64(b, ",\"last_position\":", r->last_position);
    buf_put_string(b, r->duplicate ? ",\"duplicate\":true}" : ",\"duplicate\":false}");
}

void json_put_append_results(struct buf *b, const struct command *c)
{
    buf_put_string(b, "{\"results\":[");
    for (size_t i = 0; i < command_appends(c); i++) {
        if (i > 0) {
            buf_put_byte(b, ',');
        }
        json_put_append_result(b, c, i);
    }
    buf_put_string(b, "]}");
}

void json_put_stream_info(struct buf *b, struct bytes stream, const struct store_stream_info *info)
{
    buf_put_string(b, "{\"stream\":");
    buf_put_json_string(b, stream);
    buf_put_string(b, ",\"category\":");
    buf_put_json_string(b, event_category(stream));
    put_member_u64(b, ",\"head_revision\":", info->head_revision);
    put_member_u64(b, ",\"first_revision\":", info->first_revision);
    put_member_u64(b, ",\"events\":", info->events);
    put_member_u64(b, ",\"created_position\":", info->created_position);
    buf_put_string(b, ",\"created_time\":");
    json_put_time(b, info->created_time_us);
    put_member_bool(b, ",\"deleted\":", info->deleted);
    buf_put_string(b, info->tombstoned ? ",\"tombstoned\":true" : "");
    buf_put_string(b, ",\"metadata\":");
    json_put_stream_metadata(b, info);
    buf_put_byte(b, '}');
}

void json_put_stream_metadata(struct buf *b, const struct store_stream_info *info)
{
    const struct {
        const char *key;
        uint64_t value;
    } limits[] = {{"\"max_count\":", info->max_count},
                  {"\"max_age_s\":", info->max_age_s},
                  {"\"truncate_before\":", info->truncate_before}};
    bool any = false;
    buf_put_byte(b, '{');
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (limits[i].value > 0) {
            buf_put_string(b, any ? "," : "");
            put_member_u64(b, limits[i].key, limits[i].value);
            any = true;
        }
    }
    if (info->custom.n > 0) {
        buf_put_string(b, any ? ",\"custom\":" : "\"custom\":");
        buf_put(b, info->custom);
    }
    buf_put_byte(b, '}');
}

void json_put_life_result(struct buf *b, const struct life_answer *a)
{
    buf_put_string(b, "{\"stream\":");
    buf_put_json_string(b, a->stream);
    if (a->revision > 0) {
        put_member_u64(b, ",\"revision\":", a->revision);
    }
    put_member_u64(b, ",\"position\":", a->result->position);
    put_member_u64(b, ",\"head_revision\":", a->result->head_revision);
    put_member_u64(b, ",\"first_revision\":", a->result->first_revision);
    put_member_bool(b, ",\"deleted\":", a->result->deleted);
    put_member_bool(b, ",\"tombstoned\":", a->result->tombstoned);
    put_member_bool(b, ",\"duplicate\":", a->duplicate);
    buf_put_byte(b, '}');
}

/* The end of a listing: `next` is the last name of this page. */
static void put_list_end(struct buf *b, const struct store_name_list *list, struct bytes after)
{
    buf_put_string(b, "],\"next\":");
    buf_put_json_string(b, list->n > 0 ? list->items[list->n - 1].name : after);
    buf_put_string(b, list->end ? ",\"end\":true}" : ",\"end\":false}");
}

void json_put_stream_list(struct buf *b, const struct store_name_list *list, struct bytes after)
{
    buf_put_string(b, "{\"streams\":[");
    for (size_t i = 0; i < list->n; i++) {
        buf_put_string(b, i > 0 ? ",{\"stream\":" : "{\"stream\":");
        buf_put_json_string(b, list->items[i].name);
        buf_put_string(b, ",\"category\":");
        buf_put_json_string(b, event_category(list->items[i].name));
        put_member_u64(b, ",\"head_revision\":", list->items[i].events);
        buf_put_byte(b, '}');
    }
    put_list_end(b, list, after);
}

void json_put_name_counts(struct buf *b, const char *key, const struct store_name_list *list,
                          struct bytes after)
{
    buf_put_format(b, "{\"%s\":[", key);
    for (size_t i = 0; i < list->n; i++) {
        buf_put_string(b, i > 0 ? ",{\"name\":" : "{\"name\":");
        buf_put_json_string(b, list->items[i].name);
        put_member_u64(b, ",\"events\":", list->items[i].events);
        buf_put_byte(b, '}');
    }
    put_list_end(b, list, after);
}

static void put_member_u64(struct buf *b, const char *key, uint64_t v)
{
    buf_put_string(b, key);
    buf_put_u64(b, v);
}

static void put_member_bool(struct buf *b, const char *key, bool v)
{
    buf_put_string(b, key);
    buf_put_string(b, v ? "true" : "false");
}
