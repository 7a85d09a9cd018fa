/* Tests of projections/native.c: what is counted, by which names, over days and batches, and what
 * an aborted batch leaves. */
#include "tests/unit/support_model.h"

#include <cmocka.h>

#define DAY_US INT64_C(86400000000)

struct fixture {
    struct test_dir dir, models;
    struct store *store;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    test_dir_make(&f.models);
    f.store = test_open(&f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    test_dir_remove(&f->dir);
    test_model_dir_remove(&f->models);
    return 0;
}

static void put_at(struct store *s, const char *stream, const char *type, int64_t time_us)
{
    struct command *c = test_one(stream, TEST_ANY, 0, type, "{}");
    test_commit_group(s, &c, 1, time_us);
    assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
    command_free(c);
}

/* Names with and without a category, and the ends of days. */
static void test_counts_names_and_days(void **state)
{
    struct fixture *f = *state;
    int64_t midnight = (TEST_TIME_US / DAY_US + 1) * DAY_US;
    put_at(f->store, "order-1", "A", midnight - 1);
    put_at(f->store, "order-1-x", "A", midnight);
    put_at(f->store, "order", "B", midnight + DAY_US - 1);
    put_at(f->store, "-1", "B", midnight + DAY_US);
    struct runner *r = test_runner(&f->models, &model_counts, "", &TEST_STOP);
    test_run(r, f->store);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_category"), "|1\norder|3\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_stream"),
                        "-1|1\norder|1\norder-1|1\norder-1-x|1\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_day"),
                        "2023-11-14|1\n2023-11-15|2\n2023-11-16|1\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_type"), "A|2\nB|2\n");
}

static bool is_full(void *ctx)
{
    size_t *n = ctx;
    return ++*n % 7 == 0;
}

/* However the events are cut into batches, and over reopenings, the counts are the same. */
static void test_counts_batches(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    bool caught_up = false;
    test_fill(f->store, 100, 9);
    while (!caught_up) {
        struct runner *r = test_runner(&f->models, &model_counts, "", &TEST_STOP);
        struct store_view *v;
        assert_int_equal(store_view_open(f->store, &v), ERR_OK);
        assert_int_equal(runner_step(r, v, is_full, &n, &caught_up, NULL), ERR_OK);
        store_view_close(v);
        runner_free(r);
    }
    assert_string_equal(
        test_query(&f->models, "SELECT count(*), sum(events), min(events) FROM by_stream"),
        "9|100|11\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_category"), "s|100\n");
}

/* What was gathered for a batch that is aborted is dropped with it. */
static void test_counts_abort(void **state)
{
    struct fixture *f = *state;
    struct runner *r = test_runner(&f->models, &model_counts, "", &TEST_STOP);
    struct model *m = runner_model(r);
    struct event e = {.position = 1,
                      .revision = 1,
                      .stream = BYTES_LITERAL("s-1"),
                      .type = BYTES_LITERAL("Dropped"),
                      .time_us = TEST_TIME_US};
    assert_int_equal(model_begin(m, NULL), ERR_OK);
    assert_int_equal(model_apply(m, &e, NULL), ERR_OK);
    model_abort(m);
    assert_int_equal(model_begin(m, NULL), ERR_OK);
    e.type = BYTES_LITERAL("Kept");
    assert_int_equal(model_apply(m, &e, NULL), ERR_OK);
    assert_int_equal(model_commit(m, 1, NULL), ERR_OK);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_type"), "Kept|1\n");
    assert_string_equal(test_query(&f->models, "SELECT sum(events) FROM by_stream"), "1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts_names_and_days, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counts_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counts_abort, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
