/* arena: memory that is given out in pieces and given back all at once.
 *
 * One thread at a time. Pieces are 8-byte aligned, never move, and live until arena_done or
 * arena_reset. */
#ifndef DAYBOOK_BASE_ARENA_H
#define DAYBOOK_BASE_ARENA_H

#include "bytes.h"
#include "err.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *head; /* newest first; the newest is the one that is filled */
    size_t used;              /* bytes given out, each piece rounded up to 8 */
    size_t chunk_bytes;       /* size of a fresh chunk; larger pieces get a chunk of their own */
    size_t max;               /* limit for `used` */
};

void arena_init(struct arena *a, size_t chunk_bytes, size_t max);
void arena_done(struct arena *a);
/* Gives back everything but one ordinary chunk. */
void arena_reset(struct arena *a);

/* NULL when memory or the arena's maximum is exhausted. n may be 0 (a valid, distinct pointer is
 * returned). Not zeroed. */
void *arena_alloc(struct arena *a, size_t n);

/* A copy of `b` in the arena; ERR_LIMIT or ERR_MEMORY leave *ret untouched. */
MUST_CHECK err_t arena_copy(struct arena *a, struct bytes b, struct bytes *ret);

#endif
