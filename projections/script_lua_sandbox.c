/* script_lua_sandbox: what a script may call.
 *
 * What could reach out, run without end or differ from run to run is not there: no io, os, require,
 * load, debug, coroutine, no pcall (a budget that is used up must not be caught), no metatables, no
 * random; `pairs` goes in the order of the keys and `tostring` shows no addresses. What runs in C,
 * where no step is counted, is charged by what it goes through; patterns are refused by what they
 * may cost at the worst. */
#include <lualib.h>

#include "script_lua_int.h"

#define PATTERN_COST_MAX 2e8

static int safe_tostring(lua_State *L)
{
    int type = lua_type(L, 1);
    luaL_checkany(L, 1);
    if (type == LUA_TLIGHTUSERDATA) {
        lua_pushliteral(L, "null");
    } else if (type == LUA_TTABLE || type == LUA_TFUNCTION) {
        lua_pushstring(L, lua_typename(L, type)); /* else its address */
    } else {
        luaL_tolstring(L, 1, NULL);
    }
    return 1;
}

static int safe_format(lua_State *L)
{
    const char *format = luaL_checkstring(L, 1);
    for (const char *p = strchr(format, '%'); p != NULL; p = strchr(p + 2, '%')) {
        if (p[1] == '\0') {
            break;
        }
        luaL_argcheck(L, p[strspn(p + 1, "-+ #0123456789.") + 1] != 'p', 1, "%p is not allowed");
    }
    for (int i = 2; i <= lua_gettop(L); i++) {
        int type = lua_type(L, i);
        luaL_argcheck(L,
                      type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER ||
                          type == LUA_TSTRING,
                      i, "a text, number, boolean or nil is expected");
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* What matching may cost at the worst: each repetition may be tried at each length, from each place
 * of the text, each try against all of a set. */
static double pattern_cost(struct bytes text, struct bytes pattern)
{
    double n = (double)text.n + 1, cost = pattern.n > 0 && pattern.p[0] == '^' ? 1 : n;
    for (size_t i = 0; i < pattern.n; i++) {
        uint8_t c = pattern.p[i];
        if (c == '%' && i + 1 < pattern.n) {
            uint8_t next = pattern.p[++i];
            bool long_item = next == 'b' || (next >= '0' && next <= '9');
            cost *= long_item ? n : 1;
        } else if (c == '*' || c == '+' || c == '-') {
            cost *= n;
        } else if (c == '?') {
            cost *= 2;
        }
    }
    return pattern.n > 0 && memchr(pattern.p, '[', pattern.n) != NULL ? cost * (double)pattern.n
                                                                      : cost;
}

/* find, match, gmatch, gsub: their patterns run in C, where no step is counted. */
static int safe_pattern(lua_State *L)
{
    struct bytes text, pattern;
    text.p = (const uint8_t *)luaL_checklstring(L, 1, &text.n);
    pattern.p = (const uint8_t *)luaL_checklstring(L, 2, &pattern.n);
    script_lua_self(L)->steps_left -= (long)(text.n / SCRIPT_BYTES_PER_STEP);
    bool plain = lua_toboolean(L, lua_upvalueindex(2)) != 0 && lua_toboolean(L, 4) != 0;
    if (!plain && pattern_cost(text, pattern) > PATTERN_COST_MAX) {
        return luaL_error(L,
                          "the pattern may take too long on a text of %d bytes; anchor it with ^, "
                          "use fewer repetitions, or find plain text",
                          (int)text.n);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* Functions that go through a whole table or text in C. Where the steps are used up the next hook
 * says so; it comes within HOOK_STEPS calls. */
static int charged(lua_State *L)
{
    size_t n = lua_type(L, 1) == LUA_TTABLE || lua_type(L, 1) == LUA_TSTRING
                   ? (size_t)lua_rawlen(L, 1)
                   : 0;
    bool appends = lua_toboolean(L, lua_upvalueindex(2)) != 0 && lua_gettop(L) < 3;
    struct script_lua *s = script_lua_self(L);
    s->steps_left -= appends ? 0 : (long)(n / 4);
    if (s->steps_left <= 0) {
        s->exhausted = true;
        return luaL_error(L, "it takes more steps than it may");
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void wrap(lua_State *L, const char *name, lua_CFunction function, bool flag)
{
    lua_getfield(L, -1, name);
    lua_pushboolean(L, flag);
    lua_pushcclosure(L, function, 2);
    lua_setfield(L, -2, name);
}

static void remove_names(lua_State *L, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

static void open_libraries(lua_State *L)
{
    static const luaL_Reg libraries[] = {{LUA_GNAME, luaopen_base},
                                         {LUA_STRLIBNAME, luaopen_string},
                                         {LUA_TABLIBNAME, luaopen_table},
                                         {LUA_MATHLIBNAME, luaopen_math},
                                         {LUA_UTF8LIBNAME, luaopen_utf8}};
    static const char *const globals[] = {
        "collectgarbage", "dofile",       "getmetatable", "load",   "loadfile",
        "pcall",          "print",        "rawequal",     "rawget", "rawlen",
        "rawset",         "setmetatable", "warn",         "xpcall", NULL};
    static const char *const of_math[] = {"random", "randomseed", NULL};
    static const char *const of_string[] = {"dump", NULL};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
        lua_pop(L, 1);
    }
    lua_pushglobaltable(L);
    remove_names(L, globals);
    lua_pushcfunction(L, safe_tostring);
    lua_setfield(L, -2, "tostring");
    lua_getfield(L, -1, LUA_MATHLIBNAME);
    remove_names(L, of_math);
    lua_getfield(L, -2, LUA_STRLIBNAME);
    remove_names(L, of_string);
    wrap(L, "format", safe_format, false);
    wrap(L, "find", safe_pattern, true);
    wrap(L, "match", safe_pattern, false);
    wrap(L, "gmatch", safe_pattern, false);
    wrap(L, "gsub", safe_pattern, false);
    lua_getfield(L, -3, LUA_TABLIBNAME);
    wrap(L, "insert", charged, true);
    wrap(L, "remove", charged, false);
    wrap(L, "move", charged, false);
    wrap(L, "sort", charged, false);
    lua_getfield(L, -4, LUA_UTF8LIBNAME);
    wrap(L, "len", charged, false);
    wrap(L, "offset", charged, false);
    lua_pop(L, 5);
}

/* `pairs` in the order of the keys: the order of a table is another in each process. */
static const char PRELUDE[] = "local next, sort, type = next, table.sort, type\n"
                              "local rank = {number = 1, string = 2, boolean = 3}\n"
                              "local function before(a, b)\n"
                              "  local x, y = type(a), type(b)\n"
                              "  if x ~= y then return (rank[x] or 4) < (rank[y] or 4) end\n"
                              "  if x == 'boolean' then return b and not a end\n"
                              "  return a < b\n"
                              "end\n"
                              "function pairs(t)\n"
                              "  local keys, n, i = {}, 0, 0\n"
                              "  for k in next, t do n = n + 1 keys[n] = k end\n"
                              "  sort(keys, before)\n"
                              "  return function()\n"
                              "    while i < n do\n"
                              "      i = i + 1\n"
                              "      local v = t[keys[i]]\n"
                              "      if v ~= nil then return keys[i], v end\n"
                              "    end\n"
                              "  end\n"
                              "end\n"
                              "_G.next = nil\n";

void script_sandbox_init(lua_State *L)
{
    open_libraries(L);
    if (luaL_loadbufferx(L, PRELUDE, sizeof PRELUDE - 1, "=prelude", "t") != LUA_OK) {
        lua_error(L);
    }
    lua_call(L, 0, 0);
}
