/* consume_leases: see consume_leases.h. */
#include "consume_leases.h"

#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEP_PART       3 /* of a lease may pass before it is extended */
#define KEEP_MS_MIN     20
#define KEEP_MS_MAX     30000
#define TIMEOUT_MS_NONE 30000

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool consume_leases_ask(struct consume_leases *l)
{
    struct daybook_group g;
    if (daybook_group_get(l->db, l->group, &g) != DAYBOOK_OK) {
        return false;
    }
    l->timeout_ms = g.ack_timeout_s > 0 ? (uint64_t)(g.ack_timeout_s * 1000) : TIMEOUT_MS_NONE;
    return true;
}

bool consume_leases_take(struct consume_leases *l, const struct daybook_fetched *fetched)
{
    if (fetched->deliveries_n > l->capacity) {
        const char **items = realloc(l->items, fetched->deliveries_n * sizeof *items);
        if (items == NULL) {
            return false;
        }
        l->items = items;
        l->capacity = fetched->deliveries_n;
    }
    for (l->n = 0; l->n < fetched->deliveries_n; l->n++) {
        l->items[l->n] = fetched->deliveries[l->n].lease;
    }
    l->extended_ms = now_ms();
    return true;
}

void consume_leases_done(struct consume_leases *l)
{
    free(l->items);
    l->items = NULL;
    l->n = l->capacity = 0;
}

bool consume_leases_holds(const struct consume_leases *l, size_t i)
{
    return l->items[i] != NULL;
}

/* ---- asking the server ---- */

static bool is_named(const struct daybook_problem *p, const char *lease)
{
    for (size_t i = 0; i < p->leases_n; i++) {
        if (strcmp(p->leases[i], lease) == 0) {
            return true;
        }
    }
    return false;
}

/* Drops the leases that the problem names; where it names none of them, all. */
static void drop_lost(struct consume_leases *l, const struct daybook_problem *p, size_t first,
                      size_t end)
{
    size_t dropped = 0;
    for (int all = 0; all < 2 && dropped == 0; all++) {
        for (size_t i = first; i < end; i++) {
            if (l->items[i] != NULL && (all == 1 || is_named(p, l->items[i]))) {
                l->items[i] = NULL;
                dropped++;
            }
        }
    }
    l->lost += dropped;
}

static enum daybook_result send(struct daybook *db, const struct daybook_leases *leases,
                                const struct daybook_nack *nack)
{
    return nack == NULL ? daybook_group_ack(db, leases)
                        : daybook_group_nack(db, leases, nack, NULL);
}

/* Those that are held, in an array of the caller's. */
static struct daybook_leases held(const struct consume_leases *l, size_t first, size_t end,
                                  const char **room)
{
    struct daybook_leases leases = {.group = l->group, .items = room};
    for (size_t i = first; i < end; i++) {
        if (l->items[i] != NULL) {
            room[leases.n++] = l->items[i];
        }
    }
    return leases;
}

size_t consume_leases_settle(struct consume_leases *l, size_t first, size_t end,
                             const struct daybook_nack *nack)
{
    const char **room = malloc((l->n + 1) * sizeof *room);
    uint64_t lost = l->lost;
    size_t settled = 0;
    while (room != NULL) {
        struct daybook_leases leases = held(l, first, end, room);
        if (leases.n == 0) {
            break;
        }
        enum daybook_result result = send(l->db, &leases, nack);
        const struct daybook_problem *p = daybook_problem(l->db);
        if (result == DAYBOOK_ERR_LEASE_LOST) {
            drop_lost(l, p, first, end);
            continue;
        }
        if (result == DAYBOOK_OK) {
            settled = leases.n;
        } else {
            cli_error("%s: %s%s%s", l->group, p->title, p->detail[0] == '\0' ? "" : ": ",
                      p->detail);
            l->lost += leases.n;
        }
        break;
    }
    for (size_t i = first; i < end; i++) {
        l->items[i] = NULL;
    }
    free(room);
    if (l->lost > lost) {
        cli_error("%s: %" PRIu64 " lease%s lost; the events come again if they were not settled",
                  l->group, l->lost - lost, l->lost - lost == 1 ? " is" : "s are");
        (void)consume_leases_ask(l);
    }
    return settled;
}

/* ---- in time ---- */

static void extend(struct consume_leases *l)
{
    const char **room = malloc((l->n + 1) * sizeof *room);
    while (room != NULL) {
        struct daybook_leases leases = held(l, 0, l->n, room);
        if (leases.n == 0 ||
            daybook_group_extend(l->hurried, &leases, 0, NULL) != DAYBOOK_ERR_LEASE_LOST) {
            break;
        }
        drop_lost(l, daybook_problem(l->hurried), 0, l->n);
    }
    free(room);
}

int consume_leases_keep(struct consume_leases *l)
{
    uint64_t every_ms = l->timeout_ms / KEEP_PART;
    every_ms = every_ms < KEEP_MS_MIN ? KEEP_MS_MIN : every_ms;
    every_ms = every_ms > KEEP_MS_MAX ? KEEP_MS_MAX : every_ms;
    uint64_t now = now_ms();
    if (now - l->extended_ms >= every_ms) {
        extend(l);
        l->extended_ms = now;
        now = now_ms();
    }
    uint64_t passed_ms = now - l->extended_ms;
    return passed_ms >= every_ms ? 0 : (int)(every_ms - passed_ms);
}
