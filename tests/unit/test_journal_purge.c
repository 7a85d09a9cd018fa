/* Tests of storage/journal_purge.c: what is purged is in no file any more, what is not applied is
 * replayed, whatever the order of appends, trims and purges, and wherever it crashes. */
#include "storage/journal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define SEGMENT   ((uint64_t)64 << 10)
#define TEXT_MAX  16
#define GROUP_MAX 12000

struct run {
    struct test_dir dir;
    struct journal *journal;
    uint64_t random;
    uint64_t last, applied; /* positions; a group has one */
    uint64_t purged;        /* up to here nothing may be found */
};

static const char *text_of(uint64_t position, char ret[TEXT_MAX])
{
    snprintf(ret, TEXT_MAX, "<%08" PRIu64 ">", position);
    return ret;
}

static err_t expect_next(void *ctx, const struct journal_group *group)
{
    uint64_t *last = ctx;
    char text[TEXT_MAX];
    assert_int_equal(group->first_position, *last + 1);
    assert_int_equal(group->count, 1);
    assert_memory_equal(group->records.p, text_of(++*last, text), 10);
    return ERR_OK;
}

/* Opens the journal and expects the groups after `applied`, up to `last`. */
static struct journal *open_journal(const struct test_dir *dir, uint64_t applied, uint64_t last)
{
    struct err_text et = {0};
    struct journal *j;
    uint64_t found = applied;
    struct journal_file_options options = {.dir = dir->path, .segment_bytes = SEGMENT};
    memcpy(options.store_id, "journal-tests-id", UUID_BYTES);
    assert_int_equal(journal_file_open(&options, &j, &et), ERR_OK);
    if (j->methods->replay(j, applied, expect_next, &found, &et) != ERR_OK) {
        fail_msg("%s", et.text);
    }
    assert_int_equal(found, last);
    return j;
}

static void append(struct run *r, size_t bytes)
{
    static char p[GROUP_MAX];
    char text[TEXT_MAX];
    text_of(++r->last, text);
    for (size_t i = 0; i < bytes; i++) {
        p[i] = text[i % 10];
    }
    struct iovec part = {p, bytes};
    assert_int_equal(r->journal->methods->reserve(r->journal, bytes), ERR_OK);
    assert_int_equal(r->journal->methods->append(r->journal, r->last, 1, &part, 1), ERR_OK);
}

static bool purge(struct run *r, uint64_t position)
{
    bool done;
    assert_int_equal(r->journal->methods->purge(r->journal, position, r->applied, &done), ERR_OK);
    r->purged = done && position > r->purged ? position : r->purged;
    return done;
}

static void expect_purged(const struct run *r)
{
    char text[TEXT_MAX];
    for (uint64_t p = 1; p <= r->purged; p++) {
        assert_false(test_dir_has(&r->dir, text_of(p, text)));
    }
    for (uint64_t p = r->applied + 1; p <= r->last; p++) {
        assert_true(test_dir_has(&r->dir, text_of(p, text)));
    }
}

static void check_crash(const struct run *r)
{
    struct test_dir copy;
    test_dir_crash(&r->dir, &copy);
    struct journal *j = open_journal(&copy, r->applied, r->last);
    j->methods->close(j);
    test_dir_remove(&copy);
}

static void start(struct run *r)
{
    *r = (struct run){.random = 1};
    test_dir_make(&r->dir);
    r->journal = open_journal(&r->dir, 0, 0);
}

static void finish(struct run *r)
{
    r->journal->methods->close(r->journal);
    test_dir_remove(&r->dir);
}

/* Everything that is applied goes at once, and appends go on behind it. */
static void test_purge_idle(void **state)
{
    (void)state;
    struct run r;
    start(&r);
    for (int i = 0; i < 20; i++) {
        append(&r, 5000);
    }
    r.applied = 20;
    assert_true(purge(&r, 20));
    expect_purged(&r);
    check_crash(&r);
    assert_true(purge(&r, 20)); /* nothing more to do */
    append(&r, 100);
    expect_purged(&r);
    check_crash(&r);
    finish(&r);
}

/* Groups that are not applied yet stay; the purge is done when they are. */
static void test_purge_waits_for_later_groups(void **state)
{
    (void)state;
    struct run r;
    start(&r);
    append(&r, 5000);
    append(&r, 5000);
    r.applied = 1;
    assert_false(purge(&r, 1));
    check_crash(&r);
    append(&r, 5000);
    assert_false(purge(&r, 1));
    r.applied = 2;
    assert_true(purge(&r, 1));
    expect_purged(&r);
    check_crash(&r);
    finish(&r);
}

/* What a recycled segment still holds of its older life goes too, be it the active one or the one
 * that is prepared, also after a restart, when nobody knows what they were. */
static void test_purge_recycled_segments(void **state)
{
    (void)state;
    for (int reopen = 0; reopen < 2; reopen++) {
        struct run r;
        char text[TEXT_MAX];
        start(&r);
        for (int i = 0; i < 60; i++) {
            append(&r, 5000);
            r.applied = r.last;
            assert_int_equal(r.journal->methods->trim(r.journal, r.applied, false), ERR_OK);
            assert_int_equal(r.journal->methods->prepare(r.journal), ERR_OK);
        }
        bool old = false;
        for (uint64_t p = 1; p <= 40; p++) {
            old = old || test_dir_has(&r.dir, text_of(p, text));
        }
        assert_true(old); /* else this shows nothing */
        if (reopen == 1) {
            r.journal->methods->close(r.journal);
            r.journal = open_journal(&r.dir, r.applied, r.last);
        }
        assert_true(purge(&r, r.last));
        expect_purged(&r);
        check_crash(&r);
        finish(&r);
    }
}

/* A purge between the writer's reserve and its append leaves the room that was reserved. */
static void test_purge_between_reserve_and_append(void **state)
{
    (void)state;
    struct run r;
    start(&r);
    append(&r, 5000);
    r.applied = 1;
    assert_int_equal(r.journal->methods->reserve(r.journal, 60000), ERR_OK);
    assert_true(purge(&r, 1));
    for (size_t bytes = 60000; bytes > 0; bytes = bytes > 10000 ? bytes - 10000 : 0) {
        append(&r, bytes > 10000 ? 10000 : bytes);
    }
    expect_purged(&r);
    check_crash(&r);
    finish(&r);
}

/* No space for the fresh segment: nothing is lost, and the purge is done when there is. */
static void test_purge_disk_full(void **state)
{
    (void)state;
    struct run r;
    bool done;
    start(&r);
    append(&r, 5000);
    r.applied = 1;
    fault_arm(FAULT_JOURNAL_ALLOCATE, 1, false);
    assert_int_equal(r.journal->methods->purge(r.journal, 1, 1, &done), ERR_DISK_FULL);
    fault_arm(FAULT_JOURNAL_ALLOCATE, 0, false);
    check_crash(&r);
    append(&r, 5000);
    assert_false(purge(&r, 1));
    r.applied = 2;
    assert_true(purge(&r, 1));
    expect_purged(&r);
    check_crash(&r);
    finish(&r);
}

static void random_step(struct run *r)
{
    switch (test_below(&r->random, 8)) {
    case 0:
        r->applied += test_below(&r->random, r->last - r->applied + 1);
        assert_int_equal(r->journal->methods->trim(r->journal, r->applied, r->applied == r->last),
                         ERR_OK);
        break;
    case 1:
        assert_int_equal(r->journal->methods->prepare(r->journal), ERR_OK);
        break;
    case 2:
        (void)purge(r, r->applied);
        break;
    case 3:
        if (test_below(&r->random, 10) == 0) {
            r->journal->methods->close(r->journal);
            r->journal = open_journal(&r->dir, r->applied, r->last);
        }
        break;
    default:
        append(r, 10 + test_below(&r->random, GROUP_MAX - 10));
    }
}

/* Any order of all of it. */
static void test_purge_random(void **state)
{
    (void)state;
    struct run r;
    start(&r);
    r.random = test_seed();
    for (int i = 0; i < 600; i++) {
        random_step(&r);
        if (i % 5 == 0) {
            check_crash(&r);
        }
        if (i % 20 == 0) {
            expect_purged(&r);
        }
    }
    r.applied = r.last; /* whatever came before, now nothing keeps a purge from its end */
    assert_true(purge(&r, r.last));
    expect_purged(&r);
    check_crash(&r);
    finish(&r);
}

static void *append_many(void *ctx)
{
    struct run *r = ctx;
    for (int i = 0; i < 300; i++) {
        append(r, 3000);
    }
    return NULL;
}

/* While the writer appends, another thread purges over and over: no group is lost. */
static void test_purge_beside_the_writer(void **state)
{
    (void)state;
    struct run r;
    pthread_t thread;
    bool done;
    start(&r);
    append(&r, 100);
    assert_int_equal(pthread_create(&thread, NULL, append_many, &r), 0);
    for (uint64_t position = 1; position <= 30; position++) {
        assert_int_equal(r.journal->methods->purge(r.journal, position, 1, &done), ERR_OK);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    r.applied = 1;
    check_crash(&r);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_purge_idle),
        cmocka_unit_test(test_purge_waits_for_later_groups),
        cmocka_unit_test(test_purge_recycled_segments),
        cmocka_unit_test(test_purge_between_reserve_and_append),
        cmocka_unit_test(test_purge_disk_full),
        cmocka_unit_test(test_purge_random),
        cmocka_unit_test(test_purge_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
