/* daybook_group: the part of the client library about consumer groups: to define them, to fetch
 * events under leases and settle them, and to look after what was parked. daybook.h includes it,
 * and says which threads may call what and who owns what. Not found is DAYBOOK_ERR_NOT_FOUND.
 *
 * A consumer: daybook_group_fetch, do the work of each event, daybook_group_ack. What is not
 * settled when its lease ends is delivered again, to any consumer of the group. */
#ifndef DAYBOOK_GROUP_H
#define DAYBOOK_GROUP_H

#include "daybook.h"
#include "daybook_read.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what a group is ---- */

enum daybook_toggle { DAYBOOK_AS_IT_IS, DAYBOOK_ON, DAYBOOK_OFF };

/* NULL, 0 and {0}: the server's default, and of an edit: as it is. */
struct daybook_group_settings {
    struct daybook_names types, categories, prefixes, tags; /* none at all: every event */
    bool set_filter;                 /* of an edit: the filter is to be these */
    const char *ordering;            /* "stream" or "none" */
    const char *on_park;             /* "block" or "continue" */
    double ack_timeout_s;            /* how long a lease holds */
    unsigned max_attempts;           /* deliveries, before an event is parked */
    const double *backoff_initial_s; /* before the first retry; it doubles … */
    const double *backoff_max_s;     /* … up to this */
    unsigned max_in_flight;
    enum daybook_toggle paused;
};

struct daybook_group_consumer {
    const char *name;
    const char *last_fetch_at; /* RFC 3339 */
    uint64_t in_flight, delivered;
};

struct daybook_group {
    const char *name;
    bool created; /* daybook_group_define: it was not there */
    struct daybook_names types, categories, prefixes, tags;
    const char *ordering, *on_park;
    double ack_timeout_s, backoff_initial_s, backoff_max_s;
    uint64_t max_attempts, max_in_flight;
    bool paused;
    const char *created_at; /* RFC 3339 */
    uint64_t revision;      /* counts definitions */
    uint64_t position;      /* all matching events up to here are settled */
    uint64_t fetched, head; /* how far it has looked, and how far the log goes */
    uint64_t lag_events;
    bool lag_is_exact; /* false: at most so many */
    double lag_s;      /* age of the oldest event that is not settled */
    uint64_t oldest;   /* its position; 0: none */
    uint64_t in_flight, committing, waiting, ready, held, replaying, parked, blocked_streams;
    bool held_full; /* so much waits that it looks at no new events */
    uint64_t delivered, redelivered, acked, skipped, gone, parked_ever, replayed, discarded,
        expired;                                    /* since it was created */
    const struct daybook_group_consumer *consumers; /* not in a list of groups */
    size_t consumers_n;
};

/* Creates a group, or gives the one of this name these settings. `after`: where a new one begins,
 * "start" (NULL), "end" or a position. */
enum daybook_result daybook_group_define(struct daybook *db, const char *name,
                                         const struct daybook_group_settings *settings,
                                         const char *after, struct daybook_group *ret);
/* Changes what is set. */
enum daybook_result daybook_group_edit(struct daybook *db, const char *name,
                                       const struct daybook_group_settings *settings,
                                       struct daybook_group *ret);
enum daybook_result daybook_group_get(struct daybook *db, const char *name,
                                      struct daybook_group *ret);
enum daybook_result daybook_group_list(struct daybook *db, const struct daybook_group **ret,
                                       size_t *ret_n);
enum daybook_result daybook_group_delete(struct daybook *db, const char *name);
/* Moves it to "start", "end", a position (all up to it is settled), or, where `to` is NULL, to a
 * time (RFC 3339). All leases end. */
enum daybook_result daybook_group_seek(struct daybook *db, const char *name, const char *to,
                                       const char *time, struct daybook_group *ret);

/* ---- consuming ---- */

struct daybook_fetch {
    const char *group;
    const char *consumer; /* its name in the group's status; NULL: none */
    unsigned max;         /* 0: as the server likes */
    uint64_t wait_ms;     /* how long to wait where there is nothing */
};

struct daybook_delivery {
    const char *lease;
    uint64_t attempt; /* 1: the first delivery */
    bool replay;      /* it was parked, and somebody asked for it again */
    struct daybook_event event;
};

struct daybook_fetched {
    const struct daybook_delivery *deliveries;
    size_t deliveries_n;
    int64_t lease_until_us; /* by the server's clock, microseconds since 1970 */
};

/* An answer that is lost on the way leaves its events leased until those leases end. */
enum daybook_result daybook_group_fetch(struct daybook *db, const struct daybook_fetch *fetch,
                                        struct daybook_fetched *ret);

/* The leases of a call are settled all or none: where some are lost it is DAYBOOK_ERR_LEASE_LOST,
 * whose problem names them. A call that was tried again over a new connection may find that its
 * first try got through: its leases are then lost, for they are settled. */
struct daybook_leases {
    const char *group;
    const char *const *items;
    size_t n;
};
enum daybook_result daybook_group_ack(struct daybook *db, const struct daybook_leases *leases);
/* Acknowledges and appends in one step: both happen or neither does, whatever crashes when. A batch
 * keeps its content, and its events' ids, as after daybook_batch_send. *ret as there, borrowed from
 * `db`. */
enum daybook_result daybook_group_ack_append(struct daybook *db,
                                             const struct daybook_leases *leases,
                                             const struct daybook_batch *batch,
                                             const struct daybook_appended **ret, size_t *ret_n);

enum daybook_nack_action { DAYBOOK_RETRY, DAYBOOK_PARK, DAYBOOK_SKIP_EVENT };
struct daybook_nack {
    enum daybook_nack_action action;
    const double *delay_s; /* of a retry; NULL: by the group's back-off */
    const char *reason;    /* shown with the event where it is parked; NULL: none */
};
/* *ret_parked (may be NULL): how many are parked now. */
enum daybook_result daybook_group_nack(struct daybook *db, const struct daybook_leases *leases,
                                       const struct daybook_nack *nack, uint64_t *ret_parked);
/* From now on for so long; 0: for the group's ack timeout. *ret_until_us may be NULL. */
enum daybook_result daybook_group_extend(struct daybook *db, const struct daybook_leases *leases,
                                         double timeout_s, int64_t *ret_until_us);

/* ---- parked events ---- */

struct daybook_parked {
    uint64_t position, attempts;
    const char *cause; /* "nack", "attempts" or "expiry" */
    const char *reason, *consumer;
    const char *first_delivered_at, *last_delivered_at, *parked_at; /* RFC 3339 */
    bool blocks; /* the rest of its stream waits for it */
    bool gone;   /* deleted or redacted: `event` is empty */
    struct daybook_event event;
};

struct daybook_parked_list {
    const struct daybook_parked *parked;
    size_t parked_n;
    uint64_t next; /* the `after` of the next page */
    bool end;      /* there is none */
};
/* In order, after a position, at most `limit` (0: the server's default). */
enum daybook_result daybook_group_parked(struct daybook *db, const char *name, uint64_t after,
                                         uint64_t limit, struct daybook_parked_list *ret);

/* Which parked events; {0}: all. */
struct daybook_selection {
    uint64_t position; /* one; 0: by what follows */
    uint64_t from, to; /* 0: no bound */
    struct daybook_names types, categories, prefixes, tags;
    bool dry_run; /* only count */
};
/* They are delivered again. *ret_gone (may be NULL): of how many there is nothing to deliver. */
enum daybook_result daybook_group_replay(struct daybook *db, const char *name,
                                         const struct daybook_selection *selection, uint64_t *ret,
                                         uint64_t *ret_gone);
/* One is settled for good, or (position 0) all are. */
enum daybook_result daybook_group_discard(struct daybook *db, const char *name, uint64_t position,
                                          uint64_t *ret);

#ifdef __cplusplus
}
#endif

#endif
