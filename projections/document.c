/* document: document projections: a script in Lua folds events into documents, kept by key as JSON.
 *
 * Over a batch states stay decoded in Lua and are written once, however many events change them;
 * they stay there for the next batch while memory lasts. */
#include <stdlib.h>

#include "model.h"
#include "script_lua.h"
#include "sql.h"
#include "storage/base/arena.h"
#include "storage/base/map.h"

#define BATCH_EVENTS    50000
#define ARENA_CHUNK     ((size_t)64 << 10)
#define ARENA_BYTES_MAX ((size_t)64 << 20)

static const char SCHEMA[] = "CREATE TABLE documents (key TEXT PRIMARY KEY, document TEXT NOT NULL,"
                             " position INTEGER NOT NULL) WITHOUT ROWID";

/* A document that the batch has changed. */
struct change {
    struct bytes key;
    uint64_t position; /* of the last event that did */
    bool deleted;
};

struct documents {
    struct script_lua *script;
    struct sql_statement *select, *upsert, *delete;
    struct map changes;
    struct arena arena;
    struct buf json;
};

static err_t prepare(struct model *m, struct documents *d, struct err_text *et)
{
    err_t err = sql_prepare_ours(model_sql(m), "SELECT document FROM documents WHERE key = ?",
                                 &d->select, et);
    if (err == ERR_OK) {
        err = sql_prepare_ours(model_sql(m),
                               "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                               "document = excluded.document, position = excluded.position",
                               &d->upsert, et);
    }
    return err == ERR_OK ? sql_prepare_ours(model_sql(m), "DELETE FROM documents WHERE key = ?",
                                            &d->delete, et)
                         : err;
}

static err_t document_open(struct model *m, struct bytes source, bool fresh, struct err_text *et)
{
    struct documents *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return ERR_MEMORY;
    }
    arena_init(&d->arena, ARENA_CHUNK, ARENA_BYTES_MAX);
    map_init(&d->changes);
    buf_init(&d->json, SCRIPT_STATE_MAX * 2);
    model_set_state(m, d);
    err_t err = script_lua_open(source, &d->script, et);
    if (err == ERR_OK && fresh) {
        err = sql_run(model_sql(m), SCHEMA, et);
    }
    if (err == ERR_OK) {
        err = prepare(m, d, et);
    }
    if (err == ERR_OK) {
        model_set_filter(m, script_lua_filter(d->script));
    }
    return err;
}

static void document_close(struct model *m)
{
    struct documents *d = model_state(m);
    if (d != NULL) {
        sql_finalize(d->select);
        sql_finalize(d->upsert);
        sql_finalize(d->delete);
        script_lua_close(d->script);
        map_done(&d->changes);
        arena_done(&d->arena);
        buf_done(&d->json);
        free(d);
    }
}

static void document_set_cancel(struct model *m, bool (*cancelled)(void *ctx), void *ctx)
{
    struct documents *d = model_state(m);
    script_lua_set_cancel(d->script, cancelled, ctx);
}

/* ---- writing ---- */

static void start_batch(struct documents *d)
{
    map_done(&d->changes);
    map_init(&d->changes);
    arena_reset(&d->arena);
}

static err_t write_change(struct documents *d, const struct change *c, struct err_text *et)
{
    if (c->deleted) {
        sql_bind_text(d->delete, 1, c->key);
        return sql_finish(d->delete, et);
    }
    buf_clear(&d->json);
    err_t err = script_lua_save(d->script, c->key, &d->json, et);
    if (err != ERR_OK) {
        err_prepend(et, "the document '%.*s'", BYTES_ARGS(c->key));
        return err;
    }
    sql_bind_text(d->upsert, 1, c->key);
    sql_bind_text(d->upsert, 2, buf_bytes(&d->json));
    sql_bind_integer(d->upsert, 3, c->position);
    return sql_finish(d->upsert, et);
}

static err_t document_flush(struct model *m, struct err_text *et)
{
    struct documents *d = model_state(m);
    size_t iterator = 0;
    for (const struct change *c; (c = map_next(&d->changes, &iterator)) != NULL;) {
        err_t err = write_change(d, c, et);
        if (err != ERR_OK) {
            return err;
        }
    }
    start_batch(d);
    if (script_lua_is_heavy(d->script)) {
        script_lua_forget(d->script);
    }
    return ERR_OK;
}

/* The states in Lua may be changed in part. */
static void document_forget(struct model *m)
{
    struct documents *d = model_state(m);
    start_batch(d);
    script_lua_forget(d->script);
}

/* ---- an event ---- */

static err_t note_change(struct documents *d, struct bytes key, struct change **ret)
{
    struct change *c = map_get(&d->changes, key);
    if (c == NULL) {
        c = arena_alloc(&d->arena, sizeof *c);
        if (c == NULL) {
            return ERR_MEMORY;
        }
        *c = (struct change){0};
        err_t err = arena_copy(&d->arena, key, &c->key);
        if (err == ERR_OK) {
            err = map_add(&d->changes, c->key, c);
        }
        if (err != ERR_OK) {
            return ERR_MEMORY;
        }
    }
    *ret = c;
    return ERR_OK;
}

/* What the batch has deleted is in the table still, but is no more. */
static err_t load(struct documents *d, struct bytes key, struct err_text *et)
{
    const struct change *c = map_get(&d->changes, key);
    struct bytes json = BYTES_NONE;
    err_t err = ERR_END;
    if (c == NULL || !c->deleted) {
        sql_bind_text(d->select, 1, key);
        err = sql_step(d->select, et);
        json = err == ERR_OK ? sql_column(d->select, 0).bytes : BYTES_NONE;
    }
    if (err == ERR_OK || err == ERR_END) {
        err = script_lua_load(d->script, key, json, et);
    }
    sql_reset(d->select);
    return err;
}

static err_t fold(struct documents *d, struct bytes key, uint64_t position, struct err_text *et)
{
    struct change *c;
    bool deleted;
    err_t err = script_lua_fold(d->script, key, &deleted, et);
    if (err == ERR_NOT_FOUND) {
        err = load(d, key, et);
        if (err == ERR_OK) {
            err = script_lua_fold(d->script, key, &deleted, et);
        }
    }
    if (err == ERR_OK) {
        err = note_change(d, key, &c);
    }
    if (err == ERR_OK) {
        c->deleted = deleted;
        c->position = position;
    }
    return err;
}

static err_t document_apply(struct model *m, const struct event *e, struct err_text *et)
{
    struct documents *d = model_state(m);
    const struct bytes *keys;
    size_t n;
    err_t err = ERR_OK;
    if (script_lua_is_heavy(d->script)) {
        err = document_flush(m, et);
    }
    if (err == ERR_OK) {
        err = script_lua_begin(d->script, e, &keys, &n, et);
    }
    /* One that comes late changes the document now: its position never goes back. */
    uint64_t checkpoint = model_checkpoint(m);
    uint64_t position = e->position > checkpoint ? e->position : checkpoint;
    for (size_t i = 0; err == ERR_OK && i < n; i++) {
        err = fold(d, keys[i], position, et);
    }
    return err;
}

const struct model_kind model_document = {
    .name = "document",
    .media_type = "text/x-lua",
    .batch_events = BATCH_EVENTS,
    .open = document_open,
    .apply = document_apply,
    .flush = document_flush,
    .forget = document_forget,
    .set_cancel = document_set_cancel,
    .close = document_close,
};
