/* group_fold: what the events of `$groups` do to the groups. */
#include <stdlib.h>

#include "projections/group_int.h"
#include "storage/base/check.h"

/* A definition's `said` points into itself, so it is read in place. */
static err_t create(struct groups *g, const struct event *e)
{
    struct group_def *def = calloc(1, sizeof *def);
    if (def == NULL) {
        return ERR_MEMORY;
    }
    err_t err = group_read_event(e->type, e->data, &def->said);
    if (err != ERR_OK) {
        free(def);
        return err;
    }
    struct bytes name = def->said.change.name;
    memcpy(def->name, name.p, name.n);
    def->id = e->position;
    def->created_us = e->time_us;
    def->revision = 1;
    def->dirty = true;
    err = group_add_def(g, def);
    if (err != ERR_OK) {
        group_said_done(&def->said);
        free(def);
        return err;
    }
    err = group_state_load(g, def); /* there are no rows: at the definition's position */
    if (err == ERR_OK) {
        def->state->touched = def->state->record_dirty = true;
    }
    return err;
}

/* The new filter is for what was not looked at yet; what is owed is judged by it when it is
 * delivered again. */
static err_t apply_settings(struct groups *g, struct group_def *def)
{
    struct group_state *st = def->state;
    const struct group_settings *s = &def->said.settings;
    struct store_query query = {.filter = s->filter, .from = follower_checkpoint(st->follower)};
    struct follower *follower;
    err_t err = follower_new(&query, &follower);
    if (err != ERR_OK) {
        return err;
    }
    follower_free(st->follower);
    st->follower = follower;
    st->ahead = (struct group_ahead){0};
    st->changes = ++g->changes;
    group_set_order(&st->set, s->ordering == GROUP_ORDER_STREAM);
    if (s->on_park == GROUP_PARK_CONTINUE) {
        group_set_free_blocks(&st->set);
    }
    return st->set.status;
}

static err_t edit(struct groups *g, struct group_def *def, const struct event *e)
{
    struct group_said said;
    err_t err = group_state_load(g, def);
    if (err == ERR_OK) {
        err = group_read_event(e->type, e->data, &said);
    }
    if (err != ERR_OK) {
        return err;
    }
    uint64_t position = def->said.change.position; /* of the creation */
    group_said_done(&def->said);
    def->said = said;
    def->said.change.position = position;
    def->said.change.settings = &def->said.settings;
    def->revision++;
    def->dirty = true;
    def->state->touched = def->state->record_dirty = true; /* by the old filter up to here */
    return apply_settings(g, def);
}

/* ---- rows that go ---- */

/* Deletes the rows of one kind with numbers over `after`; *ret_n (may be NULL) how many. */
static err_t delete_rows(struct groups *g, uint64_t id, enum group_row kind, uint64_t after,
                         uint64_t *ret_n)
{
    struct kv_txn *txn;
    struct kv_cursor *cursor;
    struct kv_row row;
    struct group_key key;
    uint64_t number, n = 0;
    err_t err = group_txn(g, &txn);
    while (err == ERR_OK) {
        err = kv_cursor_open(txn, STATE_TABLE, &cursor);
        if (err != ERR_OK) {
            break;
        }
        err = kv_seek(cursor, group_key(kind, id, after + 1, &key), &row);
        bool found = err == ERR_OK && group_key_is(row.key, kind, id, &number);
        kv_cursor_close(cursor);
        if (!found) {
            break;
        }
        err = kv_delete(txn, STATE_TABLE, group_key(kind, id, number, &key));
        n++;
    }
    if (ret_n != NULL) {
        *ret_n = n;
    }
    return err == ERR_END ? ERR_OK : err;
}

static err_t delete_one(struct groups *g, uint64_t id, enum group_row kind)
{
    struct kv_txn *txn;
    struct group_key key;
    err_t err = group_txn(g, &txn);
    if (err == ERR_OK) {
        err = kv_delete(txn, STATE_TABLE, group_key(kind, id, 0, &key));
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static err_t delete_group(struct groups *g, struct group_def *def)
{
    static const enum group_row MANY[] = {GROUP_ROW_BATCH, GROUP_ROW_PARKED, GROUP_ROW_REPLAY};
    static const enum group_row ONE[] = {GROUP_ROW_DEFINITION, GROUP_ROW_RECORD, GROUP_ROW_SECRET};
    err_t err = delete_one(g, def->id, GROUP_ROW_PAGE); /* page 0, which the loop passes over */
    if (err == ERR_OK) {
        err = delete_rows(g, def->id, GROUP_ROW_PAGE, 0, NULL);
    }
    for (size_t i = 0; i < sizeof MANY / sizeof MANY[0] && err == ERR_OK; i++) {
        err = delete_rows(g, def->id, MANY[i], 0, NULL);
    }
    for (size_t i = 0; i < sizeof ONE / sizeof ONE[0] && err == ERR_OK; i++) {
        err = delete_one(g, def->id, ONE[i]);
    }
    return err == ERR_OK ? group_remove_def(g, def) : err;
}

/* ---- seeking ---- */

/* All that is owed goes, but what is to be replayed and what blocks, up to the place. */
static void drop_owed(struct group_state *st, uint64_t place)
{
    for (uint32_t i = 0; i < st->set.used; i++) {
        struct group_node *node = &st->set.nodes[i];
        bool leased = node->state == GROUP_NODE_LEASED;
        bool stays = node->position <= place && (node->replay || node->state == GROUP_NODE_BLOCKS);
        if (node->position == 0 || (stays && !leased)) {
            continue;
        }
        if (leased) {
            group_lease_end(st, i);
        } else {
            group_set_detach(&st->set, i);
        }
        if (stays) {
            group_set_release(&st->set, i);
        } else {
            group_set_free(&st->set, i);
        }
    }
}

/* Of the parked events those after the place are owed again by it. Those up to it stay, and go on
 * blocking. */
static err_t seek(struct groups *g, struct group_def *def, uint64_t place)
{
    uint64_t parked = 0, replaying = 0;
    err_t err = group_state_load(g, def);
    if (err != ERR_OK) {
        return err;
    }
    struct group_state *st = def->state;
    st->touched = st->record_dirty = true;
    drop_owed(st, place);
    err = delete_rows(g, def->id, GROUP_ROW_PARKED, place, &parked);
    if (err == ERR_OK) {
        err = delete_rows(g, def->id, GROUP_ROW_REPLAY, place, &replaying);
    }
    st->record.parked -= parked;
    st->record.replaying -= replaying;
    st->ahead = (struct group_ahead){0};
    st->changes = ++g->changes;
    follower_seek(st->follower, place);
    return err == ERR_OK ? st->set.status : err;
}

/* ---- acknowledged by the log ---- */

static err_t acked(struct groups *g, struct group_def *def, const struct group_change *change)
{
    err_t err = group_state_load(g, def);
    for (size_t i = 0; i < change->position_count && err == ERR_OK; i++) {
        struct group_state *st = def->state;
        uint32_t node = group_set_find(&st->set, change->positions[i]);
        if (node == GROUP_NONE || st->set.nodes[node].state == GROUP_NODE_BLOCKS) {
            continue; /* a seek came between */
        }
        st->touched = st->record_dirty = true;
        st->changes = ++g->changes;
        st->record.counts.acked++;
        group_settle(st, node);
    }
    return err;
}

/* ---- events ---- */

static err_t apply(struct groups *g, const struct event *e, const struct group_change *change)
{
    struct group_def *def = group_by_name(g, change->name);
    switch (change->kind) {
    case GROUP_DEFINED:
        return def == NULL ? create(g, e) : edit(g, def, e);
    case GROUP_SEEKED:
        return def == NULL ? ERR_OK : seek(g, def, change->position);
    case GROUP_DELETED:
        return def == NULL ? ERR_OK : delete_group(g, def);
    case GROUP_ACKED:
        def = group_by_id(g, change->group_id);
        return def == NULL ? ERR_OK : acked(g, def, change);
    case GROUP_CHANGE_COUNT:
        break;
    }
    return ERR_OK;
}

static err_t fold_one(struct groups *g, const struct store_record *record)
{
    struct event e;
    struct group_said said;
    err_t err = store_record_decode(record, &e);
    if (err != ERR_OK) {
        return err;
    }
    err = group_read_event(e.type, e.data, &said);
    if (err == ERR_OK) {
        err = apply(g, &e, &said.change);
        group_said_done(&said);
    }
    if (err == ERR_OK || err == ERR_UNSUPPORTED) {
        g->folded = e.revision;
        err = ERR_OK;
    }
    return err;
}

err_t group_fold(struct groups *g)
{
    struct store_query query = {
        .stream = BYTES_LITERAL(GROUPS_STREAM), .from = g->folded, .filter.system = true};
    struct store_read *read;
    struct store_record record;
    err_t err = store_read_open(g->view, &query, &read);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err; /* no group was ever made */
    }
    while (err == ERR_OK || err == ERR_FULL) {
        err = store_read_next(read, &record);
        if (err == ERR_OK) {
            g->folded_dirty = true;
            err = fold_one(g, &record);
        }
    }
    store_read_close(read);
    return err == ERR_END ? ERR_OK : err;
}
