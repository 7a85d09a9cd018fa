/* digest: what a store's tables hold after a given series of commands, as one number a table.
 *
 *   digest SEED COMMANDS SECRET CLOCK_SHIFT_S
 *
 * Writes a store in a directory of its own, as a server does (groups, applying, reclaim, a crash
 * and a start in between), and prints a line a table: its name, rows and digest. The commands,
 * their times, ids and the store's id follow from SEED; nothing else may have a say: not the hash
 * tables' SECRET, the clocks (which this program has of its own, CLOCK_SHIFT_S off), the locale,
 * the time zone, the compiler or the directory. */
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "storage/kv.h"
#include "tests/model/workload.h"
#include "tests/unit/support.h"

static int64_t shift_s;

/* The C library declares these with names of its own.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* ---- clocks that are wrong ---- */

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int code = (int)syscall(SYS_clock_gettime, (long)clock, ret);
    ret->tv_sec += shift_s;
    return code;
}

time_t time(time_t *ret)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL) {
        *ret = now.tv_sec;
    }
    return now.tv_sec;
}

int gettimeofday(struct timeval *ret, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* ---- the store ---- */

static void work(struct store *s, struct workload *w, uint64_t commands, uint64_t *random)
{
    for (uint64_t i = 0; i < commands; i++) {
        bool more = true;
        size_t group = 1 + (size_t)test_below(random, 4);
        err_t err = workload_commit(s, w, group, NULL);
        if (err == ERR_FULL || test_below(random, 9) == 0) {
            test_apply_all(s);
            for (err = ERR_OK; more && err == ERR_OK;) {
                err = store_reclaim(s, TEST_TIME_US, &more);
            }
        }
        assert_int_equal(err, ERR_OK);
    }
}

static void make_store(const struct test_dir *dir, struct test_dir *crashed, uint64_t seed,
                       uint64_t commands)
{
    struct workload w;
    uint64_t random = seed;
    workload_init(&w, seed);
    struct store *s = test_open(dir);
    work(s, &w, commands / 2, &random);
    test_dir_crash(dir, crashed);
    store_close(s);
    s = test_open(crashed);
    work(s, &w, commands - commands / 2, &random);
    store_close(s);
}

/* ---- the digest ---- */

static uint64_t add_bytes(uint64_t digest, struct bytes b)
{
    uint8_t n[8];
    bytes_put_u64le(n, b.n);
    for (size_t i = 0; i < sizeof n; i++) {
        digest = (digest ^ n[i]) * 0x100000001b3u;
    }
    for (size_t i = 0; i < b.n; i++) {
        digest = (digest ^ b.p[i]) * 0x100000001b3u;
    }
    return digest;
}

static void print_table(struct kv_txn *txn, enum kv_table table)
{
    static const char *const NAMES[] = {"meta", "log", "names", "postings", "lives", "redactions"};
    uint64_t digest = 0xcbf29ce484222325u, rows = 0;
    struct kv_cursor *cursor;
    struct kv_row row;
    err_t err = kv_cursor_open(txn, table, &cursor);
    assert_int_equal(err, ERR_OK);
    for (err = kv_first(cursor, &row); err == ERR_OK; err = kv_next(cursor, &row)) {
        digest = add_bytes(add_bytes(digest, row.key), row.value);
        rows++;
    }
    assert_int_equal(err, ERR_END);
    kv_cursor_close(cursor);
    printf("%s %" PRIu64 " %016" PRIx64 "\n", NAMES[table], rows, digest);
}

static void print_tables(const struct test_dir *dir)
{
    char path[TEST_PATH_MAX];
    struct kv *kv;
    struct kv_txn *txn;
    err_t err = kv_open(test_path(dir, "store", path), (uint64_t)1 << 28, true, &kv, NULL);
    assert_int_equal(err, ERR_OK);
    err = kv_begin(kv, false, &txn);
    assert_int_equal(err, ERR_OK);
    for (int i = 0; i < KV_TABLE_COUNT; i++) {
        print_table(txn, (enum kv_table)i);
    }
    kv_abort(txn);
    kv_close(kv);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: digest SEED COMMANDS SECRET CLOCK_SHIFT_S\n", stderr);
        return 2;
    }
    struct test_dir dir, crashed;
    setlocale(LC_ALL, "");
    uint64_t secret[2] = {strtoull(argv[3], NULL, 10), ~strtoull(argv[3], NULL, 10)};
    bytes_hash_set_secret(secret);
    shift_s = strtoll(argv[4], NULL, 10);
    test_dir_make(&dir);
    make_store(&dir, &crashed, strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10));
    print_tables(&crashed);
    test_dir_remove(&dir);
    test_dir_remove(&crashed);
    return 0;
}
