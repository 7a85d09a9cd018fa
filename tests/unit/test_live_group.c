/* Tests of server/live_group.c: who shares a group, whom an event concerns, what is read once. */
#include "server/live_group.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define GROUPS 500

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct live_groups groups;
    struct live_group *touched[GROUPS * 2];
    size_t touched_count;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_dir_make(&f->dir);
    f->store = test_open(&f->dir);
    live_groups_init(&f->groups);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    live_groups_done(&f->groups);
    store_close(f->store);
    test_dir_remove(&f->dir);
    free(f);
    return 0;
}

static struct live_group *join(struct fixture *f, const struct store_query *q,
                               enum encoding encoding, bool is_poll)
{
    struct follower *follower;
    struct live_group *g;
    assert_int_equal(follower_new(q, &follower), ERR_OK);
    assert_int_equal(live_groups_join(&f->groups, follower, encoding, is_poll, &g), ERR_OK);
    g->waiting.n = 1; /* as if a member waited */
    return g;
}

static void leave(struct fixture *f, struct live_group *g)
{
    g->waiting.n = g->members == 1 ? 0 : g->waiting.n;
    live_groups_leave(&f->groups, g);
}

static void touch(void *ctx, struct live_group *g)
{
    struct fixture *f = ctx;
    f->touched[f->touched_count++] = g;
}

/* How many groups the event at a position concerns; the last of them is in touched[0]. */
static size_t match(struct fixture *f, const char *stream, const char *type)
{
    struct event e = {.stream = bytes_of_string(stream), .type = bytes_of_string(type)};
    f->touched_count = 0;
    live_groups_match(&f->groups, &e, touch, f);
    return f->touched_count;
}

/* The same query in the same encoding is the same group, from wherever it starts; all else is
 * not. */
static void test_live_group_sharing(void **state)
{
    struct fixture *f = *state;
    struct bytes type = BYTES_LITERAL("A");
    const struct store_query log = {.from = 5};
    const struct store_query log_later = {.from = 9};
    const struct store_query typed = {.filter = {.types = &type, .type_count = 1}};
    const struct store_query stream = {.stream = BYTES_LITERAL("s")};
    struct live_group *a = join(f, &log, ENCODING_SSE, false);
    assert_ptr_equal(join(f, &log_later, ENCODING_SSE, false), a);
    struct live_group *others[] = {
        join(f, &log, ENCODING_NDJSON, false), join(f, &log, ENCODING_JSON, true),
        join(f, &typed, ENCODING_SSE, false),  join(f, &stream, ENCODING_SSE, false),
        join(f, &stream, ENCODING_JSON, true),
    };
    size_t n = sizeof others / sizeof *others;
    for (size_t i = 0; i < n; i++) {
        assert_ptr_not_equal(others[i], a);
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(others[i], others[j]);
        }
    }
    assert_int_equal(a->members, 2);
    leave(f, a);
    assert_int_equal(match(f, "s", "A"), n + 1);
    assert_int_equal(match(f, "t", "B"), 3); /* those of the whole log */
    leave(f, a);
    for (size_t i = 0; i < n; i++) {
        leave(f, others[i]);
    }
    assert_int_equal(match(f, "s", "A"), 0);
}

/* Among many groups of streams, an event concerns the one of its stream. */
static void test_live_group_many_streams(void **state)
{
    struct fixture *f = *state;
    static struct live_group *groups[GROUPS];
    char name[24];
    for (int i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "s-%d", i);
        groups[i] =
            join(f, &(struct store_query){.stream = bytes_of_string(name)}, ENCODING_NDJSON, false);
    }
    for (int i = 0; i < GROUPS; i += 2) {
        leave(f, groups[i]);
    }
    for (int i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "s-%d", i);
        assert_int_equal(match(f, name, "T"), i % 2);
        assert_true(i % 2 == 0 || f->touched[0] == groups[i]);
    }
    f->touched_count = 0;
    live_groups_match_all(&f->groups, touch, f);
    assert_int_equal(f->touched_count, GROUPS / 2);
    groups[1]->waiting.n = 0; /* nobody waits there */
    assert_int_equal(match(f, "s-1", "T"), 0);
    for (int i = 1; i < GROUPS; i += 2) {
        leave(f, groups[i]);
    }
}

static struct live_chunk *read_from(struct fixture *f, struct live_group *g, struct store_view *v,
                                    uint64_t from, size_t max)
{
    struct live_chunk *c;
    assert_int_equal(live_group_read(&f->groups, g, v, from, max, &c), ERR_OK);
    return c;
}

/* Members at the same place get the same bytes, as long as the view is the same. */
static void test_live_group_chunks(void **state)
{
    struct fixture *f = *state;
    test_fill(f->store, 10, 2);
    struct live_group *g = join(f, &(struct store_query){0}, ENCODING_NDJSON, false);
    (void)join(f, &(struct store_query){0}, ENCODING_NDJSON, false);
    struct store_view *v;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    struct live_chunk *a = read_from(f, g, v, 4, 0);
    struct live_chunk *b = read_from(f, g, v, 4, 0);
    struct live_chunk *c = read_from(f, g, v, 5, 0);
    struct live_chunk *limited = read_from(f, g, v, 4, 2);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_int_equal(a->events, 6);
    assert_int_equal(a->reached, 10);
    assert_true(a->caught_up);
    assert_int_equal(limited->events, 2);
    assert_int_equal(limited->reached, 6);
    assert_false(limited->caught_up);
    live_groups_forget(&f->groups);
    struct live_chunk *again = read_from(f, g, v, 4, 0);
    assert_ptr_not_equal(again, a);
    assert_true(bytes_equal(buf_bytes(&again->data), buf_bytes(&a->data)));
    struct live_chunk *all[] = {a, b, c, limited, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        live_chunk_unref(all[i]);
    }
    store_view_close(v);
    leave(f, g);
    leave(f, g); /* with a chunk that is still kept */
}

/* A poll learns that there is something, and where to read on, without reading it. */
static void test_live_group_poll(void **state)
{
    struct fixture *f = *state;
    struct bytes type = BYTES_LITERAL("T2");
    const struct store_query q = {.filter = {.types = &type, .type_count = 1}};
    test_fill(f->store, 4, 1); /* T1 T2 T0 T1 */
    struct live_group *g = join(f, &q, ENCODING_JSON, true);
    struct store_view *v;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    struct live_chunk *found = read_from(f, g, v, 0, 0);
    assert_int_equal(found->events, 1);
    assert_int_equal(found->reached, 1);
    struct live_chunk *none = read_from(f, g, v, 2, 0);
    assert_int_equal(none->events, 0);
    assert_int_equal(none->reached, 4);
    assert_true(none->caught_up);
    assert_int_equal(found->data.n + none->data.n, 0);
    live_chunk_unref(found);
    live_chunk_unref(none);
    store_view_close(v);
    leave(f, g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live_group_sharing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_live_group_many_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_live_group_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_live_group_poll, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
