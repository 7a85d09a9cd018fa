/* Tests of store_reindex: what is derived comes out the same, and an interruption is made good. */
#include "storage/store_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/buf.h"
#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS 900

/* All rows of a table, one after the other. */
static void dump_table(struct store *s, enum kv_table table, struct buf *ret)
{
    struct kv_txn *txn;
    struct kv_cursor *cursor;
    struct kv_row row;
    assert_int_equal(kv_begin(s->kv, false, &txn), ERR_OK);
    assert_int_equal(kv_cursor_open(txn, table, &cursor), ERR_OK);
    for (err_t err = kv_first(cursor, &row); err == ERR_OK; err = kv_next(cursor, &row)) {
        buf_put_varint(ret, row.key.n);
        buf_put(ret, row.key);
        buf_put_varint(ret, row.value.n);
        buf_put(ret, row.value);
    }
    kv_cursor_close(cursor);
    kv_abort(txn);
}

static void dump(struct store *s, struct buf *ret)
{
    buf_init(ret, (size_t)64 << 20);
    dump_table(s, KV_META, ret);
    dump_table(s, KV_NAMES, ret);
    dump_table(s, KV_POSTINGS, ret);
    assert_int_equal(buf_status(ret), ERR_OK);
}

static struct store *make_store(struct test_dir *dir)
{
    test_dir_make(dir);
    struct store *s = test_open(dir);
    test_fill(s, EVENTS, 13);
    struct command *c = test_command();
    test_add_append(c, "-no-category", TEST_ANY);
    test_add_tagged(c, 0, "T", "n1 n2 n3 n2");
    assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
    command_free(c);
    return s;
}

/* Names, postings and counters are byte for byte what they were. */
static void test_store_reindex_gives_the_same_rows(void **state)
{
    (void)state;
    struct test_dir dir;
    struct buf before, after;
    struct store *s = make_store(&dir);
    test_apply_all(s);
    dump(s, &before);
    assert_int_equal(store_reindex(s, NULL, NULL), ERR_OK);
    dump(s, &after);
    assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
    test_verify_clean(s, EVENTS + 1);
    assert_int_equal(test_put(s, "s-1", "T", "1"), EVENTS + 2);
    store_close(s);
    buf_done(&before);
    buf_done(&after);
    test_dir_remove(&dir);
}

/* What is still in the tail, in one generation or several, is not lost. */
static void test_store_reindex_with_a_tail(void **state)
{
    (void)state;
    struct test_dir dir;
    struct store *s = make_store(&dir);
    (void)tail_oldest_frozen(&s->tail, true);
    test_put(s, "a", "T", "1");
    test_put(s, "a", "T", "2");
    assert_true(s->tail.count > 1);
    assert_int_equal(store_reindex(s, NULL, NULL), ERR_OK);
    assert_int_equal(store_position(s), EVENTS + 3);
    test_verify_clean(s, EVENTS + 3);
    assert_int_equal(test_put(s, "a", "T", "3"), EVENTS + 4);
    store_close(s);
    test_dir_remove(&dir);
}

/* An empty store can be reindexed too. */
static void test_store_reindex_empty(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    assert_int_equal(store_reindex(s, NULL, NULL), ERR_OK);
    assert_int_equal(test_put(s, "a", "T", "1"), 1);
    test_verify_clean(s, 1);
    store_close(s);
    test_dir_remove(&dir);
}

/* Interrupted at any of its transactions, it goes on at the next open and ends with the same
 * rows. */
static void test_store_reindex_interrupted(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    struct buf before, after;
    struct store *s = make_store(&dir);
    test_apply_all(s);
    dump(s, &before);
    store_close(s);
    err_t err = ERR_IO;
    for (long n = 1; err != ERR_OK; n++) {
        test_dir_crash(&dir, &copy);
        s = test_open(&copy);
        fault_arm(FAULT_KV_COMMIT, n, true);
        err = store_reindex(s, NULL, NULL);
        store_close(s);
        fault_arm(FAULT_KV_COMMIT, 0, false);
        s = test_open(&copy);
        assert_int_equal(store_position(s), EVENTS + 1);
        test_verify_clean(s, EVENTS + 1);
        test_apply_all(s);
        dump(s, &after);
        assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
        buf_done(&after);
        store_close(s);
        test_dir_remove(&copy);
    }
    buf_done(&before);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_reindex_gives_the_same_rows),
        cmocka_unit_test(test_store_reindex_with_a_tail),
        cmocka_unit_test(test_store_reindex_empty),
        cmocka_unit_test(test_store_reindex_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
