/* script_lua: see script_lua.h. Every call into Lua is a protected one. Steps are bounded by a
 * hook, memory and the size of one piece by the allocator, time by `cancelled`; the rest of the
 * sandbox is in script_lua_sandbox.c. */
#include "script_lua.h"

#include <stdlib.h>

#include "script_lua_int.h"
#include "storage/base/check.h"

#define STEPS_MAX       10000000
#define HOOK_STEPS      1000
#define GC_MINOR        10 /* per cent of new memory, then the young are collected */
#define PIECE_BYTES_MAX ((size_t)4 << 20)
#define CHUNK_NAME      "=script"

/* What is kept, in the registry. */
enum slot { AT_SCRIPT = 100, AT_ON, AT_STATES, AT_EVENT_META, AT_EVENT, AT_HANDLER, AT_KEYS };

/* What a protected call works with. */
struct call {
    struct script_lua *s;
    struct bytes source, key, json;
    const struct event *event;
    struct buf *buf;
    bool deleted, missing;
};

/* ---- budgets ---- */

static void *allocate(void *ctx, void *p, size_t old, size_t n)
{
    struct script_lua *s = ctx;
    size_t had = p == NULL ? 0 : old; /* without a pointer `old` is a type */
    if (n == 0) {
        free(p);
        s->memory -= had;
        return NULL;
    }
    s->steps_left -= n > had ? (long)((n - had) / SCRIPT_BYTES_PER_STEP) : 0;
    if (n > had && (n > PIECE_BYTES_MAX || s->memory - had + n > SCRIPT_MEMORY_MAX)) {
        return NULL;
    }
    void *grown = realloc(p, n);
    if (grown != NULL) {
        s->memory += n - had;
    }
    return grown;
}

static void on_steps(lua_State *L, lua_Debug *ar)
{
    struct script_lua *s = script_lua_self(L);
    s->steps_left -= HOOK_STEPS;
    s->exhausted = s->steps_left <= 0;
    s->stopped = s->cancelled != NULL && s->cancelled(s->cancel_ctx);
    if (s->exhausted || s->stopped) {
        const char *what = s->exhausted ? "steps" : "time";
        lua_getinfo(L, "l", ar);
        luaL_error(L, "script:%d: it takes more %s than it may", ar->currentline, what);
    }
}

/* ---- protected calls ---- */

/* "script:3: what" is told as "line 3: what". */
static err_t tell(struct script_lua *s, int status, struct err_text *et)
{
    const char *text = lua_type(s->L, -1) == LUA_TSTRING ? lua_tostring(s->L, -1) : NULL;
    const char *line = text != NULL && strncmp(text, "script:", 7) == 0 ? text + 7 : NULL;
    err_t err = s->stopped ? ERR_CLOSED : s->exhausted ? ERR_LIMIT : ERR_INVALID;
    if (status == LUA_ERRMEM) {
        err = err_set(et, ERR_LIMIT, "it takes more memory than it may");
    } else if (line != NULL) {
        err = err_set(et, err, "line %s", line);
    } else {
        err = err_set(et, err, "%s", text == NULL ? "it raised an error that is no text" : text);
    }
    lua_settop(s->L, 0);
    return err;
}

static err_t protect(struct script_lua *s, lua_CFunction function, struct call *c,
                     struct err_text *et)
{
    c->s = s;
    s->exhausted = s->stopped = false;
    lua_pushcfunction(s->L, function);
    lua_pushlightuserdata(s->L, c);
    int status = lua_pcall(s->L, 1, 0, 0);
    return status == LUA_OK ? ERR_OK : tell(s, status, et);
}

static void slot_get(lua_State *L, enum slot slot)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, (lua_Integer)slot);
}

static void slot_set(lua_State *L, enum slot slot)
{
    lua_rawseti(L, LUA_REGISTRYINDEX, (lua_Integer)slot);
}

/* ---- opening ---- */

static void read_list(lua_State *L, const char *name, struct bytes *ret, size_t *ret_n)
{
    lua_getfield(L, -1, name);
    if (lua_type(L, -1) == LUA_TSTRING) { /* one is as good as a list of one */
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, name);
    }
    if (!lua_isnil(L, -1) && !lua_istable(L, -1)) {
        luaL_error(L, "'%s' must be a text or a list of texts", name);
    }
    size_t n = lua_isnil(L, -1) ? 0 : (size_t)lua_rawlen(L, -1);
    if (n > STORE_FILTER_MAX) {
        luaL_error(L, "'%s' has more than %d names", name, STORE_FILTER_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "'%s' must be a list of texts", name);
        }
        ret[i].p = (const uint8_t *)lua_tolstring(L, -1, &ret[i].n);
        lua_pop(L, 1); /* the script's table keeps it */
    }
    *ret_n = n;
    lua_pop(L, 1);
}

/* Without `types` it takes those that have a handler. */
static void types_of_handlers(lua_State *L, struct script_lua *s)
{
    int top = lua_gettop(L);
    slot_get(L, AT_ON);
    lua_getfield(L, -1, "*");
    bool any = !lua_isnil(L, -1);
    lua_pop(L, 1);
    size_t n = 0;
    lua_pushnil(L);
    while (!any && n <= STORE_FILTER_MAX && lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        if (n < STORE_FILTER_MAX) {
            s->types[n].p = (const uint8_t *)lua_tolstring(L, -1, &s->types[n].n);
        }
        n++;
    }
    s->filter.type_count = any || n > STORE_FILTER_MAX ? 0 : n;
    lua_settop(L, top);
}

static void check_handlers(lua_State *L)
{
    lua_getfield(L, -1, "on");
    if (!lua_istable(L, -1)) {
        luaL_error(L, "the script must return a table with 'on', a table of handlers");
    }
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (!lua_isfunction(L, -1) || lua_type(L, -2) != LUA_TSTRING) {
            luaL_error(L, "'on' must have functions by event type");
        }
        lua_pop(L, 1);
        n++;
    }
    if (n == 0) {
        luaL_error(L, "'on' has no handlers");
    }
    slot_set(L, AT_ON);
}

static bool check_function(lua_State *L, const char *name)
{
    bool there = lua_getfield(L, -1, name) != LUA_TNIL;
    if (there && !lua_isfunction(L, -1)) {
        luaL_error(L, "'%s' must be a function", name);
    }
    lua_pop(L, 1);
    return there;
}

static int do_open(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct script_lua *s = c->s;
    script_sandbox_init(L);
    script_json_init(L);
    script_event_init(L);
    slot_set(L, AT_EVENT_META);
    lua_newtable(L);
    slot_set(L, AT_STATES);
    if (luaL_loadbufferx(L, (const char *)c->source.p, c->source.n, CHUNK_NAME, "t") != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1)) {
        return luaL_error(L, "the script must return a table with 'on', a table of handlers");
    }
    check_handlers(L);
    (void)check_function(L, "init");
    s->chooses_keys = check_function(L, "key");
    read_list(L, "category", s->categories, &s->filter.category_count);
    read_list(L, "types", s->types, &s->filter.type_count);
    if (s->filter.type_count == 0) {
        types_of_handlers(L, s);
    }
    slot_set(L, AT_SCRIPT);
    return 0;
}

err_t script_lua_open(struct bytes source, struct script_lua **ret, struct err_text *et)
{
    struct script_lua *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    s->filter.types = s->types;
    s->filter.categories = s->categories;
    s->steps_left = STEPS_MAX;
    s->L = lua_newstate(allocate, s);
    if (s->L == NULL) {
        free(s);
        return ERR_MEMORY;
    }
    *(struct script_lua **)lua_getextraspace(s->L) = s;
    lua_sethook(s->L, on_steps, LUA_MASKCOUNT, HOOK_STEPS);
    /* Events die young beside states that stay, and what is used again soon is in the cache still.
     */
    (void)lua_gc(s->L, LUA_GCGEN, GC_MINOR, 0);
    struct call c = {.source = source.n == 0 ? BYTES_LITERAL("") : source};
    err_t err = protect(s, do_open, &c, et);
    if (err != ERR_OK) {
        script_lua_close(s);
        return ERR_INVALID;
    }
    *ret = s;
    return ERR_OK;
}

void script_lua_close(struct script_lua *s)
{
    if (s != NULL) {
        lua_close(s->L);
        free(s);
    }
}

const struct store_filter *script_lua_filter(const struct script_lua *s)
{
    return &s->filter;
}

bool script_lua_chooses_keys(const struct script_lua *s)
{
    return s->chooses_keys;
}

void script_lua_set_cancel(struct script_lua *s, bool (*cancelled)(void *ctx), void *ctx)
{
    s->cancelled = cancelled;
    s->cancel_ctx = ctx;
}

bool script_lua_is_heavy(struct script_lua *s)
{
    if (s->memory <= SCRIPT_MEMORY_MAX / 2) {
        return false;
    }
    (void)lua_gc(s->L, LUA_GCCOLLECT);
    return s->memory > SCRIPT_MEMORY_MAX / 2;
}

/* ---- an event ---- */

/* Pushes its handler, or nil. */
static void push_handler(lua_State *L, const struct event *e)
{
    slot_get(L, AT_ON);
    lua_pushlstring(L, (const char *)e->type.p, e->type.n);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_getfield(L, -1, "*");
    }
    lua_remove(L, -2);
}

/* The key at the top, which stays there. */
static void add_key(lua_State *L, struct script_lua *s)
{
    if (lua_type(L, -1) != LUA_TSTRING && lua_isinteger(L, -1) == 0) {
        luaL_error(L, "a key must be a text or an integer, not a %s", luaL_typename(L, -1));
    }
    struct bytes key;
    key.p = (const uint8_t *)lua_tolstring(L, -1, &key.n);
    if (!event_name_is_valid(key)) {
        luaL_error(L, "a key must be 1 to %d bytes of UTF-8 without control characters",
                   EVENT_NAME_MAX);
    }
    for (size_t i = 0; i < s->key_count; i++) {
        if (bytes_equal(s->keys[i], key)) {
            return;
        }
    }
    if (s->key_count == SCRIPT_KEYS_MAX) {
        luaL_error(L, "an event has more than %d keys", SCRIPT_KEYS_MAX);
    }
    s->keys[s->key_count++] = key;
}

/* What key() has returned is at the top; it is kept as long as the event. */
static void take_keys(lua_State *L, struct script_lua *s)
{
    lua_newtable(L);
    lua_pushvalue(L, -1);
    slot_set(L, AT_KEYS);
    lua_insert(L, -2);
    bool list = lua_istable(L, -1);
    lua_Integer n = list ? (lua_Integer)lua_rawlen(L, -1) : 1;
    for (lua_Integer i = 1; i <= n && !lua_isnil(L, -1); i++) {
        if (list) {
            lua_rawgeti(L, -1, i);
        } else {
            lua_pushvalue(L, -1);
        }
        add_key(L, s);
        lua_rawseti(L, -3, i);
    }
}

static int do_begin(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct script_lua *s = c->s;
    lua_createtable(L, 0, 2);
    slot_get(L, AT_EVENT_META);
    lua_setmetatable(L, -2);
    s->event_table = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    slot_set(L, AT_EVENT);
    push_handler(L, c->event);
    if (lua_isnil(L, -1)) {
        return 0;
    }
    slot_set(L, AT_HANDLER);
    slot_get(L, AT_SCRIPT);
    if (lua_getfield(L, -1, "key") == LUA_TNIL) {
        s->keys[s->key_count++] = c->event->stream;
        return 0;
    }
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    take_keys(L, s);
    return 0;
}

err_t script_lua_begin(struct script_lua *s, const struct event *e, const struct bytes **ret_keys,
                       size_t *ret_n, struct err_text *et)
{
    struct call c = {.event = e};
    s->event = e;
    s->key_count = 0;
    s->steps_left = STEPS_MAX;
    err_t err = protect(s, do_begin, &c, et);
    *ret_keys = s->keys;
    *ret_n = s->key_count;
    return err;
}

static int do_load(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    slot_get(L, AT_STATES);
    lua_pushlstring(L, (const char *)c->key.p, c->key.n);
    if (c->json.n > 0) {
        script_json_push(L, c->json);
    } else {
        slot_get(L, AT_SCRIPT);
        if (lua_getfield(L, -1, "init") != LUA_TNIL) {
            lua_call(L, 0, 1);
        } else {
            lua_pop(L, 1);
            lua_newtable(L);
        }
        lua_remove(L, -2);
        if (lua_isnil(L, -1)) {
            return luaL_error(L, "'init' returned nil");
        }
    }
    lua_rawset(L, -3);
    return 0;
}

err_t script_lua_load(struct script_lua *s, struct bytes key, struct bytes json,
                      struct err_text *et)
{
    struct call c = {.key = key, .json = json};
    return protect(s, do_load, &c, et);
}

/* A handler that forgets its `return` must not delete the document. */
static int do_fold(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    slot_get(L, AT_STATES);
    lua_pushlstring(L, (const char *)c->key.p, c->key.n);
    int base = lua_gettop(L);
    slot_get(L, AT_HANDLER);
    lua_pushvalue(L, base);
    c->missing = lua_rawget(L, base - 1) == LUA_TNIL;
    if (c->missing) {
        return 0;
    }
    slot_get(L, AT_EVENT);
    lua_call(L, 2, LUA_MULTRET);
    if (lua_gettop(L) == base) {
        return luaL_error(L, "the handler returned nothing; it must return the state, or nil to "
                             "delete the document");
    }
    lua_settop(L, base + 1);
    c->deleted = lua_isnil(L, -1);
    lua_rawset(L, base - 1);
    return 0;
}

err_t script_lua_fold(struct script_lua *s, struct bytes key, bool *ret_deleted,
                      struct err_text *et)
{
    struct call c = {.key = key};
    err_t err = protect(s, do_fold, &c, et);
    *ret_deleted = c.deleted;
    return err == ERR_OK && c.missing ? ERR_NOT_FOUND : err;
}

static int do_save(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    slot_get(L, AT_STATES);
    lua_pushlstring(L, (const char *)c->key.p, c->key.n);
    lua_rawget(L, -2);
    script_json_put(L, c->buf);
    return 0;
}

err_t script_lua_save(struct script_lua *s, struct bytes key, struct buf *ret, struct err_text *et)
{
    struct call c = {.key = key, .buf = ret};
    size_t before = ret->n;
    err_t err = protect(s, do_save, &c, et);
    if (err == ERR_OK && ret->n - before > SCRIPT_STATE_MAX) {
        err = err_set(et, ERR_LIMIT, "the state is larger than %zu bytes", SCRIPT_STATE_MAX);
    }
    return err == ERR_OK ? buf_status(ret) : err;
}

static int do_forget(lua_State *L)
{
    lua_newtable(L);
    slot_set(L, AT_STATES);
    return 0;
}

void script_lua_forget(struct script_lua *s)
{
    struct call c = {0};
    s->steps_left = STEPS_MAX;
    (void)protect(s, do_forget, &c, NULL);
    (void)lua_gc(s->L, LUA_GCCOLLECT);
}
