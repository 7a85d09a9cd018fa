/* source: one posting list over LMDB's blocks and the tail's spans. */
#include "source.h"

#include "storage/base/check.h"

/* Cuts off the front of the spans what LMDB has already. */
static void cut_spans(struct source *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->span_count; i++) {
        struct tail_span span = s->spans[i];
        size_t from = posting_search(span.positions, span.n, s->row.last + 1);
        if (from < span.n) {
            s->spans[kept++] =
                (struct tail_span){.positions = span.positions + from,
                                   .prints = span.prints == NULL ? NULL : span.prints + from,
                                   .n = span.n - from,
                                   .base = span.base + from};
        }
    }
    s->span_count = kept;
}

bool source_misses_row(enum name_kind kind, const struct tail_span *spans, size_t n,
                       uint64_t stored)
{
    return kind == NAME_STREAM && n > 0 && spans[0].base > stored;
}

err_t source_open(struct source *s, struct store_view *v, enum name_kind kind, struct bytes name)
{
    s->view = v;
    s->kind = kind;
    s->cursor = NULL;
    s->block_loaded = false;
    s->span = SOURCE_IN_BLOCK;
    s->at = 0;
    err_t err = names_get(v->txn, kind, name, &s->row);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return err;
    }
    s->span_count = tail_find(&v->tail, kind, name, s->spans);
    if (source_misses_row(kind, s->spans, s->span_count, s->row.count)) {
        return ERR_CORRUPT;
    }
    cut_spans(s);
    return s->row.id == 0 && s->span_count == 0 ? ERR_NOT_FOUND : ERR_OK;
}

void source_close(struct source *s)
{
    kv_cursor_close(s->cursor);
    s->cursor = NULL;
}

uint64_t source_count(const struct source *s)
{
    uint64_t n = s->row.count;
    for (size_t i = 0; i < s->span_count; i++) {
        n += s->spans[i].n;
    }
    return n;
}

uint64_t source_revision(const struct source *s)
{
    return s->span == SOURCE_IN_BLOCK ? s->block.ordinal + s->at
                                      : s->spans[s->span].base + s->at + 1;
}

uint16_t source_print(const struct source *s)
{
    return s->span == SOURCE_IN_BLOCK ? s->block.prints[s->at] : s->spans[s->span].prints[s->at];
}

static uint64_t here(const struct source *s)
{
    return s->span == SOURCE_IN_BLOCK ? s->block.positions[s->at]
                                      : s->spans[s->span].positions[s->at];
}

/* ---- blocks ---- */

/* Takes the row that a move of the cursor gave; ERR_END where it is of another list. */
static err_t load(struct source *s, err_t moved, const struct kv_row *row)
{
    if (moved != ERR_OK) {
        return moved;
    }
    if (!posting_key_is(row->key, s->kind, s->row.id)) {
        return ERR_END;
    }
    err_t err = posting_decode(row, s->kind, &s->block);
    s->block_loaded = err == ERR_OK;
    return err;
}

static err_t need_cursor(struct source *s)
{
    return s->cursor == NULL ? kv_cursor_open(s->view->txn, KV_POSTINGS, &s->cursor) : ERR_OK;
}

/* Loads the block that holds the ordinal, or the one before it. */
static err_t load_at(struct source *s, uint64_t ordinal)
{
    err_t err = need_cursor(s);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t key[POSTING_KEY_BYTES];
    struct kv_row row;
    err = kv_seek_back(s->cursor, posting_key(s->kind, s->row.id, ordinal, key), &row);
    return load(s, err, &row);
}

static err_t load_neighbour(struct source *s, bool backward)
{
    struct kv_row row;
    err_t err = backward ? kv_prev(s->cursor, &row) : kv_next(s->cursor, &row);
    return load(s, err, &row);
}

static bool block_holds(const struct source *s, uint64_t position)
{
    return s->block_loaded && position >= s->block.positions[0] &&
           position <= s->block.positions[s->block.n - 1];
}

/* A stream's blocks are keyed by revision: a binary search over revisions finds the block of a
 * position. */
static err_t load_stream_block(struct source *s, uint64_t position)
{
    uint64_t low = 1, high = s->row.count;
    while (low <= high) {
        uint64_t middle = low + (high - low) / 2;
        err_t err = load_at(s, middle);
        if (err != ERR_OK) {
            return err == ERR_END ? ERR_CORRUPT : err;
        }
        if (middle - s->block.ordinal >= s->block.n) {
            return ERR_CORRUPT; /* a hole between two blocks */
        }
        if (position < s->block.positions[0]) {
            high = s->block.ordinal - 1;
        } else if (position > s->block.positions[s->block.n - 1]) {
            low = s->block.ordinal + s->block.n;
        } else {
            return ERR_OK;
        }
    }
    return ERR_OK; /* between two blocks: one of them is loaded */
}

/* Loads a block that holds `position`, or a neighbour of where it would be. It is in
 * [row.first, row.last]. */
static err_t load_block_of(struct source *s, uint64_t position)
{
    if (block_holds(s, position)) {
        return ERR_OK;
    }
    err_t err = s->kind == NAME_STREAM ? load_stream_block(s, position) : load_at(s, position);
    return err == ERR_END ? ERR_CORRUPT : err;
}

static err_t seek_in_blocks(struct source *s, uint64_t position, bool backward)
{
    err_t err = load_block_of(s, position);
    if (err != ERR_OK) {
        return err;
    }
    s->span = SOURCE_IN_BLOCK;
    size_t at = posting_search(s->block.positions, s->block.n, position);
    if (at < s->block.n && s->block.positions[at] == position) {
        s->at = at;
        return ERR_OK;
    }
    if (backward && at == 0) {
        err = load_neighbour(s, true);
        s->at = s->block.n - 1;
    } else if (backward) {
        s->at = at - 1;
    } else if (at == s->block.n) {
        err = load_neighbour(s, false);
        s->at = 0;
    } else {
        s->at = at;
    }
    return err == ERR_END ? ERR_CORRUPT : err;
}

/* ---- spans ---- */

static err_t to_span(struct source *s, size_t span, size_t at)
{
    s->span = span;
    s->at = at;
    return ERR_OK;
}

static err_t seek_forward(struct source *s, uint64_t position)
{
    if (position <= s->row.last) {
        return seek_in_blocks(s, position < s->row.first ? s->row.first : position, false);
    }
    for (size_t i = 0; i < s->span_count; i++) {
        size_t at = posting_search(s->spans[i].positions, s->spans[i].n, position);
        if (at < s->spans[i].n) {
            return to_span(s, i, at);
        }
    }
    return ERR_END;
}

static err_t seek_backward(struct source *s, uint64_t position)
{
    for (size_t i = s->span_count; i-- > 0;) {
        if (s->spans[i].positions[0] <= position) {
            return to_span(s, i,
                           posting_search(s->spans[i].positions, s->spans[i].n, position + 1) - 1);
        }
    }
    if (s->row.id == 0 || position < s->row.first) {
        return ERR_END;
    }
    return seek_in_blocks(s, position > s->row.last ? s->row.last : position, true);
}

err_t source_seek(struct source *s, uint64_t position, bool backward, uint64_t *ret)
{
    err_t err = backward ? seek_backward(s, position) : seek_forward(s, position);
    if (err == ERR_OK) {
        *ret = here(s);
        /* Damaged blocks must not turn a reader round. */
        err = (backward ? *ret <= position : *ret >= position) ? ERR_OK : ERR_CORRUPT;
    }
    return err;
}

static err_t step_forward(struct source *s)
{
    bool in_block = s->span == SOURCE_IN_BLOCK;
    size_t n = in_block ? s->block.n : s->spans[s->span].n;
    if (s->at + 1 < n) {
        s->at++;
        return ERR_OK;
    }
    if (in_block && s->block.positions[s->at] < s->row.last) {
        err_t err = load_neighbour(s, false);
        s->at = 0;
        return err == ERR_END ? ERR_CORRUPT : err;
    }
    size_t next = in_block ? 0 : s->span + 1;
    return next < s->span_count ? to_span(s, next, 0) : ERR_END;
}

static err_t step_backward(struct source *s)
{
    if (s->at > 0) {
        s->at--;
        return ERR_OK;
    }
    if (s->span == SOURCE_IN_BLOCK) {
        if (s->block.positions[0] == s->row.first) {
            return ERR_END;
        }
        err_t err = load_neighbour(s, true);
        s->at = s->block.n - 1;
        return err == ERR_END ? ERR_CORRUPT : err;
    }
    if (s->span > 0) {
        return to_span(s, s->span - 1, s->spans[s->span - 1].n - 1);
    }
    return s->row.id == 0 ? ERR_END : seek_in_blocks(s, s->row.last, true);
}

err_t source_step(struct source *s, bool backward, uint64_t *ret)
{
    err_t err = backward ? step_backward(s) : step_forward(s);
    if (err == ERR_OK) {
        *ret = here(s);
    }
    return err;
}

static err_t seek_stored_revision(struct source *s, uint64_t revision)
{
    bool loaded =
        s->block_loaded && revision >= s->block.ordinal && revision - s->block.ordinal < s->block.n;
    err_t err = loaded ? ERR_OK : load_at(s, revision);
    if (err != ERR_OK) {
        return err == ERR_END ? ERR_CORRUPT : err;
    }
    if (revision < s->block.ordinal || revision - s->block.ordinal >= s->block.n) {
        return ERR_CORRUPT;
    }
    s->span = SOURCE_IN_BLOCK;
    s->at = (size_t)(revision - s->block.ordinal);
    return ERR_OK;
}

err_t source_seek_revision(struct source *s, uint64_t revision, uint64_t *ret)
{
    CHECK(s->kind == NAME_STREAM && revision > 0);
    err_t err = ERR_END;
    if (revision <= s->row.count) {
        err = seek_stored_revision(s, revision);
    }
    for (size_t i = 0; i < s->span_count && err == ERR_END; i++) {
        if (revision > s->spans[i].base && revision - s->spans[i].base <= s->spans[i].n) {
            err = to_span(s, i, (size_t)(revision - s->spans[i].base - 1));
        }
    }
    if (err == ERR_OK) {
        *ret = here(s);
    }
    return err;
}
