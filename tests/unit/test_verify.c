/* Tests of storage/verify.c: a sound store has no findings, every kind of damage has one. */
#include "storage/posting.h"
#include "storage/store_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS 700

/* A closed store of EVENTS events, all applied; two streams, so that lists have several blocks. */
static void make_store(struct test_dir *dir)
{
    test_dir_make(dir);
    struct store *s = test_open(dir);
    test_fill(s, EVENTS, 2);
    test_verify_clean(s, EVENTS);
    store_close(s);
}

/* ---- damage ---- */

struct damage {
    enum kv_table table;
    struct bytes key;
    /* Changes the row's value in place: n bytes at p, room for 64 KiB; returns the new size. */
    size_t (*change)(uint8_t *p, size_t n);
};

static struct bytes copy_row(struct kv *kv, const struct damage *d, uint8_t *ret)
{
    struct kv_txn *txn;
    struct bytes value;
    assert_int_equal(kv_begin(kv, false, &txn), ERR_OK);
    assert_int_equal(kv_get(txn, d->table, d->key, &value), ERR_OK);
    memcpy(ret, value.p, value.n);
    value.p = ret;
    kv_abort(txn);
    return value;
}

static void damage_row(const struct test_dir *dir, const struct damage *d)
{
    static uint8_t row[65536];
    char path[TEST_PATH_MAX];
    struct kv *kv;
    struct kv_txn *txn;
    assert_int_equal(kv_open(test_path(dir, "store", path), (uint64_t)1 << 28, false, &kv, NULL),
                     ERR_OK);
    struct bytes value = copy_row(kv, d, row);
    size_t n = d->change(row, value.n);
    assert_int_equal(kv_begin(kv, true, &txn), ERR_OK);
    assert_int_equal(kv_put(txn, d->table, d->key, bytes_of(row, n)), ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
    kv_close(kv);
}

/* Damages a fresh store and expects a finding with these words; the store is opened read only, as
 * `daybook verify` does, and must not crash or hang. */
static void expect_finding(const struct damage *d, const char *wanted)
{
    struct test_dir dir;
    bool found;
    make_store(&dir);
    damage_row(&dir, d);
    struct store_options options = test_options(&dir);
    options.read_only = true;
    struct store *s = test_open_with(&options);
    assert_true(test_verify(s, wanted, &found) > 0);
    assert_true(found);
    store_close(s);
    test_dir_remove(&dir);
}

static size_t flip_last(uint8_t *p, size_t n)
{
    p[n - 1] ^= 1;
    return n;
}

static size_t flip_first(uint8_t *p, size_t n)
{
    p[0] ^= 1;
    return n;
}

static size_t cut_half(uint8_t *p, size_t n)
{
    (void)p;
    return n / 2;
}

static size_t cut_to_nothing(uint8_t *p, size_t n)
{
    (void)p, (void)n;
    return 0;
}

static size_t flip_third(uint8_t *p, size_t n)
{
    assert_true(n > 20);
    p[n / 3] ^= 0x10;
    return n;
}

/* ---- the log ---- */

static void expect_log_finding(size_t (*change)(uint8_t *, size_t), const char *wanted)
{
    uint8_t key[8];
    bytes_put_u64be(key, 1);
    struct damage d = {.table = KV_LOG, .key = bytes_of(key, sizeof key), .change = change};
    expect_finding(&d, wanted);
}

/* A damaged record or block of the log is named by position. */
static void test_store_verify_damaged_log(void **state)
{
    (void)state;
    expect_log_finding(flip_third, "position ");
    expect_log_finding(flip_last, "position ");
    expect_log_finding(flip_first, "position ");
    expect_log_finding(cut_half, "position ");
    expect_log_finding(cut_to_nothing, "position 1: the record is damaged");
}

/* ---- the directory ---- */

static size_t add_one_event(uint8_t *p, size_t n)
{
    bytes_put_u64le(p + 8, bytes_get_u64le(p + 8) + 1);
    return n;
}

static size_t move_last(uint8_t *p, size_t n)
{
    bytes_put_u64le(p + 16, bytes_get_u64le(p + 16) - 1);
    return n;
}

static size_t move_first(uint8_t *p, size_t n)
{
    bytes_put_u64le(p + 24, bytes_get_u64le(p + 24) + 1);
    return n;
}

static size_t change_id(uint8_t *p, size_t n)
{
    bytes_put_u64le(p, bytes_get_u64le(p) + 32);
    return n;
}

static void expect_name_findings(enum name_kind kind, const char *name, const char *wanted)
{
    static size_t (*const CHANGES[])(uint8_t *, size_t) = {add_one_event, move_last, move_first,
                                                           change_id};
    uint8_t key[NAME_KEY_BYTES_MAX];
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        struct damage d = {.table = KV_NAMES,
                           .key = names_key(kind, bytes_of_string(name), key),
                           .change = CHANGES[i]};
        expect_finding(&d, wanted);
    }
}

/* A wrong number of events, last position or id in the directory is found by name. */
static void test_store_verify_damaged_names(void **state)
{
    (void)state;
    expect_name_findings(NAME_STREAM, "s-1", "stream \"s-1\"");
    expect_name_findings(NAME_CATEGORY, "s", "category \"s\"");
    expect_name_findings(NAME_TYPE, "T1", "type \"T1\"");
    expect_name_findings(NAME_TAG, "t3", "tag \"t3\"");
}

/* A cut row of the directory is found. */
static void test_store_verify_cut_name(void **state)
{
    (void)state;
    uint8_t key[NAME_KEY_BYTES_MAX];
    struct damage d = {.table = KV_NAMES,
                       .key = names_key(NAME_TYPE, BYTES_LITERAL("T0"), key),
                       .change = cut_half};
    expect_finding(&d, "a row is damaged");
}

/* ---- the postings ---- */

/* Drops the block's last entry: what is left is a sound block. */
static size_t drop_entry(uint8_t *p, size_t n)
{
    struct posting_block b;
    uint8_t key[POSTING_KEY_BYTES];
    struct kv_row row = {.key = posting_key(NAME_STREAM, names_id(1, 0), 1, key),
                         .value = bytes_of(p, n)};
    assert_int_equal(posting_decode(&row, NAME_STREAM, &b), ERR_OK);
    uint64_t delta = b.positions[b.n - 1] - b.positions[b.n - 2];
    assert_true(delta < 0x80);
    b.n--;
    b.bytes -= 3;
    return posting_encode(&b, NAME_STREAM, p);
}

static void expect_posting_finding(size_t (*change)(uint8_t *, size_t))
{
    uint8_t key[POSTING_KEY_BYTES];
    struct damage d = {.table = KV_POSTINGS,
                       .key = posting_key(NAME_STREAM, names_id(1, 0), 1, key),
                       .change = change};
    expect_finding(&d, "stream \"s-1\"");
}

/* A block that is cut, changed, or sound but without one of its entries is found by name. */
static void test_store_verify_damaged_postings(void **state)
{
    (void)state;
    expect_posting_finding(flip_last);
    expect_posting_finding(flip_first);
    expect_posting_finding(cut_half);
    expect_posting_finding(cut_to_nothing);
    expect_posting_finding(drop_entry);
}

/* A posting list that has more than the log is found by its total. */
static size_t swap_to_other_position(uint8_t *p, size_t n)
{
    p[n - 1] = (uint8_t)(p[n - 1] + 1);
    return n;
}

static void test_store_verify_wrong_position_in_a_list(void **state)
{
    (void)state;
    uint8_t key[POSTING_KEY_BYTES];
    /* "T1" was first in event 1. */
    struct damage d = {.table = KV_POSTINGS,
                       .key = posting_key(NAME_TYPE, names_id(1, 0), 1, key),
                       .change = swap_to_other_position};
    expect_finding(&d, "type \"T1\"");
}

/* A fingerprint that is not the id's would let a retry be appended twice. */
static size_t flip_print(uint8_t *p, size_t n)
{
    p[2] ^= 1;
    return n;
}

static void test_store_verify_wrong_fingerprint(void **state)
{
    (void)state;
    expect_posting_finding(flip_print);
}

/* ---- lives, redactions and what reclaim leaves ---- */

static void commit_life(struct store *s, struct command *c)
{
    assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
    command_free(c);
}

/* Stream s-1 is truncated before 300 and reclaimed, event 340 is redacted, and 341 waits to be. */
static void make_store_with_lives(struct test_dir *dir)
{
    test_dir_make(dir);
    struct store *s = test_open(dir);
    struct life_change change = {.set_truncate_before = true, .truncate_before = 300};
    test_fill(s, EVENTS, 2);
    commit_life(s, test_metadata("s-1", &change));
    commit_life(s, test_redact("s-1", 340));
    test_apply_all(s);
    test_reclaim_all(s, TEST_TIME_US);
    commit_life(s, test_redact("s-1", 341));
    test_apply_all(s);
    test_verify_clean(s, EVENTS + 3);
    store_close(s);
}

/* Damages that store with a row of its own making; NULL value: deletes it. */
static void expect_life_finding(enum kv_table table, struct bytes key, struct bytes value,
                                const char *wanted)
{
    struct test_dir dir;
    char path[TEST_PATH_MAX];
    struct kv *kv;
    struct kv_txn *txn;
    bool found;
    make_store_with_lives(&dir);
    assert_int_equal(kv_open(test_path(&dir, "store", path), (uint64_t)1 << 28, false, &kv, NULL),
                     ERR_OK);
    assert_int_equal(kv_begin(kv, true, &txn), ERR_OK);
    err_t err = value.n == 0 ? kv_delete(txn, table, key) : kv_put(txn, table, key, value);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
    kv_close(kv);
    struct store_options options = test_options(&dir);
    options.read_only = true;
    struct store *s = test_open_with(&options);
    assert_true(test_verify(s, wanted, &found) > 0);
    assert_true(found);
    store_close(s);
    test_dir_remove(&dir);
}

static size_t life_row(uint8_t *p, uint64_t position, uint64_t floor)
{
    struct life life = {.stream = BYTES_LITERAL("s-1"), .floor = floor, .truncate_before = 300};
    bytes_put_u64le(p + 4, position);
    bytes_put_u64le(p + 12, 299);
    size_t n = (size_t)(life_encode(p + 20, &life) - p);
    bytes_put_u32le(p, life_row_checksum(life.stream, bytes_of(p, n)));
    return n;
}

/* A life that is missing, old or other than its event says, and a stub that it does not hide. */
static void test_store_verify_damaged_life(void **state)
{
    (void)state;
    uint8_t row[100];
    struct bytes key = BYTES_LITERAL("s-1");
    expect_life_finding(KV_LIVES, key, BYTES_NONE, "is not in the table");
    expect_life_finding(KV_LIVES, key, BYTES_NONE, "is gone, but nothing hides it");
    expect_life_finding(KV_LIVES, key, bytes_of(row, life_row(row, EVENTS, 300)),
                        "is not in the table");
    expect_life_finding(KV_LIVES, key, bytes_of(row, life_row(row, EVENTS + 1, 301)),
                        "is not what an event says");
    expect_life_finding(KV_LIVES, key, bytes_of(row, life_row(row, EVENTS + 1, 200)),
                        "is gone, but nothing hides it");
    expect_life_finding(KV_LIVES, key, bytes_of(row, 7), "is not what an event says");
}

/* A redaction that was lost before it was done, and one that nothing asked for. */
static void test_store_verify_damaged_redaction(void **state)
{
    (void)state;
    uint8_t key[8], value[REDACTION_VALUE_BYTES];
    struct bytes row = bytes_of(value, sizeof value);
    bytes_put_u64be(key, 681); /* revision 341 of s-1 */
    expect_life_finding(KV_REDACTIONS, bytes_of(key, 8), BYTES_NONE, "its redaction is not done");
    bytes_put_u64be(key, 5);
    bytes_put_u64le(value + 4, EVENTS + 2);
    bytes_put_u32le(value, life_row_checksum(bytes_of(key, 8), row));
    expect_life_finding(KV_REDACTIONS, bytes_of(key, 8), row,
                        "redaction of position 5: its row has no event");
}

/* ---- the rest ---- */

static bool stop_at_once(void *ctx, uint64_t done, uint64_t total)
{
    *(uint64_t *)ctx = total;
    return done == 0;
}

/* Progress is told and may stop it. */
static void test_store_verify_progress(void **state)
{
    (void)state;
    struct test_dir dir;
    uint64_t total = 0;
    struct store_verify_report report;
    make_store(&dir);
    struct store *s = test_open(&dir);
    struct store_verify_options options = {.progress = stop_at_once, .ctx = &total};
    assert_int_equal(store_verify(s, &options, &report), ERR_CLOSED);
    assert_int_equal(total, EVENTS);
    store_close(s);
    test_dir_remove(&dir);
}

/* An empty store, one that is only in the tail, and one between two apply steps are sound. */
static void test_store_verify_clean(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_verify_clean(s, 0);
    test_fill(s, 50, 3);
    test_verify_clean(s, 50);
    for (bool more = true; more;) {
        assert_int_equal(store_apply(s, true, &more), ERR_OK);
        test_verify_clean(s, 50);
    }
    store_close(s);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_verify_damaged_log),
        cmocka_unit_test(test_store_verify_damaged_names),
        cmocka_unit_test(test_store_verify_cut_name),
        cmocka_unit_test(test_store_verify_damaged_postings),
        cmocka_unit_test(test_store_verify_wrong_position_in_a_list),
        cmocka_unit_test(test_store_verify_wrong_fingerprint),
        cmocka_unit_test(test_store_verify_damaged_life),
        cmocka_unit_test(test_store_verify_damaged_redaction),
        cmocka_unit_test(test_store_verify_progress),
        cmocka_unit_test(test_store_verify_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
