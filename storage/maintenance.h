/* maintenance: the part of store.h that looks after a store: verifying, reindexing.
 *
 * Included by store.h. Threads are said with each function. */
#ifndef DAYBOOK_STORAGE_MAINTENANCE_H
#define DAYBOOK_STORAGE_MAINTENANCE_H

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

#endif
