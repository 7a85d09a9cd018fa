/* Tests of storage/read.c: every filter against a walk over the whole log. */
#include "storage/store_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS     2500
#define CATEGORIES 80
#define ITEMS_MAX  3

static const char *const TYPES[] = {"Placed", "Paid", "Sent", "Rare"};
static const char *const TAGS[] = {"red", "green", "vip"};

/* What is in the store, event by event. */
struct row {
    char stream[24];
    const char *type;
    unsigned tags;
    int64_t time_us;
    uint64_t revision;
};

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct row rows[EVENTS + 1]; /* by position */
};

static void make_row(struct row *row, uint64_t *random)
{
    uint64_t kind = test_below(random, 10), n = test_below(random, 100);
    if (kind < 6) {
        snprintf(row->stream, sizeof row->stream, "order-%" PRIu64, n);
    } else if (kind < 9) { /* more categories than one filter takes */
        snprintf(row->stream, sizeof row->stream, "c%" PRIu64 "-%" PRIu64, n % CATEGORIES, n % 3);
    } else {
        snprintf(row->stream, sizeof row->stream, "%s", n % 2 == 0 ? "-x" : "order");
    }
    row->type = TYPES[n == 7 ? 3 : test_below(random, 3)];
    row->tags = (unsigned)test_below(random, 8);
}

/* Many events have the same time, and now and then there is a gap. */
static void date_row(struct fixture *f, uint64_t p, uint64_t *random)
{
    static const int64_t STEPS[] = {0, 0, 0, 0, 1, 1, 5, 1000000};
    int64_t before = p == 1 ? TEST_TIME_US : f->rows[p - 1].time_us;
    f->rows[p].time_us = before + STEPS[test_below(random, 8)];
    f->rows[p].revision = 1;
    for (uint64_t i = p - 1; i > 0; i--) {
        if (strcmp(f->rows[i].stream, f->rows[p].stream) == 0) {
            f->rows[p].revision = f->rows[i].revision + 1;
            break;
        }
    }
}

static void put_row(struct store *s, const struct row *row)
{
    char tags[32] = "";
    for (unsigned i = 0; i < 3; i++) {
        if ((row->tags >> i & 1) != 0) {
            size_t n = strlen(tags);
            snprintf(tags + n, sizeof tags - n, "%s%s", n == 0 ? "" : " ", TAGS[i]);
        }
    }
    struct command *c = test_command();
    test_add_append(c, row->stream, TEST_ANY);
    test_add_tagged(c, 0, row->type, tags);
    test_commit_group(s, &c, 1, row->time_us);
    assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
    command_free(c);
}

/* A third of the events is in LMDB, a third in frozen generations, a third in the active one. */
static int set_up(void **state)
{
    static struct fixture f;
    uint64_t random = test_seed();
    test_dir_make(&f.dir);
    struct store_options options = test_options(&f.dir);
    options.tail_bytes_max = (uint64_t)16 << 20;
    f.store = test_open_with(&options);
    for (uint64_t p = 1; p <= EVENTS; p++) {
        make_row(&f.rows[p], &random);
        date_row(&f, p, &random);
        put_row(f.store, &f.rows[p]);
        if (p == EVENTS / 3) {
            test_apply_all(f.store);
        } else if (p == EVENTS / 2 || p == 2 * EVENTS / 3) {
            (void)tail_oldest_frozen(&f.store->tail, true);
        }
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

/* ---- the walk ---- */

static bool any_equal(const struct bytes *items, size_t n, struct bytes name)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_equal(items[i], name)) {
            return true;
        }
    }
    return n == 0;
}

static bool any_prefix(const struct bytes *items, size_t n, struct bytes name)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_have_prefix(name, items[i])) {
            return true;
        }
    }
    return n == 0;
}

static bool any_tag(const struct bytes *items, size_t n, unsigned tags)
{
    for (unsigned i = 0; i < 3; i++) {
        if ((tags >> i & 1) != 0 && any_equal(items, n, bytes_of_string(TAGS[i]))) {
            return true;
        }
    }
    return n == 0;
}

static bool passes(const struct row *row, const struct store_filter *f)
{
    struct bytes stream = bytes_of_string(row->stream);
    return any_equal(f->types, f->type_count, bytes_of_string(row->type)) &&
           any_equal(f->categories, f->category_count, event_category(stream)) &&
           any_prefix(f->prefixes, f->prefix_count, stream) &&
           any_tag(f->tags, f->tag_count, row->tags) && row->time_us >= f->since_us &&
           (f->until_us == 0 || row->time_us < f->until_us);
}

/* Reads it all, in portions where the read says so, and compares with the walk. */
static void compare(const struct fixture *f, struct store_query q)
{
    struct store_view *v;
    struct store_read *read;
    struct store_record record;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_read_open(v, &q, &read), ERR_OK);
    uint64_t p = q.from == 0 && q.backward ? EVENTS + 1 : q.from;
    for (;;) {
        err_t err = store_read_next(read, &record);
        if (err == ERR_FULL) {
            continue;
        }
        do {
            p = q.backward ? p - 1 : p + 1;
        } while (p > 0 && p <= EVENTS && !passes(&f->rows[p], &q.filter));
        if (p == 0 || p > EVENTS) {
            assert_int_equal(err, ERR_END);
            break;
        }
        assert_int_equal(err, ERR_OK);
        assert_int_equal(record.position, p);
    }
    store_read_close(read);
    store_view_close(v);
}

static void compare_both_ways(const struct fixture *f, const struct store_filter *filter,
                              uint64_t *random)
{
    uint64_t from = test_below(random, EVENTS);
    compare(f, (struct store_query){.filter = *filter});
    compare(f, (struct store_query){.filter = *filter, .backward = true});
    compare(f, (struct store_query){.filter = *filter, .from = from});
    compare(f, (struct store_query){.filter = *filter, .from = from + 1, .backward = true});
}

/* ---- the tests ---- */

/* Each filter alone and no filter at all give what the walk gives. */
static void test_store_read_next_single_filters(void **state)
{
    static const char *const NAMES[] = {"Placed", "Rare", "order", "c3",      "-x",  "vip",
                                        "none",   "o",    "c",     "order-1", "c7-", "-"};
    uint64_t random = 1;
    compare_both_ways(*state, &(struct store_filter){0}, &random);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        struct bytes name = bytes_of_string(NAMES[i]);
        struct store_filter filters[4] = {{.types = &name, .type_count = 1},
                                          {.categories = &name, .category_count = 1},
                                          {.prefixes = &name, .prefix_count = 1},
                                          {.tags = &name, .tag_count = 1}};
        for (size_t k = 0; k < 4; k++) {
            compare_both_ways(*state, &filters[k], &random);
        }
    }
}

static size_t pick(struct bytes *ret, const char *const *names, size_t n, uint64_t *random)
{
    size_t count = test_below(random, 2) * (1 + test_below(random, ITEMS_MAX));
    for (size_t i = 0; i < count; i++) {
        ret[i] = bytes_of_string(names[test_below(random, n)]);
    }
    return count;
}

/* Any combination of filters gives what the walk gives. */
static void test_store_read_next_combined_filters(void **state)
{
    static const char *const CATEGORY_NAMES[] = {"order", "c1", "c2", "c55", "none"};
    static const char *const PREFIXES[] = {"o", "order-1", "c", "c1", "order-77", "-", "zz", "ord"};
    uint64_t random = test_seed();
    for (int i = 0; i < 150; i++) {
        struct bytes types[ITEMS_MAX], categories[ITEMS_MAX], prefixes[ITEMS_MAX], tags[ITEMS_MAX];
        struct store_filter f = {
            .types = types, .categories = categories, .prefixes = prefixes, .tags = tags};
        f.type_count = pick(types, TYPES, 4, &random);
        f.category_count = pick(categories, CATEGORY_NAMES, 5, &random);
        f.prefix_count = pick(prefixes, PREFIXES, 8, &random);
        f.tag_count = pick(tags, TAGS, 3, &random);
        compare_both_ways(*state, &f, &random);
    }
}

/* ---- times ---- */

/* Times at, before, behind and between the events'. */
static int64_t pick_time(const struct fixture *f, uint64_t *random)
{
    switch (test_below(random, 6)) {
    case 0:
        return 0;
    case 1:
        return f->rows[1].time_us - (int64_t)test_below(random, 3);
    case 2:
        return f->rows[EVENTS].time_us + (int64_t)test_below(random, 3);
    default:
        return f->rows[1 + test_below(random, EVENTS)].time_us + (int64_t)test_below(random, 3) - 1;
    }
}

/* Times are bounds, with and without other filters, from any place and in both directions. */
static void test_store_read_next_times(void **state)
{
    const struct fixture *f = *state;
    uint64_t random = test_seed();
    for (int i = 0; i < 400; i++) {
        struct bytes types[ITEMS_MAX], tags[ITEMS_MAX];
        struct store_filter filter = {.types = types,
                                      .tags = tags,
                                      .since_us = pick_time(f, &random),
                                      .until_us = pick_time(f, &random)};
        filter.type_count = i % 2 == 0 ? 0 : pick(types, TYPES, 4, &random);
        filter.tag_count = i % 4 < 2 ? 0 : pick(tags, TAGS, 3, &random);
        compare_both_ways(f, &filter, &random);
    }
}

/* Positions of the stream's events that a query gives, in its order. */
static size_t walk_stream(const struct fixture *f, const char *stream, const struct store_query *q,
                          uint64_t ret[EVENTS])
{
    size_t n = 0;
    for (uint64_t i = 1; i <= EVENTS; i++) {
        uint64_t p = q->backward ? EVENTS + 1 - i : i;
        const struct row *row = &f->rows[p];
        bool there =
            q->backward ? q->from == 0 || row->revision < q->from : row->revision > q->from;
        if (there && strcmp(row->stream, stream) == 0 && passes(row, &q->filter)) {
            ret[n++] = p;
        }
    }
    return n;
}

/* The same for a stream, whose type filter is looked up in its records. */
static void test_store_read_next_times_of_a_stream(void **state)
{
    static const char *const STREAMS[] = {"order", "-x", "order-7", "order-42"};
    static uint64_t wanted[EVENTS];
    const struct fixture *f = *state;
    uint64_t random = test_seed();
    struct store_view *v;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    for (int i = 0; i < 400; i++) {
        const char *stream = STREAMS[i % 4];
        struct bytes types[ITEMS_MAX];
        struct store_query q = {.stream = bytes_of_string(stream),
                                .backward = test_below(&random, 2) == 0,
                                .from = test_below(&random, 3) == 0 ? 0 : test_below(&random, 140),
                                .filter = {.types = types,
                                           .since_us = pick_time(f, &random),
                                           .until_us = pick_time(f, &random)}};
        q.filter.type_count = pick(types, TYPES, 4, &random);
        size_t n = walk_stream(f, stream, &q, wanted);
        struct store_read *read;
        struct store_record record;
        assert_int_equal(store_read_open(v, &q, &read), ERR_OK);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(store_read_next(read, &record), ERR_OK);
            assert_int_equal(record.position, wanted[k]);
            assert_int_equal(store_read_place(read), f->rows[wanted[k]].revision);
        }
        assert_int_equal(store_read_next(read, &record), ERR_END);
        store_read_close(read);
    }
    store_view_close(v);
}

/* An event must have every one of all_tags. */
static void test_store_read_next_all_tags(void **state)
{
    const struct fixture *f = *state;
    struct bytes tags[] = {bytes_of_string(TAGS[0]), bytes_of_string(TAGS[2]),
                           BYTES_LITERAL("none")};
    for (size_t n = 1; n <= 3; n++) {
        struct store_view *v;
        struct store_read *read;
        struct store_record record;
        struct store_query q = {.filter = {.all_tags = tags, .all_tag_count = n}};
        assert_int_equal(store_view_open(f->store, &v), ERR_OK);
        assert_int_equal(store_read_open(v, &q, &read), ERR_OK);
        for (uint64_t p = 1; p <= EVENTS; p++) {
            if (n < 3 && (f->rows[p].tags & 1) != 0 && (n == 1 || (f->rows[p].tags & 4) != 0)) {
                assert_int_equal(store_read_next(read, &record), ERR_OK);
                assert_int_equal(record.position, p);
            }
        }
        assert_int_equal(store_read_next(read, &record), ERR_END);
        store_read_close(read);
        store_view_close(v);
    }
}

/* ---- what a read looks at ---- */

#define MANY       100000
#define MANY_GROUP 250

/* 100 events of a rare type among 100,000: 50 at the start, 50 at the end. */
static void put_many(struct store *s)
{
    for (int i = 0; i < MANY; i += MANY_GROUP) {
        struct command *c = test_command();
        char stream[24];
        snprintf(stream, sizeof stream, "order-%d", i);
        test_add_append(c, stream, TEST_ANY);
        for (int k = i; k < i + MANY_GROUP; k++) {
            test_add_tagged(c, 0, k < 50 || k >= MANY - 50 ? "Rare" : "Common", "huge");
        }
        test_commit_group(s, &c, 1, TEST_TIME_US + i);
        assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
        command_free(c);
    }
}

/* Reads it all and gives the number of records; no call may have looked at SKIPPED_MAX (20,000). */
static uint64_t count_without_portions(struct store_view *v, const struct store_query *q)
{
    struct store_read *read;
    struct store_record record;
    uint64_t n = 0;
    err_t err = store_read_open(v, q, &read);
    assert_int_equal(err, ERR_OK);
    while ((err = store_read_next(read, &record)) == ERR_OK) {
        n++;
    }
    assert_int_equal(err, ERR_END); /* ERR_FULL: it has walked over what does not match */
    store_read_close(read);
    return n;
}

/* A rare type is found without a walk over the log, whatever stands beside it in the filter, from
 * either end. Without the rare type the same filters have to look at everything. */
static void test_store_read_next_does_not_scan(void **state)
{
    struct test_dir dir;
    struct store_view *v;
    struct bytes rare = BYTES_LITERAL("Rare"), category = BYTES_LITERAL("order");
    struct bytes prefix = BYTES_LITERAL("order-"), letter = BYTES_LITERAL("o");
    struct bytes tag = BYTES_LITERAL("huge");
    int64_t late = TEST_TIME_US + MANY / 2;
    const struct store_filter filters[] = {
        {0},
        {.categories = &category, .category_count = 1},
        {.prefixes = &prefix, .prefix_count = 1}, /* of more streams than a filter takes */
        {.prefixes = &letter, .prefix_count = 1},
        {.tags = &tag, .tag_count = 1},
        {.all_tags = &tag, .all_tag_count = 1},
        {.since_us = late},
        {.until_us = late},
        {.categories = &category,
         .category_count = 1,
         .tags = &tag,
         .tag_count = 1,
         .prefixes = &prefix,
         .prefix_count = 1,
         .since_us = late,
         .until_us = late + MANY},
    };
    (void)state;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    put_many(s);
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        for (int backward = 0; backward < 2; backward++) {
            struct store_query q = {.backward = backward == 1, .filter = filters[i]};
            q.filter.types = &rare;
            q.filter.type_count = 1;
            bool bounded = q.filter.since_us + q.filter.until_us != 0;
            assert_int_equal(count_without_portions(v, &q), bounded ? 50 : 100);
        }
    }
    /* The start of a time is found, not walked to; so in a stream. */
    struct store_query q = {.filter = {.since_us = TEST_TIME_US + MANY - MANY_GROUP}};
    assert_int_equal(count_without_portions(v, &q), MANY_GROUP);
    q.stream = BYTES_LITERAL("order-500");
    q.filter.since_us = 0;
    q.filter.until_us = TEST_TIME_US + 500;
    assert_int_equal(count_without_portions(v, &q), 0);
    store_view_close(v);
    store_close(s);
    test_dir_remove(&dir);
}

/* A read that goes on from its place gives the rest, nothing twice. */
static void test_store_read_place_resumes(void **state)
{
    const struct fixture *f = *state;
    struct bytes type = BYTES_LITERAL("Rare");
    struct store_query q = {.filter = {.types = &type, .type_count = 1}};
    uint64_t seen = 0, all = 0;
    err_t err = ERR_OK;
    for (uint64_t p = 1; p <= EVENTS; p++) {
        all += passes(&f->rows[p], &q.filter);
    }
    while (err == ERR_OK) {
        struct store_view *v;
        struct store_read *read;
        struct store_record record;
        assert_int_equal(store_view_open(f->store, &v), ERR_OK);
        assert_int_equal(store_read_open(v, &q, &read), ERR_OK);
        err = store_read_next(read, &record);
        seen += err == ERR_OK;
        assert_true(store_read_place(read) > q.from || err == ERR_END);
        q.from = store_read_place(read);
        store_read_close(read);
        store_view_close(v);
    }
    assert_int_equal(err, ERR_END);
    assert_int_equal(seen, all);
    assert_int_equal(q.from, EVENTS);
}

/* A stream that is not there, an event that is not there. */
static void test_store_get_missing(void **state)
{
    const struct fixture *f = *state;
    struct store_view *v;
    struct store_read *read;
    struct store_record record;
    struct store_stream_info info;
    struct bytes name = BYTES_LITERAL("nobody");
    struct store_query q = {.stream = name};
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_read_open(v, &q, &read), ERR_NOT_FOUND);
    assert_int_equal(store_get_stream(v, name, &info), ERR_NOT_FOUND);
    assert_int_equal(store_get_stream_event(v, name, 1, &record), ERR_NOT_FOUND);
    assert_int_equal(store_get_event(v, 0, &record), ERR_NOT_FOUND);
    assert_int_equal(store_get_event(v, EVENTS + 1, &record), ERR_NOT_FOUND);
    assert_int_equal(store_get_stream_event(v, BYTES_LITERAL("order"), 0, &record), ERR_NOT_FOUND);
    store_view_close(v);
}

/* A view stays as it was, whatever is committed and applied meanwhile. */
static void test_store_view_is_a_snapshot(void **state)
{
    struct test_dir dir;
    struct store_view *v;
    struct store_read *read;
    struct store_record record;
    (void)state;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_fill(s, 40, 3);
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    test_fill(s, 2000, 3);
    test_apply_all(s);
    struct store_query q = {.stream = BYTES_LITERAL("s-1")};
    assert_int_equal(store_view_position(v), 40);
    assert_int_equal(store_read_open(v, &q, &read), ERR_OK);
    for (uint64_t p = 1; p <= 40; p += 3) {
        assert_int_equal(store_read_next(read, &record), ERR_OK);
        assert_int_equal(record.position, p);
    }
    assert_int_equal(store_read_next(read, &record), ERR_END);
    assert_int_equal(store_get_event(v, 41, &record), ERR_NOT_FOUND);
    store_read_close(read);
    store_view_close(v);
    store_close(s);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_read_next_single_filters),
        cmocka_unit_test(test_store_read_next_combined_filters),
        cmocka_unit_test(test_store_read_next_times),
        cmocka_unit_test(test_store_read_next_times_of_a_stream),
        cmocka_unit_test(test_store_read_next_all_tags),
        cmocka_unit_test(test_store_read_next_does_not_scan),
        cmocka_unit_test(test_store_read_place_resumes),
        cmocka_unit_test(test_store_get_missing),
        cmocka_unit_test(test_store_view_is_a_snapshot),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
