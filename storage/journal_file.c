/* journal_file: the journal's engine on preallocated segment files.
 *
 * Happy path: the active segment is a file that was allocated, zeroed and synced ahead; a group is
 * one pwritev to a descriptor opened with O_DSYNC, so that data is on the device when it returns
 * and no metadata has to follow. When the next group does not fit, the prepared next segment
 * becomes the active one. Segments that the store has applied are recycled.
 *
 * Failure modes: a cut last group was never acknowledged, its checksum does not match, and it is
 * dropped. A bad group with a good one behind it is damage (nobody writes group n + 1 before n is
 * synced) and is reported. A header names its own logical offset, which never comes again, so that
 * what an older life of a recycled file left behind is not mistaken for a group. After a failed
 * append nothing is known of the file's content, so the engine refuses all further appends. */
#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/base/fault.h"
#include "storage/journal_file.h"

/* ---- making segments ---- */

/* A fresh file of zeroes under JOURNAL_NEW_NAME. Zeroes are written, not only allocated: a later
 * synced write must not have to turn unwritten extents into written ones. */
static err_t make_zeroed(struct journal_file *j, int *ret_fd)
{
    int fd = openat(j->dir_fd, JOURNAL_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    err_t err = fault_hit(FAULT_JOURNAL_ALLOCATE) ? ERR_DISK_FULL
                                                  : segment_zero(fd, j->options.segment_bytes);
    if (err != ERR_OK) {
        close(fd);
        unlinkat(j->dir_fd, JOURNAL_NEW_NAME, 0);
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

/* Makes every name of the directory durable. */
err_t journal_sync_names(struct journal_file *j)
{
    if (fsync(j->dir_fd) != 0) {
        return err_from_errno(errno);
    }
    j->removal_unsynced = false;
    return ERR_OK;
}

/* The recycled file where there is one, else a fresh one; under JOURNAL_NEW_NAME. */
static err_t take_file(struct journal_file *j, int *ret_fd)
{
    j->next_recycled = j->free_ready;
    if (j->free_ready) {
        j->free_ready = false;
        /* Its old name must be gone for good before its header says something else. */
        if (renameat(j->dir_fd, JOURNAL_FREE_NAME, j->dir_fd, JOURNAL_NEW_NAME) == 0 &&
            journal_sync_names(j) == ERR_OK) {
            int fd = openat(j->dir_fd, JOURNAL_NEW_NAME, O_RDWR | O_CLOEXEC);
            if (fd >= 0) {
                *ret_fd = fd;
                return ERR_OK;
            }
        }
    }
    j->next_recycled = false;
    return make_zeroed(j, ret_fd);
}

/* Makes the segment that starts at `base`, whole and synced, under its name. */
static err_t make_segment(struct journal_file *j, uint64_t base)
{
    int fd = -1;
    err_t err = take_file(j, &fd);
    if (err != ERR_OK) {
        return err;
    }
    struct segment_header header = {
        .base = base, .size = j->options.segment_bytes, .salt = j->options.salt};
    memcpy(header.store_id, j->options.store_id, UUID_BYTES);
    err = segment_write_header(fd, &header);
    close(fd);
    if (err != ERR_OK) {
        return err;
    }
    char name[JOURNAL_NAME_BYTES];
    segment_name(base, name);
    if (renameat(j->dir_fd, JOURNAL_NEW_NAME, j->dir_fd, name) != 0) {
        return err_from_errno(errno);
    }
    return journal_sync_names(j);
}

err_t journal_prepare_locked(struct journal_file *j)
{
    if (j->next_ready) {
        return ERR_OK;
    }
    err_t err = make_segment(j, next_base(j));
    j->next_ready = err == ERR_OK;
    j->next_salt = j->options.salt;
    return err;
}

static err_t journal_file_prepare(struct journal *base)
{
    struct journal_file *j = self(base);
    pthread_mutex_lock(&j->lock);
    err_t err = journal_prepare_locked(j);
    pthread_mutex_unlock(&j->lock);
    return err;
}

/* ---- appending ---- */

static err_t open_active(struct journal_file *j, const struct segment *s)
{
    char name[JOURNAL_NAME_BYTES];
    segment_name(s->base, name);
    int fd = openat(j->dir_fd, name, O_RDWR | O_DSYNC | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (j->fd >= 0) {
        close(j->fd);
    }
    j->fd = fd;
    j->active = *s;
    j->at = JOURNAL_SEGMENT_HEADER_BYTES;
    return ERR_OK;
}

static err_t keep_old(struct journal_file *j, const struct segment *s)
{
    if (j->old_count == j->old_cap) {
        size_t cap = j->old_cap == 0 ? 8 : j->old_cap * 2;
        struct segment *p = realloc(j->old, cap * sizeof *p);
        if (p == NULL) {
            return ERR_MEMORY;
        }
        j->old = p;
        j->old_cap = cap;
    }
    j->old[j->old_count++] = *s;
    return ERR_OK;
}

err_t journal_roll_locked(struct journal_file *j)
{
    err_t err = journal_prepare_locked(j);
    if (err == ERR_OK) {
        err = keep_old(j, &j->active);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct segment next = {.base = next_base(j),
                           .size = j->options.segment_bytes,
                           .salt = j->next_salt,
                           .recycled = j->next_recycled};
    err = open_active(j, &next);
    if (err != ERR_OK) {
        j->old_count--;
        return err;
    }
    j->next_ready = false;
    return ERR_OK;
}

static uint64_t group_bytes(size_t records)
{
    return (JOURNAL_GROUP_HEADER_BYTES + records + 7) & ~(uint64_t)7;
}

static err_t reserve_locked(struct journal_file *j, uint64_t needed)
{
    if (j->at + needed <= j->active.size) {
        return ERR_OK;
    }
    pthread_mutex_lock(&j->lock);
    err_t err = journal_roll_locked(j);
    pthread_mutex_unlock(&j->lock);
    return err;
}

/* A purge may change segments between this and the append: a fresh one has the room too. */
static err_t journal_file_reserve(struct journal *base, size_t bytes)
{
    struct journal_file *j = self(base);
    uint64_t needed = group_bytes(bytes);
    if (needed > j->options.segment_bytes - JOURNAL_SEGMENT_HEADER_BYTES) {
        return ERR_LIMIT;
    }
    pthread_mutex_lock(&j->writing);
    err_t err = reserve_locked(j, needed);
    pthread_mutex_unlock(&j->writing);
    return err;
}

static err_t append_locked(struct journal_file *j, struct group_header *header,
                           const struct iovec *parts, int part_count)
{
    uint64_t written;
    if (j->failed || fault_hit(FAULT_JOURNAL_WRITE)) {
        j->failed = true;
        return ERR_IO;
    }
    header->salt = j->active.salt;
    header->offset = j->active.base + j->at;
    err_t err = segment_write_group(j->fd, j->at, header, parts, part_count, &written);
    if (err != ERR_OK) {
        /* Also where it was a full disk: nothing is known of the file's content now. */
        j->failed = true;
        return ERR_IO;
    }
    CHECK(j->at + written <= j->active.size);
    j->at += written;
    j->active.last_position = header->first_position + header->count - 1;
    return ERR_OK;
}

static err_t journal_file_append(struct journal *base, uint64_t first_position, uint32_t count,
                                 const struct iovec *parts, int part_count)
{
    struct journal_file *j = self(base);
    struct group_header header = {.first_position = first_position, .count = count};
    CHECK(part_count > 0 && part_count <= JOURNAL_PARTS_MAX);
    pthread_mutex_lock(&j->writing);
    err_t err = append_locked(j, &header, parts, part_count);
    pthread_mutex_unlock(&j->writing);
    return err;
}

static uint64_t journal_file_bytes(struct journal *base)
{
    struct journal_file *j = self(base);
    pthread_mutex_lock(&j->lock);
    uint64_t n = j->active.size;
    for (size_t i = 0; i < j->old_count; i++) {
        n += j->old[i].size;
    }
    n += (uint64_t)(j->next_ready + j->free_ready) * j->options.segment_bytes;
    pthread_mutex_unlock(&j->lock);
    return n;
}

/* ---- replay ---- */

struct replay {
    struct journal_file *j;
    uint64_t after; /* groups that end at or before it are skipped */
    err_t (*deliver)(void *ctx, const struct journal_group *group);
    void *ctx;
    struct err_text *et;
    uint64_t last;   /* position of the last group seen; 0: none */
    bool ended;      /* the end of the journal was found: nothing valid may follow */
    uint64_t end_at; /* where, in its segment */
    uint64_t last_at,
        last_bytes; /* the last group of all, in the same segment; last_bytes 0: none there */
    struct segment end_in;
};

static err_t deliver_group(struct replay *r, const struct segment *s,
                           const struct group_header *header, struct bytes records)
{
    if (r->last != 0 && header->first_position != r->last + 1) {
        return err_set(r->et, ERR_CORRUPT,
                       "journal segment %016" PRIx64 ": position %" PRIu64 " follows %" PRIu64,
                       s->base, header->first_position, r->last);
    }
    if (r->last == 0 && header->first_position > r->after + 1) {
        return err_set(r->et, ERR_CORRUPT,
                       "the journal begins at position %" PRIu64 " but the store ends at %" PRIu64,
                       header->first_position, r->after);
    }
    r->last = header->first_position + header->count - 1;
    if (r->last <= r->after) {
        return ERR_OK;
    }
    struct journal_group group = {
        .first_position = header->first_position, .count = header->count, .records = records};
    return r->deliver(r->ctx, &group);
}

/* Delivers the groups of one segment that is in memory; stops at the first that is not valid. */
static err_t replay_groups(struct replay *r, const struct segment_header *segment,
                           struct bytes file, struct segment *s)
{
    uint64_t at = JOURNAL_SEGMENT_HEADER_BYTES;
    struct group_header header;
    struct bytes records;
    uint64_t last_at = 0;
    while (segment_read_group(file, segment, at, &header, &records)) {
        err_t err = deliver_group(r, s, &header, records);
        if (err != ERR_OK) {
            return err;
        }
        s->last_position = r->last;
        last_at = at;
        at += group_bytes(records.n);
    }
    /* A segment is left for the next one when a group does not fit, so an end inside a segment is
     * the end of the journal only if the next ones are empty: the first empty one settles it. */
    if (s->last_position == 0 && r->end_in.size != 0) {
        r->ended = true;
        return ERR_OK;
    }
    r->end_in = *s;
    r->end_at = at;
    r->last_at = last_at;
    r->last_bytes = last_at == 0 ? 0 : at - last_at;
    return ERR_OK;
}

static err_t replay_segment(struct replay *r, const struct segment_header *segment,
                            struct bytes file, struct segment *s)
{
    uint64_t at = JOURNAL_SEGMENT_HEADER_BYTES, stray;
    if (!r->ended) {
        err_t err = replay_groups(r, segment, file, s);
        if (err != ERR_OK) {
            return err;
        }
        at = r->ended ? at : r->end_at;
    }
    if (segment_find_group(file, segment, at, &stray)) {
        return err_set(r->et, ERR_CORRUPT,
                       "journal segment %016" PRIx64 ": damaged group at byte %" PRIu64
                       ", a valid one follows at byte %" PRIu64,
                       s->base, at, stray);
    }
    return ERR_OK;
}

static err_t replay_file(struct replay *r, const uint64_t *base, struct segment *ret)
{
    struct segment_header header;
    uint8_t *file;
    err_t err = segment_load(r->j->dir_fd, *base, r->j->options.store_id, &header, &file, r->et);
    if (err != ERR_OK) {
        return err;
    }
    *ret = (struct segment){.base = header.base, .size = header.size, .salt = header.salt};
    err = replay_segment(r, &header, bytes_of(file, header.size), ret);
    free(file);
    return err;
}

static err_t replay_all(struct replay *r, const uint64_t *bases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct segment s;
        err_t err = replay_file(r, &bases[i], &s);
        if (err != ERR_OK) {
            return err;
        }
        if (i + 1 < n && end_of(&s) != bases[i + 1]) {
            return err_set(r->et, ERR_CORRUPT, "journal segment %016" PRIx64 " is missing",
                           end_of(&s));
        }
        /* Behind the end: the prepared next segment. What lies behind that is made again when its
         * turn comes. */
        if (r->ended && s.base == end_of(&r->end_in)) {
            r->j->next_ready = s.size == r->j->options.segment_bytes;
            r->j->next_recycled = true; /* not known, so it may be */
            r->j->next_salt = s.salt;
        }
    }
    return ERR_OK;
}

/* Full segments before the one that ends the journal are kept until they are trimmed. */
static err_t remember_old(struct journal_file *j, const uint64_t *bases, size_t n, uint64_t last)
{
    for (size_t i = 0; i < n && bases[i] < j->active.base; i++) {
        uint64_t size = (i + 1 < n ? bases[i + 1] : j->active.base) - bases[i];
        /* Not known exactly per segment any more: the journal's last position keeps it until all is
         * applied. */
        struct segment s = {.base = bases[i], .size = size, .last_position = last};
        err_t err = keep_old(j, &s);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* All that was acknowledged is in LMDB or in the journal: the journal must reach the store's end.
 * Only a journal of empty segments may say nothing (all was applied, and a new segment begun). */
static err_t check_reach(const struct replay *r, size_t segments)
{
    bool missing = segments == 0 && r->after > 0 && !r->j->options.fresh;
    if (missing || (r->last != 0 && r->last < r->after)) {
        return err_set(r->et, ERR_CORRUPT,
                       "the journal ends at position %" PRIu64 " but the store at %" PRIu64
                       ": its last groups are damaged or missing",
                       r->last, r->after);
    }
    return ERR_OK;
}

/* What a killed process wrote last may stand in the page cache only, and after an I/O error the
 * kernel may even think that it is on disk. Before anybody is told of it, it is written again,
 * synced. */
static err_t write_last_again(struct journal_file *j, const struct replay *r)
{
    if (fsync(j->dir_fd) != 0) {
        return err_from_errno(errno);
    }
    return r->last_bytes == 0 ? ERR_OK : segment_write_again(j->fd, r->last_at, r->last_bytes);
}

/* Prepared segments that cannot be used (a crash between two of them, another segment size) would
 * look like a hole once others are made before them. */
static void drop_unused(struct journal_file *j, const uint64_t *bases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[JOURNAL_NAME_BYTES];
        bool is_next = j->next_ready && bases[i] == next_base(j);
        if (bases[i] > j->active.base && !is_next) {
            segment_name(bases[i], name);
            unlinkat(j->dir_fd, name, 0);
        }
    }
}

static err_t start_appending(struct journal_file *j, const struct replay *r, const uint64_t *bases,
                             size_t n)
{
    if (n == 0) {
        struct segment first = {
            .base = 0, .size = j->options.segment_bytes, .salt = j->options.salt};
        err_t err = make_segment(j, 0);
        return err == ERR_OK ? open_active(j, &first) : err;
    }
    struct segment end = r->end_in;
    end.recycled = true; /* not known, so it may be */
    err_t err = open_active(j, &end);
    if (err != ERR_OK) {
        return err;
    }
    j->at = r->end_at;
    drop_unused(j, bases, n);
    err = write_last_again(j, r);
    return err == ERR_OK ? remember_old(j, bases, n, r->last) : err;
}

static err_t journal_file_replay(struct journal *base, uint64_t after,
                                 err_t (*deliver)(void *ctx, const struct journal_group *group),
                                 void *ctx, struct err_text *et)
{
    struct journal_file *j = self(base);
    uint64_t *bases;
    size_t n;
    err_t err = segment_list(j->dir_fd, &bases, &n);
    if (err != ERR_OK) {
        return err_set(et, err, "cannot list the journal in %s", j->options.dir);
    }
    struct replay r = {.j = j, .after = after, .deliver = deliver, .ctx = ctx, .et = et};
    err = replay_all(&r, bases, n);
    if (err == ERR_OK) {
        err = check_reach(&r, n);
    }
    if (err == ERR_OK && !j->options.read_only) {
        err = start_appending(j, &r, bases, n);
        if (err != ERR_OK) {
            err_set(et, err, "cannot open the journal in %s for writing", j->options.dir);
        }
    }
    free(bases);
    return err;
}

/* ---- lifecycle ---- */

static void journal_file_close(struct journal *base)
{
    struct journal_file *j = self(base);
    if (j->fd >= 0) {
        close(j->fd);
    }
    if (j->dir_fd >= 0) {
        close(j->dir_fd);
    }
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->writing);
    free(j->old);
    free((void *)(uintptr_t)j->options.dir);
    free(j);
}

static const struct journal_methods METHODS = {
    .reserve = journal_file_reserve,
    .append = journal_file_append,
    .replay = journal_file_replay,
    .trim = journal_file_trim,
    .purge = journal_file_purge,
    .prepare = journal_file_prepare,
    .bytes = journal_file_bytes,
    .close = journal_file_close,
};

err_t journal_file_open(const struct journal_file_options *options, struct journal **ret,
                        struct err_text *et)
{
    struct journal_file *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return ERR_MEMORY;
    }
    j->base.methods = &METHODS;
    j->options = *options;
    j->options.dir = strdup(options->dir); /* for what is said later */
    j->fd = j->dir_fd = -1;
    pthread_mutex_init(&j->lock, NULL);
    pthread_mutex_init(&j->writing, NULL);
    if (j->options.dir == NULL) {
        journal_file_close(&j->base);
        return ERR_MEMORY;
    }
    j->dir_fd = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dir_fd < 0) {
        err_t err =
            err_set(et, err_from_errno(errno), "cannot open the directory %s", options->dir);
        journal_file_close(&j->base);
        return err;
    }
    if (!options->read_only) {
        unlinkat(j->dir_fd, JOURNAL_NEW_NAME, 0);
        unlinkat(j->dir_fd, JOURNAL_FREE_NAME, 0);
    }
    *ret = &j->base;
    return ERR_OK;
}
