/* Tests of storage/kv_lmdb.c: tables, transactions, cursors, faults. */
#include "storage/kv.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

struct fixture {
    struct test_dir dir;
    struct kv *kv;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    assert_int_equal(kv_open(f.dir.path, (uint64_t)1 << 26, false, &f.kv, NULL), ERR_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    kv_close(f->kv);
    test_dir_remove(&f->dir);
    return 0;
}

static struct kv_txn *begin(struct fixture *f, bool write)
{
    struct kv_txn *txn;
    assert_int_equal(kv_begin(f->kv, write, &txn), ERR_OK);
    return txn;
}

static void put(struct fixture *f, const char *key, const char *value)
{
    struct kv_txn *txn = begin(f, true);
    assert_int_equal(kv_put(txn, KV_NAMES, bytes_of_string(key), bytes_of_string(value)), ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
}

static void expect(struct kv_txn *txn, const char *key, const char *wanted)
{
    struct bytes value;
    err_t err = kv_get(txn, KV_NAMES, bytes_of_string(key), &value);
    assert_int_equal(err, wanted == NULL ? ERR_NOT_FOUND : ERR_OK);
    assert_true(wanted == NULL || bytes_equal(value, bytes_of_string(wanted)));
}

/* What is committed is there after reopening, what is aborted is not; tables are apart. */
static void test_kv_put_and_get(void **state)
{
    struct fixture *f = *state;
    struct bytes value;
    put(f, "a", "1");
    put(f, "a", "2");
    struct kv_txn *txn = begin(f, true);
    assert_int_equal(kv_put(txn, KV_NAMES, BYTES_LITERAL("b"), BYTES_LITERAL("3")), ERR_OK);
    expect(txn, "b", "3");
    kv_abort(txn);
    kv_close(f->kv);
    assert_int_equal(kv_open(f->dir.path, (uint64_t)1 << 26, false, &f->kv, NULL), ERR_OK);
    txn = begin(f, false);
    expect(txn, "a", "2");
    expect(txn, "b", NULL);
    assert_int_equal(kv_get(txn, KV_META, BYTES_LITERAL("a"), &value), ERR_NOT_FOUND);
    kv_abort(txn);
    kv_abort(NULL);
}

/* A read transaction sees its snapshot until it is renewed. */
static void test_kv_renew_snapshot(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    struct kv_txn *txn = begin(f, false);
    put(f, "a", "2");
    expect(txn, "a", "1");
    kv_reset(txn);
    assert_int_equal(kv_renew(txn), ERR_OK);
    expect(txn, "a", "2");
    kv_abort(txn);
}

static void expect_row(err_t err, const struct kv_row *row, const char *key)
{
    assert_int_equal(err, key == NULL ? ERR_END : ERR_OK);
    assert_true(key == NULL || bytes_equal(row->key, bytes_of_string(key)));
}

/* Cursors move in byte order and seek to the neighbour on the side that was asked for. */
static void test_kv_cursor_moves(void **state)
{
    struct fixture *f = *state;
    struct kv_cursor *c;
    struct kv_row row = {0};
    struct kv_txn *txn = begin(f, false);
    assert_int_equal(kv_cursor_open(txn, KV_NAMES, &c), ERR_OK);
    expect_row(kv_first(c, &row), &row, NULL);
    expect_row(kv_last(c, &row), &row, NULL);
    expect_row(kv_seek_back(c, BYTES_LITERAL("x"), &row), &row, NULL);
    kv_cursor_close(c);
    kv_abort(txn);
    put(f, "b", "1"), put(f, "d", "1"), put(f, "d\xff", "1");
    txn = begin(f, false);
    assert_int_equal(kv_cursor_open(txn, KV_NAMES, &c), ERR_OK);
    expect_row(kv_first(c, &row), &row, "b");
    expect_row(kv_next(c, &row), &row, "d");
    expect_row(kv_prev(c, &row), &row, "b");
    expect_row(kv_prev(c, &row), &row, NULL);
    expect_row(kv_last(c, &row), &row, "d\xff");
    expect_row(kv_next(c, &row), &row, NULL);
    expect_row(kv_seek(c, BYTES_LITERAL("c"), &row), &row, "d");
    expect_row(kv_seek(c, BYTES_LITERAL("e"), &row), &row, NULL);
    expect_row(kv_seek_back(c, BYTES_LITERAL("c"), &row), &row, "b");
    expect_row(kv_seek_back(c, BYTES_LITERAL("d"), &row), &row, "d");
    expect_row(kv_seek_back(c, BYTES_LITERAL("z"), &row), &row, "d\xff");
    expect_row(kv_seek_back(c, BYTES_LITERAL("a"), &row), &row, NULL);
    kv_cursor_close(c);
    kv_cursor_close(NULL);
    kv_abort(txn);
}

/* Appended rows must come in order; a table can be emptied. */
static void test_kv_append_and_clear(void **state)
{
    struct fixture *f = *state;
    uint8_t *p;
    struct kv_txn *txn = begin(f, true);
    assert_int_equal(kv_append(txn, KV_NAMES, BYTES_LITERAL("b"), 20000, &p), ERR_OK);
    memset(p, 'x', 20000);
    assert_int_equal(kv_append(txn, KV_NAMES, BYTES_LITERAL("a"), 1, &p), ERR_CORRUPT);
    assert_int_equal(kv_append(txn, KV_NAMES, BYTES_LITERAL("c"), 1, &p), ERR_OK);
    *p = 'y';
    assert_int_equal(kv_commit(txn), ERR_OK);
    txn = begin(f, true);
    expect(txn, "c", "y");
    assert_int_equal(kv_clear(txn, KV_NAMES), ERR_OK);
    expect(txn, "b", NULL);
    assert_int_equal(kv_commit(txn), ERR_OK);
    assert_true(kv_data_bytes(f->kv) >= 4096);
}

/* Faults fail as the real thing would, and change nothing. */
static void test_kv_commit_faults(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    struct kv_txn *txn = begin(f, true);
    fault_arm(FAULT_KV_PUT, 1, false);
    assert_int_equal(kv_put(txn, KV_NAMES, BYTES_LITERAL("a"), BYTES_NONE), ERR_DISK_FULL);
    assert_int_equal(kv_put(txn, KV_NAMES, BYTES_LITERAL("a"), BYTES_LITERAL("2")), ERR_OK);
    fault_arm(FAULT_KV_COMMIT, 1, false);
    assert_int_equal(kv_commit(txn), ERR_IO);
    txn = begin(f, false);
    expect(txn, "a", "1");
    kv_abort(txn);
}

/* A full map is a full disk, and the environment goes on with what it has. */
static void test_kv_put_map_full(void **state)
{
    (void)state;
    struct fixture f;
    static uint8_t value[4000];
    err_t err = ERR_OK;
    test_dir_make(&f.dir);
    assert_int_equal(kv_open(f.dir.path, 256 << 10, false, &f.kv, NULL), ERR_OK);
    put(&f, "a", "1");
    struct kv_txn *txn = begin(&f, true);
    for (uint8_t i = 0; i < 255 && err == ERR_OK; i++) {
        err = kv_put(txn, KV_LOG, bytes_of(&i, 1), bytes_of(value, sizeof value));
    }
    assert_int_equal(err, ERR_DISK_FULL);
    kv_abort(txn);
    txn = begin(&f, false);
    expect(txn, "a", "1");
    kv_abort(txn);
    put(&f, "a", "2");
    kv_close(f.kv);
    test_dir_remove(&f.dir);
}

/* A missing directory and a file that is no environment are errors with words. */
static void test_kv_open_errors(void **state)
{
    struct fixture *f = *state;
    struct kv *kv;
    struct err_text et = {0};
    struct test_dir dir;
    char path[TEST_PATH_MAX];
    (void)f;
    assert_int_equal(kv_open("/nonexistent", 1 << 20, false, &kv, &et), ERR_NOT_FOUND);
    assert_non_null(strstr(et.text, "/nonexistent"));
    test_dir_make(&dir);
    static uint8_t garbage[8192];
    memset(garbage, 0x5a, sizeof garbage);
    test_file_write(test_path(&dir, "data.mdb", path), garbage, sizeof garbage);
    assert_int_equal(kv_open(dir.path, 1 << 20, false, &kv, &et), ERR_CORRUPT);
    test_dir_remove(&dir);
}

/* Where the address space has no room for the map that is asked for, a smaller one does. In a
 * child, because the limit is its process's for good; a sanitizer's own mappings are over any such
 * limit. */
static void test_kv_open_limited_address_space(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    skip();
#else
    struct fixture *f = *state;
    struct test_dir dir;
    (void)f;
    test_dir_make(&dir);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {(rlim_t)64 << 30, (rlim_t)64 << 30};
        struct kv *kv;
        bool ok = setrlimit(RLIMIT_AS, &limit) == 0 &&
                  kv_open(dir.path, (uint64_t)1 << 40, false, &kv, NULL) == ERR_OK;
        if (ok) {
            kv_close(kv);
        }
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    test_dir_remove(&dir);
#endif
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_kv_put_and_get),
        TEST(test_kv_renew_snapshot),
        TEST(test_kv_cursor_moves),
        TEST(test_kv_append_and_clear),
        TEST(test_kv_commit_faults),
        TEST(test_kv_open_errors),
        TEST(test_kv_open_limited_address_space),
        cmocka_unit_test(test_kv_put_map_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
