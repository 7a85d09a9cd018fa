/* import_ids: see import_ids.h. */
#include "import_ids.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST_BYTES 16
#define SLOTS_MIN    1024
static_assert(DIGEST_BYTES >= crypto_generichash_BYTES_MIN, "BLAKE2b gives no shorter digest");

/* How often each digest came: open addressing, a power of two of slots, at most 3/4 used. The
 * digests are their own hash values. */
struct digest_count {
    uint8_t digest[DIGEST_BYTES];
    uint64_t count; /* 0: the slot is empty */
};

struct digest_table {
    struct digest_count *slots;
    size_t slots_n;
    size_t used;
};

struct import_ids {
    struct digest_table events;
    struct digest_table streams;
};

static struct digest_count *find_slot(const struct digest_table *t,
                                      const uint8_t digest[DIGEST_BYTES]);
static bool count_digest(struct digest_table *t, const uint8_t digest[DIGEST_BYTES],
                         uint64_t *ret_before);
static bool grow(struct digest_table *t);

struct import_ids *import_ids_new(void)
{
    return sodium_init() < 0 ? NULL : calloc(1, sizeof(struct import_ids));
}

void import_ids_free(struct import_ids *ids)
{
    if (ids != NULL) {
        free(ids->events.slots);
        free(ids->streams.slots);
        free(ids);
    }
}

/* ---- digests ---- */

static void encode_number(uint64_t number, uint8_t ret[8])
{
    for (int i = 0; i < 8; i++) {
        ret[i] = (uint8_t)(number >> (8 * i));
    }
}

static void hash_number(crypto_generichash_state *state, uint64_t number)
{
    uint8_t encoded[8];
    encode_number(number, encoded);
    (void)crypto_generichash_update(state, encoded, sizeof encoded);
}

/* A field with its length in front, so that no two events run into the same bytes. */
static void hash_bytes(crypto_generichash_state *state, const void *p, size_t n)
{
    hash_number(state, n);
    if (n > 0) {
        (void)crypto_generichash_update(state, p, n);
    }
}

static void hash_text(crypto_generichash_state *state, const char *text)
{
    hash_bytes(state, text, text == NULL ? 0 : strlen(text));
}

/* This is for ever: another way to compute it would make every import of before unknown. */
static void digest_event(const struct import_event *e, uint8_t ret[DIGEST_BYTES])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, DIGEST_BYTES);
    hash_text(&state, "daybook import 1");
    hash_text(&state, e->stream);
    hash_text(&state, e->event.type);
    hash_text(&state, e->event.occurred_at);
    hash_text(&state, e->event.content_type);
    hash_bytes(&state, e->event.data.p, e->event.data.n);
    hash_bytes(&state, e->event.metadata.p, e->event.metadata.n);
    hash_number(&state, e->event.tags_n);
    for (size_t i = 0; i < e->event.tags_n; i++) {
        hash_text(&state, e->event.tags[i]);
    }
    hash_number(&state, e->event.schema_version);
    (void)crypto_generichash_final(&state, ret, DIGEST_BYTES);
}

bool import_ids_make(struct import_ids *ids, const struct import_event *event, uint8_t ret[16])
{
    uint8_t seed[DIGEST_BYTES + 8];
    uint64_t before;
    digest_event(event, seed);
    if (!count_digest(&ids->events, seed, &before)) {
        return false;
    }
    encode_number(before, seed + DIGEST_BYTES);
    (void)crypto_generichash(ret, DIGEST_BYTES, seed, sizeof seed, NULL, 0);
    ret[6] = (uint8_t)(0x80 | (ret[6] & 0x0f));
    ret[8] = (uint8_t)(0x80 | (ret[8] & 0x3f));
    return true;
}

bool import_ids_add_stream(struct import_ids *ids, const char *stream)
{
    uint8_t digest[DIGEST_BYTES];
    uint64_t before;
    (void)crypto_generichash(digest, sizeof digest, (const uint8_t *)stream, strlen(stream), NULL,
                             0);
    return count_digest(&ids->streams, digest, &before);
}

uint64_t import_ids_streams(const struct import_ids *ids)
{
    return ids->streams.used;
}

/* ---- the table ---- */

static bool count_digest(struct digest_table *t, const uint8_t digest[DIGEST_BYTES],
                         uint64_t *ret_before)
{
    if (t->used >= t->slots_n / 4 * 3 && !grow(t)) {
        return false;
    }
    struct digest_count *slot = find_slot(t, digest);
    if (slot->count == 0) {
        memcpy(slot->digest, digest, DIGEST_BYTES);
        t->used++;
    }
    *ret_before = slot->count++;
    return true;
}

/* The digest's slot, or the empty one where it belongs. */
static struct digest_count *find_slot(const struct digest_table *t,
                                      const uint8_t digest[DIGEST_BYTES])
{
    uint64_t hash;
    memcpy(&hash, digest, sizeof hash);
    size_t at = (size_t)hash & (t->slots_n - 1);
    while (t->slots[at].count > 0 && memcmp(t->slots[at].digest, digest, DIGEST_BYTES) != 0) {
        at = (at + 1) & (t->slots_n - 1);
    }
    return &t->slots[at];
}

static bool grow(struct digest_table *t)
{
    struct digest_table larger = {.slots_n = t->slots_n == 0 ? SLOTS_MIN : t->slots_n * 2};
    larger.slots = calloc(larger.slots_n, sizeof *larger.slots);
    if (larger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < t->slots_n; i++) {
        if (t->slots[i].count > 0) {
            *find_slot(&larger, t->slots[i].digest) = t->slots[i];
        }
    }
    larger.used = t->used;
    free(t->slots);
    *t = larger;
    return true;
}
