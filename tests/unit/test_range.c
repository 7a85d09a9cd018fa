/* Tests of storage/range.c: numbers by time, on the log and on a stream, where records are gone or
 * damaged too. */
#include "storage/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS 600
#define MARK   "find-me"

struct fixture {
    struct test_dir dir;
    struct store *store;
};

/* The time of the event at a position: three have the same, then there is a gap. */
static int64_t time_at(uint64_t position)
{
    return TEST_TIME_US + (int64_t)(position / 3) * 10;
}

/* Event p is in stream "s-<p % 2>"; the one at EVENTS / 2 has the mark. */
static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    for (uint64_t p = 1; p <= EVENTS; p++) {
        struct command *c = test_one(p % 2 == 0 ? "s-0" : "s-1", TEST_ANY, 0, "T",
                                     p == EVENTS / 2 ? "\"" MARK "\"" : "1");
        test_commit_group(f.store, &c, 1, time_at(p));
        assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
        command_free(c);
        if (p == EVENTS / 2 + 100) {
            test_apply_all(f.store);
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

/* What a walk finds; `number` turns numbers into positions. */
static uint64_t walk(uint64_t low, uint64_t high, int64_t time_us, uint64_t (*position)(uint64_t))
{
    while (low <= high && time_at(position(low)) < time_us) {
        low++;
    }
    return low;
}

static uint64_t of_log(uint64_t position)
{
    return position;
}

static uint64_t of_stream(uint64_t revision)
{
    return 2 * revision;
}

/* Each time at, before and behind an event, in several pieces of the numbers. */
static void compare(struct store_view *v, struct source *stream, uint64_t last)
{
    uint64_t (*position)(uint64_t) = stream == NULL ? of_log : of_stream;
    const uint64_t pieces[][2] = {{1, last},        {1, 1},    {last, last}, {last / 3, last / 2},
                                  {last + 1, last}, {5, last}, {1, last - 5}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        for (int64_t t = time_at(1) - 11; t <= time_at(EVENTS) + 11; t += 1 + t % 2 * 4) {
            uint64_t found;
            assert_int_equal(range_find(v, stream, pieces[i][0], pieces[i][1], t, &found), ERR_OK);
            assert_int_equal(found, walk(pieces[i][0], pieces[i][1], t, position));
        }
    }
}

static void compare_all(struct fixture *f)
{
    struct store_view *v;
    static struct source stream;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    compare(v, NULL, EVENTS);
    assert_int_equal(source_open(&stream, v, NAME_STREAM, BYTES_LITERAL("s-0")), ERR_OK);
    compare(v, &stream, EVENTS / 2);
    source_close(&stream);
    store_view_close(v);
}

/* In LMDB, in the tail, and over both. */
static void test_range_find(void **state)
{
    struct fixture *f = *state;
    compare_all(f);
    test_apply_all(f->store);
    compare_all(f);
}

/* What reclaim has taken away still has its time. */
static void test_range_find_reclaimed(void **state)
{
    struct fixture *f = *state;
    struct store_view *v;
    test_apply_all(f->store);
    struct command *c = test_delete("s-1", false);
    test_commit_group(f->store, &c, 1, time_at(EVENTS + 3));
    assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
    command_free(c);
    test_apply_all(f->store);
    test_reclaim_all(f->store, time_at(EVENTS + 3));
    compare_all(f);
    struct store_query q = {.filter = {.since_us = time_at(100), .until_us = time_at(200)}};
    struct store_read *read;
    struct store_record record;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_read_open(v, &q, &read), ERR_OK);
    for (uint64_t p = 1; p <= EVENTS; p++) {
        if (p % 2 == 0 && time_at(p) >= q.filter.since_us && time_at(p) < q.filter.until_us) {
            assert_int_equal(store_read_next(read, &record), ERR_OK);
            assert_int_equal(record.position, p);
        }
    }
    assert_int_equal(store_read_next(read, &record), ERR_END);
    store_read_close(read);
    store_view_close(v);
}

/* A damaged record in the middle, which every search looks at, does not stand in the way. */
static void test_range_find_damaged(void **state)
{
    struct fixture *f = *state;
    char path[TEST_PATH_MAX];
    size_t n, damaged = 0;
    test_apply_all(f->store);
    store_close(f->store);
    uint8_t *bytes = test_file_read(test_path(&f->dir, "store/data.mdb", path), &n);
    for (size_t at = 0; at + sizeof MARK - 1 <= n; at++) { /* older copies of the page too */
        if (memcmp(bytes + at, MARK, sizeof MARK - 1) == 0) {
            test_file_flip(path, at, 1);
            damaged++;
        }
    }
    free(bytes);
    assert_true(damaged > 0);
    f->store = test_open(&f->dir);
    struct store_view *v;
    struct store_record record;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_get_event(v, EVENTS / 2, &record), ERR_CORRUPT);
    for (uint64_t p = 1; p <= EVENTS; p++) {
        uint64_t found;
        assert_int_equal(range_find(v, NULL, 1, EVENTS, time_at(p), &found), ERR_OK);
        assert_int_equal(found, walk(1, EVENTS, time_at(p), of_log));
    }
    store_view_close(v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_range_find),
        TEST(test_range_find_reclaimed),
        TEST(test_range_find_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
