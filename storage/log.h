/* log: the rows of the global log in LMDB: blocks of records for consecutive positions.
 *
 * The caller's thread and transaction. A row is the key `first position` (8 bytes, big-endian) and
 * a block: how many records, where each starts, and the records; about sixteen pages, so that
 * LMDB's overhead is spread over dozens of events, while any one of them is found without walking
 * over the others (FORMAT.md). A block shares no page with anything else, so that what
 * a replaced one held can be wiped (kv_scrub). */
#ifndef DAYBOOK_STORAGE_LOG_H
#define DAYBOOK_STORAGE_LOG_H

#include "storage/kv.h"

#define LOG_BLOCK_BYTES \
    65520u /* sixteen pages less LMDB's page header; places are 16-bit numbers */
#define LOG_BLOCK_RECORDS_MAX 512

/* One block at a time. Zero-initialise. */
struct log_cursor {
    struct kv_cursor *cursor;
    struct bytes block;
    uint64_t first; /* position of the block's first record; 0: no block is loaded */
    uint32_t n;
};

void log_cursor_done(struct log_cursor *c);
/* Forgets the block, keeps the cursor's memory for nothing: for a renewed transaction. */
void log_cursor_reset(struct log_cursor *c);

/* The bytes from the record of `position` to the end of its block. ERR_NOT_FOUND: past the end;
 * ERR_CORRUPT. */
MUST_CHECK err_t log_find(struct log_cursor *c, struct kv_txn *txn, uint64_t position,
                          struct bytes *ret);

/* The last position in the log, 0: it is empty. */
MUST_CHECK err_t log_last(struct kv_txn *txn, uint64_t *ret);

/* Puts as many of records[0 … n), for positions `first` and on, into one block as it takes: the
 * last one, where that has room, or a new one. Says how many and how large. */
MUST_CHECK err_t log_append(struct kv_txn *txn, uint64_t first, const uint8_t *const *records,
                            uint32_t n, uint32_t *ret_taken, size_t *ret_bytes);

/* Replaces the block that begins at `first`: its n records again, some of them others. The ones
 * that stay may lie in the block itself, which this transaction must not have changed before. */
MUST_CHECK err_t log_replace(struct kv_txn *txn, uint64_t first, const uint8_t *const *records,
                             uint32_t n);

#endif
