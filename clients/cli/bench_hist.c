/* bench_hist: see the header.
 *
 * Values below 2 * STEPS have a cell each. Above, a value is shifted right until it is below that
 * and at least STEPS: the shift chooses the row, what is left of the value the cell in it. */
#include "bench_hist.h"

static unsigned cell_of(uint64_t ns)
{
    if (ns < 2 * BENCH_HIST_STEPS) {
        return (unsigned)ns;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - BENCH_HIST_STEPS_BITS;
    unsigned cell = shift * BENCH_HIST_STEPS + (unsigned)(ns >> shift);
    return cell < BENCH_HIST_CELLS ? cell : BENCH_HIST_CELLS - 1;
}

/* The middle of what a cell stands for. */
static uint64_t value_of(unsigned cell)
{
    if (cell < 2 * BENCH_HIST_STEPS) {
        return cell;
    }
    unsigned shift = cell / BENCH_HIST_STEPS - 1;
    uint64_t low = (uint64_t)(cell - shift * BENCH_HIST_STEPS) << shift;
    return low + ((1ULL << shift) >> 1);
}

void bench_hist_add(struct bench_hist *h, uint64_t ns)
{
    h->cells[cell_of(ns)]++;
    h->count++;
    if (ns > h->max) {
        h->max = ns;
    }
}

uint64_t bench_hist_quantile(const struct bench_hist *h, double fraction)
{
    if (h->count == 0) {
        return 0;
    }
    uint64_t wanted = (uint64_t)(fraction * (double)h->count + 0.999999);
    uint64_t seen = 0;
    for (unsigned cell = 0; cell < BENCH_HIST_CELLS; cell++) {
        seen += h->cells[cell];
        if (seen >= wanted && seen > 0) {
            uint64_t value = value_of(cell);
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}
