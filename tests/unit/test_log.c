/* Tests of storage/log.c: blocks of records, found by position. */
#include "storage/log.h"

#include <stdlib.h>
#include <string.h>

#include "storage/record.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define RECORDS 3000

struct fixture {
    struct test_dir dir;
    struct kv *kv;
    const uint8_t *records[RECORDS];
};

/* A record whose body says its position; sizes from a few bytes to several blocks. */
static uint8_t *make_record(uint64_t position, uint64_t *random)
{
    uint64_t most = position % 500 == 0 ? 70000 : position % 50 == 0 ? 9000 : 300;
    size_t n = 8 + test_below(random, most);
    uint8_t *p = calloc(1, RECORD_HEADER_BYTES + n);
    assert_non_null(p);
    bytes_put_u32le(p + 4, (uint32_t)n);
    bytes_put_u64le(p + RECORD_HEADER_BYTES, position);
    return p;
}

static int set_up(void **state)
{
    static struct fixture f;
    uint64_t random = test_seed();
    test_dir_make(&f.dir);
    assert_int_equal(kv_open(f.dir.path, (uint64_t)1 << 28, false, &f.kv, NULL), ERR_OK);
    for (uint64_t i = 0; i < RECORDS; i++) {
        f.records[i] = make_record(i + 1, &random);
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < RECORDS; i++) {
        free((void *)(uintptr_t)f->records[i]);
    }
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

/* Appends the first n records, a few blocks in each transaction. */
static void append_all(struct fixture *f, uint32_t n)
{
    uint32_t taken;
    size_t bytes;
    for (uint32_t at = 0; at < n;) {
        struct kv_txn *txn = begin(f, true);
        for (int blocks = 0; blocks < 3 && at < n; blocks++, at += taken) {
            err_t err = log_append(txn, at + 1, f->records + at, n - at, &taken, &bytes);
            assert_int_equal(err, ERR_OK);
            assert_true(taken >= 1 && taken <= LOG_BLOCK_RECORDS_MAX);
            assert_true(bytes <= LOG_BLOCK_BYTES || taken == 1);
        }
        assert_int_equal(kv_commit(txn), ERR_OK);
    }
}

static void expect_record(struct log_cursor *c, struct kv_txn *txn, uint64_t position)
{
    struct bytes at;
    assert_int_equal(log_find(c, txn, position, &at), ERR_OK);
    assert_true(at.n >= RECORD_HEADER_BYTES + 8);
    assert_int_equal(bytes_get_u64le(at.p + RECORD_HEADER_BYTES), position);
}

/* Every record is found: in order both ways, at random, by a fresh cursor. */
static void test_log_find_everywhere(void **state)
{
    struct fixture *f = *state;
    struct log_cursor c = {0};
    struct bytes at;
    uint64_t random = 1;
    append_all(f, RECORDS);
    struct kv_txn *txn = begin(f, false);
    for (uint64_t p = 1; p <= RECORDS; p++) {
        expect_record(&c, txn, p);
    }
    assert_int_equal(log_find(&c, txn, RECORDS + 1, &at), ERR_NOT_FOUND);
    for (uint64_t p = RECORDS; p > 0; p--) {
        expect_record(&c, txn, p);
    }
    assert_int_equal(log_find(&c, txn, 0, &at), ERR_NOT_FOUND);
    for (int i = 0; i < 2000; i++) {
        expect_record(&c, txn, 1 + test_below(&random, RECORDS));
    }
    log_cursor_reset(&c);
    expect_record(&c, txn, 7);
    log_cursor_done(&c);
    kv_abort(txn);
}

/* The log says itself how far it goes. */
static void test_log_last_position(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 99;
    struct kv_txn *txn = begin(f, false);
    assert_int_equal(log_last(txn, &last), ERR_OK);
    assert_int_equal(last, 0);
    kv_abort(txn);
    append_all(f, 777);
    txn = begin(f, false);
    assert_int_equal(log_last(txn, &last), ERR_OK);
    assert_int_equal(last, 777);
    kv_abort(txn);
}

/* Blocks that are none are damage, whatever is asked of them. */
static void test_log_find_damaged_block(void **state)
{
    struct fixture *f = *state;
    static const uint8_t BAD[][8] = {{0},          {0, 0},       {1, 0},
                                     {9, 0, 4, 0}, {1, 0, 2, 0}, {1, 0, 99, 0}};
    static const size_t SIZES[] = {1, 2, 3, 4, 8, 8};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        uint8_t key[8];
        struct log_cursor c = {0};
        struct bytes at;
        uint64_t last;
        bytes_put_u64be(key, 1);
        struct kv_txn *txn = begin(f, true);
        assert_int_equal(kv_put(txn, KV_LOG, bytes_of(key, 8), bytes_of(BAD[i], SIZES[i])), ERR_OK);
        assert_int_equal(log_find(&c, txn, 1, &at), ERR_CORRUPT);
        assert_true(i >= 4 || log_last(txn, &last) == ERR_CORRUPT);
        log_cursor_done(&c);
        kv_abort(txn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_find_everywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_last_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_find_damaged_block, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
