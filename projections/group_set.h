/* group_set: the events that a group owes, in memory: which are leased, which may be delivered now,
 * which at some time, and which wait behind another event of their stream.
 *
 * One thread at a time. It knows nothing of the log, of leases' tokens or of the disk; it notes
 * which pages of positions have changed (group_state.c writes those). A node is detached, or in
 * exactly one of the other states; group_set_add gives a detached one, and everything else takes
 * memory that is there already, so it cannot fail, except that noting a page may: `status` keeps
 * that.
 *
 * In stream order the nodes of a stream that are not leased queue by position. Only the first of
 * them can be delivered, and only while none of the stream is leased. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_SET_H
#define DAYBOOK_PROJECTIONS_GROUP_SET_H

#include "projections/group_map.h"

#define GROUP_PAGE_SHIFT 7 /* positions of a page: 128 */

enum group_node_state {
    GROUP_NODE_DETACHED,
    GROUP_NODE_LEASED,
    GROUP_NODE_READY,   /* may be delivered */
    GROUP_NODE_WAITING, /* from due_us on */
    GROUP_NODE_HELD,    /* behind another of its stream */
    GROUP_NODE_BLOCKS,  /* parked: not owed, but its stream waits for it */
    GROUP_NODE_STATES
};

struct group_node {
    uint64_t position;
    uint64_t stream; /* hash of its name, the same in every process */
    int64_t due_us;  /* LEASED: when the lease ends; else when it may be delivered, 0: now */
    int64_t first_us, last_us; /* deliveries; 0: none */
    uint32_t prev, next;       /* in its stream's queue */
    uint32_t heap;             /* place in its heap */
    uint32_t batch;            /* LEASED: group_int.h */
    uint16_t index;            /* LEASED: in the batch */
    uint16_t attempts;         /* deliveries so far */
    uint8_t state;
    bool replay;
    bool committing; /* LEASED: cannot expire */
    bool marked;     /* the caller's */
};

struct group_stream {
    uint64_t key;
    uint32_t head, tail; /* the queue; `head` links free ones */
    uint32_t leased;
};

struct group_heap {
    uint32_t *items;
    uint32_t n;
};

struct group_set {
    struct group_node *nodes;
    uint32_t cap, used; /* nodes from `used` on were never used */
    uint32_t free_nodes;
    struct group_map by_position;

    bool ordered;
    struct group_stream *streams; /* as many as nodes */
    uint32_t streams_used, free_streams;
    struct group_map by_stream;

    struct group_heap ready; /* READY, lowest position first */
    struct group_heap due;   /* WAITING and LEASED, earliest first */
    uint32_t counts[GROUP_NODE_STATES];

    struct group_map dirty;
    uint64_t *dirty_pages;
    size_t dirty_cap;
    err_t status;
};

void group_set_init(struct group_set *s, bool ordered);
void group_set_done(struct group_set *s);

/* FNV-1a: it stands in the state, so it must not change. Two streams with the same one wait for
 * each other, which is slower and not wrong. */
uint64_t group_stream_key(struct bytes stream);

/* A detached node for a position that is not there yet; GROUP_NONE: no memory. */
uint32_t group_set_add(struct group_set *s, uint64_t position, uint64_t stream);
/* GROUP_NONE: not there. */
uint32_t group_set_find(const struct group_set *s, uint64_t position);

/* A detached node … */
void group_set_release(struct group_set *s,
                       uint32_t node); /* … is to be delivered, from due_us on */
void group_set_block(struct group_set *s, uint32_t node); /* … blocks its stream */
void group_set_lease(struct group_set *s, uint32_t node); /* … is leased until due_us */
void group_set_free(struct group_set *s, uint32_t node);  /* … goes */
/* Out of whatever state it is in. */
void group_set_detach(struct group_set *s, uint32_t node);

/* A leased node's new end. */
void group_set_extend(struct group_set *s, uint32_t node, int64_t due_us);
/* A leased node stops to expire, or can again. */
void group_set_commit(struct group_set *s, uint32_t node, bool committing);

/* Whether an event of this stream must wait behind others. */
bool group_set_is_busy(const struct group_set *s, uint64_t stream);
/* The deliverable node with the lowest position; GROUP_NONE. */
uint32_t group_set_first(const struct group_set *s);
/* The node whose time comes first; GROUP_NONE. */
uint32_t group_set_next_due(const struct group_set *s);
/* Lets a waiting node be delivered: its time has come. */
void group_set_wake(struct group_set *s, uint32_t node);

/* Changes the ordering; nothing is lost, leases stay. Blocking nodes are freed where `ordered` is
 * false. */
void group_set_order(struct group_set *s, bool ordered);
void group_set_free_blocks(struct group_set *s);

/* What was changed since the last call of group_set_clean. */
size_t group_set_dirty(const struct group_set *s, const uint64_t **ret_pages);
void group_set_clean(struct group_set *s);

#endif
