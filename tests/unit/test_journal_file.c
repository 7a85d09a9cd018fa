/* Tests of storage/journal_file.c: what was appended is replayed, whatever happened to the end. */
#include "storage/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/base/fault.h"
#include "storage/journal_segment.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define SEGMENT    ((uint64_t)64 << 10)
#define GROUPS_MAX 512

/* What a replay delivered: the groups' first positions and sizes; their bytes are checked. */
struct delivered {
    uint64_t first[GROUPS_MAX];
    size_t bytes[GROUPS_MAX];
    size_t n;
    uint64_t last;
};

static struct journal_file_options options_of(const struct test_dir *d)
{
    struct journal_file_options o = {.dir = d->path, .segment_bytes = SEGMENT};
    memcpy(o.store_id, "journal-tests-id", UUID_BYTES);
    return o;
}

/* The content of a group follows from its first position. */
static uint8_t content(uint64_t first, size_t i)
{
    return (uint8_t)(first * 31 + i);
}

static err_t take_group(void *ctx, const struct journal_group *group)
{
    struct delivered *d = ctx;
    assert_true(d->n < GROUPS_MAX);
    for (size_t i = 0; i < group->records.n; i++) {
        assert_int_equal(group->records.p[i], content(group->first_position, i));
    }
    d->first[d->n] = group->first_position;
    d->bytes[d->n++] = group->records.n;
    d->last = group->first_position + group->count - 1;
    return ERR_OK;
}

static err_t open_after(const struct journal_file_options *options, uint64_t after,
                        struct journal **ret, struct delivered *delivered)
{
    struct err_text et = {0};
    *delivered = (struct delivered){0};
    assert_int_equal(journal_file_open(options, ret, &et), ERR_OK);
    err_t err = (*ret)->methods->replay(*ret, after, take_group, delivered, &et);
    if (err != ERR_OK) {
        assert_true(et.text[0] != '\0');
        (*ret)->methods->close(*ret);
    }
    return err;
}

static err_t open_journal(const struct test_dir *d, struct journal **ret,
                          struct delivered *delivered)
{
    struct journal_file_options options = options_of(d);
    return open_after(&options, 0, ret, delivered);
}

static void close_journal(struct journal *j)
{
    j->methods->close(j);
}

/* Appends a group of `bytes` in two parts for positions first … first + count - 1. */
static err_t append(struct journal *j, uint64_t first, uint32_t count, size_t bytes)
{
    uint8_t *p = malloc(bytes);
    assert_non_null(p);
    for (size_t i = 0; i < bytes; i++) {
        p[i] = content(first, i);
    }
    struct iovec parts[2] = {{p, bytes / 2}, {p + bytes / 2, bytes - bytes / 2}};
    err_t err = j->methods->reserve(j, bytes);
    if (err == ERR_OK) {
        err = j->methods->append(j, first, count, parts, 2);
    }
    free(p);
    return err;
}

static void append_groups(struct journal *j, uint64_t first, uint64_t last, size_t bytes)
{
    for (uint64_t p = first; p <= last; p++) {
        assert_int_equal(append(j, p, 1, bytes), ERR_OK);
    }
}

static size_t count_files(const struct test_dir *d)
{
    DIR *dir = opendir(d->path);
    size_t n = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

static const char *segment_path(const struct test_dir *d, uint64_t base, char ret[TEST_PATH_MAX])
{
    char name[JOURNAL_NAME_BYTES];
    segment_name(base, name);
    return test_path(d, name, ret);
}

/* ---- appending and replaying ---- */

/* Groups come back whole and in order, those before `after` are left out, and appends go on. */
static void test_journal_file_append_and_replay(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    test_dir_make(&dir);
    struct journal_file_options options = options_of(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.n, 0);
    assert_int_equal(append(j, 1, 3, 100), ERR_OK);
    assert_int_equal(append(j, 4, 1, 7), ERR_OK);
    close_journal(j);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.n, 2);
    assert_int_equal(d.first[1], 4);
    assert_int_equal(d.bytes[1], 7);
    assert_int_equal(append(j, 5, 2, 2000), ERR_OK);
    close_journal(j);
    assert_int_equal(open_after(&options, 2, &j, &d), ERR_OK); /* in the middle of a group */
    assert_int_equal(d.n, 3);
    close_journal(j);
    assert_int_equal(open_after(&options, 4, &j, &d), ERR_OK);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.first[0], 5);
    close_journal(j);
    test_dir_remove(&dir);
}

/* Any mix of sizes over many segments comes back, opened again at any time, trimmed at any time:
 * never a stale group of a recycled segment. */
static void test_journal_file_roll_recycle_trim(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    uint64_t random = test_seed(), position = 0, trimmed = 0;
    test_dir_make(&dir);
    struct journal_file_options options = options_of(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    for (int i = 0; i < 1500; i++) {
        uint32_t count = 1 + (uint32_t)test_below(&random, 3);
        size_t bytes = 1 + test_below(&random, test_below(&random, 10) == 0 ? 60000 : 3000);
        assert_int_equal(append(j, position + 1, count, bytes), ERR_OK);
        position += count;
        if (test_below(&random, 12) == 0) {
            trimmed = position - test_below(&random, position - trimmed + 1);
            bool idle = trimmed == position && test_below(&random, 2) == 0;
            assert_int_equal(j->methods->trim(j, trimmed, idle), ERR_OK);
        }
        if (test_below(&random, 6) == 0) {
            assert_int_equal(j->methods->prepare(j), ERR_OK);
        }
        if (test_below(&random, 10) == 0) {
            close_journal(j);
            assert_int_equal(open_after(&options, trimmed, &j, &d), ERR_OK);
            assert_true(position == trimmed ? d.n == 0 : d.last == position);
        }
    }
    assert_int_equal(j->methods->trim(j, position, true), ERR_OK);
    assert_true(count_files(&dir) <= 2);
    close_journal(j);
    test_dir_remove(&dir);
}

/* Segments that are applied are used again: the number of files stays small. */
static void test_journal_file_recycles(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    for (uint64_t p = 1; p <= 200; p++) {
        assert_int_equal(append(j, p, 1, 20000), ERR_OK);
        assert_int_equal(j->methods->trim(j, p, false), ERR_OK);
        assert_int_equal(j->methods->prepare(j), ERR_OK);
        assert_true(count_files(&dir) <= 4);
        assert_int_equal(j->methods->bytes(j), count_files(&dir) * SEGMENT);
    }
    close_journal(j);
    test_dir_remove(&dir);
}

/* A group that no segment can take is refused, and that is all. */
static void test_journal_file_reserve_too_large(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    size_t most = SEGMENT - JOURNAL_SEGMENT_HEADER_BYTES - JOURNAL_GROUP_HEADER_BYTES;
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(append(j, 1, 1, most + 1), ERR_LIMIT);
    assert_int_equal(append(j, 1, 1, most), ERR_OK);
    assert_int_equal(append(j, 2, 1, most), ERR_OK);
    close_journal(j);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.last, 2);
    close_journal(j);
    test_dir_remove(&dir);
}

/* ---- torn and damaged ---- */

/* Writes `bytes` bytes of zero over the end of a group, as if they had not reached the disk. */
static void tear(const struct test_dir *d, uint64_t end, uint64_t bytes)
{
    char path[TEST_PATH_MAX];
    static const uint8_t ZEROES[4096];
    assert_true(bytes <= sizeof ZEROES);
    int fd = open(segment_path(d, 0, path), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, ZEROES, bytes, (off_t)(end - bytes)), bytes);
    close(fd);
}

/* The last group torn at any byte is dropped, the ones before stay, and its place is used again. */
static void test_journal_file_torn_last_group(void **state)
{
    (void)state;
    struct test_dir dir, copy;
    struct journal *j;
    struct delivered d;
    const uint64_t group = JOURNAL_GROUP_HEADER_BYTES + 168;
    const uint64_t end = JOURNAL_SEGMENT_HEADER_BYTES + 3 * group;
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 3, 168);
    close_journal(j);
    for (uint64_t torn = 1; torn <= group; torn++) {
        test_dir_crash(&dir, &copy);
        tear(&copy, end, torn);
        assert_int_equal(open_journal(&copy, &j, &d), ERR_OK);
        /* A byte of the content may have been zero anyway. */
        assert_true(d.n == 2 || (d.n == 3 && content(3, 168 - torn) == 0));
        assert_int_equal(append(j, d.last + 1, 1, 90), ERR_OK);
        close_journal(j);
        uint64_t last = d.last + 1;
        assert_int_equal(open_journal(&copy, &j, &d), ERR_OK);
        assert_int_equal(d.last, last);
        close_journal(j);
        test_dir_remove(&copy);
    }
    test_dir_remove(&dir);
}

/* The same where the torn group is the first of a new segment. */
static void test_journal_file_torn_first_group_of_a_segment(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    char path[TEST_PATH_MAX];
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 3, 25000); /* two in the first segment */
    assert_int_equal(j->methods->prepare(j), ERR_OK);
    close_journal(j);
    test_file_flip(segment_path(&dir, SEGMENT, path), JOURNAL_SEGMENT_HEADER_BYTES + 5000, 1);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.last, 2);
    append_groups(j, 3, 3, 100); /* fits into the first segment */
    append_groups(j, 4, 9, 25000);
    close_journal(j);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.last, 9);
    close_journal(j);
    test_dir_remove(&dir);
}

/* One flipped bit anywhere in a group that has a valid one behind it is damage, never skipped:
 * whether the next group is in the same segment or in the next. */
static void test_journal_file_damage_in_the_middle(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    char path[TEST_PATH_MAX];
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 2, 100);
    append_groups(j, 3, 3, 50000);
    append_groups(j, 4, 4, 50000); /* in the next segment */
    close_journal(j);
    segment_path(&dir, 0, path);
    uint64_t second = JOURNAL_SEGMENT_HEADER_BYTES + 136, third = second + 136;
    for (uint64_t at = second; at < third - 4; at++) {
        test_file_flip(path, at, (uint8_t)(1u << at % 8));
        assert_int_equal(open_journal(&dir, &j, &d), ERR_CORRUPT);
        test_file_flip(path, at, (uint8_t)(1u << at % 8));
    }
    test_file_flip(path, third + 700, 4);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_CORRUPT);
    test_file_flip(path, third + 700, 4);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.last, 4);
    close_journal(j);
    test_dir_remove(&dir);
}

/* A journal that ends before what the store has was damaged at its end, or lost: refused, whether
 * its last group is unreadable or all its segments are gone. One whose segments are all empty is
 * what a trim leaves. */
static void test_journal_file_must_reach_the_store(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    char path[TEST_PATH_MAX];
    struct journal_file_options options;
    test_dir_make(&dir);
    options = options_of(&dir);
    assert_int_equal(open_after(&options, 3, &j, &d), ERR_CORRUPT); /* no segment at all */
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    close_journal(j);
    assert_int_equal(open_after(&options, 3, &j, &d), ERR_OK); /* an empty segment */
    append_groups(j, 4, 6, 168);
    close_journal(j);
    assert_int_equal(open_after(&options, 6, &j, &d), ERR_OK);
    close_journal(j);
    assert_int_equal(open_after(&options, 7, &j, &d), ERR_CORRUPT);
    uint64_t third = JOURNAL_SEGMENT_HEADER_BYTES + 2 * (JOURNAL_GROUP_HEADER_BYTES + 168);
    test_file_flip(segment_path(&dir, 0, path), third + 100, 1);
    assert_int_equal(open_after(&options, 6, &j, &d), ERR_CORRUPT);
    assert_int_equal(open_after(&options, 5, &j, &d), ERR_OK);
    close_journal(j);
    test_dir_remove(&dir);
}

/* A damaged segment header, another version, another store's segment, a cut file, a missing
 * segment: each is an error of its own kind, with words. */
static void test_journal_file_bad_segments(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    char path[TEST_PATH_MAX];
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 6, 25000); /* three segments */
    close_journal(j);
    segment_path(&dir, SEGMENT, path);
    static const struct {
        uint64_t at;
        err_t err;
    } CASES[] = {{0, ERR_CORRUPT},  {8, ERR_FORMAT},   {16, ERR_CORRUPT},
                 {32, ERR_CORRUPT}, {40, ERR_CORRUPT}, {48, ERR_CORRUPT}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        test_file_flip(path, CASES[i].at, 2);
        assert_int_equal(open_journal(&dir, &j, &d), CASES[i].err);
        test_file_flip(path, CASES[i].at, 2);
    }
    struct journal_file_options other = options_of(&dir);
    other.store_id[3] ^= 1;
    assert_int_equal(open_after(&other, 0, &j, &d), ERR_CORRUPT);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    close_journal(j);
    size_t n;
    uint8_t *whole = test_file_read(path, &n);
    test_file_write(path, whole, 5000);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_CORRUPT);
    test_file_write(path, whole, 100);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_CORRUPT);
    free(whole);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_CORRUPT);
    assert_int_equal(unlink(segment_path(&dir, 0, path)), 0);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_CORRUPT); /* begins after the store's end */
    test_dir_remove(&dir);
}

/* ---- other sizes, full disks, failed writes ---- */

/* Another segment size at each start: old segments are read at theirs, new ones have the new. */
static void test_journal_file_segment_size_changes(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    uint64_t position = 0;
    test_dir_make(&dir);
    struct journal_file_options options = options_of(&dir);
    for (uint64_t i = 0; i < 8; i++) {
        options.segment_bytes = SEGMENT * (1 + i * 3 % 4);
        assert_int_equal(open_after(&options, 0, &j, &d), ERR_OK);
        assert_int_equal(d.last, position);
        append_groups(j, position + 1, position + 9, 20000);
        position += 9;
        assert_int_equal(j->methods->prepare(j), ERR_OK);
        close_journal(j);
    }
    assert_int_equal(open_after(&options, 0, &j, &d), ERR_OK);
    assert_int_equal(d.last, position);
    close_journal(j);
    test_dir_remove(&dir);
}

/* No space for a segment is said before anything is written; later it goes on. */
static void test_journal_file_disk_full(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 2, 25000);
    fault_arm(FAULT_JOURNAL_ALLOCATE, 1, true);
    assert_int_equal(append(j, 3, 1, 25000), ERR_DISK_FULL);
    assert_int_equal(j->methods->prepare(j), ERR_DISK_FULL);
    assert_int_equal(append(j, 3, 1, 100), ERR_OK); /* what fits still goes */
    fault_arm(FAULT_JOURNAL_ALLOCATE, 0, false);
    assert_int_equal(append(j, 4, 1, 25000), ERR_OK);
    close_journal(j);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.last, 4);
    close_journal(j);
    test_dir_remove(&dir);
}

/* After one failed append nothing is appended any more. */
static void test_journal_file_append_failed(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    test_dir_make(&dir);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 2, 100);
    fault_arm(FAULT_JOURNAL_WRITE, 1, false);
    assert_int_equal(append(j, 3, 1, 100), ERR_IO);
    assert_int_equal(append(j, 3, 1, 100), ERR_IO);
    close_journal(j);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    assert_int_equal(d.last, 2);
    close_journal(j);
    test_dir_remove(&dir);
}

/* Read only: nothing is made, nothing removed. */
static void test_journal_file_read_only(void **state)
{
    (void)state;
    struct test_dir dir;
    struct journal *j;
    struct delivered d;
    test_dir_make(&dir);
    struct journal_file_options options = options_of(&dir);
    options.read_only = true;
    assert_int_equal(open_after(&options, 0, &j, &d), ERR_OK);
    close_journal(j);
    assert_int_equal(count_files(&dir), 0);
    assert_int_equal(open_journal(&dir, &j, &d), ERR_OK);
    append_groups(j, 1, 9, 25000);
    close_journal(j);
    size_t files = count_files(&dir);
    assert_int_equal(open_after(&options, 0, &j, &d), ERR_OK);
    assert_int_equal(d.last, 9);
    close_journal(j);
    assert_int_equal(count_files(&dir), files);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_file_append_and_replay),
        cmocka_unit_test(test_journal_file_roll_recycle_trim),
        cmocka_unit_test(test_journal_file_recycles),
        cmocka_unit_test(test_journal_file_reserve_too_large),
        cmocka_unit_test(test_journal_file_torn_last_group),
        cmocka_unit_test(test_journal_file_torn_first_group_of_a_segment),
        cmocka_unit_test(test_journal_file_damage_in_the_middle),
        cmocka_unit_test(test_journal_file_must_reach_the_store),
        cmocka_unit_test(test_journal_file_bad_segments),
        cmocka_unit_test(test_journal_file_segment_size_changes),
        cmocka_unit_test(test_journal_file_disk_full),
        cmocka_unit_test(test_journal_file_append_failed),
        cmocka_unit_test(test_journal_file_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
