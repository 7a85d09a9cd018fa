/* group_status: how far a group is, who fetches, and its secret. */
#include <stdlib.h>

#include "projections/group_int.h"

/* One call counts so many events, or looks so often at a part of the log where nothing matches. */
#define COUNT_MAX 20000
#define LOOKS_MAX 16

/* ---- lag ---- */

/* Reads on from a place: how many match, up to which place, when the first of them was. */
struct ahead_read {
    uint64_t count, place;
    uint64_t first;
    int64_t first_us;
    bool end;
};

static err_t read_ahead(struct groups *g, const struct group_def *def, uint64_t from,
                        uint64_t count_max, struct ahead_read *ret)
{
    struct store_query query = {.filter = def->said.settings.filter, .from = from};
    struct store_read *read;
    struct store_record record;
    struct event e;
    *ret = (struct ahead_read){.place = from};
    err_t err = store_read_open(g->view, &query, &read);
    if (err != ERR_OK) {
        return err;
    }
    for (int looks = 0; looks < LOOKS_MAX && ret->count < count_max && !ret->end;) {
        err = store_read_next(read, &record);
        looks += err == ERR_FULL ? 1 : 0;
        ret->end = err == ERR_END;
        if (err == ERR_OK && ret->count++ == 0) {
            err = store_record_decode(&record, &e);
            ret->first = record.position;
            ret->first_us = e.time_us;
        }
        if (err != ERR_OK && err != ERR_FULL && err != ERR_END) {
            break;
        }
        err = ERR_OK;
    }
    uint64_t place = store_read_place(read);
    ret->place = place > from ? place : from;
    store_read_close(read);
    return err;
}

/* What was counted once is not counted again, unless something was hidden since. */
static err_t count_ahead(struct groups *g, struct group_def *def, struct group_status *ret)
{
    struct group_state *st = def->state;
    struct group_ahead *a = &st->ahead;
    struct ahead_read more;
    uint64_t lives;
    err_t err = group_lives(g, &lives);
    if (err != ERR_OK) {
        return err;
    }
    if (a->to < ret->fetched || a->lives != lives) {
        *a = (struct group_ahead){.to = ret->fetched, .lives = lives};
    }
    err = read_ahead(g, def, a->to, COUNT_MAX, &more);
    if (err != ERR_OK) {
        return err;
    }
    a->count += more.count;
    a->to = more.place;
    ret->lag_is_exact = more.end;
    ret->lag_events = a->count;
    if (!more.end && ret->head > a->to) {
        ret->lag_events += ret->head - a->to;
    }
    return ERR_OK;
}

/* ---- the oldest ---- */

static uint64_t oldest_owed(const struct group_set *set)
{
    uint64_t oldest = 0;
    for (uint32_t i = 0; i < set->used; i++) {
        const struct group_node *n = &set->nodes[i];
        bool owed = n->position != 0 && !n->replay && n->state != GROUP_NODE_BLOCKS;
        if (owed && (oldest == 0 || n->position < oldest)) {
            oldest = n->position;
        }
    }
    return oldest;
}

/* Of what is gone nobody knows the time; what comes after it is the oldest then. */
static err_t find_oldest(struct groups *g, struct group_def *def, struct group_status *ret)
{
    struct store_record record;
    struct event e;
    struct ahead_read ahead;
    int64_t time_us = 0;
    ret->oldest = oldest_owed(&def->state->set);
    ret->position = ret->oldest == 0 ? ret->fetched : ret->oldest - 1;
    err_t err =
        ret->oldest == 0 ? ERR_NOT_FOUND : group_read_owed(g, ret->oldest, false, &record, &e);
    if (err == ERR_OK) {
        time_us = e.time_us;
    } else if (err == ERR_NOT_FOUND) {
        err = read_ahead(g, def, ret->position, 1, &ahead);
        time_us = ahead.first_us;
        ret->oldest = ret->oldest == 0 ? ahead.first : ret->oldest;
    }
    ret->lag_us = time_us > 0 && g->now_us > time_us ? g->now_us - time_us : 0;
    return err;
}

/* ---- the whole ---- */

static void count_nodes(const struct group_set *set, struct group_status *ret)
{
    for (uint32_t i = 0; i < set->used; i++) {
        const struct group_node *n = &set->nodes[i];
        if (n->position == 0) {
            continue;
        }
        ret->committing += n->committing ? 1 : 0;
        bool owed_again = n->replay && n->state != GROUP_NODE_BLOCKS;
        ret->replaying += owed_again && n->state != GROUP_NODE_LEASED ? 1 : 0;
        ret->lag_events += n->replay || n->state == GROUP_NODE_BLOCKS ? 0 : 1;
    }
}

err_t groups_status(struct groups *g, struct bytes group, struct group_status *ret)
{
    struct group_def *def;
    err_t err = group_use(g, group, &def);
    if (err == ERR_OK) {
        err = group_expire(g, def);
    }
    if (err == ERR_OK) {
        err = group_check_blocks(g, def);
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct group_state *st = def->state;
    const uint32_t *counts = st->set.counts;
    *ret = (struct group_status){.fetched = follower_checkpoint(st->follower),
                                 .head = store_view_position(g->view),
                                 .in_flight = counts[GROUP_NODE_LEASED],
                                 .waiting = counts[GROUP_NODE_WAITING],
                                 .ready = counts[GROUP_NODE_READY],
                                 .held = counts[GROUP_NODE_HELD],
                                 .replaying = st->record.replaying,
                                 .parked = st->record.parked,
                                 .blocked_streams = counts[GROUP_NODE_BLOCKS],
                                 .held_full = st->held_full,
                                 .counts = st->record.counts,
                                 .consumers = def->seen_count};
    err = count_ahead(g, def, ret);
    if (err == ERR_OK) {
        count_nodes(&st->set, ret);
        err = find_oldest(g, def, ret);
    }
    return err;
}

err_t groups_consumer(struct groups *g, struct bytes group, size_t i, struct group_consumer *ret)
{
    struct group_def *def;
    err_t err = group_use(g, group, &def);
    if (err != ERR_OK || i >= def->seen_count) {
        return err == ERR_OK ? ERR_INVALID : err;
    }
    const struct group_seen *seen = &def->seen[i];
    struct group_consumer c = {.name = bytes_of(seen->name, seen->name_bytes),
                               .last_fetch_us = seen->last_fetch_us,
                               .delivered = seen->delivered};
    const struct group_state *st = def->state;
    for (uint32_t at = 0; at < st->batches_used; at++) {
        const struct group_batch *batch = st->batches[at];
        if (batch != NULL && bytes_equal(bytes_of(batch->consumer, batch->consumer_n), c.name)) {
            c.in_flight += batch->live;
        }
    }
    *ret = c;
    return ERR_OK;
}

/* ---- secrets ---- */

err_t groups_set_secret(struct groups *g, struct bytes group, struct bytes secret)
{
    struct group_def *def;
    struct kv_txn *txn;
    struct group_key key;
    if (secret.n > GROUP_SECRET_MAX) {
        return ERR_INVALID;
    }
    err_t err = group_use(g, group, &def);
    if (err == ERR_OK) {
        err = group_txn(g, &txn);
    }
    if (err != ERR_OK) {
        return err;
    }
    group_key(GROUP_ROW_SECRET, def->id, 0, &key);
    if (secret.n > 0) {
        return kv_put(txn, STATE_TABLE, bytes_of(key.bytes, GROUP_KEY_BYTES), secret);
    }
    err = kv_delete(txn, STATE_TABLE, bytes_of(key.bytes, GROUP_KEY_BYTES));
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

err_t groups_get_secret(struct groups *g, struct bytes group, struct bytes *ret)
{
    struct group_def *def;
    struct group_key key;
    struct bytes found;
    struct kv_txn *txn = g->txn;
    err_t err = group_use(g, group, &def);
    if (err == ERR_OK && txn == NULL) {
        err = kv_begin(g->kv, false, &txn);
    }
    if (err != ERR_OK) {
        return err;
    }
    *ret = BYTES_NONE;
    err = kv_get(txn, STATE_TABLE, group_key(GROUP_ROW_SECRET, def->id, 0, &key), &found);
    if (err == ERR_OK && found.n <= GROUP_SECRET_MAX) {
        memcpy(g->secret, found.p, found.n);
        *ret = bytes_of(g->secret, found.n);
    }
    if (txn != g->txn) {
        kv_abort(txn);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
