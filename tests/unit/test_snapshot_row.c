/* Tests of projections/snapshot_row.c: rows come back as they were, and no damage goes unseen. */
#include "projections/snapshot_row.h"

#include "tests/unit/support.h"

#define ROOM 512

static struct snapshot sample(void)
{
    return (struct snapshot){.revision = 7,
                             .schema_version = 3,
                             .name = BYTES_LITERAL("Order"),
                             .content_type = BYTES_LITERAL("text/plain"),
                             .data = BYTES_LITERAL("the state"),
                             .position = 99,
                             .time_us = TEST_TIME_US};
}

/* Every field, with zeroes behind it or not, and an empty one too. */
static void test_row_round_trip(void **state)
{
    (void)state;
    uint8_t key_room[SNAPSHOT_KEY_MAX], row[ROOM];
    struct snapshot s = sample(), found;
    struct bytes key = snapshot_key(BYTES_LITERAL("order-1"), key_room);
    assert_int_equal(key.p[0], STATE_SNAPSHOTS);
    for (size_t n = snapshot_row_bytes(&s); n < ROOM; n += 100) {
        snapshot_row_encode(key, &s, row, n);
        assert_int_equal(snapshot_row_decode(key, bytes_of(row, n), &found), ERR_OK);
        assert_true(found.revision == 7 && found.schema_version == 3 && found.position == 99);
        assert_true(found.time_us == TEST_TIME_US && bytes_equal(found.name, s.name));
        assert_true(bytes_equal(found.content_type, s.content_type));
        assert_true(bytes_equal(found.data, s.data));
    }
    s = (struct snapshot){.revision = 1};
    snapshot_row_encode(key, &s, row, SNAPSHOT_HEAD_BYTES);
    assert_int_equal(snapshot_row_decode(key, bytes_of(row, SNAPSHOT_HEAD_BYTES), &found), ERR_OK);
    assert_true(found.data.n == 0 && found.name.n == 0);
}

/* A flipped bit anywhere, a row that is cut, and a row under another stream's key. */
static void test_row_damage(void **state)
{
    (void)state;
    uint8_t key_room[SNAPSHOT_KEY_MAX], other_room[SNAPSHOT_KEY_MAX], row[ROOM];
    struct snapshot s = sample(), found;
    struct bytes key = snapshot_key(BYTES_LITERAL("order-1"), key_room);
    struct bytes other = snapshot_key(BYTES_LITERAL("order-2"), other_room);
    size_t n = snapshot_row_bytes(&s);
    snapshot_row_encode(key, &s, row, n);
    for (size_t bit = 0; bit < n * 8; bit++) {
        row[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(snapshot_row_decode(key, bytes_of(row, n), &found), ERR_CORRUPT);
        row[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(snapshot_row_decode(key, bytes_of(row, cut), &found), ERR_CORRUPT);
    }
    assert_int_equal(snapshot_row_decode(other, bytes_of(row, n), &found), ERR_CORRUPT);
    assert_int_equal(snapshot_row_decode(key, bytes_of(row, n), &found), ERR_OK);
}

static void test_ledger(void **state)
{
    (void)state;
    uint8_t row[SNAPSHOT_LEDGER_BYTES];
    struct snapshot_ledger l = {.folded = 5, .last_time_us = TEST_TIME_US, .bytes = 4096}, found;
    snapshot_ledger_encode(&l, row);
    assert_int_equal(snapshot_ledger_decode(bytes_of(row, sizeof row), &found), ERR_OK);
    assert_memory_equal(&l, &found, sizeof l);
    for (size_t i = 0; i < sizeof row; i++) {
        row[i] ^= 0x10;
        assert_int_equal(snapshot_ledger_decode(bytes_of(row, sizeof row), &found), ERR_CORRUPT);
        row[i] ^= 0x10;
    }
    assert_int_equal(snapshot_ledger_decode(bytes_of(row, sizeof row - 1), &found), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_round_trip),
        cmocka_unit_test(test_row_damage),
        cmocka_unit_test(test_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
