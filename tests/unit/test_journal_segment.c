/* Tests of storage/journal_segment.c: names, headers, groups in memory and on disk. */
#include "storage/journal_segment.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define SIZE 65536
#define BASE (3 * (uint64_t)SIZE)

static const uint8_t STORE_ID[UUID_BYTES] = "segment-tests-i";

struct fixture {
    struct test_dir dir;
    int dir_fd, fd;
    struct segment_header header;
};

/* One zeroed segment at BASE. */
static int set_up(void **state)
{
    static struct fixture f;
    char name[JOURNAL_NAME_BYTES];
    test_dir_make(&f.dir);
    f.dir_fd = open(f.dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    segment_name(BASE, name);
    f.fd = openat(f.dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(f.dir_fd >= 0 && f.fd >= 0);
    f.header = (struct segment_header){.base = BASE, .size = SIZE, .salt = 12345};
    memcpy(f.header.store_id, STORE_ID, UUID_BYTES);
    assert_int_equal(segment_zero(f.fd, SIZE), ERR_OK);
    assert_int_equal(segment_write_header(f.fd, &f.header), ERR_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close(f->fd);
    close(f->dir_fd);
    test_dir_remove(&f->dir);
    return 0;
}

static uint64_t write_group(struct fixture *f, uint64_t at, uint64_t first, const char *text)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)text, 2},
                             {(void *)(uintptr_t)(text + 2), strlen(text) - 2}};
    struct group_header header = {
        .salt = f->header.salt, .offset = BASE + at, .first_position = first, .count = 2};
    uint64_t written;
    assert_int_equal(segment_write_group(f->fd, at, &header, parts, 2, &written), ERR_OK);
    assert_int_equal(written % 8, 0);
    return at + written;
}

static uint8_t *load(struct fixture *f, struct segment_header *ret)
{
    struct err_text et = {0};
    uint8_t *file;
    assert_int_equal(segment_load(f->dir_fd, BASE, STORE_ID, ret, &file, &et), ERR_OK);
    return file;
}

/* Names sort as the bases do; nothing else in the directory is a segment. */
static void test_segment_list_sorted(void **state)
{
    struct fixture *f = *state;
    static const char *const OTHERS[] = {"new.tmp",
                                         "free.tmp",
                                         "1.seg",
                                         "000000000000000G.seg",
                                         "00000000000000AB.seg",
                                         "0000000000000001.segx"};
    char name[JOURNAL_NAME_BYTES], path[TEST_PATH_MAX];
    uint64_t *bases;
    size_t n;
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        test_file_write(test_path(&f->dir, OTHERS[i], path), "x", 1);
    }
    segment_name(0, name);
    assert_string_equal(name, "0000000000000000.seg");
    test_file_write(test_path(&f->dir, name, path), "x", 1);
    segment_name((uint64_t)1 << 40, name);
    test_file_write(test_path(&f->dir, name, path), "x", 1);
    assert_int_equal(segment_list(f->dir_fd, &bases, &n), ERR_OK);
    assert_int_equal(n, 3);
    assert_int_equal(bases[0], 0);
    assert_int_equal(bases[1], BASE);
    assert_int_equal(bases[2], (uint64_t)1 << 40);
    free(bases);
}

/* Groups of any length are read back, each at its own place only. */
static void test_segment_read_group_round_trip(void **state)
{
    struct fixture *f = *state;
    struct segment_header h;
    struct group_header g;
    struct bytes records;
    uint64_t at = JOURNAL_SEGMENT_HEADER_BYTES, ends[3], found;
    ends[0] = write_group(f, at, 1, "12345678");
    ends[1] = write_group(f, ends[0], 3, "abc");
    ends[2] = write_group(f, ends[1], 5, "123456789");
    uint8_t *p = load(f, &h);
    struct bytes file = bytes_of(p, SIZE);
    assert_int_equal(h.salt, f->header.salt);
    assert_true(segment_read_group(file, &h, at, &g, &records));
    assert_int_equal(g.first_position, 1);
    assert_int_equal(g.count, 2);
    assert_true(bytes_equal(records, BYTES_LITERAL("12345678")));
    assert_true(segment_read_group(file, &h, ends[0], &g, &records));
    assert_true(bytes_equal(records, BYTES_LITERAL("abc")));
    assert_false(segment_read_group(file, &h, ends[2], &g, &records));
    assert_false(segment_read_group(file, &h, SIZE, &g, &records));
    assert_false(segment_read_group(file, &h, SIZE + 8, &g, &records));
    assert_true(segment_find_group(file, &h, ends[0] + 8, &found));
    assert_int_equal(found, ends[1]);
    assert_false(segment_find_group(file, &h, ends[1] + 8, &found));
    struct segment_header other = h;
    other.base += SIZE; /* the same bytes in another life of the file */
    assert_false(segment_find_group(file, &other, at, &found));
    other = h;
    other.salt++;
    assert_false(segment_find_group(file, &other, at, &found));
    free(p);
}

/* Any flipped bit of a group makes it none. */
static void test_segment_read_group_every_bit(void **state)
{
    struct fixture *f = *state;
    struct segment_header h;
    struct group_header g;
    struct bytes records;
    uint64_t at = JOURNAL_SEGMENT_HEADER_BYTES;
    (void)write_group(f, at, 1, "the records of it");
    uint8_t *p = load(f, &h);
    for (size_t bit = 0; bit < (JOURNAL_GROUP_HEADER_BYTES + 17) * 8; bit++) {
        p[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(segment_read_group(bytes_of(p, SIZE), &h, at, &g, &records));
        p[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(segment_read_group(bytes_of(p, SIZE), &h, at, &g, &records));
    free(p);
}

/* Any flipped bit of a segment's header is noticed; the version has an error of its own. */
static void test_segment_load_every_header_bit(void **state)
{
    struct fixture *f = *state;
    char name[JOURNAL_NAME_BYTES], path[TEST_PATH_MAX];
    struct segment_header h;
    uint8_t *file;
    segment_name(BASE, name);
    test_path(&f->dir, name, path);
    for (size_t at = 0; at < 60; at++) {
        struct err_text et = {0};
        test_file_flip(path, at, (uint8_t)(1u << at % 8));
        err_t err = segment_load(f->dir_fd, BASE, STORE_ID, &h, &file, &et);
        assert_int_equal(err, at >= 8 && at < 12 ? ERR_FORMAT : ERR_CORRUPT);
        assert_true(et.text[0] != '\0');
        test_file_flip(path, at, (uint8_t)(1u << at % 8));
    }
    assert_int_equal(segment_load(f->dir_fd, BASE + 8, STORE_ID, &h, &file, NULL), ERR_NOT_FOUND);
}

/* What is written again is the same. */
static void test_segment_write_again_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct segment_header h;
    uint64_t at = JOURNAL_SEGMENT_HEADER_BYTES, end = write_group(f, at, 1, "something");
    uint8_t *before = load(f, &h);
    assert_int_equal(segment_write_again(f->fd, at, end - at), ERR_OK);
    uint8_t *after = load(f, &h);
    assert_memory_equal(before, after, SIZE);
    free(before);
    free(after);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_segment_list_sorted),
        TEST(test_segment_read_group_round_trip),
        TEST(test_segment_read_group_every_bit),
        TEST(test_segment_load_every_header_bit),
        TEST(test_segment_write_again_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
