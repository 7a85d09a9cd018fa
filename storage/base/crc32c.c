/* crc32c: the checksum in hardware and in tables.
 *
 * The crc32 instruction takes 8 bytes and has its answer three cycles later, but a new one may
 * start in every cycle. So a longer input is cut into three streams of equal length that run side
 * by side:
 *
 *     | first: w words | second: w words | third: w words | the rest, one after the other |
 *
 * The first stream goes on from the seed, the other two from 0. A CRC is a remainder of
 * polynomials, so the CRC of the whole is
 *
 *     first * x^(128 w)  +  second * x^(64 w)  +  third     (mod P, + is xor)
 *
 * A carry-less multiplication by a constant out of `shifts` does each product, and one more crc32
 * instruction takes their sum modulo P. That instruction multiplies by x^32 and the bit order of
 * the factors costs one more x, which is why shifts[i] is x^(64 i - 33) and not x^(64 i). */
#include "crc32c.h"

#define POLYNOMIAL 0x82f63b78u

/* slices[k][b]: the CRC of byte b followed by k zero bytes. */
static uint32_t slices[8][256];

#if defined(__x86_64__)
#include <immintrin.h>

#define HARDWARE         __attribute__((target("sse4.2,pclmul")))
#define STREAM_WORDS_MIN 6
#define STREAM_WORDS_MAX 128

static uint64_t shifts[2 * STREAM_WORDS_MAX + 1];
static bool have_hardware;

static uint32_t update_hardware(uint32_t seed, const uint8_t *p, size_t n);
static void prepare_hardware(void);
#endif

static uint32_t update_portable(uint32_t crc, const uint8_t *p, size_t n);

uint32_t crc32c(uint32_t seed, struct bytes data)
{
#if defined(__x86_64__)
    if (have_hardware) {
        return ~update_hardware(~seed, data.p, data.n);
    }
#endif
    return ~update_portable(~seed, data.p, data.n);
}

uint32_t crc32c_portable(uint32_t seed, struct bytes data)
{
    return ~update_portable(~seed, data.p, data.n);
}

/* Before main, so that no call has to ask whether the tables are there. */
__attribute__((constructor)) static void prepare(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        }
        slices[0][b] = crc;
    }
    for (uint32_t b = 0; b < 256; b++) {
        for (int k = 1; k < 8; k++) {
            uint32_t crc = slices[k - 1][b];
            slices[k][b] = crc >> 8 ^ slices[0][crc & 0xff];
        }
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
        prepare_hardware();
    }
#endif
}

static uint32_t update_portable(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t low = crc ^ bytes_get_u32le(p);
        uint32_t high = bytes_get_u32le(p + 4);
        crc = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^ slices[5][low >> 16 & 0xff] ^
              slices[4][low >> 24] ^ slices[3][high & 0xff] ^ slices[2][high >> 8 & 0xff] ^
              slices[1][high >> 16 & 0xff] ^ slices[0][high >> 24];
    }
    for (; n > 0; p++, n--) {
        crc = crc >> 8 ^ slices[0][(crc ^ *p) & 0xff];
    }
    return crc;
}

#if defined(__x86_64__)

/* x^31 is the number 1 in this bit order, and 8 zero bytes multiply by x^64. */
HARDWARE static void prepare_hardware(void)
{
    uint64_t power = 1;
    for (size_t i = 1; i <= 2 * STREAM_WORDS_MAX; i++) {
        shifts[i] = power;
        power = _mm_crc32_u64(power, 0);
    }
    have_hardware = true;
}

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

HARDWARE static inline __m128i multiply(uint64_t a, uint64_t b)
{
    return _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi64_si128((long long)b),
                                0);
}

HARDWARE static inline uint64_t update_streams(uint64_t crc, const uint8_t *p, size_t words)
{
    const uint8_t *end = p + words * 8;
    size_t stride = words * 8;
    uint64_t second = 0;
    uint64_t third = 0;
    for (; p < end; p += 8) {
        crc = _mm_crc32_u64(crc, load_u64(p));
        second = _mm_crc32_u64(second, load_u64(p + stride));
        third = _mm_crc32_u64(third, load_u64(p + 2 * stride));
    }
    __m128i sum = _mm_xor_si128(multiply(crc, shifts[2 * words]), multiply(second, shifts[words]));
    return third ^ _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(sum));
}

HARDWARE static inline uint32_t update_tail(uint32_t crc, const uint8_t *p, size_t n)
{
    if (n & 4) {
        crc = _mm_crc32_u32(crc, bytes_get_u32le(p));
        p += 4;
    }
    if (n & 2) {
        crc = _mm_crc32_u16(crc, (uint16_t)(p[0] | p[1] << 8));
        p += 2;
    }
    return n & 1 ? _mm_crc32_u8(crc, *p) : crc;
}

HARDWARE static uint32_t update_hardware(uint32_t seed, const uint8_t *p, size_t n)
{
    uint64_t crc = seed;
    while (n >= STREAM_WORDS_MIN * 24) {
        size_t words = n / 24 < STREAM_WORDS_MAX ? n / 24 : STREAM_WORDS_MAX;
        crc = update_streams(crc, p, words);
        p += words * 24;
        n -= words * 24;
    }
    for (; n >= 8; p += 8, n -= 8) {
        crc = _mm_crc32_u64(crc, load_u64(p));
    }
    return update_tail((uint32_t)crc, p, n);
}

#endif
