/* group_settle: the end of leases: acknowledged, given back, extended, expired. */
#include "projections/group_int.h"
#include "storage/base/check.h"

void group_settle(struct group_state *st, uint32_t node)
{
    if (st->set.nodes[node].state == GROUP_NODE_LEASED) {
        group_lease_end(st, node);
    } else {
        group_set_detach(&st->set, node);
    }
    group_set_free(&st->set, node);
    st->record_dirty = true;
}

/* ---- what was hidden meanwhile ---- */

err_t group_lives(struct groups *g, uint64_t *ret)
{
    struct store_stream_info info;
    err_t err = store_get_stream(g->view, BYTES_LITERAL("$streams"), &info);
    *ret = err == ERR_OK ? info.head_revision : 0;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

err_t group_read_owed(struct groups *g, uint64_t position, bool again, struct store_record *ret,
                      struct event *ret_event)
{
    err_t err = store_get_event(g->view, position, ret);
    if (err == ERR_OK) {
        err = store_record_decode(ret, ret_event);
    }
    if (err == ERR_GONE || (err == ERR_OK && again && ret_event->redacted)) {
        return ERR_NOT_FOUND;
    }
    return err;
}

/* ---- expiry ---- */

static err_t expire_lease(struct groups *g, struct group_def *def, uint32_t node)
{
    struct group_state *st = def->state;
    st->record.counts.expired++;
    st->record_dirty = true;
    st->changes = ++g->changes;
    if (st->set.nodes[node].attempts >= def->said.settings.max_attempts) {
        struct group_parking how = {.cause = GROUP_PARKED_BY_EXPIRY};
        return group_park(g, def, node, &how);
    }
    group_lease_end(st, node);
    group_set_release(&st->set, node);
    return st->set.status;
}

err_t group_expire(struct groups *g, struct group_def *def)
{
    struct group_state *st = def->state;
    err_t err = ERR_OK;
    uint32_t node = group_set_next_due(&st->set);
    while (err == ERR_OK && node != GROUP_NONE && st->set.nodes[node].due_us <= g->now_us) {
        if (st->set.nodes[node].state == GROUP_NODE_WAITING) {
            group_set_wake(&st->set, node);
        } else {
            err = expire_lease(g, def, node);
        }
        node = group_set_next_due(&st->set);
    }
    return err;
}

/* ---- a request's leases ---- */

/* Whether each is held; twice in one request counts as lost. Nothing is changed. */
static size_t check_leases(struct group_state *st, const struct group_leases *leases)
{
    size_t lost = 0;
    for (size_t i = 0; i < leases->n; i++) {
        uint32_t node = group_lease_find(st, &leases->items[i]);
        bool held =
            node != GROUP_NONE && !st->set.nodes[node].committing && !st->set.nodes[node].marked;
        leases->lost[i] = !held;
        lost += held ? 0 : 1;
        if (held) {
            st->set.nodes[node].marked = true;
        }
    }
    for (size_t i = 0; i < leases->n; i++) {
        if (!leases->lost[i]) {
            st->set.nodes[group_lease_find(st, &leases->items[i])].marked = false;
        }
    }
    return lost;
}

err_t group_lease_check(struct groups *g, const struct group_leases *leases, struct group_def **ret,
                        size_t *ret_lost)
{
    err_t err = group_use(g, leases->group, ret);
    if (err == ERR_OK) {
        err = group_expire(g, *ret);
    }
    if (err == ERR_OK) {
        *ret_lost = check_leases((*ret)->state, leases);
    }
    return err;
}

err_t groups_ack(struct groups *g, const struct group_leases *leases, size_t *ret_lost)
{
    struct group_def *def;
    err_t err = group_lease_check(g, leases, &def, ret_lost);
    if (err != ERR_OK || *ret_lost > 0) {
        return err;
    }
    struct group_state *st = def->state;
    for (size_t i = 0; i < leases->n; i++) {
        group_settle(st, group_lease_find(st, &leases->items[i]));
    }
    st->record.counts.acked += leases->n;
    st->changes = ++g->changes;
    return st->set.status;
}

/* ---- nack ---- */

/* Doubled for each attempt, up to the maximum; then somewhere in the upper half of that, so that a
 * crowd that failed together does not come back together. */
static int64_t back_off(const struct group_settings *s, unsigned attempts, uint64_t random)
{
    int64_t delay = s->backoff_initial_us;
    for (unsigned i = 1; i < attempts && delay < s->backoff_max_us; i++) {
        delay = delay > s->backoff_max_us / 2 ? s->backoff_max_us : delay * 2;
    }
    uint64_t half = (uint64_t)delay / 2;
    return delay - (int64_t)(random % (half + 1));
}

static err_t give_back(struct groups *g, struct group_def *def, uint32_t node,
                       const struct group_nack *nack, uint64_t random)
{
    struct group_state *st = def->state;
    const struct group_settings *s = &def->said.settings;
    struct group_node *n = &st->set.nodes[node];
    if (nack->action == GROUP_NACK_SKIP) {
        group_settle(st, node);
        st->record.counts.skipped++;
        return ERR_OK;
    }
    bool last = n->attempts >= s->max_attempts;
    if (nack->action == GROUP_NACK_PARK || last) {
        struct group_parking how = {.cause = nack->action == GROUP_NACK_PARK
                                                 ? GROUP_PARKED_BY_NACK
                                                 : GROUP_PARKED_BY_ATTEMPTS,
                                    .reason = nack->reason};
        return group_park(g, def, node, &how);
    }
    int64_t delay = nack->delay_us >= 0 ? nack->delay_us : back_off(s, n->attempts, random);
    group_lease_end(st, node);
    n->due_us = delay == 0 ? 0 : g->now_us + delay;
    group_set_release(&st->set, node);
    return st->set.status;
}

err_t groups_nack(struct groups *g, const struct group_leases *leases,
                  const struct group_nack *nack, size_t *ret_lost, size_t *ret_parked)
{
    struct group_def *def;
    if (nack->delay_us > GROUP_BACKOFF_MAX) {
        return ERR_INVALID;
    }
    err_t err = group_lease_check(g, leases, &def, ret_lost);
    if (err != ERR_OK || *ret_lost > 0) {
        return err;
    }
    struct group_state *st = def->state;
    uint64_t parked = st->record.counts.parked, random = nack->random;
    for (size_t i = 0; i < leases->n && err == ERR_OK; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t node = group_lease_find(st, &leases->items[i]);
        err = give_back(g, def, node, nack, random >> 16);
    }
    st->record_dirty = true;
    st->changes = ++g->changes;
    if (ret_parked != NULL) {
        *ret_parked = (size_t)(st->record.counts.parked - parked);
    }
    return err;
}

err_t groups_extend(struct groups *g, const struct group_leases *leases, int64_t timeout_us,
                    size_t *ret_lost, int64_t *ret_deadline_us)
{
    struct group_def *def;
    if (timeout_us < 0 || timeout_us > GROUP_ACK_TIMEOUT_MAX) {
        return ERR_INVALID;
    }
    err_t err = group_lease_check(g, leases, &def, ret_lost);
    if (err != ERR_OK || *ret_lost > 0) {
        return err;
    }
    struct group_state *st = def->state;
    int64_t timeout = timeout_us > 0 ? timeout_us : def->said.settings.ack_timeout_us;
    *ret_deadline_us = g->now_us + timeout;
    for (size_t i = 0; i < leases->n; i++) {
        uint32_t node = group_lease_find(st, &leases->items[i]);
        group_set_extend(&st->set, node, *ret_deadline_us);
        group_batch_touch(st, st->set.nodes[node].batch);
    }
    return st->set.status;
}
