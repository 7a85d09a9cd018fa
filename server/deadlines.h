/* deadlines: many points in time, the earliest first: a binary heap of what its owners embed.
 *
 * One thread at a time; reads no clock. */
#ifndef DAYBOOK_SERVER_DEADLINES_H
#define DAYBOOK_SERVER_DEADLINES_H

#include "storage/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise. */
struct deadline {
    int64_t at_us;
    size_t place; /* in the heap, from 1; 0: not in it */
};

struct deadlines {
    struct deadline **items;
    size_t n, cap;
};

void deadlines_init(struct deadlines *h);
void deadlines_done(struct deadlines *h);
/* Room for `n` in all, so that setting cannot fail. ERR_MEMORY. */
MUST_CHECK err_t deadlines_reserve(struct deadlines *h, size_t n);
/* Adds it, or moves it to another time. */
void deadlines_set(struct deadlines *h, struct deadline *d, int64_t at_us);
/* No-op where it is not in there. */
void deadlines_remove(struct deadlines *h, struct deadline *d);
/* The earliest, or NULL. */
struct deadline *deadlines_first(const struct deadlines *h);

#endif
