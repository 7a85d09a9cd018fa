/* sql: see sql.h. What a statement may do is decided while it is prepared, by an authorizer that
 * looks at the trust of its text; how long it may run, by the progress handler. */
#include "sql.h"

#include <ctype.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "sql_guard.h"
#include "storage/base/check.h"

#define PROGRESS_STEPS     100
#define BYTES_PER_STEP     64 /* of what functions of sql_guard take */
#define MEMORY_MAX         (INT64_C(64) << 20)
#define BUSY_TIMEOUT_MS    10000
#define DENIED_TEXT_MAX    128
#define UNIX_EPOCH_DAYS_MS INT64_C(210866760000000) /* of the Julian day, in milliseconds */

struct sql {
    sqlite3 *db;
    enum sql_trust trust;         /* of the text that is being prepared */
    char denied[DENIED_TEXT_MAX]; /* what the authorizer refused last; empty: nothing */
    bool limited;
    uint64_t steps_left;
    bool exhausted, stopped; /* why the progress handler interrupted */
    bool refused;            /* memory, by the budget of a statement */
    bool (*cancelled)(void *ctx);
    void *cancel_ctx;
};

struct sql_statement {
    sqlite3_stmt *stmt;
    struct sql *sql;
    enum sql_trust trust; /* SQLite may prepare it again, and ask again */
    int64_t memory_left;
};

static int authorize(void *ctx, int action, const char *a, const char *b, const char *database,
                     const char *trigger);

/* ---- a clock that stands where it is put ---- */

static _Thread_local int64_t now_us;
static sqlite3_vfs clock_vfs;
static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static bool init_ok;

static int current_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
    (void)vfs;
    *ret = UNIX_EPOCH_DAYS_MS + now_us / 1000;
    return SQLITE_OK;
}

static int current_time_days(sqlite3_vfs *vfs, double *ret)
{
    sqlite3_int64 ms;
    int code = current_time_ms(vfs, &ms);
    *ret = (double)ms / 86400000.0;
    return code;
}

/* Without statistics of memory, since they put one lock around every allocation of the process. */
static void init(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sql_guard_init();
    if (sqlite3_initialize() != SQLITE_OK) {
        return;
    }
    clock_vfs = *sqlite3_vfs_find(NULL);
    clock_vfs.zName = "daybook";
    clock_vfs.xCurrentTime = current_time_days;
    clock_vfs.xCurrentTimeInt64 = current_time_ms;
    init_ok = sqlite3_vfs_register(&clock_vfs, 0) == SQLITE_OK;
}

void sql_set_now(int64_t us)
{
    now_us = us;
}

/* ---- errors ---- */

static err_t from_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
        return ERR_OK;
    case SQLITE_DONE:
        return ERR_END;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_IOERR:
    case SQLITE_PROTOCOL:
        return ERR_IO;
    case SQLITE_CANTOPEN:
        return ERR_NOT_FOUND;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    default:
        return ERR_INVALID;
    }
}

static err_t failure(struct sql *s, int code, struct err_text *et)
{
    if (s->exhausted) {
        return err_set(et, ERR_LIMIT, "it takes more steps than it may");
    }
    if (s->stopped) {
        return err_set(et, ERR_CLOSED, "it was cancelled");
    }
    if (s->refused) {
        return err_set(et, ERR_LIMIT, "it takes more than %d MiB of memory",
                       (int)(MEMORY_MAX >> 20));
    }
    if (s->denied[0] != '\0') {
        return err_set(et, ERR_INVALID, "not allowed here: %s", s->denied);
    }
    return err_set(et, from_sqlite(code), "%s", sqlite3_errmsg(s->db));
}

/* ---- opening ---- */

static int on_progress(void *ctx)
{
    struct sql *s = ctx;
    if (s->limited) {
        s->exhausted = s->steps_left < PROGRESS_STEPS;
        s->steps_left -= s->exhausted ? 0 : PROGRESS_STEPS;
    }
    s->stopped = s->cancelled != NULL && s->cancelled(s->cancel_ctx);
    return s->exhausted || s->stopped;
}

/* What a function of sql_guard is about to do. */
static bool spend(void *ctx, uint64_t bytes)
{
    struct sql *s = ctx;
    uint64_t steps = bytes / BYTES_PER_STEP;
    if (s->trust == SQL_OURS || steps == 0) {
        return true;
    }
    if (s->limited) {
        s->exhausted = s->steps_left < steps;
        s->steps_left -= s->exhausted ? 0 : steps;
    }
    s->stopped = s->cancelled != NULL && s->cancelled(s->cancel_ctx);
    return !s->exhausted && !s->stopped;
}

/* What is ours has no budget of memory. */
static void enter(struct sql *s, enum sql_trust trust, int64_t memory_left)
{
    s->trust = trust;
    s->exhausted = s->stopped = s->refused = false;
    if (trust != SQL_OURS) {
        sql_guard_enter(memory_left);
    }
}

static int64_t leave(struct sql *s)
{
    int64_t left = 0;
    if (s->trust != SQL_OURS) {
        s->refused = sql_guard_leave(&left);
    }
    return left;
}

err_t sql_open(const char *path, bool read_only, struct sql **ret, struct err_text *et)
{
    (void)pthread_once(&init_once, init);
    struct sql *s = calloc(1, sizeof *s);
    if (s == NULL || !init_ok) {
        free(s);
        return ERR_MEMORY;
    }
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    int code = sqlite3_open_v2(path == NULL ? ":memory:" : path, &s->db, flags,
                               read_only ? NULL : clock_vfs.zName);
    if (code != SQLITE_OK) {
        err_t err = err_set(et, from_sqlite(code), "cannot open %s: %s",
                            path == NULL ? "a database in memory" : path, sqlite3_errstr(code));
        sql_close(s);
        return err;
    }
    sql_guard_limit(s->db);
    (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    err_t err =
        sql_run(s,
                read_only ? "PRAGMA query_only = ON; PRAGMA cache_size = -4000;"
                          : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                            "PRAGMA wal_autocheckpoint = 8000; PRAGMA cache_size = -16000;"
                            "PRAGMA secure_delete = OFF; PRAGMA journal_size_limit = 67108864;",
                et);
    if (err == ERR_OK && !sql_guard_add_functions(s->db, spend, s)) {
        err = ERR_MEMORY;
    }
    if (err == ERR_OK) {
        (void)sqlite3_set_authorizer(s->db, authorize, s);
        sqlite3_progress_handler(s->db, PROGRESS_STEPS, on_progress, s);
        *ret = s;
        return ERR_OK;
    }
    sql_close(s);
    return err;
}

void sql_close(struct sql *s)
{
    if (s != NULL) {
        int code = sqlite3_close(s->db);
        CHECK(code == SQLITE_OK); /* else a statement of ours was not finalized */
        free(s);
    }
}

void sql_set_budget(struct sql *s, uint64_t steps)
{
    s->limited = steps > 0;
    s->steps_left = steps;
}

void sql_set_cancel(struct sql *s, bool (*cancelled)(void *ctx), void *ctx)
{
    s->cancelled = cancelled;
    s->cancel_ctx = ctx;
}

err_t sql_run(struct sql *s, const char *text, struct err_text *et)
{
    enter(s, SQL_OURS, 0);
    int code = sqlite3_exec(s->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : failure(s, code, et);
}

void sql_rollback(struct sql *s)
{
    if (sqlite3_get_autocommit(s->db) == 0) {
        s->trust = SQL_OURS;
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

/* ---- what may be done ---- */

#define MAY(trust) (1u << (trust))
#define ANYONE     (MAY(SQL_SCHEMA) | MAY(SQL_HANDLER) | MAY(SQL_QUERY))

/* What is not listed is ours alone. */
static const struct {
    int action;
    unsigned allowed;
    const char *name;
} actions[] = {
    {SQLITE_SELECT, ANYONE, "SELECT"},
    {SQLITE_READ, ANYONE, "reading a table of the system"},
    {SQLITE_FUNCTION, ANYONE, "a function"},
    {SQLITE_RECURSIVE, ANYONE, "a recursive query"},
    {SQLITE_INSERT, MAY(SQL_SCHEMA) | MAY(SQL_HANDLER), "INSERT"},
    {SQLITE_UPDATE, ANYONE, "UPDATE"},
    {SQLITE_DELETE, MAY(SQL_HANDLER), "DELETE"},
    {SQLITE_CREATE_TABLE, MAY(SQL_SCHEMA), "CREATE TABLE"},
    {SQLITE_CREATE_INDEX, MAY(SQL_SCHEMA), "CREATE INDEX"},
    {SQLITE_CREATE_VIEW, MAY(SQL_SCHEMA), "CREATE VIEW"},
    {SQLITE_REINDEX, MAY(SQL_SCHEMA), "REINDEX"},
    {SQLITE_PRAGMA, MAY(SQL_QUERY), "this PRAGMA"},
    {SQLITE_ATTACH, 0, "ATTACH"},
    {SQLITE_DETACH, 0, "DETACH"},
    {SQLITE_TRANSACTION, 0, "a transaction of its own"},
    {SQLITE_SAVEPOINT, 0, "SAVEPOINT"},
    {SQLITE_ANALYZE, 0, "ANALYZE"},
    {SQLITE_ALTER_TABLE, 0, "ALTER TABLE"},
    {SQLITE_DROP_TABLE, 0, "DROP TABLE"},
    {SQLITE_DROP_INDEX, 0, "DROP INDEX"},
    {SQLITE_DROP_VIEW, 0, "DROP VIEW"},
    {SQLITE_CREATE_TRIGGER, 0, "CREATE TRIGGER"},
    {SQLITE_CREATE_VTABLE, 0, "CREATE VIRTUAL TABLE"},
    {SQLITE_CREATE_TEMP_TABLE, 0, "a temporary table"},
    {SQLITE_CREATE_TEMP_VIEW, 0, "a temporary view"},
    {SQLITE_CREATE_TEMP_INDEX, 0, "a temporary index"},
    {SQLITE_CREATE_TEMP_TRIGGER, 0, "a temporary trigger"},
};

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (sqlite3_stricmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_ours(const char *table)
{
    return table != NULL && sqlite3_strnicmp(table, "_daybook", 8) == 0;
}

static bool allowed_in_detail(const struct sql *s, int action, const char *a, const char *b)
{
    static const char *const never[] = {"load_extension", "fts3_tokenizer", "rtreecheck", NULL};
    /* What no budget can hold, or what a rebuild would not do again. */
    static const char *const costly[] = {"randomblob", "json_patch", NULL};
    static const char *const impure[] = {"random", "randomblob", "total_changes", NULL};
    static const char *const pragmas[] = {"table_info",       "table_xinfo", "table_list",
                                          "index_list",       "index_info",  "index_xinfo",
                                          "foreign_key_list", NULL};
    switch (action) {
    case SQLITE_FUNCTION:
        return !is_one_of(b, never) && !is_one_of(b, s->trust == SQL_QUERY ? costly : impure);
    case SQLITE_PRAGMA:
        return is_one_of(a, pragmas);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
        /* While SQLite makes a table (also those of pragma_table_info and its like) it writes to
         * its own, which a statement by itself cannot. */
        return !is_ours(a) && (s->trust == SQL_HANDLER || sqlite3_strnicmp(a, "sqlite_", 7) == 0);
    default: /* a table, an index (b: its table), a view */
        return !is_ours(a) && (action != SQLITE_CREATE_INDEX || !is_ours(b));
    }
}

static int deny(struct sql *s, const char *what, const char *name)
{
    sqlite3_snprintf(sizeof s->denied, s->denied, name == NULL ? "%s" : "%s (%s)", what, name);
    return SQLITE_DENY;
}

static int authorize(void *ctx, int action, const char *a, const char *b, const char *database,
                     const char *trigger)
{
    (void)database, (void)trigger;
    struct sql *s = ctx;
    if (s->trust == SQL_OURS) {
        return SQLITE_OK;
    }
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (actions[i].action == action) {
            bool allowed =
                (actions[i].allowed & MAY(s->trust)) != 0 && allowed_in_detail(s, action, a, b);
            return allowed ? SQLITE_OK
                           : deny(s, actions[i].name, action == SQLITE_FUNCTION ? b : a);
        }
    }
    return deny(s, "this statement", NULL);
}

/* ---- statements ---- */

size_t sql_skip_blank(struct bytes text)
{
    size_t i = 0;
    while (i < text.n) {
        struct bytes rest = bytes_of(text.p + i, text.n - i);
        const char *end = NULL;
        if (rest.p[0] <= ' ' || rest.p[0] == ';') {
            i++;
            continue;
        }
        if (bytes_have_prefix(rest, BYTES_LITERAL("--"))) {
            end = "\n";
        } else if (bytes_have_prefix(rest, BYTES_LITERAL("/*"))) {
            end = "*/";
        } else {
            break;
        }
        const uint8_t *at = memmem(rest.p + 2, rest.n - 2, end, strlen(end));
        i = at == NULL ? text.n : (size_t)(at - text.p) + strlen(end);
    }
    return i;
}

/* The authorizer is not asked about every statement (VACUUM, EXPLAIN), so that the first word has
 * to be one of these. */
static bool begins_as_it_may(enum sql_trust trust, struct bytes text)
{
    static const char *const words[][8] = {
        [SQL_OURS] = {NULL},
        [SQL_SCHEMA] = {"CREATE", NULL},
        [SQL_HANDLER] = {"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", NULL},
        [SQL_QUERY] = {"SELECT", "WITH", "VALUES", "EXPLAIN", "PRAGMA", NULL},
    };
    char word[16];
    size_t at = sql_skip_blank(text), n = 0;
    while (at + n < text.n && n + 1 < sizeof word && isalpha(text.p[at + n]) != 0) {
        word[n] = (char)text.p[at + n];
        n++;
    }
    word[n] = '\0';
    return trust == SQL_OURS || at == text.n || is_one_of(word, words[trust]);
}

err_t sql_prepare(struct sql *s, enum sql_trust trust, struct bytes text,
                  struct sql_statement **ret, size_t *ret_used, struct err_text *et)
{
    if (text.n > SQL_TEXT_BYTES_MAX) {
        *ret_used = 0;
        return err_set(et, ERR_INVALID, "the text is longer than %zu bytes", SQL_TEXT_BYTES_MAX);
    }
    const char *start = text.n == 0 ? "" : (const char *)text.p, *end = start;
    sqlite3_stmt *stmt = NULL;
    s->denied[0] = '\0';
    enter(s, trust, MEMORY_MAX);
    int code =
        sqlite3_prepare_v3(s->db, start, (int)text.n, SQLITE_PREPARE_PERSISTENT, &stmt, &end);
    (void)leave(s);
    if (code != SQLITE_OK) {
        int at = sqlite3_error_offset(s->db);
        *ret_used = at < 0 ? 0 : (size_t)at;
        return failure(s, code, et);
    }
    *ret_used = (size_t)(end - start);
    if (stmt == NULL) {
        *ret = NULL;
        return ERR_OK;
    }
    if (!begins_as_it_may(trust, text) ||
        (trust == SQL_QUERY && sqlite3_stmt_readonly(stmt) == 0)) {
        sqlite3_finalize(stmt);
        return err_set(et, ERR_INVALID, "not allowed here: this kind of statement");
    }
    struct sql_statement *st = malloc(sizeof *st);
    if (st == NULL) {
        sqlite3_finalize(stmt);
        return ERR_MEMORY;
    }
    *st = (struct sql_statement){.stmt = stmt, .sql = s, .trust = trust, .memory_left = MEMORY_MAX};
    *ret = st;
    return ERR_OK;
}

err_t sql_prepare_ours(struct sql *s, const char *text, struct sql_statement **ret,
                       struct err_text *et)
{
    size_t used;
    return sql_prepare(s, SQL_OURS, bytes_of_string(text), ret, &used, et);
}

void sql_finalize(struct sql_statement *st)
{
    if (st != NULL) {
        (void)sqlite3_finalize(st->stmt);
        free(st);
    }
}

unsigned sql_parameters(const struct sql_statement *st)
{
    return (unsigned)sqlite3_bind_parameter_count(st->stmt);
}

const char *sql_parameter_name(const struct sql_statement *st, unsigned i)
{
    return sqlite3_bind_parameter_name(st->stmt, (int)i);
}

/* The only failures of binding are bugs (a wrong index, a statement that runs) and values beyond
 * the limit, which the caller has cut out before. */
void sql_bind(struct sql_statement *st, unsigned i, const struct sql_value *value)
{
    int code = SQLITE_OK;
    const char *p = value->bytes.n == 0 ? "" : (const char *)value->bytes.p;
    switch (value->kind) {
    case SQL_NULL:
        code = sqlite3_bind_null(st->stmt, (int)i);
        break;
    case SQL_INTEGER:
        code = sqlite3_bind_int64(st->stmt, (int)i, value->integer);
        break;
    case SQL_REAL:
        code = sqlite3_bind_double(st->stmt, (int)i, value->real);
        break;
    case SQL_TEXT:
        code = sqlite3_bind_text64(st->stmt, (int)i, p, value->bytes.n, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case SQL_BLOB:
        code = sqlite3_bind_blob64(st->stmt, (int)i, p, value->bytes.n, SQLITE_STATIC);
        break;
    }
    CHECK(code == SQLITE_OK || code == SQLITE_TOOBIG);
}

void sql_bind_integer(struct sql_statement *st, unsigned i, uint64_t value)
{
    sql_bind(st, i, &(struct sql_value){.kind = SQL_INTEGER, .integer = (int64_t)value});
}

void sql_bind_text(struct sql_statement *st, unsigned i, struct bytes text)
{
    sql_bind(st, i, &(struct sql_value){.kind = SQL_TEXT, .bytes = text});
}

err_t sql_step(struct sql_statement *st, struct err_text *et)
{
    enter(st->sql, st->trust, st->memory_left);
    int code = sqlite3_step(st->stmt);
    st->memory_left = leave(st->sql);
    if (code == SQLITE_ROW) {
        return ERR_OK;
    }
    return code == SQLITE_DONE ? ERR_END : failure(st->sql, code, et);
}

err_t sql_finish(struct sql_statement *st, struct err_text *et)
{
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        err = sql_step(st, et);
    }
    sql_reset(st);
    return err == ERR_END ? ERR_OK : err;
}

void sql_reset(struct sql_statement *st)
{
    st->memory_left = MEMORY_MAX;
    (void)sqlite3_reset(st->stmt);
}

unsigned sql_columns(const struct sql_statement *st)
{
    return (unsigned)sqlite3_column_count(st->stmt);
}

const char *sql_column_name(const struct sql_statement *st, unsigned i)
{
    const char *name = sqlite3_column_name(st->stmt, (int)i);
    return name == NULL ? "" : name;
}

struct sql_value sql_column(struct sql_statement *st, unsigned i)
{
    int at = (int)i;
    switch (sqlite3_column_type(st->stmt, at)) {
    case SQLITE_INTEGER:
        return (struct sql_value){.kind = SQL_INTEGER,
                                  .integer = sqlite3_column_int64(st->stmt, at)};
    case SQLITE_FLOAT:
        return (struct sql_value){.kind = SQL_REAL, .real = sqlite3_column_double(st->stmt, at)};
    case SQLITE_TEXT:;
        const unsigned char *text = sqlite3_column_text(st->stmt, at);
        return (struct sql_value){
            .kind = SQL_TEXT, .bytes = bytes_of(text, (size_t)sqlite3_column_bytes(st->stmt, at))};
    case SQLITE_BLOB:;
        const void *blob = sqlite3_column_blob(st->stmt, at);
        return (struct sql_value){
            .kind = SQL_BLOB, .bytes = bytes_of(blob, (size_t)sqlite3_column_bytes(st->stmt, at))};
    default:
        return (struct sql_value){.kind = SQL_NULL};
    }
}

uint64_t sql_column_u64(struct sql_statement *st, unsigned i)
{
    return (uint64_t)sqlite3_column_int64(st->stmt, (int)i);
}
