/* Tests of projections/group_ticket.c: an acknowledgement and an append are one step, whatever
 * happens between the two. */
#include "tests/unit/support_group.h"

#include <cmocka.h>

static int set_up(void **state)
{
    struct test_groups *t = test_groups_open();
    struct group_settings s = group_settings_default();
    struct bytes category = BYTES_LITERAL("s");
    s.filter.categories = &category;
    s.filter.category_count = 1;
    test_fill(t->store, 4, 4);
    test_define(t, "g", &s, 0);
    assert_int_equal(test_fetch(t, "g", 4), 4);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    test_groups_close(*state);
    return 0;
}

/* Prepares the first n leases of the last fetch. */
static uint64_t prepare(struct test_groups *t, size_t n)
{
    struct group_lease leases[4];
    bool lost_ones[4];
    size_t lost = 1;
    uint64_t ticket = 0;
    for (size_t i = 0; i < n; i++) {
        leases[i] = t->got[i].lease;
    }
    struct group_leases request = {BYTES_LITERAL("g"), leases, n, lost_ones};
    test_begin(t);
    assert_int_equal(groups_ack_prepare(t->groups, &request, &lost, &ticket), ERR_OK);
    test_end(t);
    assert_int_equal(lost, 0);
    return ticket;
}

static enum verdict submit(struct test_groups *t, uint64_t ticket, struct expectation expected)
{
    struct arena arena;
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    arena_init(&arena, 4096, 1 << 20);
    assert_int_equal(groups_make_acked(t->groups, ticket, &arena, &draft), ERR_OK);
    test_id(test_random(&t->random), id);
    draft.id = bytes_of(id, sizeof id);
    struct command *c = test_command();
    test_add_append(c, "out", expected);
    test_add_event(c, 0, "Made", "{}");
    assert_int_equal(command_add_system_append(c, BYTES_LITERAL(GROUPS_STREAM), TEST_ANY), ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    enum verdict verdict = test_commit(t->store, c);
    command_free(c);
    arena_done(&arena);
    return verdict;
}

/* Committed: settled at the next begin. */
static void test_group_ticket_committed(void **state)
{
    struct test_groups *t = *state;
    uint64_t ticket = prepare(t, 2);
    assert_int_equal(test_status(t, "g").committing, 2);
    assert_int_equal(submit(t, ticket, TEST_NO_STREAM), VERDICT_COMMITTED);
    test_begin(t);
    groups_ack_finish(t->groups, ticket);
    test_end(t);
    struct group_status status = test_status(t, "g");
    assert_true(status.in_flight == 2 && status.committing == 0 && status.counts.acked == 2);
    assert_int_equal(test_ack(t, "g", 0, 1), 1);
    assert_int_equal(test_ack(t, "g", 2, 2), 0);
    groups_ack_finish(t->groups, ticket); /* of a ticket that is over: nothing */
}

/* Refused by the log: in flight again, with the old end. */
static void test_group_ticket_refused(void **state)
{
    struct test_groups *t = *state;
    uint64_t ticket = prepare(t, 2);
    assert_int_equal(submit(t, ticket, TEST_AT(7)), VERDICT_WRONG_EXPECTED_REVISION);
    groups_ack_finish(t->groups, ticket);
    assert_int_equal(test_status(t, "g").committing, 0);
    assert_int_equal(test_ack(t, "g", 0, 4), 0);
}

/* While it is being decided the leases neither expire nor can be used, also after a failed
 * transaction of others. */
static void test_group_ticket_holds(void **state)
{
    struct test_groups *t = *state;
    uint64_t ticket = prepare(t, 2);
    assert_int_equal(test_ack(t, "g", 0, 1), 1);
    t->now_us += 31 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 4), 2); /* those that were not prepared */
    test_begin(t);
    assert_int_equal(test_try_fetch(t, "g", 1), ERR_OK);
    test_abort(t);
    assert_int_equal(test_status(t, "g").committing, 2);
    assert_int_equal(submit(t, ticket, TEST_ANY), VERDICT_COMMITTED);
    assert_int_equal(test_status(t, "g").counts.acked, 2);
    groups_ack_finish(t->groups, ticket);
}

/* A crash before the commit: as if nothing was asked. After it: settled, exactly once. */
static void test_group_ticket_crash(void **state)
{
    struct test_groups *t = *state;
    prepare(t, 2);
    test_groups_crash(t, true);
    assert_int_equal(test_status(t, "g").in_flight, 4);
    uint64_t ticket = prepare(t, 2);
    assert_int_equal(submit(t, ticket, TEST_ANY), VERDICT_COMMITTED);
    for (int i = 0; i < 2; i++) {
        test_groups_crash(t, true);
        struct group_status status = test_status(t, "g");
        assert_true(status.in_flight == 2 && status.counts.acked == 2);
    }
    t->now_us += 31 * TEST_SECOND;
    assert_int_equal(test_fetch(t, "g", 10), 2);
}

/* A seek in between: the leases end; the log's word settles what is owed again only if it was
 * looked at again. */
static void test_group_ticket_seek(void **state)
{
    struct test_groups *t = *state;
    uint64_t ticket = prepare(t, 2);
    test_seek(t, "g", 0);
    assert_int_equal(test_status(t, "g").committing, 0);
    groups_ack_finish(t->groups, ticket);
    assert_int_equal(test_fetch(t, "g", 10), 4);
    assert_int_equal(test_status(t, "g").in_flight, 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_group_ticket_committed), TEST(test_group_ticket_refused),
        TEST(test_group_ticket_holds),     TEST(test_group_ticket_crash),
        TEST(test_group_ticket_seek),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
