/* Tests of storage/tail.c: generations, snapshots, lists. */
#include "storage/tail.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define TAIL_BYTES 20000

/* Adds one "record" of n bytes with its position in the list of `stream`. */
static void add(struct tail *t, uint64_t position, const char *stream, size_t n)
{
    uint8_t *p = tail_reserve(t, n);
    assert_non_null(p);
    memset(p, (int)(position & 0xff), n);
    tail_add(t, p, n);
    tail_lock(t);
    struct tail_list *list = tail_list_get(t, NAME_STREAM, bytes_of_string(stream), 0);
    assert_non_null(list);
    assert_int_equal(tail_list_add(t, list, position, (uint16_t)position), ERR_OK);
    tail_unlock(t);
}

static err_t add_group(struct tail *t, uint64_t first, uint64_t last, const char *stream)
{
    err_t err = tail_open_group(t, last - first + 1, (last - first + 1) * 100);
    if (err != ERR_OK) {
        return err;
    }
    for (uint64_t p = first; p <= last; p++) {
        add(t, p, stream, 100);
    }
    tail_close_group(t, last);
    return ERR_OK;
}

/* What is not committed yet is in no snapshot. */
static void test_tail_snapshot_take_sees_committed_only(void **state)
{
    (void)state;
    struct tail t;
    struct tail_snapshot before, after;
    struct tail_span spans[TAIL_GENERATIONS_MAX];
    assert_int_equal(tail_init(&t, 11, TAIL_BYTES), ERR_OK);
    assert_int_equal(add_group(&t, 11, 12, "a"), ERR_OK);
    assert_int_equal(tail_open_group(&t, 2, 200), ERR_OK);
    add(&t, 13, "a", 100);
    add(&t, 14, "b", 100);
    tail_snapshot_take(&t, &before);
    assert_int_equal(before.position, 12);
    assert_int_equal(before.first, 11);
    assert_int_equal(tail_find(&before, NAME_STREAM, BYTES_LITERAL("a"), spans), 1);
    assert_int_equal(spans[0].n, 2);
    assert_int_equal(spans[0].prints[1], 12);
    assert_int_equal(tail_find(&before, NAME_STREAM, BYTES_LITERAL("b"), spans), 0);
    tail_close_group(&t, 14);
    tail_snapshot_take(&t, &after);
    assert_int_equal(after.position, 14);
    assert_int_equal(tail_find(&after, NAME_STREAM, BYTES_LITERAL("b"), spans), 1);
    assert_int_equal(tail_find(&before, NAME_STREAM, BYTES_LITERAL("b"), spans), 0);
    assert_int_equal(tail_find(&after, NAME_TYPE, BYTES_LITERAL("b"), spans), 0);
    assert_int_equal(tail_record(&after, 14)[99], 14);
    tail_snapshot_done(&before);
    tail_snapshot_done(&after);
    tail_done(&t);
}

/* Records and lists of a snapshot stay in place while the tail grows, freezes and is dropped. */
static void test_tail_snapshot_outlives_generations(void **state)
{
    (void)state;
    struct tail t;
    struct tail_snapshot s;
    struct tail_span spans[TAIL_GENERATIONS_MAX];
    assert_int_equal(tail_init(&t, 1, (size_t)1 << 20), ERR_OK);
    assert_int_equal(add_group(&t, 1, 10, "a"), ERR_OK);
    tail_snapshot_take(&t, &s);
    assert_int_equal(tail_find(&s, NAME_STREAM, BYTES_LITERAL("a"), spans), 1);
    assert_int_equal(add_group(&t, 11, 500, "a"), ERR_OK);
    assert_non_null(tail_oldest_frozen(&t, true));
    tail_drop_oldest(&t);
    for (uint64_t p = 1; p <= 10; p++) {
        assert_int_equal(spans[0].positions[p - 1], p);
        assert_int_equal(tail_record(&s, p)[0], p);
    }
    assert_int_equal(tail_find(&s, NAME_STREAM, BYTES_LITERAL("a"), spans), 1);
    assert_int_equal(spans[0].n, 10);
    tail_snapshot_done(&s);
    tail_snapshot_take(&t, &s);
    assert_int_equal(s.first, 501);
    assert_int_equal(s.position, 500);
    tail_snapshot_done(&s);
    tail_done(&t);
}

/* A tail that has its bytes takes no group until the oldest generation is dropped. */
static void test_tail_open_group_full(void **state)
{
    (void)state;
    struct tail t;
    err_t err;
    uint64_t p = 1;
    assert_int_equal(tail_init(&t, 1, TAIL_BYTES), ERR_OK);
    while ((err = add_group(&t, p, p, "a")) == ERR_OK) {
        assert_true(p++ < 1000);
    }
    assert_int_equal(err, ERR_FULL);
    assert_true(tail_bytes(&t) >= TAIL_BYTES);
    assert_true(tail_is_ripe(&t));
    assert_true(t.count > 1);
    tail_drop_oldest(&t);
    assert_int_equal(add_group(&t, p, p, "a"), ERR_OK);
    tail_done(&t);
}

/* Many generations hold one name; its spans come oldest first and continue each other. */
static void test_tail_find_over_generations(void **state)
{
    (void)state;
    struct tail t;
    struct tail_snapshot s;
    struct tail_span spans[TAIL_GENERATIONS_MAX];
    uint64_t p = 1;
    assert_int_equal(tail_init(&t, 1, (size_t)1 << 24), ERR_OK);
    for (int i = 0; i < TAIL_GENERATIONS_MAX; i++, p += 3) {
        assert_int_equal(add_group(&t, p, p + 2, "a"), ERR_OK);
        (void)tail_oldest_frozen(&t, i == 0);
        t.freeze_wanted = true;
    }
    assert_int_equal(t.count, TAIL_GENERATIONS_MAX);
    assert_int_equal(add_group(&t, p, p, "a"), ERR_FULL);
    tail_snapshot_take(&t, &s);
    size_t n = tail_find(&s, NAME_STREAM, BYTES_LITERAL("a"), spans);
    uint64_t expected = 1;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < spans[i].n; k++) {
            assert_int_equal(spans[i].positions[k], expected++);
        }
    }
    assert_int_equal(expected, p);
    tail_snapshot_done(&s);
    tail_done(&t);
}

/* An open group keeps the active generation from being frozen; the wish is granted after it. */
static void test_tail_oldest_frozen_open_group(void **state)
{
    (void)state;
    struct tail t;
    assert_int_equal(tail_init(&t, 1, TAIL_BYTES), ERR_OK);
    assert_null(tail_oldest_frozen(&t, true)); /* empty */
    assert_int_equal(add_group(&t, 1, 1, "a"), ERR_OK);
    assert_null(tail_oldest_frozen(&t, false));
    assert_int_equal(tail_open_group(&t, 1, 100), ERR_OK);
    assert_null(tail_oldest_frozen(&t, true));
    add(&t, 2, "a", 100);
    tail_close_group(&t, 2);
    assert_int_equal(add_group(&t, 3, 3, "a"), ERR_OK);
    struct tail_generation *g = tail_oldest_frozen(&t, false);
    assert_non_null(g);
    assert_int_equal(g->n, 2);
    tail_done(&t);
}

/* A record larger than a chunk has one of its own, and its neighbours are whole. */
static void test_tail_reserve_large(void **state)
{
    (void)state;
    struct tail t;
    struct tail_snapshot s;
    assert_int_equal(tail_init(&t, 1, (size_t)64 << 20), ERR_OK);
    assert_int_equal(tail_open_group(&t, 3, (size_t)6 << 20), ERR_OK);
    add(&t, 1, "a", 10);
    add(&t, 2, "a", (size_t)5 << 20);
    add(&t, 3, "a", 10);
    tail_close_group(&t, 3);
    tail_snapshot_take(&t, &s);
    assert_int_equal(tail_record(&s, 1)[9], 1);
    assert_int_equal(tail_record(&s, 2)[((size_t)5 << 20) - 1], 2);
    assert_int_equal(tail_record(&s, 3)[0], 3);
    tail_snapshot_done(&s);
    tail_done(&t);
}

static void count_name(void *ctx, struct bytes name)
{
    *(size_t *)ctx += name.n;
}

/* Every name of a kind is walked once per generation. */
static void test_tail_each_name(void **state)
{
    (void)state;
    struct tail t;
    struct tail_snapshot s;
    size_t letters = 0;
    assert_int_equal(tail_init(&t, 1, TAIL_BYTES), ERR_OK);
    assert_int_equal(add_group(&t, 1, 1, "aa"), ERR_OK);
    assert_int_equal(add_group(&t, 2, 2, "bbb"), ERR_OK);
    assert_non_null(tail_oldest_frozen(&t, true));
    assert_int_equal(add_group(&t, 3, 3, "aa"), ERR_OK);
    tail_snapshot_take(&t, &s);
    tail_each_name(&s, NAME_STREAM, count_name, &letters);
    assert_int_equal(letters, 7);
    tail_each_name(&s, NAME_TAG, count_name, &letters);
    assert_int_equal(letters, 7);
    tail_snapshot_done(&s);
    tail_done(&t);
}

/* No memory for a generation: nothing changes, later it works. */
static void test_tail_init_no_memory(void **state)
{
    (void)state;
    struct tail t;
    fault_arm(FAULT_TAIL_ALLOCATE, 1, false);
    assert_int_equal(tail_init(&t, 1, TAIL_BYTES), ERR_MEMORY);
    assert_int_equal(tail_init(&t, 1, TAIL_BYTES), ERR_OK);
    assert_int_equal(add_group(&t, 1, 1, "a"), ERR_OK);
    fault_arm(FAULT_TAIL_ALLOCATE, 1, false);
    assert_null(tail_oldest_frozen(&t, true));
    assert_int_equal(add_group(&t, 2, 2, "a"), ERR_OK);
    assert_non_null(tail_oldest_frozen(&t, false));
    tail_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail_snapshot_take_sees_committed_only),
        cmocka_unit_test(test_tail_snapshot_outlives_generations),
        cmocka_unit_test(test_tail_open_group_full),
        cmocka_unit_test(test_tail_find_over_generations),
        cmocka_unit_test(test_tail_oldest_frozen_open_group),
        cmocka_unit_test(test_tail_reserve_large),
        cmocka_unit_test(test_tail_each_name),
        cmocka_unit_test(test_tail_init_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
