/* Tests of storage/index.c: posting a generation, all at once, in steps, and again. */
#include "storage/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/posting.h"
#include "storage/store_int.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS 5000

struct fixture {
    struct test_dir dir;
    struct kv *kv;
    struct tail tail;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    assert_int_equal(kv_open(f.dir.path, (uint64_t)1 << 28, false, &f.kv, NULL), ERR_OK);
    assert_int_equal(tail_init(&f.tail, 1, SIZE_MAX / 2), ERR_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tail_done(&f->tail);
    kv_close(f->kv);
    test_dir_remove(&f->dir);
    return 0;
}

/* The event at a position: streams "s-<p % 900>" and, of every second one, "busy". */
static void add_event(struct fixture *f, uint64_t position, uint64_t *busy)
{
    char stream[32];
    uint8_t id[UUID_BYTES];
    bool is_busy = position % 2 == 0;
    struct event e = {.position = position, .tag_count = 3};
    snprintf(stream, sizeof stream, "s-%" PRIu64, position % 900);
    test_id(position, id);
    e.stream = is_busy ? BYTES_LITERAL("busy") : bytes_of_string(stream);
    e.id = bytes_of(id, UUID_BYTES);
    e.type = BYTES_LITERAL("T");
    e.tags[0] = BYTES_LITERAL("one");
    e.tags[1] = BYTES_LITERAL("two");
    e.tags[2] = BYTES_LITERAL("one"); /* counts once */
    uint64_t base = is_busy ? *busy : (position - 1) / 900;
    *busy += is_busy;
    assert_int_equal(index_add_event(&f->tail, &e, base), ERR_OK);
}

/* Posts the active generation in as many transactions as its steps. */
static int post(struct fixture *f)
{
    struct index_job job;
    int steps = 0;
    assert_int_equal(index_job_init(&job, f->tail.generations[f->tail.count - 1]), ERR_OK);
    for (; job.at < job.n; steps++) {
        struct kv_txn *txn;
        assert_int_equal(kv_begin(f->kv, true, &txn), ERR_OK);
        assert_int_equal(index_job_step(&job, txn), ERR_OK);
        assert_int_equal(kv_commit(txn), ERR_OK);
    }
    index_job_done(&job);
    return steps;
}

static void expect_name(struct fixture *f, enum name_kind kind, const char *name, uint64_t count,
                        uint64_t last)
{
    struct kv_txn *txn;
    struct name_row row;
    assert_int_equal(kv_begin(f->kv, false, &txn), ERR_OK);
    err_t err = names_get(txn, kind, bytes_of_string(name), &row);
    assert_int_equal(err, count == 0 ? ERR_NOT_FOUND : ERR_OK);
    assert_int_equal(row.count, count);
    assert_int_equal(row.last, last);
    kv_abort(txn);
}

/* The blocks of a name hold together exactly positions first, first + step, … */
static void expect_blocks(struct fixture *f, enum name_kind kind, const char *name, uint64_t first,
                          uint64_t step)
{
    static struct posting_block b;
    struct kv_txn *txn;
    struct kv_cursor *c;
    struct kv_row row;
    struct name_row said;
    uint8_t key[POSTING_KEY_BYTES];
    uint64_t expected = first;
    assert_int_equal(kv_begin(f->kv, false, &txn), ERR_OK);
    assert_int_equal(names_get(txn, kind, bytes_of_string(name), &said), ERR_OK);
    assert_int_equal(said.first, first);
    assert_int_equal(kv_cursor_open(txn, KV_POSTINGS, &c), ERR_OK);
    err_t err = kv_seek(c, posting_key(kind, said.id, 0, key), &row);
    while (err == ERR_OK && posting_key_is(row.key, kind, said.id)) {
        assert_int_equal(posting_decode(&row, kind, &b), ERR_OK);
        assert_int_equal(b.ordinal, kind == NAME_STREAM ? (expected - first) / step + 1 : expected);
        for (uint32_t i = 0; i < b.n; i++, expected += step) {
            assert_int_equal(b.positions[i], expected);
        }
        err = kv_next(c, &row);
    }
    assert_int_equal(expected - step, said.last);
    kv_cursor_close(c);
    kv_abort(txn);
}

static void expect_all(struct fixture *f)
{
    struct kv_txn *txn;
    uint64_t streams;
    expect_name(f, NAME_STREAM, "busy", EVENTS / 2, EVENTS);
    expect_name(f, NAME_TYPE, "T", EVENTS, EVENTS);
    expect_name(f, NAME_TAG, "one", EVENTS, EVENTS);
    expect_name(f, NAME_CATEGORY, "busy", EVENTS / 2, EVENTS);
    expect_name(f, NAME_STREAM, "s-2", 0, 0);
    expect_blocks(f, NAME_STREAM, "busy", 2, 2);
    expect_blocks(f, NAME_STREAM, "s-7", 7, 900);
    expect_blocks(f, NAME_TYPE, "T", 1, 1);
    expect_blocks(f, NAME_TAG, "one", 1, 1);
    expect_blocks(f, NAME_TAG, "two", 1, 1);
    assert_int_equal(kv_begin(f->kv, false, &txn), ERR_OK);
    assert_int_equal(meta_get(txn, META_STREAMS, &streams), ERR_OK);
    assert_int_equal(streams, 451);
    kv_abort(txn);
}

/* A generation is posted in bounded steps; posting it again adds nothing. */
static void test_index_job_step_twice(void **state)
{
    struct fixture *f = *state;
    uint64_t busy = 0;
    for (uint64_t p = 1; p <= EVENTS; p++) {
        add_event(f, p, &busy);
    }
    int steps = post(f);
    expect_all(f);
    assert_int_equal(post(f), steps);
    expect_all(f);
}

/* The generation may have grown since it was posted: only what is new is added, to the same blocks
 * and into new ones. */
static void test_index_job_step_more(void **state)
{
    struct fixture *f = *state;
    uint64_t busy = 0;
    for (uint64_t p = 1; p <= EVENTS; p++) {
        add_event(f, p, &busy);
        if (p % 499 == 0) {
            (void)post(f);
        }
    }
    (void)post(f);
    expect_all(f);
}

/* Tags that first come with one event have lists of their own. */
static void test_index_add_event_new_tags_together(void **state)
{
    struct fixture *f = *state;
    uint8_t id[UUID_BYTES] = {0};
    for (uint64_t p = 1; p <= 4; p++) {
        struct event e = {.position = p,
                          .stream = BYTES_LITERAL("-none"),
                          .id = bytes_of(id, UUID_BYTES),
                          .type = BYTES_LITERAL("T"),
                          .tag_count = p == 1 ? 2 : 1};
        e.tags[0] = p % 2 == 1 ? BYTES_LITERAL("x") : BYTES_LITERAL("y");
        e.tags[1] = BYTES_LITERAL("y");
        assert_int_equal(index_add_event(&f->tail, &e, p - 1), ERR_OK);
    }
    (void)post(f);
    expect_name(f, NAME_TAG, "x", 2, 3);
    expect_name(f, NAME_TAG, "y", 3, 4);
    expect_blocks(f, NAME_TAG, "x", 1, 2);
    expect_name(f, NAME_CATEGORY, "", 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_index_job_step_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_index_job_step_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_index_add_event_new_tags_together, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
