/* group_rows: the rows of consumer groups in the state environment: their keys and their bytes.
 *
 * Pure functions on memory, any thread. A key is 'G', a letter for the kind, the group's id and a
 * number, both big-endian; times and numbers in values are varints (storage/wire.h).
 *
 *   F                     the last revision of GROUPS_STREAM that was taken
 *   D group               definition: created, revision, the position at creation, its event's JSON
 *   R group               how far it has come, counters
 *   B group number        a batch of leases
 *   O group page          owed events of a page of positions that are not leased
 *   P group position      a parked event
 *   Q group position      one that is to be replayed
 *   X group               secret */
#ifndef DAYBOOK_PROJECTIONS_GROUP_ROWS_H
#define DAYBOOK_PROJECTIONS_GROUP_ROWS_H

#include "projections/group_admin.h"

enum group_row {
    GROUP_ROW_FOLDED = 'F',
    GROUP_ROW_DEFINITION = 'D',
    GROUP_ROW_RECORD = 'R',
    GROUP_ROW_BATCH = 'B',
    GROUP_ROW_PAGE = 'O',
    GROUP_ROW_PARKED = 'P',
    GROUP_ROW_REPLAY = 'Q',
    GROUP_ROW_SECRET = 'X',
};

#define GROUP_KEY_BYTES 18
struct group_key {
    uint8_t bytes[GROUP_KEY_BYTES];
};
/* The key, in *ret. Rows without a number have 0 there. */
struct bytes group_key(enum group_row kind, uint64_t group, uint64_t number, struct group_key *ret);
/* Whether a row is of this kind and group; *ret_number its number. */
bool group_key_is(struct bytes key, enum group_row kind, uint64_t group, uint64_t *ret_number);

struct group_record {
    uint64_t fetched;
    uint64_t next_batch;
    uint64_t parked, replaying; /* rows of these kinds */
    struct group_counts counts;
};
void group_record_put(struct buf *b, const struct group_record *r);
MUST_CHECK err_t group_record_get(struct bytes value, struct group_record *ret);

/* What the rows say of an event, beside its position. */
struct group_row_event {
    uint64_t position, stream;
    uint32_t index; /* batches: which lease */
    uint32_t attempts;
    int64_t first_us, last_us, due_us;
    bool replay, blocks;
};
/* Events of a page or a batch, in ascending order of position (pages) or index (batches); `last` is
 * the one before (zeroes at first). */
void group_event_put(struct buf *b, const struct group_row_event *e,
                     const struct group_row_event *last);
/* False at the end; ERR_CORRUPT sticks in *err. */
bool group_event_get(struct bytes *value, struct group_row_event *inout, err_t *err);

struct group_row_batch {
    struct bytes token;
    uint32_t base, count;
    int64_t delivered_us, deadline_us;
    struct bytes consumer;
};
void group_batch_put(struct buf *b, const struct group_row_batch *batch);
/* Leaves *value at its first event. */
MUST_CHECK err_t group_batch_get(struct bytes *value, struct group_row_batch *ret);

struct group_row_parked {
    uint64_t stream;
    uint32_t attempts;
    enum group_park_cause cause;
    int64_t first_us, last_us, parked_us;
    struct bytes reason, consumer;
};
void group_parked_put(struct buf *b, const struct group_row_parked *p);
/* The texts point into the value. */
MUST_CHECK err_t group_parked_get(struct bytes value, struct group_row_parked *ret);

struct group_row_definition {
    int64_t created_us;
    uint64_t revision;
    struct bytes type, data; /* the event's */
};
void group_definition_put(struct buf *b, const struct group_row_definition *d);
MUST_CHECK err_t group_definition_get(struct bytes value, struct group_row_definition *ret);

#endif
