/* Tests of storage/kv_scrub.c: what was replaced or deleted is in the file no more, and nothing
 * that anybody can see is touched. */
#include "storage/kv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define ROW_BYTES ((size_t)64 << 10)

struct fixture {
    struct test_dir dir;
    struct kv *kv;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    assert_int_equal(kv_open(f.dir.path, (uint64_t)1 << 30, false, &f.kv, NULL), ERR_OK);
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

static struct bytes key_of(uint64_t i, uint8_t key[8])
{
    bytes_put_u64be(key, i);
    return bytes_of(key, 8);
}

/* Rows [first, last] full of `text`, in one transaction; returns its number. */
static uint64_t put_rows(struct fixture *f, uint64_t first, uint64_t last, const char *text)
{
    struct kv_txn *txn;
    uint8_t key[8], *p;
    assert_int_equal(kv_begin(f->kv, true, &txn), ERR_OK);
    assert_true(ROW_BYTES > kv_value_bytes_alone(txn));
    for (uint64_t i = first; i <= last; i++) {
        assert_int_equal(kv_reserve(txn, KV_LOG, key_of(i, key), ROW_BYTES, &p), ERR_OK);
        for (size_t at = 0; at < ROW_BYTES; at++) {
            p[at] = (uint8_t)text[at % strlen(text)];
        }
    }
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_commit(txn), ERR_OK);
    return id;
}

static void expect_rows(struct kv_txn *txn, uint64_t first, uint64_t last, const char *text)
{
    for (uint64_t i = first; i <= last; i++) {
        uint8_t key[8];
        struct bytes value;
        assert_int_equal(kv_get(txn, KV_LOG, key_of(i, key), &value), ERR_OK);
        assert_int_equal(value.n, ROW_BYTES);
        for (size_t at = 0; at < ROW_BYTES; at++) {
            assert_int_equal(value.p[at], (uint8_t)text[at % strlen(text)]);
        }
    }
}

static void expect_rows_now(struct fixture *f, uint64_t first, uint64_t last, const char *text)
{
    struct kv_txn *txn;
    assert_int_equal(kv_begin(f->kv, false, &txn), ERR_OK);
    expect_rows(txn, first, last, text);
    kv_abort(txn);
}

/* True: done; false: it cannot begin. */
static bool scrub(struct fixture *f, uint64_t wanted)
{
    bool done, more;
    do {
        assert_int_equal(kv_scrub(f->kv, wanted, &done, &more), ERR_OK);
    } while (more);
    return done;
}

/* What a transaction has replaced is wiped after the next one; what stays, stays. */
static void test_kv_scrub_replaced(void **state)
{
    struct fixture *f = *state;
    put_rows(f, 1, 50, "old-bytes ");
    put_rows(f, 51, 60, "kept-bytes ");
    uint64_t id = put_rows(f, 1, 50, "new-bytes ");
    assert_false(scrub(f, id)); /* after a power cut the snapshot before might still be needed */
    assert_true(test_dir_has(&f->dir, "old-bytes"));
    put_rows(f, 70, 70, "more ");
    assert_true(scrub(f, id));
    assert_false(test_dir_has(&f->dir, "old-bytes"));
    expect_rows_now(f, 1, 50, "new-bytes ");
    expect_rows_now(f, 51, 60, "kept-bytes ");
    kv_close(f->kv);
    assert_int_equal(kv_open(f->dir.path, (uint64_t)1 << 30, false, &f->kv, NULL), ERR_OK);
    expect_rows_now(f, 1, 50, "new-bytes ");
}

/* A reader sees its snapshot to the end, and is waited for; one that is parked is not. */
static void test_kv_scrub_readers(void **state)
{
    struct fixture *f = *state;
    struct kv_txn *reader, *parked;
    put_rows(f, 1, 20, "old-bytes ");
    assert_int_equal(kv_begin(f->kv, false, &reader), ERR_OK);
    assert_int_equal(kv_begin(f->kv, false, &parked), ERR_OK);
    kv_reset(parked);
    uint64_t id = put_rows(f, 1, 20, "new-bytes ");
    put_rows(f, 70, 70, "more ");
    assert_false(scrub(f, id));
    expect_rows(reader, 1, 20, "old-bytes ");
    kv_abort(reader);
    assert_true(scrub(f, id));
    assert_false(test_dir_has(&f->dir, "old-bytes"));
    kv_abort(parked);
}

/* Many pages take several calls; a transaction between two lets it begin anew, and it still
 * ends. */
static void test_kv_scrub_in_steps(void **state)
{
    struct fixture *f = *state;
    struct kv_txn *reader;
    bool done = false, more = true;
    uint64_t id = 0;
    for (unsigned round = 0; round < 8; round++) { /* 2,000 pages each */
        char text[32];
        snprintf(text, sizeof text, "round-%u ", round);
        id = put_rows(f, 1 + round * 130, 130 + round * 130, text);
    }
    assert_int_equal(kv_begin(f->kv, false, &reader), ERR_OK); /* else the pages are used again */
    for (unsigned round = 0; round < 8; round++) {
        id = put_rows(f, 1 + round * 130, 130 + round * 130, "new-bytes ");
    }
    kv_abort(reader);
    put_rows(f, 5000, 5000, "more ");
    assert_int_equal(kv_scrub(f->kv, id, &done, &more), ERR_OK);
    assert_true(more);
    for (unsigned calls = 0; more; calls++) {
        put_rows(f, 5001, 5001, "more ");
        assert_int_equal(kv_scrub(f->kv, id, &done, &more), ERR_OK);
        assert_true(calls < 20);
    }
    assert_true(done);
    for (unsigned round = 0; round < 8; round++) {
        char text[32];
        snprintf(text, sizeof text, "round-%u ", round);
        assert_false(test_dir_has(&f->dir, text));
    }
    expect_rows_now(f, 1, 8 * 130, "new-bytes ");
}

/* The pages go back to LMDB as before, and what is written to them is not wiped. */
static void test_kv_scrub_pages_are_used_again(void **state)
{
    struct fixture *f = *state;
    for (unsigned round = 0; round < 30; round++) {
        char text[32];
        snprintf(text, sizeof text, "round-%u ", round);
        uint64_t id = put_rows(f, 1, 40, text);
        put_rows(f, 41, 41, "more ");
        assert_true(scrub(f, id));
        expect_rows_now(f, 1, 40, text);
    }
    assert_true(kv_data_bytes(f->kv) < 41 * ROW_BYTES * 4);
    assert_false(test_dir_has(&f->dir, "round-28 "));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_kv_scrub_replaced),
        TEST(test_kv_scrub_readers),
        TEST(test_kv_scrub_in_steps),
        TEST(test_kv_scrub_pages_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
