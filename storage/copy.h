/* copy: the log's records on their way out of a store, for a backup, and into a new one.
 *
 * A copy holds what can be read: of an event that is hidden it holds what reclaim would leave, of a
 * redacted one no data, whether reclaim has been there or not. Records are as they stand in the log
 * (record.h), one after the other; each carries a checksum that is seeded by its position. */
#ifndef DAYBOOK_STORAGE_COPY_H
#define DAYBOOK_STORAGE_COPY_H

#include "storage/store.h"

/* ---- out: any thread, while the store is in use ---- */

/* Appends records from position after + 1 on to `b`, until they are `bytes` or more or the last
 * committed one is there. *ret_reached: the last position that is in it; `after`: there was none.
 * ERR_CORRUPT: *ret_reached + 1 is damaged. */
MUST_CHECK err_t copy_records(struct store *s, uint64_t after, size_t bytes, struct buf *b,
                              uint64_t *ret_reached);
/* A copy up to `position` is consistent: nothing was left out of it for the sake of a deletion,
 * truncation or redaction that is behind it. Else go on up to the position that this returns. */
uint64_t copy_needs(const struct store *s, uint64_t position);
/* The clock by which events have expired in the copy. */
int64_t copy_clock_us(const struct store *s);

/* ---- in between: pure ---- */

/* Whether `records` are `n` whole ones for the positions from `first` on. ERR_CORRUPT, with the
 * position at fault. */
MUST_CHECK err_t copy_check(struct bytes records, uint64_t first, uint32_t n,
                            uint64_t *ret_position);

/* ---- in: one thread ---- */

struct copy_target;

/* Makes a store in options->dir, an empty directory, with options->new_store_id. Until copy_settle
 * the directory says that it is not whole, and store_open refuses it. */
MUST_CHECK err_t copy_open(const struct store_options *options, struct copy_target **ret,
                           struct err_text *et);
/* Appends checked records, the first of them for the position after the last one. ERR_DISK_FULL. */
MUST_CHECK err_t copy_put(struct copy_target *t, uint64_t first, uint32_t n, struct bytes records);
/* Makes the log durable and closes. The target is gone, whatever it returns. */
MUST_CHECK err_t copy_close(struct copy_target *take_t, int64_t clock_us);

/* Of a store that was opened with `restoring`, after it was cut at an earlier position than its
 * records were copied at: where events were taken away by something behind that position,
 * truncates their streams to what is there. `make_id` makes the ids of the events that say so.
 * *ret_streams: how many. */
MUST_CHECK err_t copy_settle(struct store *s, int64_t now_us,
                             void (*make_id)(uint8_t id[UUID_BYTES]), uint64_t *ret_streams);
/* The store in `dir` is whole from now on. */
MUST_CHECK err_t copy_mark_whole(const char *dir);
/* Whether `dir` has a store that is not. */
bool copy_is_unfinished(const char *dir);

#endif
