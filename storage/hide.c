/* hide: see hide.h. The verdict on a stream is remembered for the life of the view, so that a scan
 * over a log of few streams looks each up once. */
#include "hide.h"

#include <stdlib.h>

#include "storage/record.h"
#include "storage/source.h"

#define FILTER_SEED 0x6c69766573u

struct hide_entry {
    uint64_t hash;
    struct bytes stream; /* in a record of the view; empty: free */
    uint64_t first;
};

/* ---- the filter ---- */

static uint64_t hash_of(struct bytes stream)
{
    return bytes_hash(stream, FILTER_SEED);
}

static bool may_have_life(const struct store *s, uint64_t hash)
{
    size_t bit = (size_t)hash % HIDE_FILTER_BITS;
    return (atomic_load_explicit(&s->life_bits[bit / 8], memory_order_relaxed) >> bit % 8 & 1) != 0;
}

void hide_mark(struct store *s, struct bytes stream)
{
    size_t bit = (size_t)hash_of(stream) % HIDE_FILTER_BITS;
    atomic_fetch_or_explicit(&s->life_bits[bit / 8], (uint8_t)(1u << bit % 8),
                             memory_order_relaxed);
    atomic_store(&s->has_lives, true);
}

void hide_forget(struct store *s)
{
    for (size_t i = 0; i < sizeof s->life_bits; i++) {
        atomic_store_explicit(&s->life_bits[i], 0, memory_order_relaxed);
    }
    atomic_store(&s->has_lives, false);
    atomic_store(&s->lives_damaged, false);
    atomic_store(&s->redactions_waiting, 0);
    atomic_store(&s->reclaimed_position, 0);
}

/* Whose life or redaction a damaged row was is not known: from now on none is missing, so what has
 * no row is not shown either. A reindex makes the rows again. */
static void note_damage(struct store *s)
{
    for (size_t i = 0; i < sizeof s->life_bits; i++) {
        atomic_store_explicit(&s->life_bits[i], UINT8_MAX, memory_order_relaxed);
    }
    atomic_store(&s->has_lives, true);
    atomic_store(&s->lives_damaged, true);
    atomic_fetch_add(&s->redactions_waiting, 1);
}

static err_t missing(const struct store *s)
{
    return atomic_load_explicit(&s->lives_damaged, memory_order_relaxed) ? ERR_CORRUPT
                                                                         : ERR_NOT_FOUND;
}

static bool is_good_row(const struct kv_row *row, enum kv_table table)
{
    struct life life;
    uint64_t target, position;
    err_t err =
        table == KV_LIVES ? lives_decode(row, &life) : redactions_decode(row, &target, &position);
    return err == ERR_OK;
}

static err_t load_table(struct store *s, struct kv_txn *txn, enum kv_table table)
{
    struct kv_cursor *cursor;
    struct kv_row row;
    err_t err = kv_cursor_open(txn, table, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    for (err = kv_first(cursor, &row); err == ERR_OK; err = kv_next(cursor, &row)) {
        if (!is_good_row(&row, table)) {
            note_damage(s);
        } else if (table == KV_LIVES) {
            hide_mark(s, row.key);
        } else {
            atomic_fetch_add(&s->redactions_waiting, 1);
        }
    }
    kv_cursor_close(cursor);
    if (err == ERR_CORRUPT) {
        note_damage(s); /* also of the rows behind it */
    }
    return err == ERR_END || err == ERR_CORRUPT ? ERR_OK : err;
}

err_t hide_load(struct store *s)
{
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, false, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = load_table(s, txn, KV_LIVES);
    if (err == ERR_OK) {
        err = load_table(s, txn, KV_REDACTIONS);
    }
    uint64_t scrub = 0, purge = 0;
    if (err == ERR_OK) {
        err = meta_get(txn, META_SCRUB, &scrub);
    }
    if (err == ERR_OK) {
        err = meta_get(txn, META_PURGE, &purge);
    }
    kv_abort(txn);
    /* How far reclaim was is not known any more: the first pass finds out. */
    bool any = atomic_load(&s->has_lives) || atomic_load(&s->redactions_waiting) > 0;
    atomic_store(&s->life_position, any || scrub > 0 || purge > 0);
    return err;
}

/* ---- lives in a view ---- */

err_t view_life(struct store_view *v, struct bytes stream, struct life *ret)
{
    if (!v->has_lives || !may_have_life(v->store, hash_of(stream))) {
        return ERR_NOT_FOUND;
    }
    if (tail_find_life(&v->tail, stream, v->life_position, ret)) {
        return ERR_OK;
    }
    err_t err = lives_get(v->txn, stream, ret);
    return err == ERR_NOT_FOUND ? missing(v->store) : err;
}

static err_t time_of(struct store_view *v, struct source *s, uint64_t revision, int64_t *ret)
{
    uint64_t position;
    uint32_t flags;
    struct bytes body;
    struct record_head head;
    err_t err = source_seek_revision(s, revision, &position);
    if (err == ERR_OK) {
        err = view_record(v, position, &body, &flags);
    }
    if (err == ERR_OK) {
        err = record_peek(body, &head);
    }
    if (err == ERR_OK) {
        *ret = head.time_us;
    }
    return err;
}

/* The first revision in [first, last + 1] whose event is not before `expiry_us`. */
static err_t search_time(struct store_view *v, struct source *s, uint64_t first, uint64_t last,
                         int64_t expiry_us, uint64_t *ret)
{
    uint64_t low = first, high = last + 1, middle = first;
    while (low < high) { /* the first step looks at the oldest: mostly it is young enough */
        int64_t time_us;
        err_t err = time_of(v, s, middle, &time_us);
        if (err != ERR_OK) {
            return err;
        }
        if (time_us < expiry_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
        middle = low + (high - low) / 2;
    }
    *ret = low;
    return ERR_OK;
}

err_t view_first_revision(struct store_view *v, const struct life *life, uint64_t head,
                          uint64_t *ret)
{
    uint64_t first = life_first(life, head);
    int64_t expiry_us = life_expiry_us(life, v->time_us);
    *ret = first;
    if (expiry_us == INT64_MIN || first > head) {
        return ERR_OK;
    }
    struct source *s = malloc(sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    err_t err = source_open(s, v, NAME_STREAM, life->stream);
    if (err == ERR_OK) {
        /* What the writer has not committed yet is of now. */
        uint64_t last = source_count(s) < head ? source_count(s) : head;
        err = first > last ? ERR_OK : search_time(v, s, first, last, expiry_us, ret);
    }
    source_close(s);
    free(s);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

err_t view_window(struct store_view *v, struct bytes stream, uint64_t head,
                  struct stream_window *ret)
{
    *ret = (struct stream_window){.first = 1};
    err_t err = view_life(v, stream, &ret->life);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    ret->has_life = true;
    ret->deleted = life_is_deleted(&ret->life, head);
    return view_first_revision(v, &ret->life, head, &ret->first);
}

/* ---- events in a view ---- */

static err_t first_of(struct store_view *v, struct bytes stream, uint64_t *ret)
{
    struct name_state state;
    struct stream_window window;
    err_t err = view_name(v, NAME_STREAM, stream, &state);
    if (err == ERR_OK) {
        err = view_window(v, stream, state.count, &window);
    }
    if (err == ERR_OK) {
        *ret = window.first;
    }
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* it has an event */
}

/* `stream` stands in a record of the view, so it may be remembered. */
static err_t first_remembered(struct store_view *v, struct bytes stream, uint64_t hash,
                              uint64_t *ret)
{
    if (v->hide_cache == NULL) {
        v->hide_cache = calloc(HIDE_CACHE_ENTRIES, sizeof *v->hide_cache);
    }
    if (v->hide_cache == NULL) {
        return ERR_MEMORY;
    }
    struct hide_entry *e = &v->hide_cache[hash % HIDE_CACHE_ENTRIES];
    if (e->hash != hash || !bytes_equal(e->stream, stream)) {
        err_t err = first_of(v, stream, &e->first);
        if (err != ERR_OK) {
            e->stream = BYTES_NONE;
            return err;
        }
        e->hash = hash;
        e->stream = stream;
    }
    *ret = e->first;
    return ERR_OK;
}

err_t view_hides(struct store_view *v, struct bytes body, uint32_t flags, bool *ret)
{
    *ret = (flags & RECORD_GONE) != 0;
    if (*ret || !v->has_lives) {
        return ERR_OK;
    }
    struct record_head head;
    err_t err = record_peek(body, &head);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t hash = hash_of(head.stream), first = 1;
    if (may_have_life(v->store, hash)) {
        err = first_remembered(v, head.stream, hash, &first);
    }
    *ret = head.revision < first;
    return err;
}

void view_forget_hidden(struct store_view *v)
{
    free(v->hide_cache);
    v->hide_cache = NULL;
}

err_t view_is_redacted(struct store_view *v, uint64_t position, bool *ret)
{
    uint64_t by;
    *ret = v->tail_redactions && tail_find_redaction(&v->tail, position, v->life_position);
    if (*ret || !v->stored_redactions) {
        return ERR_OK;
    }
    err_t err = redactions_get(v->txn, position, &by);
    *ret = err == ERR_OK;
    if (err == ERR_NOT_FOUND) {
        err = missing(v->store);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
