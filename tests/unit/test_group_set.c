/* Tests of projections/group_set.c: who may be delivered, when, and which pages have changed. */
#include "projections/group_set.h"

#include "tests/unit/support.h"

#include <cmocka.h>

#define NODES 400

static uint32_t add(struct group_set *s, uint64_t position, uint64_t stream)
{
    uint32_t node = group_set_add(s, position, stream);
    assert_int_not_equal(node, GROUP_NONE);
    return node;
}

static uint32_t release(struct group_set *s, uint64_t position, uint64_t stream, int64_t due_us)
{
    uint32_t node = add(s, position, stream);
    s->nodes[node].due_us = due_us;
    group_set_release(s, node);
    return node;
}

static void expect_state(const struct group_set *s, uint32_t node, enum group_node_state state)
{
    assert_int_equal(s->nodes[node].state, state);
}

/* The first of a stream goes; the rest waits for it, also where an earlier one comes later. */
static void test_group_set_queue(void **state)
{
    (void)state;
    struct group_set s;
    group_set_init(&s, true);
    uint32_t b = release(&s, 20, 1, 0), c = release(&s, 30, 1, 0), x = release(&s, 25, 2, 0);
    expect_state(&s, b, GROUP_NODE_READY);
    expect_state(&s, c, GROUP_NODE_HELD);
    assert_int_equal(group_set_first(&s), b);
    uint32_t a = release(&s, 10, 1, 5);
    expect_state(&s, a, GROUP_NODE_WAITING);
    expect_state(&s, b, GROUP_NODE_HELD);
    assert_int_equal(group_set_first(&s), x);
    assert_int_equal(group_set_next_due(&s), a);
    group_set_wake(&s, a);
    assert_int_equal(group_set_first(&s), a);
    group_set_detach(&s, a);
    expect_state(&s, b, GROUP_NODE_READY);
    s.nodes[a].due_us = 100;
    group_set_lease(&s, a);
    expect_state(&s, b, GROUP_NODE_HELD);
    group_set_detach(&s, a);
    group_set_free(&s, a);
    expect_state(&s, b, GROUP_NODE_READY);
    assert_int_equal(group_set_find(&s, 10), GROUP_NONE);
    group_set_done(&s);
}

/* A blocking event holds its stream, and no other, until it goes. */
static void test_group_set_block(void **state)
{
    (void)state;
    struct group_set s;
    group_set_init(&s, true);
    uint32_t a = add(&s, 1, 7), b, other;
    group_set_block(&s, a);
    b = release(&s, 2, 7, 0);
    other = release(&s, 3, 8, 0);
    expect_state(&s, b, GROUP_NODE_HELD);
    expect_state(&s, other, GROUP_NODE_READY);
    assert_true(group_set_is_busy(&s, 7) && !group_set_is_busy(&s, 9));
    group_set_free_blocks(&s);
    expect_state(&s, b, GROUP_NODE_READY);
    assert_int_equal(s.counts[GROUP_NODE_BLOCKS], 0);
    group_set_done(&s);
}

/* Leases end in the order of their ends; one that is committing does not. */
static void test_group_set_due(void **state)
{
    (void)state;
    struct group_set s;
    uint64_t random = test_seed();
    uint32_t nodes[NODES];
    group_set_init(&s, false);
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[i] = add(&s, i + 1, 0);
        s.nodes[nodes[i]].due_us = 1;
        group_set_lease(&s, nodes[i]);
        group_set_extend(&s, nodes[i], (int64_t)(1 + test_below(&random, 1000)));
    }
    group_set_commit(&s, nodes[7], true);
    int64_t last = 0;
    for (uint32_t i = 0; i + 1 < NODES; i++) {
        uint32_t node = group_set_next_due(&s);
        assert_int_not_equal(node, nodes[7]);
        assert_true(s.nodes[node].due_us >= last);
        last = s.nodes[node].due_us;
        group_set_detach(&s, node);
    }
    assert_int_equal(group_set_next_due(&s), GROUP_NONE);
    group_set_commit(&s, nodes[7], false);
    assert_int_equal(group_set_next_due(&s), nodes[7]);
    group_set_done(&s);
}

/* Where the order changes nothing is lost, and leases hold their streams. */
static void test_group_set_change_of_order(void **state)
{
    (void)state;
    struct group_set s;
    group_set_init(&s, false);
    uint32_t a = add(&s, 1, 7), b = add(&s, 2, 7), c, d;
    s.nodes[a].due_us = s.nodes[b].due_us = 50;
    group_set_lease(&s, a);
    group_set_lease(&s, b);
    c = release(&s, 3, 7, 0);
    d = release(&s, 4, 8, 0);
    group_set_order(&s, true);
    expect_state(&s, a, GROUP_NODE_LEASED);
    expect_state(&s, c, GROUP_NODE_HELD);
    expect_state(&s, d, GROUP_NODE_READY);
    group_set_detach(&s, a);
    expect_state(&s, c, GROUP_NODE_HELD);
    group_set_detach(&s, b);
    expect_state(&s, c, GROUP_NODE_READY);
    group_set_order(&s, false);
    expect_state(&s, c, GROUP_NODE_READY);
    assert_int_equal(s.status, ERR_OK);
    group_set_done(&s);
}

/* Pages of what is owed and not leased are noted, each once. */
static void test_group_set_pages(void **state)
{
    (void)state;
    struct group_set s;
    const uint64_t *pages;
    group_set_init(&s, false);
    uint32_t a = add(&s, 5, 0);
    assert_int_equal(group_set_dirty(&s, &pages), 0);
    group_set_release(&s, a);
    release(&s, 6, 0, 0);
    release(&s, 1 << GROUP_PAGE_SHIFT, 0, 0);
    assert_int_equal(group_set_dirty(&s, &pages), 2);
    assert_true(pages[0] == 0 && pages[1] == 1);
    group_set_clean(&s);
    group_set_detach(&s, a);
    assert_int_equal(group_set_dirty(&s, &pages), 1);
    group_set_clean(&s);
    s.nodes[a].due_us = 9;
    group_set_lease(&s, a);
    assert_int_equal(group_set_dirty(&s, &pages), 0);
    group_set_done(&s);
}

/* The hash stands in files: it is FNV-1a for ever. */
static void test_group_stream_key(void **state)
{
    (void)state;
    assert_true(group_stream_key(BYTES_NONE) == UINT64_C(0xcbf29ce484222325));
    assert_true(group_stream_key(BYTES_LITERAL("a")) == UINT64_C(0xaf63dc4c8601ec8c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_set_queue), cmocka_unit_test(test_group_set_block),
        cmocka_unit_test(test_group_set_due),   cmocka_unit_test(test_group_set_change_of_order),
        cmocka_unit_test(test_group_set_pages), cmocka_unit_test(test_group_stream_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
