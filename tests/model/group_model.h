/* group_model: what a consumer group must do, written down as plainly as possible: a table of the
 * events with what each is, and rules that say which delivery is allowed and which is owed.
 *
 * One thread. It knows nothing of leases' rows, queues, pages or heaps. It is copied whole, so that
 * a transaction that did not happen is undone by a copy. */
#ifndef DAYBOOK_TESTS_MODEL_GROUP_MODEL_H
#define DAYBOOK_TESTS_MODEL_GROUP_MODEL_H

#include "projections/group_admin.h"

#define GM_EVENTS_MAX 1024

/* The log: index 0 is position 1. */
struct gm_world_event {
    bool system;
    uint8_t stream, type; /* "s-0" to "s-3", "t-0" to "t-3", "out-0"; "T0" to "T2" */
    uint64_t revision;
    bool hidden, redacted;
};
struct gm_world {
    size_t n;
    struct gm_world_event events[GM_EVENTS_MAX];
};
#define GM_STREAMS 9
#define GM_TYPES   3
#define GM_FILTERS 5
const char *gm_stream_name(unsigned stream);
const char *gm_type_name(unsigned type);
/* The store's filter of this number, whose names are static. */
struct store_filter gm_filter(unsigned filter);
bool gm_filter_matches(unsigned filter, const struct gm_world_event *e);

enum gm_status { GM_NOT_OURS, GM_OWED, GM_SETTLED, GM_PARKED };
struct gm_event {
    enum gm_status status;
    bool leased, committing, replay;
    bool blocks; /* parked (or to be replayed since), and its stream waits */
    bool maybe;  /* owed, but it did not match the filter for a while: it may have been settled */
    unsigned attempts;
    int64_t due_us, deadline_us;
    struct group_lease lease;
};

struct gm_group {
    uint64_t place; /* events up to here are not ours */
    unsigned filter;
    struct group_settings settings;
    size_t n; /* events of the world that are in here */
    struct gm_event events[GM_EVENTS_MAX];
};

/* Takes the world's new events. */
void gm_sync(struct gm_group *m, const struct gm_world *w);
/* Ends leases, parks. Called before each operation on the group. */
void gm_expire(struct gm_group *m, int64_t now_us);
/* Notes what a fetch may settle because the filter does not match it any more. */
void gm_note_fetch(struct gm_group *m, const struct gm_world *w, uint64_t fetched);

/* NULL: this delivery is right. Else what is wrong with it. Then it is leased. */
const char *gm_deliver(struct gm_group *m, const struct gm_world *w, const struct group_delivery *d,
                       int64_t now_us);
/* The position of an event that could have been delivered now; 0: none. */
uint64_t gm_deliverable(const struct gm_group *m, const struct gm_world *w, int64_t now_us);
/* The position of an event that is owed and does not wait behind a parked one; 0: none. */
uint64_t gm_left(const struct gm_group *m, const struct gm_world *w);

void gm_park(struct gm_group *m, uint64_t position);
void gm_settle(struct gm_group *m, uint64_t position);
/* By the log: what has been looked at is settled. */
void gm_acked(struct gm_group *m, uint64_t position, uint64_t fetched);
/* New settings; events after `fetched` are judged by the new filter. */
void gm_edit(struct gm_group *m, const struct gm_world *w, unsigned filter,
             const struct group_settings *settings, uint64_t fetched);
void gm_seek(struct gm_group *m, const struct gm_world *w, uint64_t place);
/* How many parked events of a range can be read (and match, where filter < GM_FILTERS); applies it.
 */
enum gm_select { GM_COUNT, GM_REPLAY, GM_DISCARD };
uint64_t gm_select(struct gm_group *m, const struct gm_world *w, uint64_t from, uint64_t to,
                   unsigned filter, enum gm_select what);

/* Compares; NULL: all is as it should be. */
const char *gm_check_status(const struct gm_group *m, const struct gm_world *w,
                            const struct group_status *s);

static inline struct gm_event *gm_at(struct gm_group *m, uint64_t position)
{
    return &m->events[position - 1];
}

#endif
