/* journal_segment: the bytes of one journal segment: its header, the groups in it, finding and
 * checking them.
 *
 * Any thread; works on descriptors and memory it is given and keeps nothing. Layouts are in
 * FORMAT.md. */
#ifndef DAYBOOK_STORAGE_JOURNAL_SEGMENT_H
#define DAYBOOK_STORAGE_JOURNAL_SEGMENT_H

#include "storage/journal.h"

#define JOURNAL_NAME_BYTES 24 /* "0123456789abcdef.seg" and the end of the string */
#define JOURNAL_NEW_NAME   "new.tmp"
#define JOURNAL_FREE_NAME  "free.tmp"

struct segment_header {
    uint64_t base; /* logical offset of its first byte */
    uint64_t size; /* of the file */
    uint64_t salt; /* secret: where the checksums of its groups start from */
    uint8_t store_id[UUID_BYTES];
};

struct group_header {
    uint64_t salt;   /* of its segment */
    uint64_t offset; /* logical offset of this header */
    uint64_t first_position;
    uint32_t count;
};

void segment_name(uint64_t base, char ret[JOURNAL_NAME_BYTES]);

/* The bases of all segments in the directory, ascending; the caller frees *ret. */
MUST_CHECK err_t segment_list(int dir_fd, uint64_t **ret, size_t *ret_n);

/* Fills a file with `size` zero bytes and syncs it. ERR_DISK_FULL. */
MUST_CHECK err_t segment_zero(int fd, uint64_t size);

/* Writes the header and syncs the file. */
MUST_CHECK err_t segment_write_header(int fd, const struct segment_header *header);

/* Reads a whole segment into memory (the caller frees *ret_file) and checks its header. ERR_FORMAT:
 * of another version; ERR_CORRUPT: damaged, or of another store. */
MUST_CHECK err_t segment_load(int dir_fd, uint64_t base, const uint8_t store_id[UUID_BYTES],
                              struct segment_header *ret, uint8_t **ret_file, struct err_text *et);

/* Writes header, parts and padding at byte `at` with one call to pwritev (and more only where the
 * kernel takes less). */
MUST_CHECK err_t segment_write_group(int fd, uint64_t at, const struct group_header *header,
                                     const struct iovec *parts, int part_count,
                                     uint64_t *ret_written);

/* Writes what stands at byte `at` again, through a descriptor that syncs. */
MUST_CHECK err_t segment_write_again(int fd, uint64_t at, uint64_t bytes);

/* The group at byte `at` of a segment in memory; false where there is no whole, valid one. */
bool segment_read_group(struct bytes file, const struct segment_header *segment, uint64_t at,
                        struct group_header *ret, struct bytes *ret_records);

/* Looks for any valid group at or after byte `at` (a multiple of 8); true with its place where
 * there is one. */
bool segment_find_group(struct bytes file, const struct segment_header *segment, uint64_t at,
                        uint64_t *ret_at);

#endif
