/* group_fetch: leasing events to a consumer: first those that are owed, then new ones. */
#include <stdlib.h>

#include "projections/group_int.h"
#include "storage/base/check.h"

/* One call looks at so many calls of the follower, each of which is bounded, and at so many events
 * that it must hold back. */
#define LOOKS_MAX 64

/* What is between the fetch and what it calls. */
struct fetching {
    struct groups *g;
    struct group_def *def;
    struct group_state *st;
    const struct group_fetch *fetch;
    group_each each;
    void *ctx;
    struct group_fetched *ret;
    uint32_t limit; /* deliveries, by max and max_in_flight */
    uint32_t batch; /* the one that is being filled; GROUP_NONE */
    size_t bytes;
    bool enough; /* bytes, or the caller says so */
};

static err_t record_consumer(struct group_def *def, struct bytes name, int64_t now_us, uint32_t n);

/* ---- one delivery ---- */

static err_t open_batch(struct fetching *f)
{
    bool full =
        f->batch != GROUP_NONE && f->st->batches[f->batch]->count == f->st->batches[f->batch]->room;
    if (f->batch != GROUP_NONE && !full) {
        return ERR_OK;
    }
    err_t err = group_batch_new(f->st, f->fetch, f->ret->count, &f->batch);
    if (err == ERR_OK) {
        struct group_batch *batch = f->st->batches[f->batch];
        batch->delivered_us = f->g->now_us;
        batch->deadline_us = f->ret->deadline_us;
    }
    return err;
}

/* Leases a detached node and hands it over. */
static err_t deliver(struct fetching *f, uint32_t node, const struct store_record *record)
{
    struct group_state *st = f->st;
    err_t err = open_batch(f);
    if (err != ERR_OK) {
        return err;
    }
    struct group_batch *batch = st->batches[f->batch];
    struct group_node *n = &st->set.nodes[node];
    n->attempts = (uint16_t)(n->attempts + (n->attempts < UINT16_MAX ? 1 : 0));
    n->first_us = n->first_us == 0 ? f->g->now_us : n->first_us;
    n->last_us = f->g->now_us;
    n->due_us = f->ret->deadline_us;
    n->batch = f->batch;
    n->index = batch->count++;
    batch->nodes[n->index] = node;
    batch->live++;
    group_set_lease(&st->set, node);
    st->record.counts.delivered++;
    st->record.counts.redelivered += n->attempts > 1 ? 1 : 0;
    struct group_delivery delivery = {.record = *record,
                                      .lease.index = (uint16_t)f->ret->count,
                                      .attempt = n->attempts,
                                      .replay = n->replay};
    memcpy(delivery.lease.token, f->fetch->token, GROUP_TOKEN_BYTES);
    f->ret->count++;
    f->bytes += record->body.n;
    err = f->each(f->ctx, &delivery);
    f->enough = err == ERR_FULL || (f->fetch->bytes_max > 0 && f->bytes >= f->fetch->bytes_max);
    return err == ERR_FULL ? ERR_OK : err;
}

static bool is_done(const struct fetching *f)
{
    return f->enough || f->ret->count >= f->limit;
}

/* ---- what is owed ---- */

/* What cannot be read any more, or does not match the filter of today, is settled. A replay was
 * asked for, whatever the filter says. */
static err_t deliver_owed(struct fetching *f, uint32_t node)
{
    struct group_state *st = f->st;
    const struct group_node *n = &st->set.nodes[node];
    struct store_record record;
    struct event e;
    err_t err = group_read_owed(f->g, n->position, n->replay || n->attempts > 0, &record, &e);
    bool gone = err == ERR_NOT_FOUND || (err == ERR_OK && !n->replay &&
                                         !store_filter_matches(&f->def->said.settings.filter, &e));
    if (gone) {
        st->record.counts.gone++;
        group_settle(st, node);
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    group_set_detach(&st->set, node);
    return deliver(f, node, &record);
}

static err_t fetch_owed(struct fetching *f)
{
    err_t err = ERR_OK;
    while (err == ERR_OK && !is_done(f)) {
        /* What has come to the front of its stream meanwhile may be due already. */
        err = group_expire(f->g, f->def);
        uint32_t node = group_set_first(&f->st->set);
        if (err != ERR_OK || node == GROUP_NONE) {
            break;
        }
        err = deliver_owed(f, node);
    }
    return err;
}

/* ---- what is new ---- */

/* What is owed and not leased is bounded, whatever it waits for. */
static uint32_t held_count(const struct group_state *st)
{
    const uint32_t *counts = st->set.counts;
    return counts[GROUP_NODE_READY] + counts[GROUP_NODE_WAITING] + counts[GROUP_NODE_HELD] +
           counts[GROUP_NODE_BLOCKS];
}

/* The follower's each. An event whose stream is busy waits behind it. Where no more can be held the
 * follower stays before it (ERR_LIMIT). */
static err_t take_new(void *ctx, const struct store_record *record)
{
    struct fetching *f = ctx;
    struct group_state *st = f->st;
    struct event e;
    err_t err = store_record_decode(record, &e);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t stream = group_stream_key(e.stream);
    bool busy = group_set_is_busy(&st->set, stream);
    if (held_count(st) >= GROUP_HELD_MAX) {
        return ERR_LIMIT;
    }
    uint32_t node = group_set_add(&st->set, record->position, stream);
    if (node == GROUP_NONE) {
        return ERR_MEMORY;
    }
    st->record_dirty = true;
    st->ahead.count -= st->ahead.count > 0 && record->position <= st->ahead.to ? 1 : 0;
    if (busy) {
        group_set_release(&st->set, node);
        return st->set.status;
    }
    err = deliver(f, node, record);
    return err == ERR_OK && is_done(f) ? ERR_FULL : err;
}

static err_t fetch_new(struct fetching *f)
{
    struct group_state *st = f->st;
    bool caught_up = false;
    err_t err = ERR_OK;
    for (int looks = 0; looks < LOOKS_MAX && err == ERR_OK && !is_done(f) && !caught_up; looks++) {
        struct follower_limits limits = {.events = GROUP_BATCH_MAX};
        err = follower_next(st->follower, f->g->view, &limits, take_new, f, &caught_up);
    }
    st->held_full = err == ERR_LIMIT;
    f->ret->held_full = st->held_full;
    f->ret->again = !caught_up && err == ERR_OK && !is_done(f);
    if (caught_up || follower_checkpoint(st->follower) >= st->ahead.to) {
        st->ahead.count = 0; /* nothing lies between */
    }
    return err == ERR_LIMIT ? ERR_OK : err;
}

/* ---- the whole ---- */

/* Replays come as far as there is room; those that must wait for their stream make room for the
 * next. */
static err_t fetch_replays(struct fetching *f)
{
    const struct group_state *st = f->st;
    err_t err = ERR_OK;
    while (err == ERR_OK && !is_done(f) && st->record.replaying > 0 &&
           held_count(st) < GROUP_HELD_MAX) {
        uint32_t room = GROUP_HELD_MAX - held_count(st);
        err = group_pull_replays(f->g, f->def, f->limit < room ? f->limit : room);
        if (err == ERR_OK) {
            err = fetch_owed(f);
        }
    }
    return err;
}

static err_t fetch_all(struct fetching *f)
{
    err_t err = group_check_blocks(f->g, f->def);
    if (err == ERR_OK) {
        err = fetch_owed(f);
    }
    if (err == ERR_OK) {
        err = fetch_replays(f);
    }
    if (err == ERR_OK && !is_done(f)) {
        err = fetch_new(f);
    }
    return err == ERR_OK ? f->st->set.status : err;
}

static bool is_valid(const struct group_fetch *fetch)
{
    return fetch->max >= 1 && fetch->max <= GROUP_FETCH_MAX &&
           fetch->consumer.n <= GROUP_CONSUMER_MAX;
}

err_t groups_fetch(struct groups *g, const struct group_fetch *fetch, group_each each, void *ctx,
                   struct group_fetched *ret)
{
    struct group_def *def;
    *ret = (struct group_fetched){0};
    if (!is_valid(fetch)) {
        return ERR_INVALID;
    }
    err_t err = group_use(g, fetch->group, &def);
    if (err == ERR_OK) {
        err = group_expire(g, def);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct group_state *st = def->state;
    const struct group_settings *s = &def->said.settings;
    uint32_t leased = st->set.counts[GROUP_NODE_LEASED];
    uint32_t room = leased < s->max_in_flight ? s->max_in_flight - leased : 0;
    ret->deadline_us = g->now_us + s->ack_timeout_us;
    ret->paused = s->paused;
    struct fetching f = {.g = g,
                         .def = def,
                         .st = st,
                         .fetch = fetch,
                         .each = each,
                         .ctx = ctx,
                         .ret = ret,
                         .limit = fetch->max < room ? fetch->max : room,
                         .batch = GROUP_NONE};
    if (!s->paused && f.limit > 0) {
        err = fetch_all(&f);
    }
    ret->in_flight_full = !s->paused && room < fetch->max && ret->count == room;
    return err == ERR_OK ? record_consumer(def, fetch->consumer, g->now_us, ret->count) : err;
}

/* ---- who fetched ---- */

static struct group_seen *find_seen(struct group_def *def, struct bytes name)
{
    for (size_t i = 0; i < def->seen_count; i++) {
        if (bytes_equal(bytes_of(def->seen[i].name, def->seen[i].name_bytes), name)) {
            return &def->seen[i];
        }
    }
    return NULL;
}

/* A place for one more; that of whoever was away longest where there are too many. */
static struct group_seen *add_seen(struct group_def *def)
{
    if (def->seen_count == GROUP_CONSUMERS_MAX) {
        struct group_seen *oldest = def->seen;
        for (size_t i = 1; i < def->seen_count; i++) {
            oldest = def->seen[i].last_fetch_us < oldest->last_fetch_us ? &def->seen[i] : oldest;
        }
        free(oldest->name);
        *oldest = def->seen[--def->seen_count];
    }
    struct group_seen *seen = realloc(def->seen, (def->seen_count + 1) * sizeof *seen);
    if (seen == NULL) {
        return NULL;
    }
    def->seen = seen;
    return &seen[def->seen_count];
}

static err_t record_consumer(struct group_def *def, struct bytes name, int64_t now_us, uint32_t n)
{
    struct group_seen *seen = find_seen(def, name);
    if (seen == NULL) {
        char *copy = malloc(name.n + 1);
        seen = copy == NULL ? NULL : add_seen(def);
        if (seen == NULL) {
            free(copy);
            return ERR_MEMORY;
        }
        memcpy(copy, name.n == 0 ? (const void *)"" : name.p, name.n);
        *seen = (struct group_seen){.name = copy, .name_bytes = name.n};
        def->seen_count++;
    }
    seen->last_fetch_us = now_us;
    seen->delivered += n;
    return ERR_OK;
}
