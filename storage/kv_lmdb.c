/* kv_lmdb: the tables on LMDB. No DUPSORT, no WRITEMAP, no NOSYNC; NOTLS, so that a reader belongs
 * to its transaction and not to a thread; NORDAHEAD, because the log is larger than memory and read
 * at random places too; no NOMEMINIT, so that no page carries the heap's old bytes to the disk. */
#include "kv_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"

#define KV_READERS_MAX 1024
/* A slot of a cache line for each, and its header. */
#define KV_LOCK_FILE_BYTES   (KV_READERS_MAX * 64 + 4096)
#define KV_PAGE_HEADER_BYTES 16
/* More than a transaction writes. */
#define KV_DISK_FULL_BYTES ((uint64_t)16 << 20)
/* Where address space is limited (ulimit -v, a sanitizer), a smaller map than asked for does too,
 * down to this. */
#define KV_MAP_BYTES_MIN ((uint64_t)16 << 30)

static const char *const TABLE_NAMES[KV_TABLE_COUNT] = {"meta",     "log",   "names",
                                                        "postings", "lives", "redactions"};

err_t kv_from_lmdb(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return ERR_OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
        return ERR_DISK_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_VALSIZE:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_FORMAT;
    case MDB_READERS_FULL:
        return ERR_MEMORY; /* an open view too many: passes */
    default:
        return err_from_errno(code);
    }
}

/* LMDB calls it an I/O error when a disk that gets full takes only a part of a write. The
 * transaction is undone then, and all of it would be written again, so that trying again is right
 * even where the disk had a fault as well. */
static err_t from_writing(struct kv *kv, int code)
{
    struct statvfs fs;
    int fd;
    if (code == EIO && mdb_env_get_fd(kv->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize < KV_DISK_FULL_BYTES) {
        return ERR_DISK_FULL;
    }
    return kv_from_lmdb(code);
}

static MDB_val to_val(struct bytes b)
{
    return (MDB_val){.mv_size = b.n, .mv_data = (void *)(uintptr_t)b.p};
}

static struct bytes from_val(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}

/* LMDB has no checksums: a flipped bit in the size of a value would lead beyond the end of the
 * file, which ends the process when it is read. A value lies inside its page, or fills a run of
 * overflow pages, whose number the first one's header says (a u32 at 12), from right behind that
 * header on. The pages that a write transaction has changed lie in memory of their own,
 * anywhere. */
static bool is_sound(const struct kv_txn *txn, MDB_val v)
{
    size_t page = txn->kv->page_bytes, at = (uintptr_t)v.mv_data & (page - 1);
    if (txn->write || at + v.mv_size <= page) {
        return true;
    }
    uint64_t pages = at == KV_PAGE_HEADER_BYTES
                         ? bytes_get_u32le((const uint8_t *)v.mv_data - KV_PAGE_HEADER_BYTES + 12)
                         : 0;
    return at + v.mv_size <= pages * page;
}

static int open_tables(struct kv *kv, bool read_only)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(kv->env, NULL, read_only ? MDB_RDONLY : 0, &txn);
    if (code != 0) {
        return code;
    }
    for (int i = 0; i < KV_TABLE_COUNT && code == 0; i++) {
        code = mdb_dbi_open(txn, TABLE_NAMES[i], read_only ? 0 : MDB_CREATE, &kv->tables[i]);
        if (code == MDB_NOTFOUND && read_only) {
            kv->tables[i] = UINT_MAX; /* of an older format: `meta` says which */
            code = 0;
        }
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* LMDB maps its reader table from a sparse file: where a page of it is first touched on a full
 * disk, the process would die by SIGBUS. So the file gets its blocks when it is made. Before LMDB
 * has it open, since closing a file drops the process's locks on it. Returns an errno. */
static int reserve_lock_file(const char *dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/lock.mdb", dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        return ENAMETOOLONG;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    int code = posix_fallocate(fd, 0, KV_LOCK_FILE_BYTES);
    close(fd);
    return code == ENOSPC || code == EDQUOT ? code : 0; /* not every file system can do it */
}

static int open_env(struct kv *kv, const char *dir, uint64_t map_bytes, bool read_only)
{
    int code = mdb_env_create(&kv->env);
    if (code == 0) {
        code = mdb_env_set_mapsize(kv->env, map_bytes);
    }
    if (code == 0) {
        code = mdb_env_set_maxdbs(kv->env, KV_TABLE_COUNT);
    }
    if (code == 0) {
        code = mdb_env_set_maxreaders(kv->env, KV_READERS_MAX);
    }
    if (code == 0) {
        code = reserve_lock_file(dir);
    }
    if (code == 0) {
        unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
        code = mdb_env_open(kv->env, dir, flags | (read_only ? MDB_RDONLY : 0), 0600);
    }
    if (code == 0) {
        int dead;
        code = mdb_reader_check(kv->env, &dead);
    }
    return code == 0 ? open_tables(kv, read_only) : code;
}

err_t kv_open(const char *dir, uint64_t map_bytes, bool read_only, struct kv **ret,
              struct err_text *et)
{
    struct kv *kv = calloc(1, sizeof *kv);
    if (kv == NULL) {
        return ERR_MEMORY;
    }
    int code = open_env(kv, dir, map_bytes, read_only);
    while (code == ENOMEM && map_bytes / 4 >= KV_MAP_BYTES_MIN) {
        mdb_env_close(kv->env);
        kv->env = NULL;
        map_bytes /= 4;
        code = open_env(kv, dir, map_bytes, read_only);
    }
    if (code != 0) {
        kv_close(kv);
        return err_set(et, kv_from_lmdb(code), "cannot open the LMDB environment %s: %s", dir,
                       mdb_strerror(code));
    }
    MDB_stat stat;
    mdb_env_stat(kv->env, &stat);
    kv->page_bytes = stat.ms_psize;
    *ret = kv;
    return ERR_OK;
}

void kv_close(struct kv *kv)
{
    if (kv != NULL) {
        if (kv->env != NULL) {
            mdb_env_close(kv->env);
        }
        free(kv);
    }
}

uint64_t kv_data_bytes(struct kv *kv)
{
    MDB_envinfo info;
    mdb_env_info(kv->env, &info);
    return ((uint64_t)info.me_last_pgno + 1) * kv->page_bytes;
}

err_t kv_begin(struct kv *kv, bool write, struct kv_txn **ret)
{
    struct kv_txn *txn = malloc(sizeof *txn);
    if (txn == NULL) {
        return ERR_MEMORY;
    }
    txn->kv = kv;
    txn->write = write;
    int code = mdb_txn_begin(kv->env, NULL, write ? 0 : MDB_RDONLY, &txn->txn);
    if (code != 0) {
        free(txn);
        return kv_from_lmdb(code);
    }
    *ret = txn;
    return ERR_OK;
}

err_t kv_commit(struct kv_txn *txn)
{
    if (fault_hit(FAULT_KV_COMMIT)) {
        kv_abort(txn);
        return ERR_IO;
    }
    struct kv *kv = txn->kv;
    int code = mdb_txn_commit(txn->txn);
    free(txn);
    if (code != 0) {
        kv->scrub_at = 0; /* it may have written to free pages before it failed */
    }
    return from_writing(kv, code);
}

void kv_abort(struct kv_txn *txn)
{
    if (txn != NULL) {
        mdb_txn_abort(txn->txn);
        free(txn);
    }
}

void kv_reset(struct kv_txn *txn)
{
    mdb_txn_reset(txn->txn);
}

err_t kv_renew(struct kv_txn *txn)
{
    return kv_from_lmdb(mdb_txn_renew(txn->txn));
}

err_t kv_get(struct kv_txn *txn, enum kv_table table, struct bytes key, struct bytes *ret)
{
    MDB_val k = to_val(key), v;
    int code = mdb_get(txn->txn, txn->kv->tables[table], &k, &v);
    if (code == 0 && !is_sound(txn, v)) {
        return ERR_CORRUPT;
    }
    if (code == 0) {
        *ret = from_val(v);
    }
    return kv_from_lmdb(code);
}

err_t kv_put(struct kv_txn *txn, enum kv_table table, struct bytes key, struct bytes value)
{
    if (fault_hit(FAULT_KV_PUT)) {
        return ERR_DISK_FULL;
    }
    MDB_val k = to_val(key), v = to_val(value);
    return from_writing(txn->kv, mdb_put(txn->txn, txn->kv->tables[table], &k, &v, 0));
}

err_t kv_append(struct kv_txn *txn, enum kv_table table, struct bytes key, size_t n, uint8_t **ret)
{
    if (fault_hit(FAULT_KV_PUT)) {
        return ERR_DISK_FULL;
    }
    MDB_val k = to_val(key), v = {.mv_size = n, .mv_data = NULL};
    int code = mdb_put(txn->txn, txn->kv->tables[table], &k, &v, MDB_APPEND | MDB_RESERVE);
    if (code == MDB_KEYEXIST) {
        return ERR_CORRUPT; /* the key is not after the last one */
    }
    if (code == 0) {
        *ret = v.mv_data;
    }
    return from_writing(txn->kv, code);
}

err_t kv_reserve(struct kv_txn *txn, enum kv_table table, struct bytes key, size_t n, uint8_t **ret)
{
    if (fault_hit(FAULT_KV_PUT)) {
        return ERR_DISK_FULL;
    }
    MDB_val k = to_val(key), v = {.mv_size = n, .mv_data = NULL};
    int code = mdb_put(txn->txn, txn->kv->tables[table], &k, &v, MDB_RESERVE);
    if (code == 0) {
        *ret = v.mv_data;
    }
    return kv_from_lmdb(code);
}

size_t kv_value_bytes_alone(const struct kv_txn *txn)
{
    return txn->kv->page_bytes;
}

uint64_t kv_txn_id(const struct kv_txn *txn)
{
    return mdb_txn_id(txn->txn);
}

err_t kv_delete(struct kv_txn *txn, enum kv_table table, struct bytes key)
{
    if (fault_hit(FAULT_KV_PUT)) {
        return ERR_DISK_FULL;
    }
    MDB_val k = to_val(key);
    return from_writing(txn->kv, mdb_del(txn->txn, txn->kv->tables[table], &k, NULL));
}

err_t kv_clear(struct kv_txn *txn, enum kv_table table)
{
    return kv_from_lmdb(mdb_drop(txn->txn, txn->kv->tables[table], 0));
}

err_t kv_cursor_open(struct kv_txn *txn, enum kv_table table, struct kv_cursor **ret)
{
    struct kv_cursor *c = malloc(sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    c->txn = txn;
    int code = mdb_cursor_open(txn->txn, txn->kv->tables[table], &c->cursor);
    if (code != 0) {
        free(c);
        return kv_from_lmdb(code);
    }
    *ret = c;
    return ERR_OK;
}

void kv_cursor_close(struct kv_cursor *c)
{
    if (c != NULL) {
        mdb_cursor_close(c->cursor);
        free(c);
    }
}

static err_t move(struct kv_cursor *c, MDB_val *k, MDB_cursor_op op, struct kv_row *ret)
{
    MDB_val v;
    int code = mdb_cursor_get(c->cursor, k, &v, op);
    if (code == MDB_NOTFOUND) {
        return ERR_END;
    }
    if (code == 0 && !is_sound(c->txn, v)) {
        return ERR_CORRUPT;
    }
    if (code == 0) {
        *ret = (struct kv_row){.key = from_val(*k), .value = from_val(v)};
    }
    return kv_from_lmdb(code);
}

err_t kv_first(struct kv_cursor *c, struct kv_row *ret)
{
    MDB_val k;
    return move(c, &k, MDB_FIRST, ret);
}

err_t kv_last(struct kv_cursor *c, struct kv_row *ret)
{
    MDB_val k;
    return move(c, &k, MDB_LAST, ret);
}

err_t kv_next(struct kv_cursor *c, struct kv_row *ret)
{
    MDB_val k;
    return move(c, &k, MDB_NEXT, ret);
}

err_t kv_prev(struct kv_cursor *c, struct kv_row *ret)
{
    MDB_val k;
    return move(c, &k, MDB_PREV, ret);
}

err_t kv_seek(struct kv_cursor *c, struct bytes key, struct kv_row *ret)
{
    MDB_val k = to_val(key);
    return move(c, &k, MDB_SET_RANGE, ret);
}

err_t kv_seek_back(struct kv_cursor *c, struct bytes key, struct kv_row *ret)
{
    err_t err = kv_seek(c, key, ret);
    if (err == ERR_END) {
        return kv_last(c, ret);
    }
    if (err == ERR_OK && bytes_compare(ret->key, key) > 0) {
        return kv_prev(c, ret);
    }
    return err;
}
