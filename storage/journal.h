/* journal: the durable sequence of groups in front of the store, as a small interface.
 *
 * Its one engine now is a directory of preallocated segment files (journal_file.c). Behind the same
 * three verbs (append a group, deliver the next group, forget up to a position) a replicated log
 * can stand later (DESIGN section 8).
 *
 * Threads: one writer calls reserve and append; one other thread may call prepare, trim and
 * purge meanwhile. */
#ifndef DAYBOOK_STORAGE_JOURNAL_H
#define DAYBOOK_STORAGE_JOURNAL_H

#include <sys/uio.h>

#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/uuid.h"

struct journal;

/* A group: `count` records (record.h) one after the other, for positions first_position and on. */
struct journal_group {
    uint64_t first_position;
    uint32_t count;
    struct bytes records;
};

struct journal_methods {
    /* Makes sure that a group of `bytes` can be appended without needing space. ERR_DISK_FULL,
     * ERR_LIMIT: larger than a segment. */
    err_t (*reserve)(struct journal *j, size_t bytes);
    /* Appends one group with one synced write; durable when it returns ERR_OK. The records come in
     * `parts` (at most JOURNAL_PARTS_MAX). After any error nothing may be appended any more. */
    err_t (*append)(struct journal *j, uint64_t first_position, uint32_t count,
                    const struct iovec *parts, int part_count);
    /* Hands over the groups from the one that holds position after + 1 on, in order. An error of
     * `deliver` ends it. Called once, before the first append. */
    err_t (*replay)(struct journal *j, uint64_t after,
                    err_t (*deliver)(void *ctx, const struct journal_group *group), void *ctx,
                    struct err_text *et);
    /* Everything up to `position` is durable elsewhere and need not be kept. `idle`: nothing is
     * under way, so spare space may go too. */
    err_t (*trim)(struct journal *j, uint64_t position, bool idle);
    /* Makes that no byte of a group up to `position` is in the directory any more; everything up to
     * `applied` is durable elsewhere. *ret_done: it is so; else later groups stand in the way, call
     * again when more is applied. The thread that trims. ERR_DISK_FULL: try again later. */
    err_t (*purge)(struct journal *j, uint64_t position, uint64_t applied, bool *ret_done);
    /* Gets space ready ahead of need. */
    err_t (*prepare)(struct journal *j);
    /* Bytes on disk. */
    uint64_t (*bytes)(struct journal *j);
    void (*close)(struct journal *j);
};

#define JOURNAL_PARTS_MAX 512

/* Every engine's struct starts with this. */
struct journal {
    const struct journal_methods *methods;
};

#define JOURNAL_GROUP_HEADER_BYTES   32
#define JOURNAL_SEGMENT_HEADER_BYTES 4096
#define JOURNAL_VERSION              1

struct journal_file_options {
    const char *dir; /* exists */
    uint64_t segment_bytes;
    uint8_t store_id[UUID_BYTES];
    uint64_t salt;  /* random and secret: new segments are checksummed from it */
    bool fresh;     /* there may be none yet, whatever position the store has */
    bool read_only; /* replay only */
};

/* Opens the engine on files. ERR_FORMAT, ERR_CORRUPT, ERR_IO with the segment named in `et`. */
MUST_CHECK err_t journal_file_open(const struct journal_file_options *options, struct journal **ret,
                                   struct err_text *et);

#endif
