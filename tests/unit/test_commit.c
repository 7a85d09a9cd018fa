/* Tests of storage/commit.c and storage/duplicates.c: verdicts, results, groups. */
#include "storage/commit_int.h"

#include <inttypes.h>
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
    fault_arm(FAULT_JOURNAL_WRITE, 0, false);
    fault_arm(FAULT_JOURNAL_ALLOCATE, 0, false);
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

/* Commits and frees; gives the verdict. */
static enum verdict verdict_of(struct fixture *f, struct command *c)
{
    enum verdict verdict = test_commit(f->store, c);
    command_free(c);
    return verdict;
}

/* ---- expectations ---- */

struct expectation_case {
    uint64_t head;
    struct expectation expected;
    bool met;
};

static const struct expectation_case EXPECTATIONS[] = {
    {0, {EXPECT_ANY, 0}, true},
    {2, {EXPECT_ANY, 0}, true},
    {0, {EXPECT_NO_STREAM, 0}, true},
    {2, {EXPECT_NO_STREAM, 0}, false},
    {0, {EXPECT_STREAM_EXISTS, 0}, false},
    {2, {EXPECT_STREAM_EXISTS, 0}, true},
    {0, {EXPECT_REVISION, 0}, true},
    {0, {EXPECT_REVISION, 1}, false},
    {2, {EXPECT_REVISION, 0}, false},
    {2, {EXPECT_REVISION, 1}, false},
    {2, {EXPECT_REVISION, 2}, true},
    {2, {EXPECT_REVISION, 3}, false},
};

static void check_expectation(struct fixture *f, size_t i, const char *where)
{
    char stream[64];
    const struct expectation_case *k = &EXPECTATIONS[i];
    snprintf(stream, sizeof stream, "%s-%zu", where, i);
    for (uint64_t n = 0; n < k->head; n++) {
        test_put(f->store, stream, "T", "1");
    }
    if (strcmp(where, "applied") == 0) {
        test_apply_all(f->store);
    }
    uint64_t position = store_position(f->store);
    struct command *c = test_one(stream, k->expected, 0, "T", "2");
    enum verdict verdict = test_commit(f->store, c);
    if (k->met) {
        assert_int_equal(verdict, VERDICT_COMMITTED);
        assert_int_equal(command_result(c, 0)->first_revision, k->head + 1);
        assert_int_equal(command_result(c, 0)->first_position, position + 1);
    } else {
        assert_int_equal(verdict, VERDICT_WRONG_EXPECTED_REVISION);
        assert_int_equal(command_violations(c), 1);
        assert_int_equal(command_violation(c, 0)->actual, k->head);
        assert_int_equal(command_violation(c, 0)->expected.kind, k->expected.kind);
        assert_int_equal(store_position(f->store), position);
    }
    command_free(c);
}

/* Every kind of expectation on a stream that exists or not, whether its events are in memory or in
 * LMDB, is met or not as the table says. */
static void test_store_commit_expectations(void **state)
{
    for (size_t i = 0; i < sizeof EXPECTATIONS / sizeof *EXPECTATIONS; i++) {
        check_expectation(*state, i, "tail");
        check_expectation(*state, i, "applied");
    }
}

/* All that is wrong is listed, in the order of the command; nothing is written. */
static void test_store_commit_lists_all_violations(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "a", "T", "1");
    struct command *c = test_command();
    test_add_append(c, "a", TEST_NO_STREAM);
    test_add_event(c, 0, "T", "1");
    test_add_append(c, "b", TEST_EXISTS);
    test_add_event(c, 0, "T", "1");
    test_add_append(c, "a", TEST_ANY);
    test_add_event(c, 0, "T", "1");
    assert_int_equal(command_add_check(c, bytes_of_string("x"), TEST_AT(4)), ERR_OK);
    assert_int_equal(command_add_check(c, bytes_of_string("a"), TEST_AT(1)), ERR_OK);
    assert_int_equal(command_add_check(c, bytes_of_string("a"), TEST_AT(2)), ERR_OK);
    assert_int_equal(test_commit(f->store, c), VERDICT_WRONG_EXPECTED_REVISION);
    static const struct {
        const char *stream;
        uint64_t actual;
    } WANTED[] = {{"a", 1}, {"b", 0}, {"x", 0}, {"a", 1}};
    assert_int_equal(command_violations(c), 4);
    for (size_t i = 0; i < 4; i++) {
        const struct violation *v = command_violation(c, i);
        assert_true(bytes_equal(v->stream, bytes_of_string(WANTED[i].stream)));
        assert_int_equal(v->actual, WANTED[i].actual);
    }
    assert_int_equal(store_position(f->store), 1);
    command_free(c);
}

/* A stream's later append in one command expects what the earlier leaves; a check expects what was
 * before. */
static void test_store_commit_same_stream_several_times(void **state)
{
    struct fixture *f = *state;
    struct command *c = test_command();
    test_add_append(c, "a", TEST_NO_STREAM);
    test_add_event(c, 0, "T", "1");
    test_add_event(c, 0, "T", "2");
    test_add_append(c, "b", TEST_ANY);
    test_add_event(c, 0, "T", "3");
    test_add_append(c, "a", TEST_AT(2));
    test_add_event(c, 0, "T", "4");
    assert_int_equal(command_add_check(c, bytes_of_string("a"), TEST_NO_STREAM), ERR_OK);
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    assert_int_equal(command_result(c, 0)->last_revision, 2);
    assert_int_equal(command_result(c, 1)->first_position, 3);
    assert_int_equal(command_result(c, 2)->first_revision, 3);
    assert_int_equal(command_result(c, 2)->first_position, 4);
    test_expect_event(f->store, 4, "a", 3, "4");
    command_free(c);
}

/* Of many commands in one group that want the same revision, the first alone gets it. */
static void test_store_commit_group_races_for_a_revision(void **state)
{
    struct fixture *f = *state;
    struct command *commands[64];
    for (uint64_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 64; i++) {
            commands[i] = test_one("race", TEST_AT(round), 0, "T", "1");
        }
        test_commit_group(f->store, commands, 64, TEST_TIME_US);
        for (size_t i = 0; i < 64; i++) {
            assert_int_equal(command_verdict(commands[i]),
                             i == 0 ? VERDICT_COMMITTED : VERDICT_WRONG_EXPECTED_REVISION);
            command_free(commands[i]);
        }
    }
    assert_int_equal(store_position(f->store), 20);
    test_verify_clean(f->store, 20);
}

/* Many streams in one command, more than are looked through one by one. */
static void test_store_commit_many_streams(void **state)
{
    struct fixture *f = *state;
    struct command *c = test_command();
    char stream[32];
    for (int i = 0; i < 200; i++) {
        snprintf(stream, sizeof stream, "m-%d", i % 100);
        test_add_append(c, stream, TEST_AT((uint64_t)i / 100));
        test_add_event(c, (uint64_t)i + 1, "T", "1");
    }
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    assert_int_equal(command_result(c, 199)->first_revision, 2);
    assert_int_equal(command_result(c, 199)->first_position, 200);
    assert_int_equal(test_commit(f->store, c), VERDICT_DUPLICATE);
    command_free(c);
    test_verify_clean(f->store, 200);
}

/* ---- idempotency ---- */

static struct command *pair(uint64_t first, uint64_t second)
{
    struct command *c = test_command();
    test_add_append(c, "a", TEST_NO_STREAM);
    test_add_event(c, first, "T", "1");
    test_add_event(c, second, "T", "2");
    return c;
}

/* Where the earlier events are when the retry comes. */
enum place { IN_GENERATION, IN_FROZEN, IN_LMDB, AFTER_RESTART, PLACES };

static void move_to(struct fixture *f, enum place place)
{
    struct tail *t = &f->store->tail;
    if (place == IN_FROZEN) {
        (void)tail_oldest_frozen(t, true);
        test_put(f->store, "other", "T", "1");
        assert_true(t->count > 1);
    } else if (place == IN_LMDB) {
        test_apply_all(f->store);
    } else if (place == AFTER_RESTART) {
        store_close(f->store);
        f->store = test_open(&f->dir);
    }
}

static void check_retries(struct fixture *f, enum place place)
{
    assert_int_equal(verdict_of(f, pair(1, 2)), VERDICT_COMMITTED);
    test_put(f->store, "a", "T", "3");
    move_to(f, place);
    uint64_t position = store_position(f->store);
    struct command *c = pair(1, 2);
    assert_int_equal(test_commit(f->store, c), VERDICT_DUPLICATE);
    assert_true(command_result(c, 0)->duplicate);
    assert_int_equal(command_result(c, 0)->first_revision, 1);
    assert_int_equal(command_result(c, 0)->last_revision, 2);
    assert_int_equal(command_result(c, 0)->first_position, 1);
    assert_int_equal(command_result(c, 0)->last_position, 2);
    command_free(c);
    assert_int_equal(verdict_of(f, pair(1, 9)), VERDICT_PARTIAL_DUPLICATE);
    assert_int_equal(verdict_of(f, pair(9, 1)), VERDICT_ID_REUSED); /* 1 with other data */
    assert_int_equal(verdict_of(f, test_one("a", TEST_ANY, 1, "U", "1")), VERDICT_ID_REUSED);
    assert_int_equal(verdict_of(f, test_one("a", TEST_ANY, 1, "T", "")), VERDICT_ID_REUSED);
    assert_int_equal(verdict_of(f, test_one("a", TEST_AT(77), 2, "T", "2")), VERDICT_DUPLICATE);
    assert_int_equal(verdict_of(f, test_one("b", TEST_NO_STREAM, 1, "U", "5")), VERDICT_COMMITTED);
    assert_int_equal(store_position(f->store), position + 1);
}

/* A retry is recognised wherever the original is by now: same ids give the original numbers
 * whatever was expected, other content is a mistake, half of it new is another; other streams are
 * not concerned. */
static void test_store_commit_retries(void **state)
{
    for (int place = 0; place < PLACES; place++) {
        check_retries(*state, (enum place)place);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

/* The same ids in another order are no retry. */
static void test_store_commit_retry_in_another_order(void **state)
{
    struct fixture *f = *state;
    struct command *c = test_command();
    test_add_append(c, "a", TEST_ANY);
    test_add_event(c, 1, "T", "same");
    test_add_event(c, 2, "T", "same");
    assert_int_equal(verdict_of(f, c), VERDICT_COMMITTED);
    c = test_command();
    test_add_append(c, "a", TEST_ANY);
    test_add_event(c, 2, "T", "same");
    test_add_event(c, 1, "T", "same");
    assert_int_equal(verdict_of(f, c), VERDICT_PARTIAL_DUPLICATE);
}

/* One id twice for one stream in a command is refused and named; for two streams it is fine. */
static void test_store_commit_id_twice_in_a_command(void **state)
{
    struct fixture *f = *state;
    struct command *c = test_command();
    test_add_append(c, "a", TEST_ANY);
    test_add_event(c, 1, "T", "1");
    test_add_append(c, "b", TEST_ANY);
    test_add_event(c, 1, "T", "1");
    test_add_append(c, "a", TEST_ANY);
    test_add_event(c, 2, "T", "1");
    test_add_event(c, 1, "T", "1");
    assert_int_equal(test_commit(f->store, c), VERDICT_ID_REUSED);
    assert_int_equal(command_fault_append(c), 2);
    assert_int_equal(command_fault_event(c), 1);
    command_free(c);
    assert_int_equal(store_position(f->store), 0);
}

/* Some appends of a command new and some a retry: nothing is written. */
static void test_store_commit_partial_over_streams(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(verdict_of(f, test_one("a", TEST_ANY, 1, "T", "1")), VERDICT_COMMITTED);
    struct command *c = test_command();
    test_add_append(c, "b", TEST_ANY);
    test_add_event(c, 5, "T", "1");
    test_add_append(c, "a", TEST_ANY);
    test_add_event(c, 1, "T", "1");
    assert_int_equal(verdict_of(f, c), VERDICT_PARTIAL_DUPLICATE);
    assert_int_equal(store_position(f->store), 1);
}

/* Retries within one group see the original of the same group. */
static void test_store_commit_retry_in_a_group(void **state)
{
    struct fixture *f = *state;
    struct command *commands[3] = {pair(1, 2), pair(1, 2), pair(2, 3)};
    test_commit_group(f->store, commands, 3, TEST_TIME_US);
    assert_int_equal(command_verdict(commands[0]), VERDICT_COMMITTED);
    assert_int_equal(command_verdict(commands[1]), VERDICT_DUPLICATE);
    assert_int_equal(command_result(commands[1], 0)->last_position, 2);
    assert_int_equal(command_verdict(commands[2]), VERDICT_ID_REUSED);
    for (size_t i = 0; i < 3; i++) {
        command_free(commands[i]);
    }
}

/* ---- fingerprints ---- */

/* Two numbers whose ids have one fingerprint. */
static void find_collision(uint64_t *ret_a, uint64_t *ret_b)
{
    static uint64_t first[PRINTS];
    uint8_t id[UUID_BYTES];
    memset(first, 0, sizeof first);
    for (uint64_t n = 1;; n++) {
        test_id(n, id);
        uint16_t print = record_id_print(id);
        if (first[print] != 0) {
            *ret_a = first[print];
            *ret_b = n;
            return;
        }
        first[print] = n;
    }
}

/* An id that only looks like one the stream has is new; each of the two is recognised again. */
static void test_store_commit_fingerprint_collision(void **state)
{
    uint64_t a, b;
    find_collision(&a, &b);
    for (int place = 0; place < PLACES; place++) {
        struct fixture *f = *state;
        assert_int_equal(verdict_of(f, test_one("a", TEST_ANY, a, "T", "1")), VERDICT_COMMITTED);
        move_to(f, (enum place)place);
        assert_int_equal(verdict_of(f, test_one("a", TEST_ANY, b, "T", "2")), VERDICT_COMMITTED);
        struct command *c = test_one("a", TEST_ANY, b, "T", "2");
        assert_int_equal(test_commit(f->store, c), VERDICT_DUPLICATE);
        assert_int_equal(command_result(c, 0)->first_revision, 2);
        command_free(c);
        move_to(f, (enum place)place);
        c = test_one("a", TEST_ANY, a, "T", "1");
        assert_int_equal(test_commit(f->store, c), VERDICT_DUPLICATE);
        assert_int_equal(command_result(c, 0)->first_position, 1);
        command_free(c);
        assert_int_equal(verdict_of(f, test_one("a", TEST_ANY, a, "T", "2")), VERDICT_ID_REUSED);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

/* ---- groups and limits ---- */

/* Times never go back, whatever the clock says. */
static void test_store_commit_times_are_monotone(void **state)
{
    struct fixture *f = *state;
    static const int64_t CLOCK[] = {5000, 4000, 6000, -1, 6000, 7000};
    static const int64_t WANTED[] = {5000, 5000, 6000, 6000, 6000, 7000};
    for (size_t i = 0; i < 6; i++) {
        struct command *c = test_one("a", TEST_ANY, 0, "T", "1");
        test_commit_group(f->store, &c, 1, CLOCK[i]);
        command_free(c);
    }
    struct store_view *v;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    for (uint64_t p = 1; p <= 6; p++) {
        struct store_record record;
        struct event event;
        assert_int_equal(store_get_event(v, p, &record), ERR_OK);
        assert_int_equal(store_record_decode(&record, &event), ERR_OK);
        assert_int_equal(event.time_us, WANTED[p - 1]);
    }
    store_view_close(v);
}

/* A full tail decides nothing; after it was applied the same command goes through. */
static void test_store_commit_tail_full(void **state)
{
    struct fixture *f = *state;
    struct command *c;
    err_t err;
    uint64_t n = 0;
    for (;;) {
        c = test_one("a", TEST_ANY, 0, "T", "0123456789012345678901234567890123456789");
        err = store_commit(f->store, &c, 1, TEST_TIME_US);
        if (err != ERR_OK) {
            break;
        }
        n++;
        command_free(c);
    }
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(command_verdict(c), VERDICT_NONE);
    assert_int_equal(store_position(f->store), n);
    test_apply_all(f->store);
    assert_int_equal(store_commit(f->store, &c, 1, TEST_TIME_US), ERR_OK);
    assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
    command_free(c);
    test_verify_clean(f->store, n + 1);
}

/* Small commands that are together larger than a journal segment go in several groups. */
static void test_store_commit_group_larger_than_a_segment(void **state)
{
    struct fixture *f = *state;
    static char data[4001];
    struct command *commands[40];
    store_close(f->store);
    struct store_options options = test_options(&f->dir);
    options.tail_bytes_max = (uint64_t)8 << 20;
    f->store = test_open_with(&options);
    memset(data, 'x', sizeof data - 1);
    for (size_t i = 0; i < 40; i++) {
        commands[i] = test_one("a", TEST_AT(i), 0, "T", data);
    }
    test_commit_group(f->store, commands, 40, TEST_TIME_US);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(command_verdict(commands[i]), VERDICT_COMMITTED);
        command_free(commands[i]);
    }
    test_verify_clean(f->store, 40);
}

/* One command that no segment can take fails by itself, and nothing else does. */
static void test_store_commit_command_larger_than_a_segment(void **state)
{
    struct fixture *f = *state;
    static char data[70000];
    memset(data, 'x', sizeof data - 1);
    struct command *commands[3] = {test_one("a", TEST_ANY, 0, "T", "1"),
                                   test_one("a", TEST_ANY, 0, "T", data),
                                   test_one("a", TEST_ANY, 0, "T", "2")};
    test_commit_group(f->store, commands, 3, TEST_TIME_US);
    assert_int_equal(command_verdict(commands[0]), VERDICT_COMMITTED);
    assert_int_equal(command_verdict(commands[1]), VERDICT_FAILED);
    assert_int_equal(command_error(commands[1]), ERR_LIMIT);
    assert_int_equal(command_verdict(commands[2]), VERDICT_COMMITTED);
    for (size_t i = 0; i < 3; i++) {
        command_free(commands[i]);
    }
    assert_int_equal(store_position(f->store), 2);
}

/* No space for the next segment is a verdict, and over when there is space again. */
static void test_store_commit_disk_full(void **state)
{
    struct fixture *f = *state;
    static char data[30000];
    memset(data, 'x', sizeof data - 1);
    fault_arm(FAULT_JOURNAL_ALLOCATE, 1, true);
    enum verdict verdict = VERDICT_COMMITTED;
    for (int i = 0; i < 20 && verdict == VERDICT_COMMITTED; i++) {
        struct command *c = test_one("a", TEST_ANY, 0, "T", data);
        verdict = test_commit(f->store, c);
        assert_true(verdict == VERDICT_COMMITTED || command_error(c) == ERR_DISK_FULL);
        command_free(c);
    }
    assert_int_equal(verdict, VERDICT_FAILED);
    uint64_t position = store_position(f->store);
    fault_arm(FAULT_JOURNAL_ALLOCATE, 0, false);
    assert_int_equal(test_put(f->store, "a", "T", data), position + 1);
    test_verify_clean(f->store, position + 1);
}

/* After a failed write nobody is told anything, nothing is visible, and nothing more is written. */
static void test_store_commit_write_fails(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "a", "T", "1");
    struct command *c = test_one("a", TEST_ANY, 0, "T", "2");
    fault_arm(FAULT_JOURNAL_WRITE, 1, false);
    assert_int_equal(store_commit(f->store, &c, 1, TEST_TIME_US), ERR_IO);
    assert_int_equal(command_verdict(c), VERDICT_NONE);
    assert_int_equal(store_position(f->store), 1);
    command_free(c);
    store_close(f->store);
    f->store = test_open(&f->dir);
    assert_int_equal(store_position(f->store), 1);
    test_verify_clean(f->store, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_commit_expectations),
        TEST(test_store_commit_lists_all_violations),
        TEST(test_store_commit_same_stream_several_times),
        TEST(test_store_commit_group_races_for_a_revision),
        TEST(test_store_commit_many_streams),
        TEST(test_store_commit_retries),
        TEST(test_store_commit_retry_in_another_order),
        TEST(test_store_commit_id_twice_in_a_command),
        TEST(test_store_commit_partial_over_streams),
        TEST(test_store_commit_retry_in_a_group),
        TEST(test_store_commit_fingerprint_collision),
        TEST(test_store_commit_times_are_monotone),
        TEST(test_store_commit_tail_full),
        TEST(test_store_commit_group_larger_than_a_segment),
        TEST(test_store_commit_command_larger_than_a_segment),
        TEST(test_store_commit_disk_full),
        TEST(test_store_commit_write_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
