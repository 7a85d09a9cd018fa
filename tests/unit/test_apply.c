/* Tests of storage/apply.c: bounded steps from the tail into LMDB, repeatable after an error. */
#include "storage/store_int.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

struct fixture {
    struct test_dir dir;
    struct store *store;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fault_arm(FAULT_KV_PUT, 0, false);
    fault_arm(FAULT_KV_COMMIT, 0, false);
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

/* Little is left alone until it is flushed; nothing is no work. */
static void test_store_apply_flush(void **state)
{
    struct fixture *f = *state;
    bool more = true;
    assert_int_equal(store_apply(f->store, true, &more), ERR_OK);
    assert_false(more);
    test_fill(f->store, 10, 3);
    assert_int_equal(store_apply(f->store, false, &more), ERR_OK);
    assert_false(more);
    assert_int_equal(store_applied_position(f->store), 0);
    do {
        assert_int_equal(store_apply(f->store, true, &more), ERR_OK);
    } while (more);
    assert_int_equal(store_applied_position(f->store), 10);
}

/* A tail that is half full is applied without being told. */
static void test_store_apply_ripe(void **state)
{
    struct fixture *f = *state;
    bool more;
    while (!tail_is_ripe(&f->store->tail)) {
        test_fill(f->store, 1, 10);
    }
    do {
        assert_int_equal(store_apply(f->store, false, &more), ERR_OK);
    } while (more);
    assert_true(store_applied_position(f->store) > 0);
    test_verify_clean(f->store, store_position(f->store));
}

/* Every step fails once with a full disk, at each of its puts in turn: after a retry all is as if
 * nothing had happened. */
static void test_store_apply_disk_full_at_every_put(void **state)
{
    struct fixture *f = *state;
    bool more = true;
    test_fill(f->store, 60, 7);
    for (long n = 1; store_applied_position(f->store) < 60; n++) {
        fault_arm(FAULT_KV_PUT, n, false);
        err_t err = store_apply(f->store, true, &more);
        assert_true(err == ERR_OK || err == ERR_DISK_FULL);
        fault_arm(FAULT_KV_PUT, 0, false);
        n = err == ERR_OK ? 0 : n;
        test_verify_clean(f->store, 60);
    }
    test_expect_event(f->store, 60, "s-4", 9, "{}");
    struct store_stats stats;
    assert_int_equal(store_get_stats(f->store, &stats), ERR_OK);
    assert_int_equal(stats.streams, 7);
}

/* The same with commits that fail. */
static void test_store_apply_commit_fails(void **state)
{
    struct fixture *f = *state;
    bool more;
    test_fill(f->store, 60, 7);
    while (store_applied_position(f->store) < 60) {
        fault_arm(FAULT_KV_COMMIT, 1, false);
        assert_int_equal(store_apply(f->store, true, &more), ERR_IO);
        assert_int_equal(store_apply(f->store, true, &more), ERR_OK);
    }
    fault_arm(FAULT_KV_COMMIT, 0, false);
    test_verify_clean(f->store, 60);
}

static size_t count_segments(const struct fixture *f)
{
    char path[TEST_PATH_MAX];
    DIR *dir = opendir(test_path(&f->dir, "journal", path));
    size_t n = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

/* What is applied leaves the journal, so that it does not grow. */
static void test_store_apply_trims_the_journal(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++) {
        test_fill(f->store, 400, 11);
        test_apply_all(f->store);
        assert_int_equal(store_prepare(f->store), ERR_OK);
        assert_true(count_segments(f) <= 4);
    }
    test_verify_clean(f->store, 30 * 400);
}

/* Many names in one generation take several bounded steps; reads are right between any two. */
static void test_store_apply_many_names(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    struct store_options options = test_options(&f->dir);
    options.tail_bytes_max = (uint64_t)8 << 20;
    f->store = test_open_with(&options);
    test_fill(f->store, 2000, 2000);
    bool more = true;
    int steps = 0;
    for (; more; steps++) {
        assert_int_equal(store_apply(f->store, true, &more), ERR_OK);
        test_expect_event(f->store, 1234, "s-1234", 1, "{}");
        test_verify_clean(f->store, 2000);
    }
    assert_true(steps > 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_apply_flush),
        TEST(test_store_apply_ripe),
        TEST(test_store_apply_disk_full_at_every_put),
        TEST(test_store_apply_commit_fails),
        TEST(test_store_apply_trims_the_journal),
        TEST(test_store_apply_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
