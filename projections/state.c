/* state: see state.h. */
#include "state.h"

#include <inttypes.h>

#include "script_lua.h"
#include "storage/change.h"

struct fold {
    const struct state_request *r;
    struct script_lua *script;
    bool loaded, deleted;
    bool redacted; /* an event that the snapshot has */
    struct state_result *result;
};

/* ---- where to begin ---- */

static err_t position_of(struct store_view *v, struct bytes stream, uint64_t revision,
                         uint64_t *ret)
{
    struct store_record record;
    err_t err = store_get_stream_event(v, stream, revision, &record);
    if (err == ERR_OK) {
        *ret = record.position;
    }
    return err;
}

/* The last revision that the model has, by bisection: all after it is the tail. */
static err_t find_tail(const struct state_request *r, struct store_view *v,
                       const struct store_stream_info *info, uint64_t *ret_after)
{
    uint64_t low = info->first_revision, high = info->head_revision + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, position;
        err_t err = position_of(v, r->stream, middle, &position);
        if (err != ERR_OK) {
            return err;
        }
        if (position > r->checkpoint) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *ret_after = low - 1;
    return ERR_OK;
}

/* Those that the model itself has stored are none of the snapshot's. */
static err_t look_for_redaction(void *ctx, const struct change *c, uint64_t position)
{
    struct fold *f = ctx;
    (void)position;
    bool mine = c->kind == CHANGE_REDACTED && bytes_equal(c->stream, f->r->stream);
    if (mine && c->revision >= f->r->mark->from) {
        f->redacted = true;
    }
    return ERR_OK;
}

/* Whether the snapshot is what folding would give, and more than the model has. */
static err_t check_snapshot(struct fold *f, struct store_view *v,
                            const struct store_stream_info *info, bool *ret)
{
    const struct state_mark *m = f->r->mark;
    *ret = false;
    if (m == NULL || m->revision == 0 || m->revision > info->head_revision ||
        m->from < info->first_revision || m->checkpoint != f->r->checkpoint ||
        m->position <= f->r->checkpoint) {
        return ERR_OK;
    }
    uint64_t changes = m->changes;
    err_t err = change_read(v, &changes, look_for_redaction, f);
    *ret = err == ERR_OK && !f->redacted;
    return err;
}

/* What is known of the state before an event of the tail is folded. */
static err_t begin(struct fold *f, struct store_view *v, const struct store_stream_info *info,
                   struct bytes *ret_state, uint64_t *ret_after)
{
    struct state_mark *mark = &f->result->mark;
    bool usable;
    err_t err = check_snapshot(f, v, info, &usable);
    if (err == ERR_OK && usable) {
        *mark = *f->r->mark;
        *ret_state = f->r->snapshot;
        *ret_after = mark->revision;
    } else if (err == ERR_OK) {
        err = find_tail(f->r, v, info, ret_after);
        *mark = (struct state_mark){.checkpoint = f->r->checkpoint, .from = *ret_after + 1};
        *ret_state = f->r->stored;
    }
    return err;
}

static err_t finish_mark(struct fold *f, struct store_view *v, const struct store_stream_info *info)
{
    struct state_mark *mark = &f->result->mark;
    struct store_stream_info changes = {0};
    err_t err = store_get_stream(v, CHANGE_STREAM, &changes);
    mark->revision = info->head_revision;
    mark->position = store_view_position(v);
    mark->changes = changes.head_revision;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* ---- folding ---- */

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
        f->result->folded++;
        err = store_record_decode(&record, &e);
        err = err == ERR_OK ? fold_event(f, &e, et) : err;
        if (err != ERR_OK) {
            break;
        }
    }
    store_read_close(read);
    return err == ERR_END ? ERR_OK : err;
}

static err_t fold(struct fold *f, struct store_view *v, const struct store_stream_info *info,
                  struct buf *ret, struct err_text *et)
{
    uint64_t after = 0;
    struct bytes state = BYTES_NONE;
    err_t err = begin(f, v, info, &state, &after);
    if (err == ERR_OK && after == info->head_revision) { /* it is all there */
        buf_put(ret, state);
        return buf_status(ret);
    }
    if (err == ERR_OK && info->head_revision - after > STATE_TAIL_MAX) {
        return err_set(et, ERR_LIMIT, "the projection is more than %d events of this stream behind",
                       STATE_TAIL_MAX);
    }
    f->loaded = state.n > 0;
    if (err == ERR_OK && f->loaded) {
        err = script_lua_load(f->script, f->r->stream, state, et);
    }
    if (err == ERR_OK) {
        err = fold_tail(f, v, after, et);
    }
    return err == ERR_OK && f->loaded ? script_lua_save(f->script, f->r->stream, ret, et) : err;
}

err_t state_fold(const struct state_request *r, struct store_view *v, struct buf *ret,
                 struct state_result *ret_result, struct err_text *et)
{
    struct store_stream_info info;
    *ret_result = (struct state_result){0};
    struct fold f = {.r = r, .result = ret_result};
    err_t err = store_get_stream(v, r->stream, &info);
    if (err == ERR_OK && info.deleted) {
        err = ERR_GONE;
    }
    if (err != ERR_OK) {
        return err;
    }
    err = script_lua_open(r->source, &f.script, et);
    if (err == ERR_OK && script_lua_chooses_keys(f.script)) {
        err = ERR_UNSUPPORTED;
    }
    if (err == ERR_OK) {
        script_lua_set_cancel(f.script, r->cancelled, r->cancel_ctx);
        err = fold(&f, v, &info, ret, et);
    }
    script_lua_close(f.script);
    return err == ERR_OK ? finish_mark(&f, v, &info) : err;
}
