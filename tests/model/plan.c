/* plan: see plan.h. */
#include "tests/model/plan.h"

#include "tests/unit/support.h"

static bool chance(struct plan_maker *m, unsigned percent)
{
    return test_below(&m->random, 100) < percent;
}

static unsigned below(struct plan_maker *m, uint64_t limit)
{
    return (unsigned)test_below(&m->random, limit);
}

/* ---- making plans ---- */

/* A few streams get most of the events. */
static unsigned random_stream(struct plan_maker *m)
{
    return chance(m, 60) ? below(m, 6) : below(m, MODEL_STREAMS);
}

static struct expectation random_expectation(struct plan_maker *m, unsigned stream)
{
    uint64_t head = m->model->streams[stream].n;
    switch (below(m, 8)) {
    case 0:
        return TEST_NO_STREAM;
    case 1:
        return TEST_EXISTS;
    case 2:
        return TEST_AT(below(m, head + 3));
    case 3:
    case 4:
        return TEST_AT(head);
    default:
        return TEST_ANY;
    }
}

static void random_event(struct plan_maker *m, unsigned stream, struct model_event *ret)
{
    const struct model_stream_state *s = &m->model->streams[stream];
    if (s->n > 0 && chance(m, 6)) {
        *ret = m->model->events[s->positions[below(m, s->n)] - 1];
        ret->id_given = true;
        ret->data += chance(m, 20);
        return;
    }
    *ret = (struct model_event){.stream = stream,
                                .type = below(m, MODEL_TYPES),
                                .tags = chance(m, 50) ? below(m, 1u << MODEL_TAGS) : 0,
                                .data = m->next_data++,
                                .id = m->next_id++,
                                .id_given = chance(m, 60)};
    /* The same id in another stream is another event; twice in one command it is a mistake. */
    if (chance(m, 2) && m->model->n > 0) {
        ret->id = m->model->events[below(m, m->model->n)].id;
        ret->id_given = true;
    }
}

/* Mostly a position near the end, as of a writer that has just read, and few events match. */
static void random_condition(struct plan_maker *m, struct plan *p)
{
    uint64_t back = chance(m, 70) ? below(m, 8) : below(m, m->model->n + 1);
    p->condition_after = back < m->model->n ? m->model->n - back : m->model->n + below(m, 2);
    p->item_count = 1 + below(m, PLAN_ITEMS_MAX);
    for (size_t i = 0; i < p->item_count; i++) {
        p->items[i].types = chance(m, 60) ? 1u << below(m, MODEL_TYPES) : 0;
        p->items[i].types |= chance(m, 20) ? 1u << below(m, MODEL_TYPES) : 0;
        p->items[i].tags = p->items[i].types == 0 || chance(m, 70) ? 1u << below(m, MODEL_TAGS) : 0;
        p->items[i].tags |= chance(m, 50) ? 1u << below(m, MODEL_TAGS) : 0;
    }
}

/* A change of a stream's life, of one in ten commands. */
static void random_life(struct plan_maker *m, struct plan *p)
{
    unsigned stream = random_stream(m);
    uint64_t head = m->model->streams[stream].n;
    static const enum command_kind KINDS[] = {COMMAND_SET_METADATA, COMMAND_SET_METADATA,
                                              COMMAND_DELETE_STREAM, COMMAND_REDACT,
                                              COMMAND_REDACT};
    *p = (struct plan){.kind = KINDS[below(m, 5)]};
    p->life.stream = stream;
    p->life.revision = below(m, head + 2);
    p->life.tombstone = stream > 20 && chance(m, 30);
    p->life.change = (struct life_change){.set_max_count = chance(m, 40),
                                          .set_max_age = chance(m, 40),
                                          .set_truncate_before = chance(m, 40),
                                          .max_count = chance(m, 40) ? 0 : below(m, 40),
                                          .max_age_s = chance(m, 40) ? 0 : below(m, 30),
                                          .truncate_before = head - below(m, head / 3 + 1)};
    p->life.change.truncate_before += chance(m, 10) ? 2 : 0;
}

static void random_plan(struct plan_maker *m, struct plan *p)
{
    if (chance(m, 10)) {
        random_life(m, p);
        return;
    }
    *p = (struct plan){.append_count = chance(m, 80) ? 1 : 1 + below(m, PLAN_APPENDS_MAX),
                       .check_count = chance(m, 85) ? 0 : below(m, PLAN_CHECKS_MAX + 1)};
    for (size_t i = 0; i < p->append_count; i++) {
        unsigned stream = i > 0 && chance(m, 20) ? p->appends[0].stream : random_stream(m);
        p->appends[i].stream = stream;
        p->appends[i].expected = random_expectation(m, stream);
        p->appends[i].first = p->event_count;
        p->appends[i].n = 1 + below(m, PLAN_EVENTS_MAX / PLAN_APPENDS_MAX);
        for (size_t k = 0; k < p->appends[i].n; k++) {
            random_event(m, stream, &p->events[p->event_count++]);
        }
    }
    for (size_t i = 0; i < p->check_count; i++) {
        p->checks[i].stream = random_stream(m);
        p->checks[i].expected = random_expectation(m, p->checks[i].stream);
    }
    if (chance(m, 25)) {
        random_condition(m, p);
    }
}

void plan_next(struct plan_maker *m, struct plan *p)
{
    if (m->plan_count > 0 && chance(m, 8)) {
        *p = m->plans[below(m, m->plan_count < PLANS_KEPT ? m->plan_count : PLANS_KEPT)];
        for (size_t i = 0; i < p->event_count; i++) { /* those the server makes are always new */
            p->events[i].id = p->events[i].id_given ? p->events[i].id : m->next_id++;
        }
    } else {
        random_plan(m, p);
        m->plans[m->plan_count++ % PLANS_KEPT] = *p;
    }
}

/* ---- commands ---- */

static void add_event(struct command *c, const struct model_event *e)
{
    char type[MODEL_NAME_MAX], data[MODEL_DATA_MAX], tags[MODEL_TAGS][MODEL_NAME_MAX];
    struct bytes items[MODEL_TAGS];
    uint8_t id[UUID_BYTES];
    test_id(e->id, id);
    struct event_draft draft = {.id = bytes_of(id, UUID_BYTES),
                                .id_given = e->id_given,
                                .type = model_type(e->type, type),
                                .data = model_data(e->data, data),
                                .tags = items};
    for (unsigned tag = 0; tag < MODEL_TAGS; tag++) {
        if ((e->tags >> tag & 1) != 0) {
            items[draft.tag_count] = model_tag(tag, tags[draft.tag_count]);
            draft.tag_count++;
        }
    }
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
}

static void add_item(struct command *c, unsigned type_bits, unsigned tag_bits)
{
    char type_names[MODEL_TYPES][MODEL_NAME_MAX], tag_names[MODEL_TAGS][MODEL_NAME_MAX];
    struct bytes types[MODEL_TYPES], tags[MODEL_TAGS];
    struct condition_item item = {.types = types, .tags = tags};
    for (unsigned i = 0; i < MODEL_TYPES; i++) {
        if ((type_bits >> i & 1) != 0) {
            types[item.type_count++] = model_type(i, type_names[i]);
        }
    }
    for (unsigned i = 0; i < MODEL_TAGS; i++) {
        if ((tag_bits >> i & 1) != 0) {
            tags[item.tag_count++] = model_tag(i, tag_names[i]);
        }
    }
    assert_int_equal(command_add_condition_item(c, &item), ERR_OK);
}

static struct command *life_command(const struct plan *p)
{
    static uint64_t next_id = (uint64_t)1 << 61;
    char name[MODEL_NAME_MAX];
    uint8_t id[UUID_BYTES];
    struct command *c = test_command();
    struct bytes stream = model_stream(p->life.stream, name), fresh = bytes_of(id, UUID_BYTES);
    test_id(next_id++, id);
    err_t err = ERR_OK;
    switch (p->kind) {
    case COMMAND_SET_METADATA:
        err = command_set_metadata(c, stream, TEST_ANY, &p->life.change, fresh);
        break;
    case COMMAND_DELETE_STREAM:
        err = command_delete_stream(c, stream, TEST_ANY, p->life.tombstone, fresh);
        break;
    case COMMAND_REDACT:
        err = command_redact(c, stream, p->life.revision, BYTES_NONE, fresh);
        break;
    case COMMAND_APPEND:
        fail();
    }
    assert_int_equal(err, ERR_OK);
    return c;
}

struct command *plan_command(const struct plan *p)
{
    char name[MODEL_NAME_MAX];
    if (p->kind != COMMAND_APPEND) {
        return life_command(p);
    }
    struct command *c = test_command();
    for (size_t i = 0; i < p->append_count; i++) {
        struct bytes stream = model_stream(p->appends[i].stream, name);
        assert_int_equal(command_add_append(c, stream, p->appends[i].expected), ERR_OK);
        for (size_t k = 0; k < p->appends[i].n; k++) {
            add_event(c, &p->events[p->appends[i].first + k]);
        }
    }
    for (size_t i = 0; i < p->check_count; i++) {
        struct bytes stream = model_stream(p->checks[i].stream, name);
        assert_int_equal(command_add_check(c, stream, p->checks[i].expected), ERR_OK);
    }
    for (size_t i = 0; i < p->item_count; i++) {
        add_item(c, p->items[i].types, p->items[i].tags);
    }
    command_set_condition_after(c, p->condition_after);
    return c;
}

static void compare_results(const struct command *c, const struct plan *p)
{
    for (size_t i = 0; i < p->append_count; i++) {
        const struct append_result *got = command_result(c, i), *want = &p->results[i];
        assert_int_equal(got->first_revision, want->first_revision);
        assert_int_equal(got->last_revision, want->last_revision);
        assert_int_equal(got->first_position, want->first_position);
        assert_int_equal(got->last_position, want->last_position);
        assert_int_equal(got->duplicate, want->duplicate);
    }
}

static void compare_violations(const struct command *c, const struct plan *p)
{
    char name[MODEL_NAME_MAX];
    assert_int_equal(command_violations(c), p->violation_count);
    for (size_t i = 0; i < p->violation_count; i++) {
        const struct violation *got = command_violation(c, i);
        assert_true(bytes_equal(got->stream, model_stream(p->violations[i].stream, name)));
        assert_int_equal(got->expected.kind, p->violations[i].expected.kind);
        assert_int_equal(got->actual, p->violations[i].actual);
    }
    size_t matches = 0;
    for (size_t i = 0; i < p->item_count; i++) {
        if (p->matches[i] != 0) {
            assert_true(matches < command_condition_violations(c));
            const struct condition_violation *got = command_condition_violation(c, matches++);
            assert_int_equal(got->item, i);
            assert_int_equal(got->position, p->matches[i]);
        }
    }
    assert_int_equal(command_condition_violations(c), matches);
}

static void compare_life(const struct command *c, const struct plan *p)
{
    const struct life_result *got = command_life_result(c), *want = &p->life.result;
    if (p->verdict == VERDICT_COMMITTED || p->verdict == VERDICT_DUPLICATE) {
        assert_int_equal(got->position, want->position);
        assert_int_equal(got->head_revision, want->head_revision);
        assert_int_equal(got->first_revision, want->first_revision);
        assert_int_equal(got->deleted, want->deleted);
        assert_int_equal(got->tombstoned, want->tombstoned);
    }
}

void plan_compare(const struct plan *p, const struct command *c)
{
    assert_int_equal(command_verdict(c), p->verdict);
    if (p->kind != COMMAND_APPEND) {
        compare_life(c, p);
        return;
    }
    switch (p->verdict) {
    case VERDICT_COMMITTED:
    case VERDICT_DUPLICATE:
        compare_results(c, p);
        break;
    case VERDICT_WRONG_EXPECTED_REVISION:
    case VERDICT_CONDITION_FAILED:
        compare_violations(c, p);
        break;
    case VERDICT_ID_REUSED:
    case VERDICT_PARTIAL_DUPLICATE:
        assert_int_equal(command_fault_append(c), p->fault_append);
        assert_int_equal(command_fault_event(c), p->fault_event);
        break;
    case VERDICT_STREAM_DELETED:
        assert_int_equal(command_fault_append(c), p->fault_append);
        break;
    case VERDICT_NONE:
    case VERDICT_CONDITION_TOO_BROAD:
    case VERDICT_FAILED:
    case VERDICT_STREAM_NOT_FOUND:
    case VERDICT_EVENT_NOT_FOUND:
    case VERDICT_INVALID_TRUNCATION:
        fail();
    }
}
