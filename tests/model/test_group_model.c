/* Random schedules of consumer groups with a driven clock (fetch, ack, nack, extend, expiry, ack
 * with append, park, replay, discard, seek, edit, events hidden meanwhile, transactions that fail
 * or are aborted, crashes), compared with the model: nothing that is owed is lost, nothing is
 * delivered that should not be, the order of a stream holds, late leases are refused.
 * DAYBOOK_TEST_SEED=n repeats a run, DAYBOOK_TEST_OPS=n says how long it is; each schedule has a
 * store of its own. */
#include "tests/model/group_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/base/fault.h"

#define OPS_DEFAULT      5000
#define OPS_PER_SCHEDULE 120
static void expect(const char *wrong, uint64_t position)
{
    if (wrong != NULL) {
        fail_msg("position %" PRIu64 ": %s", position, wrong);
    }
}

/* ---- operations in a transaction ---- */

static err_t take(void *ctx, const struct group_delivery *d)
{
    struct run *r = ctx;
    expect(gm_deliver(&r->groups[r->group], &r->world, d, r->t->now_us), d->record.position);
    return ERR_OK;
}

static err_t do_fetch(struct run *r, unsigned group, uint32_t max)
{
    struct gm_group *m = &r->groups[group];
    struct group_fetched fetched;
    struct group_status status;
    struct group_fetch fetch = {.group = bytes_of_string(run_group_name(group)),
                                .consumer = BYTES_LITERAL("c"),
                                .max = max};
    bytes_put_u64le(fetch.token, test_random(&r->random));
    bytes_put_u64le(fetch.token + 8, test_random(&r->random));
    r->group = group;
    err_t err = groups_status(r->t->groups, fetch.group, &status);
    if (err != ERR_OK) {
        return err;
    }
    gm_note_fetch(m, &r->world, status.fetched);
    err = groups_fetch(r->t->groups, &fetch, take, r, &fetched);
    if (err == ERR_OK && fetched.count < max && !fetched.again && !fetched.in_flight_full) {
        assert_false(fetched.held_full);
        uint64_t missed = gm_deliverable(m, &r->world, r->t->now_us);
        expect(missed == 0 ? NULL : "it could have been delivered", missed);
    }
    return err;
}

/* Some of the group's live leases. */
static size_t pick_leases(struct run *r, unsigned group, struct group_lease *leases,
                          uint64_t *positions, bool committing)
{
    const struct gm_group *m = &r->groups[group];
    unsigned percent = 20 + run_below(r, 80);
    size_t n = 0;
    for (size_t i = 0; i < m->n && n < LEASES_MAX; i++) {
        const struct gm_event *e = &m->events[i];
        if (e->leased && e->committing == committing && run_chance(r, percent)) {
            leases[n] = e->lease;
            positions[n++] = i + 1;
        }
    }
    return n;
}

/* A late lease, or one that is committing, spoils the whole request. */
static void do_late(struct run *r, unsigned group, bool committing)
{
    struct group_lease leases[LEASES_MAX + 1];
    uint64_t positions[LEASES_MAX];
    bool lost[LEASES_MAX + 1];
    size_t n = pick_leases(r, group, leases, positions, false), ret_lost = 0, bad = 1;
    if (committing) {
        bad = pick_leases(r, group, leases, positions, true);
        n = 0;
    } else if (r->late_count[group] == 0) {
        return;
    } else {
        leases[n] = r->late[group][run_below(r, r->late_count[group])];
    }
    struct group_leases request = {bytes_of_string(run_group_name(group)), leases, n + bad, lost};
    if (n + bad > 0) {
        assert_int_equal(groups_ack(r->t->groups, &request, &ret_lost), ERR_OK);
        assert_int_equal(ret_lost, bad);
        assert_true(lost[n + bad - 1]);
    }
}

static void give_back(struct gm_group *m, uint64_t position, const struct group_nack *nack,
                      int64_t now_us)
{
    struct gm_event *e = gm_at(m, position);
    if (nack->action == GROUP_NACK_SKIP) {
        gm_settle(m, position);
    } else if (nack->action == GROUP_NACK_PARK || e->attempts >= m->settings.max_attempts) {
        gm_park(m, position);
    } else {
        e->leased = false;
        e->due_us = nack->delay_us == 0 ? 0 : now_us + nack->delay_us;
    }
}

static err_t do_nack(struct run *r, const struct group_leases *request, struct gm_group *m,
                     const uint64_t *positions)
{
    struct group_nack nack = {.action = (enum group_nack_action)run_below(r, 3),
                              .delay_us = run_below(r, 4) * TEST_SECOND,
                              .reason = BYTES_LITERAL("why"),
                              .random = test_random(&r->random)};
    size_t lost = 0;
    err_t err = groups_nack(r->t->groups, request, &nack, &lost, NULL);
    for (size_t i = 0; i < request->n && err == ERR_OK; i++) {
        assert_int_equal(lost, 0);
        give_back(m, positions[i], &nack, r->t->now_us);
    }
    return err;
}

static err_t do_extend(struct run *r, const struct group_leases *request, struct gm_group *m,
                       const uint64_t *positions)
{
    size_t lost = 0;
    int64_t deadline = 0, timeout = (1 + run_below(r, 30)) * TEST_SECOND;
    err_t err = groups_extend(r->t->groups, request, timeout, &lost, &deadline);
    for (size_t i = 0; i < request->n && err == ERR_OK; i++) {
        assert_int_equal(lost, 0);
        gm_at(m, positions[i])->deadline_us = deadline;
    }
    return err;
}

static err_t do_prepare(struct run *r, const struct group_leases *request, unsigned group,
                        const uint64_t *positions)
{
    size_t lost = 0;
    struct ticket ticket = {.group = group, .n = request->n};
    if (r->ticket_count == TICKETS_MAX) {
        return ERR_OK;
    }
    err_t err = groups_ack_prepare(r->t->groups, request, &lost, &ticket.number);
    if (err == ERR_OK) {
        assert_int_equal(lost, 0);
        memcpy(ticket.positions, positions, request->n * sizeof *positions);
        memcpy(ticket.leases, request->items, request->n * sizeof *request->items);
        for (size_t i = 0; i < request->n; i++) {
            gm_at(&r->groups[group], positions[i])->committing = true;
        }
        r->tickets[r->ticket_count++] = ticket;
    }
    return err;
}

static err_t do_leases(struct run *r, unsigned group)
{
    struct group_lease leases[LEASES_MAX];
    uint64_t positions[LEASES_MAX];
    bool lost_ones[LEASES_MAX];
    size_t n = pick_leases(r, group, leases, positions, false), lost = 0;
    struct gm_group *m = &r->groups[group];
    struct group_leases request = {bytes_of_string(run_group_name(group)), leases, n, lost_ones};
    unsigned what = run_below(r, 10);
    if (n == 0) {
        return ERR_OK;
    }
    if (what < 3) {
        return do_nack(r, &request, m, positions);
    }
    if (what < 4) {
        return do_extend(r, &request, m, positions);
    }
    if (what < 6) {
        return do_prepare(r, &request, group, positions);
    }
    err_t err = groups_ack(r->t->groups, &request, &lost);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        assert_int_equal(lost, 0);
        gm_settle(m, positions[i]);
    }
    return err;
}

static err_t do_select(struct run *r, unsigned group)
{
    struct group_selected some;
    struct gm_group *m = &r->groups[group];
    uint64_t end = store_position(r->t->store);
    unsigned filter = run_chance(r, 60) ? GM_FILTERS : run_below(r, GM_FILTERS);
    struct store_filter names = gm_filter(filter);
    enum gm_select what = (enum gm_select)run_below(r, 3);
    struct group_selection s = {.group = bytes_of_string(run_group_name(group)),
                                .from = run_chance(r, 50) ? 0 : test_below(&r->random, end),
                                .to = run_chance(r, 50) ? 0 : 1 + test_below(&r->random, end),
                                .filter = filter < GM_FILTERS ? &names : NULL,
                                .dry_run = what == GM_COUNT};
    err_t err = what == GM_REPLAY ? groups_replay(r->t->groups, &s, &some)
                                  : groups_discard(r->t->groups, &s, &some);
    if (err == ERR_OK) {
        assert_int_equal(some.next, 0);
        assert_int_equal(some.count, gm_select(m, &r->world, s.from, s.to, filter, what));
    }
    return err;
}

static void check_status(struct run *r, unsigned group)
{
    struct group_status s = run_status(r, group);
    const char *wrong = gm_check_status(&r->groups[group], &r->world, &s);
    if (wrong != NULL) {
        fail_msg("group %s at %" PRIu64 ": %s", run_group_name(group), s.position, wrong);
    }
}

static err_t operate(struct run *r, unsigned group)
{
    unsigned what = run_below(r, 20);
    struct group_status status; /* asked for so that leases expire here and there at once */
    gm_expire(&r->groups[group], r->t->now_us);
    err_t err = groups_status(r->t->groups, bytes_of_string(run_group_name(group)), &status);
    if (err != ERR_OK) {
        return err;
    }
    if (what < 7) {
        return do_fetch(r, group, 1 + run_below(r, 12));
    }
    if (what < 15) {
        return do_leases(r, group);
    }
    if (what < 17) {
        return do_select(r, group);
    }
    /* groups_status and a refused request expire what has, which may park: a write. */
    fault_arm(FAULT_KV_PUT, 0, false);
    if (what < 18) {
        do_late(r, group, run_chance(r, 30));
    } else {
        check_status(r, group);
    }
    return ERR_OK;
}

static void drop_tickets_from(struct run *r, size_t n)
{
    for (; r->ticket_count > n; r->ticket_count--) {
        groups_ack_finish(r->t->groups, r->tickets[r->ticket_count - 1].number);
    }
}

/* One in five fails somewhere, or is given up. */
static void transaction(struct run *r)
{
    bool faulty = run_chance(r, 15), give_up = run_chance(r, 8);
    size_t tickets = r->ticket_count;
    err_t err = ERR_OK;
    run_begin(r);
    if (faulty) {
        fault_arm(run_chance(r, 70) ? FAULT_KV_PUT : FAULT_KV_COMMIT, 1 + run_below(r, 6), true);
    }
    for (unsigned n = 1 + run_below(r, 4); n > 0 && err == ERR_OK; n--) {
        err = operate(r, run_below(r, GROUPS));
    }
    if (err != ERR_OK || give_up) {
        assert_true(err == ERR_OK || (faulty && err == ERR_DISK_FULL));
        test_abort(r->t);
        err = ERR_FULL;
    } else {
        err = test_try_end(r->t);
        assert_true(err == ERR_OK || faulty);
    }
    fault_arm(FAULT_KV_PUT, 0, false);
    fault_arm(FAULT_KV_COMMIT, 0, false);
    if (err == ERR_OK) {
        run_committed(r);
    } else {
        drop_tickets_from(r, tickets);
        run_undone(r);
    }
}

/* ---- acknowledging with an append ---- */

static void release_ticket(struct run *r, size_t at)
{
    const struct ticket *t = &r->tickets[at];
    run_mark(&r->groups[t->group], t, false);
    run_mark(&r->durable[t->group], t, false);
    groups_ack_finish(r->t->groups, t->number);
    r->tickets[at] = r->tickets[--r->ticket_count];
}

/* The append and the acknowledgement are one command, which the log takes or refuses. */
static void submit(struct run *r, struct ticket *ticket, bool refused)
{
    struct arena arena;
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    arena_init(&arena, 4096, 1 << 20);
    assert_int_equal(groups_make_acked(r->t->groups, ticket->number, &arena, &draft), ERR_OK);
    test_id(test_random(&r->random), id);
    draft.id = bytes_of(id, sizeof id);
    struct command *c = test_command();
    test_add_append(c, "out-0", refused ? TEST_AT(999999) : TEST_ANY);
    test_add_event(c, 0, "T0", "{}");
    assert_int_equal(command_add_system_append(c, BYTES_LITERAL(GROUPS_STREAM), TEST_ANY), ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    enum verdict verdict = test_commit(r->t->store, c);
    assert_int_equal(verdict, refused ? VERDICT_WRONG_EXPECTED_REVISION : VERDICT_COMMITTED);
    command_free(c);
    arena_done(&arena);
    if (!refused) {
        run_note_event(r, 8, 0);
        run_fill_world(r);
        r->pending = (struct change){.kind = CHANGE_ACKED, .group = ticket->group, .n = ticket->n};
        memcpy(r->pending.positions, ticket->positions, sizeof ticket->positions);
        r->has_pending = true;
        r->folded = r->durable_folded = false;
    }
    ticket->decided = true;
}

static void resolve(struct run *r)
{
    if (r->ticket_count == 0 || r->has_pending) {
        return;
    }
    size_t at = run_below(r, r->ticket_count);
    if (!r->tickets[at].decided) {
        submit(r, &r->tickets[at], run_chance(r, 40));
    } else {
        release_ticket(r, at);
    }
}

/* Tickets are gone with the memory; what the log says is not. */
static void crash(struct run *r)
{
    if (run_chance(r, 50)) {
        run_begin(r);
        gm_expire(&r->groups[0], r->t->now_us);
        (void)do_fetch(r, 0, 5); /* not committed */
    }
    r->ticket_count = 0;
    test_groups_crash(r->t, run_chance(r, 30));
    run_undone(r);
}

/* ---- schedules ---- */

static void step(struct run *r)
{
    unsigned what = run_below(r, 100);
    if (what < 16 && r->world.n + 40 < GM_EVENTS_MAX) {
        run_append(r);
    } else if (what < 19 && r->world.n + 40 < GM_EVENTS_MAX) {
        run_hide(r);
    } else if (what < 23 && !r->has_pending) {
        run_change_group(r);
    } else if (what < 35) {
        r->t->now_us += run_below(r, 6) * TEST_SECOND;
    } else if (what < 45) {
        resolve(r);
    } else if (what < 49) {
        crash(r);
    } else {
        transaction(r);
    }
}

static void ack_all(struct run *r, unsigned group)
{
    struct gm_group *m = &r->groups[group];
    for (size_t i = 0; i < m->n; i++) {
        struct gm_event *e = &m->events[i];
        bool lost = true;
        size_t ret_lost = 1;
        struct group_leases request = {bytes_of_string(run_group_name(group)), &e->lease, 1, &lost};
        if (e->leased) {
            assert_int_equal(groups_ack(r->t->groups, &request, &ret_lost), ERR_OK);
            assert_int_equal(ret_lost, 0);
            gm_settle(m, i + 1);
        }
    }
}

/* From whatever state it is in, fetching and acknowledging brings out everything that is owed and
 * does not wait behind a parked event; without those, everything. */
static void drain(struct run *r, unsigned group)
{
    for (int round = 0; round < GM_EVENTS_MAX; round++) {
        run_begin(r);
        gm_expire(&r->groups[group], r->t->now_us);
        assert_int_equal(do_fetch(r, group, 100), ERR_OK);
        ack_all(r, group);
        test_end(r->t);
        run_committed(r);
        if (gm_left(&r->groups[group], &r->world) == 0) {
            return;
        }
        r->t->now_us += 10 * TEST_SECOND;
    }
    expect("it is lost", gm_left(&r->groups[group], &r->world));
}

static void finish(struct run *r)
{
    while (r->ticket_count > 0) {
        release_ticket(r, 0);
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        drain(r, g);
        run_begin(r);
        struct group_selection all = {.group = bytes_of_string(run_group_name(g))};
        struct group_selected some;
        assert_int_equal(groups_discard(r->t->groups, &all, &some), ERR_OK);
        gm_select(&r->groups[g], &r->world, 0, 0, GM_FILTERS, GM_DISCARD);
        test_end(r->t);
        run_committed(r);
        drain(r, g);
        run_begin(r);
        check_status(r, g);
        test_end(r->t);
    }
}

static void schedule(struct run *r)
{
    r->t = test_groups_open();
    r->world.n = r->ticket_count = 0;
    r->has_pending = false;
    for (unsigned g = 0; g < GROUPS; g++) {
        struct gm_group *m = &r->groups[g];
        m->settings = run_settings(r, &m->filter);
        m->n = m->place = r->late_count[g] = 0;
        test_define(r->t, run_group_name(g), &m->settings, 0);
    }
    run_fill_world(r);
    test_begin(r->t);
    test_end(r->t);
    for (unsigned g = 0; g < GROUPS; g++) {
        gm_sync(&r->groups[g], &r->world);
    }
    memcpy(r->durable, r->groups, sizeof r->groups);
    r->folded = r->durable_folded = true;
    for (int i = 0; i < OPS_PER_SCHEDULE; i++) {
        step(r);
    }
    finish(r);
    test_groups_close(r->t);
}

static void test_group_schedules(void **state)
{
    (void)state;
    const char *text = getenv("DAYBOOK_TEST_OPS");
    unsigned long ops = text == NULL ? OPS_DEFAULT : strtoul(text, NULL, 10);
    struct run *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->random = test_seed();
    for (unsigned long done = 0; done < ops; done += OPS_PER_SCHEDULE) {
        schedule(r);
    }
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_group_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
