/* follower: the one consumer abstraction (DESIGN section 4): what to read, how far it has come, and
 * "the next records after that".
 *
 * Passive: no thread, no clock, no view of its own; one thread at a time. Live reads, projections
 * and whatever else goes along the log are followers. It owns a copy of its query and a checkpoint,
 * never records, so that between two calls nothing of the store is held. To wait for what comes
 * next is the caller's business (server/feed.h tells when there may be more). */
#ifndef DAYBOOK_PROJECTIONS_FOLLOWER_H
#define DAYBOOK_PROJECTIONS_FOLLOWER_H

#include "storage/store.h"

struct follower;

/* Copies the query with its names. It must be a forward one; its `from` is the first checkpoint.
 * ERR_MEMORY. */
MUST_CHECK err_t follower_new(const struct store_query *query, struct follower **ret);
/* NULL is fine. */
void follower_free(struct follower *f);

/* The query, with `from` at the checkpoint; names live as long as the follower. */
const struct store_query *follower_query(const struct follower *f);
/* A revision where a stream is read, else a position: everything up to it was handed over or does
 * not match. A new follower of the same query that starts there goes on without a gap or a
 * duplicate. */
uint64_t follower_checkpoint(const struct follower *f);
/* Goes on from there instead. */
void follower_seek(struct follower *f, uint64_t checkpoint);

/* Of one call: at most so many records, and no more after the one that makes them so many bytes as
 * they are stored. 0: no limit. */
struct follower_limits {
    size_t events, bytes;
};

/* Takes one record, which is borrowed from the view. ERR_FULL: taken, but it is enough for now. Any
 * other error: not taken; the call ends with it, and the checkpoint stays before this record. */
typedef err_t (*follower_each)(void *ctx, const struct store_record *record);

/* Hands over the next records after the checkpoint and moves it to the place that was looked at,
 * also where nothing matched. One call looks at a bounded part of the log, so it may hand over
 * nothing and yet not be caught up. *ret_caught_up: nothing more is in this view.
 *
 * ERR_NOT_FOUND: no such stream. ERR_CORRUPT: the record after the checkpoint is damaged. Else what
 * `each` or the store returned. What came before an error was handed over, and the checkpoint says
 * so. */
MUST_CHECK err_t follower_next(struct follower *f, struct store_view *v,
                               const struct follower_limits *limits, follower_each each, void *ctx,
                               bool *ret_caught_up);

#endif
