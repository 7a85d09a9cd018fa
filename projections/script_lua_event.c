/* script_lua_event: events as scripts see them: the names of the API. A field is made when it is
 * first asked for, since most handlers ask for few, and kept. */
#include "script_lua_int.h"
#include "storage/base/timestamp.h"

static void push_text(lua_State *L, struct bytes text)
{
    if (text.n == 0) {
        lua_pushnil(L);
    } else {
        lua_pushlstring(L, (const char *)text.p, text.n);
    }
}

static void push_data(lua_State *L, const struct event *e)
{
    if (e->data.n > 0 && event_content_is_json(e->content_type)) {
        script_json_push(L, e->data);
    } else {
        push_text(L, e->data);
    }
}

static void push_tags(lua_State *L, const struct event *e)
{
    lua_createtable(L, (int)e->tag_count, 0);
    for (uint32_t i = 0; i < e->tag_count; i++) {
        push_text(L, e->tags[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_entity(lua_State *L, const struct event *e)
{
    size_t n = event_category(e->stream).n;
    push_text(L,
              n == e->stream.n ? BYTES_NONE : bytes_of(e->stream.p + n + 1, e->stream.n - n - 1));
}

static bool push_number_field(lua_State *L, const struct event *e, const char *name)
{
    if (strcmp(name, "position") == 0) {
        lua_pushinteger(L, (lua_Integer)e->position);
    } else if (strcmp(name, "revision") == 0) {
        lua_pushinteger(L, (lua_Integer)e->revision);
    } else if (strcmp(name, "schema_version") == 0) {
        lua_pushinteger(L, e->schema_version);
    } else {
        return false;
    }
    return true;
}

static bool push_made_field(lua_State *L, const struct event *e, const char *name)
{
    char text[UUID_TEXT_BYTES > TIMESTAMP_TEXT_BYTES ? UUID_TEXT_BYTES : TIMESTAMP_TEXT_BYTES];
    if (strcmp(name, "id") == 0) {
        uuid_format(e->id.p, text);
        lua_pushlstring(L, text, UUID_TEXT_BYTES);
    } else if (strcmp(name, "time") == 0) {
        timestamp_format(e->time_us, text);
        lua_pushlstring(L, text, TIMESTAMP_TEXT_BYTES);
    } else if (strcmp(name, "entity") == 0) {
        push_entity(L, e);
    } else if (strcmp(name, "tags") == 0) {
        push_tags(L, e);
    } else if (strcmp(name, "data") == 0) {
        push_data(L, e);
    } else if (strcmp(name, "metadata") != 0) {
        return false;
    } else if (e->metadata.n > 0) {
        script_json_push(L, e->metadata);
    } else {
        lua_pushnil(L);
    }
    return true;
}

static bool push_text_field(lua_State *L, const struct event *e, const char *name)
{
    const struct {
        const char *name;
        struct bytes value;
    } fields[] = {{"type", e->type},
                  {"stream", e->stream},
                  {"category", event_category(e->stream)},
                  {"occurred_at", e->occurred_at},
                  {"content_type",
                   e->content_type.n == 0 ? BYTES_LITERAL("application/json") : e->content_type}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(name, fields[i].name) == 0) {
            push_text(L, fields[i].value);
            return true;
        }
    }
    return false;
}

static int event_index(lua_State *L)
{
    struct script_lua *s = script_lua_self(L);
    if (lua_topointer(L, 1) != s->event_table) {
        return luaL_error(L, "this event is over; copy what you need of it");
    }
    const char *name = luaL_checkstring(L, 2);
    if (!push_made_field(L, s->event, name) && !push_number_field(L, s->event, name) &&
        !push_text_field(L, s->event, name)) {
        return luaL_error(L, "an event has no field '%s'", name);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

void script_event_init(lua_State *L)
{
    luaL_newmetatable(L, "event");
    lua_pushcfunction(L, event_index);
    lua_setfield(L, -2, "__index");
}
