/* model: see model.h. The tables beside the data are "_daybook_facts" (checkpoint, time, facts) and
 * "_daybook_errors"; scripts and queries cannot touch them. */
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sql.h"
#include "storage/base/check.h"

struct model {
    const struct model_kind *kind;
    struct sql *sql;
    struct sql_statement *put_fact, *put_error;
    uint8_t *source;
    void *state;
    struct store_filter filter;
    uint64_t checkpoint;
    int64_t time_us, batch_time_us;
    bool in_batch;
    struct err_text facts[MODEL_FACT_COUNT];
};

static const char *const FACT_NAMES[MODEL_FACT_COUNT] = {"served", "fault_position", "fault_text"};

static const struct model_kind *const KINDS[] = {&model_table, &model_document, &model_counts};

static const char SCHEMA[] =
    "CREATE TABLE _daybook_facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE _daybook_errors (position INTEGER PRIMARY KEY, stream TEXT, type TEXT,"
    " time_us INTEGER, attempts INTEGER, skipped INTEGER, error TEXT);"
    "INSERT INTO _daybook_facts VALUES ('checkpoint', 0), ('time_us', 0);";

const struct model_kind *model_kind_of_name(struct bytes name)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (bytes_equal(name, bytes_of_string(KINDS[i]->name))) {
            return KINDS[i];
        }
    }
    return NULL;
}

const struct model_kind *model_kind_of_media(struct bytes media_type)
{
    const uint8_t *semicolon = media_type.n == 0 ? NULL : memchr(media_type.p, ';', media_type.n);
    struct bytes bare =
        semicolon == NULL ? media_type : bytes_of(media_type.p, (size_t)(semicolon - media_type.p));
    while (bare.n > 0 && bare.p[bare.n - 1] == ' ') {
        bare.n--;
    }
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        const char *own = KINDS[i]->media_type;
        if (own != NULL && bare.n == strlen(own) &&
            strncasecmp((const char *)bare.p, own, bare.n) == 0) {
            return KINDS[i];
        }
    }
    return NULL;
}

/* ---- opening ---- */

err_t model_path(const char *dir, char ret[MODEL_PATH_MAX])
{
    int n = snprintf(ret, MODEL_PATH_MAX, "%s/model.sqlite", dir);
    return n > 0 && n < MODEL_PATH_MAX ? ERR_OK : ERR_LIMIT;
}

static err_t read_fact(struct model *m, struct bytes name, struct sql_statement *st)
{
    if (bytes_equal(name, BYTES_LITERAL("checkpoint"))) {
        m->checkpoint = sql_column_u64(st, 1);
        return ERR_OK;
    }
    if (bytes_equal(name, BYTES_LITERAL("time_us"))) {
        m->time_us = (int64_t)sql_column_u64(st, 1);
        return ERR_OK;
    }
    for (int i = 0; i < MODEL_FACT_COUNT; i++) {
        if (bytes_equal(name, bytes_of_string(FACT_NAMES[i]))) {
            struct bytes value = sql_column(st, 1).bytes;
            (void)err_set(&m->facts[i], ERR_OK, "%.*s", BYTES_ARGS(value));
            return ERR_OK;
        }
    }
    return ERR_FORMAT; /* of a newer binary */
}

static err_t read_facts(struct model *m, struct err_text *et)
{
    struct sql_statement *st;
    err_t err = sql_prepare_ours(m->sql, "SELECT name, value FROM _daybook_facts", &st, et);
    if (err != ERR_OK) {
        return err;
    }
    while ((err = sql_step(st, et)) == ERR_OK) {
        err = read_fact(m, sql_column(st, 0).bytes, st);
        if (err != ERR_OK) {
            break;
        }
    }
    sql_finalize(st);
    return err == ERR_END ? ERR_OK : err;
}

/* Whether its making was not finished: the tables come in one transaction with those of the
 * kind. */
static err_t is_fresh(struct model *m, bool *ret, struct err_text *et)
{
    struct sql_statement *st;
    err_t err = sql_prepare_ours(
        m->sql, "SELECT count(*) FROM sqlite_schema WHERE name = '_daybook_facts'", &st, et);
    if (err != ERR_OK) {
        return err;
    }
    err = sql_step(st, et);
    *ret = err == ERR_OK && sql_column_u64(st, 0) == 0;
    sql_finalize(st);
    return err;
}

static err_t prepare_own(struct model *m, struct err_text *et)
{
    err_t err = sql_prepare_ours(m->sql, "INSERT OR REPLACE INTO _daybook_facts VALUES (?, ?)",
                                 &m->put_fact, et);
    if (err == ERR_OK) {
        err = sql_prepare_ours(
            m->sql, "INSERT OR REPLACE INTO _daybook_errors VALUES (?, ?, ?, ?, ?, ?, ?)",
            &m->put_error, et);
    }
    return err;
}

static err_t open_file(struct model *m, const char *dir, struct err_text *et)
{
    char path[MODEL_PATH_MAX];
    if (dir == NULL) {
        return sql_open(NULL, false, &m->sql, et);
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return err_set(et, err_from_errno(errno), "cannot make %s: %s", dir, strerror(errno));
    }
    err_t err = model_path(dir, path);
    return err == ERR_OK ? sql_open(path, false, &m->sql, et) : err;
}

static err_t open_kind(struct model *m, size_t source_bytes, struct err_text *et)
{
    bool fresh = false;
    err_t err = is_fresh(m, &fresh, et);
    if (err == ERR_OK) {
        err = sql_run(m->sql, "BEGIN IMMEDIATE", et);
    }
    if (err == ERR_OK && fresh) {
        err = sql_run(m->sql, SCHEMA, et);
    }
    if (err == ERR_OK) {
        err = m->kind->open(m, bytes_of(m->source, source_bytes), fresh, et);
    }
    if (err == ERR_OK) {
        err = sql_run(m->sql, "COMMIT", et);
    }
    if (err == ERR_OK) {
        err = prepare_own(m, et);
    }
    return err == ERR_OK ? read_facts(m, et) : err;
}

err_t model_open(const struct model_kind *kind, const char *dir, struct bytes source,
                 struct model **ret, struct err_text *et)
{
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return ERR_MEMORY;
    }
    m->kind = kind;
    m->source = malloc(source.n + 1);
    err_t err = m->source == NULL ? ERR_MEMORY : open_file(m, dir, et);
    if (err == ERR_OK) {
        memcpy(m->source, source.n == 0 ? (const void *)"" : source.p, source.n);
        m->source[source.n] = '\0';
        err = open_kind(m, source.n, et);
    }
    if (err != ERR_OK) {
        model_close(m);
        return err;
    }
    *ret = m;
    return ERR_OK;
}

void model_close(struct model *m)
{
    if (m == NULL) {
        return;
    }
    if (m->sql != NULL) {
        if (m->in_batch) {
            model_abort(m);
        }
        m->kind->close(m);
        sql_finalize(m->put_fact);
        sql_finalize(m->put_error);
        sql_rollback(m->sql);
        sql_close(m->sql);
    }
    free(m->source);
    free(m);
}

err_t model_remove(const char *dir)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[MODEL_PATH_MAX + 16];
        int n = snprintf(path, sizeof path, "%s/model.sqlite%s", dir, suffixes[i]);
        if (n <= 0 || (size_t)n >= sizeof path) {
            return ERR_LIMIT;
        }
        if (unlink(path) != 0 && errno != ENOENT && errno != ENOTDIR) {
            return err_from_errno(errno);
        }
    }
    return rmdir(dir) == 0 || errno == ENOENT ? ERR_OK : err_from_errno(errno);
}

/* ---- what it knows ---- */

const struct model_kind *model_kind(const struct model *m)
{
    return m->kind;
}

const struct store_filter *model_filter(const struct model *m)
{
    return &m->filter;
}

uint64_t model_checkpoint(const struct model *m)
{
    return m->checkpoint;
}

int64_t model_time_us(const struct model *m)
{
    return m->time_us;
}

struct bytes model_fact(const struct model *m, enum model_fact fact)
{
    return bytes_of_string(m->facts[fact].text);
}

struct sql *model_sql(struct model *m)
{
    return m->sql;
}

void *model_state(const struct model *m)
{
    return m->state;
}

void model_set_state(struct model *m, void *state)
{
    m->state = state;
}

void model_set_filter(struct model *m, const struct store_filter *filter)
{
    m->filter = *filter;
}

void model_set_cancel(struct model *m, bool (*cancelled)(void *ctx), void *ctx)
{
    sql_set_cancel(m->sql, cancelled, ctx);
    if (m->kind->set_cancel != NULL) {
        m->kind->set_cancel(m, cancelled, ctx);
    }
}

static err_t count_table(struct model *m, struct bytes name, uint64_t *ret, struct err_text *et)
{
    struct sql_statement *st;
    char text[EVENT_NAME_MAX * 2 + 64];
    int n = snprintf(text, sizeof text, "SELECT count(*) FROM %.*s", BYTES_ARGS(name));
    if (n <= 0 || (size_t)n >= sizeof text) {
        return ERR_LIMIT;
    }
    err_t err = sql_prepare_ours(m->sql, text, &st, et);
    if (err == ERR_OK) {
        err = sql_step(st, et);
        *ret = err == ERR_OK ? sql_column_u64(st, 0) : 0;
        sql_finalize(st);
    }
    return err;
}

err_t model_count_rows(struct model *m, void (*each)(void *ctx, const char *table, uint64_t rows),
                       void *ctx, struct err_text *et)
{
    struct sql_statement *st;
    err_t err = sql_prepare_ours(m->sql,
                                 "SELECT name, '\"' || replace(name, '\"', '\"\"') || '\"' FROM "
                                 "sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite@_%'"
                                 " ESCAPE '@' AND name NOT LIKE '@_daybook%' ESCAPE '@' ORDER BY 1",
                                 &st, et);
    if (err != ERR_OK) {
        return err;
    }
    while ((err = sql_step(st, et)) == ERR_OK) {
        uint64_t rows;
        err = count_table(m, sql_column(st, 1).bytes, &rows, et);
        if (err != ERR_OK) {
            break;
        }
        each(ctx, (const char *)sql_column(st, 0).bytes.p, rows);
    }
    sql_finalize(st);
    return err == ERR_END ? ERR_OK : err;
}

/* ---- batches ---- */

err_t model_begin(struct model *m, struct err_text *et)
{
    CHECK(!m->in_batch);
    err_t err = sql_run(m->sql, "BEGIN IMMEDIATE", et);
    m->in_batch = err == ERR_OK;
    m->batch_time_us = m->time_us;
    return err;
}

err_t model_apply(struct model *m, const struct event *e, struct err_text *et)
{
    CHECK(m->in_batch && e->position > m->checkpoint);
    m->batch_time_us = e->time_us;
    return m->kind->apply(m, e, et);
}

err_t model_apply_late(struct model *m, const struct event *e, struct err_text *et)
{
    CHECK(m->in_batch && e->position <= m->checkpoint);
    return m->kind->apply(m, e, et);
}

static err_t put_number(struct model *m, struct bytes name, uint64_t value, struct err_text *et)
{
    sql_bind_text(m->put_fact, 1, name);
    sql_bind_integer(m->put_fact, 2, value);
    return sql_finish(m->put_fact, et);
}

err_t model_commit(struct model *m, uint64_t checkpoint, struct err_text *et)
{
    CHECK(m->in_batch && checkpoint >= m->checkpoint);
    sql_set_budget(m->sql, 0);
    err_t err = m->kind->flush == NULL ? ERR_OK : m->kind->flush(m, et);
    if (err == ERR_OK) {
        err = put_number(m, BYTES_LITERAL("checkpoint"), checkpoint, et);
    }
    if (err == ERR_OK) {
        err = put_number(m, BYTES_LITERAL("time_us"), (uint64_t)m->batch_time_us, et);
    }
    if (err == ERR_OK) {
        err = sql_run(m->sql, "COMMIT", et);
    }
    if (err != ERR_OK) {
        model_abort(m);
        return err;
    }
    m->in_batch = false;
    m->checkpoint = checkpoint;
    m->time_us = m->batch_time_us;
    return ERR_OK;
}

void model_abort(struct model *m)
{
    sql_set_budget(m->sql, 0);
    if (m->kind->forget != NULL) {
        m->kind->forget(m);
    }
    sql_rollback(m->sql);
    m->in_batch = false;
}

err_t model_put_error(struct model *m, const struct model_error *error, struct err_text *et)
{
    CHECK(m->in_batch);
    sql_bind_integer(m->put_error, 1, error->position);
    sql_bind_text(m->put_error, 2, error->stream);
    sql_bind_text(m->put_error, 3, error->type);
    sql_bind_integer(m->put_error, 4, (uint64_t)error->time_us);
    sql_bind_integer(m->put_error, 5, error->attempts);
    sql_bind_integer(m->put_error, 6, error->skipped);
    sql_bind_text(m->put_error, 7, error->text);
    return sql_finish(m->put_error, et);
}

err_t model_drop_error(struct model *m, uint64_t position, struct err_text *et)
{
    CHECK(m->in_batch);
    struct sql_statement *st;
    err_t err = sql_prepare_ours(
        m->sql, "DELETE FROM _daybook_errors WHERE position = ? RETURNING position", &st, et);
    if (err == ERR_OK) {
        sql_bind_integer(st, 1, position);
        err = sql_step(st, et);
        sql_finalize(st);
    }
    return err == ERR_END ? ERR_NOT_FOUND : err;
}

err_t model_note_attempt(struct model *m, uint64_t position, struct bytes text, struct err_text *et)
{
    struct sql_statement *st;
    err_t err = sql_prepare_ours(
        m->sql, "UPDATE _daybook_errors SET attempts = attempts + 1, error = ? WHERE position = ?",
        &st, et);
    if (err == ERR_OK) {
        sql_bind_text(st, 1, text);
        sql_bind_integer(st, 2, position);
        err = sql_finish(st, et);
        sql_finalize(st);
    }
    return err;
}

err_t model_set_fact(struct model *m, enum model_fact fact, struct bytes value, struct err_text *et)
{
    sql_bind_text(m->put_fact, 1, bytes_of_string(FACT_NAMES[fact]));
    sql_bind_text(m->put_fact, 2, value);
    err_t err = sql_finish(m->put_fact, et);
    if (err == ERR_OK) {
        struct err_text kept = {0};
        (void)err_set(&kept, ERR_OK, "%.*s", BYTES_ARGS(value));
        m->facts[fact] = kept;
    }
    return err;
}
