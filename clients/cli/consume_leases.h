/* consume_leases: the leases that `daybook consume` holds: settled, extended in time, given back.
 *
 * One thread. Leases that turn out to be lost are dropped: their events come again, here or at
 * another consumer. */
#ifndef DAYBOOK_CLI_CONSUME_LEASES_H
#define DAYBOOK_CLI_CONSUME_LEASES_H

#include "clients/c/daybook.h"

struct consume_leases {
    const char *group;
    struct daybook *db;      /* tries again for a while: an ack is worth it */
    struct daybook *hurried; /* does not: the command that runs must be looked after */
    const char **items;      /* owned array, borrowed strings; NULL: settled or lost */
    size_t n, capacity;
    uint64_t timeout_ms;  /* of a lease, when it was asked last */
    uint64_t extended_ms; /* when the leases began */
    uint64_t lost;        /* in all */
};

/* Asks for the group's ack timeout. False, with the problem in `db`: there is no such group, or no
 * server. */
bool consume_leases_ask(struct consume_leases *l);
/* The leases of a fetch take the place of those before. False: no memory. */
bool consume_leases_take(struct consume_leases *l, const struct daybook_fetched *fetched);
void consume_leases_done(struct consume_leases *l);

/* Whether it is still held. */
bool consume_leases_holds(const struct consume_leases *l, size_t i);
/* Settles leases `first` to `end` (not included): NULL acknowledges. Returns how many were; the
 * others are lost, and it was said. */
size_t consume_leases_settle(struct consume_leases *l, size_t first, size_t end,
                             const struct daybook_nack *nack);
/* Extends all that are held where a third of their time is over. Returns in how many milliseconds
 * to call it again. */
int consume_leases_keep(struct consume_leases *l);

#endif
