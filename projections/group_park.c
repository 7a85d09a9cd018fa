/* group_park: parked events, which are rows alone, and what an operator does with them. A parked
 * event that blocks its stream is a node of the set too; one that is to be replayed is a row of its
 * own kind until a fetch has room for it. */
#include <stdlib.h>

#include "projections/group_int.h"

#define STEP_ROWS 1000 /* looked at by one call */
#define CHECKED_US                                                                 \
    ((int64_t)10000000) /* expiry by age leaves no event: look again after so long \
                         */

/* ---- parking ---- */

static struct bytes cut_reason(struct bytes reason)
{
    size_t n = reason.n > GROUP_REASON_MAX ? GROUP_REASON_MAX : reason.n;
    while (n < reason.n && n > 0 && (reason.p[n] & 0xc0) == 0x80) {
        n--; /* not inside a character */
    }
    return bytes_of(reason.p, n);
}

static err_t put_parked(struct groups *g, uint64_t id, uint64_t position,
                        const struct group_row_parked *row)
{
    struct kv_txn *txn;
    struct group_key key;
    struct buf b;
    err_t err = group_txn(g, &txn);
    if (err != ERR_OK) {
        return err;
    }
    buf_init(&b, 4096);
    group_parked_put(&b, row);
    err = buf_status(&b);
    if (err == ERR_OK) {
        err = kv_put(txn, STATE_TABLE, group_key(GROUP_ROW_PARKED, id, position, &key),
                     buf_bytes(&b));
    }
    buf_done(&b);
    return err;
}

static err_t park(struct groups *g, struct group_def *def, uint32_t node,
                  const struct group_parking *how)
{
    struct group_state *st = def->state;
    const struct group_settings *s = &def->said.settings;
    struct group_node *n = &st->set.nodes[node];
    const struct group_batch *batch = st->batches[n->batch];
    struct group_row_parked row = {.stream = n->stream,
                                   .attempts = n->attempts,
                                   .cause = how->cause,
                                   .first_us = n->first_us,
                                   .last_us = n->last_us,
                                   .parked_us = g->now_us,
                                   .reason = cut_reason(how->reason),
                                   .consumer = bytes_of(batch->consumer, batch->consumer_n)};
    err_t err = put_parked(g, def->id, n->position, &row);
    if (err != ERR_OK) {
        return err;
    }
    st->record.parked++;
    st->record.counts.parked++;
    st->record_dirty = true;
    group_lease_end(st, node);
    n->replay = false;
    if (st->set.ordered && s->on_park == GROUP_PARK_BLOCK) {
        group_set_block(&st->set, node);
    } else {
        group_set_free(&st->set, node);
    }
    return st->set.status;
}

/* What is gone meanwhile could never be replayed, so it is not parked either. */
err_t group_park(struct groups *g, struct group_def *def, uint32_t node,
                 const struct group_parking *how)
{
    struct group_state *st = def->state;
    struct store_record record;
    struct event e;
    err_t err = group_read_owed(g, st->set.nodes[node].position, true, &record, &e);
    if (err == ERR_NOT_FOUND) {
        st->record.counts.gone++;
        group_settle(st, node);
        return ERR_OK;
    }
    return err == ERR_OK ? park(g, def, node, how) : err;
}

/* The parked event is not parked any more. ERR_NOT_FOUND: it is not. */
static err_t unpark(struct groups *g, struct group_def *def, uint64_t position)
{
    struct group_state *st = def->state;
    struct group_key key;
    struct kv_txn *txn;
    err_t err = group_txn(g, &txn);
    if (err == ERR_OK) {
        err = kv_delete(txn, STATE_TABLE, group_key(GROUP_ROW_PARKED, def->id, position, &key));
    }
    if (err != ERR_OK) {
        return err;
    }
    st->record.parked -= st->record.parked > 0 ? 1 : 0;
    st->record_dirty = true;
    st->changes = ++g->changes;
    return ERR_OK;
}

static void free_block(struct group_state *st, uint64_t position)
{
    uint32_t node = group_set_find(&st->set, position);
    if (node != GROUP_NONE && st->set.nodes[node].state == GROUP_NODE_BLOCKS) {
        group_set_detach(&st->set, node);
        group_set_free(&st->set, node);
    }
}

/* ---- blocked streams ---- */

static err_t check_block(struct groups *g, struct group_def *def, uint32_t node)
{
    struct group_state *st = def->state;
    struct store_record record;
    struct event e;
    uint64_t position = st->set.nodes[node].position;
    err_t err = group_read_owed(g, position, true, &record, &e);
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    err = unpark(g, def, position);
    if (err == ERR_OK) {
        st->record.counts.gone++;
        free_block(st, position);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err; /* it is to be replayed: the fetch will see it */
}

/* What is hidden cannot be replayed, so nobody would ever free the stream. Looked at when a life
 * has changed, and now and then. */
err_t group_check_blocks(struct groups *g, struct group_def *def)
{
    struct group_state *st = def->state;
    uint64_t lives;
    if (st->set.counts[GROUP_NODE_BLOCKS] == 0) {
        return ERR_OK;
    }
    err_t err = group_lives(g, &lives);
    if (err != ERR_OK || (lives == st->blocks_lives && g->now_us - st->blocks_us < CHECKED_US)) {
        return err;
    }
    for (uint32_t i = 0; i < st->set.used && err == ERR_OK; i++) {
        if (st->set.nodes[i].position != 0 && st->set.nodes[i].state == GROUP_NODE_BLOCKS) {
            err = check_block(g, def, i);
        }
    }
    st->blocks_lives = lives;
    st->blocks_us = g->now_us;
    return err;
}

/* ---- rows of parked events, some at a time ---- */

/* A copy of a row, since a put moves what it points to. */
struct parked_copy {
    uint64_t position;
    uint8_t *value;
    size_t n;
};
struct parked_copies {
    struct parked_copy *items;
    size_t n, cap;
    uint64_t next; /* the first position that did not fit; 0: none */
};

static void copies_done(struct parked_copies *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->items[i].value);
    }
    free(c->items);
}

static err_t copy_row(struct parked_copies *c, uint64_t position, struct bytes value)
{
    uint8_t *copy = malloc(value.n + 1);
    if (copy == NULL) {
        return ERR_MEMORY;
    }
    memcpy(copy, value.p, value.n);
    c->items[c->n].position = position;
    c->items[c->n].value = copy;
    c->items[c->n++].n = value.n;
    return ERR_OK;
}

/* Up to `cap` rows from a position on. *c is zero but for its cap; done by the caller either way.
 */
static err_t copy_rows(struct groups *g, uint64_t id, enum group_row kind, uint64_t from,
                       struct parked_copies *c)
{
    struct kv_txn *txn = g->txn;
    struct kv_cursor *cursor;
    struct kv_row row;
    struct group_key key;
    uint64_t position;
    c->items = calloc(c->cap, sizeof *c->items);
    err_t err = c->items == NULL ? ERR_MEMORY : ERR_OK;
    if (err == ERR_OK && txn == NULL) {
        err = kv_begin(g->kv, false, &txn);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = kv_cursor_open(txn, STATE_TABLE, &cursor);
    if (err == ERR_OK) {
        err = kv_seek(cursor, group_key(kind, id, from, &key), &row);
        while (err == ERR_OK && group_key_is(row.key, kind, id, &position)) {
            if (c->n == c->cap) {
                c->next = position;
                break;
            }
            err = copy_row(c, position, row.value);
            err = err == ERR_OK ? kv_next(cursor, &row) : err;
        }
        kv_cursor_close(cursor);
    }
    if (txn != g->txn) {
        kv_abort(txn);
    }
    return err == ERR_END ? ERR_OK : err;
}

/* ---- listing ---- */

static err_t show(struct groups *g, struct group_def *def, const struct parked_copy *copy,
                  group_parked_each each, void *ctx)
{
    struct group_row_parked row;
    struct event e;
    struct group_parked parked = {.position = copy->position};
    err_t err = group_parked_get(bytes_of(copy->value, copy->n), &row);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t node = group_set_find(&def->state->set, copy->position);
    parked.attempts = row.attempts;
    parked.cause = row.cause;
    parked.first_us = row.first_us;
    parked.last_us = row.last_us;
    parked.parked_us = row.parked_us;
    parked.reason = row.reason;
    parked.consumer = row.consumer;
    parked.blocks = node != GROUP_NONE && def->state->set.nodes[node].state == GROUP_NODE_BLOCKS;
    err = group_read_owed(g, copy->position, true, &parked.record, &e);
    parked.gone = err == ERR_NOT_FOUND;
    return err == ERR_OK || parked.gone ? each(ctx, &parked) : err;
}

err_t groups_parked(struct groups *g, const struct group_parked_page *page, group_parked_each each,
                    void *ctx, bool *ret_end)
{
    struct group_def *def;
    struct parked_copies c = {.cap = page->limit < STEP_ROWS ? page->limit : STEP_ROWS};
    if (page->limit == 0) {
        return ERR_INVALID;
    }
    err_t err = group_use(g, page->group, &def);
    if (err == ERR_OK) {
        err = group_expire(g, def);
    }
    if (err == ERR_OK) {
        err = copy_rows(g, def->id, GROUP_ROW_PARKED, page->after + 1, &c);
    }
    size_t shown = 0;
    while (err == ERR_OK && shown < c.n) {
        err = show(g, def, &c.items[shown++], each, ctx);
    }
    if (err == ERR_OK || err == ERR_FULL) {
        *ret_end = c.next == 0 && shown == c.n;
        err = ERR_OK;
    }
    copies_done(&c);
    return err;
}

/* ---- replaying and discarding ---- */

static err_t replay_one(struct groups *g, struct group_def *def, const struct parked_copy *copy)
{
    struct group_state *st = def->state;
    struct group_key key;
    struct kv_txn *txn;
    err_t err = unpark(g, def, copy->position);
    if (err == ERR_OK) {
        err = group_txn(g, &txn);
    }
    if (err == ERR_OK) {
        err = kv_put(txn, STATE_TABLE, group_key(GROUP_ROW_REPLAY, def->id, copy->position, &key),
                     bytes_of(copy->value, copy->n));
    }
    if (err == ERR_OK) {
        st->record.replaying++;
        st->record.counts.replayed++;
    }
    return err;
}

static err_t take_one(struct groups *g, struct group_def *def, const struct parked_copy *copy,
                      bool replay, bool gone)
{
    struct group_state *st = def->state;
    if (replay && !gone) {
        return replay_one(g, def, copy);
    }
    err_t err = unpark(g, def, copy->position);
    if (err == ERR_OK) {
        free_block(st, copy->position);
        st->record.counts.gone += gone ? 1 : 0;
        st->record.counts.discarded += gone ? 0 : 1;
    }
    return err;
}

static err_t consider(struct groups *g, struct group_def *def, const struct parked_copy *copy,
                      const struct group_selection *s, struct group_selected *ret, bool replay)
{
    struct store_record record;
    struct event e;
    err_t err = group_read_owed(g, copy->position, true, &record, &e);
    bool gone = err == ERR_NOT_FOUND;
    if (err != ERR_OK && !gone) {
        return err;
    }
    if (s->filter != NULL && (gone || !store_filter_matches(s->filter, &e))) {
        return ERR_OK;
    }
    ret->count += gone ? 0 : 1;
    ret->gone += gone ? 1 : 0;
    return s->dry_run ? ERR_OK : take_one(g, def, copy, replay, gone);
}

static err_t select_parked(struct groups *g, const struct group_selection *s,
                           struct group_selected *ret, bool replay)
{
    struct group_def *def;
    struct parked_copies c = {.cap = STEP_ROWS};
    *ret = (struct group_selected){0};
    err_t err = group_use(g, s->group, &def);
    if (err == ERR_OK) {
        err = group_expire(g, def);
    }
    if (err == ERR_OK) {
        err = copy_rows(g, def->id, GROUP_ROW_PARKED, s->from, &c);
    }
    for (size_t i = 0; i < c.n && err == ERR_OK; i++) {
        if (s->to != 0 && c.items[i].position > s->to) {
            c.next = 0;
            break;
        }
        err = consider(g, def, &c.items[i], s, ret, replay);
    }
    ret->next = s->to != 0 && c.next > s->to ? 0 : c.next;
    copies_done(&c);
    return err == ERR_OK && def->state->set.status != ERR_OK ? def->state->set.status : err;
}

err_t groups_replay(struct groups *g, const struct group_selection *selection,
                    struct group_selected *ret)
{
    return select_parked(g, selection, ret, true);
}

err_t groups_discard(struct groups *g, const struct group_selection *selection,
                     struct group_selected *ret)
{
    return select_parked(g, selection, ret, false);
}

/* ---- what is to be replayed ---- */

/* The node that blocked its stream is the one to deliver now. */
static err_t pull_one(struct groups *g, struct group_def *def, const struct parked_copy *copy)
{
    struct group_state *st = def->state;
    struct group_row_parked row;
    struct group_key key;
    struct kv_txn *txn;
    err_t err = group_parked_get(bytes_of(copy->value, copy->n), &row);
    if (err == ERR_OK) {
        err = group_txn(g, &txn);
    }
    if (err == ERR_OK) {
        err =
            kv_delete(txn, STATE_TABLE, group_key(GROUP_ROW_REPLAY, def->id, copy->position, &key));
    }
    if (err != ERR_OK) {
        return err;
    }
    uint32_t node = group_set_find(&st->set, copy->position);
    if (node == GROUP_NONE) {
        node = group_set_add(&st->set, copy->position, row.stream);
    } else if (st->set.nodes[node].state == GROUP_NODE_BLOCKS) {
        group_set_detach(&st->set, node);
    } else {
        return ERR_CORRUPT; /* it cannot be owed twice */
    }
    if (node == GROUP_NONE) {
        return ERR_MEMORY;
    }
    struct group_node *n = &st->set.nodes[node];
    n->replay = true;
    n->attempts = 0;
    n->first_us = n->last_us = n->due_us = 0;
    group_set_release(&st->set, node);
    st->record.replaying -= st->record.replaying > 0 ? 1 : 0;
    st->record_dirty = true;
    return st->set.status;
}

err_t group_pull_replays(struct groups *g, struct group_def *def, size_t n)
{
    if (n == 0 || def->state->record.replaying == 0) {
        return ERR_OK;
    }
    struct parked_copies c = {.cap = n < STEP_ROWS ? n : STEP_ROWS};
    err_t err = copy_rows(g, def->id, GROUP_ROW_REPLAY, 0, &c);
    for (size_t i = 0; i < c.n && err == ERR_OK; i++) {
        err = pull_one(g, def, &c.items[i]);
    }
    copies_done(&c);
    return err;
}
