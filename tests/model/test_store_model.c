/* Random operations on a store (appends of all kinds, changes of streams' lives, reads, listings,
 * apply and reclaim steps, reopening, crashes, reindex, verify), compared with the model.
 * DAYBOOK_TEST_SEED=n repeats a run, DAYBOOK_TEST_OPS=n says how long it is. The tail and the
 * segments are so small that freezing, rolling and recycling happen all the time; every few
 * thousand operations a new store is begun with other sizes. */
#include "storage/store_int.h"
#include "tests/model/model_life.h"
#include "tests/model/plan.h"
#include "tests/unit/support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OPS_DEFAULT   5000
#define OPS_PER_STORE 2500
#define GROUP_MAX     4
#define VIEWS_MAX     3
#define NAMES_MAX     3

struct run {
    uint64_t random;
    int64_t now_us;
    struct test_dir dir;
    struct store_options options;
    struct store *store;
    struct model model;
    struct plan_maker maker;
    struct store_view *views[VIEWS_MAX]; /* held while the store changes; may be NULL */
    int64_t view_times[VIEWS_MAX];
    int64_t time_us; /* of the view that is read */
};

static bool chance(struct run *r, unsigned percent)
{
    return test_below(&r->random, 100) < percent;
}

static unsigned below(struct run *r, uint64_t limit)
{
    return (unsigned)test_below(&r->random, limit);
}

/* ---- committing ---- */

/* In one call where they fit into one group, whose segment is small here; a call's second group may
 * find the tail full. */
static void commit_all(struct run *r, struct command **commands, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += command_bytes(commands[i]);
    }
    size_t together = bytes > r->options.segment_bytes - 8192 ? 1 : n;
    for (size_t i = 0; i < n; i += together) {
        test_commit_group(r->store, commands + i, together, r->now_us);
    }
}

static void op_commit(struct run *r)
{
    struct plan plans[GROUP_MAX];
    struct command *commands[GROUP_MAX];
    size_t n = chance(r, 60) ? 1 : 1 + below(r, GROUP_MAX);
    r->now_us += (int64_t)below(r, 1000) - 100;
    r->now_us += chance(r, 5) ? (int64_t)below(r, 5000000) : 0;
    for (size_t i = 0; i < n; i++) {
        plan_next(&r->maker, &plans[i]);
        commands[i] = plan_command(&plans[i]);
    }
    commit_all(r, commands, n);
    for (size_t i = 0; i < n; i++) {
        model_decide(&r->model, &plans[i], r->now_us);
        plan_compare(&plans[i], commands[i]);
        command_free(commands[i]);
    }
    assert_int_equal(store_position(r->store), r->model.n);
}

/* ---- reading ---- */

/* Views are of the model's clock, which a restart does not set back. */
static struct store_view *open_view(struct run *r, int64_t *ret_time_us)
{
    struct store_view *v;
    assert_int_equal(store_view_open(r->store, &v), ERR_OK);
    store_view_set_time(v, r->model.last_time_us);
    *ret_time_us = r->model.last_time_us;
    return v;
}

/* A held view or a new one; *ret_own: to be closed by the caller. */
static struct store_view *random_view(struct run *r, bool *ret_own)
{
    size_t i = below(r, VIEWS_MAX);
    struct store_view *v = r->views[i];
    *ret_own = v == NULL;
    r->time_us = r->view_times[i];
    if (v == NULL) {
        v = open_view(r, &r->time_us);
        assert_int_equal(store_view_position(v), r->model.n);
    }
    return v;
}

static bool can_be_read(const struct run *r, uint64_t position, uint64_t end)
{
    return !model_is_hidden(&r->model, position, end, r->time_us);
}

/* `end`: position of the view that it was read through. */
static void compare_event(const struct run *r, const struct store_record *record, uint64_t end)
{
    char name[MODEL_DATA_MAX];
    struct event event;
    uint8_t id[UUID_BYTES];
    const struct model_event *want = &r->model.events[record->position - 1];
    assert_int_equal(store_record_decode(record, &event), ERR_OK);
    assert_int_equal(event.position, record->position);
    assert_int_equal(event.revision, want->revision);
    assert_int_equal(event.time_us, want->time_us);
    if (want->system) {
        assert_true(bytes_equal(event.stream, BYTES_LITERAL("$streams")));
        return;
    }
    bool redacted = want->redacted_at > 0 && want->redacted_at <= end;
    assert_int_equal(event.redacted, redacted);
    assert_true(bytes_equal(event.stream, model_stream(want->stream, name)));
    assert_true(bytes_equal(event.type, model_type(want->type, name)));
    assert_true(bytes_equal(event.data, redacted ? BYTES_NONE : model_data(want->data, name)));
    test_id(want->id, id);
    assert_true(bytes_equal(event.id, bytes_of(id, UUID_BYTES)));
    assert_int_equal(event.tag_count, __builtin_popcount(want->tags));
}

struct names {
    char text[NAMES_MAX][MODEL_NAME_MAX];
    struct bytes items[NAMES_MAX];
    size_t n;
};

static void random_names(struct run *r, enum name_kind kind, struct names *ret)
{
    ret->n = chance(r, 60) ? 0 : 1 + below(r, NAMES_MAX);
    for (size_t i = 0; i < ret->n; i++) {
        struct bytes name = model_stream(below(r, MODEL_STREAMS), ret->text[i]);
        switch (kind) {
        case NAME_STREAM: /* a prefix */
            name.n = 1 + below(r, name.n);
            break;
        case NAME_CATEGORY:
            name = event_category(name);
            break;
        case NAME_TYPE:
            name = model_type(below(r, MODEL_TYPES + 1), ret->text[i]);
            break;
        case NAME_TAG:
            name = model_tag(below(r, MODEL_TAGS + 1), ret->text[i]);
            break;
        case NAME_KINDS:
            fail();
        }
        ret->items[i] = name;
    }
}

/* The next position that a log read shall give, 0: the end. */
static uint64_t next_match(const struct run *r, const struct store_query *q, uint64_t place,
                           uint64_t end)
{
    for (;;) {
        if (q->backward) {
            place = place == 0 || place > end + 1 ? end : place - 1;
        } else {
            place = place < end ? place + 1 : 0;
        }
        if (place == 0 ||
            (model_matches(&r->model, place, &q->filter) && can_be_read(r, place, end))) {
            return place;
        }
    }
}

static void compare_log(struct run *r, struct store_view *v, const struct store_query *q)
{
    struct store_read *read;
    struct store_record record;
    uint64_t end = store_view_position(v), want = next_match(r, q, q->from, end);
    unsigned limit = chance(r, 15) ? UINT32_MAX : below(r, 40);
    assert_int_equal(store_read_open(v, q, &read), ERR_OK);
    for (unsigned i = 0; i < limit && want != 0; i++) {
        assert_int_equal(store_read_next(read, &record), ERR_OK);
        assert_int_equal(record.position, want);
        assert_int_equal(store_read_place(read), want);
        compare_event(r, &record, end);
        want = q->backward && want == 1 ? 0 : next_match(r, q, want, end);
    }
    if (want == 0) {
        assert_int_equal(store_read_next(read, &record), ERR_END);
        uint64_t last = q->from > end ? q->from : end;
        assert_int_equal(store_read_place(read), q->backward ? 1 : last);
    }
    store_read_close(read);
}

/* 0: no bound. */
static int64_t random_time(struct run *r)
{
    return chance(r, 70) ? 0 : r->now_us - (int64_t)below(r, (uint64_t)r->model.n * 600 + 1000);
}

static void op_read_log(struct run *r)
{
    bool own;
    struct names types, categories, prefixes, tags;
    struct store_view *v = random_view(r, &own);
    random_names(r, NAME_TYPE, &types);
    random_names(r, NAME_CATEGORY, &categories);
    random_names(r, NAME_STREAM, &prefixes);
    random_names(r, NAME_TAG, &tags);
    struct store_query q = {.backward = chance(r, 50),
                            .from = chance(r, 30) ? 0 : below(r, store_view_position(v) + 3),
                            .filter = {.types = types.items,
                                       .type_count = types.n,
                                       .categories = categories.items,
                                       .category_count = categories.n,
                                       .prefixes = prefixes.items,
                                       .prefix_count = prefixes.n,
                                       .tags = tags.items,
                                       .tag_count = tags.n,
                                       .system = chance(r, 30),
                                       .since_us = random_time(r),
                                       .until_us = random_time(r)}};
    bool empty = false; /* the empty category is no name */
    for (size_t i = 0; i < categories.n; i++) {
        empty = empty || categories.items[i].n == 0;
    }
    if (!empty) {
        compare_log(r, v, &q);
    }
    if (own) {
        store_view_close(v);
    }
}

static void compare_stream(struct run *r, struct store_view *v, unsigned stream,
                           const struct store_query *q)
{
    struct store_read *read;
    struct store_record record;
    const struct model_stream_state *s = &r->model.streams[stream];
    uint64_t head = model_head(&r->model, stream, store_view_position(v)), place = q->from;
    uint64_t end = store_view_position(v), first = model_first(&r->model, stream, end, r->time_us);
    bool deleted = head > 0 && model_is_deleted(&r->model, stream, end);
    err_t err = store_read_open(v, q, &read);
    assert_int_equal(err, head == 0 ? ERR_NOT_FOUND : deleted ? ERR_GONE : ERR_OK);
    if (err != ERR_OK) {
        return;
    }
    for (;;) {
        if (q->backward) {
            place = place == 0 || place > head + 1 ? head : place - 1;
        } else {
            place = place < head ? place + 1 : 0;
        }
        if (place == 0) {
            break;
        }
        if (place < first) {
            if (q->backward) {
                break;
            }
            continue;
        }
        char type[MODEL_NAME_MAX];
        uint64_t position = s->positions[place - 1];
        struct bytes name = model_type(r->model.events[position - 1].type, type);
        if (q->filter.type_count == 0 || bytes_equal(q->filter.types[0], name)) {
            assert_int_equal(store_read_next(read, &record), ERR_OK);
            assert_int_equal(record.position, position);
            assert_int_equal(store_read_place(read), place);
            compare_event(r, &record, end);
        }
        if (q->backward && place == 1) {
            break;
        }
    }
    assert_int_equal(store_read_next(read, &record), ERR_END);
    store_read_close(read);
}

static void compare_info(const struct run *r, unsigned stream, uint64_t end,
                         const struct store_stream_info *info)
{
    uint64_t created = r->model.streams[stream].positions[0];
    uint64_t head = model_head(&r->model, stream, end);
    uint64_t first = model_first(&r->model, stream, end, r->time_us);
    struct model_life life = model_life_at(&r->model, stream, end);
    assert_int_equal(info->head_revision, head);
    assert_int_equal(info->first_revision, first);
    assert_int_equal(info->events, head + 1 - first);
    assert_int_equal(info->created_position, created);
    assert_int_equal(info->created_time_us, r->model.events[created - 1].time_us);
    assert_int_equal(info->deleted, model_is_deleted(&r->model, stream, end));
    assert_int_equal(info->tombstoned, life.tombstoned);
    assert_int_equal(info->max_count, life.max_count);
    assert_int_equal(info->max_age_s, life.max_age_s);
    assert_int_equal(info->truncate_before, life.truncate_before);
}

static void op_read_stream(struct run *r)
{
    bool own;
    char name[MODEL_NAME_MAX], type_text[MODEL_NAME_MAX];
    unsigned stream = below(r, chance(r, 60) ? 6 : MODEL_STREAMS);
    struct store_view *v = random_view(r, &own);
    struct bytes type = model_type(below(r, MODEL_TYPES), type_text);
    uint64_t head = model_head(&r->model, stream, store_view_position(v));
    struct store_query q = {.stream = model_stream(stream, name),
                            .backward = chance(r, 50),
                            .from = chance(r, 20) ? 0 : below(r, head + 3),
                            .filter = {.types = &type, .type_count = chance(r, 30)}};
    compare_stream(r, v, stream, &q);
    struct store_stream_info info;
    err_t err = store_get_stream(v, q.stream, &info);
    assert_int_equal(err, head == 0 ? ERR_NOT_FOUND : ERR_OK);
    if (head > 0) {
        compare_info(r, stream, store_view_position(v), &info);
    }
    if (own) {
        store_view_close(v);
    }
}

/* What asking for one event of a stream comes to. */
static err_t expected_of(const struct run *r, unsigned stream, uint64_t revision, uint64_t end)
{
    uint64_t head = model_head(&r->model, stream, end);
    if (head > 0 && model_is_deleted(&r->model, stream, end)) {
        return ERR_GONE;
    }
    bool there = revision >= model_first(&r->model, stream, end, r->time_us) && revision <= head;
    return there ? ERR_OK : ERR_NOT_FOUND;
}

static void get_position(struct run *r, struct store_view *v)
{
    struct store_record record;
    uint64_t end = store_view_position(v), position = below(r, end + 2);
    err_t want = ERR_NOT_FOUND;
    if (position > 0 && position <= end) {
        const struct model_event *e = &r->model.events[position - 1];
        want = e->system ? ERR_OK : expected_of(r, e->stream, e->revision, end);
    }
    assert_int_equal(store_get_event(v, position, &record), want);
    if (want == ERR_OK) {
        compare_event(r, &record, end);
    }
}

static void op_get(struct run *r)
{
    bool own;
    char name[MODEL_NAME_MAX];
    struct store_view *v = random_view(r, &own);
    struct store_record record;
    uint64_t end = store_view_position(v);
    get_position(r, v);
    unsigned stream = below(r, chance(r, 60) ? 6 : MODEL_STREAMS);
    uint64_t head = model_head(&r->model, stream, end), revision = below(r, head + 2);
    err_t err = store_get_stream_event(v, model_stream(stream, name), revision, &record);
    assert_int_equal(err, expected_of(r, stream, revision, end));
    if (err == ERR_OK) {
        assert_int_equal(record.position, r->model.streams[stream].positions[revision - 1]);
        compare_event(r, &record, end);
    }
    if (own) {
        store_view_close(v);
    }
}

static void op_list(struct run *r)
{
    static struct model_name want[MODEL_STREAMS];
    bool own;
    char prefix[MODEL_NAME_MAX], after[MODEL_NAME_MAX];
    struct store_view *v = random_view(r, &own);
    struct store_name_list list;
    struct store_list_query q = {.kind = (enum store_names)below(r, 4), .limit = 1 + below(r, 120)};
    if (chance(r, 40)) {
        q.prefix = model_stream(below(r, MODEL_STREAMS), prefix);
        q.prefix.n = below(r, q.prefix.n + 1);
    }
    if (chance(r, 40)) {
        q.after = model_stream(below(r, MODEL_STREAMS), after);
    }
    size_t n = model_list(&r->model, &q, store_view_position(v), r->time_us, want);
    assert_int_equal(store_list_names(v, &q, &list), ERR_OK);
    assert_int_equal(list.n, n < q.limit ? n : q.limit);
    assert_int_equal(list.end, n <= q.limit);
    for (size_t i = 0; i < list.n; i++) {
        assert_true(bytes_equal(list.items[i].name, bytes_of_string(want[i].name)));
        /* Those that are hidden count until they are reclaimed, except of a stream. */
        uint64_t least = q.kind == STORE_STREAMS ? want[i].events : want[i].visible;
        assert_in_range(list.items[i].events, least, want[i].events);
    }
    store_name_list_done(&list);
    if (own) {
        store_view_close(v);
    }
}

/* ---- the store's life ---- */

static void drop_views(struct run *r)
{
    for (size_t i = 0; i < VIEWS_MAX; i++) {
        store_view_close(r->views[i]);
        r->views[i] = NULL;
    }
}

static void op_hold_view(struct run *r)
{
    size_t i = below(r, VIEWS_MAX);
    store_view_close(r->views[i]);
    r->views[i] = NULL;
    if (chance(r, 70)) {
        r->views[i] = open_view(r, &r->view_times[i]);
    }
}

static void op_apply(struct run *r)
{
    bool more = true, flush = chance(r, 40);
    for (unsigned steps = 1 + below(r, 4); steps > 0 && more; steps--) {
        assert_int_equal(store_apply(r->store, flush, &more), ERR_OK);
    }
    if (chance(r, 30)) {
        assert_int_equal(store_prepare(r->store), ERR_OK);
    }
}

static void check_facts(struct run *r)
{
    struct store_stats stats;
    uint64_t streams = 0;
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        streams += r->model.streams[i].n > 0;
    }
    assert_int_equal(store_get_stats(r->store, &stats), ERR_OK);
    assert_int_equal(stats.position, r->model.n);
    assert_int_equal(stats.streams, streams);
    assert_true(stats.applied_position <= stats.position);
}

/* Times go on from the last event's, or from what reclaim was told: the next command is after
 * both. */
static void take_over(struct run *r)
{
    r->store = test_open_with(&r->options);
    r->now_us = r->now_us < r->model.last_time_us ? r->model.last_time_us : r->now_us;
    r->now_us += 100;
    check_facts(r);
}

/* Some steps of reclaim, often with more or less of what is committed applied. */
static void op_reclaim(struct run *r)
{
    bool more = true;
    r->model.last_time_us = r->now_us > r->model.last_time_us ? r->now_us : r->model.last_time_us;
    if (chance(r, 50)) {
        test_apply_all(r->store);
    }
    for (unsigned steps = 1 + below(r, 12); steps > 0 && more; steps--) {
        assert_int_equal(store_reclaim(r->store, r->now_us, &more), ERR_OK);
    }
}

static void op_reopen(struct run *r)
{
    drop_views(r);
    store_close(r->store);
    take_over(r);
}

static void op_crash(struct run *r)
{
    struct test_dir copy;
    drop_views(r);
    test_dir_crash(&r->dir, &copy);
    store_close(r->store);
    test_dir_remove(&r->dir);
    r->dir = copy;
    take_over(r);
}

static void op_verify(struct run *r)
{
    test_verify_clean(r->store, r->model.n);
}

static void op_reindex(struct run *r)
{
    drop_views(r);
    assert_int_equal(store_reindex(r->store, NULL, NULL), ERR_OK);
    check_facts(r);
    test_verify_clean(r->store, r->model.n);
}

static const struct {
    void (*run)(struct run *r);
    unsigned weight; /* of 1000 */
} OPS[] = {{op_commit, 480}, {op_read_log, 140}, {op_read_stream, 110}, {op_get, 80},
           {op_list, 40},    {op_apply, 70},     {op_reclaim, 20},      {op_hold_view, 40},
           {op_reopen, 8},   {op_crash, 6},      {op_verify, 4},        {op_reindex, 2}};

static void random_op(struct run *r)
{
    unsigned pick = below(r, 1000);
    for (size_t i = 0; i < sizeof OPS / sizeof *OPS; i++) {
        if (pick < OPS[i].weight) {
            OPS[i].run(r);
            return;
        }
        pick -= OPS[i].weight;
    }
}

/* As if every other name had the same bit in the filter as one with a life: nothing may follow from
 * that. A restart empties it. */
static void flood_filter(struct run *r)
{
    if (chance(r, 50)) {
        memset((void *)r->store->life_bits, 0xff, sizeof r->store->life_bits);
        atomic_store(&r->store->has_lives, true);
    }
}

static void start(struct run *r)
{
    test_dir_make(&r->dir);
    r->options = test_options(&r->dir);
    r->options.tail_bytes_max = (uint64_t)(16 + below(r, 400)) << 10;
    r->options.segment_bytes = (uint64_t)(16 + below(r, 40)) * 4096;
    r->now_us = TEST_TIME_US;
    r->maker.plan_count = 0;
    model_init(&r->model);
    r->store = test_open_with(&r->options);
    flood_filter(r);
}

static void finish(struct run *r)
{
    op_reopen(r);
    op_verify(r);
    store_close(r->store);
    model_done(&r->model);
    test_dir_remove(&r->dir);
}

/* Whatever happens to it, the store answers what the model answers. */
static void test_store_behaves_like_the_model(void **state)
{
    (void)state;
    static struct run r;
    const char *text = getenv("DAYBOOK_TEST_OPS");
    unsigned long ops = text == NULL ? OPS_DEFAULT : strtoul(text, NULL, 10);
    r = (struct run){.random = test_seed()};
    r.maker = (struct plan_maker){.random = r.random + 1, .model = &r.model, .next_id = 1};
    for (unsigned long done = 0; done < ops;) {
        start(&r);
        for (unsigned long n = 0; n < OPS_PER_STORE && done < ops; n++, done++) {
            random_op(&r);
        }
        finish(&r);
    }
    print_message("DAYBOOK_TEST_OPS=%lu\n", ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_behaves_like_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
