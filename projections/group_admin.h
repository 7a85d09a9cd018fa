/* group_admin: looking at consumer groups, and what an operator does with parked events. The same
 * thread, transactions and errors as group.h. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_ADMIN_H
#define DAYBOOK_PROJECTIONS_GROUP_ADMIN_H

#include "projections/group.h"

/* Since the group was created; durable, saturating never. */
struct group_counts {
    uint64_t delivered;   /* deliveries, redeliveries too */
    uint64_t redelivered; /* those with an attempt over 1 */
    uint64_t acked, skipped, gone, parked, replayed, discarded, expired;
};

struct group_status {
    uint64_t position;   /* all matching events up to here are settled */
    uint64_t fetched;    /* how far the log has been looked at */
    uint64_t head;       /* of the view */
    uint64_t lag_events; /* matching events that are not settled: owed, and not looked at yet */
    bool lag_is_exact;   /* false: the rest of the log was not counted yet, and is in lag_events
                            with all its events, whether they match or not; ask again */
    int64_t lag_us;      /* age of the oldest event that is not settled; 0: none */
    uint64_t oldest;     /* its position; 0: none */
    uint64_t in_flight;  /* leased */
    uint64_t committing; /* of these, in an acknowledgement with append */
    uint64_t waiting;    /* for a retry */
    uint64_t ready;      /* to be delivered again, or released */
    uint64_t held;       /* behind another event of their stream */
    uint64_t replaying;  /* parked events that are to be delivered again and were not yet */
    uint64_t parked;
    uint64_t blocked_streams; /* by a parked event */
    bool held_full;           /* GROUP_HELD_MAX is reached: new events wait */
    struct group_counts counts;
    size_t consumers;
};
/* Reads a bounded part of the log to count the lag. */
MUST_CHECK err_t groups_status(struct groups *g, struct bytes group, struct group_status *ret);

/* Consumers that fetched since the start of the process; the GROUP_CONSUMERS_MAX most recent. */
#define GROUP_CONSUMERS_MAX 256
struct group_consumer {
    struct bytes name; /* borrowed until the transaction ends */
    int64_t last_fetch_us;
    uint64_t in_flight, delivered;
};
/* i < group_status.consumers. */
MUST_CHECK err_t groups_consumer(struct groups *g, struct bytes group, size_t i,
                                 struct group_consumer *ret);

/* ---- parked events ---- */

enum group_park_cause {
    GROUP_PARKED_BY_NACK,     /* the consumer said so */
    GROUP_PARKED_BY_ATTEMPTS, /* nacked for the last time */
    GROUP_PARKED_BY_EXPIRY,   /* the last lease expired */
};
struct group_parked {
    uint64_t position;
    uint32_t attempts; /* deliveries since it was new or last replayed */
    enum group_park_cause cause;
    int64_t first_us, last_us; /* of these: the first and the last delivery */
    int64_t parked_us;
    struct bytes reason, consumer; /* the last one's */
    bool blocks;                   /* the rest of its stream waits for it */
    bool gone;                     /* it cannot be read any more, so it cannot be replayed */
    struct store_record record;    /* where it is not gone */
};
/* Return ERR_OK, or ERR_FULL: taken, no more now. Everything is borrowed until it returns. */
typedef err_t (*group_parked_each)(void *ctx, const struct group_parked *parked);
/* Hands over parked events after a position, in their order, at most `limit`. *ret_end: there are
 * no more. */
struct group_parked_page {
    struct bytes group;
    uint64_t after;
    size_t limit;
};
MUST_CHECK err_t groups_parked(struct groups *g, const struct group_parked_page *page,
                               group_parked_each each, void *ctx, bool *ret_end);

/* Parked events: from <= position <= to, and matching the filter (NULL: all). */
struct group_selection {
    struct bytes group;
    uint64_t from, to; /* to: 0 is no bound */
    const struct store_filter *filter;
    bool dry_run; /* counts only */
};
struct group_selected {
    uint64_t count; /* replayed or discarded, or would be */
    uint64_t gone;  /* could not be read: they are settled as gone (by a replay) */
    uint64_t next;  /* not 0: this many were enough for one call (about 1000 looked at): call again
                       with `from` = next */
};
/* They are owed again, as `replay`, with fresh attempts; in stream order each before what its
 * stream holds back. */
MUST_CHECK err_t groups_replay(struct groups *g, const struct group_selection *selection,
                               struct group_selected *ret);
/* They are settled for good; what they blocked goes on. A filter does not match what is gone;
 * without one, gone events are discarded too. */
MUST_CHECK err_t groups_discard(struct groups *g, const struct group_selection *selection,
                                struct group_selected *ret);

/* ---- secrets ---- */

/* Bytes that belong to the group, are not in the log and never shown (the key of push); n = 0
 * removes them, at most GROUP_SECRET_MAX. Deleted with the group. */
#define GROUP_SECRET_MAX 256
MUST_CHECK err_t groups_set_secret(struct groups *g, struct bytes group, struct bytes secret);
/* Empty: none. Borrowed until the next call. */
MUST_CHECK err_t groups_get_secret(struct groups *g, struct bytes group, struct bytes *ret);

#endif
