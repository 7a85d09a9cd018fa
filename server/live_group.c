/* live_group: two hash tables of groups, by what is asked for and by the stream that is read; a
 * list of those that read the log; and the chunks. */
#include "server/live_group.h"

#include "storage/base/check.h"

#include <stdlib.h>

#define BUCKETS_MIN     64
#define HASH_SEED       0x6c697665ULL
#define KEY_BYTES_MAX   ((size_t)1 << 20)
#define CHUNK_BYTES_MAX ((size_t)256 << 20)
/* Where so much is left to read that the chunk will be full. */
#define MANY_EVENTS 256
#define CHUNK_SLACK 4096

static err_t make_key(struct live_groups *gs, const struct follower *f, enum encoding encoding,
                      bool is_poll);
static struct live_group *find(const struct live_groups *gs, struct bytes key, uint64_t hash);
static err_t add(struct live_groups *gs, struct live_group *g);
static void drop(struct live_groups *gs, struct live_group *g);
static struct live_chunk *kept_chunk(const struct live_group *g, uint64_t from);
static void keep_chunk(struct live_groups *gs, struct live_group *g, struct live_chunk *c);

void live_chunk_unref(struct live_chunk *c)
{
    if (c != NULL && --c->refs == 0) {
        buf_done(&c->data);
        free(c);
    }
}

/* ---- the table of groups ---- */

void live_groups_init(struct live_groups *gs)
{
    *gs = (struct live_groups){0};
    buf_init(&gs->key, KEY_BYTES_MAX);
}

void live_groups_done(struct live_groups *gs)
{
    CHECK(gs->tables[LIVE_BY_KEY].n == 0);
    for (int i = 0; i < LIVE_INDEXES; i++) {
        free(gs->tables[i].buckets);
    }
    buf_done(&gs->key);
}

err_t live_groups_join(struct live_groups *gs, struct follower *take_follower,
                       enum encoding encoding, bool is_poll, struct live_group **ret)
{
    err_t err = make_key(gs, take_follower, encoding, is_poll);
    struct bytes key = buf_bytes(&gs->key);
    uint64_t hash = bytes_hash(key, HASH_SEED);
    struct live_group *g = err == ERR_OK ? find(gs, key, hash) : NULL;
    if (err == ERR_OK && g != NULL) {
        follower_free(take_follower);
    } else {
        g = err == ERR_OK ? calloc(1, sizeof *g + key.n) : NULL;
        if (g == NULL) {
            follower_free(take_follower);
            return ERR_MEMORY;
        }
        g->follower = take_follower;
        struct bytes stream = follower_query(g->follower)->stream;
        g->wire = (struct wire){encoding, stream.n > 0};
        g->is_poll = is_poll;
        g->key_bytes = key.n;
        memcpy(g->key, key.p, key.n);
        g->hashes[LIVE_BY_KEY] = hash;
        g->hashes[LIVE_BY_STREAM] = bytes_hash(stream, HASH_SEED);
        err = add(gs, g);
        if (err != ERR_OK) {
            follower_free(g->follower);
            free(g);
            return err;
        }
    }
    g->members++;
    *ret = g;
    return ERR_OK;
}

void live_groups_leave(struct live_groups *gs, struct live_group *g)
{
    CHECK(g->members > 0);
    if (--g->members == 0) {
        CHECK(g->waiting.n == 0);
        drop(gs, g);
    }
}

static err_t make_key(struct live_groups *gs, const struct follower *f, enum encoding encoding,
                      bool is_poll)
{
    buf_clear(&gs->key);
    buf_put_byte(&gs->key, is_poll ? UINT8_MAX : (uint8_t)encoding);
    store_query_put_key(follower_query(f), &gs->key);
    return buf_status(&gs->key);
}

static struct live_group *first_of(const struct live_groups *gs, enum live_index index,
                                   uint64_t hash)
{
    const struct live_index_table *t = &gs->tables[index];
    return t->cap == 0 ? NULL : t->buckets[hash & (t->cap - 1)];
}

static struct live_group *find(const struct live_groups *gs, struct bytes key, uint64_t hash)
{
    struct live_group *g = first_of(gs, LIVE_BY_KEY, hash);
    while (g != NULL &&
           (g->hashes[LIVE_BY_KEY] != hash || !bytes_equal(bytes_of(g->key, g->key_bytes), key))) {
        g = g->next[LIVE_BY_KEY];
    }
    return g;
}

static void put_in_bucket(struct live_index_table *t, enum live_index index, struct live_group *g)
{
    struct live_group **bucket = &t->buckets[g->hashes[index] & (t->cap - 1)];
    g->next[index] = *bucket;
    *bucket = g;
}

/* As many buckets as groups at least. */
static err_t make_room(struct live_index_table *t, enum live_index index)
{
    if (t->n < t->cap) {
        return ERR_OK;
    }
    struct live_index_table larger = {.cap = t->cap == 0 ? BUCKETS_MIN : t->cap * 2, .n = t->n};
    larger.buckets = calloc(larger.cap, sizeof(struct live_group *));
    if (larger.buckets == NULL) {
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < t->cap; i++) {
        struct live_group *g = t->buckets[i];
        while (g != NULL) {
            struct live_group *next = g->next[index];
            put_in_bucket(&larger, index, g);
            g = next;
        }
    }
    free(t->buckets);
    *t = larger;
    return ERR_OK;
}

static err_t add(struct live_groups *gs, struct live_group *g)
{
    for (enum live_index i = 0; i < LIVE_INDEXES; i++) {
        err_t err = make_room(&gs->tables[i], i);
        if (err != ERR_OK) {
            return err;
        }
    }
    put_in_bucket(&gs->tables[LIVE_BY_KEY], LIVE_BY_KEY, g);
    gs->tables[LIVE_BY_KEY].n++;
    if (g->wire.of_stream) {
        put_in_bucket(&gs->tables[LIVE_BY_STREAM], LIVE_BY_STREAM, g);
        gs->tables[LIVE_BY_STREAM].n++;
        return ERR_OK;
    }
    g->log_next = gs->log;
    if (gs->log != NULL) {
        gs->log->log_prev = g;
    }
    gs->log = g;
    return ERR_OK;
}

static void take_from_bucket(struct live_groups *gs, enum live_index index, struct live_group *g)
{
    struct live_index_table *t = &gs->tables[index];
    struct live_group **at = &t->buckets[g->hashes[index] & (t->cap - 1)];
    while (*at != g) {
        at = &(*at)->next[index];
    }
    *at = g->next[index];
    t->n--;
}

static void forget_chunks(struct live_group *g)
{
    for (int i = 0; i < LIVE_CHUNKS_KEPT; i++) {
        live_chunk_unref(g->kept[i]);
        g->kept[i] = NULL;
    }
}

static void drop(struct live_groups *gs, struct live_group *g)
{
    if (g->kept[0] != NULL) {
        struct live_group **at = &gs->kept;
        while (*at != g) {
            at = &(*at)->kept_next;
        }
        *at = g->kept_next;
        forget_chunks(g);
    }
    take_from_bucket(gs, LIVE_BY_KEY, g);
    if (g->wire.of_stream) {
        take_from_bucket(gs, LIVE_BY_STREAM, g);
    } else {
        *(g->log_prev == NULL ? &gs->log : &g->log_prev->log_next) = g->log_next;
        if (g->log_next != NULL) {
            g->log_next->log_prev = g->log_prev;
        }
    }
    follower_free(g->follower);
    free(g);
}

/* ---- which groups an event concerns ---- */

/* A stream's reads see its system events only where they ask for them; a group of the stream "$x"
 * always does (api_read.c). */
static bool concerns(const struct live_group *g, const struct event *e)
{
    return g->waiting.n > 0 && store_filter_matches(&follower_query(g->follower)->filter, e);
}

void live_groups_match(struct live_groups *gs, const struct event *e,
                       void (*touch)(void *ctx, struct live_group *g), void *ctx)
{
    if (gs->tables[LIVE_BY_STREAM].n > 0) {
        struct live_group *g = first_of(gs, LIVE_BY_STREAM, bytes_hash(e->stream, HASH_SEED));
        for (; g != NULL; g = g->next[LIVE_BY_STREAM]) {
            if (bytes_equal(follower_query(g->follower)->stream, e->stream) && concerns(g, e)) {
                touch(ctx, g);
            }
        }
    }
    for (struct live_group *g = gs->log; g != NULL; g = g->log_next) {
        if (concerns(g, e)) {
            touch(ctx, g);
        }
    }
}

void live_groups_match_all(struct live_groups *gs, void (*touch)(void *ctx, struct live_group *g),
                           void *ctx)
{
    const struct live_index_table *t = &gs->tables[LIVE_BY_KEY];
    for (size_t i = 0; i < t->cap; i++) {
        for (struct live_group *g = t->buckets[i]; g != NULL; g = g->next[LIVE_BY_KEY]) {
            if (g->waiting.n > 0) {
                touch(ctx, g);
            }
        }
    }
}

/* ---- chunks ---- */

/* One chunk on its way. */
struct reading {
    struct live_chunk *chunk;
    struct wire wire;
};

static err_t put_event(void *ctx, const struct store_record *record)
{
    struct reading *r = ctx;
    err_t err = wire_put_event(&r->chunk->data, r->wire, record);
    if (err != ERR_OK) {
        return err;
    }
    r->chunk->events++;
    return r->chunk->data.n >= LIVE_CHUNK_BYTES ? ERR_FULL : ERR_OK;
}

/* Not taken: the poll's handler reads it. */
static err_t note_event(void *ctx, const struct store_record *record)
{
    struct reading *r = ctx;
    (void)record;
    r->chunk->events = 1;
    return ERR_LIMIT;
}

static err_t read_chunk(struct live_group *g, struct store_view *view, size_t events_max,
                        struct live_chunk *c)
{
    struct reading r = {.chunk = c, .wire = g->wire};
    follower_seek(g->follower, c->from);
    if (!g->is_poll && !g->wire.of_stream && store_view_position(view) > c->from + MANY_EVENTS) {
        (void)buf_reserve(&c->data, LIVE_CHUNK_BYTES + CHUNK_SLACK);
    }
    const struct follower_limits limits = {.events = events_max, .bytes = LIVE_CHUNK_BYTES};
    err_t err = follower_next(g->follower, view, &limits, g->is_poll ? note_event : put_event, &r,
                              &c->caught_up);
    c->reached = follower_checkpoint(g->follower);
    return g->is_poll && c->events > 0 ? ERR_OK : err;
}

err_t live_group_read(struct live_groups *gs, struct live_group *g, struct store_view *view,
                      uint64_t from, size_t events_max, struct live_chunk **ret)
{
    struct live_chunk *c = events_max == 0 ? kept_chunk(g, from) : NULL;
    if (c != NULL) {
        c->refs++;
        *ret = c;
        return ERR_OK;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    c->refs = 1;
    c->from = from;
    buf_init(&c->data, CHUNK_BYTES_MAX);
    err_t err = read_chunk(g, view, events_max, c);
    if (err != ERR_OK) {
        /* What came before a damaged record is sent; the next read, from there, finds the
         * damage. */
        if (c->events == 0) {
            live_chunk_unref(c);
            return err;
        }
        c->caught_up = false;
    }
    if (events_max == 0) {
        keep_chunk(gs, g, c);
    }
    *ret = c;
    return ERR_OK;
}

static struct live_chunk *kept_chunk(const struct live_group *g, uint64_t from)
{
    for (int i = 0; i < LIVE_CHUNKS_KEPT; i++) {
        if (g->kept[i] != NULL && g->kept[i]->from == from) {
            return g->kept[i];
        }
    }
    return NULL;
}

/* The newest first; nobody else will come for what a group of one has read. */
static void keep_chunk(struct live_groups *gs, struct live_group *g, struct live_chunk *c)
{
    if (g->members < 2) {
        return;
    }
    if (g->kept[0] == NULL) {
        g->kept_next = gs->kept;
        gs->kept = g;
    }
    live_chunk_unref(g->kept[LIVE_CHUNKS_KEPT - 1]);
    for (int i = LIVE_CHUNKS_KEPT - 1; i > 0; i--) {
        g->kept[i] = g->kept[i - 1];
    }
    g->kept[0] = c;
    c->refs++;
}

void live_groups_forget(struct live_groups *gs)
{
    while (gs->kept != NULL) {
        struct live_group *g = gs->kept;
        gs->kept = g->kept_next;
        g->kept_next = NULL;
        forget_chunks(g);
    }
}
