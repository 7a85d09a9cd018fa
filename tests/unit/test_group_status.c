/* Tests of projections/group_status.c and of the bounds of a group: lag, consumers, secrets, how
 * far a group looks ahead, and that damaged rows are errors. */
#include "tests/unit/support_group.h"

#include <cmocka.h>

static int set_up(void **state)
{
    *state = test_groups_open();
    return 0;
}

static int tear_down(void **state)
{
    test_groups_close(*state);
    return 0;
}

/* Many events of one stream, a few hundred a commit. */
static void fill_stream(struct test_groups *t, uint64_t n)
{
    for (uint64_t done = 0; done < n;) {
        struct command *c = test_command();
        test_add_append(c, "s-0", TEST_ANY);
        for (int i = 0; i < 400 && done < n; i++, done++) {
            test_add_event(c, 0, "T0", "{}");
        }
        assert_int_equal(test_commit(t->store, c), VERDICT_COMMITTED);
        command_free(c);
    }
}

/* Only events that match count; the age is that of the oldest that is not settled. */
static void test_group_lag(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    struct bytes type = BYTES_LITERAL("T1");
    s.filter.types = &type;
    s.filter.type_count = 1;
    test_fill(t->store, 300, 30); /* at TEST_TIME_US or a little later */
    test_define(t, "g", &s, 0);
    struct group_status status = test_status(t, "g");
    assert_true(status.lag_is_exact && status.lag_events == 100 && status.oldest == 1);
    assert_true(status.lag_us > 0 && status.lag_us <= 1000 * TEST_SECOND);
    assert_true(status.position == 0 && status.fetched == 0 && status.head == 301);
    assert_int_equal(test_fetch(t, "g", 5), 5);
    assert_int_equal(test_status(t, "g").lag_events, 100);
    assert_int_equal(test_ack(t, "g", 0, 3), 0);
    status = test_status(t, "g");
    assert_true(status.lag_events == 97 && status.oldest == 10 && status.position == 9);
    test_fill(t->store, 3, 3);
    assert_int_equal(test_status(t, "g").lag_events, 98);
    test_seek(t, "g", store_position(t->store));
    status = test_status(t, "g");
    assert_true(status.lag_events == 0 && status.oldest == 0 && status.lag_us == 0);
}

/* More than one call counts: an upper bound first, then the number. */
static void test_group_lag_of_many(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    struct bytes category = BYTES_LITERAL("s");
    s.ordering = GROUP_ORDER_NONE;
    s.filter.categories = &category;
    s.filter.category_count = 1;
    fill_stream(t, 25000);
    test_define(t, "g", &s, 0);
    struct group_status status = test_status(t, "g");
    assert_true(!status.lag_is_exact && status.lag_events == 25001);
    for (int i = 0; i < 4 && !status.lag_is_exact; i++) {
        status = test_status(t, "g");
    }
    assert_true(status.lag_is_exact && status.lag_events == 25000);
    assert_int_equal(test_fetch(t, "g", 50), 50);
    assert_int_equal(test_status(t, "g").lag_events, 25000);
    assert_int_equal(test_ack(t, "g", 0, 50), 0);
    assert_int_equal(test_status(t, "g").lag_events, 24950);
}

/* Where too much is held back the group stops looking, says so, and goes on when it can. */
static void test_group_held_full(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    struct bytes category = BYTES_LITERAL("s");
    s.filter.categories = &category;
    s.filter.category_count = 1;
    fill_stream(t, GROUP_HELD_MAX + 2000);
    test_define(t, "g", &s, 0);
    for (int i = 0; i < 10 && !t->fetched.held_full; i++) {
        test_fetch(t, "g", 10);
    }
    assert_true(t->fetched.held_full);
    struct group_status status = test_status(t, "g");
    assert_true(status.held_full && status.held == GROUP_HELD_MAX && status.in_flight == 1);
    assert_int_equal(status.fetched, GROUP_HELD_MAX + 1);
    test_groups_crash(t, true);
    t->now_us += 31 * TEST_SECOND;
    for (uint64_t next = 1; next <= 50; next++) {
        assert_int_equal(test_fetch(t, "g", 10), 1);
        assert_int_equal(t->got[0].position, next);
        assert_int_equal(test_ack(t, "g", 0, 1), 0);
    }
}

/* Who fetched, when, and what they have. */
static void test_group_consumers(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    struct group_consumer c;
    test_fill(t->store, 10, 10);
    test_define(t, "g", &s, 0);
    test_fetch(t, "g", 4);
    test_ack(t, "g", 0, 1);
    assert_int_equal(test_status(t, "g").consumers, 1);
    test_begin(t);
    assert_int_equal(groups_consumer(t->groups, BYTES_LITERAL("g"), 0, &c), ERR_OK);
    assert_true(bytes_equal(c.name, BYTES_LITERAL("c")) && c.last_fetch_us == t->now_us);
    assert_true(c.in_flight == 3 && c.delivered == 4);
    assert_int_equal(groups_consumer(t->groups, BYTES_LITERAL("g"), 1, &c), ERR_INVALID);
    test_end(t);
}

/* A secret is kept, replaced, removed, and has a limit. */
static void test_group_secrets(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    static const uint8_t big[GROUP_SECRET_MAX + 1];
    struct bytes g = BYTES_LITERAL("g"), secret;
    test_define(t, "g", &s, 0);
    test_begin(t);
    assert_int_equal(groups_set_secret(t->groups, g, bytes_of(big, sizeof big)), ERR_INVALID);
    assert_int_equal(groups_set_secret(t->groups, g, BYTES_LITERAL("one")), ERR_OK);
    assert_int_equal(groups_set_secret(t->groups, g, BYTES_LITERAL("two")), ERR_OK);
    test_end(t);
    test_groups_crash(t, true);
    test_begin(t);
    assert_int_equal(groups_get_secret(t->groups, g, &secret), ERR_OK);
    assert_true(bytes_equal(secret, BYTES_LITERAL("two")));
    assert_int_equal(groups_set_secret(t->groups, g, BYTES_NONE), ERR_OK);
    assert_int_equal(groups_get_secret(t->groups, g, &secret), ERR_OK);
    assert_int_equal(secret.n, 0);
    test_end(t);
}

/* Arguments over the limits are refused and change nothing. */
static void test_group_arguments(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    struct group_leases none = {.group = BYTES_LITERAL("g")};
    struct group_nack nack = {.action = GROUP_NACK_RETRY, .delay_us = GROUP_BACKOFF_MAX + 1};
    struct group_parked_page page = {BYTES_LITERAL("g"), 0, 0};
    size_t lost;
    int64_t deadline;
    bool end;
    test_define(t, "g", &s, 0);
    test_begin(t);
    assert_int_equal(test_try_fetch(t, "g", 0), ERR_INVALID);
    assert_int_equal(test_try_fetch(t, "g", GROUP_FETCH_MAX + 1), ERR_INVALID);
    assert_int_equal(test_try_fetch(t, "other", 1), ERR_NOT_FOUND);
    assert_int_equal(groups_nack(t->groups, &none, &nack, &lost, NULL), ERR_INVALID);
    assert_int_equal(groups_extend(t->groups, &none, -1, &lost, &deadline), ERR_INVALID);
    assert_int_equal(groups_parked(t->groups, &page, NULL, NULL, &end), ERR_INVALID);
    assert_int_equal(groups_ack(t->groups, &none, &lost), ERR_OK);
    assert_int_equal(lost, 0);
    test_end(t);
}

/* A row that was damaged is an error that names itself, not a crash. */
static void test_group_damaged_row(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    struct group_info info;
    struct kv_txn *txn;
    uint8_t key[18] = {STATE_GROUPS, 'R'};
    test_define(t, "g", &s, 0);
    test_begin(t);
    test_end(t);
    assert_true(groups_find(t->groups, BYTES_LITERAL("g"), &info));
    bytes_put_u64be(key + 2, info.id);
    assert_int_equal(kv_begin(state_env_kv(t->env), true, &txn), ERR_OK);
    assert_int_equal(kv_put(txn, STATE_TABLE, bytes_of(key, sizeof key), BYTES_LITERAL("\xff")),
                     ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
    test_groups_crash(t, false);
    test_begin(t);
    assert_int_equal(test_try_fetch(t, "g", 1), ERR_CORRUPT);
    test_abort(t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_group_lag),         TEST(test_group_lag_of_many), TEST(test_group_held_full),
        TEST(test_group_consumers),   TEST(test_group_secrets),     TEST(test_group_arguments),
        TEST(test_group_damaged_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
