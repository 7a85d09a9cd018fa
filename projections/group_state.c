/* group_state: one group's memory, from its rows and back to them. */
#include <stdlib.h>

#include "projections/group_int.h"
#include "storage/base/check.h"

#define ROW_BYTES_MAX ((size_t)1 << 20)
/* How far it has looked is written when it has looked at so much, even if nothing matched. */
#define LOOKED_MAX 10000

/* ---- batches of leases ---- */

/* The batches of a fetch share its token; each has a key of its own. */
static uint64_t token_key(const uint8_t token[GROUP_TOKEN_BYTES], uint32_t index)
{
    return bytes_get_u64le(token) ^ ((uint64_t)(index / GROUP_BATCH_MAX) << 48);
}

static err_t place_batch(struct group_state *st, struct group_batch *batch, uint32_t *ret)
{
    uint32_t at = st->batches_hint;
    err_t err = group_map_reserve(&st->by_token, st->by_token.n + 1);
    while (at < st->batches_used && st->batches[at] != NULL) {
        at++;
    }
    if (err == ERR_OK && at == st->batches_cap) {
        uint32_t cap = at == 0 ? 8 : at * 2;
        void *batches = realloc(st->batches, cap * sizeof(struct group_batch *));
        if (batches == NULL) {
            return ERR_MEMORY;
        }
        st->batches = batches;
        st->batches_cap = cap;
    }
    if (err == ERR_OK) {
        st->batches[at] = batch;
        st->batches_hint = at + 1;
        st->batches_used = at == st->batches_used ? at + 1 : st->batches_used;
        group_map_put(&st->by_token, token_key(batch->token, batch->base), at);
        *ret = at;
    }
    return err;
}

static struct group_batch *alloc_batch(uint32_t room, struct bytes consumer)
{
    size_t bytes = sizeof(struct group_batch) + room * sizeof(uint32_t) + consumer.n;
    struct group_batch *batch = calloc(1, bytes);
    if (batch != NULL) {
        batch->room = (uint16_t)room;
        batch->consumer = (uint8_t *)(batch->nodes + room);
        batch->consumer_n = consumer.n;
        if (consumer.n > 0) {
            memcpy(batch->consumer, consumer.p, consumer.n);
        }
        for (uint32_t i = 0; i < room; i++) {
            batch->nodes[i] = GROUP_NONE;
        }
    }
    return batch;
}

err_t group_batch_new(struct group_state *st, const struct group_fetch *fetch, uint32_t base,
                      uint32_t *ret)
{
    if (group_map_get(&st->by_token, token_key(fetch->token, base)) != GROUP_NONE) {
        return ERR_INVALID;
    }
    uint32_t left = fetch->max - base;
    struct group_batch *batch =
        alloc_batch(left < GROUP_BATCH_MAX ? left : GROUP_BATCH_MAX, fetch->consumer);
    if (batch == NULL) {
        return ERR_MEMORY;
    }
    batch->number = st->record.next_batch + 1;
    batch->base = (uint16_t)base;
    memcpy(batch->token, fetch->token, GROUP_TOKEN_BYTES);
    err_t err = place_batch(st, batch, ret);
    if (err != ERR_OK) {
        free(batch);
        return err;
    }
    st->record.next_batch++;
    st->record_dirty = true;
    group_batch_touch(st, *ret);
    return ERR_OK;
}

void group_batch_touch(struct group_state *st, uint32_t batch)
{
    if (st->batches[batch]->dirty) {
        return;
    }
    if (st->dirty_batch_count == st->dirty_batch_cap) {
        size_t cap = st->dirty_batch_cap == 0 ? 8 : st->dirty_batch_cap * 2;
        uint32_t *list = realloc(st->dirty_batches, cap * sizeof *list);
        if (list == NULL) {
            st->set.status = ERR_MEMORY;
            return;
        }
        st->dirty_batches = list;
        st->dirty_batch_cap = cap;
    }
    st->batches[batch]->dirty = true;
    st->dirty_batches[st->dirty_batch_count++] = batch;
}

uint32_t group_lease_find(const struct group_state *st, const struct group_lease *lease)
{
    uint32_t at = group_map_get(&st->by_token, token_key(lease->token, lease->index));
    if (at == GROUP_NONE) {
        return GROUP_NONE;
    }
    const struct group_batch *batch = st->batches[at];
    uint32_t i = lease->index - (uint32_t)batch->base;
    if (memcmp(batch->token, lease->token, GROUP_TOKEN_BYTES) != 0 || i >= batch->count) {
        return GROUP_NONE;
    }
    return batch->nodes[i];
}

void group_lease_end(struct group_state *st, uint32_t node)
{
    struct group_node *n = &st->set.nodes[node];
    CHECK(n->state == GROUP_NODE_LEASED);
    struct group_batch *batch = st->batches[n->batch];
    CHECK(batch->nodes[n->index] == node && batch->live > 0);
    batch->nodes[n->index] = GROUP_NONE;
    batch->live--;
    group_batch_touch(st, n->batch);
    group_set_detach(&st->set, node);
    n->batch = GROUP_NONE;
    n->committing = false;
    n->due_us = 0;
}

/* ---- loading ---- */

static void set_node(struct group_node *n, const struct group_row_event *e)
{
    n->attempts = (uint16_t)(e->attempts > UINT16_MAX ? UINT16_MAX : e->attempts);
    n->first_us = e->first_us;
    n->last_us = e->last_us;
    n->due_us = e->due_us;
    n->replay = e->replay;
}

static err_t add_node(struct group_state *st, const struct group_row_event *e, uint32_t *ret)
{
    if (group_set_find(&st->set, e->position) != GROUP_NONE) {
        return ERR_CORRUPT; /* it cannot be owed twice */
    }
    *ret = group_set_add(&st->set, e->position, e->stream);
    if (*ret == GROUP_NONE) {
        return ERR_MEMORY;
    }
    set_node(&st->set.nodes[*ret], e);
    return ERR_OK;
}

static err_t load_page(struct group_state *st, struct bytes value)
{
    struct group_row_event e = {0};
    uint32_t node;
    err_t err = ERR_OK;
    while (group_event_get(&value, &e, &err)) {
        err = add_node(st, &e, &node);
        if (err == ERR_OK && e.blocks) {
            if (!st->set.ordered) {
                return ERR_CORRUPT;
            }
            group_set_block(&st->set, node);
        } else if (err == ERR_OK) {
            group_set_release(&st->set, node);
        }
    }
    return err;
}

/* What a first delivery has in common with its batch is not in its row. */
static err_t load_lease(struct group_state *st, uint32_t at, const struct group_row_event *e)
{
    struct group_batch *batch = st->batches[at];
    uint32_t node;
    if (e->index >= batch->count || batch->nodes[e->index] != GROUP_NONE) {
        return ERR_CORRUPT;
    }
    err_t err = add_node(st, e, &node);
    if (err != ERR_OK) {
        return err;
    }
    struct group_node *n = &st->set.nodes[node];
    if (e->attempts == 0) {
        n->attempts = 1;
        n->first_us = n->last_us = batch->delivered_us;
    }
    n->due_us = e->due_us == 0 ? batch->deadline_us : e->due_us;
    n->batch = at;
    n->index = (uint16_t)e->index;
    batch->nodes[e->index] = node;
    batch->live++;
    group_set_lease(&st->set, node);
    return ERR_OK;
}

static err_t load_batch(struct group_state *st, uint64_t number, struct bytes value)
{
    struct group_row_batch row;
    struct group_row_event e = {0};
    uint32_t at;
    err_t err = group_batch_get(&value, &row);
    if (err != ERR_OK || row.count > GROUP_BATCH_MAX || row.base > UINT16_MAX) {
        return err == ERR_OK ? ERR_CORRUPT : err;
    }
    struct group_batch *batch = alloc_batch(row.count, row.consumer);
    if (batch == NULL) {
        return ERR_MEMORY;
    }
    batch->number = number;
    batch->base = (uint16_t)row.base;
    batch->count = (uint16_t)row.count;
    batch->delivered_us = row.delivered_us;
    batch->deadline_us = row.deadline_us;
    memcpy(batch->token, row.token.p, GROUP_TOKEN_BYTES);
    err = place_batch(st, batch, &at);
    if (err != ERR_OK) {
        free(batch);
        return err;
    }
    while (group_event_get(&value, &e, &err)) {
        err = load_lease(st, at, &e);
    }
    return err;
}

static err_t load_kind(struct group_state *st, struct kv_cursor *cursor, enum group_row kind,
                       uint64_t id)
{
    struct group_key key;
    struct kv_row row;
    uint64_t number;
    err_t err = kv_seek(cursor, group_key(kind, id, 0, &key), &row);
    while (err == ERR_OK && group_key_is(row.key, kind, id, &number)) {
        err =
            kind == GROUP_ROW_BATCH ? load_batch(st, number, row.value) : load_page(st, row.value);
        if (err == ERR_OK) {
            err = kv_next(cursor, &row);
        }
    }
    return err == ERR_END ? ERR_OK : err;
}

/* A group without a record was never used: it stands where its definition says. */
static err_t load_rows(struct group_def *def, struct group_state *st, struct kv_txn *txn)
{
    struct group_key key;
    struct bytes value;
    struct kv_cursor *cursor;
    err_t err = kv_get(txn, STATE_TABLE, group_key(GROUP_ROW_RECORD, def->id, 0, &key), &value);
    if (err == ERR_NOT_FOUND) {
        st->record.fetched = def->said.change.position;
        return ERR_OK;
    }
    if (err == ERR_OK) {
        err = group_record_get(value, &st->record);
    }
    if (err == ERR_OK) {
        err = kv_cursor_open(txn, STATE_TABLE, &cursor);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = load_kind(st, cursor, GROUP_ROW_BATCH, def->id);
    if (err == ERR_OK) {
        err = load_kind(st, cursor, GROUP_ROW_PAGE, def->id);
    }
    kv_cursor_close(cursor);
    return err;
}

static void free_state(struct group_state *st)
{
    group_set_done(&st->set);
    follower_free(st->follower);
    for (uint32_t i = 0; i < st->batches_used; i++) {
        free(st->batches[i]);
    }
    free(st->batches);
    group_map_done(&st->by_token);
    free(st->dirty_batches);
    free(st);
}

void group_state_drop(struct group_def *def)
{
    if (def->state != NULL) {
        free_state(def->state);
        def->state = NULL;
    }
}

/* Leases that are being acknowledged with an append are so in memory only. */
static void mark_committing(struct groups *g, uint64_t id, struct group_state *st)
{
    for (const struct group_ticket *t = g->tickets; t != NULL; t = t->next) {
        for (size_t i = 0; t->group_id == id && i < t->n; i++) {
            uint32_t node = group_lease_find(st, &t->leases[i]);
            if (node != GROUP_NONE) {
                group_set_commit(&st->set, node, true);
            }
        }
    }
}

static err_t load(struct groups *g, struct group_def *def, struct group_state *st)
{
    struct kv_txn *txn = g->txn;
    group_set_init(&st->set, def->said.settings.ordering == GROUP_ORDER_STREAM);
    err_t err = txn == NULL ? kv_begin(g->kv, false, &txn) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    err = load_rows(def, st, txn);
    if (g->txn == NULL) {
        kv_abort(txn);
    }
    struct store_query query = {.filter = def->said.settings.filter, .from = st->record.fetched};
    if (err == ERR_OK) {
        err = follower_new(&query, &st->follower);
    }
    if (err == ERR_OK) {
        err = st->set.status;
    }
    group_set_clean(&st->set);
    return err;
}

err_t group_state_load(struct groups *g, struct group_def *def)
{
    if (def->state != NULL) {
        return ERR_OK;
    }
    struct group_state *st = calloc(1, sizeof *st);
    if (st == NULL) {
        return ERR_MEMORY;
    }
    err_t err = load(g, def, st);
    if (err != ERR_OK) {
        free_state(st);
        return err;
    }
    mark_committing(g, def->id, st);
    st->changes = ++g->changes;
    def->state = st;
    return ERR_OK;
}

/* ---- writing ---- */

static struct group_row_event event_of(const struct group_node *n)
{
    return (struct group_row_event){.position = n->position,
                                    .stream = n->stream,
                                    .attempts = n->attempts,
                                    .first_us = n->first_us,
                                    .last_us = n->last_us,
                                    .due_us = n->due_us,
                                    .replay = n->replay,
                                    .blocks = n->state == GROUP_NODE_BLOCKS};
}

static void put_page(struct buf *b, const struct group_set *set, uint64_t page)
{
    struct group_row_event last = {0};
    uint64_t first = page << GROUP_PAGE_SHIFT, end = (page + 1) << GROUP_PAGE_SHIFT;
    for (uint64_t position = first; position < end; position++) {
        uint32_t node = group_set_find(set, position);
        if (node != GROUP_NONE && set->nodes[node].state != GROUP_NODE_LEASED) {
            struct group_row_event e = event_of(&set->nodes[node]);
            group_event_put(b, &e, &last);
            last = e;
        }
    }
}

static void put_batch(struct buf *b, const struct group_state *st, const struct group_batch *batch)
{
    struct group_row_event last = {0};
    struct group_row_batch row = {.token = bytes_of(batch->token, GROUP_TOKEN_BYTES),
                                  .base = batch->base,
                                  .count = batch->count,
                                  .delivered_us = batch->delivered_us,
                                  .deadline_us = batch->deadline_us,
                                  .consumer = bytes_of(batch->consumer, batch->consumer_n)};
    group_batch_put(b, &row);
    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->nodes[i] == GROUP_NONE) {
            continue;
        }
        struct group_row_event e = event_of(&st->set.nodes[batch->nodes[i]]);
        e.index = i;
        e.attempts = e.attempts == 1 ? 0 : e.attempts;
        e.due_us = e.due_us == batch->deadline_us ? 0 : e.due_us;
        group_event_put(b, &e, &last);
        last = e;
    }
}

/* A row with nothing in it is not there. */
static err_t write_row(struct kv_txn *txn, struct bytes key, const struct buf *b, bool empty)
{
    err_t err = buf_status(b);
    if (err != ERR_OK) {
        return err;
    }
    if (!empty) {
        return kv_put(txn, STATE_TABLE, key, buf_bytes(b));
    }
    err = kv_delete(txn, STATE_TABLE, key);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static err_t flush_batches(struct group_state *st, uint64_t id, struct kv_txn *txn, struct buf *b)
{
    struct group_key key;
    err_t err = ERR_OK;
    for (size_t i = 0; i < st->dirty_batch_count && err == ERR_OK; i++) {
        uint32_t at = st->dirty_batches[i];
        struct group_batch *batch = st->batches[at];
        buf_clear(b);
        put_batch(b, st, batch);
        err = write_row(txn, group_key(GROUP_ROW_BATCH, id, batch->number, &key), b,
                        batch->live == 0);
        batch->dirty = false;
        if (batch->live == 0) {
            group_map_remove(&st->by_token, token_key(batch->token, batch->base));
            free(batch);
            st->batches[at] = NULL;
            st->batches_hint = at < st->batches_hint ? at : st->batches_hint;
        }
    }
    st->dirty_batch_count = 0;
    return err;
}

static err_t flush_pages(struct group_state *st, uint64_t id, struct kv_txn *txn, struct buf *b)
{
    struct group_key key;
    const uint64_t *pages;
    err_t err = ERR_OK;
    size_t n = group_set_dirty(&st->set, &pages);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        buf_clear(b);
        put_page(b, &st->set, pages[i]);
        err = write_row(txn, group_key(GROUP_ROW_PAGE, id, pages[i], &key), b, b->n == 0);
    }
    group_set_clean(&st->set);
    return err;
}

bool group_state_is_dirty(const struct group_state *st)
{
    const uint64_t *pages;
    uint64_t looked = follower_checkpoint(st->follower);
    bool far = looked < st->record.fetched || looked - st->record.fetched >= LOOKED_MAX;
    return st->record_dirty || st->dirty_batch_count > 0 || group_set_dirty(&st->set, &pages) > 0 ||
           far;
}

/* All rows of one commit together, so that they say one thing: `fetched` with what is owed below.
 */
err_t group_state_flush(struct groups *g, struct group_def *def)
{
    struct group_state *st = def->state;
    struct group_key key;
    struct kv_txn *txn;
    struct buf b;
    if (st->set.status != ERR_OK || !group_state_is_dirty(st)) {
        return st->set.status;
    }
    err_t err = group_txn(g, &txn);
    if (err != ERR_OK) {
        return err;
    }
    buf_init(&b, ROW_BYTES_MAX);
    err = flush_batches(st, def->id, txn, &b);
    if (err == ERR_OK) {
        err = flush_pages(st, def->id, txn, &b);
    }
    st->record.fetched = follower_checkpoint(st->follower);
    buf_clear(&b);
    group_record_put(&b, &st->record);
    if (err == ERR_OK) {
        err = write_row(txn, group_key(GROUP_ROW_RECORD, def->id, 0, &key), &b, false);
    }
    st->record_dirty = false;
    buf_done(&b);
    return err;
}
