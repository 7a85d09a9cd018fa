/* Tests of storage/store.c: opening, identity, locks, facts, closing. */
#include "storage/store_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/support.h"

#include <cmocka.h>

/* Opens and expects an error whose text has these words. */
static void expect_refusal(const struct store_options *options, err_t wanted, const char *words)
{
    struct store *s = NULL;
    struct err_text et = {0};
    assert_int_equal(store_open(options, &s, &et), wanted);
    assert_null(s);
    if (strstr(et.text, words) == NULL) {
        fail_msg("'%s' does not say '%s'", et.text, words);
    }
}

static void put_meta(const struct test_dir *dir, const char *name, uint64_t value)
{
    char path[TEST_PATH_MAX];
    struct kv *kv;
    struct kv_txn *txn;
    assert_int_equal(kv_open(test_path(dir, "store", path), (uint64_t)1 << 28, false, &kv, NULL),
                     ERR_OK);
    assert_int_equal(kv_begin(kv, true, &txn), ERR_OK);
    assert_int_equal(meta_put(txn, name, value), ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
    kv_close(kv);
}

/* A directory in use is refused, and free again after close. */
static void test_store_open_busy(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    struct store *s = test_open(&dir);
    expect_refusal(&options, ERR_BUSY, "in use by another process");
    store_close(s);
    s = test_open(&dir);
    store_close(s);
    test_dir_remove(&dir);
}

/* Another format version is refused with both numbers, and nothing is changed. */
static void test_store_open_other_format(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    struct store *s = test_open(&dir);
    test_put(s, "a", "T", "1");
    store_close(s);
    put_meta(&dir, META_FORMAT, STORE_FORMAT_VERSION + 1);
    expect_refusal(&options, ERR_FORMAT, "has format version 3");
    put_meta(&dir, META_FORMAT, STORE_FORMAT_VERSION - 1);
    expect_refusal(&options, ERR_FORMAT, "has format version 1");
    put_meta(&dir, META_FORMAT, STORE_FORMAT_VERSION);
    s = test_open(&dir);
    test_expect_event(s, 1, "a", 1, "1");
    store_close(s);
    test_dir_remove(&dir);
}

/* An index that claims more than the log has is damage. */
static void test_store_open_index_ahead_of_log(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    struct store *s = test_open(&dir);
    test_put(s, "a", "T", "1");
    store_close(s);
    put_meta(&dir, META_INDEX_POSITION, 2);
    expect_refusal(&options, ERR_CORRUPT, "the log ends at 1");
    test_dir_remove(&dir);
}

/* Bad options and missing places are refused with words. */
static void test_store_open_refuses(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    options.segment_bytes = 4096;
    expect_refusal(&options, ERR_INVALID, "at least 65536 bytes");
    options.segment_bytes = 70000;
    expect_refusal(&options, ERR_INVALID, "multiple of 4096");
    options = test_options(&dir);
    options.dir = "/nonexistent/daybook";
    expect_refusal(&options, ERR_NOT_FOUND, "/nonexistent/daybook");
    options = test_options(&dir);
    options.read_only = true;
    struct store *s = NULL;
    assert_int_not_equal(store_open(&options, &s, NULL), ERR_OK);
    test_dir_remove(&dir);
}

/* The store's id is made once and kept. */
static void test_store_id_is_kept(void **state)
{
    (void)state;
    struct test_dir dir;
    uint8_t id[UUID_BYTES];
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    struct store *s = test_open(&dir);
    store_close(s);
    memset(options.new_store_id, 7, UUID_BYTES);
    s = test_open_with(&options);
    store_id(s, id);
    assert_memory_equal(id, "daybook-tests-id", UUID_BYTES);
    store_close(s);
    test_dir_remove(&dir);
}

/* The journal of one store is not taken for another's. */
static void test_store_open_journal_of_another_store(void **state)
{
    (void)state;
    struct test_dir dir;
    char path[TEST_PATH_MAX];
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    store_close(test_open(&dir));
    assert_int_equal(unlink(test_path(&dir, "store/data.mdb", path)), 0);
    assert_int_equal(unlink(test_path(&dir, "store/lock.mdb", path)), 0);
    memset(options.new_store_id, 7, UUID_BYTES);
    expect_refusal(&options, ERR_CORRUPT, "belongs to another store");
    test_dir_remove(&dir);
}

/* Times go on after a restart, whatever the clock says. */
static void test_store_open_keeps_time(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    for (int i = 0; i < 3; i++) {
        struct store *s = test_open(&dir);
        struct command *c = test_one("a", TEST_ANY, 0, "T", "1");
        test_commit_group(s, &c, 1, TEST_TIME_US - i * 1000);
        command_free(c);
        struct store_view *v;
        struct store_record record;
        struct event event;
        assert_int_equal(store_view_open(s, &v), ERR_OK);
        assert_int_equal(store_get_event(v, (uint64_t)i + 1, &record), ERR_OK);
        assert_int_equal(store_record_decode(&record, &event), ERR_OK);
        assert_int_equal(event.time_us, TEST_TIME_US);
        store_view_close(v);
        store_close(s);
    }
    test_dir_remove(&dir);
}

/* A clean close leaves nothing in the journal to do: all is applied. */
static void test_store_close_applies_all(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_fill(s, 100, 5);
    (void)tail_oldest_frozen(&s->tail, true);
    test_put(s, "a", "T", "1");
    assert_true(s->tail.count > 1);
    store_close(s);
    s = test_open(&dir);
    assert_int_equal(store_applied_position(s), 101);
    assert_int_equal(store_position(s), 101);
    store_close(s);
    store_close(NULL);
    test_dir_remove(&dir);
}

/* The numbers of the statistics are right in the tail, applied, and after a restart. */
static void test_store_get_stats_counts(void **state)
{
    (void)state;
    struct test_dir dir;
    struct store_stats stats;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_fill(s, 60, 7);
    assert_int_equal(store_get_stats(s, &stats), ERR_OK);
    assert_int_equal(stats.position, 60);
    assert_int_equal(stats.applied_position, 0);
    assert_int_equal(stats.streams, 7);
    assert_true(stats.tail_bytes > 60 * 40);
    assert_true(stats.data_bytes >= 2 * ((uint64_t)64 << 10));
    assert_false(stats.disk_full);
    test_apply_all(s);
    test_fill(s, 10, 10); /* three new streams */
    store_close(s);
    s = test_open(&dir);
    assert_int_equal(store_get_stats(s, &stats), ERR_OK);
    assert_int_equal(stats.position, 70);
    assert_int_equal(stats.applied_position, 70);
    assert_int_equal(stats.streams, 10);
    store_close(s);
    test_dir_remove(&dir);
}

/* Too little free space refuses writes with a verdict and leaves reads alone. */
static void test_store_prepare_disk_full(void **state)
{
    (void)state;
    struct test_dir dir;
    struct store_stats stats;
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    struct store *s = test_open(&dir);
    test_put(s, "a", "T", "1");
    store_close(s);
    options.disk_free_min_bytes = (uint64_t)1 << 60;
    s = test_open_with(&options);
    struct command *c = test_one("a", TEST_ANY, 0, "T", "2");
    assert_int_equal(test_commit(s, c), VERDICT_FAILED);
    assert_int_equal(command_error(c), ERR_DISK_FULL);
    command_free(c);
    assert_int_equal(store_get_stats(s, &stats), ERR_OK);
    assert_true(stats.disk_full);
    test_expect_event(s, 1, "a", 1, "1");
    assert_int_equal(store_prepare(s), ERR_DISK_FULL);
    s->options.disk_free_min_bytes = 1;
    assert_int_equal(store_prepare(s), ERR_OK);
    assert_int_equal(test_put(s, "a", "T", "2"), 2);
    store_close(s);
    test_dir_remove(&dir);
}

/* Read only: the journal is replayed into memory, all is readable and verifiable, the files stay as
 * they are. */
static void test_store_open_read_only(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    char path[TEST_PATH_MAX];
    size_t n, again;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_fill(s, 900, 5);
    test_dir_crash(&dir, &copy);
    store_close(s);
    uint8_t *before = test_file_read(test_path(&copy, "store/data.mdb", path), &n);
    struct store_options options = test_options(&copy);
    options.read_only = true;
    s = test_open_with(&options);
    assert_int_equal(store_position(s), 900);
    test_verify_clean(s, 900);
    store_close(s);
    uint8_t *after = test_file_read(path, &again);
    assert_int_equal(n, again);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
    s = test_open(&copy);
    assert_int_equal(store_position(s), 900);
    store_close(s);
    test_dir_remove(&copy);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_open_busy),
        cmocka_unit_test(test_store_open_other_format),
        cmocka_unit_test(test_store_open_index_ahead_of_log),
        cmocka_unit_test(test_store_open_refuses),
        cmocka_unit_test(test_store_id_is_kept),
        cmocka_unit_test(test_store_open_journal_of_another_store),
        cmocka_unit_test(test_store_open_keeps_time),
        cmocka_unit_test(test_store_close_applies_all),
        cmocka_unit_test(test_store_get_stats_counts),
        cmocka_unit_test(test_store_prepare_disk_full),
        cmocka_unit_test(test_store_open_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
