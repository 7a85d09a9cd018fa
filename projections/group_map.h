/* group_map: a hash table from 64-bit keys to 32-bit numbers, with removal.
 *
 * One thread at a time; owns its table. Lookups never fail; where memory for growing is missing
 * group_map_reserve says so beforehand. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_MAP_H
#define DAYBOOK_PROJECTIONS_GROUP_MAP_H

#include "storage/base/bytes.h"
#include "storage/base/err.h"

#define GROUP_NONE UINT32_MAX

struct group_map_slot {
    uint64_t key;
    uint32_t value; /* GROUP_NONE: free */
};

struct group_map {
    struct group_map_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t n;
};

void group_map_done(struct group_map *m);
/* Forgets the entries, keeps the memory. */
void group_map_clear(struct group_map *m);

/* So that the map can hold n entries. ERR_MEMORY leaves it as it was. */
MUST_CHECK err_t group_map_reserve(struct group_map *m, size_t n);
/* Adds or replaces; there must be room. */
void group_map_put(struct group_map *m, uint64_t key, uint32_t value);
/* GROUP_NONE: not there. */
uint32_t group_map_get(const struct group_map *m, uint64_t key);
/* Fine where it is not there. */
void group_map_remove(struct group_map *m, uint64_t key);

#endif
