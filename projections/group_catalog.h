/* group_catalog: what a consumer group is, and the events of the stream `$groups` that say so:
 * groups are created, edited, moved and deleted by appending them, and so is an acknowledgement
 * that is one step with an append of the consumer's own.
 *
 * Any thread; plain values and functions on memory. Events are JSON that people can read, in the
 * form that group_make_event writes; group.h folds them. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_CATALOG_H
#define DAYBOOK_PROJECTIONS_GROUP_CATALOG_H

#include "storage/store.h"

#define GROUPS_STREAM "$groups"

/* Limits of the settings; all times are microseconds. */
#define GROUP_NAME_MAX        64 /* as catalog_name_is_valid says */
#define GROUP_CONSUMER_MAX    EVENT_NAME_MAX
#define GROUP_REASON_MAX      1000 /* bytes of why an event was parked; longer ones are cut */
#define GROUP_ACK_TIMEOUT_MIN ((int64_t)100000)
#define GROUP_ACK_TIMEOUT_MAX ((int64_t)86400 * 1000000)
#define GROUP_BACKOFF_MAX     ((int64_t)7 * 86400 * 1000000) /* also of a nack's own delay */
#define GROUP_ATTEMPTS_MAX    1000
#define GROUP_IN_FLIGHT_MAX   100000
#define GROUP_PUSH_MAX        8192 /* bytes of `push` */
#define GROUPS_MAX            10000

enum group_ordering { GROUP_ORDER_STREAM, GROUP_ORDER_NONE };
enum group_on_park {
    GROUP_PARK_BLOCK,   /* in stream order, the rest of the stream waits */
    GROUP_PARK_CONTINUE /* it goes on */
};

struct group_settings {
    /* types, categories, prefixes and tags; all else must be unset. A group gets no events of the
     * system. */
    struct store_filter filter;
    enum group_ordering ordering;
    enum group_on_park on_park;
    int64_t ack_timeout_us;
    uint32_t max_attempts; /* deliveries, then an event is parked; 1 to GROUP_ATTEMPTS_MAX */
    int64_t backoff_initial_us, backoff_max_us; /* 0 <= initial <= max */
    uint32_t max_in_flight;                     /* 1 to GROUP_IN_FLIGHT_MAX */
    bool paused;                                /* fetches get nothing; all else goes on */
    struct bytes push; /* a JSON object that means nothing in here; empty: none. No secrets: the log
                          can be read (groups_set_secret keeps those) */
};

/* What API.md says where a client says nothing: everything, stream, block, 30 s, 10 attempts, 1 s
 * to 300 s, 1000 in flight. */
struct group_settings group_settings_default(void);
/* ERR_INVALID: `et` names the field and the limit ("ack_timeout_s must be …"). Names of the filter
 * must be valid names that are not the system's, and at most STORE_FILTER_MAX a list. */
MUST_CHECK err_t group_settings_check(const struct group_settings *s, struct err_text *et);

enum group_change_kind {
    GROUP_DEFINED, /* creates the group, or gives an existing one these settings: its place, leases,
                      retries and parked events stay. A new filter decides about what was not
                      fetched yet and about redeliveries */
    GROUP_SEEKED,  /* moves it. All leases end. Events after the place are owed again, the parked
                      ones among them too; those up to it are settled, but parked ones stay parked
                      and those to be replayed stay so */
    GROUP_DELETED,
    GROUP_ACKED, /* made by groups_make_acked */
    GROUP_CHANGE_COUNT
};

struct group_change {
    enum group_change_kind kind;
    struct bytes name;
    const struct group_settings *settings; /* DEFINED */
    /* DEFINED (where it creates), SEEKED: all up to here is settled. A number, also for "end" (the
     * position of a view) and for a time (group_position_of_time). */
    uint64_t position;
    /* ACKED */
    uint64_t group_id;
    const uint64_t *positions;
    size_t position_count;
};

/* The draft of the event for a change, with its text in the arena; its id is the caller's to set.
 * Append it by command_add_system_append(c, GROUPS_STREAM, EXPECT_ANY). ERR_MEMORY, ERR_LIMIT. */
MUST_CHECK err_t group_make_event(const struct group_change *change, struct arena *arena,
                                  struct event_draft *ret);

/* A change as an event says it, with memory of its own. */
struct group_said {
    struct arena arena;
    struct group_change change;
    struct group_settings settings; /* what change.settings points to */
};
/* Reads an event of GROUPS_STREAM. ERR_UNSUPPORTED: not understood (of a newer binary): pass it
 * over. ERR_MEMORY. After ERR_OK the caller calls group_said_done. */
MUST_CHECK err_t group_read_event(struct bytes type, struct bytes data, struct group_said *ret);
void group_said_done(struct group_said *said);

/* The position whose successors are the events from this time on. */
MUST_CHECK err_t group_position_of_time(struct store_view *v, int64_t time_us, uint64_t *ret);

#endif
