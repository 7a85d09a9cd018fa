/* bytes: a borrowed run of bytes, and the few things one does with it.
 *
 * Any thread; owns nothing. A `struct bytes` never outlives what it points into and is never stored
 * (STYLE 10); where bytes must be kept they are copied into an arena or a buf. */
#ifndef DAYBOOK_BASE_BYTES_H
#define DAYBOOK_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *p;
    size_t n;
};

#define BYTES_NONE ((struct bytes){NULL, 0})
/* A string literal as bytes. */
#define BYTES_LITERAL(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})
/* For printf: "%.*s", BYTES_ARGS(b). */
#define BYTES_ARGS(b) (int)(b).n, (const char *)(b).p

static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){(const uint8_t *)p, n};
}

static inline struct bytes bytes_of_string(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s == NULL ? 0 : strlen(s)};
}

/* What follows the first n. Also of no bytes at all: C has no NULL + 0. */
static inline struct bytes bytes_after(struct bytes b, size_t n)
{
    return n == 0 ? b : bytes_of(b.p + n, b.n - n);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool bytes_have_prefix(struct bytes a, struct bytes prefix)
{
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

/* Byte order, shorter first where one is the beginning of the other: <0, 0, >0. */
int bytes_compare(struct bytes a, struct bytes b);

/* Sets the secret that bytes_hash starts from, so that nobody can choose keys that collide: random,
 * once, before other threads start. Without it hashes are the same in every run. */
void bytes_hash_set_secret(const uint64_t secret[2]);

/* A 64-bit hash for tables in memory: seeded, wyhash-like mixing, not cryptographic. It depends on
 * the machine's byte order and must not be stored. */
uint64_t bytes_hash(struct bytes b, uint64_t seed);

/* Whether it is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool bytes_are_utf8(struct bytes b);

/* Little-endian and big-endian fixed-width numbers in unaligned memory. */
static inline void bytes_put_u32le(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8), p[2] = (uint8_t)(v >> 16),
    p[3] = (uint8_t)(v >> 24);
}

static inline uint32_t bytes_get_u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void bytes_put_u64le(uint8_t *p, uint64_t v)
{
    bytes_put_u32le(p, (uint32_t)v), bytes_put_u32le(p + 4, (uint32_t)(v >> 32));
}

static inline uint64_t bytes_get_u64le(const uint8_t *p)
{
    return (uint64_t)bytes_get_u32le(p) | (uint64_t)bytes_get_u32le(p + 4) << 32;
}

static inline void bytes_put_u64be(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8) {
        p[i] = (uint8_t)v;
    }
}

static inline uint64_t bytes_get_u64be(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

#endif
