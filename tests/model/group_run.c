/* group_run: see group_run.h. */
#include "tests/model/group_run.h"

const char *run_group_name(unsigned group)
{
    static const char *const NAMES[GROUPS] = {"one", "two"};
    return NAMES[group];
}

/* ---- the log ---- */

/* What was committed beside the events of this test is the system's. */
void run_fill_world(struct run *r)
{
    while (r->world.n < store_position(r->t->store)) {
        assert_true(r->world.n < GM_EVENTS_MAX);
        r->world.events[r->world.n++] = (struct gm_world_event){.system = true};
    }
}

static uint64_t revision_of(const struct gm_world *w, unsigned stream)
{
    uint64_t revision = 0;
    for (size_t i = 0; i < w->n; i++) {
        revision += !w->events[i].system && w->events[i].stream == stream ? 1 : 0;
    }
    return revision;
}

void run_note_event(struct run *r, unsigned stream, unsigned type)
{
    uint64_t revision = revision_of(&r->world, stream) + 1;
    assert_true(r->world.n < GM_EVENTS_MAX);
    r->world.events[r->world.n++] = (struct gm_world_event){
        .stream = (uint8_t)stream, .type = (uint8_t)type, .revision = revision};
}

void run_append(struct run *r)
{
    for (unsigned n = 1 + run_below(r, 5); n > 0; n--) {
        unsigned stream = run_below(r, 8), type = run_below(r, GM_TYPES);
        test_put(r->t->store, gm_stream_name(stream), gm_type_name(type), "{}");
        run_note_event(r, stream, type);
    }
}

static void hide_before(struct run *r, unsigned stream, uint64_t revision)
{
    for (size_t i = 0; i < r->world.n; i++) {
        struct gm_world_event *e = &r->world.events[i];
        e->hidden = e->hidden || (!e->system && e->stream == stream && e->revision < revision);
    }
}

static void redact(struct run *r, unsigned stream, uint64_t revision)
{
    for (size_t i = 0; i < r->world.n; i++) {
        struct gm_world_event *e = &r->world.events[i];
        e->redacted = e->redacted || (!e->system && e->stream == stream && e->revision == revision);
    }
}

/* Truncates or deletes a stream, or redacts an event. */
void run_hide(struct run *r)
{
    unsigned stream = run_below(r, 8);
    uint64_t head = revision_of(&r->world, stream);
    if (head == 0) {
        return;
    }
    uint64_t revision = 1 + run_below(r, head);
    struct life_change change = {.set_truncate_before = true, .truncate_before = revision};
    unsigned how = run_below(r, 4);
    struct command *c = how == 0   ? test_delete(gm_stream_name(stream), false)
                        : how == 1 ? test_metadata(gm_stream_name(stream), &change)
                                   : test_redact(gm_stream_name(stream), revision);
    enum verdict verdict = test_commit(r->t->store, c);
    command_free(c);
    run_fill_world(r);
    if (verdict != VERDICT_COMMITTED) {
        return; /* it was so before */
    }
    if (how == 0) {
        hide_before(r, stream, head + 1);
    } else if (how == 1) {
        hide_before(r, stream, revision);
    } else {
        redact(r, stream, revision);
    }
}

/* ---- changes of a group ---- */

struct group_settings run_settings(struct run *r, unsigned *ret_filter)
{
    struct group_settings s = group_settings_default();
    *ret_filter = run_below(r, GM_FILTERS);
    s.filter = gm_filter(*ret_filter);
    s.ordering = run_chance(r, 65) ? GROUP_ORDER_STREAM : GROUP_ORDER_NONE;
    s.on_park = run_chance(r, 60) ? GROUP_PARK_BLOCK : GROUP_PARK_CONTINUE;
    s.ack_timeout_us = (1 + run_below(r, 20)) * TEST_SECOND;
    s.max_attempts = 1 + run_below(r, 4);
    s.max_in_flight = run_chance(r, 50) ? 1000 : 1 + run_below(r, 8);
    s.backoff_initial_us = run_below(r, 3) * TEST_SECOND;
    s.backoff_max_us = 8 * TEST_SECOND;
    return s;
}

void run_change_group(struct run *r)
{
    struct change *c = &r->pending;
    *c = (struct change){.kind = run_chance(r, 50) ? CHANGE_EDIT : CHANGE_SEEK,
                         .group = run_below(r, GROUPS)};
    c->settings = run_settings(r, &c->filter);
    c->place = test_below(&r->random, store_position(r->t->store) + 1);
    if (c->kind == CHANGE_EDIT) {
        test_define(r->t, run_group_name(c->group), &c->settings, 0);
    } else {
        test_seek(r->t, run_group_name(c->group), c->place);
    }
    run_fill_world(r);
    r->has_pending = true;
    r->folded = r->durable_folded = false;
}

/* ---- transactions ---- */

struct group_status run_status(struct run *r, unsigned group)
{
    struct group_status s;
    assert_int_equal(groups_status(r->t->groups, bytes_of_string(run_group_name(group)), &s),
                     ERR_OK);
    return s;
}

static void add_late(struct run *r, unsigned group, struct group_lease lease)
{
    size_t *n = &r->late_count[group];
    r->late[group][*n < LATE_MAX ? (*n)++ : run_below(r, LATE_MAX)] = lease;
}

/* What groups_begin has taken from the log. Status tells how far the group had looked, which no
 * change but a seek moves. */
static void apply_pending(struct run *r)
{
    const struct change *c = &r->pending;
    struct gm_group *m = &r->groups[c->group];
    gm_sync(m, &r->world);
    struct group_status s = run_status(r, c->group);
    if (c->kind == CHANGE_EDIT) {
        gm_edit(m, &r->world, c->filter, &c->settings, s.fetched);
    } else if (c->kind == CHANGE_SEEK) {
        assert_int_equal(s.fetched, c->place);
        gm_seek(m, &r->world, c->place);
    }
    for (size_t i = 0; i < c->n; i++) {
        gm_acked(m, c->positions[i], s.fetched);
    }
    gm_expire(m, r->t->now_us);
    r->folded = true;
}

void run_begin(struct run *r)
{
    test_begin(r->t);
    if (r->has_pending && !r->folded) {
        apply_pending(r);
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        gm_sync(&r->groups[g], &r->world);
    }
}

/* What ended in this transaction is over only if it was committed. */
static void collect_late(struct run *r)
{
    for (unsigned g = 0; g < GROUPS; g++) {
        for (size_t i = 0; i < r->durable[g].n; i++) {
            const struct gm_event *was = &r->durable[g].events[i], *is = &r->groups[g].events[i];
            bool same =
                is->leased && memcmp(&is->lease, &was->lease, sizeof(struct group_lease)) == 0;
            if (was->leased && !same) {
                add_late(r, g, was->lease);
            }
        }
    }
}

void run_committed(struct run *r)
{
    collect_late(r);
    memcpy(r->durable, r->groups, sizeof r->groups);
    r->durable_folded = r->folded;
    if (r->has_pending && r->folded) {
        r->has_pending = false;
    }
}

/* A position may be another lease's meanwhile, after a seek. */
void run_mark(struct gm_group *m, const struct ticket *ticket, bool committing)
{
    for (size_t i = 0; i < ticket->n; i++) {
        struct gm_event *e = gm_at(m, ticket->positions[i]);
        if (e->leased && memcmp(&e->lease, &ticket->leases[i], sizeof e->lease) == 0) {
            e->committing = committing;
        }
    }
}

/* Marks of committing are in memory, and so are tickets. */
void run_undone(struct run *r)
{
    memcpy(r->groups, r->durable, sizeof r->groups);
    r->folded = r->durable_folded;
    for (unsigned g = 0; g < GROUPS; g++) {
        for (size_t i = 0; i < r->groups[g].n; i++) {
            r->groups[g].events[i].committing = false;
        }
    }
    for (size_t t = 0; t < r->ticket_count; t++) {
        run_mark(&r->groups[r->tickets[t].group], &r->tickets[t], true);
    }
    memcpy(r->durable, r->groups, sizeof r->groups);
}
