/* state_cache: see state_cache.h. A table of slots, each key in the one that its hash says: keys
 * that meet there drive each other out, which costs a fold and nothing else. */
#include "server/state_cache.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS 4096

struct slot {
    uint8_t *p; /* key, then state; NULL: it is free */
    size_t key_n, n;
    struct state_mark mark;
};

struct state_cache {
    pthread_mutex_t mutex;
    size_t bytes, bytes_max;
    size_t hand; /* the slot that is driven out next */
    struct slot slots[SLOTS];
};

err_t state_cache_new(size_t bytes_max, struct state_cache **ret)
{
    struct state_cache *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    c->bytes_max = bytes_max;
    pthread_mutex_init(&c->mutex, NULL);
    *ret = c;
    return ERR_OK;
}

static void clear(struct state_cache *c, struct slot *s)
{
    c->bytes -= s->n;
    free(s->p);
    *s = (struct slot){.p = NULL};
}

void state_cache_free(struct state_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        clear(c, &c->slots[i]);
    }
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

static struct slot *slot_of(struct state_cache *c, struct bytes key)
{
    return &c->slots[bytes_hash(key, 0) % SLOTS];
}

bool state_cache_get(struct state_cache *c, struct bytes key, struct state_mark *ret_mark,
                     struct buf *ret)
{
    pthread_mutex_lock(&c->mutex);
    const struct slot *s = slot_of(c, key);
    bool found = s->p != NULL && bytes_equal(bytes_of(s->p, s->key_n), key);
    if (found) {
        buf_put(ret, bytes_of(s->p + s->key_n, s->n - s->key_n));
        *ret_mark = s->mark;
    }
    pthread_mutex_unlock(&c->mutex);
    return found && buf_status(ret) == ERR_OK;
}

static void make_room(struct state_cache *c, size_t n)
{
    while (c->bytes + n > c->bytes_max) {
        clear(c, &c->slots[c->hand]);
        c->hand = (c->hand + 1) % SLOTS;
    }
}

void state_cache_put(struct state_cache *c, struct bytes key, const struct state_mark *mark,
                     struct bytes state)
{
    size_t n = key.n + state.n;
    uint8_t *p = n > c->bytes_max ? NULL : malloc(n);
    if (p == NULL) {
        return;
    }
    memcpy(p, key.p, key.n);
    if (state.n > 0) {
        memcpy(p + key.n, state.p, state.n);
    }
    pthread_mutex_lock(&c->mutex);
    struct slot *s = slot_of(c, key);
    clear(c, s);
    make_room(c, n);
    *s = (struct slot){p, key.n, n, *mark};
    c->bytes += n;
    pthread_mutex_unlock(&c->mutex);
}
