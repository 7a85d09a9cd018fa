/* range: numbers (positions of the log, revisions of a stream) by time, found by binary search:
 * times never decrease along the log, so not along a stream either.
 *
 * The view's thread. Nothing is owned. */
#ifndef DAYBOOK_STORAGE_RANGE_H
#define DAYBOOK_STORAGE_RANGE_H

#include "storage/source.h"

/* The first number in [low, high] whose event's time is at or after time_us; high + 1 where there
 * is none (low, where low > high). `stream`: its source, whose current place is moved; NULL: the
 * log. Damaged records are passed over; ERR_CORRUPT where very many in a row are. */
MUST_CHECK err_t range_find(struct store_view *v, struct source *stream, uint64_t low,
                            uint64_t high, int64_t time_us, uint64_t *ret);

#endif
