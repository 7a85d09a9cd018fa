/* unpost: taking out of the index what reclaim takes out of the log.
 *
 * The applier's thread, in the transaction that changes the log. Of a category, type or tag the
 * positions go, and with the last one the name itself; of a stream they stay, so that its revisions
 * stay numbered, and only the fingerprints of the ids become 0. */
#ifndef DAYBOOK_STORAGE_UNPOST_H
#define DAYBOOK_STORAGE_UNPOST_H

#include "storage/tail.h"

/* Takes a list's positions out. Ones that are not there are passed over. ERR_CORRUPT. */
MUST_CHECK err_t unpost_list(struct kv_txn *txn, const struct tail_list *list);

#endif
