/* tail: generations of committed events in memory. */
#include "tail.h"

#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"

#define CHUNK_BYTES       (1u << 20)
#define LISTS_CHUNK_BYTES (1u << 18)
#define LIST_CAP_FIRST    2

/* Records stand one after the other in chunks, without padding, so that the ones of a group are one
 * run of bytes. */
struct tail_chunk {
    struct tail_chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

/* ---- generations ---- */

static void generation_free(struct tail_generation *g)
{
    if (g == NULL) {
        return;
    }
    for (struct tail_chunk *c = g->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        map_done(&g->names[kind]);
    }
    map_done(&g->lives);
    map_done(&g->redactions);
    arena_done(&g->lists);
    free(g->records);
    free(g);
}

static struct tail_generation *generation_new(uint64_t first)
{
    struct tail_generation *g = fault_hit(FAULT_TAIL_ALLOCATE) ? NULL : calloc(1, sizeof *g);
    if (g == NULL) {
        return NULL;
    }
    g->records = malloc(TAIL_EVENTS_MAX * sizeof *g->records);
    if (g->records == NULL) {
        free(g);
        return NULL;
    }
    g->first = first;
    atomic_init(&g->references, 1);
    arena_init(&g->lists, LISTS_CHUNK_BYTES, SIZE_MAX / 2);
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        map_init(&g->names[kind]);
    }
    return g;
}

static void generation_release(struct tail_generation *g)
{
    if (atomic_fetch_sub(&g->references, 1) == 1) {
        generation_free(g);
    }
}

/* ---- lifecycle ---- */

err_t tail_init(struct tail *t, uint64_t next, size_t bytes_max)
{
    *t = (struct tail){.bytes_max = bytes_max};
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&t->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    atomic_init(&t->committed, next - 1);
    t->generations[0] = generation_new(next);
    if (t->generations[0] == NULL) {
        return ERR_MEMORY;
    }
    t->active = t->generations[0];
    t->count = 1;
    return ERR_OK;
}

void tail_set_limit(struct tail *t, size_t bytes_max)
{
    t->bytes_max = bytes_max;
}

void tail_done(struct tail *t)
{
    for (size_t i = 0; i < t->count; i++) {
        generation_release(t->generations[i]);
    }
    t->count = 0;
    pthread_rwlock_destroy(&t->lock);
}

void tail_lock(struct tail *t)
{
    pthread_rwlock_wrlock(&t->lock);
}

void tail_unlock(struct tail *t)
{
    pthread_rwlock_unlock(&t->lock);
}

static size_t bytes_locked(struct tail *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++) {
        n += atomic_load_explicit(&t->generations[i]->bytes, memory_order_relaxed);
    }
    return n;
}

size_t tail_bytes(struct tail *t)
{
    pthread_rwlock_rdlock(&t->lock);
    size_t n = bytes_locked(t);
    pthread_rwlock_unlock(&t->lock);
    return n;
}

/* ---- the writer ---- */

/* Half of the tail: while one generation is applied the next one fills. */
static size_t ripe_bytes(const struct tail *t)
{
    return t->bytes_max / 2;
}

bool tail_is_ripe(struct tail *t)
{
    pthread_rwlock_rdlock(&t->lock);
    bool ripe = t->count > 1 || t->active->n >= TAIL_EVENTS_MAX / 2 ||
                atomic_load(&t->active->bytes) >= ripe_bytes(t);
    pthread_rwlock_unlock(&t->lock);
    return ripe;
}

static err_t freeze_locked(struct tail *t)
{
    t->freeze_wanted = false;
    if (t->active->n == 0) {
        return ERR_OK;
    }
    if (t->count == TAIL_GENERATIONS_MAX) {
        return ERR_FULL;
    }
    struct tail_generation *g = generation_new(t->active->first + t->active->n);
    if (g == NULL) {
        return ERR_MEMORY;
    }
    t->generations[t->count++] = g;
    t->active = g;
    return ERR_OK;
}

static err_t open_group_locked(struct tail *t, size_t events, size_t bytes)
{
    CHECK(!t->group_open && events <= TAIL_EVENTS_MAX);
    size_t all = bytes_locked(t), mine = atomic_load(&t->active->bytes);
    if (all >= t->bytes_max) {
        return ERR_FULL;
    }
    bool full =
        t->active->n + events > TAIL_EVENTS_MAX || (mine > 0 && mine + bytes > ripe_bytes(t));
    if (full || t->freeze_wanted) {
        err_t err = freeze_locked(t);
        if (err != ERR_OK) {
            return err;
        }
    }
    t->group_open = true;
    return ERR_OK;
}

err_t tail_open_group(struct tail *t, size_t events, size_t bytes)
{
    tail_lock(t);
    err_t err = open_group_locked(t, events, bytes);
    tail_unlock(t);
    /* The group's records stand in one chunk: one run of bytes for the journal, and no memory is
     * needed half way. */
    if (err == ERR_OK && tail_reserve(t, bytes) == NULL) {
        tail_close_group(t, atomic_load(&t->committed));
        err = ERR_MEMORY;
    }
    return err;
}

void tail_close_group(struct tail *t, uint64_t committed)
{
    tail_lock(t);
    t->group_open = false;
    atomic_store(&t->committed, committed);
    tail_unlock(t);
}

uint8_t *tail_reserve(struct tail *t, size_t n)
{
    struct tail_generation *g = t->active;
    struct tail_chunk *c = g->chunks;
    if (c != NULL && c->used == 0 && c->size < n) {
        g->chunks = c->next; /* reserved for a group that then put nothing in */
        free(c);
        c = NULL;
    }
    if (c == NULL || c->size - c->used < n) {
        size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
        c = malloc(sizeof *c + size);
        if (c == NULL) {
            return NULL;
        }
        *c = (struct tail_chunk){.next = g->chunks, .size = size};
        g->chunks = c;
    }
    return c->bytes + c->used;
}

void tail_add(struct tail *t, const uint8_t *record, size_t size)
{
    struct tail_generation *g = t->active;
    uint32_t n = atomic_load_explicit(&g->n, memory_order_relaxed);
    CHECK(n < TAIL_EVENTS_MAX && record == g->chunks->bytes + g->chunks->used);
    g->chunks->used += size;
    g->records[n] = record;
    atomic_store_explicit(&g->n, n + 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&g->bytes, size + sizeof record, memory_order_relaxed);
}

/* ---- lists ---- */

struct tail_list *tail_list_get(struct tail *t, enum name_kind kind, struct bytes name,
                                uint64_t base)
{
    struct tail_generation *g = t->active;
    struct tail_list *list = map_get(&g->names[kind], name);
    if (list != NULL) {
        return list;
    }
    size_t before = g->lists.used;
    list = arena_alloc(&g->lists, sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    *list = (struct tail_list){.kind = kind, .base = base};
    if (arena_copy(&g->lists, name, &list->name) != ERR_OK ||
        map_add(&g->names[kind], list->name, list) != ERR_OK) {
        return NULL;
    }
    size_t slot = 2 * sizeof(struct map_entry); /* the table is at most half empty, about */
    atomic_fetch_add_explicit(&g->bytes, g->lists.used - before + slot, memory_order_relaxed);
    return list;
}

/* Room for twice as many. The old arrays stay where they are: a reader may be using them. */
static err_t list_grow(struct tail_generation *g, struct tail_list *list, uint32_t n)
{
    uint32_t cap = list->cap == 0 ? LIST_CAP_FIRST : list->cap * 2;
    size_t before = g->lists.used;
    uint64_t *positions = arena_alloc(&g->lists, cap * sizeof *positions);
    uint16_t *prints = NULL;
    if (list->kind == NAME_STREAM) {
        prints = arena_alloc(&g->lists, cap * sizeof *prints);
    }
    if (positions == NULL || (list->kind == NAME_STREAM && prints == NULL)) {
        return ERR_MEMORY;
    }
    if (n > 0) {
        memcpy(positions, list->positions, n * sizeof *positions);
    }
    if (n > 0 && prints != NULL) {
        memcpy(prints, list->prints, n * sizeof *prints);
    }
    list->positions = positions;
    list->prints = prints;
    list->cap = cap;
    atomic_fetch_add_explicit(&g->bytes, g->lists.used - before, memory_order_relaxed);
    return ERR_OK;
}

err_t tail_list_add(struct tail *t, struct tail_list *list, uint64_t position, uint16_t print)
{
    uint32_t n = atomic_load_explicit(&list->n, memory_order_relaxed);
    CHECK(n == 0 || list->positions[n - 1] < position);
    if (n == list->cap) {
        err_t err = list_grow(t->active, list, n);
        if (err != ERR_OK) {
            return err;
        }
    }
    list->positions[n] = position;
    if (list->prints != NULL) {
        list->prints[n] = print;
    }
    atomic_store_explicit(&list->n, n + 1, memory_order_release);
    return ERR_OK;
}

/* ---- the applier ---- */

struct tail_generation *tail_oldest_frozen(struct tail *t, bool freeze)
{
    struct tail_generation *g = NULL;
    tail_lock(t);
    /* While a group is open, or where there is no memory now, the writer does it when it comes to
     * it. */
    if (t->count == 1 && freeze) {
        t->freeze_wanted = t->group_open || freeze_locked(t) != ERR_OK;
    }
    if (t->count > 1) {
        g = t->generations[0];
    }
    /* A group may be open in the generation that was frozen to make room for it only if it is the
     * active one, which is never handed out. */
    tail_unlock(t);
    return g;
}

void tail_drop_oldest(struct tail *t)
{
    tail_lock(t);
    CHECK(t->count > 1);
    struct tail_generation *g = t->generations[0];
    t->count--;
    memmove(t->generations, t->generations + 1, t->count * sizeof t->generations[0]);
    tail_unlock(t);
    generation_release(g);
}

/* ---- snapshots ---- */

void tail_snapshot_take(struct tail *t, struct tail_snapshot *ret)
{
    ret->tail = t;
    pthread_rwlock_rdlock(&t->lock);
    ret->count = t->count;
    for (size_t i = 0; i < t->count; i++) {
        ret->generations[i] = t->generations[i];
        atomic_fetch_add_explicit(&t->generations[i]->references, 1, memory_order_relaxed);
    }
    ret->position = atomic_load(&t->committed);
    pthread_rwlock_unlock(&t->lock);
    ret->first = ret->generations[0]->first;
}

void tail_snapshot_done(struct tail_snapshot *s)
{
    for (size_t i = 0; i < s->count; i++) {
        generation_release(s->generations[i]);
    }
    s->count = 0;
}

const uint8_t *tail_record(const struct tail_snapshot *s, uint64_t position)
{
    CHECK(position >= s->first && position <= s->position);
    size_t i = s->count - 1;
    while (s->generations[i]->first > position) {
        i--;
    }
    return s->generations[i]->records[position - s->generations[i]->first];
}

/* How many of the first n positions are at or before `limit`. */
static size_t count_up_to(const uint64_t *positions, size_t n, uint64_t limit)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (positions[middle] <= limit) {
            low = middle + 1;
        } else {
            n = middle;
        }
    }
    return low;
}

size_t tail_find(const struct tail_snapshot *s, enum name_kind kind, struct bytes name,
                 struct tail_span spans[TAIL_GENERATIONS_MAX])
{
    size_t count = 0;
    pthread_rwlock_rdlock(&s->tail->lock);
    for (size_t i = 0; i < s->count; i++) {
        struct tail_list *list = map_get(&s->generations[i]->names[kind], name);
        if (list != NULL) {
            uint32_t n = atomic_load_explicit(&list->n, memory_order_acquire);
            spans[count++] = (struct tail_span){
                .positions = list->positions, .prints = list->prints, .n = n, .base = list->base};
        }
    }
    pthread_rwlock_unlock(&s->tail->lock);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        spans[i].n = count_up_to(spans[i].positions, spans[i].n, s->position);
        if (spans[i].n > 0) {
            spans[kept++] = spans[i];
        }
    }
    return kept;
}

void tail_each_name(const struct tail_snapshot *s, enum name_kind kind,
                    void (*each)(void *ctx, struct bytes name), void *ctx)
{
    pthread_rwlock_rdlock(&s->tail->lock);
    for (size_t i = 0; i < s->count; i++) {
        size_t at = 0;
        for (struct tail_list *list;
             (list = map_next(&s->generations[i]->names[kind], &at)) != NULL;) {
            each(ctx, list->name);
        }
    }
    pthread_rwlock_unlock(&s->tail->lock);
}
