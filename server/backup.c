/* backup: writing one. */
#include "server/backup.h"

#include "server/backup_int.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"

#include <zlib.h>

#define LEVEL 1 /* most of what there is to gain, at a tenth of the time */

static void put_u32(uint8_t *p, uint32_t v)
{
    bytes_put_u32le(p, v);
}

/* Appends bytes that the hash of the whole covers. */
static void put_hashed(struct backup_writer *w, struct buf *out, struct bytes bytes)
{
    buf_put(out, bytes);
    (void)crypto_generichash_update(&w->hash, bytes.p, bytes.n);
}

void backup_begin(struct backup_writer *w, const uint8_t store_id[UUID_BYTES], int64_t time_us,
                  struct buf *out)
{
    uint8_t p[HEADER_BYTES];
    *w = (struct backup_writer){.frames = 0};
    buf_init(&w->records, FRAME_BYTES_MAX);
    CHECK(sodium_init() >= 0);
    (void)crypto_generichash_init(&w->hash, NULL, 0, HASH_BYTES);
    memcpy(p, BACKUP_MAGIC, sizeof BACKUP_MAGIC);
    put_u32(p + 8, BACKUP_VERSION);
    memcpy(p + 12, store_id, UUID_BYTES);
    bytes_put_u64le(p + 28, (uint64_t)time_us);
    put_u32(p + 36, crc32c(0, bytes_of(p, 36)));
    put_hashed(w, out, bytes_of(p, sizeof p));
}

struct frame_head {
    uint32_t kind, events, size;
    uint64_t first;
};

static void make_head(const struct backup_writer *w, const struct frame_head *h,
                      struct bytes payload, uint8_t p[HEAD_BYTES])
{
    put_u32(p, h->kind);
    put_u32(p + 4, crc32c(0, payload));
    bytes_put_u64le(p + 8, w->frames);
    bytes_put_u64le(p + 16, h->first);
    put_u32(p + 24, h->events);
    put_u32(p + 28, h->size);
    put_u32(p + 32, (uint32_t)payload.n);
    put_u32(p + 36, crc32c(0, bytes_of(p, 36)));
}

void backup_put_frame(struct backup_writer *w, uint64_t last, struct buf *out)
{
    struct buf packed;
    uLongf n = compressBound(w->records.n);
    buf_init(&packed, PACKED_BYTES_MAX);
    uint8_t *to = buf_reserve(&packed, n);
    if (to == NULL || compress2(to, &n, w->records.p, w->records.n, LEVEL) != Z_OK) {
        out->status = ERR_MEMORY;
        buf_done(&packed);
        return;
    }
    const struct frame_head head = {
        .kind = KIND_RECORDS,
        .events = (uint32_t)(last - w->position),
        .size = (uint32_t)w->records.n,
        .first = w->position + 1,
    };
    uint8_t p[HEAD_BYTES];
    make_head(w, &head, bytes_of(to, n), p);
    put_hashed(w, out, bytes_of(p, sizeof p));
    put_hashed(w, out, bytes_of(to, n));
    w->frames++;
    w->position = last;
    buf_clear(&w->records);
    buf_done(&packed);
}

void backup_put_end(struct backup_writer *w, int64_t clock_us, struct buf *out)
{
    uint8_t end[END_BYTES], p[HEAD_BYTES];
    bytes_put_u64le(end, (uint64_t)clock_us);
    bytes_put_u64le(end + 8, w->frames);
    (void)crypto_generichash_final(&w->hash, end + 16, HASH_BYTES);
    const struct frame_head head = {.kind = KIND_END, .size = END_BYTES, .first = w->position + 1};
    make_head(w, &head, bytes_of(end, sizeof end), p);
    buf_put(out, bytes_of(p, sizeof p));
    buf_put(out, bytes_of(end, sizeof end));
}

void backup_writer_done(struct backup_writer *w)
{
    buf_done(&w->records);
}
