/* bench_disk: what the disk and LMDB can do, the limits that Daybook's commits are measured
 * against.
 *
 *   bench_disk odsync DIR BYTES SECONDS   writes of so many bytes to a preallocated, zeroed file
 *                                         opened with O_DSYNC, one behind the other, as a journal
 * is bench_disk lmdb DIR BATCH SECONDS [EVENTS] commits of so many 256-byte values to a table in
 * the order of its keys (MDB_APPEND), each synced; EVENTS: stop after so many, where the seconds
 * are not over first
 *
 * Prints a line of JSON. Its file is made in DIR and removed. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES    ((size_t)64 * 1024 * 1024)
#define VALUE_BYTES   256
#define MAP_BYTES     ((size_t)256 * 1024 * 1024 * 1024)
#define SAMPLES_MAX   ((size_t)4 * 1024 * 1024)
#define WARMUP_COUNT  50
#define BYTES_MAX     ((size_t)4 * 1024 * 1024)
#define NS_PER_SECOND 1e9

/* How long each operation took, in ns; more than SAMPLES_MAX are counted but not kept. */
struct samples {
    uint32_t *ns;
    size_t n;
    uint64_t begun_ns, ended_ns;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_disk: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

static bool samples_init(struct samples *s)
{
    *s = (struct samples){.ns = malloc(SAMPLES_MAX * sizeof *s->ns)};
    return s->ns != NULL;
}

static void samples_add(struct samples *s, uint64_t from_ns, uint64_t to_ns)
{
    if (s->n < SAMPLES_MAX) {
        s->ns[s->n] = (uint32_t)(to_ns - from_ns);
    }
    s->n++;
}

static int compare_ns(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The line of JSON; `events` is how many an operation holds. */
static void report(struct samples *s, const char *what, unsigned long size, unsigned long events)
{
    size_t kept = s->n < SAMPLES_MAX ? s->n : SAMPLES_MAX;
    double seconds = (double)(s->ended_ns - s->begun_ns) / NS_PER_SECOND;
    qsort(s->ns, kept, sizeof *s->ns, compare_ns);
    double p50 = kept > 0 ? s->ns[kept / 2] : 0;
    double p99 = kept > 0 ? s->ns[kept * 99 / 100] : 0;
    printf("{\"what\":\"%s\",\"size\":%lu,\"per_s\":%.1f,\"events_per_s\":%.1f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f,\"count\":%zu}\n",
           what, size, (double)s->n / seconds, (double)s->n * (double)events / seconds, p50 / 1e3,
           p99 / 1e3, s->n);
}

/* ---- a journal ---- */

/* Written, not only allocated: the first write to an allocated block changes metadata as well. */
static bool zero_file(int fd, uint8_t *block, size_t block_n)
{
    memset(block, 0, block_n);
    for (size_t at = 0; at < FILE_BYTES; at += block_n) {
        if (pwrite(fd, block, block_n, (off_t)at) != (ssize_t)block_n) {
            return false;
        }
    }
    return fsync(fd) == 0;
}

static bool write_journal(int fd, uint8_t *block, size_t size, double seconds, struct samples *s)
{
    size_t at = 0;
    uint64_t count = 0;
    memset(block, 'x', size);
    s->begun_ns = s->ended_ns = now_ns();
    while ((double)(s->ended_ns - s->begun_ns) < seconds * NS_PER_SECOND) {
        uint64_t from_ns = now_ns();
        memcpy(block, &count, sizeof count);
        if (pwrite(fd, block, size, (off_t)at) != (ssize_t)size) {
            return false;
        }
        at = at + 2 * size <= FILE_BYTES ? at + size : 0;
        s->ended_ns = now_ns();
        if (++count == WARMUP_COUNT) {
            s->begun_ns = s->ended_ns;
        } else if (count > WARMUP_COUNT) {
            samples_add(s, from_ns, s->ended_ns);
        }
    }
    return true;
}

static int bench_odsync(const char *dir, size_t size, double seconds)
{
    char path[4096];
    struct samples s;
    snprintf(path, sizeof path, "%s/bench_disk.journal", dir);
    uint8_t *block = aligned_alloc(4096, BYTES_MAX);
    if (block == NULL || !samples_init(&s)) {
        free(block);
        return fail("samples", "no memory");
    }
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && zero_file(fd, block, BYTES_MAX) && close(fd) == 0 &&
              (fd = open(path, O_WRONLY | O_DSYNC | O_CLOEXEC)) >= 0 &&
              write_journal(fd, block, size, seconds, &s);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    unlink(path);
    if (ok) {
        report(&s, "odsync", size, 1);
    }
    free(block);
    free(s.ns);
    return ok ? EXIT_SUCCESS : fail(path, strerror(error));
}

/* ---- LMDB ---- */

static int commit_batch(MDB_env *env, MDB_dbi dbi, uint64_t *next, unsigned long batch)
{
    static uint8_t bytes[VALUE_BYTES];
    MDB_txn *txn;
    int rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc != 0) {
        return rc;
    }
    for (unsigned long i = 0; i < batch; i++) {
        uint64_t position = ++*next;
        MDB_val key = {sizeof position, &position};
        MDB_val value = {sizeof bytes, bytes};
        memcpy(bytes, &position, sizeof position);
        rc = mdb_put(txn, dbi, &key, &value, MDB_APPEND);
        if (rc != 0) {
            mdb_txn_abort(txn);
            return rc;
        }
    }
    return mdb_txn_commit(txn);
}

static int open_table(MDB_env *env, MDB_dbi *ret)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, ret);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static int write_table(MDB_env *env, unsigned long batch, double seconds, uint64_t events,
                       struct samples *s)
{
    MDB_dbi dbi;
    uint64_t next = 0;
    int rc = open_table(env, &dbi);
    s->begun_ns = s->ended_ns = now_ns();
    while (rc == 0 && (double)(s->ended_ns - s->begun_ns) < seconds * NS_PER_SECOND &&
           next < events) {
        uint64_t from_ns = now_ns();
        rc = commit_batch(env, dbi, &next, batch);
        s->ended_ns = now_ns();
        samples_add(s, from_ns, s->ended_ns);
    }
    return rc;
}

static int bench_lmdb(const char *dir, unsigned long batch, double seconds, uint64_t events)
{
    char path[4096];
    char lock[4200];
    MDB_env *env = NULL;
    struct samples s;
    snprintf(path, sizeof path, "%s/bench_disk.lmdb", dir);
    snprintf(lock, sizeof lock, "%s-lock", path);
    if (!samples_init(&s)) {
        return fail("samples", "no memory");
    }
    int rc = mdb_env_create(&env);
    if (rc == 0) {
        rc = mdb_env_set_mapsize(env, MAP_BYTES);
    }
    if (rc == 0) {
        rc = mdb_env_open(env, path, MDB_NOSUBDIR, 0600);
    }
    if (rc == 0) {
        rc = write_table(env, batch, seconds, events, &s);
    }
    mdb_env_close(env);
    unlink(path);
    unlink(lock);
    if (rc == 0) {
        report(&s, "lmdb", batch, batch);
    }
    free(s.ns);
    return rc == 0 ? EXIT_SUCCESS : fail(path, mdb_strerror(rc));
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: bench_disk odsync DIR BYTES SECONDS | "
                        "bench_disk lmdb DIR BATCH SECONDS [EVENTS]\n");
        return EXIT_FAILURE;
    }
    unsigned long size = strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    if (strcmp(argv[1], "odsync") == 0 && size >= sizeof(uint64_t) && size <= BYTES_MAX) {
        return bench_odsync(argv[2], size, seconds);
    }
    if (strcmp(argv[1], "lmdb") == 0 && size > 0) {
        uint64_t events = argc > 5 ? strtoull(argv[5], NULL, 10) : UINT64_MAX;
        return bench_lmdb(argv[2], size, seconds, events);
    }
    return fail(argv[1], "unknown, or the size does not fit");
}
