/* daybook_follow: the part of the client library that follows a stream or the log: what there is,
 * then what is committed, as it is committed. daybook.h includes it, and says which threads may
 * call what and who owns what. */
#ifndef DAYBOOK_FOLLOW_H
#define DAYBOOK_FOLLOW_H

#include "daybook.h"
#include "daybook_read.h"

#ifdef __cplusplus
extern "C" {
#endif

struct daybook_follower;

/* What to follow. {0} is the whole log from its beginning. */
struct daybook_follow_options {
    struct daybook_read_options read; /* forward only; `limit` events end it */
    bool from_end; /* only what is committed from the first DAYBOOK_FOLLOWED_CAUGHT_UP on; `after`
                      must be 0 */
    /* How often the server shows that it is there when it has nothing to say; 0: 15,000, as it is
     * by default. A connection that is silent for three times as long is lost. Where a server turns
     * out to be slower, twice that is allowed, and so on, up to an hour's heartbeats. */
    uint64_t heartbeat_ms;
    /* How long the first connection is tried; 0: as the handle's options say. */
    uint64_t first_retry_ms;
    /* How long one that was there is tried again; 0: DAYBOOK_RETRY_FOREVER. */
    uint64_t retry_ms;
};

enum daybook_followed_kind {
    DAYBOOK_FOLLOWED_EVENT,
    DAYBOOK_FOLLOWED_CAUGHT_UP, /* everything there was has been given. Comes again after a
                                   connection was lost and made anew */
    DAYBOOK_FOLLOWED_HEARTBEAT, /* nothing that matches, up to `after` */
};

struct daybook_followed {
    enum daybook_followed_kind kind;
    const struct daybook_event *event; /* of DAYBOOK_FOLLOWED_EVENT; else NULL */
    uint64_t after; /* a checkpoint: to go on behind this one another time, give it as read.after */
    bool ready;     /* the next one is there already: daybook_follow_next will not wait */
};

/* Starts to follow. At most about 1 MiB (or one event, if that is larger) waits in memory; a caller
 * that takes nothing makes the server wait. Other calls with `db` may be made between two events.
 * Free the follower before `db`. */
enum daybook_result daybook_follow(struct daybook *db, const struct daybook_follow_options *options,
                                   struct daybook_follower **ret);
/* Waits for the next one, which lives until the next call with the follower. Each event comes once
 * and in order, whatever happens to the connection. DAYBOOK_END once `limit` events were given;
 * after an error the follower only gives that error again. To stop from another thread:
 * daybook_interrupt. */
enum daybook_result daybook_follow_next(struct daybook_follower *follower,
                                        const struct daybook_followed **ret);
void daybook_follow_free(struct daybook_follower *follower);

#ifdef __cplusplus
}
#endif

#endif
