/* Tests of storage/recover.h: what a store holds after a crash at any step, and after any fault. */
#include "storage/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define STEPS  120
#define EVENTS 24
#define PAD    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- crashes ---- */

/* Both stores give the same bytes for every position. */
static void compare_stores(struct store *a, struct store *b)
{
    struct store_view *va, *vb;
    assert_int_equal(store_position(a), store_position(b));
    assert_int_equal(store_view_open(a, &va), ERR_OK);
    assert_int_equal(store_view_open(b, &vb), ERR_OK);
    for (uint64_t p = 1; p <= store_position(a); p++) {
        struct store_record ra, rb;
        assert_int_equal(store_get_event(va, p, &ra), ERR_OK);
        assert_int_equal(store_get_event(vb, p, &rb), ERR_OK);
        assert_true(bytes_equal(ra.body, rb.body));
    }
    store_view_close(va);
    store_view_close(vb);
}

/* The copy of the directory as it is now opens, is whole, and takes up where the store is. */
static void check_crash(const struct test_dir *dir, struct store *s)
{
    struct test_dir copy;
    struct store_stats a, b;
    test_dir_crash(dir, &copy);
    struct store *c = test_open(&copy);
    compare_stores(s, c);
    assert_int_equal(store_get_stats(s, &a), ERR_OK);
    assert_int_equal(store_get_stats(c, &b), ERR_OK);
    assert_int_equal(a.streams, b.streams);
    test_verify_clean(c, store_position(s));
    assert_int_equal(test_put(c, "after", "T", "1"), store_position(s) + 1);
    test_apply_all(c);
    test_verify_clean(c, store_position(s) + 1);
    store_close(c);
    test_dir_remove(&copy);
}

static void commit_some(struct store *s, uint64_t *random)
{
    char stream[32];
    struct command *commands[3];
    size_t n = 1 + test_below(random, 3);
    for (size_t i = 0; i < n; i++) {
        commands[i] = test_command();
        snprintf(stream, sizeof stream, "s%" PRIu64 "-%" PRIu64, test_below(random, 2),
                 test_below(random, 9));
        test_add_append(commands[i], stream, TEST_ANY);
        for (uint64_t k = test_below(random, 12); k < 12; k++) {
            test_add_tagged(commands[i], 0, k % 2 == 0 ? "A" : "B", "x y z");
            test_add_event(commands[i], 0, "C", PAD PAD PAD);
        }
    }
    test_commit_group(s, commands, n, TEST_TIME_US);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(command_verdict(commands[i]), VERDICT_COMMITTED);
        command_free(commands[i]);
    }
}

/* Killed after any commit or any apply step, a store opens with exactly what was committed. */
static void test_recover_journal_crash_at_every_step(void **state)
{
    (void)state;
    struct test_dir dir;
    uint64_t random = test_seed();
    bool more = false;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    check_crash(&dir, s);
    for (int i = 0; i < STEPS; i++) {
        if (more || test_below(&random, 3) == 0) {
            assert_int_equal(store_apply(s, test_below(&random, 3) == 0, &more), ERR_OK);
        } else {
            commit_some(s, &random);
        }
        check_crash(&dir, s);
    }
    store_close(s);
    test_dir_remove(&dir);
}

/* Killed between the log's transactions and the index's, a start brings the rest from the log: also
 * where the journal no longer has it. */
static void test_recover_log_index_behind(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    bool more;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_fill(s, 200, 7);
    while (s->applier.stage != APPLY_INDEX) {
        assert_int_equal(store_apply(s, true, &more), ERR_OK);
    }
    assert_true(s->log_position > store_applied_position(s));
    test_dir_crash(&dir, &copy);
    struct store *c = test_open(&copy);
    assert_int_equal(c->log_position, s->log_position);
    compare_stores(s, c);
    test_verify_clean(c, 200);
    store_close(c);
    store_close(s);
    test_dir_remove(&copy);
    test_dir_remove(&dir);
}

/* Opened again and again without a clean end in between, nothing is lost or doubled. */
static void test_recover_journal_crash_after_crash(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    test_dir_make(&dir);
    for (uint64_t i = 0; i < 12; i++) {
        struct store *s = test_open(&dir);
        assert_int_equal(store_position(s), i * 30);
        for (uint64_t k = 1; k <= 30; k++) {
            assert_int_equal(test_put(s, "a-1", "T", PAD), i * 30 + k);
        }
        test_verify_clean(s, (i + 1) * 30);
        test_dir_crash(&dir, &copy);
        store_close(s);
        test_dir_remove(&dir);
        dir = copy;
    }
    test_dir_remove(&dir);
}

/* A smaller tail than the journal's content is no obstacle: a start applies as it goes. */
static void test_recover_journal_larger_than_tail(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    options.tail_bytes_max = (uint64_t)4 << 20;
    struct store *s = test_open_with(&options);
    test_fill(s, 3000, 50);
    assert_int_equal(store_applied_position(s), 0);
    test_dir_crash(&dir, &copy);
    struct store *c = test_open(&copy);
    compare_stores(s, c);
    test_verify_clean(c, 3000);
    store_close(c);
    store_close(s);
    test_dir_remove(&copy);
    test_dir_remove(&dir);
}

/* ---- faults ---- */

/* What one run of the script was told. */
struct told {
    uint64_t acknowledged;
    uint64_t events[EVENTS + 1]; /* by position: which event of the script */
    bool stopped;                /* by an error after which the process must stop */
};

/* False where the process has to stop. */
static bool go_on(err_t err)
{
    return err == ERR_OK || err == ERR_DISK_FULL;
}

static struct command *script_command(uint64_t i)
{
    char stream[32];
    snprintf(stream, sizeof stream, "s-%" PRIu64, i % 3);
    struct command *c = test_command();
    test_add_append(c, stream, TEST_ANY);
    test_add_event(c, i + 1, "T", i % 4 == 0 ? PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD : "1");
    return c;
}

static bool script_commit(struct store *s, uint64_t i, struct told *told)
{
    bool more;
    struct command *c = script_command(i);
    err_t err = store_commit(s, &c, 1, TEST_TIME_US + (int64_t)i);
    if (err == ERR_FULL) {
        err = store_apply(s, true, &more);
        err = go_on(err) ? ERR_OK : err;
    }
    if (command_verdict(c) == VERDICT_COMMITTED) {
        told->acknowledged = command_result(c, 0)->last_position;
        told->events[told->acknowledged] = i;
    }
    command_free(c);
    return go_on(err);
}

static void run_script(const struct test_dir *dir, struct told *told, struct test_dir *ret_copy)
{
    struct store_options options = test_options(dir);
    options.tail_bytes_max = (uint64_t)6 << 10;
    struct store *s = NULL;
    bool more;
    *told = (struct told){.stopped = store_open(&options, &s, NULL) != ERR_OK};
    for (uint64_t i = 0; i < EVENTS && !told->stopped; i++) {
        told->stopped = !script_commit(s, i, told);
        if (!told->stopped && i % 5 == 4) {
            told->stopped = !go_on(store_apply(s, true, &more));
        }
        if (!told->stopped && i % 8 == 0) {
            told->stopped = !go_on(store_prepare(s));
        }
    }
    test_dir_crash(dir, ret_copy);
    store_close(s);
}

/* Everything acknowledged is there, once, and the store works. */
static void check_script(const struct test_dir *dir, const struct told *told)
{
    struct store *s = test_open(dir);
    assert_int_equal(store_position(s), told->acknowledged);
    for (uint64_t p = 1; p <= told->acknowledged; p++) {
        struct command *c = script_command(told->events[p]);
        assert_int_equal(test_commit(s, c), VERDICT_DUPLICATE);
        assert_int_equal(command_result(c, 0)->first_position, p);
        command_free(c);
    }
    test_verify_clean(s, told->acknowledged);
    assert_int_equal(test_put(s, "s-0", "T", "2"), told->acknowledged + 1);
    store_close(s);
}

/* Whether a fault that was armed for its nth pass has been used up. */
static bool was_hit(enum fault fault, long n)
{
    for (long i = 0; i < n; i++) {
        if (fault_hit(fault)) {
            return false;
        }
    }
    return true;
}

/* One run with the fault's nth pass failing; false: it has fewer passes. */
static bool fault_run(enum fault fault, long n, bool persistent)
{
    struct test_dir dir, copy;
    struct told told;
    test_dir_make(&dir);
    fault_arm(fault, n, persistent);
    run_script(&dir, &told, &copy);
    bool hit = persistent || was_hit(fault, n);
    fault_arm(fault, 0, false);
    check_script(&copy, &told);
    check_script(&dir, &told);
    test_dir_remove(&copy);
    test_dir_remove(&dir);
    return hit;
}

static void fault_loop(enum fault fault)
{
    long n = 1;
    while (fault_run(fault, n, false)) {
        (void)fault_run(fault, n, true);
        n++;
    }
    print_message("%ld passes\n", n - 1);
    assert_true(n > 2);
}

/* Whichever synced write of a group fails, once or for good, nothing acknowledged is lost. */
static void test_recover_journal_fault_write(void **state)
{
    (void)state;
    fault_loop(FAULT_JOURNAL_WRITE);
}

/* Whichever LMDB commit fails, nothing acknowledged is lost. */
static void test_recover_journal_fault_kv_commit(void **state)
{
    (void)state;
    fault_loop(FAULT_KV_COMMIT);
}

/* Whichever LMDB put finds the disk full, nothing acknowledged is lost. */
static void test_recover_journal_fault_kv_put(void **state)
{
    (void)state;
    fault_loop(FAULT_KV_PUT);
}

/* Whichever generation of the tail finds no memory, nothing acknowledged is lost. */
static void test_recover_journal_fault_tail(void **state)
{
    (void)state;
    fault_loop(FAULT_TAIL_ALLOCATE);
}

/* Whichever segment finds no space, nothing acknowledged is lost. */
static void test_recover_journal_fault_allocate(void **state)
{
    (void)state;
    fault_loop(FAULT_JOURNAL_ALLOCATE);
}

/* A start on a full disk: what the journal has and LMDB cannot take stays in memory, more than the
 * tail is meant for; all is readable, writes wait for room, and get it when there is some. */
static void test_recover_journal_disk_full(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    options.tail_bytes_max = (uint64_t)1 << 20;
    struct store *s = test_open_with(&options);
    test_fill(s, 3000, 5);
    assert_int_equal(store_applied_position(s), 0);
    test_dir_crash(&dir, &copy);
    store_close(s);
    fault_arm(FAULT_KV_PUT, 1, true);
    s = test_open(&copy);
    assert_int_equal(store_position(s), 3000);
    struct command *c = test_one("a", TEST_ANY, 0, "T", "1");
    assert_int_equal(store_commit(s, &c, 1, TEST_TIME_US), ERR_FULL);
    bool more;
    assert_int_equal(store_apply(s, true, &more), ERR_DISK_FULL);
    fault_arm(FAULT_KV_PUT, 0, false);
    test_verify_clean(s, 3000);
    test_apply_all(s);
    assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
    command_free(c);
    test_verify_clean(s, 3001);
    store_close(s);
    test_dir_remove(&copy);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recover_journal_disk_full),
        cmocka_unit_test(test_recover_journal_crash_at_every_step),
        cmocka_unit_test(test_recover_log_index_behind),
        cmocka_unit_test(test_recover_journal_crash_after_crash),
        cmocka_unit_test(test_recover_journal_larger_than_tail),
        cmocka_unit_test(test_recover_journal_fault_write),
        cmocka_unit_test(test_recover_journal_fault_kv_commit),
        cmocka_unit_test(test_recover_journal_fault_kv_put),
        cmocka_unit_test(test_recover_journal_fault_tail),
        cmocka_unit_test(test_recover_journal_fault_allocate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
