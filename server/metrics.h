/* metrics: what the hot paths count: requests and their times, commits and their sizes.
 *
 * Any thread counts; each in a block of its own, which no other writes, with plain loads and
 * stores: no lock, no locked instruction, no cache line that moves. Blocks stay until the process
 * ends. Reading adds them up; what is counted meanwhile may be in or not. */
#ifndef DAYBOOK_SERVER_METRICS_H
#define DAYBOOK_SERVER_METRICS_H

#include <stddef.h>
#include <stdint.h>

#define METRICS_BUCKETS_MAX  20
#define METRICS_ROUTES_MAX   128
#define METRICS_STATUSES_MAX 32
/* The number of a request that no route has. */
#define METRICS_NO_ROUTE 0

enum metrics_histogram {
    METRICS_APPEND_US,
    METRICS_READ_US,
    METRICS_COMMIT_US,
    METRICS_COMMIT_COMMANDS,
    METRICS_COMMIT_EVENTS,
    METRICS_HISTOGRAMS
};

/* `route`: METRICS_NO_ROUTE, or less than METRICS_ROUTES_MAX. A status that is not known counts as
 * the lowest of its class. */
void metrics_count_request(unsigned route, unsigned status);
void metrics_observe(enum metrics_histogram h, uint64_t value);

/* The upper bounds of a histogram's buckets, ascending, in microseconds or pieces; a bucket without
 * a bound comes after them. */
const uint64_t *metrics_bounds(enum metrics_histogram h, size_t *ret_n);

struct metrics_distribution {
    uint64_t counts[METRICS_BUCKETS_MAX + 1]; /* of each bucket alone */
    uint64_t sum;
};

struct metrics_sums {
    uint64_t requests[METRICS_ROUTES_MAX][METRICS_STATUSES_MAX];
    struct metrics_distribution histograms[METRICS_HISTOGRAMS];
};
/* All that was counted. Large: not for the stack of a small thread. */
void metrics_sum(struct metrics_sums *ret);
/* The status of a column of `requests`, its index < METRICS_STATUSES_MAX; 0 of the last ones: no
 * column. Column 0 is for requests that were not answered. */
unsigned metrics_status(size_t column);

#endif
