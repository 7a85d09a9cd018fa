/* maintenance: the part of store.h that looks after a store: verifying, reindexing,
 * reclaiming.
 *
 * Included by store.h. Threads are said with each function. */
#ifndef DAYBOOK_STORAGE_MAINTENANCE_H
#define DAYBOOK_STORAGE_MAINTENANCE_H

#include <stdbool.h>

#include "storage/event.h"

struct store;

struct store_verify_options {
    /* Called about every 100,000 events with events done and in all; may be NULL. false stops it
     * (ERR_CLOSED). */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total);
    /* Called for each finding; may be NULL. */
    void (*finding)(void *ctx, const char *text);
    void *ctx;
};
struct store_verify_report {
    uint64_t events, streams, findings;
};
/* Walks everything: checksums, gapless positions and revisions, index equals log. Damage is counted
 * and reported as findings, not as an error. Works on a live store (on the part that is applied and
 * in the tail when it began). Any thread. */
MUST_CHECK err_t store_verify(struct store *s, const struct store_verify_options *options,
                              struct store_verify_report *ret);

/* Deletes all that is derived (names, postings) and builds it again from the log; offline: nothing
 * else may use `s`. Interrupted, it goes on at the next store_open. */
MUST_CHECK err_t store_reindex(struct store *s,
                               bool (*progress)(void *ctx, uint64_t done, uint64_t total),
                               void *ctx);

/* One bounded step of giving back what hidden events take, and of wiping them and redacted data
 * from the files: a transaction of a few MiB at most. The applier's thread, when store_apply has
 * nothing to do. `now_us` is the caller's clock: what max_age_s has hidden by then goes. *ret_more:
 * call again at once; else all is done, or must wait for readers or for applying. ERR_DISK_FULL:
 * try again later. Other errors: the process must stop. */
MUST_CHECK err_t store_reclaim(struct store *s, int64_t now_us, bool *ret_more);
/* Whether commands have asked for something that is not reclaimed yet, and it is applied, so that
 * store_reclaim finds it. What max_age_s and max_count hide meanwhile does not count: for that it
 * is called now and then. Any thread. */
bool store_reclaim_is_wanted(const struct store *s);

#endif
