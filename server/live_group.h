/* live_group: followers that ask for the same in the same encoding are one group: one query, one
 * read, one piece of encoded bytes for all that stand at the same place; and a new event is held
 * against groups, not against followers.
 *
 * The live thread's; passive: no sockets, no clock, no waiting. What a group reads through a view
 * it keeps for others until live_groups_forget, which must come before the view is closed: so
 * nobody is given what a newer view would not show (events that were deleted or redacted since). */
#ifndef DAYBOOK_SERVER_LIVE_GROUP_H
#define DAYBOOK_SERVER_LIVE_GROUP_H

#include "projections/follower.h"
#include "server/wire.h"

/* Closed by the event that reaches it. */
#define LIVE_CHUNK_BYTES ((size_t)64 << 10)

/* What there is after a place. Shared, counted, never changed once it is read. */
struct live_chunk {
    unsigned refs;
    uint64_t from, reached;
    size_t events;  /* of a poll: 1 where the event after `reached` matches */
    bool caught_up; /* with the view it was read through */
    struct buf data;
};
/* NULL is fine. */
void live_chunk_unref(struct live_chunk *c);

struct live_member;

struct live_members {
    struct live_member *head, *tail;
    size_t n;
};

enum live_index { LIVE_BY_KEY, LIVE_BY_STREAM, LIVE_INDEXES };

#define LIVE_CHUNKS_KEPT 2

struct live_group {
    struct live_group *next[LIVE_INDEXES]; /* in its bucket */
    uint64_t hashes[LIVE_INDEXES];
    struct live_group *log_prev, *log_next; /* of those that read the log */
    struct live_group *kept_next;           /* of those that keep chunks */
    struct live_chunk *kept[LIVE_CHUNKS_KEPT];
    struct follower *follower; /* of all of them: stands where the one read last stood */
    struct wire wire;
    bool is_poll; /* its members want to know whether there is something, not what */
    size_t members;
    struct live_members waiting; /* caught up; see live_int.h */
    size_t key_bytes;
    uint8_t key[];
};

struct live_index_table {
    struct live_group **buckets;
    size_t cap, n;
};

struct live_groups {
    struct live_index_table tables[LIVE_INDEXES];
    struct live_group *log;  /* reads the log */
    struct live_group *kept; /* has chunks to forget */
    struct buf key;          /* scratch */
};

void live_groups_init(struct live_groups *gs);
void live_groups_done(struct live_groups *gs);

/* The group of all that read the follower's query in this encoding (of a poll: in none), with one
 * more member. Takes the follower, also where it fails. ERR_MEMORY. */
MUST_CHECK err_t live_groups_join(struct live_groups *gs, struct follower *take_follower,
                                  enum encoding encoding, bool is_poll, struct live_group **ret);
void live_groups_leave(struct live_groups *gs, struct live_group *g);

/* Calls `touch` for each group that has members waiting and that the event concerns. */
void live_groups_match(struct live_groups *gs, const struct event *e,
                       void (*touch)(void *ctx, struct live_group *g), void *ctx);
/* For every group that has members waiting. */
void live_groups_match_all(struct live_groups *gs, void (*touch)(void *ctx, struct live_group *g),
                           void *ctx);

/* What comes after `from`, read through the view or kept from another member. `events_max`: at most
 * so many; 0: no limit. The caller has a reference. */
MUST_CHECK err_t live_group_read(struct live_groups *gs, struct live_group *g,
                                 struct store_view *view, uint64_t from, size_t events_max,
                                 struct live_chunk **ret);
/* The view is going to be closed. */
void live_groups_forget(struct live_groups *gs);

#endif
