/* Tests of projections/follower.c: what a follower hands over, call by call and view by view, is
 * the log, without a gap or a duplicate. */
#include "projections/follower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS_MAX 4096

/* What was handed over, and when to say stop. */
struct taken {
    uint64_t positions[EVENTS_MAX];
    size_t n;
    size_t full_at; /* this one is taken but answered ERR_FULL; 0: never */
    size_t fail_at; /* this one is not taken; 0: never */
};

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct taken taken;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_dir_make(&f->dir);
    f->store = test_open(&f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    test_dir_remove(&f->dir);
    free(f);
    return 0;
}

static err_t take(void *ctx, const struct store_record *record)
{
    struct taken *t = ctx;
    if (t->n + 1 == t->fail_at) {
        return ERR_MEMORY;
    }
    assert_true(t->n < EVENTS_MAX);
    t->positions[t->n++] = record->position;
    return t->n == t->full_at ? ERR_FULL : ERR_OK;
}

static struct follower *follow(const struct store_query *query)
{
    struct follower *f;
    assert_int_equal(follower_new(query, &f), ERR_OK);
    return f;
}

/* One call through a view of its own. */
static err_t step(struct fixture *f, struct follower *follower, struct follower_limits limits,
                  bool *ret_caught_up)
{
    struct store_view *v;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    err_t err = follower_next(follower, v, &limits, take, &f->taken, ret_caught_up);
    store_view_close(v);
    return err;
}

static void step_until_caught_up(struct fixture *f, struct follower *follower)
{
    bool caught_up = false;
    while (!caught_up) {
        assert_int_equal(step(f, follower, (struct follower_limits){.events = 7}, &caught_up),
                         ERR_OK);
    }
}

/* Whatever the size of the calls, and however much is appended between them, each event comes once
 * and in order. */
static void test_follower_history_to_live(void **state)
{
    struct fixture *f = *state;
    uint64_t random = test_seed();
    struct follower *follower = follow(&(struct store_query){0});
    uint64_t appended = 0;
    bool caught_up = false;
    while (appended < 1500 || !caught_up) {
        if (appended < 1500 && test_below(&random, 3) > 0) {
            uint64_t n = 1 + test_below(&random, 40);
            test_fill(f->store, n, 5);
            appended += n;
        }
        struct follower_limits limits = {test_below(&random, 30), test_below(&random, 3000)};
        assert_int_equal(step(f, follower, limits, &caught_up), ERR_OK);
        assert_int_equal(follower_checkpoint(follower), f->taken.n);
    }
    assert_int_equal(f->taken.n, appended);
    for (size_t i = 0; i < f->taken.n; i++) {
        assert_int_equal(f->taken.positions[i], i + 1);
    }
    follower_free(follower);
}

/* The checkpoint moves over what does not match, so that nothing is looked at twice. */
static void test_follower_checkpoint_moves_where_nothing_matches(void **state)
{
    struct fixture *f = *state;
    struct bytes type = BYTES_LITERAL("T1");
    struct store_query query = {.filter = {.types = &type, .type_count = 1}};
    struct follower *follower = follow(&query);
    test_fill(f->store, 300, 3);
    step_until_caught_up(f, follower);
    assert_int_equal(f->taken.n, 100);
    assert_int_equal(follower_checkpoint(follower), 300);
    test_put(f->store, "other", "None", "{}");
    bool caught_up = false;
    assert_int_equal(step(f, follower, (struct follower_limits){0}, &caught_up), ERR_OK);
    assert_true(caught_up);
    assert_int_equal(f->taken.n, 100);
    assert_int_equal(follower_checkpoint(follower), 301);
    follower_free(follower);
}

/* The query is the follower's own: the caller's names may change and go. */
static void test_follower_owns_its_query(void **state)
{
    struct fixture *f = *state;
    char text[] = "s-1";
    char tag[] = "t1";
    struct bytes tags[] = {bytes_of(tag, 2)};
    struct store_query of_stream = {.stream = bytes_of(text, 3), .from = 2};
    struct store_query of_tag = {.filter = {.tags = tags, .tag_count = 1}};
    struct follower *a = follow(&of_stream);
    struct follower *b = follow(&of_tag);
    memset(text, 'x', 3);
    memset(tag, 'x', 2);
    tags[0] = BYTES_NONE;
    test_fill(f->store, 20, 4);
    step_until_caught_up(f, a);
    assert_int_equal(f->taken.n, 3); /* of the five of s-1 */
    assert_int_equal(follower_checkpoint(a), 5);
    step_until_caught_up(f, b);
    assert_int_equal(f->taken.n, 7);
    assert_true(bytes_equal(follower_query(b)->filter.tags[0], BYTES_LITERAL("t1")));
    follower_free(a);
    follower_free(b);
    follower_free(NULL);
}

/* Enough for now: that record counts as taken. An error: it does not. */
static void test_follower_stops_where_told(void **state)
{
    struct fixture *f = *state;
    struct follower *follower = follow(&(struct store_query){0});
    test_fill(f->store, 20, 2);
    f->taken.full_at = 4;
    bool caught_up = true;
    assert_int_equal(step(f, follower, (struct follower_limits){0}, &caught_up), ERR_OK);
    assert_false(caught_up);
    assert_int_equal(follower_checkpoint(follower), 4);
    f->taken.fail_at = 9;
    caught_up = true;
    assert_int_equal(step(f, follower, (struct follower_limits){0}, &caught_up), ERR_MEMORY);
    assert_true(caught_up); /* untouched */
    assert_int_equal(follower_checkpoint(follower), 8);
    f->taken.fail_at = 0;
    step_until_caught_up(f, follower);
    assert_int_equal(f->taken.n, 20);
    follower_free(follower);
}

/* It waits at a place that the log has not reached yet, and does not go back. */
static void test_follower_behind_the_end(void **state)
{
    struct fixture *f = *state;
    test_fill(f->store, 10, 1);
    struct follower *follower = follow(&(struct store_query){.from = 15});
    step_until_caught_up(f, follower);
    assert_int_equal(follower_checkpoint(follower), 15);
    test_fill(f->store, 10, 1);
    step_until_caught_up(f, follower);
    assert_int_equal(f->taken.n, 5);
    assert_int_equal(f->taken.positions[0], 16);
    follower_seek(follower, 18);
    step_until_caught_up(f, follower);
    assert_int_equal(f->taken.n, 7);
    follower_free(follower);
}

static void test_follower_stream_not_there(void **state)
{
    struct fixture *f = *state;
    struct follower *follower = follow(&(struct store_query){.stream = BYTES_LITERAL("none")});
    bool caught_up = true;
    assert_int_equal(step(f, follower, (struct follower_limits){0}, &caught_up), ERR_NOT_FOUND);
    test_put(f->store, "none", "Now", "{}");
    step_until_caught_up(f, follower);
    assert_int_equal(f->taken.n, 1);
    follower_free(follower);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_follower_history_to_live, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_follower_checkpoint_moves_where_nothing_matches,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_follower_owns_its_query, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_follower_stops_where_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_follower_behind_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_follower_stream_not_there, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
