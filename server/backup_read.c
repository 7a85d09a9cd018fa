/* backup_read: reading a backup, and finding what is wrong with it. */
#include "server/backup_int.h"

#include "server/backup.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/copy.h"

#include <inttypes.h>
#include <zlib.h>

struct frame_head {
    uint32_t kind, payload_crc, events, size, packed;
    uint64_t number, first;
};

/* n bytes, or ERR_CORRUPT where the file ends before. */
static err_t take(struct backup_reader *r, uint8_t *p, size_t n, struct err_text *et)
{
    size_t got = fread(p, 1, n, r->file);
    r->offset += got;
    if (got == n) {
        return ERR_OK;
    }
    if (ferror(r->file)) {
        return err_set(et, ERR_IO, "the backup cannot be read at byte %" PRIu64, r->offset);
    }
    return err_set(et, ERR_CORRUPT,
                   "the backup is cut short: it ends at byte %" PRIu64 ", after position %" PRIu64,
                   r->offset, r->position);
}

err_t backup_open(struct backup_reader *r, FILE *file, struct err_text *et)
{
    uint8_t p[HEADER_BYTES];
    *r = (struct backup_reader){.file = file};
    buf_init(&r->packed, PACKED_BYTES_MAX);
    buf_init(&r->records, FRAME_BYTES_MAX);
    CHECK(sodium_init() >= 0);
    (void)crypto_generichash_init(&r->hash, NULL, 0, HASH_BYTES);
    err_t err = take(r, p, sizeof p, et);
    if (err != ERR_OK) {
        return err;
    }
    if (memcmp(p, BACKUP_MAGIC, sizeof BACKUP_MAGIC) != 0) {
        return err_set(et, ERR_CORRUPT,
                       "this is no backup of Daybook, or its first bytes are "
                       "damaged");
    }
    if (bytes_get_u32le(p + 36) != crc32c(0, bytes_of(p, 36))) {
        return err_set(et, ERR_CORRUPT, "the header of the backup (bytes 0 to 39) is damaged");
    }
    if (bytes_get_u32le(p + 8) != BACKUP_VERSION) {
        return err_set(et, ERR_FORMAT,
                       "the backup has version %" PRIu32 ", this binary reads version %d",
                       bytes_get_u32le(p + 8), BACKUP_VERSION);
    }
    memcpy(r->store_id, p + 12, UUID_BYTES);
    r->time_us = (int64_t)bytes_get_u64le(p + 28);
    (void)crypto_generichash_update(&r->hash, p, sizeof p);
    return ERR_OK;
}

static err_t damaged(const struct backup_reader *r, uint64_t at, const char *what,
                     struct err_text *et)
{
    return err_set(et, ERR_CORRUPT,
                   "the backup is damaged in frame %" PRIu64 ", which begins at byte %" PRIu64
                   " and at position %" PRIu64 ": %s",
                   r->frames, at, r->position + 1, what);
}

static err_t read_head(struct backup_reader *r, uint8_t p[HEAD_BYTES], struct frame_head *ret,
                       struct err_text *et)
{
    uint64_t at = r->offset;
    err_t err = take(r, p, HEAD_BYTES, et);
    if (err != ERR_OK) {
        return err;
    }
    if (bytes_get_u32le(p + 36) != crc32c(0, bytes_of(p, 36))) {
        return damaged(r, at, "its head has another checksum", et);
    }
    *ret = (struct frame_head){
        .kind = bytes_get_u32le(p),
        .payload_crc = bytes_get_u32le(p + 4),
        .number = bytes_get_u64le(p + 8),
        .first = bytes_get_u64le(p + 16),
        .events = bytes_get_u32le(p + 24),
        .size = bytes_get_u32le(p + 28),
        .packed = bytes_get_u32le(p + 32),
    };
    bool known = ret->kind == KIND_RECORDS || (ret->kind == KIND_END && ret->packed == END_BYTES);
    if (!known || ret->size > FRAME_BYTES_MAX || ret->packed > PACKED_BYTES_MAX) {
        return damaged(r, at, "its head says what cannot be", et);
    }
    if (ret->number != r->frames || ret->first != r->position + 1) {
        return damaged(r, at, "a frame is missing before it, or it is in the wrong place", et);
    }
    return ERR_OK;
}

static err_t read_payload(struct backup_reader *r, const struct frame_head *h, uint64_t at,
                          struct err_text *et)
{
    buf_clear(&r->packed);
    uint8_t *p = buf_reserve(&r->packed, h->packed);
    if (p == NULL) {
        return buf_status(&r->packed);
    }
    err_t err = take(r, p, h->packed, et);
    if (err != ERR_OK) {
        return err;
    }
    buf_advance(&r->packed, h->packed);
    return crc32c(0, buf_bytes(&r->packed)) == h->payload_crc
               ? ERR_OK
               : damaged(r, at, "its payload has another checksum", et);
}

static err_t read_records(struct backup_reader *r, const struct frame_head *h, uint64_t at,
                          struct backup_frame *ret, struct err_text *et)
{
    buf_clear(&r->records);
    uLongf n = h->size;
    uint8_t *to = buf_reserve(&r->records, h->size);
    if (to == NULL) {
        return buf_status(&r->records);
    }
    if (uncompress(to, &n, r->packed.p, r->packed.n) != Z_OK || n != h->size) {
        return damaged(r, at, "its payload cannot be unpacked", et);
    }
    buf_advance(&r->records, n);
    uint64_t position;
    err_t err = copy_check(buf_bytes(&r->records), h->first, h->events, &position);
    if (err != ERR_OK) {
        char what[64];
        (void)snprintf(what, sizeof what, "the event at position %" PRIu64 " is", position);
        return damaged(r, at, what, et);
    }
    *ret = (struct backup_frame){h->first, h->events, buf_bytes(&r->records)};
    r->position += h->events;
    r->frames++;
    return ERR_OK;
}

/* Nothing may be missing before the end, and nothing follow it. */
static err_t read_end(struct backup_reader *r, uint64_t at, struct err_text *et)
{
    uint8_t hash[HASH_BYTES];
    const uint8_t *p = r->packed.p;
    (void)crypto_generichash_final(&r->hash, hash, sizeof hash);
    if (bytes_get_u64le(p + 8) != r->frames || memcmp(p + 16, hash, sizeof hash) != 0) {
        return damaged(r, at, "the checksum of the whole is another", et);
    }
    if (fgetc(r->file) != EOF) {
        return damaged(r, at, "there is more behind the end", et);
    }
    r->clock_us = (int64_t)bytes_get_u64le(p);
    return ERR_END;
}

err_t backup_next(struct backup_reader *r, struct backup_frame *ret, struct err_text *et)
{
    uint8_t p[HEAD_BYTES];
    struct frame_head h = {0};
    uint64_t at = r->offset;
    err_t err = read_head(r, p, &h, et);
    if (err == ERR_OK) {
        err = read_payload(r, &h, at, et);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (h.kind == KIND_END) {
        return read_end(r, at, et);
    }
    (void)crypto_generichash_update(&r->hash, p, sizeof p);
    (void)crypto_generichash_update(&r->hash, r->packed.p, r->packed.n);
    return read_records(r, &h, at, ret, et);
}

void backup_reader_done(struct backup_reader *r)
{
    buf_done(&r->packed);
    buf_done(&r->records);
}
