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

/* Reads one delta at *p; 0 where it is cut, zero or not written the shortest way. */
static uint64_t get_delta(const uint8_t **p, const uint8_t *end)
{
    uint64_t delta = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) {
            return 0;
        }
        delta |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return delta;
        }
    }
    return 0;
}

/* Reads n deltas that fill [p, end); `positions` may be NULL. False where they do not make
 * ascending positions. */
static bool decode_positions(const uint8_t *p, const uint8_t *end, uint32_t n, uint64_t *positions,
                             uint64_t *ret_last)
{
    uint64_t position = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t delta = get_delta(&p, end);
        if (delta == 0 || position + delta < position) {
            return false;
        }
        position += delta;
        if (positions != NULL) {
            positions[i] = position;
        }
    }
    *ret_last = position;
    return p == end;
}

/* The number of entries, where the row is long enough for them; 0: it is not a block. */
static uint32_t entries_of(const struct kv_row *row, enum name_kind kind)
{
    struct bytes v = row->value;
    if (row->key.n != POSTING_KEY_BYTES || v.n < HEAD_BYTES || v.n > POSTING_BYTES_MAX) {
        return 0;
    }
    uint32_t n = (uint32_t)v.p[0] | (uint32_t)v.p[1] << 8;
    return n <= POSTING_ENTRIES_MAX && v.n >= HEAD_BYTES + n * print_bytes(kind) ? n : 0;
}

err_t posting_decode(const struct kv_row *row, enum name_kind kind, struct posting_block *ret)
{
    struct bytes v = row->value;
    uint32_t n = entries_of(row, kind);
    size_t prints = n * print_bytes(kind);
    uint64_t last;
    if (n == 0) {
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
    return decode_positions(deltas, v.p + v.n, n, ret->positions, &last) ? ERR_OK : ERR_CORRUPT;
}

static uint8_t *put_delta(uint8_t *p, uint64_t delta)
{
    for (; delta >= 0x80; delta >>= 7) {
        *p++ = (uint8_t)(delta | 0x80);
    }
    *p++ = (uint8_t)delta;
    return p;
}

static uint8_t *put_prints(uint8_t *p, const uint16_t *prints, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        *p++ = (uint8_t)prints[i];
        *p++ = (uint8_t)(prints[i] >> 8);
    }
    return p;
}

static uint8_t *put_count(uint8_t *p, size_t n)
{
    p[0] = (uint8_t)n;
    p[1] = (uint8_t)(n >> 8);
    return p + HEAD_BYTES;
}

/* How many of `more` fit behind `n` entries in `bytes` bytes. */
static size_t count_fitting(enum name_kind kind, uint64_t last, const struct posting_run *more,
                            uint32_t n, size_t bytes)
{
    size_t taken = 0;
    while (taken < more->n && n + taken < POSTING_ENTRIES_MAX) {
        bytes += varint_bytes(more->positions[taken] - last) + print_bytes(kind);
        if (bytes > POSTING_BYTES_MAX) {
            break;
        }
        last = more->positions[taken++];
    }
    return taken;
}

err_t posting_extend(const struct kv_row *row, enum name_kind kind, uint64_t last,
                     const struct posting_run *more, uint8_t out[POSTING_BYTES_MAX],
                     struct posting_extended *ret)
{
    struct bytes v = row->value;
    uint32_t n = entries_of(row, kind);
    size_t prints = n * print_bytes(kind);
    const uint8_t *deltas = v.p + HEAD_BYTES + prints;
    uint64_t found;
    if (n == 0 || !decode_positions(deltas, v.p + v.n, n, NULL, &found) || found != last) {
        return ERR_CORRUPT;
    }
    ret->taken = count_fitting(kind, last, more, n, v.n);
    uint8_t *p = put_count(out, n + ret->taken);
    memcpy(p, v.p + HEAD_BYTES, prints);
    p += prints;
    if (kind == NAME_STREAM) {
        p = put_prints(p, more->prints, ret->taken);
    }
    size_t delta_bytes = (size_t)(v.p + v.n - deltas);
    memcpy(p, deltas, delta_bytes);
    p += delta_bytes;
    for (size_t i = 0; i < ret->taken; i++) {
        p = put_delta(p, more->positions[i] - last);
        last = more->positions[i];
    }
    ret->bytes = (size_t)(p - out);
    return ERR_OK;
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
    uint8_t *p = put_count(out, b->n);
    if (kind == NAME_STREAM) {
        p = put_prints(p, b->prints, b->n);
    }
    uint64_t before = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        p = put_delta(p, b->positions[i] - before);
        before = b->positions[i];
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
