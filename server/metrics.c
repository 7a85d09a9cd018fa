/* metrics: blocks of counters, one a thread, in a list that only grows. */
#include "server/metrics.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct distribution {
    _Atomic uint64_t counts[METRICS_BUCKETS_MAX + 1];
    _Atomic uint64_t sum;
};

struct block {
    struct block *next;
    _Atomic uint64_t requests[METRICS_ROUTES_MAX][METRICS_STATUSES_MAX];
    struct distribution histograms[METRICS_HISTOGRAMS];
};

static _Atomic(struct block *) blocks;
static _Thread_local struct block *mine;

static const uint16_t statuses[] = {0,   200, 201, 202, 204, 206, 300, 304, 400, 401,
                                    403, 404, 405, 406, 408, 409, 410, 412, 413, 414,
                                    415, 422, 429, 431, 500, 501, 503, 505, 507};

#define STATUSES (sizeof statuses / sizeof *statuses)
#define BOUNDS(list)                          \
    {                                         \
        (list), sizeof(list) / sizeof *(list) \
    }

_Static_assert(STATUSES <= METRICS_STATUSES_MAX, "a column for every status");

static const uint64_t times_us[] = {50,     100,     250,     500,     1000,    2500,
                                    5000,   10000,   25000,   50000,   100000,  250000,
                                    500000, 1000000, 2500000, 5000000, 10000000};
static const uint64_t pieces[] = {1,   2,   4,    8,    16,   32,   64,   128,
                                  256, 512, 1024, 2048, 4096, 8192, 16384};

static const struct {
    const uint64_t *p;
    size_t n;
} bounds[] = {
    [METRICS_APPEND_US] = BOUNDS(times_us),   [METRICS_READ_US] = BOUNDS(times_us),
    [METRICS_COMMIT_US] = BOUNDS(times_us),   [METRICS_COMMIT_COMMANDS] = BOUNDS(pieces),
    [METRICS_COMMIT_EVENTS] = BOUNDS(pieces),
};

_Static_assert(sizeof times_us / sizeof *times_us <= METRICS_BUCKETS_MAX, "buckets for times");

/* NULL: there is no memory, and the thread counts nothing for now. */
static struct block *block(void)
{
    if (mine == NULL) {
        mine = calloc(1, sizeof *mine);
        if (mine != NULL) {
            mine->next = atomic_load(&blocks);
            while (!atomic_compare_exchange_weak(&blocks, &mine->next, mine)) {
            }
        }
    }
    return mine;
}

/* Nobody else writes it, so this need not be one step. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t was = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, was + n, memory_order_relaxed);
}

static size_t column_of(unsigned status)
{
    size_t class_column = 0;
    for (size_t i = 0; i < STATUSES; i++) {
        if (statuses[i] == status) {
            return i;
        }
        if (class_column == 0 && statuses[i] / 100 == status / 100) {
            class_column = i;
        }
    }
    return class_column;
}

void metrics_count_request(unsigned route, unsigned status)
{
    struct block *b = block();
    if (b != NULL && route < METRICS_ROUTES_MAX) {
        add(&b->requests[route][column_of(status)], 1);
    }
}

void metrics_observe(enum metrics_histogram h, uint64_t value)
{
    struct block *b = block();
    if (b == NULL) {
        return;
    }
    size_t i = 0;
    while (i < bounds[h].n && value > bounds[h].p[i]) {
        i++;
    }
    add(&b->histograms[h].counts[i], 1);
    add(&b->histograms[h].sum, value);
}

const uint64_t *metrics_bounds(enum metrics_histogram h, size_t *ret_n)
{
    *ret_n = bounds[h].n;
    return bounds[h].p;
}

unsigned metrics_status(size_t column)
{
    return column < STATUSES ? statuses[column] : 0;
}

/* Adds n counters that stand in a row. */
static void add_all(uint64_t *to, const _Atomic uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
    }
}

void metrics_sum(struct metrics_sums *ret)
{
    memset(ret, 0, sizeof *ret);
    for (const struct block *b = atomic_load(&blocks); b != NULL; b = b->next) {
        add_all(&ret->requests[0][0], &b->requests[0][0],
                (size_t)METRICS_ROUTES_MAX * METRICS_STATUSES_MAX);
        for (size_t h = 0; h < METRICS_HISTOGRAMS; h++) {
            add_all(ret->histograms[h].counts, b->histograms[h].counts, METRICS_BUCKETS_MAX + 1);
            ret->histograms[h].sum +=
                atomic_load_explicit(&b->histograms[h].sum, memory_order_relaxed);
        }
    }
}
