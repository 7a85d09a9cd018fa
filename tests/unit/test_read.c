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
    assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
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
           any_tag(f->tags, f->tag_count, row->tags);
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
        cmocka_unit_test(test_store_read_place_resumes),
        cmocka_unit_test(test_store_get_missing),
        cmocka_unit_test(test_store_view_is_a_snapshot),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
