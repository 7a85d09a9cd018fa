/* bench_projection: how fast read models are built from the log, in one thread, by kind.
 *
 *   bench_projection [EVENTS [KIND]]     default 500,000 of 256 bytes of JSON over 10,000 streams
 *
 * Prints one line a kind: `native events_per_s=… events_per_cpu_s=…`; the second is what a busy
 * machine would do with a core of its own. */
#include "tests/unit/support_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define STREAMS    10000
#define GROUP      1000
#define DATA_BYTES 256

static const char TABLE[] =
    "CREATE TABLE totals (id TEXT PRIMARY KEY, amount INTEGER, events INTEGER);\n"
    "CREATE TABLE types (type TEXT PRIMARY KEY, events INTEGER) WITHOUT ROWID;\n"
    "-- @on *\n"
    "INSERT INTO totals VALUES (:entity, :data ->> 'amount', 1)\n"
    "  ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, events = events + 1;\n"
    "INSERT INTO types VALUES (:type, 1) ON CONFLICT DO UPDATE SET events = events + 1;\n";

static const char DOCUMENT[] =
    "return { init = function() return {events = 0, amount = 0} end, on = { ['*'] = function(s, "
    "e)\n"
    "s.events = s.events + 1 s.amount = s.amount + e.data.amount return s end } }\n";

static void add_event(struct command *c, uint64_t i)
{
    char stream[32], data[DATA_BYTES + 1];
    snprintf(stream, sizeof stream, "order-%" PRIu64, i * 7919 % STREAMS);
    int n = snprintf(data, sizeof data, "{\"amount\":%" PRIu64 ",\"text\":\"", i % 1000);
    memset(data + n, 'x', DATA_BYTES - (size_t)n - 2);
    memcpy(data + DATA_BYTES - 2, "\"}", 3);
    test_add_append(c, stream, TEST_ANY);
    test_add_event(c, 0, i % 3 == 0 ? "Placed" : "Changed", data);
}

static void fill(struct store *s, uint64_t events)
{
    for (uint64_t i = 0; i < events; i += GROUP) {
        struct command *c = test_command();
        for (uint64_t j = i; j < i + GROUP && j < events; j++) {
            add_event(c, j);
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

struct kind_case {
    const char *name;
    const struct model_kind *kind;
    const char *source;
};

static const struct kind_case CASES[] = {
    {"native", &model_counts, ""},
    {"table", &model_table, TABLE},
    {"document", &model_document, DOCUMENT},
};

static void measure(struct store *s, const struct kind_case *c)
{
    struct test_dir d;
    test_dir_make(&d);
    struct runner *r = test_runner(&d, c->kind, c->source, &TEST_STOP);
    double began = now_s(CLOCK_MONOTONIC), cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    test_run(r, s);
    double took = now_s(CLOCK_MONOTONIC) - began;
    cpu = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    struct runner_status status;
    runner_get_status(r, &status);
    assert_int_equal(status.events, store_position(s));
    printf("%s events_per_s=%.0f events_per_cpu_s=%.0f\n", c->name, (double)status.events / took,
           (double)status.events / cpu);
    runner_free(r);
    test_model_dir_remove(&d);
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 500000;
    struct test_dir d;
    test_dir_make(&d);
    struct store_options options = {.dir = d.path, .segment_bytes = (uint64_t)32 << 20};
    struct store *s = test_open_with(&options);
    fill(s, events);
    const char *only = argc > 2 ? argv[2] : "";
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (only[0] == '\0' || strcmp(only, CASES[i].name) == 0) {
            measure(s, &CASES[i]);
        }
    }
    store_close(s);
    test_dir_remove(&d);
    return 0;
}
