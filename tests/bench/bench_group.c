/* bench_group: how fast a consumer group hands out events, in one thread: each transaction holds
 * the acknowledgements of 8 consumers and their next fetches of 100, and is synced, as the server
 * does it for a crowd.
 *
 *   bench_group [EVENTS]     default 500,000 of 256 bytes of JSON over 10,000 streams
 *
 * Prints `none events_per_s=… events_per_cpu_s=…` and the same for `stream`; `memory bytes=…` a
 * group, of 1,000 groups that each have 100 events in flight; `memory_full bytes=…` of a group that
 * holds back as many as it may behind one event. */
#include "tests/unit/support_group.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define STREAMS    10000
#define BATCH      100
#define DATA_BYTES 256
#define CONSUMERS  8
#define FETCH      100
#define GROUPS     1000

struct consumer {
    struct group_lease leases[FETCH];
    bool lost[FETCH];
    size_t n;
};

static void fill(struct store *s, uint64_t events)
{
    char stream[32], data[DATA_BYTES + 1];
    memset(data, 'x', DATA_BYTES);
    memcpy(data, "{\"text\":\"", 9);
    memcpy(data + DATA_BYTES - 2, "\"}", 3);
    for (uint64_t i = 0; i < events; i += BATCH) {
        struct command *c = test_command();
        for (uint64_t j = i; j < i + BATCH && j < events; j++) {
            snprintf(stream, sizeof stream, "order-%" PRIu64, j * 7919 % STREAMS);
            test_add_append(c, stream, TEST_ANY);
            test_add_event(c, 0, "Placed", data);
        }
        assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
        command_free(c);
    }
    test_apply_all(s);
}

static double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static err_t take(void *ctx, const struct group_delivery *d)
{
    struct consumer *c = ctx;
    c->leases[c->n++] = d->lease;
    return ERR_OK;
}

static void serve(struct test_groups *t, const char *name, struct consumer *c)
{
    struct group_leases leases = {bytes_of_string(name), c->leases, c->n, c->lost};
    struct group_fetch fetch = {
        .group = leases.group, .consumer = BYTES_LITERAL("consumer"), .max = FETCH};
    size_t lost = 0;
    assert_int_equal(groups_ack(t->groups, &leases, &lost), ERR_OK);
    assert_int_equal(lost, 0);
    c->n = 0;
    bytes_put_u64le(fetch.token, test_random(&t->random));
    bytes_put_u64le(fetch.token + 8, test_random(&t->random));
    assert_int_equal(groups_fetch(t->groups, &fetch, take, c, &t->fetched), ERR_OK);
}

static void measure(struct test_groups *t, const char *name, uint64_t events)
{
    static struct consumer consumers[CONSUMERS];
    struct group_settings s = group_settings_default();
    s.ordering = strcmp(name, "none") == 0 ? GROUP_ORDER_NONE : GROUP_ORDER_STREAM;
    s.max_in_flight = 10000;
    test_define(t, name, &s, 0);
    double wall = now_s(CLOCK_MONOTONIC), cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t acked = 0, transactions = 0;
    while (acked < events) {
        test_begin(t);
        for (int i = 0; i < CONSUMERS; i++) {
            acked += consumers[i].n;
            serve(t, name, &consumers[i]);
        }
        test_end(t);
        transactions++;
    }
    wall = now_s(CLOCK_MONOTONIC) - wall;
    cpu = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%s events_per_s=%.0f events_per_cpu_s=%.0f transactions=%" PRIu64 "\n", name,
           (double)acked / wall, (double)acked / cpu, transactions);
}

static void measure_memory(struct test_groups *t)
{
    char name[32];
    struct group_settings s = group_settings_default();
    for (int i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%d", i);
        test_define(t, name, &s, 0);
    }
    test_begin(t);
    test_end(t);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%d", i);
        assert_int_equal(test_fetch(t, name, FETCH), FETCH);
    }
    struct mallinfo2 after = mallinfo2();
    size_t bytes = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
    printf("memory bytes=%zu\n", bytes / GROUPS);
}

static void measure_full(struct test_groups *t)
{
    struct group_settings s = group_settings_default();
    struct bytes category = BYTES_LITERAL("hot");
    s.filter.categories = &category;
    s.filter.category_count = 1;
    for (uint64_t done = 0; done < GROUP_HELD_MAX + 1000; done += BATCH) {
        struct command *c = test_command();
        test_add_append(c, "hot-1", TEST_ANY);
        for (int i = 0; i < BATCH; i++) {
            test_add_event(c, 0, "Placed", "{}");
        }
        assert_int_equal(test_commit(t->store, c), VERDICT_COMMITTED);
        command_free(c);
    }
    test_define(t, "full", &s, 0);
    test_begin(t);
    test_end(t);
    struct mallinfo2 before = mallinfo2();
    while (!t->fetched.held_full) {
        test_fetch(t, "full", FETCH);
    }
    struct mallinfo2 after = mallinfo2();
    printf("memory_full bytes=%zu\n",
           after.uordblks + after.hblkhd - before.uordblks - before.hblkhd);
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 500000;
    struct test_groups *t = test_groups_open();
    fill(t->store, events);
    measure(t, "none", events);
    measure(t, "stream", events);
    measure_memory(t);
    measure_full(t);
    test_groups_close(t);
    return 0;
}
