/* posting: encode and decode one block: count, fingerprints (streams), first position, deltas;
 * numbers as varints. */
#include "posting.h"

#include "storage/base/check.h"

#define HEAD_BYTES 2

struct bytes posting_key(enum name_kind kind, uint64_t id, uint64_t ordinal,
                         uint8_t key[POSTING_KEY_BYTES])
{
    key[0] = (uint8_t)kind;
    bytes_put_u64be(key + 1, id);
    bytes_put_u64be(key + 9, ordinal);
    return bytes_of(key, POSTING_KEY_BYTES);
}

bool posting_key_is(struct bytes key, enum name_kind kind, uint64_t id)
{
    return key.n == POSTING_KEY_BYTES && key.p[0] == (uint8_t)kind &&
           bytes_get_u64be(key.p + 1) == id;
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static size_t print_bytes(enum name_kind kind)
{
    return kind == NAME_STREAM ? 2 : 0;
}

err_t posting_prints(const struct kv_row *row, uint32_t *ret_n, const uint8_t **ret_prints)
{
    if (row->value.n < HEAD_BYTES) {
        return ERR_CORRUPT;
    }
    uint32_t n = (uint32_t)row->value.p[0] | (uint32_t)row->value.p[1] << 8;
    if (n == 0 || n > POSTING_ENTRIES_MAX || row->value.n < HEAD_BYTES + 2 * (size_t)n) {
        return ERR_CORRUPT;
    }
    *ret_n = n;
    *ret_prints = row->value.p + HEAD_BYTES;
    return ERR_OK;
}

/* Reads n deltas at p; false where they are cut, zero or too large. */
static bool decode_positions(const uint8_t *p, const uint8_t *end, uint32_t n, uint64_t *positions)
{
    uint64_t position = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t delta = 0;
        unsigned shift = 0;
        uint8_t byte;
        do {
            if (p == end || shift > 63) {
                return false;
            }
            byte = *p++;
            bool too_long = (shift == 63 && byte > 1) || (shift > 0 && byte == 0);
            if (too_long) {
                return false;
            }
            delta |= (uint64_t)(byte & 0x7f) << shift;
            shift += 7;
        } while (byte >= 0x80);
        if (delta == 0 || position + delta < position) {
            return false;
        }
        position += delta;
        positions[i] = position;
    }
    return p == end;
}

err_t posting_decode(const struct kv_row *row, enum name_kind kind, struct posting_block *ret)
{
    struct bytes v = row->value;
    if (row->key.n != POSTING_KEY_BYTES || v.n < HEAD_BYTES || v.n > POSTING_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    uint32_t n = (uint32_t)v.p[0] | (uint32_t)v.p[1] << 8;
    size_t prints = n * print_bytes(kind);
    if (n == 0 || n > POSTING_ENTRIES_MAX || v.n < HEAD_BYTES + prints) {
        return ERR_CORRUPT;
    }
    ret->ordinal = bytes_get_u64be(row->key.p + 9);
    ret->n = n;
    ret->bytes = v.n;
    for (uint32_t i = 0; i < n && prints > 0; i++) {
        const uint8_t *p = v.p + HEAD_BYTES + 2 * (size_t)i;
        ret->prints[i] = (uint16_t)(p[0] | p[1] << 8);
    }
    const uint8_t *deltas = v.p + HEAD_BYTES + prints;
    return decode_positions(deltas, v.p + v.n, n, ret->positions) ? ERR_OK : ERR_CORRUPT;
}

void posting_start(struct posting_block *b, uint64_t ordinal)
{
    b->ordinal = ordinal;
    b->n = 0;
    b->bytes = HEAD_BYTES;
}

bool posting_add(struct posting_block *b, enum name_kind kind, uint64_t position, uint16_t print)
{
    uint64_t before = b->n == 0 ? 0 : b->positions[b->n - 1];
    CHECK(position > before);
    size_t more = varint_bytes(position - before) + print_bytes(kind);
    if (b->n == POSTING_ENTRIES_MAX || b->bytes + more > POSTING_BYTES_MAX) {
        return false;
    }
    b->positions[b->n] = position;
    b->prints[b->n] = print;
    b->n++;
    b->bytes += more;
    return true;
}

size_t posting_encode(const struct posting_block *b, enum name_kind kind,
                      uint8_t out[POSTING_BYTES_MAX])
{
    uint8_t *p = out;
    *p++ = (uint8_t)b->n;
    *p++ = (uint8_t)(b->n >> 8);
    for (uint32_t i = 0; i < b->n && kind == NAME_STREAM; i++) {
        *p++ = (uint8_t)b->prints[i];
        *p++ = (uint8_t)(b->prints[i] >> 8);
    }
    uint64_t before = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t delta = b->positions[i] - before;
        before = b->positions[i];
        for (; delta >= 0x80; delta >>= 7) {
            *p++ = (uint8_t)(delta | 0x80);
        }
        *p++ = (uint8_t)delta;
    }
    CHECK((size_t)(p - out) == b->bytes);
    return b->bytes;
}

size_t posting_search(const uint64_t *positions, size_t n, uint64_t position)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (positions[middle] < position) {
            low = middle + 1;
        } else {
            n = middle;
        }
    }
    return low;
}
