/* wire: protobuf's wire format, the part of it that the store writes: numbers as varints and runs
 * of bytes.
 *
 * Pure functions on memory, any thread. */
#ifndef DAYBOOK_STORAGE_WIRE_H
#define DAYBOOK_STORAGE_WIRE_H

#include "storage/base/bytes.h"

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static inline size_t wire_varint_bytes(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static inline uint8_t *wire_put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Fields have numbers up to 15: their tag is one byte. */
static inline uint8_t *wire_put_number(uint8_t *p, unsigned field, uint64_t v)
{
    *p++ = (uint8_t)(field << 3 | WIRE_VARINT);
    return wire_put_varint(p, v);
}

/* *ret (may be NULL): where the content stands now. */
static inline uint8_t *wire_put_bytes(uint8_t *p, unsigned field, struct bytes b, struct bytes *ret)
{
    *p++ = (uint8_t)(field << 3 | WIRE_BYTES);
    p = wire_put_varint(p, b.n);
    if (b.n > 0) {
        memcpy(p, b.p, b.n);
    }
    if (ret != NULL) {
        *ret = bytes_of(p, b.n);
    }
    return p + b.n;
}

/* The head of a field whose content, n bytes, follows. */
#define WIRE_HEAD_BYTES_MAX 11
static inline uint8_t *wire_put_message(uint8_t *p, unsigned field, size_t n)
{
    *p++ = (uint8_t)(field << 3 | WIRE_BYTES);
    return wire_put_varint(p, n);
}

/* What a field takes; the optional ones take nothing where they are 0 or empty. */
static inline size_t wire_bytes_size(struct bytes b)
{
    return 1 + wire_varint_bytes(b.n) + b.n;
}

static inline size_t wire_optional_bytes_size(struct bytes b)
{
    return b.n == 0 ? 0 : wire_bytes_size(b);
}

static inline size_t wire_optional_number_size(uint64_t v)
{
    return v == 0 ? 0 : 1 + wire_varint_bytes(v);
}

/* Reads a varint at *p, not past end; false where it is cut or over 64 bits. */
static inline bool wire_get_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}

struct wire_field {
    uint64_t number;
    bool is_bytes;
    uint64_t value;       /* where it is a number */
    struct bytes content; /* where it is bytes; points into what is read */
};

/* Reads one field at *p; false where it is cut or of another kind. */
static inline bool wire_get_field(const uint8_t **p, const uint8_t *end, struct wire_field *ret)
{
    uint64_t tag, v;
    if (!wire_get_varint(p, end, &tag) || !wire_get_varint(p, end, &v)) {
        return false;
    }
    ret->number = tag >> 3;
    ret->value = v;
    ret->is_bytes = (tag & 7) == WIRE_BYTES;
    if (!ret->is_bytes) {
        return (tag & 7) == WIRE_VARINT;
    }
    if (v > (uint64_t)(end - *p)) {
        return false;
    }
    ret->content = bytes_of(*p, (size_t)v);
    *p += v;
    return true;
}

#endif
