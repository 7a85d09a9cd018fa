/* sql_guard: see sql_guard.h. */
#include "sql_guard.h"

#include "sql.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH_MAX 100000 /* of a field of printf */
#define SPEC_MAX  64
#define MATCH_MAX                                                                    \
    UINT64_C(100000000)  /* bytes of a pattern times bytes of a text: under a second \
                          */
#define TRIM_WIDE_MAX 64 /* characters beyond ASCII in the set of a trim */

/* ---- memory ---- */

static _Thread_local struct {
    bool on, refused;
    int64_t left;
} budget;

static sqlite3_mem_methods own; /* SQLite's */

static bool may_take(int n)
{
    if (budget.on && n > budget.left) {
        budget.refused = true;
        return false;
    }
    return true;
}

static void *take(int n)
{
    void *p = may_take(n) ? own.xMalloc(n) : NULL;
    if (p != NULL && budget.on) {
        budget.left -= own.xSize(p);
    }
    return p;
}

static void give(void *p)
{
    if (p != NULL && budget.on) {
        budget.left += own.xSize(p);
    }
    own.xFree(p);
}

static void *take_again(void *p, int n)
{
    int before = own.xSize(p);
    void *again = may_take(n - before) ? own.xRealloc(p, n) : NULL;
    if (again != NULL && budget.on) {
        budget.left -= own.xSize(again) - before;
    }
    return again;
}

void sql_guard_init(void)
{
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &own) == SQLITE_OK) {
        sqlite3_mem_methods counted = own;
        counted.xMalloc = take;
        counted.xFree = give;
        counted.xRealloc = take_again;
        (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &counted);
    }
}

void sql_guard_enter(int64_t left)
{
    budget.on = true;
    budget.refused = false;
    budget.left = left;
}

bool sql_guard_leave(int64_t *ret_left)
{
    budget.on = false;
    *ret_left = budget.left;
    return budget.refused;
}

/* ---- limits of a connection ---- */

static void set_limits(sqlite3 *db)
{
    static const struct {
        int what, value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, (int)SQL_VALUE_BYTES_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, (int)SQL_TEXT_BYTES_MAX},
        {SQLITE_LIMIT_COLUMN, 500},
        {SQLITE_LIMIT_EXPR_DEPTH, 200},
        {SQLITE_LIMIT_COMPOUND_SELECT, 100},
        {SQLITE_LIMIT_VDBE_OP, 250000},
        {SQLITE_LIMIT_FUNCTION_ARG, 100},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
        {SQLITE_LIMIT_VARIABLE_NUMBER, 1000},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 10},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        sqlite3_limit(db, limits[i].what, limits[i].value);
    }
}

/* Double-quoted strings are off, so that a column's misspelt name is an error and no text. */
static void set_flags(sqlite3 *db)
{
    static const struct {
        int what, value;
    } flags[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        (void)sqlite3_db_config(db, flags[i].what, flags[i].value, NULL);
    }
}

void sql_guard_limit(struct sqlite3 *db)
{
    set_limits(db);
    set_flags(db);
}

/* ---- functions: what they share ---- */

struct guard {
    sql_guard_spend spend;
    void *ctx;
};

static bool spend(sqlite3_context *c, uint64_t bytes)
{
    const struct guard *g = sqlite3_user_data(c);
    if (g->spend(g->ctx, bytes)) {
        return true;
    }
    sqlite3_result_error_code(c, SQLITE_INTERRUPT);
    return false;
}

/* False: NULL, or no memory, and the result is that. */
static bool text_of(sqlite3_context *c, sqlite3_value *v, struct bytes *ret)
{
    if (sqlite3_value_type(v) == SQLITE_NULL) {
        return false; /* the result is NULL unless it is set */
    }
    const unsigned char *p = sqlite3_value_text(v);
    if (p == NULL) {
        sqlite3_result_error_nomem(c);
        return false;
    }
    *ret = bytes_of(p, (size_t)sqlite3_value_bytes(v));
    return true;
}

static size_t characters(struct bytes text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        n += (text.p[i] & 0xc0) != 0x80;
    }
    return n;
}

/* ---- instr, replace ---- */

/* memmem is linear. */
static void do_instr(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    struct bytes text, wanted;
    bool blobs = sqlite3_value_type(v[0]) == SQLITE_BLOB && sqlite3_value_type(v[1]) == SQLITE_BLOB;
    if (blobs) {
        text = bytes_of(sqlite3_value_blob(v[0]), (size_t)sqlite3_value_bytes(v[0]));
        wanted = bytes_of(sqlite3_value_blob(v[1]), (size_t)sqlite3_value_bytes(v[1]));
    } else if (!text_of(c, v[0], &text) || !text_of(c, v[1], &wanted)) {
        return;
    }
    if (wanted.n == 0) {
        sqlite3_result_int(c, 1);
        return;
    }
    if (!spend(c, text.n + wanted.n)) {
        return;
    }
    const uint8_t *at = text.n == 0 ? NULL : memmem(text.p, text.n, wanted.p, wanted.n);
    size_t before = at == NULL ? 0 : (size_t)(at - text.p);
    before = blobs ? before : characters(bytes_of(text.p, before));
    sqlite3_result_int64(c, at == NULL ? 0 : (sqlite3_int64)before + 1);
}

static void replace_all(sqlite3_context *c, struct bytes text, struct bytes old, struct bytes new)
{
    sqlite3_str *s = sqlite3_str_new(sqlite3_context_db_handle(c));
    size_t i = 0;
    const uint8_t *at;
    while (i < text.n && (at = memmem(text.p + i, text.n - i, old.p, old.n)) != NULL) {
        size_t before = (size_t)(at - text.p) - i;
        sqlite3_str_append(s, (const char *)text.p + i, (int)before);
        sqlite3_str_append(s, (const char *)new.p, (int)new.n);
        i += before + old.n;
        if (sqlite3_str_errcode(s) != SQLITE_OK) {
            break;
        }
    }
    sqlite3_str_append(s, (const char *)text.p + i, (int)(text.n - i));
    int code = sqlite3_str_errcode(s), length = sqlite3_str_length(s);
    char *result = sqlite3_str_finish(s);
    if (code != SQLITE_OK) {
        sqlite3_free(result);
        sqlite3_result_error_code(c, code);
    } else if (result == NULL) {
        sqlite3_result_text(c, "", 0, SQLITE_STATIC);
    } else {
        sqlite3_result_text(c, result, length, sqlite3_free);
    }
}

static void do_replace(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    struct bytes text, old, new;
    if (!text_of(c, v[0], &text) || !text_of(c, v[1], &old)) {
        return;
    }
    if (old.n == 0) {
        sqlite3_result_value(c, v[0]);
    } else if (text_of(c, v[2], &new) && spend(c, text.n + new.n)) {
        replace_all(c, text, old, new);
    }
}

/* ---- trim ---- */

struct set {
    bool ascii[128];
    struct bytes wide[TRIM_WIDE_MAX];
    size_t wide_n;
};

/* Bytes of the character that begins at p[0]. */
static size_t length_of(const uint8_t *p, size_t n)
{
    size_t i = 1;
    while (p[0] >= 0xc0 && i < n && (p[i] & 0xc0) == 0x80) {
        i++;
    }
    return i;
}

static bool read_set(struct bytes text, struct set *ret)
{
    *ret = (struct set){0};
    for (size_t i = 0; i < text.n;) {
        size_t n = length_of(text.p + i, text.n - i);
        if (n == 1 && text.p[i] < 128) {
            ret->ascii[text.p[i]] = true;
        } else if (ret->wide_n == TRIM_WIDE_MAX) {
            return false;
        } else {
            ret->wide[ret->wide_n++] = bytes_of(text.p + i, n);
        }
        i += n;
    }
    return true;
}

/* How many bytes at the front, or at the end, are one character of the set; 0: none. */
static size_t matches(const struct set *set, struct bytes text, bool at_end)
{
    const uint8_t *p = at_end ? text.p + text.n - 1 : text.p;
    if (text.n == 0 || (*p < 128 && !set->ascii[*p])) {
        return 0;
    }
    for (size_t i = 0; *p >= 128 && i < set->wide_n; i++) {
        struct bytes w = set->wide[i];
        if (w.n <= text.n && memcmp(at_end ? text.p + text.n - w.n : text.p, w.p, w.n) == 0) {
            return w.n;
        }
    }
    return *p < 128;
}

static void trim(sqlite3_context *c, sqlite3_value **v, bool left, bool right)
{
    struct bytes text, wanted;
    struct set set;
    if (!text_of(c, v[0], &text) || !text_of(c, v[1], &wanted)) {
        return;
    }
    if (!read_set(wanted, &set)) {
        sqlite3_result_error(c, "a trim has too many characters beyond ASCII", -1);
        return;
    }
    if (!spend(c, text.n * (1 + set.wide_n) + wanted.n)) {
        return;
    }
    for (size_t n; left && (n = matches(&set, text, false)) > 0;) {
        text = bytes_of(text.p + n, text.n - n);
    }
    for (size_t n; right && (n = matches(&set, text, true)) > 0;) {
        text.n -= n;
    }
    sqlite3_result_text(c, text.n == 0 ? "" : (const char *)text.p, (int)text.n, SQLITE_TRANSIENT);
}

static void do_trim(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    trim(c, v, true, true);
}

static void do_ltrim(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    trim(c, v, true, false);
}

static void do_rtrim(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    trim(c, v, false, true);
}

/* ---- like, glob ---- */

/* At worst each place of the text is compared with the whole pattern, and nobody can interrupt
 * that. */
static bool can_match(sqlite3_context *c, struct bytes pattern, struct bytes text)
{
    if (pattern.n >
        (size_t)sqlite3_limit(sqlite3_context_db_handle(c), SQLITE_LIMIT_LIKE_PATTERN_LENGTH, -1)) {
        sqlite3_result_error(c, "LIKE or GLOB pattern too complex", -1);
        return false;
    }
    if (pattern.n * text.n > MATCH_MAX) {
        sqlite3_result_error(c, "a LIKE or GLOB pattern is too long for so long a text", -1);
        return false;
    }
    return spend(c, pattern.n * text.n);
}

static void do_like(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct bytes pattern, text, escape = BYTES_NONE;
    if (!text_of(c, v[0], &pattern) || !text_of(c, v[1], &text) ||
        (n == 3 && !text_of(c, v[2], &escape))) {
        return;
    }
    if (n == 3 && (escape.n != 1 || escape.p[0] >= 128)) {
        sqlite3_result_error(c, "ESCAPE expression must be a single ASCII character", -1);
    } else if (can_match(c, pattern, text)) {
        int differs = sqlite3_strlike((const char *)pattern.p, (const char *)text.p,
                                      n == 3 ? escape.p[0] : 0);
        sqlite3_result_int(c, differs == 0);
    }
}

static void do_glob(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    struct bytes pattern, text;
    if (text_of(c, v[0], &pattern) && text_of(c, v[1], &text) && can_match(c, pattern, text)) {
        int differs = sqlite3_strglob((const char *)pattern.p, (const char *)text.p);
        sqlite3_result_int(c, differs == 0);
    }
}

/* ---- printf ---- */

/* One "%…" of a format, with its numbers bounded. */
struct spec {
    char text[SPEC_MAX];
    size_t n;
    char conversion; /* 0: the format ends within it */
};

struct printing {
    sqlite3_context *c;
    sqlite3_str *out;
    sqlite3_value **v;
    int n, next; /* arguments */
};

static sqlite3_value *next_value(struct printing *p)
{
    return p->next < p->n ? p->v[p->next++] : NULL;
}

static sqlite3_int64 next_integer(struct printing *p)
{
    sqlite3_value *v = next_value(p);
    return v == NULL ? 0 : sqlite3_value_int64(v);
}

/* A number, or '*' and the next argument; false: it is too large. */
static bool read_number(struct printing *p, const char **at, struct spec *s)
{
    char digits[24];
    sqlite3_int64 number = 0;
    if (**at == '*') {
        (*at)++;
        number = next_integer(p);
    } else if (isdigit((unsigned char)**at) == 0) {
        return true;
    }
    for (; isdigit((unsigned char)**at) != 0; (*at)++) {
        number = number > WIDTH_MAX ? number : number * 10 + (**at - '0');
    }
    if (number > WIDTH_MAX || number < -WIDTH_MAX) {
        return false;
    }
    bool precision = s->text[s->n - 1] == '.'; /* a width may be negative: to the left */
    number = precision && number < 0 ? -number : number;
    sqlite3_snprintf(sizeof digits, digits, "%lld", number);
    memcpy(s->text + s->n, digits, strlen(digits));
    s->n += strlen(digits);
    return true;
}

/* *at is behind the '%'. False: a number is too large. */
static bool read_spec(struct printing *p, const char **at, struct spec *ret)
{
    *ret = (struct spec){.text = "%", .n = 1};
    while (**at != '\0' && strchr("-+ #!0,", **at) != NULL) {
        if (ret->n < 12) {
            ret->text[ret->n++] = **at;
        }
        (*at)++;
    }
    if (!read_number(p, at, ret)) {
        return false;
    }
    if (**at == '.') {
        (*at)++;
        ret->text[ret->n++] = '.';
        if (!read_number(p, at, ret)) {
            return false;
        }
    }
    while (**at == 'l') {
        (*at)++;
    }
    ret->conversion = **at;
    *at += **at != '\0';
    return true;
}

static void put_text(struct printing *p, struct spec *s)
{
    sqlite3_value *v = next_value(p);
    const char *text = v == NULL ? NULL : (const char *)sqlite3_value_text(v);
    s->text[s->n++] = s->conversion == 'z' ? 's' : s->conversion;
    sqlite3_str_appendf(p->out, s->text, text);
}

/* The first character of a text. */
static void put_character(struct printing *p, struct spec *s)
{
    sqlite3_value *v = next_value(p);
    const uint8_t *t = v == NULL ? NULL : sqlite3_value_text(v);
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned code = 0;
    if (t != NULL && t[0] != 0) {
        size_t n = length_of(t, strlen((const char *)t));
        code = t[0] & masks[n > 4 ? 4 : n];
        for (size_t i = 1; i < n && i < 4; i++) {
            code = code << 6 | (t[i] & 0x3f);
        }
    }
    s->text[s->n++] = 'c';
    sqlite3_str_appendf(p->out, s->text, code);
}

/* False: there is nothing of this kind, which ends the text as in SQLite. */
static bool put_spec(struct printing *p, struct spec *s)
{
    char conversion = s->conversion;
    if (conversion == '%') {
        s->text[s->n] = '%';
        sqlite3_str_appendf(p->out, s->text);
    } else if (conversion == 'c') {
        put_character(p, s);
    } else if (conversion != 0 && strchr("szqQw", conversion) != NULL) {
        put_text(p, s);
    } else if (conversion != 0 && strchr("diuxXo", conversion) != NULL) {
        memcpy(s->text + s->n, "ll", 2);
        s->text[s->n + 2] = conversion;
        sqlite3_str_appendf(p->out, s->text, next_integer(p));
    } else if (conversion != 0 && strchr("feEgG", conversion) != NULL) {
        sqlite3_value *v = next_value(p);
        s->text[s->n] = conversion;
        sqlite3_str_appendf(p->out, s->text, v == NULL ? 0.0 : sqlite3_value_double(v));
    } else {
        return false;
    }
    return true;
}

static bool print(struct printing *p, const char *at)
{
    struct spec s;
    while (*at != '\0' && sqlite3_str_errcode(p->out) == SQLITE_OK) {
        size_t plain = strcspn(at, "%");
        sqlite3_str_append(p->out, at, (int)plain);
        at += plain;
        if (*at == '\0') {
            break;
        }
        at++;
        if (!read_spec(p, &at, &s)) {
            sqlite3_result_error(p->c, "a width of printf() is too large", -1);
            return false;
        }
        if (!put_spec(p, &s)) {
            break;
        }
    }
    return spend(p->c, (uint64_t)sqlite3_str_length(p->out));
}

static void do_printf(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct bytes format;
    if (n == 0 || !text_of(c, v[0], &format)) {
        return;
    }
    struct printing p = {
        .c = c, .out = sqlite3_str_new(sqlite3_context_db_handle(c)), .v = v, .n = n, .next = 1};
    bool ok = print(&p, (const char *)format.p);
    int code = sqlite3_str_errcode(p.out), length = sqlite3_str_length(p.out);
    char *text = sqlite3_str_finish(p.out);
    if (!ok || code != SQLITE_OK) {
        sqlite3_free(text);
        if (ok) {
            sqlite3_result_error_code(c, code);
        }
    } else if (text != NULL) { /* else it is empty, which is NULL as in SQLite */
        sqlite3_result_text(c, text, length, sqlite3_free);
    }
}

/* ---- what is not pure ---- */

/* The authorizer is not asked about what stands in the DEFAULT of a column. */
static void do_refuse(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n, (void)v;
    sqlite3_result_error(c, "not allowed here: a function (random, randomblob, total_changes)", -1);
}

/* ---- adding them ---- */

bool sql_guard_add_functions(struct sqlite3 *db, sql_guard_spend may_spend, void *ctx)
{
    static const struct {
        const char *name;
        int arguments;
        void (*run)(sqlite3_context *c, int n, sqlite3_value **v);
    } functions[] = {
        {"instr", 2, do_instr},    {"replace", 3, do_replace},   {"trim", 2, do_trim},
        {"ltrim", 2, do_ltrim},    {"rtrim", 2, do_rtrim},       {"like", 2, do_like},
        {"like", 3, do_like},      {"glob", 2, do_glob},         {"printf", -1, do_printf},
        {"format", -1, do_printf}, {"randomblob", 1, do_refuse}, {"total_changes", 0, do_refuse},
        {"random", 0, do_refuse},
    };
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    size_t n = sizeof functions / sizeof *functions - (sqlite3_db_readonly(db, NULL) == 1);
    for (size_t i = 0; i < n; i++) { /* a query may ask for random(), the last of them */
        struct guard *g = malloc(sizeof *g);
        if (g == NULL) {
            return false;
        }
        *g = (struct guard){may_spend, ctx};
        if (sqlite3_create_function_v2(db, functions[i].name, functions[i].arguments, flags, g,
                                       functions[i].run, NULL, NULL, free) != SQLITE_OK) {
            return false; /* it has freed the guard */
        }
    }
    return true;
}
