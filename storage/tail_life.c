/* tail_life: the lives and redactions that events of the tail say. A generation keeps every version
 * of a life, so that a snapshot finds the one of its own position. */
#include "tail.h"

static void count_bytes(struct tail_generation *g, size_t before)
{
    size_t slot = 2 * sizeof(struct map_entry);
    atomic_fetch_add_explicit(&g->bytes, g->lists.used - before + slot, memory_order_relaxed);
}

/* The stream's row of versions in the active generation, made where missing; NULL: no memory. */
static struct tail_lives *lives_of(struct tail_generation *g, struct bytes stream)
{
    struct tail_lives *lives = map_get(&g->lives, stream);
    if (lives != NULL) {
        return lives;
    }
    lives = arena_alloc(&g->lists, sizeof *lives);
    if (lives == NULL) {
        return NULL;
    }
    *lives = (struct tail_lives){.newest = NULL};
    bool made = arena_copy(&g->lists, stream, &lives->stream) == ERR_OK &&
                map_add(&g->lives, lives->stream, lives) == ERR_OK;
    return made ? lives : NULL;
}

err_t tail_life_add(struct tail *t, const struct life *life)
{
    struct tail_generation *g = t->active;
    size_t before = g->lists.used;
    struct tail_lives *lives = lives_of(g, life->stream);
    struct tail_life *version = arena_alloc(&g->lists, sizeof *version);
    if (lives == NULL || version == NULL) {
        return ERR_MEMORY;
    }
    *version = (struct tail_life){.life = *life, .older = lives->newest};
    version->life.stream = lives->stream;
    if (life->custom.n > 0 &&
        arena_copy(&g->lists, life->custom, &version->life.custom) != ERR_OK) {
        return ERR_MEMORY;
    }
    lives->newest = version;
    atomic_store_explicit(&g->has_lives, true, memory_order_relaxed);
    count_bytes(g, before);
    return ERR_OK;
}

err_t tail_redaction_add(struct tail *t, uint64_t target, uint64_t position)
{
    struct tail_generation *g = t->active;
    size_t before = g->lists.used;
    struct tail_redaction *r = arena_alloc(&g->lists, sizeof *r);
    if (r == NULL) {
        return ERR_MEMORY;
    }
    *r = (struct tail_redaction){.target = target, .position = position};
    bytes_put_u64be(r->key, target);
    struct bytes key = bytes_of(r->key, sizeof r->key);
    if (map_get(&g->redactions, key) != NULL) {
        return ERR_OK; /* the first one says it */
    }
    err_t err = map_add(&g->redactions, key, r);
    if (err == ERR_OK) {
        atomic_store_explicit(&g->has_redactions, true, memory_order_relaxed);
        count_bytes(g, before);
    }
    return err;
}

/* ---- snapshots ---- */

static const struct tail_life *newest_at(const struct tail_generation *g, struct bytes stream,
                                         uint64_t position)
{
    const struct tail_lives *lives = map_get(&g->lives, stream);
    const struct tail_life *version = lives == NULL ? NULL : lives->newest;
    while (version != NULL && version->life.position > position) {
        version = version->older;
    }
    return version;
}

bool tail_find_life(const struct tail_snapshot *s, struct bytes stream, uint64_t position,
                    struct life *ret)
{
    const struct tail_life *found = NULL;
    pthread_rwlock_rdlock(&s->tail->lock);
    for (size_t i = s->count; i-- > 0 && found == NULL;) {
        found = newest_at(s->generations[i], stream, position);
    }
    pthread_rwlock_unlock(&s->tail->lock);
    if (found != NULL) {
        *ret = found->life;
    }
    return found != NULL;
}

bool tail_find_redaction(const struct tail_snapshot *s, uint64_t target, uint64_t position)
{
    uint8_t key[8];
    bool found = false;
    bytes_put_u64be(key, target);
    pthread_rwlock_rdlock(&s->tail->lock);
    for (size_t i = 0; i < s->count && !found; i++) {
        const struct tail_redaction *r =
            map_get(&s->generations[i]->redactions, bytes_of(key, sizeof key));
        found = r != NULL && r->position <= position;
    }
    pthread_rwlock_unlock(&s->tail->lock);
    return found;
}
