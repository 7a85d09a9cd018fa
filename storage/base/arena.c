/* arena: a list of chunks, the first of which is being filled. */
#include "arena.h"

#include "check.h"

#include <stdlib.h>

#define ALIGNMENT 8

struct arena_chunk {
    struct arena_chunk *next;
    size_t cap;
    size_t n;
    _Alignas(ALIGNMENT) uint8_t data[];
};

static size_t round_up(size_t n);
static bool fits(const struct arena *a, size_t n);
static struct arena_chunk *add_chunk(struct arena *a, size_t n);
static void free_chunks(struct arena_chunk *chunk);

void arena_init(struct arena *a, size_t chunk_bytes, size_t max)
{
    CHECK(chunk_bytes > 0);
    CHECK(max > 0 && max <= SIZE_MAX / 2);
    *a = (struct arena){.chunk_bytes = chunk_bytes, .max = max};
}

void arena_done(struct arena *a)
{
    free_chunks(a->head);
    a->head = NULL;
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    a->used = 0;
    if (a->head == NULL) {
        return;
    }
    free_chunks(a->head->next);
    a->head->next = NULL;
    a->head->n = 0;
    /* A chunk made for one large piece would hold on to its memory for nothing. */
    if (a->head->cap > a->chunk_bytes) {
        arena_done(a);
    }
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (!fits(a, n)) {
        return NULL;
    }
    size_t rounded = round_up(n);
    struct arena_chunk *chunk = a->head;
    if (chunk == NULL || rounded > chunk->cap - chunk->n) {
        chunk = add_chunk(a, rounded);
        if (chunk == NULL) {
            return NULL;
        }
    }
    void *piece = chunk->data + chunk->n;
    chunk->n += rounded;
    a->used += rounded;
    return piece;
}

err_t arena_copy(struct arena *a, struct bytes b, struct bytes *ret)
{
    if (!fits(a, b.n)) {
        return ERR_LIMIT;
    }
    uint8_t *p = arena_alloc(a, b.n);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    if (b.n > 0) {
        memcpy(p, b.p, b.n);
    }
    *ret = bytes_of(p, b.n);
    return ERR_OK;
}

/* An empty piece takes up room too, so that no two pieces are the same pointer. */
static size_t round_up(size_t n)
{
    return n == 0 ? ALIGNMENT : (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool fits(const struct arena *a, size_t n)
{
    return n <= a->max && round_up(n) <= a->max - a->used;
}

/* A piece too large for an ordinary chunk goes behind the head, so that the head's rest is not
 * lost. */
static struct arena_chunk *add_chunk(struct arena *a, size_t n)
{
    size_t cap = n > a->chunk_bytes ? n : a->chunk_bytes;
    struct arena_chunk *chunk = malloc(sizeof *chunk + cap);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->cap = cap;
    chunk->n = 0;
    if (n > a->chunk_bytes && a->head != NULL) {
        chunk->next = a->head->next;
        a->head->next = chunk;
    } else {
        chunk->next = a->head;
        a->head = chunk;
    }
    return chunk;
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}
