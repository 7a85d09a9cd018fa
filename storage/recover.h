/* recover: what a start has to do: bring into the tail what the index does not have yet, from the
 * log and from the journal. */
#ifndef DAYBOOK_STORAGE_RECOVER_H
#define DAYBOOK_STORAGE_RECOVER_H

#include "storage/store_int.h"

typedef bool (*recover_progress_fn)(void *ctx, uint64_t done, uint64_t total);

/* Adds the log's events (index position, last of the log] to the tail, applying whenever it is
 * full. */
MUST_CHECK err_t recover_log(struct store *s, recover_progress_fn progress, void *ctx,
                             struct err_text *et);
/* Adds the journal's events after that, and makes the journal ready for appends. */
MUST_CHECK err_t recover_journal(struct store *s, struct err_text *et);

#endif
