/* Tests of storage/list.c: pages of the directory, the stored part and the tail's as one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct store_view *view;
};

/* Some names are in LMDB only, some in the tail only, some in both. */
static int set_up(void **state)
{
    static struct fixture f;
    static const char *const STORED[] = {"b-1", "d", "b-2", "\xc3\xa4-1", "-x"};
    static const char *const FRESH[] = {"a-1", "b-2", "c-9", "b-10", "e"};
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    for (size_t i = 0; i < 5; i++) {
        test_put(f.store, STORED[i], "Old", "1");
    }
    test_apply_all(f.store);
    for (size_t i = 0; i < 5; i++) {
        test_put(f.store, FRESH[i], "New", "1");
    }
    assert_int_equal(store_view_open(f.store, &f.view), ERR_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_view_close(f->view);
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

/* Lists and compares with "name:events name:events …"; a "+" at the end: there are more. */
static void expect_list(const struct fixture *f, struct store_list_query q, const char *wanted)
{
    char got[1024] = "";
    struct store_name_list list;
    assert_int_equal(store_list_names(f->view, &q, &list), ERR_OK);
    for (size_t i = 0; i < list.n; i++) {
        size_t n = strlen(got);
        snprintf(got + n, sizeof got - n, "%s%.*s:%" PRIu64, i == 0 ? "" : " ",
                 BYTES_ARGS(list.items[i].name), list.items[i].events);
    }
    size_t end = strlen(got);
    snprintf(got + end, sizeof got - end, "%s", list.end ? "" : "+");
    assert_string_equal(got, wanted);
    store_name_list_done(&list);
}

/* All names come once, in byte order, with the number of events of both parts. */
static void test_store_list_names_merges(void **state)
{
    const struct fixture *f = *state;
    expect_list(f, (struct store_list_query){.kind = STORE_STREAMS, .limit = 100},
                "-x:1 a-1:1 b-1:1 b-10:1 b-2:2 c-9:1 d:1 e:1 \xc3\xa4-1:1");
    expect_list(f, (struct store_list_query){.kind = STORE_CATEGORIES, .limit = 100},
                "a:1 b:4 c:1 d:1 e:1 \xc3\xa4:1");
    expect_list(f, (struct store_list_query){.kind = STORE_TYPES, .limit = 100}, "New:5 Old:5");
    expect_list(f, (struct store_list_query){.kind = STORE_TAGS, .limit = 100}, "");
}

/* A page ends at its limit and says whether there is more; `after` goes on behind it. */
static void test_store_list_names_pages(void **state)
{
    const struct fixture *f = *state;
    struct store_list_query q = {.kind = STORE_STREAMS, .limit = 4};
    expect_list(f, q, "-x:1 a-1:1 b-1:1 b-10:1+");
    q.after = BYTES_LITERAL("b-10");
    expect_list(f, q, "b-2:2 c-9:1 d:1 e:1+");
    q.after = BYTES_LITERAL("e");
    expect_list(f, q, "\xc3\xa4-1:1");
    q.limit = 1;
    expect_list(f, q, "\xc3\xa4-1:1");
    q.after = BYTES_LITERAL("b-1\x01"); /* no such name */
    expect_list(f, q, "b-10:1+");
}

/* A prefix, alone, with a page before, in the middle and behind. */
static void test_store_list_names_prefix(void **state)
{
    const struct fixture *f = *state;
    struct store_list_query q = {
        .kind = STORE_STREAMS, .prefix = BYTES_LITERAL("b-"), .limit = 100};
    expect_list(f, q, "b-1:1 b-10:1 b-2:2");
    q.after = BYTES_LITERAL("a");
    expect_list(f, q, "b-1:1 b-10:1 b-2:2");
    q.after = BYTES_LITERAL("b-1");
    expect_list(f, q, "b-10:1 b-2:2");
    q.after = BYTES_LITERAL("c");
    expect_list(f, q, "");
    q.prefix = BYTES_LITERAL("\xff");
    q.after = BYTES_NONE;
    expect_list(f, q, "");
}

/* A prefix or a place longer than any name finds nothing and breaks nothing. */
static void test_store_list_names_too_long(void **state)
{
    const struct fixture *f = *state;
    uint8_t longest[EVENT_NAME_MAX + 50];
    memset(longest, 'b', sizeof longest);
    struct store_list_query q = {
        .kind = STORE_STREAMS, .prefix = bytes_of(longest, sizeof longest), .limit = 10};
    expect_list(f, q, "");
    q.prefix = bytes_of(longest, EVENT_NAME_MAX);
    expect_list(f, q, "");
}

/* Many names page by page are the same as all at once. */
static void test_store_list_names_many(void **state)
{
    (void)state;
    struct fixture f;
    char last[32] = "";
    size_t seen = 0;
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    test_fill(f.store, 1500, 500);
    assert_int_equal(store_view_open(f.store, &f.view), ERR_OK);
    for (bool end = false; !end;) {
        struct store_name_list list;
        struct store_list_query q = {
            .kind = STORE_STREAMS, .after = bytes_of_string(last), .limit = 7};
        assert_int_equal(store_list_names(f.view, &q, &list), ERR_OK);
        for (size_t i = 0; i < list.n; i++) {
            assert_int_equal(list.items[i].events, 3);
            assert_true(bytes_compare(list.items[i].name, bytes_of_string(last)) > 0);
            snprintf(last, sizeof last, "%.*s", BYTES_ARGS(list.items[i].name));
        }
        seen += list.n;
        end = list.end;
        store_name_list_done(&list);
    }
    assert_int_equal(seen, 500);
    store_view_close(f.view);
    store_close(f.store);
    test_dir_remove(&f.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_list_names_merges),
        cmocka_unit_test(test_store_list_names_pages),
        cmocka_unit_test(test_store_list_names_prefix),
        cmocka_unit_test(test_store_list_names_too_long),
        cmocka_unit_test(test_store_list_names_many),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
