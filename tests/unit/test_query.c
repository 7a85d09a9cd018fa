/* Tests of storage/query.c: copies, keys and filters of queries. */
#include "storage/store.h"

#include <stdlib.h>

#include "tests/unit/support.h"

#include <cmocka.h>

static struct event event_of(const char *stream, const char *type)
{
    return (struct event){.stream = bytes_of_string(stream),
                          .type = bytes_of_string(type),
                          .tag_count = 2,
                          .tags = {BYTES_LITERAL("red"), BYTES_LITERAL("vip")}};
}

static bool matches(const struct store_filter *f, const char *stream, const char *type)
{
    struct event e = event_of(stream, type);
    return store_filter_matches(f, &e);
}

/* OR inside a list, AND across lists. */
static void test_query_filter_lists(void **state)
{
    (void)state;
    struct bytes types[] = {BYTES_LITERAL("A"), BYTES_LITERAL("B")};
    struct bytes categories[] = {BYTES_LITERAL("order"), BYTES_LITERAL("cart")};
    struct bytes tags[] = {BYTES_LITERAL("green"), BYTES_LITERAL("vip")};
    struct store_filter f = {.types = types,
                             .categories = categories,
                             .tags = tags,
                             .type_count = 2,
                             .category_count = 2,
                             .tag_count = 2};
    assert_true(matches(&f, "order-1", "B"));
    assert_true(matches(&f, "cart", "A"));
    assert_false(matches(&f, "orders-1", "A"));
    assert_false(matches(&f, "order-1", "C"));
    f.tag_count = 1;
    assert_false(matches(&f, "order-1", "A"));
    struct bytes all[] = {BYTES_LITERAL("vip"), BYTES_LITERAL("red"), BYTES_LITERAL("green")};
    struct store_filter every = {.all_tags = all, .all_tag_count = 2};
    assert_true(matches(&every, "order-1", "A"));
    every.all_tag_count = 3;
    assert_false(matches(&every, "order-1", "A"));
}

static void test_query_filter_prefixes_and_system(void **state)
{
    (void)state;
    struct bytes prefix = BYTES_LITERAL("order-1");
    struct store_filter f = {.prefixes = &prefix, .prefix_count = 1};
    assert_true(matches(&f, "order-12", "A"));
    assert_false(matches(&f, "order-2", "A"));
    assert_false(matches(&f, "order-1", "$A"));
    struct store_filter all = {0};
    assert_true(matches(&all, "order-1", "A"));
    assert_false(matches(&all, "$streams", "A"));
    all.system = true;
    assert_true(matches(&all, "$streams", "$A"));
}

/* Times are half-open, and an event must have all of all_tags. */
static void test_query_filter_times_and_all_tags(void **state)
{
    (void)state;
    struct bytes tags[] = {BYTES_LITERAL("a"), BYTES_LITERAL("b"), BYTES_LITERAL("c")};
    struct event e = {.stream = BYTES_LITERAL("s"), .type = BYTES_LITERAL("T"), .time_us = 10};
    e.tags[0] = tags[1];
    e.tags[1] = tags[0];
    e.tag_count = 2;
    assert_true(store_filter_matches(&(struct store_filter){.since_us = 10}, &e));
    assert_false(store_filter_matches(&(struct store_filter){.since_us = 11}, &e));
    assert_true(store_filter_matches(&(struct store_filter){.until_us = 11}, &e));
    assert_false(store_filter_matches(&(struct store_filter){.until_us = 10}, &e));
    assert_true(
        store_filter_matches(&(struct store_filter){.all_tags = tags, .all_tag_count = 2}, &e));
    assert_false(
        store_filter_matches(&(struct store_filter){.all_tags = tags, .all_tag_count = 3}, &e));
}

/* Equal keys exactly where the same is asked for; `from` does not count. */
static void test_query_keys(void **state)
{
    (void)state;
    struct bytes ab[] = {BYTES_LITERAL("a"), BYTES_LITERAL("b")};
    struct bytes both[] = {BYTES_LITERAL("ab")};
    const struct store_query queries[] = {
        {.from = 1},
        {.backward = true},
        {.filter.system = true},
        {.stream = BYTES_LITERAL("ab")},
        {.filter = {.types = ab, .type_count = 2}},
        {.filter = {.types = ab, .type_count = 1}},
        {.filter = {.types = both, .type_count = 1}},
        {.filter = {.categories = both, .category_count = 1}},
        {.filter = {.prefixes = both, .prefix_count = 1}},
        {.filter = {.tags = both, .tag_count = 1}},
        {.filter = {.all_tags = both, .all_tag_count = 1}},
        {.filter.since_us = 5},
        {.filter.until_us = 5},
    };
    size_t n = sizeof queries / sizeof *queries;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            struct buf a, b;
            buf_init(&a, 1000);
            buf_init(&b, 1000);
            struct store_query *copy;
            assert_int_equal(store_query_copy(&queries[i], &copy), ERR_OK);
            copy->from = 7;
            store_query_put_key(copy, &a);
            store_query_put_key(&queries[j], &b);
            assert_int_equal(bytes_equal(buf_bytes(&a), buf_bytes(&b)), i == j);
            free(copy);
            buf_done(&a);
            buf_done(&b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_filter_lists),
        cmocka_unit_test(test_query_filter_prefixes_and_system),
        cmocka_unit_test(test_query_filter_times_and_all_tags),
        cmocka_unit_test(test_query_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
