/* store: opening, recovering, closing, and what does not belong to one of the parts. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/copy.h"
#include "storage/create.h"
#include "storage/hide.h"
#include "storage/record.h"
#include "storage/recover.h"
#include "storage/store_int.h"

#define DEFAULT_SEGMENT_BYTES   ((uint64_t)32 << 20)
#define DEFAULT_TAIL_BYTES      ((uint64_t)64 << 20)
#define DEFAULT_DISK_FREE_BYTES ((uint64_t)64 << 20)
#define SEGMENT_BYTES_MIN       ((uint64_t)64 << 10)
#define READ_ONLY_BACKLOG_MAX   1000000

/* ---- meta rows ---- */

err_t meta_get(struct kv_txn *txn, const char *name, uint64_t *ret)
{
    struct bytes value;
    err_t err = kv_get(txn, KV_META, bytes_of_string(name), &value);
    if (err == ERR_NOT_FOUND) {
        *ret = 0;
        return ERR_OK;
    }
    if (err == ERR_OK && value.n != 8) {
        return ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        *ret = bytes_get_u64le(value.p);
    }
    return err;
}

err_t meta_put(struct kv_txn *txn, const char *name, uint64_t value)
{
    uint8_t p[8];
    bytes_put_u64le(p, value);
    return kv_put(txn, KV_META, bytes_of_string(name), bytes_of(p, sizeof p));
}

/* ---- directories ---- */

static void sub_path(const struct store *s, const char *name, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/%s", s->options.dir, name);
}

static err_t make_dir(const char *path, struct err_text *et)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        int code = errno;
        return err_set(et, err_from_errno(code), "cannot make the directory %s: %s", path,
                       strerror(code));
    }
    return ERR_OK;
}

static err_t lock_dir(struct store *s, struct err_text *et)
{
    char path[PATH_MAX];
    sub_path(s, "lock", path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        int code = errno;
        return err_set(et, err_from_errno(code), "cannot open %s: %s", path, strerror(code));
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return err_set(et, ERR_BUSY, "the data directory %s is in use by another process",
                       s->options.dir);
    }
    return ERR_OK;
}

static err_t make_dirs(struct store *s, struct err_text *et)
{
    char path[PATH_MAX];
    err_t err = make_dir(s->options.dir, et);
    if (err == ERR_OK) {
        sub_path(s, "journal", path);
        err = make_dir(path, et);
    }
    return err;
}

/* Files that were made are found again after a power cut only when their directories are synced, up
 * to the one that holds DATA. */
static err_t sync_dirs(const struct store *s, struct err_text *et)
{
    static const char *const DIRS[] = {"journal", "store", ".", ".."};
    for (size_t i = 0; i < sizeof DIRS / sizeof DIRS[0]; i++) {
        char path[PATH_MAX];
        sub_path(s, DIRS[i], path);
        err_t err = create_sync_dir(path);
        if (err != ERR_OK) {
            return err_set(et, err, "cannot sync the directory %s", path);
        }
    }
    return ERR_OK;
}

/* ---- format and identity ---- */

static err_t read_identity(struct store *s, struct kv_txn *txn, struct err_text *et)
{
    uint64_t format;
    struct bytes id = BYTES_NONE;
    err_t err = meta_get(txn, META_FORMAT, &format);
    if (err == ERR_OK && format == 0) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK && format != STORE_FORMAT_VERSION) {
        return err_set(et, ERR_FORMAT,
                       "the store in %s has format version %" PRIu64
                       ", this binary reads and writes version %d",
                       s->options.dir, format, STORE_FORMAT_VERSION);
    }
    if (err == ERR_OK) {
        err = kv_get(txn, KV_META, bytes_of_string(META_STORE_ID), &id);
    }
    if (err != ERR_OK || id.n != UUID_BYTES) {
        return err_set(et, ERR_CORRUPT, "the store in %s has no identity", s->options.dir);
    }
    memcpy(s->id, id.p, UUID_BYTES);
    return ERR_OK;
}

struct places {
    uint64_t index, streams, clock_us;
};

static err_t read_places(struct store *s, struct kv_txn *txn, struct places *ret,
                         struct err_text *et)
{
    err_t err = meta_get(txn, META_INDEX_POSITION, &ret->index);
    if (err == ERR_OK) {
        err = meta_get(txn, META_STREAMS, &ret->streams);
    }
    if (err == ERR_OK) {
        err = meta_get(txn, META_CLOCK, &ret->clock_us);
    }
    if (err == ERR_OK) {
        err = log_last(txn, &s->log_position);
    }
    if (err != ERR_OK) {
        return err_set(et, err, "the end of the log in %s cannot be read: %s", s->options.dir,
                       err_describe(err));
    }
    if (ret->index > s->log_position) {
        return err_set(et, ERR_CORRUPT,
                       "the index in %s knows position %" PRIu64 " but the log ends at %" PRIu64,
                       s->options.dir, ret->index, s->log_position);
    }
    return ERR_OK;
}

/* Reads, in one transaction, whose store it is and how far it goes. */
static err_t read_store(struct store *s, struct places *ret, struct err_text *et)
{
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, false, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = read_identity(s, txn, et);
    if (err == ERR_OK) {
        err = read_places(s, txn, ret, et);
    }
    kv_abort(txn);
    return err;
}

/* ---- opening ---- */

static err_t open_kv(struct store *s, struct places *ret, struct err_text *et)
{
    char path[PATH_MAX];
    sub_path(s, "store", path);
    err_t err = s->options.read_only ? ERR_OK : create_environment(&s->options, et);
    if (err == ERR_OK) {
        err = kv_open(path, s->options.map_bytes, s->options.read_only, &s->kv, et);
    }
    if (err != ERR_OK) {
        return err;
    }
    return read_store(s, ret, et);
}

static err_t open_journal(struct store *s, struct err_text *et)
{
    char path[PATH_MAX];
    sub_path(s, "journal", path);
    struct journal_file_options options = {.dir = path,
                                           .segment_bytes = s->options.segment_bytes,
                                           .salt = s->options.salt,
                                           .fresh = s->options.restoring,
                                           .read_only = s->options.read_only};
    memcpy(options.store_id, s->id, UUID_BYTES);
    return journal_file_open(&options, &s->journal, et);
}

/* Times go on from the last event's, whatever the clock says. */
static err_t read_last_time(struct store *s)
{
    struct store_view *v;
    err_t err = store_view_open(s, &v);
    if (err != ERR_OK) {
        return err;
    }
    struct record_head head;
    struct bytes body;
    uint32_t flags;
    err = view_record(v, store_view_position(v), &body, &flags);
    if (err == ERR_OK) {
        err = record_peek(body, &head);
    }
    if (err == ERR_OK) {
        clock_advance(s, head.time_us);
    }
    store_view_close(v);
    /* A damaged last record is for reads and verify to report, not a reason not to start. */
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? ERR_OK : err;
}

static err_t recover(struct store *s, struct err_text *et)
{
    if (s->options.read_only && s->log_position - store_position(s) > READ_ONLY_BACKLOG_MAX) {
        return err_set(et, ERR_UNSUPPORTED,
                       "the index in %s is not complete: start the server or run reindex first",
                       s->options.dir);
    }
    err_t err = recover_log(s, NULL, NULL, et);
    if (err == ERR_OK) {
        err = recover_journal(s, et);
    }
    if (!s->options.read_only) {
        tail_set_limit(&s->tail, s->options.tail_bytes_max); /* see make_room in recover.c */
    }
    return err == ERR_OK ? read_last_time(s) : err;
}

static err_t open_parts(struct store *s, struct err_text *et)
{
    struct places places = {0};
    err_t err = open_kv(s, &places, et);
    if (err == ERR_OK) {
        err = open_journal(s, et);
    }
    if (err == ERR_OK) {
        size_t tail_max = s->options.read_only ? SIZE_MAX / 2 : s->options.tail_bytes_max;
        err = tail_init(&s->tail, places.index + 1, tail_max);
    }
    if (err == ERR_OK) {
        atomic_store(&s->applied, places.index);
        atomic_store(&s->streams, places.streams);
        atomic_store(&s->clock_us, (int64_t)places.clock_us);
        err = hide_load(s);
    }
    if (err == ERR_OK) {
        err = recover(s, et);
    }
    if (err == ERR_OK) {
        err = committer_new(s, &s->committer);
    }
    if (err == ERR_OK) {
        err = reclaimer_new(&s->reclaimer);
    }
    if (err == ERR_OK && !s->options.read_only) {
        err = store_prepare(s);
        err = err == ERR_DISK_FULL ? ERR_OK : err; /* reads work, writes say so */
    }
    if (err == ERR_OK && !s->options.read_only) {
        err = sync_dirs(s, et);
    }
    return err;
}

static void set_defaults(struct store_options *o)
{
    o->map_bytes = o->map_bytes == 0 ? STORE_MAP_BYTES : o->map_bytes;
    o->segment_bytes = o->segment_bytes == 0 ? DEFAULT_SEGMENT_BYTES : o->segment_bytes;
    o->tail_bytes_max = o->tail_bytes_max == 0 ? DEFAULT_TAIL_BYTES : o->tail_bytes_max;
    o->disk_free_min_bytes =
        o->disk_free_min_bytes == 0 ? DEFAULT_DISK_FREE_BYTES : o->disk_free_min_bytes;
}

static err_t open_store(struct store *s, struct err_text *et)
{
    if (s->options.segment_bytes < SEGMENT_BYTES_MIN || s->options.segment_bytes % 4096 != 0) {
        return err_set(et, ERR_INVALID,
                       "a journal segment is at least %" PRIu64 " bytes and a multiple of 4096",
                       SEGMENT_BYTES_MIN);
    }
    if (strlen(s->options.dir) > PATH_MAX - 64) {
        return err_set(et, ERR_INVALID, "the path of the data directory is too long");
    }
    if (!s->options.restoring && copy_is_unfinished(s->options.dir)) {
        return err_set(et, ERR_INVALID,
                       "%s holds a restore that did not finish: remove it and restore again",
                       s->options.dir);
    }
    err_t err = s->options.read_only ? ERR_OK : make_dirs(s, et);
    if (err == ERR_OK) {
        err = lock_dir(s, et);
    }
    return err == ERR_OK ? open_parts(s, et) : err;
}

static void free_store(struct store *s)
{
    committer_free(s->committer);
    reclaimer_free(s->reclaimer);
    index_job_done(&s->applier.job);
    if (s->tail.count > 0) {
        tail_done(&s->tail);
    }
    if (s->journal != NULL) {
        s->journal->methods->close(s->journal);
    }
    kv_close(s->kv);
    pthread_mutex_destroy(&s->reclaiming);
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    free((void *)(uintptr_t)s->options.dir);
    free(s);
}

err_t store_open(const struct store_options *options, struct store **ret, struct err_text *et)
{
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    s->lock_fd = -1;
    pthread_mutex_init(&s->reclaiming, NULL);
    s->options = *options;
    s->options.dir = strdup(options->dir);
    if (s->options.dir == NULL) {
        free(s);
        return ERR_MEMORY;
    }
    set_defaults(&s->options);
    err_t err = open_store(s, et);
    if (err != ERR_OK) {
        if (et != NULL && et->text[0] == '\0') {
            err_set(et, err, "cannot open the store in %s: %s", options->dir, err_describe(err));
        }
        free_store(s);
        return err;
    }
    *ret = s;
    return ERR_OK;
}

/* Applies generation after generation until a call finds nothing to do (which is not the end of the
 * tail only where a commit has failed and its group stays open). */
static err_t apply_all(struct store *s)
{
    for (;;) {
        bool more;
        uint64_t before = store_applied_position(s);
        err_t err = store_apply(s, true, &more);
        if (err != ERR_OK || (!more && store_applied_position(s) == before)) {
            return err;
        }
    }
}

void store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    /* What cannot be applied stays in the journal. */
    err_t err = s->options.read_only ? ERR_OK : apply_all(s);
    (void)err;
    free_store(s);
}

/* ---- facts ---- */

uint64_t store_position(const struct store *s)
{
    return atomic_load(&s->tail.committed);
}

uint64_t store_applied_position(const struct store *s)
{
    return atomic_load(&s->applied);
}

void store_id(const struct store *s, uint8_t ret[UUID_BYTES])
{
    memcpy(ret, s->id, UUID_BYTES);
}

err_t store_get_stats(struct store *s, struct store_stats *ret)
{
    struct statvfs fs;
    if (statvfs(s->options.dir, &fs) != 0) {
        return err_from_errno(errno);
    }
    uint64_t map_used = kv_data_bytes(s->kv);
    *ret = (struct store_stats){.position = store_position(s),
                                .applied_position = store_applied_position(s),
                                .streams = atomic_load(&s->streams),
                                .data_bytes = map_used + s->journal->methods->bytes(s->journal),
                                .tail_bytes = tail_bytes(&s->tail),
                                .tail_bytes_max = s->options.tail_bytes_max,
                                .map_used_bytes = map_used,
                                .map_bytes = s->options.map_bytes,
                                .disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize,
                                .disk_free_min_bytes = s->options.disk_free_min_bytes,
                                .disk_full = atomic_load(&s->disk_full),
                                .reclaim_pending = atomic_load(&s->life_position) >
                                                   atomic_load(&s->reclaimed_position)};
    return ERR_OK;
}

err_t store_prepare(struct store *s)
{
    struct statvfs fs;
    if (statvfs(s->options.dir, &fs) != 0) {
        return err_from_errno(errno);
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    bool full = free_bytes < s->options.disk_free_min_bytes;
    atomic_store(&s->disk_full, full);
    return full ? ERR_DISK_FULL : s->journal->methods->prepare(s->journal);
}

/* ---- reindex ---- */

static err_t clear_index(struct store *s)
{
    struct kv_txn *txn;
    err_t err = kv_begin(s->kv, true, &txn);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_clear(txn, KV_NAMES);
    static const enum kv_table MORE[] = {KV_POSTINGS, KV_LIVES, KV_REDACTIONS};
    for (size_t i = 0; i < sizeof MORE / sizeof MORE[0] && err == ERR_OK; i++) {
        err = kv_clear(txn, MORE[i]);
    }
    if (err == ERR_OK) {
        err = meta_put(txn, META_INDEX_POSITION, 0);
    }
    if (err == ERR_OK) {
        err = meta_put(txn, META_STREAMS, 0);
    }
    if (err != ERR_OK) {
        kv_abort(txn);
        return err;
    }
    return kv_commit(txn);
}

/* A record that cannot be read would leave the store without an index for good: nothing is cleared
 * then. */
static err_t check_log(struct store *s)
{
    struct store_view *v;
    err_t err = store_view_open(s, &v);
    if (err != ERR_OK) {
        return err;
    }
    v->stored_redactions = false; /* what says so is made again, whatever it says now */
    for (uint64_t p = 1; p <= s->log_position && err == ERR_OK; p++) {
        struct bytes body;
        struct event event;
        uint32_t flags;
        err = view_record(v, p, &body, &flags);
        if (err == ERR_OK) {
            err = record_decode_stored(p, body, flags, &event);
        }
    }
    store_view_close(v);
    return err;
}

err_t store_reindex(struct store *s, bool (*progress)(void *ctx, uint64_t done, uint64_t total),
                    void *ctx)
{
    /* The index may be what is damaged, so only records are applied. */
    err_t err = apply_records(s);
    if (err == ERR_OK) {
        err = check_log(s);
    }
    if (err == ERR_OK) {
        err = clear_index(s);
    }
    if (err != ERR_OK) {
        return err;
    }
    tail_done(&s->tail);
    err = tail_init(&s->tail, 1, s->options.tail_bytes_max);
    if (err != ERR_OK) {
        return err;
    }
    atomic_store(&s->applied, 0);
    atomic_store(&s->streams, 0);
    atomic_store(&s->apply_target, 0);
    hide_forget(s);
    err = recover_log(s, progress, ctx, NULL);
    return err == ERR_OK ? apply_all(s) : err;
}
