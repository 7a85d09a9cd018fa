/* Tests of storage/source.c: one posting list over LMDB and the tail, against a plain array. */
#include "storage/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS 3000

/* The positions below EVENTS + 1 that test_fill gave "s-<rest>" (stream), "T…" or "t…". */
struct list {
    enum name_kind kind;
    char name[16];
    uint64_t positions[EVENTS];
    size_t n;
};

static void make_list(struct list *l, enum name_kind kind, uint64_t every, uint64_t rest)
{
    const char *prefix = kind == NAME_STREAM ? "s-" : kind == NAME_TYPE ? "T" : "t";
    *l = (struct list){.kind = kind};
    snprintf(l->name, sizeof l->name, "%s%" PRIu64, prefix, rest);
    for (uint64_t p = 1; p <= EVENTS; p++) {
        if (p % every == rest) {
            l->positions[l->n++] = p;
        }
    }
}

/* Seeks a position and compares; then takes some steps, turning round now and then. */
static void walk(struct source *s, const struct list *l, uint64_t from, uint64_t *random)
{
    bool backward = test_below(random, 2) == 0;
    size_t after = posting_search(l->positions, l->n, from);
    bool exact = after < l->n && l->positions[after] == from;
    size_t at = backward && !exact ? after - 1 : after; /* SIZE_MAX or n: none */
    uint64_t got;
    err_t err = source_seek(s, from, backward, &got);
    for (uint64_t steps = test_below(random, 12); at < l->n; steps--) {
        assert_int_equal(err, ERR_OK);
        assert_int_equal(got, l->positions[at]);
        if (l->kind == NAME_STREAM) {
            assert_int_equal(source_revision(s), at + 1);
        }
        if (steps == 0) {
            return;
        }
        backward = test_below(random, 5) == 0 ? !backward : backward;
        err = source_step(s, backward, &got);
        at = backward ? at - 1 : at + 1;
    }
    assert_int_equal(err, ERR_END);
}

static void seek_revisions(struct source *s, const struct list *l, uint64_t *random)
{
    uint64_t got;
    for (int i = 0; i < 20; i++) {
        uint64_t revision = 1 + test_below(random, l->n);
        assert_int_equal(source_seek_revision(s, revision, &got), ERR_OK);
        assert_int_equal(got, l->positions[revision - 1]);
        assert_int_equal(source_revision(s), revision);
    }
}

static void check_list(struct store_view *v, const struct list *l, uint64_t *random)
{
    static struct source s;
    assert_int_equal(source_open(&s, v, l->kind, bytes_of_string(l->name)), ERR_OK);
    assert_int_equal(source_count(&s), l->n);
    for (int i = 0; i < 100; i++) {
        walk(&s, l, 1 + test_below(random, EVENTS + 3), random);
    }
    if (l->kind == NAME_STREAM) {
        seek_revisions(&s, l, random);
    }
    source_close(&s);
}

static void check_all(struct store *s, uint64_t *random)
{
    static struct list l;
    struct store_view *v;
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    for (uint64_t i = 0; i < 4; i++) {
        make_list(&l, NAME_STREAM, 4, i);
        check_list(v, &l, random);
    }
    make_list(&l, NAME_TYPE, 3, 1);
    check_list(v, &l, random);
    make_list(&l, NAME_TAG, 5, 2);
    check_list(v, &l, random);
    store_view_close(v);
}

/* Wherever the boundary between LMDB and the tail is, also in the middle of posting a generation,
 * every list is the same array in both directions. */
static void test_source_equals_an_array(void **state)
{
    (void)state;
    struct test_dir dir;
    uint64_t random = test_seed();
    test_dir_make(&dir);
    struct store_options options = test_options(&dir);
    options.tail_bytes_max = (uint64_t)8 << 20;
    struct store *s = test_open_with(&options);
    bool more = true;
    while (store_position(s) < EVENTS) {
        test_fill(s, 500, 4);
        (void)tail_oldest_frozen(&s->tail, true);
        if (store_position(s) == EVENTS / 2) {
            test_apply_all(s);
        }
    }
    check_all(s, &random);
    /* Half of the names of a generation are posted, the other half are not. */
    while (s->applier.stage != APPLY_INDEX) {
        assert_int_equal(store_apply(s, true, &more), ERR_OK);
    }
    struct kv_txn *txn;
    size_t n = s->applier.job.n;
    assert_int_equal(kv_begin(s->kv, true, &txn), ERR_OK);
    s->applier.job.n = n / 2;
    assert_int_equal(index_job_step(&s->applier.job, txn), ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
    s->applier.job.n = n;
    check_all(s, &random);
    test_apply_all(s);
    check_all(s, &random);
    test_verify_clean(s, EVENTS);
    store_close(s);
    test_dir_remove(&dir);
}

/* A name without events is not found; one that comes after the view is not either. */
static void test_source_open_not_found(void **state)
{
    (void)state;
    static struct source source;
    struct test_dir dir;
    struct store_view *v;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_put(s, "a-1", "T", "1");
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    test_put(s, "b-1", "U", "1");
    assert_int_equal(source_open(&source, v, NAME_STREAM, BYTES_LITERAL("b-1")), ERR_NOT_FOUND);
    assert_int_equal(source_open(&source, v, NAME_TYPE, BYTES_LITERAL("U")), ERR_NOT_FOUND);
    assert_int_equal(source_open(&source, v, NAME_CATEGORY, BYTES_LITERAL("T")), ERR_NOT_FOUND);
    assert_int_equal(source_open(&source, v, NAME_CATEGORY, BYTES_LITERAL("a")), ERR_OK);
    source_close(&source);
    store_view_close(v);
    store_close(s);
    test_dir_remove(&dir);
}

/* A stream's blocks with a hole between them, each sound by itself, end in an error, never in an
 * endless search. */
static void test_source_seek_hole_in_blocks(void **state)
{
    (void)state;
    static struct source source;
    static struct posting_block b;
    struct test_dir dir;
    struct kv_txn *txn;
    struct store_view *v;
    uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX];
    uint64_t got;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_fill(s, EVENTS, 1);
    test_apply_all(s);
    posting_start(&b, 1);
    for (uint64_t p = 1; p <= 100; p++) {
        assert_true(posting_add(&b, NAME_STREAM, p, 0));
    }
    size_t n = posting_encode(&b, NAME_STREAM, value);
    assert_int_equal(kv_begin(s->kv, true, &txn), ERR_OK);
    assert_int_equal(kv_put(txn, KV_POSTINGS, posting_key(NAME_STREAM, names_id(1, 0), 1, key),
                            bytes_of(value, n)),
                     ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    assert_int_equal(source_open(&source, v, NAME_STREAM, BYTES_LITERAL("s-0")), ERR_OK);
    for (uint64_t p = 95; p < 700; p++) {
        err_t err = source_seek(&source, p, p % 2 == 0, &got);
        assert_true(err == ERR_OK || err == ERR_CORRUPT);
        assert_true(p > 100 || err != ERR_OK || got == p);
    }
    assert_int_equal(source_seek_revision(&source, 101, &got), ERR_CORRUPT);
    source_close(&source);
    store_view_close(v);
    store_close(s);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_equals_an_array),
        cmocka_unit_test(test_source_open_not_found),
        cmocka_unit_test(test_source_seek_hole_in_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
