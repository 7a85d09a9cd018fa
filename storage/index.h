/* index: posting what a generation of the tail holds to the directory and the posting blocks.
 *
 * The applier's thread. The work goes name by name, in the order of the names' rows, in as many
 * bounded transactions as the caller likes: a name's row and blocks change together and carry the
 * last position they know, so doing a generation again (after a crash in the middle) adds nothing
 * twice. */
#ifndef DAYBOOK_STORAGE_INDEX_H
#define DAYBOOK_STORAGE_INDEX_H

#include "storage/tail.h"

struct index_job {
    struct tail_list **lists; /* sorted by kind and name */
    size_t n, at;
};

/* Takes the names of a frozen generation. ERR_MEMORY. */
MUST_CHECK err_t index_job_init(struct index_job *job, const struct tail_generation *g);
void index_job_done(struct index_job *job);

/* Posts some names and moves job->at; done when job->at == job->n. Also keeps the number of
 * streams. */
MUST_CHECK err_t index_job_step(struct index_job *job, struct kv_txn *txn);

/* Adds the lists that one event belongs to into the active generation of `t` (the caller holds
 * tail_lock or is alone). `base`: head revision of its stream before the generation. */
MUST_CHECK err_t index_add_event(struct tail *t, const struct event *event, uint64_t base);

#endif
