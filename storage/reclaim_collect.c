/* reclaim_collect: which events a pass takes away next. Only LMDB is asked, never the tail: so
 * every view that can see the outcome also knows the lives, heads and times that it came from. */
#include <stdlib.h>

#include "storage/hide.h"
#include "storage/reclaim.h"
#include "storage/source.h"

#define LIVES_MAX 4096 /* in one step */

struct collector {
    struct store_view view;
    struct reclaimer *reclaimer;
    struct source source;
};

static bool is_full(const struct reclaimer *r)
{
    return r->target_count == RECLAIM_TARGETS_MAX;
}

static void add_target(struct reclaimer *r, struct reclaim_target target)
{
    r->targets[r->target_count++] = target;
}

/* ---- redactions ---- */

/* They are deleted when they are done, so each step starts at the first. */
static err_t take_redactions(struct collector *c, struct kv_cursor *cursor)
{
    struct kv_row row;
    struct reclaimer *r = c->reclaimer;
    err_t err = kv_first(cursor, &row);
    while (err == ERR_OK && !is_full(r)) {
        uint64_t target, by;
        if (redactions_decode(&row, &target, &by) == ERR_OK) { /* a damaged row is for verify */
            add_target(r, (struct reclaim_target){.position = target, .redact = true});
            r->for_good = true;
        }
        err = kv_next(cursor, &row);
    }
    r->redactions_taken = err == ERR_END;
    return err == ERR_END ? ERR_OK : err;
}

/* ---- lives ---- */

static err_t add_note(struct reclaimer *r, struct bytes stream, uint64_t through)
{
    if (r->note_count == r->note_cap) {
        size_t cap = r->note_cap == 0 ? 64 : r->note_cap * 2;
        struct reclaim_note *p = realloc(r->notes, cap * sizeof *p);
        if (p == NULL) {
            return ERR_MEMORY;
        }
        r->notes = p;
        r->note_cap = cap;
    }
    struct reclaim_note *note = &r->notes[r->note_count];
    note->through = through;
    err_t err = arena_copy(&r->arena, stream, &note->stream);
    r->note_count += err == ERR_OK;
    return err;
}

/* Revisions [from, end) of the stream, as many as there is room for. */
static err_t add_revisions(struct collector *c, const struct life *life, uint64_t from,
                           uint64_t end)
{
    struct source *s = &c->source;
    struct reclaimer *r = c->reclaimer;
    uint64_t position, revision = from;
    err_t err = source_open(s, &c->view, NAME_STREAM, life->stream);
    if (err == ERR_OK) {
        err = source_seek_revision(s, from, &position);
    }
    while (err == ERR_OK && revision < end && !is_full(r)) {
        add_target(r, (struct reclaim_target){.position = position,
                                              .note = (uint32_t)r->note_count,
                                              .revision = revision});
        r->for_good = r->for_good || revision < life->floor;
        revision++;
        err = revision < end ? source_step(s, false, &position) : ERR_OK;
    }
    source_close(s);
    if (revision > from) { /* also where the list was found damaged behind them */
        err_t noted = add_note(r, life->stream, revision - 1);
        err = err == ERR_OK ? noted : err;
    }
    return err;
}

/* The first revision that can be read, by the row and by the newest life; of the events that LMDB
 * has. */
static err_t find_first(struct collector *c, const struct life *row, uint64_t head, uint64_t *ret)
{
    struct life newest;
    uint64_t first;
    err_t err = view_first_revision(&c->view, row, head, ret);
    if (err == ERR_OK) {
        err = view_life(&c->view, row->stream, &newest);
    }
    if (err == ERR_OK) {
        err = view_first_revision(&c->view, &newest, head, &first);
        *ret = err == ERR_OK && first < *ret ? first : *ret;
    }
    return err;
}

/* *ret_whole: nothing of it is left for the next step. */
static err_t take_life(struct collector *c, const struct life *life, bool *ret_whole)
{
    struct name_row row;
    uint64_t first = 0;
    *ret_whole = true;
    err_t err = names_get(c->view.txn, NAME_STREAM, life->stream, &row);
    if (err == ERR_OK) {
        err = find_first(c, life, row.count, &first);
    }
    uint64_t from = life->reclaimed + 1;
    if (err != ERR_OK || from >= first) {
        /* A damaged list is for verify to tell, not a reason to stop. */
        return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? ERR_OK : err;
    }
    struct reclaimer *r = c->reclaimer;
    size_t room = RECLAIM_TARGETS_MAX - r->target_count;
    err = add_revisions(c, life, from, first);
    *ret_whole = err != ERR_OK || first - from <= room;
    return err == ERR_CORRUPT || err == ERR_END ? ERR_OK : err;
}

static void remember(struct reclaimer *r, struct bytes name)
{
    memcpy(r->name, name.p, name.n);
    r->name_bytes = name.n;
}

static err_t seek(const struct reclaimer *r, struct kv_cursor *cursor, struct kv_row *row)
{
    struct bytes name = bytes_of(r->name, r->name_bytes);
    if (name.n == 0) {
        return kv_first(cursor, row);
    }
    err_t err = kv_seek(cursor, name, row);
    return err == ERR_OK && bytes_equal(row->key, name) ? kv_next(cursor, row) : err;
}

static err_t take_lives(struct collector *c, struct kv_cursor *cursor)
{
    struct reclaimer *r = c->reclaimer;
    struct kv_row row;
    err_t err = seek(r, cursor, &row);
    for (size_t n = 0; err == ERR_OK && n < LIVES_MAX && !is_full(r); n++) {
        struct life life;
        bool whole = true;
        err = lives_decode(&row, &life);
        if (err == ERR_OK) {
            err = take_life(c, &life, &whole);
            r->rolling += life.max_count > 0 || life.max_age_s > 0;
        }
        if (err == ERR_CORRUPT) {
            err = ERR_OK;
        }
        if (err != ERR_OK || !whole) {
            return err;
        }
        remember(r, row.key);
        err = kv_next(cursor, &row);
    }
    r->lives_taken = err == ERR_END;
    return err == ERR_END ? ERR_OK : err;
}

/* ---- one step ---- */

static int compare_targets(const void *a, const void *b)
{
    const struct reclaim_target *x = a, *y = b;
    if (x->position != y->position) {
        return x->position < y->position ? -1 : 1;
    }
    return x->redact - y->redact; /* what is taken away comes first */
}

static err_t with_table(struct collector *c, enum kv_table table,
                        err_t (*take)(struct collector *c, struct kv_cursor *cursor))
{
    struct kv_cursor *cursor;
    err_t err = kv_cursor_open(c->view.txn, table, &cursor);
    if (err == ERR_OK) {
        err = take(c, cursor);
        kv_cursor_close(cursor);
    }
    return err;
}

static err_t collect(struct collector *c)
{
    struct reclaimer *r = c->reclaimer;
    c->view.time_us = r->time_us;
    err_t err = r->redactions_taken ? ERR_OK : with_table(c, KV_REDACTIONS, take_redactions);
    if (err == ERR_OK && !is_full(r)) {
        err = with_table(c, KV_LIVES, take_lives);
    }
    if (err == ERR_OK && r->target_count > 1) {
        qsort(r->targets, r->target_count, sizeof *r->targets, compare_targets);
    }
    return err;
}

err_t reclaim_collect(struct store *s)
{
    struct collector *c = malloc(sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    c->reclaimer = s->reclaimer;
    err_t err = view_init(&c->view, s);
    if (err == ERR_OK) {
        err = collect(c);
        view_done(&c->view);
    }
    free(c);
    return err;
}
