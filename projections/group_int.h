/* group_int: the inside of consumer groups, for the group*.c files only.
 *
 * What a group owes is in a group_set in memory, and in rows of the state environment that are
 * written when a transaction commits: one for each batch of leases, one for each page of positions
 * with events that are owed and not leased, one for the group. Parked events, which nobody looks at
 * until an operator does, are rows only. In memory a group is either as its rows say plus the open
 * transaction, or not loaded: whoever aborts drops it, and it is loaded from the rows again. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_INT_H
#define DAYBOOK_PROJECTIONS_GROUP_INT_H

#include "projections/follower.h"
#include "projections/group.h"
#include "projections/group_admin.h"
#include "projections/group_rows.h"
#include "projections/group_set.h"
#include "storage/base/map.h"

/* Leases of one fetch, at most so many of them: a row. */
#define GROUP_BATCH_MAX 256
struct group_batch {
    uint64_t number; /* of its row: counts up in the group */
    uint8_t token[GROUP_TOKEN_BYTES];
    uint16_t base; /* index of its first lease in the fetch */
    uint16_t count, live;
    uint16_t room; /* of `nodes` */
    bool dirty;
    int64_t delivered_us, deadline_us;
    size_t consumer_n;
    uint8_t *consumer; /* behind the nodes */
    uint32_t nodes[];  /* GROUP_NONE: settled, or not this lease's any more */
};

/* How many matching events are in (fetched, to]. */
struct group_ahead {
    uint64_t to, count;
    uint64_t lives; /* head of the system's stream of lives when that was counted */
};

/* A group that was used. */
struct group_state {
    struct group_set set;
    struct follower *follower;                        /* its checkpoint is `fetched` */
    struct group_batch **batches;                     /* NULL: a free place */
    uint32_t batches_used, batches_cap, batches_hint; /* no free place before the hint */
    struct group_map by_token;
    uint32_t *dirty_batches;
    size_t dirty_batch_count, dirty_batch_cap;
    struct group_record record; /* `fetched` as of the last commit; the follower's is newer */
    bool record_dirty;
    bool touched;     /* by the open transaction */
    uint64_t changes; /* groups_changed */
    bool held_full;   /* the last fetch stopped by it */
    struct group_ahead ahead;
    uint64_t blocks_lives; /* as ahead.lives, when blocking events were looked at last */
    int64_t blocks_us;
};

struct group_seen {
    char *name; /* owned */
    size_t name_bytes;
    int64_t last_fetch_us;
    uint64_t delivered;
};

struct group_def {
    struct group_said said; /* its name and settings */
    char name[GROUP_NAME_MAX + 1];
    uint64_t id;
    int64_t created_us;
    uint64_t revision;
    bool dirty;
    struct group_state *state; /* NULL: not loaded */
    struct group_seen *seen;   /* consumers, in no order */
    size_t seen_count;
};

/* An acknowledgement whose append is being committed. */
struct group_ticket {
    struct group_ticket *next;
    uint64_t number, group_id;
    char name[GROUP_NAME_MAX + 1];
    size_t n;
    struct group_lease *leases; /* behind the ticket in its block */
    uint64_t *positions;
};

struct groups {
    struct kv *kv;
    struct kv_txn *txn; /* NULL: nothing had to be written yet */
    struct store_view *view;
    bool open;  /* between begin and commit */
    bool stale; /* definitions must be read again */
    int64_t now_us;

    struct group_def **defs;
    size_t count, cap;
    struct map by_name;
    uint64_t folded;
    bool folded_dirty;

    struct group_ticket *tickets;
    uint64_t last_ticket, changes;
    uint8_t secret[GROUP_SECRET_MAX]; /* the last one read */
};

/* ---- group.c ---- */

/* The open transaction's write transaction; made when it is first asked for. */
MUST_CHECK err_t group_txn(struct groups *g, struct kv_txn **ret);
struct group_def *group_by_name(const struct groups *g, struct bytes name);
struct group_def *group_by_id(const struct groups *g, uint64_t id);
/* Adds a definition, which the groups own then; removes and frees one. */
MUST_CHECK err_t group_add_def(struct groups *g, struct group_def *def);
MUST_CHECK err_t group_remove_def(struct groups *g, struct group_def *def);
/* For every operation: finds the group, loads it, marks it as touched. */
MUST_CHECK err_t group_use(struct groups *g, struct bytes name, struct group_def **ret);

/* ---- group_fold.c ---- */

/* Takes what is new in GROUPS_STREAM. */
MUST_CHECK err_t group_fold(struct groups *g);

/* ---- group_state.c ---- */

/* Loads it if it is not loaded. */
MUST_CHECK err_t group_state_load(struct groups *g, struct group_def *def);
void group_state_drop(struct group_def *def);
/* Writes what has changed into the transaction; then it is clean if that commits. */
MUST_CHECK err_t group_state_flush(struct groups *g, struct group_def *def);
bool group_state_is_dirty(const struct group_state *st);
/* A place for leases of this fetch, from index `base` on. ERR_INVALID: the token was used. */
MUST_CHECK err_t group_batch_new(struct group_state *st, const struct group_fetch *fetch,
                                 uint32_t base, uint32_t *ret);
void group_batch_touch(struct group_state *st, uint32_t batch);
/* The node of a lease that is held at this moment; GROUP_NONE: it is lost. */
uint32_t group_lease_find(const struct group_state *st, const struct group_lease *lease);
/* The lease of a leased node is over; the node is detached, with its due time cleared. */
void group_lease_end(struct group_state *st, uint32_t node);

/* ---- group_settle.c ---- */

/* A leased node's event is done. */
void group_settle(struct group_state *st, uint32_t node);
/* For every operation on leases: finds the group, lets expire what has, tells which leases are
 * lost. */
MUST_CHECK err_t group_lease_check(struct groups *g, const struct group_leases *leases,
                                   struct group_def **ret, size_t *ret_lost);
/* Frees what has expired, parks what has used its attempts up, wakes what is due. */
MUST_CHECK err_t group_expire(struct groups *g, struct group_def *def);
/* Reads the event of an owed position. ERR_NOT_FOUND: it is gone: hidden, or redacted while it was
 * owed (`again`: it was delivered before). */
MUST_CHECK err_t group_read_owed(struct groups *g, uint64_t position, bool again,
                                 struct store_record *ret, struct event *ret_event);
/* The head of the stream in which truncations, deletions and redactions are. */
MUST_CHECK err_t group_lives(struct groups *g, uint64_t *ret);

/* ---- group_park.c ---- */

struct group_parking {
    enum group_park_cause cause;
    struct bytes reason;
};
/* Parks a leased node's event. */
MUST_CHECK err_t group_park(struct groups *g, struct group_def *def, uint32_t node,
                            const struct group_parking *how);
/* Makes nodes of up to n events that are to be replayed. */
MUST_CHECK err_t group_pull_replays(struct groups *g, struct group_def *def, size_t n);
/* Frees streams whose blocking event is gone. */
MUST_CHECK err_t group_check_blocks(struct groups *g, struct group_def *def);

#endif
