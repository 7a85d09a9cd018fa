/* reclaim: when the applier's thread gives back what hidden events take: at once after a command
 * has asked for it and is applied, and now and then for what has expired.
 *
 * The applier's thread only; reads the monotonic and the wall clock. A pass is many short steps,
 * and between any two the thread sees to its other work. */
#ifndef DAYBOOK_SERVER_RECLAIM_H
#define DAYBOOK_SERVER_RECLAIM_H

#include "storage/store.h"

struct reclaim {
    struct store *store;
    unsigned interval_s; /* between passes that nothing has asked for; 0: there are none */
    bool told_damage;    /* in the log, once */
    bool under_way;      /* there is more to do at once */
    int64_t began_us;    /* monotonic: the pass that is under way */
    int64_t next_us;     /* monotonic: not before */
    int64_t interval_us; /* monotonic: the next pass that nothing asks for */
};

void reclaim_init(struct reclaim *r, struct store *s, unsigned interval_s);

/* When to call reclaim_step next, monotonic microseconds; INT64_MAX: only after something was
 * applied. */
int64_t reclaim_due_us(const struct reclaim *r);

/* One step. A full disk is waited out in here, damage is logged and left for verify; what is
 * returned stops the process. */
MUST_CHECK err_t reclaim_step(struct reclaim *r);

#endif
