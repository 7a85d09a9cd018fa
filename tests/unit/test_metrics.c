/* Tests of server/metrics.h. */
#include "server/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define COUNTS  20000

static struct metrics_sums *sums(void)
{
    static struct metrics_sums now;
    metrics_sum(&now);
    return &now;
}

static size_t column_of(unsigned status)
{
    for (size_t i = 1; status > 0 && i < METRICS_STATUSES_MAX; i++) {
        if (metrics_status(i) == status) {
            return i;
        }
    }
    return 0;
}

/* A value falls into the first bucket whose bound it does not exceed; all are in the sum. */
static void test_metrics_observe_buckets(void **state)
{
    (void)state;
    for (int h = 0; h < METRICS_HISTOGRAMS; h++) {
        size_t n;
        const uint64_t *bounds = metrics_bounds((enum metrics_histogram)h, &n);
        struct metrics_distribution before = sums()->histograms[h];
        uint64_t sum = 0;
        assert_true(n > 0 && n <= METRICS_BUCKETS_MAX);
        for (size_t i = 0; i < n; i++) {
            assert_true(i == 0 || bounds[i] > bounds[i - 1]);
            metrics_observe((enum metrics_histogram)h, bounds[i]);
            metrics_observe((enum metrics_histogram)h, bounds[i] + 1);
            sum += 2 * bounds[i] + 1;
        }
        struct metrics_distribution after = sums()->histograms[h];
        assert_int_equal(after.sum - before.sum, sum);
        assert_int_equal(after.counts[n] - before.counts[n], 1);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(after.counts[i] - before.counts[i], i > 0 ? 2 : 1);
        }
    }
}

/* A status has a column of its own, or that of its class; a route that does not fit is not
 * counted. */
static void test_metrics_count_request_statuses(void **state)
{
    (void)state;
    static const unsigned cases[][2] = {{200, 200}, {201, 201}, {409, 409}, {507, 507},
                                        {499, 400}, {599, 500}, {299, 200}, {0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t column = column_of(cases[i][1]);
        uint64_t before = sums()->requests[3][column];
        metrics_count_request(3, cases[i][0]);
        assert_int_equal(sums()->requests[3][column], before + 1);
    }
    metrics_count_request(METRICS_ROUTES_MAX, 200);
    metrics_count_request(METRICS_ROUTES_MAX - 1, 200);
    assert_int_equal(sums()->requests[METRICS_ROUTES_MAX - 1][column_of(200)], 1);
}

static void *count(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNTS; i++) {
        metrics_count_request(7, 200);
        metrics_observe(METRICS_COMMIT_EVENTS, 3);
    }
    return NULL;
}

/* What threads count at once is all there afterwards, also of threads that have ended, and a sum
 * that is taken meanwhile never shrinks. */
static void test_metrics_threads(void **state)
{
    (void)state;
    uint64_t before = sums()->requests[7][column_of(200)];
    uint64_t events = sums()->histograms[METRICS_COMMIT_EVENTS].sum;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    }
    uint64_t last = before;
    for (int i = 0; i < 100; i++) {
        uint64_t now = sums()->requests[7][column_of(200)];
        assert_true(now >= last && now <= before + THREADS * COUNTS);
        last = now;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sums()->requests[7][column_of(200)], before + THREADS * COUNTS);
    assert_int_equal(sums()->histograms[METRICS_COMMIT_EVENTS].sum, events + 3 * THREADS * COUNTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_observe_buckets),
        cmocka_unit_test(test_metrics_count_request_statuses),
        cmocka_unit_test(test_metrics_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
