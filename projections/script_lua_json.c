/* script_lua_json: JSON to Lua and back, so that what a script does not touch comes back as it was.
 *
 * Integers of 64 bits are Lua's integers, other numbers floats; a number that neither can hold
 * (2^64, 1e400) is a userdata with its text. A table is an array where it is marked as one, or is
 * not empty and has the keys 1..n; else an object, whose keys must be texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "script_lua_int.h"

#define DEPTH_MAX        128
#define NUMBER_TEXT_MAX  400
#define SMALL_DIGITS_MAX 18
#define MEMBERS_AT_FIRST 4 /* room that a new object has */
#define ARRAY_TYPE       "array"
#define NUMBER_TYPE      "number that is too large"

struct parse {
    lua_State *L;
    const uint8_t *p, *end;
    unsigned depth;
};

static void push_value(struct parse *s);

/* ---- JSON to Lua ---- */

static _Noreturn void malformed(struct parse *s)
{
    luaL_error(s->L, "the JSON is damaged");
    abort(); /* luaL_error does not return */
}

static uint8_t peek(struct parse *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
    if (s->p == s->end) {
        malformed(s);
    }
    return *s->p;
}

static void expect(struct parse *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) {
        malformed(s);
    }
    s->p += n;
}

static unsigned hex4(struct parse *s)
{
    unsigned v = 0;
    if (s->end - s->p < 4) {
        malformed(s);
    }
    for (int i = 0; i < 4; i++) {
        unsigned c = *s->p++ | 0x20u;
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f')) {
            malformed(s);
        }
        v = v << 4 | (digit ? c - '0' : c - 'a' + 10);
    }
    return v;
}

/* A lone surrogate, which UTF-8 has no form for, is the replacement character. */
static unsigned code_point(struct parse *s)
{
    unsigned v = hex4(s);
    if (v >= 0xd800 && v < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        const uint8_t *before = s->p;
        s->p += 2;
        unsigned low = hex4(s);
        if (low >= 0xdc00 && low < 0xe000) {
            return 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
        }
        s->p = before;
    }
    return v >= 0xd800 && v < 0xe000 ? 0xfffd : v;
}

static void add_utf8(luaL_Buffer *b, unsigned c)
{
    if (c < 0x80) {
        luaL_addchar(b, (char)c);
    } else if (c < 0x800) {
        luaL_addchar(b, (char)(0xc0 | c >> 6));
        luaL_addchar(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        luaL_addchar(b, (char)(0xe0 | c >> 12));
        luaL_addchar(b, (char)(0x80 | (c >> 6 & 0x3f)));
        luaL_addchar(b, (char)(0x80 | (c & 0x3f)));
    } else {
        luaL_addchar(b, (char)(0xf0 | c >> 18));
        luaL_addchar(b, (char)(0x80 | (c >> 12 & 0x3f)));
        luaL_addchar(b, (char)(0x80 | (c >> 6 & 0x3f)));
        luaL_addchar(b, (char)(0x80 | (c & 0x3f)));
    }
}

static void add_escape(struct parse *s, luaL_Buffer *b)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end) {
        malformed(s);
    }
    uint8_t c = *s->p++;
    if (c == 'u') {
        add_utf8(b, code_point(s));
        return;
    }
    const char *at = c == '\0' ? NULL : strchr(from, c);
    if (at == NULL) {
        malformed(s);
    }
    luaL_addchar(b, to[at - from]);
}

static void push_string(struct parse *s)
{
    const uint8_t *start = ++s->p;
    const uint8_t *quote = memchr(start, '"', (size_t)(s->end - start));
    size_t plain = (size_t)((quote == NULL ? s->end : quote) - start);
    const uint8_t *escape = memchr(start, '\\', plain);
    if (quote != NULL && escape == NULL) { /* as it mostly is: no escapes */
        lua_pushlstring(s->L, (const char *)start, plain);
        s->p = quote + 1;
        return;
    }
    luaL_Buffer b;
    s->p = escape == NULL ? s->end : escape;
    luaL_buffinit(s->L, &b);
    luaL_addlstring(&b, (const char *)start, (size_t)(s->p - start));
    for (;;) {
        if (s->p == s->end) {
            malformed(s);
        }
        uint8_t c = *s->p++;
        if (c == '"') {
            break;
        }
        if (c == '\\') {
            add_escape(s, &b);
        } else {
            luaL_addchar(&b, (char)c);
        }
    }
    luaL_pushresult(&b);
}

static void push_literal(lua_State *L, struct bytes text)
{
    void *p = lua_newuserdatauv(L, text.n, 0);
    memcpy(p, text.p, text.n);
    luaL_setmetatable(L, NUMBER_TYPE);
}

/* Whether it is a plain integer of few digits, as most numbers are. */
static bool push_small_integer(struct parse *s)
{
    const uint8_t *p = s->p;
    bool negative = p < s->end && *p == '-';
    p += negative;
    const uint8_t *digits = p;
    lua_Integer v = 0;
    for (; p < s->end && *p >= '0' && *p <= '9'; p++) {
        if (p - digits == SMALL_DIGITS_MAX) {
            return false;
        }
        v = v * 10 + (*p - '0');
    }
    bool is_zero = negative && v == 0; /* -0 is a float */
    bool ends = p > digits && p < s->end && (*p == ',' || *p == '}' || *p == ']');
    if (!ends || is_zero) {
        return false;
    }
    lua_pushinteger(s->L, negative ? -v : v);
    s->p = p;
    return true;
}

static void push_number(struct parse *s)
{
    if (push_small_integer(s)) {
        return;
    }
    const uint8_t *start = s->p;
    bool is_float = false;
    for (; s->p < s->end && *s->p != '\0' && strchr("+-.0123456789eE", *s->p) != NULL; s->p++) {
        is_float = is_float || strchr(".eE", *s->p) != NULL;
    }
    struct bytes text = bytes_of(start, (size_t)(s->p - start));
    char copy[NUMBER_TEXT_MAX];
    if (text.n == 0) {
        malformed(s);
    }
    if (text.n >= sizeof copy) {
        push_literal(s->L, text);
        return;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    char *end;
    int64_t integer = strtoll(copy, &end, 10);
    bool fits = (integer != INT64_MAX && integer != INT64_MIN) ||
                strcmp(copy, "9223372036854775807") == 0 ||
                strcmp(copy, "-9223372036854775808") == 0;
    if (!is_float && fits && *end == '\0' && strcmp(copy, "-0") != 0) {
        lua_pushinteger(s->L, integer);
        return;
    }
    double real = strtod(copy, NULL);
    if (isinf(real) || (!is_float && !fits)) {
        push_literal(s->L, text);
    } else {
        lua_pushnumber(s->L, real);
    }
}

static void enter(struct parse *s, int members)
{
    if (++s->depth > DEPTH_MAX) {
        luaL_error(s->L, "the JSON is nested deeper than %d levels", DEPTH_MAX);
    }
    luaL_checkstack(s->L, 6, "too many values");
    s->p++;
    lua_createtable(s->L, 0, members);
}

static void push_array(struct parse *s)
{
    enter(s, 0);
    luaL_setmetatable(s->L, ARRAY_TYPE);
    for (lua_Integer i = 1; peek(s) != ']'; i++) {
        push_value(s);
        lua_rawseti(s->L, -2, i);
        if (peek(s) == ',') {
            s->p++;
        }
    }
    s->p++;
    s->depth--;
}

static void push_object(struct parse *s)
{
    enter(s, MEMBERS_AT_FIRST);
    while (peek(s) != '}') {
        if (*s->p != '"') {
            malformed(s);
        }
        push_string(s);
        (void)peek(s);
        expect(s, ":");
        push_value(s);
        lua_rawset(s->L, -3);
        if (peek(s) == ',') {
            s->p++;
        }
    }
    s->p++;
    s->depth--;
}

static void push_value(struct parse *s)
{
    switch (peek(s)) {
    case '{':
        push_object(s);
        break;
    case '[':
        push_array(s);
        break;
    case '"':
        push_string(s);
        break;
    case 'n':
        expect(s, "null");
        lua_pushlightuserdata(s->L, NULL);
        break;
    case 't':
        expect(s, "true");
        lua_pushboolean(s->L, 1);
        break;
    case 'f':
        expect(s, "false");
        lua_pushboolean(s->L, 0);
        break;
    default:
        push_number(s);
        break;
    }
}

void script_json_push(lua_State *L, struct bytes text)
{
    struct parse s = {.L = L, .p = text.p, .end = text.p + text.n};
    push_value(&s);
}

/* ---- Lua to JSON ---- */

static void put_value(lua_State *L, struct buf *b, unsigned depth);

static void put_string(lua_State *L, struct buf *b)
{
    size_t n;
    const char *p = lua_tolstring(L, -1, &n);
    if (!bytes_are_utf8(bytes_of(p, n))) {
        luaL_error(L, "a text of the state is not UTF-8");
    }
    buf_put_json_string(b, bytes_of(p, n));
}

static void put_float(lua_State *L, struct buf *b)
{
    double v = lua_tonumber(L, -1);
    if (isnan(v) || isinf(v)) {
        luaL_error(L, "a number of the state is not finite");
    }
    char text[40];
    int precision = 15;
    do {
        snprintf(text, sizeof text, "%.*g", precision, v);
    } while (strtod(text, NULL) != v && ++precision <= 17);
    buf_put_string(b, text);
    buf_put_string(b, strpbrk(text, ".e") == NULL ? ".0" : "");
}

/* Whether all keys are 1..n. */
static bool is_sequence(lua_State *L, lua_Unsigned n)
{
    lua_Unsigned count = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        count++;
        if (lua_isinteger(L, -1) == 0 || count > n) {
            lua_pop(L, 1);
            return false;
        }
    }
    return count == n;
}

static void put_array(lua_State *L, struct buf *b, lua_Unsigned n, unsigned depth)
{
    if (!is_sequence(L, n)) {
        luaL_error(L, "an array of the state has holes or named members");
    }
    buf_put_byte(b, '[');
    for (lua_Unsigned i = 1; i <= n; i++) {
        buf_put_string(b, i == 1 ? "" : ",");
        lua_rawgeti(L, -1, (lua_Integer)i);
        put_value(L, b, depth + 1);
        lua_pop(L, 1);
    }
    buf_put_byte(b, ']');
}

static int compare_names(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    return bytes_compare(*x, *y);
}

/* Names in a userdata, so that an error frees them; the texts are kept by the table. */
static struct bytes *sorted_names(lua_State *L, int table, size_t n)
{
    struct bytes *names = lua_newuserdatauv(L, n * sizeof *names, 0);
    size_t i = 0;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        names[i].p = (const uint8_t *)lua_tolstring(L, -1, &names[i].n);
        i++;
    }
    qsort(names, n, sizeof *names, compare_names);
    return names;
}

static size_t count_names(lua_State *L, int table)
{
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "a table of the state has keys that are neither texts nor 1 to n");
        }
        n++;
    }
    return n;
}

static void put_object(lua_State *L, struct buf *b, unsigned depth)
{
    int table = lua_gettop(L);
    size_t n = count_names(L, table);
    struct bytes *names = sorted_names(L, table, n);
    buf_put_byte(b, '{');
    for (size_t i = 0; i < n; i++) {
        buf_put_string(b, i == 0 ? "" : ",");
        lua_pushlstring(L, (const char *)names[i].p, names[i].n);
        put_string(L, b);
        buf_put_byte(b, ':');
        lua_rawget(L, table);
        put_value(L, b, depth + 1);
        lua_pop(L, 1);
    }
    buf_put_byte(b, '}');
    lua_pop(L, 1);
}

static void put_table(lua_State *L, struct buf *b, unsigned depth)
{
    if (depth > DEPTH_MAX) {
        luaL_error(L, "the state is nested deeper than %d levels", DEPTH_MAX);
    }
    luaL_checkstack(L, 8, "too many values");
    lua_Unsigned n = lua_rawlen(L, -1);
    bool marked = luaL_getmetafield(L, -1, "__name") != LUA_TNIL;
    if (marked) {
        bool array = strcmp(lua_tostring(L, -1), ARRAY_TYPE) == 0;
        lua_pop(L, 1);
        if (!array) {
            luaL_error(L, "a state cannot hold the event itself; copy what you need of it");
        }
    }
    if (marked || n > 0) {
        put_array(L, b, n, depth);
    } else {
        put_object(L, b, depth);
    }
}

static void put_userdata(lua_State *L, struct buf *b)
{
    if (luaL_testudata(L, -1, NUMBER_TYPE) == NULL) {
        luaL_error(L, "a state cannot hold this");
    }
    buf_put(b, bytes_of(lua_touserdata(L, -1), lua_rawlen(L, -1)));
}

static void put_value(lua_State *L, struct buf *b, unsigned depth)
{
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA:
        buf_put_string(b, "null");
        break;
    case LUA_TBOOLEAN:
        buf_put_string(b, lua_toboolean(L, -1) != 0 ? "true" : "false");
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1) != 0) {
            buf_put_format(b, "%lld", (long long)lua_tointeger(L, -1));
        } else {
            put_float(L, b);
        }
        break;
    case LUA_TSTRING:
        put_string(L, b);
        break;
    case LUA_TTABLE:
        put_table(L, b, depth);
        break;
    case LUA_TUSERDATA:
        put_userdata(L, b);
        break;
    default:
        luaL_error(L, "a state cannot hold a %s", luaL_typename(L, -1));
    }
}

void script_json_put(lua_State *L, struct buf *b)
{
    put_value(L, b, 1);
}

/* ---- what scripts see of it ---- */

static int number_to_text(lua_State *L)
{
    lua_pushlstring(L, luaL_checkudata(L, 1, NUMBER_TYPE), lua_rawlen(L, 1));
    return 1;
}

static int numbers_are_equal(lua_State *L)
{
    struct bytes a = bytes_of(luaL_checkudata(L, 1, NUMBER_TYPE), lua_rawlen(L, 1));
    struct bytes b = bytes_of(luaL_checkudata(L, 2, NUMBER_TYPE), lua_rawlen(L, 2));
    lua_pushboolean(L, bytes_equal(a, b));
    return 1;
}

/* array(t): marks a table as an array, so that it is one also when it is empty. */
static int mark_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_setmetatable(L, ARRAY_TYPE);
    return 1;
}

void script_json_init(lua_State *L)
{
    luaL_newmetatable(L, ARRAY_TYPE);
    luaL_newmetatable(L, NUMBER_TYPE);
    lua_pushcfunction(L, number_to_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, numbers_are_equal);
    lua_setfield(L, -2, "__eq");
    lua_pop(L, 2);
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    lua_pushcfunction(L, mark_array);
    lua_setglobal(L, "array");
}
