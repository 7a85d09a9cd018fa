/* Tests of projections/group_rows.c: what is written is what is read, and damage is an error. */
#include "projections/group_rows.h"

#include "tests/unit/support.h"

#include <cmocka.h>

/* Keys are in order of group, then number, and tell what they are. */
static void test_group_keys(void **state)
{
    (void)state;
    struct group_key a, b;
    uint64_t number = 0;
    struct bytes x = group_key(GROUP_ROW_PARKED, 7, 255, &a);
    struct bytes y = group_key(GROUP_ROW_PARKED, 7, 256, &b);
    assert_true(bytes_compare(x, y) < 0);
    assert_true(group_key_is(x, GROUP_ROW_PARKED, 7, &number) && number == 255);
    assert_false(group_key_is(x, GROUP_ROW_REPLAY, 7, &number));
    assert_false(group_key_is(x, GROUP_ROW_PARKED, 8, &number));
    assert_false(group_key_is(bytes_of(x.p, x.n - 1), GROUP_ROW_PARKED, 7, &number));
}

/* The record; and cut anywhere, or longer, it is damaged. */
static void test_group_record_row(void **state)
{
    (void)state;
    struct group_record r = {.fetched = 1 << 20,
                             .next_batch = 3,
                             .parked = 4,
                             .replaying = 5,
                             .counts = {.delivered = 1, .expired = UINT64_MAX}},
                        back = {0};
    struct buf b;
    buf_init(&b, 4096);
    group_record_put(&b, &r);
    assert_int_equal(group_record_get(buf_bytes(&b), &back), ERR_OK);
    assert_memory_equal(&r, &back, sizeof r);
    for (size_t n = 0; n < b.n; n++) {
        assert_int_equal(group_record_get(bytes_of(b.p, n), &back), ERR_CORRUPT);
    }
    buf_put_byte(&b, 0);
    assert_int_equal(group_record_get(buf_bytes(&b), &back), ERR_CORRUPT);
    buf_done(&b);
}

/* Events of a batch, whose positions may go back once, and of a page. */
static void test_group_event_rows(void **state)
{
    (void)state;
    struct group_row_event events[] = {
        {.position = 900, .stream = UINT64_MAX, .index = 0},
        {.position = 20, .stream = 1, .index = 3, .attempts = 2, .first_us = 5, .last_us = 6},
        {.position = 21, .stream = 2, .index = 200, .due_us = 77, .replay = true},
        {.position = 22,
         .stream = 3,
         .index = 201,
         .blocks = true,
         .attempts = 9,
         .first_us = 1,
         .last_us = 2}};
    size_t n = sizeof events / sizeof events[0], ends[4];
    struct group_row_event last = {0}, back = {0};
    struct buf b;
    err_t err = ERR_OK;
    buf_init(&b, 4096);
    for (size_t i = 0; i < n; i++) {
        group_event_put(&b, &events[i], &last);
        last = events[i];
        ends[i] = b.n;
    }
    struct bytes value = buf_bytes(&b);
    for (size_t i = 0; i < n; i++) {
        assert_true(group_event_get(&value, &back, &err));
        assert_true(back.position == events[i].position && back.stream == events[i].stream);
        assert_true(back.index == events[i].index && back.attempts == events[i].attempts);
        assert_true(back.first_us == events[i].first_us && back.last_us == events[i].last_us);
        assert_true(back.due_us == events[i].due_us && back.replay == events[i].replay);
        assert_true(back.blocks == events[i].blocks);
    }
    assert_false(group_event_get(&value, &back, &err));
    assert_int_equal(err, ERR_OK);
    for (size_t cut = 0; cut < b.n; cut++) {
        value = bytes_of(b.p, cut);
        back = (struct group_row_event){0};
        err = ERR_OK;
        while (group_event_get(&value, &back, &err)) {
        }
        bool whole = cut == 0 || cut == ends[0] || cut == ends[1] || cut == ends[2];
        assert_int_equal(err, whole ? ERR_OK : ERR_CORRUPT);
    }
    buf_done(&b);
}

/* The head of a batch, a parked event, a definition. */
static void test_group_other_rows(void **state)
{
    (void)state;
    uint8_t token[GROUP_TOKEN_BYTES] = {1, 2, 3};
    struct group_row_batch batch = {.token = bytes_of(token, sizeof token),
                                    .base = 256,
                                    .count = 17,
                                    .delivered_us = 8,
                                    .deadline_us = 9,
                                    .consumer = BYTES_LITERAL("me")},
                           batch_back;
    struct group_row_parked parked = {.stream = 77,
                                      .attempts = 3,
                                      .parked_us = 5,
                                      .cause = GROUP_PARKED_BY_EXPIRY,
                                      .reason = BYTES_LITERAL("why"),
                                      .consumer = BYTES_LITERAL("who")},
                            parked_back;
    struct group_row_definition d = {.created_us = 4,
                                     .revision = 5,
                                     .type = BYTES_LITERAL("t"),
                                     .data = BYTES_LITERAL("{}")},
                                d_back;
    struct buf b;
    buf_init(&b, 4096);
    group_batch_put(&b, &batch);
    struct bytes value = buf_bytes(&b);
    assert_int_equal(group_batch_get(&value, &batch_back), ERR_OK);
    assert_true(value.n == 0 && bytes_equal(batch_back.token, batch.token));
    assert_true(batch_back.base == 256 && batch_back.count == 17 && batch_back.deadline_us == 9);
    assert_true(bytes_equal(batch_back.consumer, batch.consumer));
    value = bytes_of(b.p, 10);
    assert_int_equal(group_batch_get(&value, &batch_back), ERR_CORRUPT);
    buf_clear(&b);
    group_parked_put(&b, &parked);
    assert_int_equal(group_parked_get(buf_bytes(&b), &parked_back), ERR_OK);
    assert_true(parked_back.stream == 77 && parked_back.cause == parked.cause);
    assert_true(bytes_equal(parked_back.reason, parked.reason));
    assert_true(bytes_equal(parked_back.consumer, parked.consumer));
    for (size_t n = 0; n < b.n; n++) {
        assert_int_equal(group_parked_get(bytes_of(b.p, n), &parked_back), ERR_CORRUPT);
    }
    buf_clear(&b);
    group_definition_put(&b, &d);
    assert_int_equal(group_definition_get(buf_bytes(&b), &d_back), ERR_OK);
    assert_true(d_back.revision == 5 && bytes_equal(d_back.data, d.data));
    assert_int_equal(group_definition_get(bytes_of(b.p, b.n - 1), &d_back), ERR_CORRUPT);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_keys),
        cmocka_unit_test(test_group_record_row),
        cmocka_unit_test(test_group_event_rows),
        cmocka_unit_test(test_group_other_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
