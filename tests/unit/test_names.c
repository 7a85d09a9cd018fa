/* Tests of storage/names.c: rows of the directory. */
#include "storage/names.h"

#include "storage/base/crc32c.h"

#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

/* A row comes back as it was put, under its kind and name only. */
static void test_names_put_and_get(void **state)
{
    (void)state;
    struct test_dir dir;
    struct kv *kv;
    struct kv_txn *txn;
    struct name_row got;
    char longest[EVENT_NAME_MAX];
    memset(longest, 'n', sizeof longest);
    struct bytes name = bytes_of(longest, sizeof longest);
    struct name_row row = {.id = names_id(70000, 31), .first = 70100, .count = 12, .last = 80000};
    test_dir_make(&dir);
    assert_int_equal(kv_open(dir.path, (uint64_t)1 << 26, false, &kv, NULL), ERR_OK);
    assert_int_equal(kv_begin(kv, true, &txn), ERR_OK);
    assert_int_equal(names_put(txn, NAME_TAG, name, &row), ERR_OK);
    assert_int_equal(names_get(txn, NAME_TAG, name, &got), ERR_OK);
    assert_int_equal(got.id, row.id);
    assert_int_equal(got.first, 70100);
    assert_int_equal(got.count, 12);
    assert_int_equal(got.last, 80000);
    assert_int_equal(names_get(txn, NAME_TYPE, name, &got), ERR_NOT_FOUND);
    assert_int_equal(got.id, 0);
    name.n--;
    assert_int_equal(names_get(txn, NAME_TAG, name, &got), ERR_NOT_FOUND);
    kv_abort(txn);
    kv_close(kv);
    test_dir_remove(&dir);
}

/* Names of different kinds, and tags of one event, have different ids or keys. */
static void test_names_id_distinct(void **state)
{
    (void)state;
    uint8_t a[NAME_KEY_BYTES_MAX], b[NAME_KEY_BYTES_MAX];
    struct bytes x = names_key(NAME_STREAM, BYTES_LITERAL("x"), a);
    assert_false(bytes_equal(x, names_key(NAME_TYPE, BYTES_LITERAL("x"), b)));
    assert_int_equal(names_key(NAME_TAG, BYTES_NONE, b).n, 1);
    assert_true(names_id(1, EVENT_TAGS_MAX - 1) < names_id(2, 0));
    assert_true(names_id(1, 0) != names_id(1, 1));
}

static err_t decode(const uint8_t *key, size_t key_bytes, uint64_t id, uint64_t count,
                    uint64_t last)
{
    uint8_t value[36];
    enum name_kind kind;
    struct bytes name;
    struct name_row row;
    bytes_put_u64le(value, id);
    bytes_put_u64le(value + 8, count);
    bytes_put_u64le(value + 16, last);
    bytes_put_u64le(value + 24, 5);
    bytes_put_u32le(value + 32, crc32c(crc32c(0, bytes_of(key, key_bytes)), bytes_of(value, 32)));
    struct kv_row kv_row = {.key = bytes_of(key, key_bytes), .value = bytes_of(value, 36)};
    return names_decode(&kv_row, &kind, &name, &row);
}

/* Rows that make no sense are damage. */
static void test_names_decode_damaged(void **state)
{
    (void)state;
    static const uint8_t KEY[300] = {NAME_TYPE, 'a', 'b'};
    static const uint8_t UNKNOWN[] = {NAME_KINDS, 'a'};
    assert_int_equal(decode(KEY, 3, names_id(5, 0), 1, 5), ERR_OK);
    assert_int_equal(decode(KEY, 1, names_id(5, 0), 1, 5), ERR_CORRUPT);
    assert_int_equal(decode(KEY, 0, names_id(5, 0), 1, 5), ERR_CORRUPT);
    assert_int_equal(decode(KEY, 300, names_id(5, 0), 1, 5), ERR_CORRUPT);
    assert_int_equal(decode(UNKNOWN, 2, names_id(5, 0), 1, 5), ERR_CORRUPT);
    assert_int_equal(decode(KEY, 3, names_id(6, 3), 1, 5), ERR_CORRUPT);
    assert_int_equal(decode(KEY, 3, names_id(5, 0), 0, 5), ERR_CORRUPT);
    assert_int_equal(decode(KEY, 3, names_id(5, 0), 1, 4), ERR_CORRUPT);
    enum name_kind kind;
    struct bytes name;
    struct name_row row;
    struct kv_row cut = {.key = bytes_of(KEY, 3), .value = bytes_of(KEY, 35)};
    assert_int_equal(names_decode(&cut, &kind, &name, &row), ERR_CORRUPT);
    struct kv_row no_checksum = {.key = bytes_of(KEY, 3), .value = bytes_of(KEY, 36)};
    assert_int_equal(names_decode(&no_checksum, &kind, &name, &row), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_put_and_get),
        cmocka_unit_test(test_names_id_distinct),
        cmocka_unit_test(test_names_decode_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
