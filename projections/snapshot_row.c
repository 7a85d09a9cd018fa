/* snapshot_row: see snapshot_row.h.
 *
 *      0  u32 CRC32C of the key and of all that follows, but for the zeroes at the end
 *      4  u32 schema version
 *      8  u64 revision
 *     16  u64 position
 *     24  u64 time
 *     32  u32 bytes of the name
 *     36  u32 bytes of the content type
 *     40  u64 bytes of the data
 *     48  name, content type, data
 */
#include "snapshot_row.h"

#include "storage/base/check.h"
#include "storage/base/crc32c.h"

static uint32_t checksum(struct bytes key, struct bytes row)
{
    return crc32c(crc32c(0, key), bytes_of(row.p + 4, row.n - 4));
}

struct bytes snapshot_key(struct bytes stream, uint8_t room[SNAPSHOT_KEY_MAX])
{
    CHECK(stream.n <= EVENT_NAME_MAX);
    room[0] = STATE_SNAPSHOTS;
    if (stream.n > 0) {
        memcpy(room + 1, stream.p, stream.n);
    }
    return bytes_of(room, stream.n + 1);
}

size_t snapshot_row_bytes(const struct snapshot *s)
{
    return SNAPSHOT_HEAD_BYTES + s->name.n + s->content_type.n + s->data.n;
}

static uint8_t *put(uint8_t *p, struct bytes b)
{
    if (b.n > 0) {
        memcpy(p, b.p, b.n);
    }
    return p + b.n;
}

void snapshot_row_encode(struct bytes key, const struct snapshot *s, uint8_t *p, size_t n)
{
    size_t used = snapshot_row_bytes(s);
    CHECK(n >= used && s->name.n <= EVENT_NAME_MAX && s->content_type.n <= EVENT_MEDIA_MAX);
    bytes_put_u32le(p + 4, s->schema_version);
    bytes_put_u64le(p + 8, s->revision);
    bytes_put_u64le(p + 16, s->position);
    bytes_put_u64le(p + 24, (uint64_t)s->time_us);
    bytes_put_u32le(p + 32, (uint32_t)s->name.n);
    bytes_put_u32le(p + 36, (uint32_t)s->content_type.n);
    bytes_put_u64le(p + 40, s->data.n);
    put(put(put(p + SNAPSHOT_HEAD_BYTES, s->name), s->content_type), s->data);
    memset(p + used, 0, n - used);
    bytes_put_u32le(p, checksum(key, bytes_of(p, used)));
}

err_t snapshot_row_decode(struct bytes key, struct bytes row, struct snapshot *ret)
{
    if (row.n < SNAPSHOT_HEAD_BYTES) {
        return ERR_CORRUPT;
    }
    const uint8_t *p = row.p + SNAPSHOT_HEAD_BYTES;
    size_t name_n = bytes_get_u32le(row.p + 32), type_n = bytes_get_u32le(row.p + 36);
    uint64_t data_n = bytes_get_u64le(row.p + 40);
    size_t room = row.n - SNAPSHOT_HEAD_BYTES;
    if (name_n > EVENT_NAME_MAX || type_n > EVENT_MEDIA_MAX || name_n + type_n > room ||
        data_n > room - name_n - type_n) {
        return ERR_CORRUPT;
    }
    size_t used = SNAPSHOT_HEAD_BYTES + name_n + type_n + (size_t)data_n;
    if (bytes_get_u32le(row.p) != checksum(key, bytes_of(row.p, used))) {
        return ERR_CORRUPT;
    }
    *ret = (struct snapshot){
        .schema_version = bytes_get_u32le(row.p + 4),
        .revision = bytes_get_u64le(row.p + 8),
        .position = bytes_get_u64le(row.p + 16),
        .time_us = (int64_t)bytes_get_u64le(row.p + 24),
        .name = bytes_of(p, name_n),
        .content_type = bytes_of(p + name_n, type_n),
        .data = bytes_of(p + name_n + type_n, (size_t)data_n),
    };
    return ERR_OK;
}

/* u32 CRC32C of what follows, u32 zero, u64 folded, u64 time, u64 bytes. */
void snapshot_ledger_encode(const struct snapshot_ledger *l, uint8_t p[SNAPSHOT_LEDGER_BYTES])
{
    bytes_put_u32le(p + 4, 0);
    bytes_put_u64le(p + 8, l->folded);
    bytes_put_u64le(p + 16, (uint64_t)l->last_time_us);
    bytes_put_u64le(p + 24, l->bytes);
    bytes_put_u32le(p, checksum(BYTES_NONE, bytes_of(p, SNAPSHOT_LEDGER_BYTES)));
}

err_t snapshot_ledger_decode(struct bytes row, struct snapshot_ledger *ret)
{
    if (row.n != SNAPSHOT_LEDGER_BYTES || bytes_get_u32le(row.p) != checksum(BYTES_NONE, row)) {
        return ERR_CORRUPT;
    }
    *ret = (struct snapshot_ledger){
        .folded = bytes_get_u64le(row.p + 8),
        .last_time_us = (int64_t)bytes_get_u64le(row.p + 16),
        .bytes = bytes_get_u64le(row.p + 24),
    };
    return ERR_OK;
}
