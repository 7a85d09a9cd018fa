/* map: a hash table from byte strings to pointers, open addressing, for tables in memory.
 *
 * One thread at a time for writers; lookups alone may run side by side. Owns its table only: keys
 * are borrowed (the value normally holds them) and must live as long as their entry; values are the
 * caller's. */
#ifndef DAYBOOK_BASE_MAP_H
#define DAYBOOK_BASE_MAP_H

#include "bytes.h"
#include "err.h"

struct map_entry {
    uint64_t hash;
    struct bytes key;
    void *value; /* NULL marks a free slot */
};

struct map {
    struct map_entry *slots;
    size_t cap; /* a power of two, or 0 */
    size_t n;
};

void map_init(struct map *m);
void map_done(struct map *m);

/* The value, or NULL. */
void *map_get(const struct map *m, struct bytes key);

/* Adds an entry; the key must not be there yet and value must not be NULL. ERR_MEMORY leaves the
 * map as it was. */
MUST_CHECK err_t map_add(struct map *m, struct bytes key, void *value);

/* Walks all entries in no particular order: start with *iterator = 0; NULL at the end. The map must
 * not change meanwhile. */
void *map_next(const struct map *m, size_t *iterator);

#endif
