/* group_map: open addressing with linear probing; a removal moves back what stands behind it, so
 * that there are no tombstones and a table that is used for ever does not silt up. */
#include "projections/group_map.h"

#include <stdlib.h>

#include "storage/base/check.h"

void group_map_done(struct group_map *m)
{
    free(m->slots);
    *m = (struct group_map){0};
}

void group_map_clear(struct group_map *m)
{
    for (size_t i = 0; i < m->cap; i++) {
        m->slots[i].value = GROUP_NONE;
    }
    m->n = 0;
}

static size_t home_of(const struct group_map *m, uint64_t key)
{
    key ^= key >> 32;
    key *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(key >> 20) & (m->cap - 1);
}

err_t group_map_reserve(struct group_map *m, size_t n)
{
    if (n <= m->cap / 4 * 3) {
        return ERR_OK;
    }
    struct group_map bigger = {.cap = m->cap == 0 ? 16 : m->cap};
    while (n > bigger.cap / 4 * 3) {
        bigger.cap *= 2;
    }
    bigger.slots = malloc(bigger.cap * sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        return ERR_MEMORY;
    }
    group_map_clear(&bigger);
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].value != GROUP_NONE) {
            group_map_put(&bigger, m->slots[i].key, m->slots[i].value);
        }
    }
    free(m->slots);
    *m = bigger;
    return ERR_OK;
}

/* The slot of the key, or the free one where it would stand. */
static size_t find(const struct group_map *m, uint64_t key)
{
    size_t i = home_of(m, key);
    while (m->slots[i].value != GROUP_NONE && m->slots[i].key != key) {
        i = (i + 1) & (m->cap - 1);
    }
    return i;
}

void group_map_put(struct group_map *m, uint64_t key, uint32_t value)
{
    CHECK(m->n < m->cap && value != GROUP_NONE);
    struct group_map_slot *slot = &m->slots[find(m, key)];
    m->n += slot->value == GROUP_NONE ? 1 : 0;
    *slot = (struct group_map_slot){key, value};
}

uint32_t group_map_get(const struct group_map *m, uint64_t key)
{
    return m->n == 0 ? GROUP_NONE : m->slots[find(m, key)].value;
}

void group_map_remove(struct group_map *m, uint64_t key)
{
    if (group_map_get(m, key) == GROUP_NONE) {
        return;
    }
    size_t mask = m->cap - 1, hole = find(m, key);
    for (size_t i = (hole + 1) & mask; m->slots[i].value != GROUP_NONE; i = (i + 1) & mask) {
        /* It may fill the hole unless its home lies behind the hole. */
        size_t home = home_of(m, m->slots[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = GROUP_NONE;
    m->n--;
}
