/* uuid: making, reading and writing UUIDs. */
#include "uuid.h"

/* Larger than any byte, also where it is one of the two digits of a byte. */
#define NOT_HEX 0x100

/* Where the 16 bytes' first digits stand in the text. */
static const uint8_t places[UUID_BYTES] = {0,  2,  4,  6,  9,  11, 14, 16,
                                           19, 21, 24, 26, 28, 30, 32, 34};

static unsigned hex_value(uint8_t c);

void uuid_make_v7(uint64_t unix_ms, const uint8_t random[10], uint8_t ret[UUID_BYTES])
{
    uint8_t time[8];
    bytes_put_u64be(time, unix_ms);
    memcpy(ret, time + 2, 6);
    memcpy(ret + 6, random, 10);
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x70);
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
}

err_t uuid_parse(struct bytes text, uint8_t ret[UUID_BYTES])
{
    if (text.n != UUID_TEXT_BYTES) {
        return ERR_INVALID;
    }
    const uint8_t *p = text.p;
    if (p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-') {
        return ERR_INVALID;
    }
    uint8_t uuid[UUID_BYTES];
    for (size_t i = 0; i < UUID_BYTES; i++) {
        unsigned value = hex_value(p[places[i]]) << 4 | hex_value(p[places[i] + 1]);
        if (value >= NOT_HEX) {
            return ERR_INVALID;
        }
        uuid[i] = (uint8_t)value;
    }
    memcpy(ret, uuid, UUID_BYTES);
    return ERR_OK;
}

void uuid_format(const uint8_t uuid[UUID_BYTES], char ret[UUID_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < UUID_BYTES; i++) {
        ret[places[i]] = hex[uuid[i] >> 4];
        ret[places[i] + 1] = hex[uuid[i] & 15];
    }
    ret[8] = ret[13] = ret[18] = ret[23] = '-';
}

/* 0 to 15, or NOT_HEX. */
static unsigned hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a' + 10) : NOT_HEX;
}
