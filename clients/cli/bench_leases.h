/* bench_leases: takes the leases out of the answer to a fetch as it arrives.
 *
 * It looks for their key alone: data of events must not have it. One thread. */
#ifndef DAYBOOK_BENCH_LEASES_H
#define DAYBOOK_BENCH_LEASES_H

#include <stdbool.h>
#include <stddef.h>

#define BENCH_LEASE_TEXT 36

/* {0} at first, but for `room`. */
struct bench_leases {
    char *texts; /* one after the other; borrowed */
    size_t room; /* for so many */
    size_t n;
    /* Where it stands. */
    size_t matched; /* bytes of the key */
    size_t taken;   /* bytes of a lease */
    bool within;
};

/* For the next answer. */
void bench_leases_begin(struct bench_leases *l);
/* What is over `room` is passed over. */
void bench_leases_take(struct bench_leases *l, const char *p, size_t n);

#endif
