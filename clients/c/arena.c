/* arena: see arena.h. Blocks double in size, so that after some resets one block serves all. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_MIN ((size_t)4096)
#define BLOCK_MAX ((size_t)1 << 20)
#define ALIGNMENT (alignof(max_align_t))

struct daybook_arena_block {
    struct daybook_arena_block *next;
    size_t used;
    size_t capacity;
    alignas(max_align_t) uint8_t bytes[];
};

static struct daybook_arena_block *block_new(const struct daybook_arena *arena, size_t n);

void *daybook_arena_get(struct daybook_arena *arena, size_t n)
{
    if (n > SIZE_MAX / 2) {
        return NULL;
    }
    n = (n + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    struct daybook_arena_block *block = arena->blocks;
    if (block == NULL || n > block->capacity - block->used) {
        block = block_new(arena, n);
        if (block == NULL) {
            return NULL;
        }
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *piece = block->bytes + block->used;
    block->used += n;
    return piece;
}

static struct daybook_arena_block *block_new(const struct daybook_arena *arena, size_t n)
{
    size_t capacity = arena->blocks == NULL ? BLOCK_MIN : arena->blocks->capacity * 2;
    if (capacity > BLOCK_MAX) {
        capacity = BLOCK_MAX;
    }
    if (capacity < n) {
        capacity = n;
    }
    struct daybook_arena_block *block = malloc(sizeof *block + capacity);
    if (block != NULL) {
        *block = (struct daybook_arena_block){.capacity = capacity};
    }
    return block;
}

char *daybook_arena_copy(struct daybook_arena *arena, const void *p, size_t n)
{
    char *copy = daybook_arena_get(arena, n + 1);
    if (copy != NULL) {
        if (n > 0) {
            memcpy(copy, p, n);
        }
        copy[n] = '\0';
    }
    return copy;
}

void daybook_arena_reset(struct daybook_arena *arena)
{
    struct daybook_arena_block *keep = arena->blocks;
    if (keep == NULL) {
        return;
    }
    arena->blocks = keep->next;
    keep->next = NULL;
    daybook_arena_done(arena);
    keep->used = 0;
    if (keep->capacity > BLOCK_MAX) {
        free(keep);
    } else {
        arena->blocks = keep;
    }
}

void daybook_arena_done(struct daybook_arena *arena)
{
    while (arena->blocks != NULL) {
        struct daybook_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}
