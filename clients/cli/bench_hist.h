/* bench_hist: a histogram of latencies with a fixed relative error, as HDR histograms have it.
 *
 * Values are nanoseconds up to an hour and more; a value is found again within 0.8 %. One thread,
 * no allocation. */
#ifndef DAYBOOK_BENCH_HIST_H
#define DAYBOOK_BENCH_HIST_H

#include <stdint.h>

/* Each power of two is divided into this many steps. */
#define BENCH_HIST_STEPS_BITS 7
#define BENCH_HIST_STEPS      (1U << BENCH_HIST_STEPS_BITS)
#define BENCH_HIST_POWERS     36U
#define BENCH_HIST_CELLS      (BENCH_HIST_POWERS * BENCH_HIST_STEPS)

/* {0} is an empty one. */
struct bench_hist {
    uint64_t cells[BENCH_HIST_CELLS];
    uint64_t count;
    uint64_t max;
};

void bench_hist_add(struct bench_hist *h, uint64_t ns);
/* The smallest value that at least `fraction` (0 to 1) of all are not above; 0 where there are
 * none. At most the maximum, which is exact. */
uint64_t bench_hist_quantile(const struct bench_hist *h, double fraction);

#endif
