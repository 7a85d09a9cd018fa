/* kv_scrub: wiping the pages of the data file that LMDB has freed. LMDB leaves their old bytes in
 * place until it needs them again, which may be never.
 *
 * LMDB keeps, in table 0, for each transaction the list of the pages that it freed: page n of
 * transaction t belongs to snapshots before t only. So when the newest snapshot and every reader's
 * is after t (the rule by which LMDB itself takes pages again), nobody looks at them any more. A
 * read transaction shows the list; since the caller is the only one who writes, it stays true. A
 * write transaction may move pages from a list to one before it, so a walk that one came between
 * begins anew; that it ends at last, it then does twice as much a call.
 *
 * The pages become holes (zeroes that take no room); a file system without holes gets zeroes. What
 * lies behind the last page is wiped too: a commit that failed half way may have written there. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv_lmdb.h"

#define FREE_TABLE      0
#define ZEROES_SIZE     65536
#define STEP_PAGES      8192
#define STEP_PAGES_MOST (1u << 30)

/* ---- readers ---- */

/* One line of mdb_reader_list: process, thread, and the snapshot's number or '-'. */
static int take_reader(const char *line, void *ctx)
{
    uint64_t *oldest = ctx;
    const char *last = strrchr(line, ' ');
    char *end;
    if (last == NULL) {
        return 0;
    }
    uint64_t id = strtoull(last + 1, &end, 10);
    if (end != last + 1 && id < *oldest) {
        *oldest = id;
    }
    return 0;
}

static err_t oldest_snapshot(struct kv *kv, MDB_txn *txn, uint64_t *ret)
{
    *ret = mdb_txn_id(txn);
    int code = mdb_reader_list(kv->env, take_reader, ret);
    return code < 0 ? kv_from_lmdb(code) : ERR_OK;
}

/* ---- zeroes ---- */

static err_t write_zeroes(int fd, off_t at, off_t n)
{
    static const uint8_t ZEROES[ZEROES_SIZE];
    while (n > 0) {
        ssize_t written = pwrite(fd, ZEROES, n < ZEROES_SIZE ? (size_t)n : ZEROES_SIZE, at);
        if (written < 0 && errno != EINTR) {
            return err_from_errno(errno);
        }
        at += written > 0 ? written : 0;
        n -= written > 0 ? written : 0;
    }
    return ERR_OK;
}

static err_t wipe(int fd, off_t at, off_t n)
{
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n) == 0) {
        return ERR_OK;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS ? write_zeroes(fd, at, n) : err_from_errno(errno);
}

/* One list: how many, then the pages, mostly in descending runs. */
static err_t wipe_list(const struct kv *kv, int fd, const MDB_val *list)
{
    const size_t *pages = list->mv_data;
    size_t n = list->mv_size / sizeof *pages;
    if (n == 0 || pages[0] > n - 1) {
        return ERR_CORRUPT;
    }
    for (size_t i = 1, run; i <= pages[0]; i += run) {
        for (run = 1; i + run <= pages[0] && pages[i + run] == pages[i] - run;) {
            run++;
        }
        err_t err =
            wipe(fd, (off_t)((pages[i] - run + 1) * kv->page_bytes), (off_t)(run * kv->page_bytes));
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static err_t wipe_end(struct kv *kv, int fd)
{
    MDB_envinfo info;
    struct stat st;
    mdb_env_info(kv->env, &info);
    off_t end = (off_t)((info.me_last_pgno + 1) * kv->page_bytes);
    if (fstat(fd, &st) != 0) {
        return err_from_errno(errno);
    }
    return st.st_size > end ? wipe(fd, end, st.st_size - end) : ERR_OK;
}

/* ---- the walk ---- */

/* The lists from scrub_at to the one before `limit`; *ret_more: it stopped before. */
static err_t wipe_lists(struct kv *kv, MDB_cursor *cursor, int fd, uint64_t limit, bool *ret_more)
{
    size_t pages = 0, from = (size_t)kv->scrub_at;
    MDB_val key = {.mv_size = sizeof from, .mv_data = &from}, list;
    int code = mdb_cursor_get(cursor, &key, &list, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &list, MDB_NEXT)) {
        size_t id;
        memcpy(&id, key.mv_data, sizeof id);
        if (id >= limit) {
            break;
        }
        kv->scrub_at = id;
        *ret_more = pages >= kv->scrub_pages;
        if (*ret_more) {
            return ERR_OK;
        }
        err_t err = wipe_list(kv, fd, &list);
        if (err != ERR_OK) {
            return err;
        }
        pages += list.mv_size / sizeof(size_t);
    }
    return code == 0 || code == MDB_NOTFOUND ? wipe_end(kv, fd) : kv_from_lmdb(code);
}

static void start_walk(struct kv *kv, uint64_t snapshot)
{
    if (kv->scrub_snapshot == snapshot && kv->scrub_at > 0) {
        return;
    }
    bool broken = kv->scrub_at > 0 && kv->scrub_pages < STEP_PAGES_MOST;
    kv->scrub_pages = broken ? kv->scrub_pages * 2 : STEP_PAGES;
    kv->scrub_snapshot = snapshot;
    kv->scrub_at = 1;
}

static err_t scrub(struct kv *kv, MDB_txn *txn, uint64_t wanted, bool *ret_done, bool *ret_more)
{
    MDB_cursor *cursor;
    mdb_filehandle_t fd;
    uint64_t limit;
    err_t err = oldest_snapshot(kv, txn, &limit);
    if (err != ERR_OK || wanted >= limit) {
        return err;
    }
    start_walk(kv, mdb_txn_id(txn));
    int code = mdb_env_get_fd(kv->env, &fd);
    if (code == 0) {
        code = mdb_cursor_open(txn, FREE_TABLE, &cursor);
    }
    if (code != 0) {
        return kv_from_lmdb(code);
    }
    err = wipe_lists(kv, cursor, fd, limit, ret_more);
    mdb_cursor_close(cursor);
    if (err == ERR_OK && fdatasync(fd) != 0) {
        err = err_from_errno(errno);
    }
    if (err == ERR_OK && !*ret_more) {
        *ret_done = true;
        kv->scrub_at = 0;
    }
    return err;
}

err_t kv_scrub(struct kv *kv, uint64_t wanted, bool *ret_done, bool *ret_more)
{
    MDB_txn *txn;
    *ret_more = false;
    *ret_done = false;
    int code = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (code != 0) {
        return kv_from_lmdb(code);
    }
    err_t err = scrub(kv, txn, wanted, ret_done, ret_more);
    mdb_txn_abort(txn);
    return err;
}
