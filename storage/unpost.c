/* unpost: see unpost.h. Block by block: the ones that have a position of the list are written again
 * without it. */
#include "unpost.h"

#include <stdlib.h>

#include "storage/posting.h"

/* Two blocks are large for a stack. */
struct unposter {
    struct kv_txn *txn;
    const struct tail_list *list;
    struct name_row row;
    struct posting_block block, left;
};

/* Loads the list's last block at or before an ordinal; false: there is none. */
static err_t load(struct unposter *u, uint64_t ordinal, bool *ret)
{
    struct kv_cursor *cursor;
    struct kv_row row;
    uint8_t key[POSTING_KEY_BYTES];
    *ret = false;
    err_t err = kv_cursor_open(u->txn, KV_POSTINGS, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_seek_back(cursor, posting_key(u->list->kind, u->row.id, ordinal, key), &row);
    if (err == ERR_OK && posting_key_is(row.key, u->list->kind, u->row.id)) {
        err = posting_decode(&row, u->list->kind, &u->block);
        *ret = err == ERR_OK;
    }
    kv_cursor_close(cursor);
    return err == ERR_END ? ERR_OK : err;
}

static err_t put(struct unposter *u, const struct posting_block *b)
{
    uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX];
    size_t n = posting_encode(b, u->list->kind, value);
    return kv_put(u->txn, KV_POSTINGS, posting_key(u->list->kind, u->row.id, b->ordinal, key),
                  bytes_of(value, n));
}

static err_t drop(struct unposter *u, uint64_t ordinal)
{
    uint8_t key[POSTING_KEY_BYTES];
    return kv_delete(u->txn, KV_POSTINGS, posting_key(u->list->kind, u->row.id, ordinal, key));
}

/* ---- streams ---- */

static err_t unpost_stream(struct unposter *u)
{
    const struct tail_list *list = u->list;
    uint32_t n = atomic_load(&list->n), i = 0;
    uint64_t ordinal = list->base + 1; /* revision of the first position */
    while (i < n) {
        bool found;
        err_t err = load(u, ordinal, &found);
        if (err != ERR_OK || !found || u->block.ordinal + u->block.n <= ordinal) {
            return err; /* damage is for verify to tell */
        }
        for (uint32_t k = 0; k < u->block.n && i < n; k++) {
            if (u->block.positions[k] == list->positions[i]) {
                u->block.prints[k] = 0;
                i++;
            }
        }
        err = put(u, &u->block);
        if (err != ERR_OK) {
            return err;
        }
        ordinal = u->block.ordinal + u->block.n;
    }
    return ERR_OK;
}

/* ---- the other kinds ---- */

/* The block without the list's positions, from list->positions[*i] on; moves *i past the block. */
static void filter_block(struct unposter *u, uint32_t *i)
{
    const struct tail_list *list = u->list;
    uint32_t n = atomic_load(&list->n);
    const struct posting_block *b = &u->block;
    posting_start(&u->left, 0);
    for (uint32_t k = 0; k < b->n; k++) {
        while (*i < n && list->positions[*i] < b->positions[k]) {
            ++*i;
        }
        if (*i < n && list->positions[*i] == b->positions[k]) {
            continue;
        }
        u->left.ordinal = u->left.n == 0 ? b->positions[k] : u->left.ordinal;
        (void)posting_add(&u->left, list->kind, b->positions[k], 0); /* it gets no larger */
    }
    while (*i < n && list->positions[*i] <= b->positions[b->n - 1]) {
        ++*i;
    }
}

static err_t rewrite_block(struct unposter *u, uint32_t *i)
{
    filter_block(u, i);
    uint32_t removed = u->block.n - u->left.n;
    if (removed == 0) {
        return ERR_OK;
    }
    u->row.count -= removed < u->row.count ? removed : u->row.count;
    err_t err = ERR_OK;
    if (u->left.n == 0 || u->left.ordinal != u->block.ordinal) {
        err = drop(u, u->block.ordinal);
    }
    return err == ERR_OK && u->left.n > 0 ? put(u, &u->left) : err;
}

/* The first and the last position that are left. */
static err_t find_ends(struct unposter *u, bool *ret_any)
{
    struct kv_cursor *cursor;
    struct kv_row row;
    uint8_t key[POSTING_KEY_BYTES];
    err_t err = kv_cursor_open(u->txn, KV_POSTINGS, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_seek(cursor, posting_key(u->list->kind, u->row.id, 0, key), &row);
    *ret_any = err == ERR_OK && posting_key_is(row.key, u->list->kind, u->row.id);
    if (*ret_any) {
        u->row.first = bytes_get_u64be(row.key.p + POSTING_KEY_BYTES - 8);
    }
    kv_cursor_close(cursor);
    if (err == ERR_OK && *ret_any) {
        err = load(u, UINT64_MAX, ret_any);
        u->row.last = u->block.positions[u->block.n - 1];
    }
    return err == ERR_END ? ERR_OK : err;
}

static err_t put_row(struct unposter *u)
{
    bool any;
    err_t err = find_ends(u, &any);
    if (err != ERR_OK) {
        return err;
    }
    return any && u->row.count > 0 ? names_put(u->txn, u->list->kind, u->list->name, &u->row)
                                   : names_delete(u->txn, u->list->kind, u->list->name);
}

static err_t unpost_name(struct unposter *u)
{
    uint32_t n = atomic_load(&u->list->n);
    for (uint32_t i = 0; i < n;) {
        bool found;
        uint32_t before = i;
        err_t err = load(u, u->list->positions[i], &found);
        if (err == ERR_OK && found) {
            err = rewrite_block(u, &i);
        }
        if (err != ERR_OK) {
            return err;
        }
        i = i == before ? i + 1 : i;
    }
    return put_row(u);
}

err_t unpost_list(struct kv_txn *txn, const struct tail_list *list)
{
    struct unposter *u = malloc(sizeof *u);
    if (u == NULL) {
        return ERR_MEMORY;
    }
    u->txn = txn;
    u->list = list;
    err_t err = names_get(txn, list->kind, list->name, &u->row);
    if (err == ERR_OK) {
        err = list->kind == NAME_STREAM ? unpost_stream(u) : unpost_name(u);
    }
    free(u);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
