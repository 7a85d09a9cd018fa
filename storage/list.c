/* list: pages of the directory: the names in LMDB and the ones that only the tail has yet, merged
 * in byte order. */
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/hide.h"
#include "storage/source.h"

#define LOOKED_AT_MAX 100000

static enum name_kind kind_of(enum store_names names)
{
    switch (names) {
    case STORE_STREAMS:
        return NAME_STREAM;
    case STORE_CATEGORIES:
        return NAME_CATEGORY;
    case STORE_TYPES:
        return NAME_TYPE;
    case STORE_TAGS:
        return NAME_TAG;
    }
    return NAME_STREAM;
}

struct lister {
    struct store_view *view;
    enum name_kind kind;
    struct store_list_query query;
    /* Names of the tail that belong to the page, sorted; a name may come once per generation. */
    struct bytes *fresh;
    size_t fresh_count, fresh_cap, fresh_at;
    err_t failed;
};

static bool belongs(const struct lister *l, struct bytes name)
{
    return bytes_have_prefix(name, l->query.prefix) &&
           (l->query.after.n == 0 || bytes_compare(name, l->query.after) > 0) &&
           (l->query.system || !event_name_is_system(name));
}

static void take_fresh(void *ctx, struct bytes name)
{
    struct lister *l = ctx;
    if (l->failed != ERR_OK || !belongs(l, name)) {
        return;
    }
    if (l->fresh_count == l->fresh_cap) {
        size_t cap = l->fresh_cap == 0 ? 64 : l->fresh_cap * 2;
        struct bytes *p = realloc(l->fresh, cap * sizeof *p);
        if (p == NULL) {
            l->failed = ERR_MEMORY;
            return;
        }
        l->fresh = p;
        l->fresh_cap = cap;
    }
    /* The generations are referenced by the view, so their names stay. */
    l->fresh[l->fresh_count++] = name;
}

static int compare_names(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static err_t collect_fresh(struct lister *l)
{
    tail_each_name(&l->view->tail, l->kind, take_fresh, l);
    if (l->fresh_count > 1) {
        qsort(l->fresh, l->fresh_count, sizeof *l->fresh, compare_names);
    }
    return l->failed;
}

/* ---- the stored ones ---- */

struct stored {
    struct kv_cursor *cursor;
    struct bytes name; /* current; empty: no more */
};

/* Takes what the cursor moved to, as far as it belongs to the page. */
static err_t take_stored(const struct lister *l, struct stored *s, err_t moved, struct kv_row *row)
{
    while (moved == ERR_OK) {
        enum name_kind kind;
        struct name_row ignored;
        err_t err = names_decode(row, &kind, &s->name, &ignored);
        if (err != ERR_OK) {
            return err;
        }
        if (kind != l->kind || !bytes_have_prefix(s->name, l->query.prefix)) {
            break;
        }
        if (belongs(l, s->name)) {
            return ERR_OK;
        }
        moved = kv_next(s->cursor, row);
    }
    s->name = BYTES_NONE;
    return moved == ERR_OK || moved == ERR_END ? ERR_OK : moved;
}

static err_t start_stored(const struct lister *l, struct stored *s)
{
    uint8_t key[NAME_KEY_BYTES_MAX];
    struct kv_row row;
    struct bytes from =
        bytes_compare(l->query.after, l->query.prefix) > 0 ? l->query.after : l->query.prefix;
    if (from.n > EVENT_NAME_MAX) {
        from.n = EVENT_NAME_MAX; /* belongs() looks at the rest */
    }
    err_t err = kv_cursor_open(l->view->txn, KV_NAMES, &s->cursor);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_seek(s->cursor, names_key(l->kind, from, key), &row);
    return take_stored(l, s, err, &row);
}

static err_t next_stored(const struct lister *l, struct stored *s)
{
    struct kv_row row;
    err_t err = kv_next(s->cursor, &row);
    return take_stored(l, s, err, &row);
}

/* ---- merging ---- */

/* The smaller of the two heads, both moved past it; empty at the end. */
static err_t next_name(struct lister *l, struct stored *s, struct bytes *ret)
{
    struct bytes fresh = l->fresh_at < l->fresh_count ? l->fresh[l->fresh_at] : BYTES_NONE;
    bool use_fresh = fresh.n > 0 && (s->name.n == 0 || bytes_compare(fresh, s->name) <= 0);
    struct bytes name = use_fresh ? fresh : s->name;
    *ret = name;
    while (l->fresh_at < l->fresh_count && bytes_equal(l->fresh[l->fresh_at], name)) {
        l->fresh_at++;
    }
    return s->name.n > 0 && bytes_equal(s->name, name) ? next_stored(l, s) : ERR_OK;
}

static err_t is_deleted(struct store_view *v, struct bytes stream, uint64_t head, bool *ret)
{
    struct life life;
    err_t err = view_life(v, stream, &life);
    *ret = err == ERR_OK && life_is_deleted(&life, head);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Whether the event at a position of a list can be read. */
static err_t can_be_read(struct store_view *v, uint64_t position, bool *ret)
{
    uint32_t flags;
    struct bytes body;
    bool hidden = true;
    err_t err = view_record(v, position, &body, &flags);
    if (err == ERR_OK) {
        err = view_hides(v, body, flags, &hidden);
    }
    *ret = !hidden;
    return err;
}

/* A category, type or tag is not shown when nothing that can be read has it. The newest event
 * settles it mostly; a long run of hidden ones is there only until it is reclaimed, and longer than
 * LOOKED_AT_MAX it is not walked. */
static err_t has_nothing(struct store_view *v, enum name_kind kind, struct bytes name, bool *ret)
{
    struct source *s = malloc(sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    uint64_t position;
    bool shown = false;
    err_t err = source_open(s, v, kind, name);
    if (err == ERR_OK) {
        err = source_seek(s, v->tail.position, true, &position);
    }
    for (size_t i = 0; err == ERR_OK && i < LOOKED_AT_MAX; i++) {
        err = can_be_read(v, position, &shown);
        if (err != ERR_OK || shown) {
            break;
        }
        err = source_step(s, true, &position);
    }
    *ret = err == ERR_END;
    source_close(s);
    free(s);
    return err == ERR_END ? ERR_OK : err;
}

static err_t is_hidden(struct lister *l, struct bytes name, uint64_t count, bool *ret)
{
    *ret = false;
    if (!l->view->has_lives) {
        return ERR_OK;
    }
    return l->kind == NAME_STREAM ? is_deleted(l->view, name, count, ret)
                                  : has_nothing(l->view, l->kind, name, ret);
}

static err_t add_name(struct lister *l, struct bytes name, struct store_name_list *ret)
{
    struct name_state state;
    err_t err = view_name(l->view, l->kind, name, &state);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK; /* not committed yet */
    }
    if (err != ERR_OK) {
        return err;
    }
    bool hidden;
    err = is_hidden(l, name, state.count, &hidden);
    if (err != ERR_OK || hidden) {
        return err;
    }
    if (ret->n == l->query.limit) {
        ret->end = false;
        return ERR_OK;
    }
    struct store_name *item = &ret->items[ret->n];
    item->events = state.count;
    err = arena_copy(&ret->arena, name, &item->name);
    ret->n += err == ERR_OK;
    return err;
}

static err_t merge(struct lister *l, struct stored *s, struct store_name_list *ret)
{
    err_t err = start_stored(l, s);
    while (err == ERR_OK && ret->end) {
        struct bytes name;
        err = next_name(l, s, &name);
        if (err != ERR_OK || name.n == 0) {
            break;
        }
        err = add_name(l, name, ret);
    }
    return err;
}

err_t store_list_names(struct store_view *v, const struct store_list_query *q,
                       struct store_name_list *ret)
{
    struct lister l = {.view = v, .kind = kind_of(q->kind), .query = *q};
    struct stored stored = {0};
    *ret = (struct store_name_list){.end = true};
    arena_init(&ret->arena, 4096, SIZE_MAX / 2);
    ret->items = arena_alloc(&ret->arena, q->limit * sizeof *ret->items);
    err_t err = ret->items == NULL ? ERR_MEMORY : collect_fresh(&l);
    if (err == ERR_OK) {
        err = merge(&l, &stored, ret);
    }
    kv_cursor_close(stored.cursor);
    free(l.fresh);
    if (err != ERR_OK) {
        store_name_list_done(ret);
    }
    return err;
}

void store_name_list_done(struct store_name_list *list)
{
    arena_done(&list->arena);
    *list = (struct store_name_list){0};
}
