/* map: linear probing, at most three quarters full, entries never taken out. */
#include "map.h"

#include "check.h"

#include <stdlib.h>

#define CAP_MIN   16
#define HASH_SEED 0x2d358dccaa6c78a5ULL

static bool is_full(const struct map *m);
static err_t grow(struct map *m);
static struct map_entry *free_slot(struct map_entry *slots, size_t cap, uint64_t hash);

void map_init(struct map *m)
{
    *m = (struct map){.slots = NULL};
}

void map_done(struct map *m)
{
    free(m->slots);
    map_init(m);
}

void *map_get(const struct map *m, struct bytes key)
{
    if (m->n == 0) {
        return NULL;
    }
    uint64_t hash = bytes_hash(key, HASH_SEED);
    for (size_t i = (size_t)hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        const struct map_entry *slot = &m->slots[i];
        if (slot->value == NULL || (slot->hash == hash && bytes_equal(slot->key, key))) {
            return slot->value;
        }
    }
}

err_t map_add(struct map *m, struct bytes key, void *value)
{
    CHECK(value != NULL);
    CHECK(map_get(m, key) == NULL);
    if (is_full(m)) {
        err_t err = grow(m);
        if (err != ERR_OK) {
            return err;
        }
    }
    uint64_t hash = bytes_hash(key, HASH_SEED);
    *free_slot(m->slots, m->cap, hash) = (struct map_entry){hash, key, value};
    m->n++;
    return ERR_OK;
}

void *map_next(const struct map *m, size_t *iterator)
{
    while (*iterator < m->cap) {
        void *value = m->slots[(*iterator)++].value;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

static bool is_full(const struct map *m)
{
    return m->n + 1 > m->cap / 4 * 3;
}

/* The hashes are kept in the entries, so a larger table needs none of the keys. */
static err_t grow(struct map *m)
{
    size_t cap = m->cap == 0 ? CAP_MIN : m->cap * 2;
    struct map_entry *slots = calloc(cap, sizeof *slots);
    if (slots == NULL) {
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].value != NULL) {
            *free_slot(slots, cap, m->slots[i].hash) = m->slots[i];
        }
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return ERR_OK;
}

static struct map_entry *free_slot(struct map_entry *slots, size_t cap, uint64_t hash)
{
    size_t i = (size_t)hash & (cap - 1);
    while (slots[i].value != NULL) {
        i = (i + 1) & (cap - 1);
    }
    return &slots[i];
}
