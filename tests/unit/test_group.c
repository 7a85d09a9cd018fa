/* Tests of projections/group.c and group_fetch.c: leases, order, limits, waking, and what is left
 * after a crash or a failed commit. */
#include "tests/unit/support_group.h"

#include "storage/base/fault.h"

#include <cmocka.h>

static int set_up(void **state)
{
    *state = test_groups_open();
    return 0;
}

static int tear_down(void **state)
{
    fault_arm(FAULT_KV_PUT, 0, false);
    fault_arm(FAULT_KV_COMMIT, 0, false);
    test_groups_close(*state);
    return 0;
}

static struct group_settings unordered(void)
{
    struct group_settings s = group_settings_default();
    s.ordering = GROUP_ORDER_NONE;
    return s;
}

/* Each event is delivered once, in the order of the log, and acknowledged ones never again. */
static void test_group_fetch_and_ack(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    test_fill(t->store, 300, 7);
    test_define(t, "g", &s, 0);
    for (uint64_t next = 1; next <= 300; next += 100) {
        assert_int_equal(test_fetch(t, "g", 100), 100);
        for (size_t i = 0; i < 100; i++) {
            assert_int_equal(t->got[i].position, next + i);
            assert_int_equal(t->got[i].attempt, 1);
            assert_false(t->got[i].replay);
        }
        assert_int_equal(test_ack(t, "g", 0, 100), 0);
    }
    assert_int_equal(test_fetch(t, "g", 100), 0);
    assert_false(t->fetched.again);
    struct group_status status = test_status(t, "g");
    assert_int_equal(status.position, 301); /* the group's own definition is the last event */
    assert_int_equal(status.lag_events, 0);
    assert_int_equal(status.counts.acked, 300);
    assert_int_equal(status.counts.delivered, 300);
    assert_int_equal(status.in_flight, 0);
}

/* One stream's events come one at a time; another stream's beside them. */
static void test_group_stream_order(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    test_define(t, "g", &s, 0);
    test_fill(t->store, 20, 2); /* positions 2 to 21 */
    assert_int_equal(test_fetch(t, "g", 100), 2);
    assert_int_equal(t->got[0].position, 2);
    assert_int_equal(t->got[1].position, 3);
    assert_int_equal(test_fetch(t, "g", 100), 0);
    struct group_status status = test_status(t, "g");
    assert_int_equal(status.held, 18);
    assert_int_equal(status.lag_events, 20);
    assert_int_equal(status.position, 1);
    test_fetch(t, "g", 100);
    t->now_us += 31 * TEST_SECOND; /* both leases expire: each again, nothing overtakes */
    assert_int_equal(test_fetch(t, "g", 100), 2);
    assert_int_equal(t->got[0].position, 2);
    assert_int_equal(t->got[0].attempt, 2);
    assert_int_equal(test_ack(t, "g", 1, 1), 0);
    assert_int_equal(test_fetch(t, "g", 100), 1);
    assert_int_equal(t->got[0].position, 5);
}

/* A lease that has ended is refused, and then nothing of the request is done. */
static void test_group_late_lease_is_lost(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    struct group_lease leases[3], unknown = {{9}, 1};
    bool lost[3];
    size_t n = 0;
    test_fill(t->store, 2, 1);
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 1), 1);
    leases[0] = t->got[0].lease;
    t->now_us += 30 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 2), 2);
    leases[1] = t->got[1].lease;
    leases[2] = unknown;
    struct group_leases request = {BYTES_LITERAL("g"), leases, 3, lost};
    test_begin(t);
    assert_int_equal(groups_ack(t->groups, &request, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_true(lost[0] && !lost[1] && lost[2]);
    leases[0] = leases[1]; /* twice in one request */
    request.n = 2;
    assert_int_equal(groups_ack(t->groups, &request, &n), ERR_OK);
    assert_true(n == 1 && !lost[0] && lost[1]);
    test_end(t);
    assert_int_equal(test_status(t, "g").in_flight, 2);
    assert_int_equal(test_ack(t, "g", 0, 2), 0);
    assert_int_equal(test_ack(t, "g", 0, 2), 2);
}

/* The text of a lease is the lease. */
static void test_group_lease_text(void **state)
{
    (void)state;
    struct group_lease lease = {.index = 0x1234}, back;
    char text[GROUP_LEASE_TEXT];
    for (uint8_t i = 0; i < GROUP_TOKEN_BYTES; i++) {
        lease.token[i] = (uint8_t)(i * 17);
    }
    group_lease_format(&lease, text);
    assert_true(group_lease_parse(bytes_of(text, sizeof text), &back));
    assert_memory_equal(back.token, lease.token, GROUP_TOKEN_BYTES);
    assert_int_equal(back.index, lease.index);
    assert_false(group_lease_parse(bytes_of(text, sizeof text - 1), &back));
    text[3] = 'G';
    assert_false(group_lease_parse(bytes_of(text, sizeof text), &back));
}

/* Leases, retries and held events are there after a crash, as the last commit left them. */
static void test_group_survives_a_crash(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    test_define(t, "g", &s, 0);
    test_fill(t->store, 12, 3); /* positions 2 to 13 */
    assert_int_equal(test_fetch(t, "g", 10), 3);
    struct group_nack later = {.action = GROUP_NACK_RETRY, .delay_us = 5 * TEST_SECOND};
    assert_int_equal(test_nack(t, "g", 1, 1, &later), 0);
    test_begin(t);
    assert_int_equal(test_try_fetch(t, "g", 10), ERR_OK); /* not committed */
    test_groups_crash(t, true);
    struct group_status status = test_status(t, "g");
    assert_int_equal(status.in_flight, 2);
    assert_int_equal(status.waiting, 1);
    assert_int_equal(status.held, 9);
    assert_int_equal(test_fetch(t, "g", 10), 0);
    assert_true(groups_due(t->groups) == t->now_us + 5 * TEST_SECOND);
    t->now_us += 5 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 10), 1);
    assert_int_equal(t->got[0].attempt, 2);
    test_groups_crash(t, false);
    assert_int_equal(test_ack(t, "g", 0, 1), 0);
}

/* max_in_flight, bytes, more than a batch of leases in one fetch. */
static void test_group_limits_of_a_fetch(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    s.max_in_flight = 700;
    test_fill(t->store, 1000, 5);
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 600), 600);
    assert_int_equal(t->got[599].lease.index, 599);
    size_t lost = test_ack(t, "g", 250, 20); /* over the seam of two batches */
    assert_int_equal(lost, 0);
    test_groups_crash(t, false);
    assert_int_equal(test_ack(t, "g", 270, 330), 0);
    assert_int_equal(test_fetch(t, "g", 1000), 400);
    assert_false(t->fetched.in_flight_full);
    test_fill(t->store, 1000, 5);
    assert_int_equal(test_fetch(t, "g", 1000), 50);
    assert_true(t->fetched.in_flight_full);
    assert_int_equal(test_fetch(t, "g", 1000), 0);
    assert_true(t->fetched.in_flight_full);
}

/* What an edit says holds at once: paused, the order, the filter with its place kept. */
static void test_group_edit(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    struct bytes type = BYTES_LITERAL("T1");
    struct group_info info;
    test_define(t, "g", &s, 0);
    test_fill(t->store, 30, 1); /* positions 2 to 31 */
    assert_int_equal(test_fetch(t, "g", 3), 3);
    s.ordering = GROUP_ORDER_STREAM;
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 3), 0); /* three of its stream are in flight */
    assert_int_equal(test_status(t, "g").in_flight, 3);
    s.ordering = GROUP_ORDER_NONE;
    s.filter.types = &type;
    s.filter.type_count = 1;
    s.paused = true;
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 100), 0);
    assert_true(t->fetched.paused);
    s.paused = false;
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 100), 9);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(t->got[i].position % 3, 1);
    }
    assert_true(groups_find(t->groups, BYTES_LITERAL("g"), &info));
    assert_int_equal(info.revision, 4);
    assert_int_equal(info.settings->filter.type_count, 1);
    test_groups_crash(t, true);
    assert_true(groups_find(t->groups, BYTES_LITERAL("g"), &info));
    assert_int_equal(info.revision, 4);
}

/* A seek ends all leases and begins at its place. */
static void test_group_seek(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    uint64_t place = 0;
    test_define(t, "g", &s, 0);
    test_fill(t->store, 30, 30); /* positions 2 to 31 */
    assert_int_equal(test_fetch(t, "g", 10), 10);
    struct test_delivered before = t->got[0];
    test_seek(t, "g", 20);
    assert_int_equal(test_fetch(t, "g", 100), 11);
    assert_int_equal(t->got[0].position, 21);
    test_seek(t, "g", 0);
    assert_int_equal(test_fetch(t, "g", 100), 30);
    t->got[0] = before;
    assert_int_equal(test_ack(t, "g", 0, 1), 1);
    test_begin(t);
    assert_int_equal(group_position_of_time(t->view, INT64_MAX - 1, &place), ERR_OK);
    assert_int_equal(place, store_position(t->store));
    assert_int_equal(group_position_of_time(t->view, 1, &place), ERR_OK);
    assert_int_equal(place, 0);
    test_end(t);
}

/* A deleted group is gone with all it had; one of the same name begins anew. */
static void test_group_delete_and_create_again(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    struct bytes secret;
    test_fill(t->store, 5, 5);
    test_define(t, "g", &s, 0);
    test_fetch(t, "g", 2);
    test_begin(t);
    assert_int_equal(groups_set_secret(t->groups, BYTES_LITERAL("g"), BYTES_LITERAL("key")),
                     ERR_OK);
    test_end(t);
    test_change(t, &(struct group_change){.kind = GROUP_DELETED, .name = BYTES_LITERAL("g")});
    test_begin(t);
    assert_int_equal(test_try_fetch(t, "g", 1), ERR_NOT_FOUND);
    assert_int_equal(groups_count(t->groups), 0);
    test_end(t);
    test_define(t, "g", &s, 0);
    assert_int_equal(test_ack(t, "g", 0, 1), 1);
    test_begin(t);
    assert_int_equal(groups_get_secret(t->groups, BYTES_LITERAL("g"), &secret), ERR_OK);
    assert_int_equal(secret.n, 0);
    test_end(t);
    assert_int_equal(test_fetch(t, "g", 100), 5);
}

/* Whatever write fails, the state is as it was, and the same can be done again. */
static void test_group_disk_full(void **state)
{
    static const enum fault FAULTS[] = {FAULT_KV_PUT, FAULT_KV_COMMIT};
    struct test_groups *t = *state;
    struct group_settings s = group_settings_default();
    test_define(t, "g", &s, 0);
    test_fill(t->store, 40, 4);
    test_status(t, "g");
    for (size_t i = 0; i < 2; i++) {
        err_t err = ERR_DISK_FULL;
        for (long n = 1; err != ERR_OK; n++) {
            fault_arm(FAULTS[i], n, true);
            test_begin(t);
            assert_int_equal(test_try_fetch(t, "g", 10), ERR_OK);
            err = test_try_end(t);
            fault_arm(FAULTS[i], 0, false);
            assert_true(err == ERR_OK || err == (i == 0 ? ERR_DISK_FULL : ERR_IO));
            assert_int_equal(test_status(t, "g").in_flight, err == ERR_OK ? 4 : 0);
        }
        assert_int_equal(test_ack(t, "g", 0, 4), 0);
    }
    assert_int_equal(test_status(t, "g").counts.acked, 8);
}

/* A full disk while a definition is folded: it is folded later. */
static void test_group_disk_full_at_definition(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    test_fill(t->store, 3, 1);
    test_define(t, "g", &s, 0);
    fault_arm(FAULT_KV_PUT, 1, true);
    test_begin(t);
    assert_int_equal(test_try_end(t), ERR_DISK_FULL);
    fault_arm(FAULT_KV_PUT, 0, false);
    assert_int_equal(test_fetch(t, "g", 10), 3);
}

/* Extending moves the end, and waking knows it. */
static void test_group_extend(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = unordered();
    bool lost[1];
    size_t n;
    int64_t deadline;
    test_fill(t->store, 1, 1);
    test_define(t, "g", &s, 0);
    assert_true(groups_due(t->groups) == INT64_MAX);
    test_fetch(t, "g", 1);
    struct group_leases leases = {BYTES_LITERAL("g"), &t->got[0].lease, 1, lost};
    t->now_us += 20 * TEST_SECOND;
    test_begin(t);
    assert_int_equal(groups_extend(t->groups, &leases, 0, &n, &deadline), ERR_OK);
    test_end(t);
    assert_int_equal(n, 0);
    assert_true(deadline == t->now_us + 30 * TEST_SECOND && groups_due(t->groups) == deadline);
    test_groups_crash(t, false);
    t->now_us += 29 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 1), 0);
    t->now_us += TEST_SECOND;
    uint64_t changed = groups_changed(t->groups, BYTES_LITERAL("g"));
    bool more = true;
    test_begin(t);
    assert_int_equal(groups_expire(t->groups, &more), ERR_OK);
    test_end(t);
    assert_false(more);
    assert_true(groups_changed(t->groups, BYTES_LITERAL("g")) > changed);
    assert_int_equal(test_status(t, "g").ready, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_group_fetch_and_ack),
        TEST(test_group_stream_order),
        TEST(test_group_late_lease_is_lost),
        TEST(test_group_lease_text),
        TEST(test_group_survives_a_crash),
        TEST(test_group_limits_of_a_fetch),
        TEST(test_group_edit),
        TEST(test_group_seek),
        TEST(test_group_delete_and_create_again),
        TEST(test_group_disk_full),
        TEST(test_group_disk_full_at_definition),
        TEST(test_group_extend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
