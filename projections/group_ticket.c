/* group_ticket: acknowledging in one step with an append. The log decides; until it has, the leases
 * are `committing`. That is in memory only: the rows say that they are leased, and after a crash
 * the log's events say what became of them (group_fold.c). */
#include <stdlib.h>

#include "projections/group_int.h"
#include "storage/base/check.h"

static struct group_ticket *ticket_new(const struct group_def *def,
                                       const struct group_leases *leases)
{
    size_t bytes = leases->n * (sizeof(uint64_t) + sizeof(struct group_lease));
    struct group_ticket *t = calloc(1, sizeof *t + bytes);
    if (t == NULL) {
        return NULL;
    }
    t->group_id = def->id;
    t->n = leases->n;
    t->positions = (uint64_t *)(t + 1);
    t->leases = (struct group_lease *)(t->positions + t->n);
    memcpy(t->name, def->name, sizeof t->name);
    return t;
}

err_t groups_ack_prepare(struct groups *g, const struct group_leases *leases, size_t *ret_lost,
                         uint64_t *ret_ticket)
{
    struct group_def *def;
    err_t err = group_lease_check(g, leases, &def, ret_lost);
    if (err != ERR_OK || *ret_lost > 0) {
        return err;
    }
    struct group_ticket *t = ticket_new(def, leases);
    if (t == NULL) {
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < leases->n; i++) {
        uint32_t node = group_lease_find(def->state, &leases->items[i]);
        t->leases[i] = leases->items[i];
        t->positions[i] = def->state->set.nodes[node].position;
        group_set_commit(&def->state->set, node, true);
    }
    t->number = *ret_ticket = ++g->last_ticket;
    t->next = g->tickets;
    g->tickets = t;
    return ERR_OK;
}

static struct group_ticket **find(struct groups *g, uint64_t number)
{
    struct group_ticket **at = &g->tickets;
    while (*at != NULL && (*at)->number != number) {
        at = &(*at)->next;
    }
    return at;
}

err_t groups_make_acked(struct groups *g, uint64_t ticket, struct arena *arena,
                        struct event_draft *ret)
{
    const struct group_ticket *t = *find(g, ticket);
    CHECK(t != NULL);
    struct group_change change = {.kind = GROUP_ACKED,
                                  .name = bytes_of_string(t->name),
                                  .group_id = t->group_id,
                                  .positions = t->positions,
                                  .position_count = t->n};
    return group_make_event(&change, arena, ret);
}

/* What the log has acknowledged is not leased any more, nor what a seek has taken back. */
void groups_ack_finish(struct groups *g, uint64_t ticket)
{
    struct group_ticket **at = find(g, ticket), *t = *at;
    if (t == NULL) {
        return;
    }
    *at = t->next;
    struct group_def *def = group_by_id(g, t->group_id);
    for (size_t i = 0; def != NULL && def->state != NULL && i < t->n; i++) {
        uint32_t node = group_lease_find(def->state, &t->leases[i]);
        if (node != GROUP_NONE) {
            group_set_commit(&def->state->set, node, false);
        }
    }
    if (def != NULL && def->state != NULL) {
        def->state->changes = ++g->changes;
    }
    free(t);
}
