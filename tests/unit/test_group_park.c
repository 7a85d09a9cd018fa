/* Tests of projections/group_park.c and group_settle.c: what is given back, how long it waits, when
 * it is parked and with what, replaying, discarding, and what was hidden meanwhile. */
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
    test_groups_close(*state);
    return 0;
}

static const struct group_nack PARK = {.action = GROUP_NACK_PARK,
                                       .reason = {(const uint8_t *)"no", 2}};
static const struct group_nack RETRY = {.action = GROUP_NACK_RETRY, .delay_us = -1, .random = 1};

static struct group_settings settings_of(enum group_ordering ordering, enum group_on_park on_park)
{
    struct group_settings s = group_settings_default();
    s.ordering = ordering;
    s.on_park = on_park;
    return s;
}

/* Fetches events one by one and parks them, so that each is its own time. */
static void park_all(struct test_groups *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(test_fetch(t, "g", 1), 1);
        assert_int_equal(test_nack(t, "g", 0, 1, &PARK), 0);
    }
}

/* The delay doubles from the initial one up to the maximum; jitter takes at most half of it. */
static void test_group_back_off(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_NONE, GROUP_PARK_BLOCK);
    s.backoff_initial_us = TEST_SECOND;
    s.backoff_max_us = 5 * TEST_SECOND;
    test_fill(t->store, 1, 1);
    test_define(t, "g", &s, 0);
    static const int64_t LONGEST[] = {1, 2, 4, 5, 5};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(test_fetch(t, "g", 1), 1);
        struct group_nack nack = RETRY;
        nack.random = test_random(&t->random);
        assert_int_equal(test_nack(t, "g", 0, 1, &nack), 0);
        int64_t delay = groups_due(t->groups) - t->now_us;
        assert_true(delay <= LONGEST[i] * TEST_SECOND && delay * 2 >= LONGEST[i] * TEST_SECOND);
        assert_int_equal(test_fetch(t, "g", 1), 0);
        t->now_us += delay;
    }
}

struct seen {
    struct group_parked last;
    char reason[GROUP_REASON_MAX + 1], consumer[16];
    size_t n;
};

static err_t see(void *ctx, const struct group_parked *p)
{
    struct seen *s = ctx;
    s->last = *p;
    memcpy(s->reason, p->reason.p, p->reason.n);
    s->reason[p->reason.n] = '\0';
    memcpy(s->consumer, p->consumer.p, p->consumer.n);
    s->consumer[p->consumer.n] = '\0';
    s->n++;
    return ERR_FULL;
}

static struct seen first_parked(struct test_groups *t, uint64_t after, bool *ret_end)
{
    struct seen s = {0};
    struct group_parked_page page = {BYTES_LITERAL("g"), after, 10};
    test_begin(t);
    assert_int_equal(groups_parked(t->groups, &page, see, &s, ret_end), ERR_OK);
    test_end(t);
    return s;
}

/* By the last attempt's nack, by the consumer's wish, by the last lease's end: each says so, and
 * when. */
static void test_group_parked_says_why(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_NONE, GROUP_PARK_BLOCK);
    bool end;
    s.max_attempts = 2;
    s.backoff_max_us = s.backoff_initial_us = 0;
    test_fill(t->store, 3, 3);
    test_define(t, "g", &s, 0);
    int64_t began = t->now_us;
    struct group_nack nack = RETRY;
    nack.reason = BYTES_LITERAL("broken");
    assert_int_equal(test_fetch(t, "g", 1), 1);
    assert_int_equal(test_nack(t, "g", 0, 1, &nack), 0);
    t->now_us += TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 1), 1);
    assert_int_equal(t->got[0].attempt, 2);
    assert_int_equal(test_nack(t, "g", 0, 1, &nack), 0);
    park_all(t, 1);
    assert_int_equal(test_fetch(t, "g", 1), 1);
    t->now_us += 30 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 1), 1);
    t->now_us += 30 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 1), 0);
    struct seen one = first_parked(t, 0, &end), two = first_parked(t, 1, &end);
    assert_false(end);
    struct seen three = first_parked(t, 2, &end);
    assert_true(end && three.n == 1);
    assert_true(one.last.cause == GROUP_PARKED_BY_ATTEMPTS && one.last.attempts == 2);
    assert_true(one.last.first_us == began && one.last.last_us == began + TEST_SECOND);
    assert_true(one.last.parked_us == began + TEST_SECOND && !one.last.gone && !one.last.blocks);
    assert_string_equal(one.reason, "broken");
    assert_string_equal(one.consumer, "c");
    assert_true(two.last.cause == GROUP_PARKED_BY_NACK && two.last.attempts == 1);
    assert_string_equal(two.reason, "no");
    assert_true(three.last.cause == GROUP_PARKED_BY_EXPIRY && three.last.attempts == 2);
    struct group_status status = test_status(t, "g");
    assert_true(status.parked == 3 && status.counts.parked == 3 && status.counts.expired == 2);
    assert_true(status.counts.redelivered == 2 && status.lag_events == 0);
}

/* A long reason is cut, not inside a character. */
static void test_group_reason_is_cut(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_NONE, GROUP_PARK_BLOCK);
    static char text[GROUP_REASON_MAX + 3];
    bool end;
    memset(text, 'x', sizeof text);
    text[GROUP_REASON_MAX - 1] = '\xc3', text[GROUP_REASON_MAX] = '\xa4';
    struct group_nack nack = {.action = GROUP_NACK_PARK, .reason = bytes_of(text, sizeof text)};
    test_fill(t->store, 1, 1);
    test_define(t, "g", &s, 0);
    test_fetch(t, "g", 1);
    assert_int_equal(test_nack(t, "g", 0, 1, &nack), 0);
    assert_int_equal(strlen(first_parked(t, 0, &end).reason), GROUP_REASON_MAX - 1);
}

/* A parked event holds its stream back, or not; a replay comes before what it held back. */
static void test_group_block_and_replay(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_STREAM, GROUP_PARK_BLOCK);
    struct group_selection all = {.group = BYTES_LITERAL("g"), .dry_run = true};
    test_define(t, "g", &s, 0);
    test_fill(t->store, 6, 2); /* positions 2 to 7 */
    test_fetch(t, "g", 1);
    assert_int_equal(test_nack(t, "g", 0, 1, &PARK), 0);
    assert_int_equal(test_fetch(t, "g", 10), 1);
    assert_int_equal(t->got[0].position, 3);
    assert_int_equal(test_ack(t, "g", 0, 1), 0);
    assert_int_equal(test_status(t, "g").blocked_streams, 1);
    assert_int_equal(test_select(t, &all, true).count, 1);
    assert_int_equal(test_status(t, "g").parked, 1);
    all.dry_run = false;
    assert_int_equal(test_select(t, &all, true).count, 1);
    assert_int_equal(test_status(t, "g").replaying, 1);
    test_groups_crash(t, true);
    assert_int_equal(test_fetch(t, "g", 10), 2);
    assert_true(t->got[0].position == 5 && !t->got[0].replay);
    assert_true(t->got[1].position == 2 && t->got[1].replay && t->got[1].attempt == 1);
    assert_int_equal(test_ack(t, "g", 1, 1), 0);
    assert_int_equal(test_fetch(t, "g", 10), 1);
    assert_int_equal(t->got[0].position, 4);
    assert_int_equal(test_nack(t, "g", 0, 1, &PARK), 0);
    s.on_park = GROUP_PARK_CONTINUE;
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 10), 1);
    assert_int_equal(t->got[0].position, 6);
}

/* One, a range, a filter; what is discarded is not replayed. */
static void test_group_selections(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_NONE, GROUP_PARK_BLOCK);
    struct bytes type = BYTES_LITERAL("T1");
    struct store_filter filter = {.types = &type, .type_count = 1};
    struct bytes g = BYTES_LITERAL("g");
    uint64_t positions[40];
    test_fill(t->store, 30, 3);
    test_define(t, "g", &s, 0);
    park_all(t, 30);
    struct group_selection some = {.group = g, .from = 4, .to = 4};
    assert_int_equal(test_select(t, &some, false).count, 1);
    some = (struct group_selection){.group = g, .from = 1, .to = 10, .filter = &filter};
    assert_int_equal(test_select(t, &some, true).count, 3); /* 1, 7, 10 */
    assert_int_equal(test_parked(t, "g", positions, 40), 26);
    assert_true(positions[0] == 2 && positions[1] == 3 && positions[2] == 5);
    assert_int_equal(test_fetch(t, "g", 100), 3);
    assert_true(t->got[0].position == 1 && t->got[2].position == 10);
    struct group_status status = test_status(t, "g");
    assert_true(status.counts.discarded == 1 && status.counts.replayed == 3);
    assert_int_equal(status.parked, 26);
}

/* More than a call looks at, in several calls; and they are fetched all. */
static void test_group_replay_many(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_NONE, GROUP_PARK_BLOCK);
    s.max_in_flight = 5000;
    struct group_selection all = {.group = BYTES_LITERAL("g")};
    test_fill(t->store, 2500, 3);
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 2500), 2500);
    assert_int_equal(test_nack(t, "g", 0, 2500, &PARK), 0);
    assert_int_equal(test_select(t, &all, true).count, 2500);
    assert_int_equal(test_fetch(t, "g", 2400), 2400);
    assert_int_equal(test_status(t, "g").replaying, 100);
    size_t n = test_fetch(t, "g", 2400);
    assert_int_equal(n, 100);
    assert_int_equal(t->got[99].position, 2500);
}

/* What is hidden while it is in flight, waiting or parked is settled, and blocks nobody. */
static void test_group_hidden_meanwhile(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_STREAM, GROUP_PARK_BLOCK);
    test_define(t, "g", &s, 0);
    test_fill(t->store, 12, 3); /* positions 2 to 13, four of each stream */
    assert_int_equal(test_fetch(t, "g", 10), 3);
    assert_int_equal(test_nack(t, "g", 0, 1, &PARK), 0);
    assert_int_equal(test_nack(t, "g", 1, 1, &RETRY), 0);
    struct life_change change = {.set_truncate_before = true, .truncate_before = 2};
    const char *streams[] = {"s-2", "s-0", "s-1"}; /* of positions 2, 3 and 4 */
    for (size_t i = 0; i < 3; i++) {
        struct command *c = test_metadata(streams[i], &change);
        assert_int_equal(test_commit(t->store, c), VERDICT_COMMITTED);
        command_free(c);
    }
    t->now_us += 31 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 10), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(t->got[i].position, 5 + i);
        assert_int_equal(t->got[i].attempt, 1);
    }
    struct group_status status = test_status(t, "g");
    assert_true(status.counts.gone == 3 && status.parked == 0 && status.position == 4);
}

/* A parked event that was redacted cannot be replayed; it says so, and goes as gone. */
static void test_group_redacted_while_parked(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_NONE, GROUP_PARK_BLOCK);
    struct group_selection all = {.group = BYTES_LITERAL("g")};
    bool end;
    test_fill(t->store, 1, 1);
    test_define(t, "g", &s, 0);
    park_all(t, 1);
    struct command *c = test_redact("s-0", 1);
    assert_int_equal(test_commit(t->store, c), VERDICT_COMMITTED);
    command_free(c);
    assert_true(first_parked(t, 0, &end).last.gone);
    struct group_selected some = test_select(t, &all, true);
    assert_true(some.count == 0 && some.gone == 1);
    assert_int_equal(test_status(t, "g").parked, 0);
    assert_int_equal(test_fetch(t, "g", 1), 0);
}

/* Skipped is settled, and counted as that. */
static void test_group_skip(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_STREAM, GROUP_PARK_BLOCK);
    struct group_nack skip = {.action = GROUP_NACK_SKIP};
    test_fill(t->store, 2, 1);
    test_define(t, "g", &s, 0);
    test_fetch(t, "g", 2);
    assert_int_equal(test_nack(t, "g", 0, 1, &skip), 0);
    assert_int_equal(test_fetch(t, "g", 2), 1);
    assert_int_equal(t->got[0].position, 2);
    assert_int_equal(test_status(t, "g").counts.skipped, 1);
}

/* A park, a replay or a discard that finds the disk full has changed nothing. */
static void test_group_park_disk_full(void **state)
{
    struct test_groups *t = *state;
    struct group_settings s = settings_of(GROUP_ORDER_STREAM, GROUP_PARK_BLOCK);
    struct group_selection all = {.group = BYTES_LITERAL("g")};
    struct group_selected some;
    bool lost;
    size_t n;
    test_fill(t->store, 2, 1);
    test_define(t, "g", &s, 0);
    test_fetch(t, "g", 1);
    struct group_leases leases = {all.group, &t->got[0].lease, 1, &lost};
    fault_arm(FAULT_KV_PUT, 1, true);
    test_begin(t);
    assert_int_equal(groups_nack(t->groups, &leases, &PARK, &n, NULL), ERR_DISK_FULL);
    test_abort(t);
    fault_arm(FAULT_KV_PUT, 0, false);
    assert_int_equal(test_status(t, "g").in_flight, 1);
    assert_int_equal(test_nack(t, "g", 0, 1, &PARK), 0);
    for (long at = 1; at <= 2; at++) {
        fault_arm(FAULT_KV_PUT, at, true);
        test_begin(t);
        assert_int_equal(groups_replay(t->groups, &all, &some), ERR_DISK_FULL);
        test_abort(t);
        fault_arm(FAULT_KV_PUT, 0, false);
        assert_int_equal(test_status(t, "g").parked, 1);
    }
    assert_int_equal(test_select(t, &all, false).count, 1);
    assert_int_equal(test_fetch(t, "g", 1), 1);
    assert_int_equal(t->got[0].position, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_group_back_off),
        TEST(test_group_parked_says_why),
        TEST(test_group_reason_is_cut),
        TEST(test_group_block_and_replay),
        TEST(test_group_selections),
        TEST(test_group_replay_many),
        TEST(test_group_hidden_meanwhile),
        TEST(test_group_redacted_while_parked),
        TEST(test_group_skip),
        TEST(test_group_park_disk_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
