/* arena: memory that is given out in pieces and given back all at once. One thread. For clients/
 * only: no part of the library's interface. */
#ifndef DAYBOOK_CLIENT_ARENA_H
#define DAYBOOK_CLIENT_ARENA_H

#include <stddef.h>

struct daybook_arena_block;

/* {0} is an empty one. */
struct daybook_arena {
    struct daybook_arena_block *blocks; /* owned; the newest first */
};

/* n bytes, aligned for anything, not zeroed, until reset or done; NULL: no memory. */
void *daybook_arena_get(struct daybook_arena *arena, size_t n);
/* A copy of n bytes with a NUL behind; NULL: no memory. */
char *daybook_arena_copy(struct daybook_arena *arena, const void *p, size_t n);
/* Takes all pieces back; keeps one block of at most 1 MiB for what comes. */
void daybook_arena_reset(struct daybook_arena *arena);
void daybook_arena_done(struct daybook_arena *arena);

#endif
