/* Tests of storage/life.c: what a life says, its bytes, and what is refused to be one. */
#include "storage/life.h"

#include <string.h>

#include "storage/wire.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define LAST_LIFE_FIELD      8
#define LAST_REDACTION_FIELD 4
#define MESSAGE_MAX          4096

struct fixture {
    struct test_dir dir;
    struct kv *kv;
};

static struct life full_life(void)
{
    return (struct life){.stream = BYTES_LITERAL("s-1"),
                         .floor = 3,
                         .max_count = 7,
                         .max_age_s = 60,
                         .truncate_before = 2,
                         .custom = BYTES_LITERAL("{\"a\":1}"),
                         .deleted_head = 9,
                         .tombstoned = true};
}

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

/* ---- rules ---- */

/* The larger of floor and max_count counts, and never more than the next revision. */
static void test_life_first(void **state)
{
    (void)state;
    assert_int_equal(life_first(&(struct life){0}, 5), 1);
    assert_int_equal(life_first(&(struct life){.floor = 4}, 5), 4);
    assert_int_equal(life_first(&(struct life){.floor = 9}, 5), 6);
    assert_int_equal(life_first(&(struct life){.max_count = 2}, 5), 4);
    assert_int_equal(life_first(&(struct life){.max_count = 5}, 5), 1);
    assert_int_equal(life_first(&(struct life){.floor = 5, .max_count = 2}, 5), 5);
}

/* An age that reaches behind the beginning of time hides nothing. */
static void test_life_expiry(void **state)
{
    (void)state;
    assert_true(life_expiry_us(&(struct life){0}, 5000000) == INT64_MIN);
    assert_true(life_expiry_us(&(struct life){.max_age_s = 2}, 5000000) == 3000000);
    assert_true(life_expiry_us(&(struct life){.max_age_s = 6}, 5000000) == INT64_MIN);
    assert_true(life_expiry_us(&(struct life){.max_age_s = 2}, -1) == INT64_MIN);
}

/* ---- messages ---- */

static void assert_same(const struct life *a, const struct life *b)
{
    assert_true(bytes_equal(a->stream, b->stream) && bytes_equal(a->custom, b->custom));
    assert_int_equal(a->floor, b->floor);
    assert_int_equal(a->max_count, b->max_count);
    assert_int_equal(a->max_age_s, b->max_age_s);
    assert_int_equal(a->truncate_before, b->truncate_before);
    assert_int_equal(a->deleted_head, b->deleted_head);
    assert_int_equal(a->tombstoned, b->tombstoned);
}

/* Everything comes back; a message that ends inside a field is none. */
static void test_life_round_trip(void **state)
{
    (void)state;
    uint8_t message[MESSAGE_MAX];
    struct life got, full = full_life();
    size_t n = life_encoded_bytes(&full);
    assert_int_equal(life_encode(message, &full) - message, n);
    assert_int_equal(life_decode(bytes_of(message, n), &got), ERR_OK);
    assert_same(&full, &got);
    for (size_t cut = 0; cut < n; cut++) {
        err_t err = life_decode(bytes_of(message, cut), &got);
        assert_true(err == ERR_CORRUPT || (err == ERR_OK && bytes_equal(got.stream, full.stream)));
    }
    assert_int_equal(life_decode(bytes_of(message, n - 1), &got), ERR_CORRUPT);
}

static struct bytes one_field(uint8_t message[MESSAGE_MAX], unsigned field, bool is_bytes)
{
    uint8_t *p = is_bytes ? wire_put_bytes(message, field, BYTES_LITERAL("s"), NULL)
                          : wire_put_number(message, field, 1);
    return bytes_of(message, (size_t)(p - message));
}

/* Alone, only a field of the right kind that names the stream makes a life. */
static void test_life_decode_fields(void **state)
{
    (void)state;
    uint8_t message[MESSAGE_MAX], longest[EVENT_NAME_MAX + 1];
    struct life got;
    for (unsigned field = 1; field <= LAST_LIFE_FIELD + 1; field++) {
        err_t named = life_decode(one_field(message, field, true), &got);
        assert_int_equal(named, field == 1 ? ERR_OK : ERR_CORRUPT);
        assert_int_equal(life_decode(one_field(message, field, false), &got), ERR_CORRUPT);
    }
    assert_int_equal(life_decode(BYTES_NONE, &got), ERR_CORRUPT);
    memset(longest, 'a', sizeof longest);
    for (size_t n = EVENT_NAME_MAX; n <= EVENT_NAME_MAX + 1; n++) {
        uint8_t *p = wire_put_bytes(message, 1, bytes_of(longest, n), NULL);
        err_t err = life_decode(bytes_of(message, (size_t)(p - message)), &got);
        assert_int_equal(err, n == EVENT_NAME_MAX ? ERR_OK : ERR_CORRUPT);
    }
}

/* A redaction has a stream and a position; a field of another number or kind is refused. */
static void test_redaction_decode(void **state)
{
    (void)state;
    uint8_t message[MESSAGE_MAX];
    const struct redaction whole = {
        .stream = BYTES_LITERAL("s"), .revision = 2, .position = 3, .reason = BYTES_LITERAL("why")};
    struct redaction got;
    size_t n = redaction_encoded_bytes(&whole);
    assert_int_equal(redaction_encode(message, &whole) - message, n);
    assert_int_equal(redaction_decode(bytes_of(message, n), &got), ERR_OK);
    assert_true(bytes_equal(got.stream, whole.stream) && bytes_equal(got.reason, whole.reason));
    assert_true(got.revision == 2 && got.position == 3);
    assert_int_equal(redaction_decode(bytes_of(message, n - 1), &got), ERR_CORRUPT);
    assert_int_equal(redaction_decode(BYTES_NONE, &got), ERR_CORRUPT);
    for (unsigned field = 1; field <= LAST_REDACTION_FIELD + 1; field++) {
        assert_int_equal(redaction_decode(one_field(message, field, true), &got), ERR_CORRUPT);
        assert_int_equal(redaction_decode(one_field(message, field, false), &got), ERR_CORRUPT);
    }
}

/* ---- the tables ---- */

/* A row says for which stream it is, and whether it is whole. */
static void test_lives_rows(void **state)
{
    struct fixture *f = *state;
    struct kv_txn *txn;
    struct life got, life = full_life();
    struct bytes value;
    uint8_t row[MESSAGE_MAX], long_name[EVENT_NAME_MAX + 1] = {'a'};
    life.position = 11;
    life.reclaimed = 2;
    assert_int_equal(kv_begin(f->kv, true, &txn), ERR_OK);
    assert_int_equal(lives_put(txn, &life), ERR_OK);
    assert_int_equal(lives_get(txn, life.stream, &got), ERR_OK);
    assert_same(&life, &got);
    assert_true(got.position == 11 && got.reclaimed == 2);
    assert_int_equal(lives_get(txn, BYTES_LITERAL("s-2"), &got), ERR_NOT_FOUND);
    assert_int_equal(lives_get(txn, BYTES_NONE, &got), ERR_NOT_FOUND);
    assert_int_equal(lives_get(txn, bytes_of(long_name, sizeof long_name), &got), ERR_NOT_FOUND);

    assert_int_equal(kv_get(txn, KV_LIVES, life.stream, &value), ERR_OK);
    size_t n = value.n;
    memcpy(row, value.p, n);
    struct bytes other = BYTES_LITERAL("s-2");
    assert_int_equal(lives_decode(&(struct kv_row){other, bytes_of(row, n)}, &got), ERR_CORRUPT);
    assert_int_equal(lives_decode(&(struct kv_row){life.stream, bytes_of(row, 19)}, &got),
                     ERR_CORRUPT);
    bytes_put_u32le(row, life_row_checksum(other, bytes_of(row, n))); /* whole, but of another */
    assert_int_equal(lives_decode(&(struct kv_row){other, bytes_of(row, n)}, &got), ERR_CORRUPT);
    kv_abort(txn);
}

static void test_redactions_rows(void **state)
{
    struct fixture *f = *state;
    struct kv_txn *txn;
    struct bytes value;
    uint64_t target, position;
    uint8_t key[REDACTION_KEY_BYTES], row[REDACTION_VALUE_BYTES];
    assert_int_equal(kv_begin(f->kv, true, &txn), ERR_OK);
    assert_int_equal(redactions_put(txn, 5, 8), ERR_OK);
    assert_int_equal(redactions_get(txn, 5, &position), ERR_OK);
    assert_int_equal(position, 8);
    assert_int_equal(redactions_get(txn, 6, &position), ERR_NOT_FOUND);
    bytes_put_u64be(key, 5);
    struct bytes k = bytes_of(key, sizeof key);
    assert_int_equal(kv_get(txn, KV_REDACTIONS, k, &value), ERR_OK);
    assert_int_equal(value.n, sizeof row);
    memcpy(row, value.p, sizeof row);
    struct kv_row whole = {k, bytes_of(row, sizeof row)};
    assert_int_equal(redactions_decode(&whole, &target, &position), ERR_OK);
    assert_true(target == 5 && position == 8);
    struct kv_row short_key = {bytes_of(key, 7), whole.value}, cut = {k, bytes_of(row, 11)};
    assert_int_equal(redactions_decode(&short_key, &target, &position), ERR_CORRUPT);
    assert_int_equal(redactions_decode(&cut, &target, &position), ERR_CORRUPT);
    row[4] ^= 1;
    assert_int_equal(redactions_decode(&whole, &target, &position), ERR_CORRUPT);
    assert_int_equal(redactions_delete(txn, 5), ERR_OK);
    assert_int_equal(redactions_get(txn, 5, &position), ERR_NOT_FOUND);
    kv_abort(txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_first),
        cmocka_unit_test(test_life_expiry),
        cmocka_unit_test(test_life_round_trip),
        cmocka_unit_test(test_life_decode_fields),
        cmocka_unit_test(test_redaction_decode),
        cmocka_unit_test_setup_teardown(test_lives_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redactions_rows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
