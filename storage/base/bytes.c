/* bytes: comparing, hashing and checking borrowed runs of bytes. */
#include "bytes.h"

/* ISO C has no 128-bit integer; both compilers do, and a hash wants the whole product. */
__extension__ typedef unsigned __int128 u128;

/* Odd numbers with about as many ones as zeros (those of wyhash). */
#define HASH_A 0xa0761d6478bd642fULL
#define HASH_B 0xe7037ed1a0b428dbULL

#define ASCII_HIGH_BITS 0x8080808080808080ULL

static uint64_t secret_a = HASH_A, secret_b = HASH_B;

static uint64_t mix(uint64_t a, uint64_t b);
static uint64_t load_u64(const uint8_t *p);
static uint64_t load_u32(const uint8_t *p);
static size_t utf8_length(const uint8_t *p, size_t n);

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shared = a.n < b.n ? a.n : b.n;
    int order = shared == 0 ? 0 : memcmp(a.p, b.p, shared);
    if (order != 0) {
        return order;
    }
    return (a.n > b.n) - (a.n < b.n);
}

void bytes_hash_set_secret(const uint64_t secret[2])
{
    secret_a = secret[0] ^ HASH_A;
    secret_b = secret[1] ^ HASH_B;
}

uint64_t bytes_hash(struct bytes b, uint64_t seed)
{
    const uint8_t *p = b.p;
    size_t n = b.n;
    uint64_t h = seed ^ secret_a;
    for (; n > 16; p += 16, n -= 16) {
        h = mix(load_u64(p) ^ secret_b, load_u64(p + 8) ^ h);
    }
    /* The last 0 to 16 bytes as two words that may overlap; the length below tells such inputs
     * apart. */
    uint64_t first = 0;
    uint64_t last = 0;
    if (n >= 8) {
        first = load_u64(p);
        last = load_u64(p + n - 8);
    } else if (n >= 4) {
        first = load_u32(p);
        last = load_u32(p + n - 4);
    } else if (n > 0) {
        first = (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1];
    }
    return mix(secret_b ^ b.n, mix(first ^ secret_b, last ^ h));
}

bool bytes_are_utf8(struct bytes b)
{
    size_t i = 0;
    while (i < b.n) {
        if (b.n - i >= 8 && (load_u64(b.p + i) & ASCII_HIGH_BITS) == 0) {
            i += 8;
            continue;
        }
        size_t length = utf8_length(b.p + i, b.n - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    u128 product = (u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* In the machine's byte order: hashes never leave memory. */
static uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static bool is_continuation(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

/* The length of the well-formed character that begins at p, 0 where there is none (the table in RFC
 * 3629 section 4: the second byte's range is what keeps out overlong forms, surrogates and all
 * above U+10FFFF). */
static size_t utf8_length(const uint8_t *p, size_t n)
{
    uint8_t c = p[0];
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4 || n < 2) {
        return 0;
    }
    if (c < 0xe0) {
        return is_continuation(p[1]) ? 2 : 0;
    }
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    size_t length = c < 0xf0 ? 3 : 4;
    if (n < length || p[1] < low || p[1] > high || !is_continuation(p[2])) {
        return 0;
    }
    return length == 3 || is_continuation(p[3]) ? length : 0;
}
