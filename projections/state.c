/* state: see state.h. */
#include "state.h"

#include <inttypes.h>

#include "script_lua.h"

struct fold {
    const struct state_request *r;
    struct script_lua *script;
    bool loaded, deleted;
};

/* The last revision that the model has; all after it is the tail. */
static err_t find_tail(const struct state_request *r, struct store_view *v, uint64_t *ret_after,
                       struct err_text *et)
{
    struct store_query query = {
        .stream = r->stream, .backward = true, .filter.system = event_name_is_system(r->stream)};
    struct store_read *read;
    struct store_record record;
    err_t err = store_read_open(v, &query, &read);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t after = UINT64_MAX;
    size_t n = 0;
    while ((err = store_read_next(read, &record)) == ERR_OK || err == ERR_FULL) {
        struct event e;
        if (err == ERR_FULL) {
            continue;
        }
        err = store_record_decode(&record, &e);
        if (err != ERR_OK || record.position <= r->checkpoint) {
            break;
        }
        after = e.revision - 1;
        if (++n > STATE_TAIL_MAX) {
            err = err_set(et, ERR_LIMIT,
                          "the projection is more than %d events of this stream behind",
                          STATE_TAIL_MAX);
            break;
        }
    }
    store_read_close(read);
    *ret_after = after;
    return err == ERR_END ? ERR_OK : err;
}

/* Deleted by nil it begins anew with the next event, as in a model. */
static err_t fold_event(struct fold *f, const struct event *e, struct err_text *et)
{
    const struct bytes *keys;
    size_t n;
    if (!store_filter_matches(script_lua_filter(f->script), e)) {
        return ERR_OK;
    }
    err_t err = script_lua_begin(f->script, e, &keys, &n, et);
    if (err == ERR_OK && n > 0 && !f->loaded) {
        err = script_lua_load(f->script, f->r->stream, BYTES_NONE, et);
    }
    if (err == ERR_OK && n > 0) {
        err = script_lua_fold(f->script, f->r->stream, &f->deleted, et);
        f->loaded = !f->deleted;
    }
    if (err != ERR_OK) {
        err_prepend(et, "event %" PRIu64 " (%.*s)", e->position, BYTES_ARGS(e->type));
    }
    return err;
}

static err_t fold_tail(struct fold *f, struct store_view *v, uint64_t after, struct err_text *et)
{
    struct store_query query = {
        .stream = f->r->stream, .from = after, .filter.system = event_name_is_system(f->r->stream)};
    struct store_read *read;
    struct store_record record;
    err_t err = store_read_open(v, &query, &read);
    if (err != ERR_OK) {
        return err;
    }
    while ((err = store_read_next(read, &record)) == ERR_OK || err == ERR_FULL) {
        struct event e;
        if (err == ERR_FULL) {
            continue;
        }
        err = store_record_decode(&record, &e);
        err = err == ERR_OK ? fold_event(f, &e, et) : err;
        if (err != ERR_OK) {
            break;
        }
    }
    store_read_close(read);
    return err == ERR_END ? ERR_OK : err;
}

static err_t fold(struct fold *f, struct store_view *v, struct buf *ret, struct err_text *et)
{
    uint64_t after = UINT64_MAX;
    err_t err = find_tail(f->r, v, &after, et);
    if (err == ERR_OK && after == UINT64_MAX) { /* the model has it all */
        buf_put(ret, f->r->stored);
        return buf_status(ret);
    }
    f->loaded = f->r->stored.n > 0;
    if (err == ERR_OK && f->loaded) {
        err = script_lua_load(f->script, f->r->stream, f->r->stored, et);
    }
    if (err == ERR_OK) {
        err = fold_tail(f, v, after, et);
    }
    return err == ERR_OK && f->loaded ? script_lua_save(f->script, f->r->stream, ret, et) : err;
}

err_t state_fold(const struct state_request *r, struct store_view *v, struct buf *ret,
                 uint64_t *ret_revision, struct err_text *et)
{
    struct store_stream_info info;
    struct fold f = {.r = r};
    err_t err = store_get_stream(v, r->stream, &info);
    if (err != ERR_OK) {
        return err;
    }
    *ret_revision = info.head_revision;
    if (info.deleted) {
        return ERR_GONE;
    }
    err = script_lua_open(r->source, &f.script, et);
    if (err == ERR_OK && script_lua_chooses_keys(f.script)) {
        err = ERR_UNSUPPORTED;
    }
    if (err == ERR_OK) {
        script_lua_set_cancel(f.script, r->cancelled, r->cancel_ctx);
        err = fold(&f, v, ret, et);
    }
    script_lua_close(f.script);
    return err;
}
