/* backup: the file that `daybook backup` makes: frames of compressed records, with checksums.
 *
 *   header   40 bytes: "DAYBKUP\n", version, the store's id, when it was begun, CRC32C
 *   frame    40 bytes: kind, CRC32C of the payload, number, first position, events, size, packed
 *            size, CRC32C of these; then the payload: records (storage/copy.h), zlib
 *   …
 *   end      a frame whose payload is: the clock, how many frames, BLAKE2b-256 of all before it
 *
 * Numbers are little-endian. One thread per writer or reader. No bit of a file can change, and no
 * byte be missing or too many, unnoticed. */
#ifndef DAYBOOK_SERVER_BACKUP_H
#define DAYBOOK_SERVER_BACKUP_H

#include "storage/base/buf.h"
#include "storage/base/uuid.h"

#include <sodium.h>
#include <stdio.h>

#define BACKUP_VERSION     1
#define BACKUP_FRAME_BYTES ((size_t)512 << 10) /* of records, about */
#define BACKUP_MEDIA_TYPE  "application/vnd.daybook.backup"

/* ---- writing: each call appends to `out` ---- */

struct backup_writer {
    crypto_generichash_state hash;
    uint64_t frames;
    uint64_t position;  /* the last that is in it */
    struct buf records; /* of the next frame: the caller fills it */
};

void backup_begin(struct backup_writer *w, const uint8_t store_id[UUID_BYTES], int64_t time_us,
                  struct buf *out);
/* A frame of w->records, which are those after w->position up to `last`; empties them. */
void backup_put_frame(struct backup_writer *w, uint64_t last, struct buf *out);
void backup_put_end(struct backup_writer *w, int64_t clock_us, struct buf *out);
void backup_writer_done(struct backup_writer *w);

/* ---- reading ---- */

struct backup_reader {
    FILE *file;
    crypto_generichash_state hash;
    uint64_t offset; /* in the file */
    uint64_t frames;
    uint64_t position; /* the last that was read */
    uint8_t store_id[UUID_BYTES];
    int64_t time_us;
    struct buf packed, records;
    int64_t clock_us; /* once the end was read */
};

struct backup_frame {
    uint64_t first;
    uint32_t n;
    struct bytes records; /* checked; in the reader, until the next call */
};

/* Reads and checks the header. ERR_CORRUPT, ERR_FORMAT, ERR_IO; `et` names the place. The file
 * stays the caller's. */
MUST_CHECK err_t backup_open(struct backup_reader *r, FILE *file, struct err_text *et);
/* The next frame. ERR_END: the whole file was read and is sound. */
MUST_CHECK err_t backup_next(struct backup_reader *r, struct backup_frame *ret,
                             struct err_text *et);
void backup_reader_done(struct backup_reader *r);

#endif
