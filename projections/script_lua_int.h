/* script_lua_int: what the files that know Lua share: a script and its budgets, its sandbox,
 * events, and values between JSON and Lua. */
#ifndef DAYBOOK_PROJECTIONS_SCRIPT_LUA_INT_H
#define DAYBOOK_PROJECTIONS_SCRIPT_LUA_INT_H

#include <lauxlib.h>
#include <lua.h>

#include "script_lua.h"

/* What functions in C do is charged by the bytes that they go through. */
#define SCRIPT_BYTES_PER_STEP 64

struct script_lua {
    lua_State *L;
    size_t memory;
    long steps_left;
    bool exhausted, stopped;
    bool chooses_keys;
    bool (*cancelled)(void *ctx);
    void *cancel_ctx;
    struct store_filter filter;
    struct bytes types[STORE_FILTER_MAX], categories[STORE_FILTER_MAX];
    const struct event *event;
    const void *event_table;
    struct bytes keys[SCRIPT_KEYS_MAX];
    size_t key_count;
};

static inline struct script_lua *script_lua_self(lua_State *L)
{
    return *(struct script_lua **)lua_getextraspace(L);
}

/* All of these run inside a protected call and raise Lua errors. */

/* Opens the libraries without what could reach out, and bounds what is left. */
void script_sandbox_init(lua_State *L);
/* Pushes the metatable of events. */
void script_event_init(lua_State *L);

/* Makes the metatables and the globals `null` and `array`. */
void script_json_init(lua_State *L);
/* Pushes the value of a JSON text. `null` is a value of its own; numbers that neither an integer
 * nor a float holds are kept as they are written; an array stays an array, also when it is
 * empty. */
void script_json_push(lua_State *L, struct bytes text);
/* Appends the value at the top of the stack, the members of objects in the order of their names. */
void script_json_put(lua_State *L, struct buf *b);

#endif
