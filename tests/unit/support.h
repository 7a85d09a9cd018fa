/* support: what the tests of the store share: directories, random numbers, commands in one line.
 *
 * One thread, except test_random and what takes only its arguments. Everything fails the running
 * test instead of returning an error. */
#ifndef DAYBOOK_TESTS_UNIT_SUPPORT_H
#define DAYBOOK_TESTS_UNIT_SUPPORT_H

#include "storage/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- directories ---- */

#define TEST_PATH_MAX 512

struct test_dir {
    char path[TEST_PATH_MAX];
};

/* A fresh, empty directory below TMPDIR, by default in memory where that is roomy, else in /tmp. */
void test_dir_make(struct test_dir *d);
/* Removes it with all that is in it. */
void test_dir_remove(struct test_dir *d);
/* "dir/name" in a buffer of the caller's. */
const char *test_path(const struct test_dir *d, const char *name, char ret[TEST_PATH_MAX]);
/* What a kill -9 at this moment would leave: copies a data directory without its locks. `to` is
 * made. */
void test_dir_crash(const struct test_dir *from, struct test_dir *to);
/* Changes one byte of a file: XORs it with `mask`. */
void test_file_flip(const char *path, uint64_t at, uint8_t mask);
/* The whole file; free() it. */
uint8_t *test_file_read(const char *path, size_t *ret_n);
void test_file_write(const char *path, const void *p, size_t n);

/* ---- random numbers ---- */

/* Takes DAYBOOK_TEST_SEED or the clock and prints it. */
uint64_t test_seed(void);
/* splitmix64 */
uint64_t test_random(uint64_t *state);
uint64_t test_below(uint64_t *state, uint64_t limit);

/* ---- stores ---- */

#define TEST_TIME_US 1700000000000000

/* Small segments (64 KiB) and a small tail, so that rolling and freezing happen. */
struct store_options test_options(const struct test_dir *d);
struct store *test_open(const struct test_dir *d);
/* Opens with these options; fails the test with the store's own words. */
struct store *test_open_with(const struct store_options *options);
void test_apply_all(struct store *s);
/* Reclaims until nothing is left to do; no view may be open, everything must be applied. */
void test_reclaim_all(struct store *s, int64_t now_us);
/* Calls `each` with the content of every file of the directory. */
void test_dir_each(const struct test_dir *d, void (*each)(void *ctx, const uint8_t *p, size_t n),
                   void *ctx);
/* Whether these bytes stand in any file of the directory. */
bool test_dir_has(const struct test_dir *d, const char *bytes);
/* Runs store_verify, prints the findings, and fails where there is one or where it saw another
 * number of events. */
void test_verify_clean(struct store *s, uint64_t events);
/* The number of findings; each is looked through for `wanted` (may be NULL), *ret_found says
 * whether one had it. */
uint64_t test_verify(struct store *s, const char *wanted, bool *ret_found);

/* ---- commands ---- */

#define TEST_ANY       ((struct expectation){EXPECT_ANY, 0})
#define TEST_NO_STREAM ((struct expectation){EXPECT_NO_STREAM, 0})
#define TEST_EXISTS    ((struct expectation){EXPECT_STREAM_EXISTS, 0})
#define TEST_AT(n)     ((struct expectation){EXPECT_REVISION, (n)})

/* A UUID that is distinct for each n. */
void test_id(uint64_t n, uint8_t ret[UUID_BYTES]);

struct command *test_command(void);
void test_add_append(struct command *c, const char *stream, struct expectation expected);
/* An event whose id is test_id(id) and given by the client; 0: a fresh one that is not. */
void test_add_event(struct command *c, uint64_t id, const char *type, const char *data);
/* The same with tags, separated by spaces. */
void test_add_tagged(struct command *c, uint64_t id, const char *type, const char *tags);
/* A command with one append of one event. */
struct command *test_one(const char *stream, struct expectation expected, uint64_t id,
                         const char *type, const char *data);

/* Commands on a stream's life, with a fresh id. */
struct command *test_metadata(const char *stream, const struct life_change *change);
struct command *test_delete(const char *stream, bool tombstone);
struct command *test_redact(const char *stream, uint64_t revision);

/* Commits, applying first where the tail is full. */
enum verdict test_commit(struct store *s, struct command *c);
/* The same, and frees the command. */
enum verdict test_commit_free(struct store *s, struct command *take_c);
/* The same for a group. */
void test_commit_group(struct store *s, struct command **commands, size_t n, int64_t now_us);
/* Appends one event and returns its position. */
uint64_t test_put(struct store *s, const char *stream, const char *type, const char *data);
/* Appends n events: the one at position i has type "T<i % 3>", tag "t<i % 5>", id i, and is in
 * stream "s-<i % streams>". */
void test_fill(struct store *s, uint64_t n, uint64_t streams);

/* The event at a position of the newest view, checked and decoded; its data are compared. */
void test_expect_event(struct store *s, uint64_t position, const char *stream, uint64_t revision,
                       const char *data);

#endif
