/* group_set: a pool of nodes, two heaps over it, and a queue for each stream. */
#include "projections/group_set.h"

#include <stdlib.h>

#include "storage/base/check.h"

/* ---- heaps: `ready` by position, `due` by time ---- */

static bool is_before(const struct group_set *s, const struct group_heap *h, uint32_t a, uint32_t b)
{
    const struct group_node *x = &s->nodes[a], *y = &s->nodes[b];
    if (h == &s->due && x->due_us != y->due_us) {
        return x->due_us < y->due_us;
    }
    return x->position < y->position;
}

static void set_place(struct group_set *s, struct group_heap *h, uint32_t place, uint32_t node)
{
    h->items[place] = node;
    s->nodes[node].heap = place;
}

static void sift_up(struct group_set *s, struct group_heap *h, uint32_t node)
{
    uint32_t place = s->nodes[node].heap;
    while (place > 0 && is_before(s, h, node, h->items[(place - 1) / 2])) {
        set_place(s, h, place, h->items[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    set_place(s, h, place, node);
}

static void sift_down(struct group_set *s, struct group_heap *h, uint32_t node)
{
    uint32_t place = s->nodes[node].heap;
    for (uint32_t child = 2 * place + 1; child < h->n; child = 2 * place + 1) {
        if (child + 1 < h->n && is_before(s, h, h->items[child + 1], h->items[child])) {
            child++;
        }
        if (!is_before(s, h, h->items[child], node)) {
            break;
        }
        set_place(s, h, place, h->items[child]);
        place = child;
    }
    set_place(s, h, place, node);
}

static void heap_push(struct group_set *s, struct group_heap *h, uint32_t node)
{
    s->nodes[node].heap = h->n++;
    sift_up(s, h, node);
}

static void heap_remove(struct group_set *s, struct group_heap *h, uint32_t node)
{
    uint32_t place = s->nodes[node].heap;
    CHECK(place < h->n && h->items[place] == node);
    uint32_t last = h->items[--h->n];
    if (last != node) {
        set_place(s, h, place, last);
        sift_up(s, h, last);
        sift_down(s, h, last);
    }
}

/* ---- memory ---- */

void group_set_init(struct group_set *s, bool ordered)
{
    *s = (struct group_set){
        .ordered = ordered, .free_nodes = GROUP_NONE, .free_streams = GROUP_NONE};
}

void group_set_done(struct group_set *s)
{
    free(s->nodes);
    free(s->streams);
    free(s->ready.items);
    free(s->due.items);
    free(s->dirty_pages);
    group_map_done(&s->by_position);
    group_map_done(&s->by_stream);
    group_map_done(&s->dirty);
}

static bool resize(void *pointer, size_t n, size_t size)
{
    void **at = pointer;
    void *p = realloc(*at, n * size);
    if (p == NULL) {
        return false;
    }
    *at = p;
    return true;
}

/* Room for one node more, in everything that may hold it. In small steps, since a group's memory
 * counts a thousand times. */
static bool make_room(struct group_set *s)
{
    uint32_t live = s->used;
    if (s->free_nodes == GROUP_NONE && s->used == s->cap) {
        uint32_t cap = s->cap + (s->cap < 256 ? 64 : s->cap / 4);
        if (!resize(&s->nodes, cap, sizeof *s->nodes) ||
            !resize(&s->streams, cap, sizeof *s->streams) ||
            !resize(&s->ready.items, cap, sizeof *s->ready.items) ||
            !resize(&s->due.items, cap, sizeof *s->due.items)) {
            return false;
        }
        s->cap = cap;
    }
    return group_map_reserve(&s->by_position, (size_t)live + 1) == ERR_OK &&
           group_map_reserve(&s->by_stream, (size_t)live + 1) == ERR_OK;
}

uint32_t group_set_add(struct group_set *s, uint64_t position, uint64_t stream)
{
    if (!make_room(s)) {
        s->status = ERR_MEMORY;
        return GROUP_NONE;
    }
    uint32_t node = s->free_nodes;
    if (node == GROUP_NONE) {
        node = s->used++;
    } else {
        s->free_nodes = s->nodes[node].next;
    }
    s->nodes[node] = (struct group_node){.position = position,
                                         .stream = stream,
                                         .state = GROUP_NODE_DETACHED,
                                         .prev = GROUP_NONE,
                                         .next = GROUP_NONE,
                                         .batch = GROUP_NONE};
    CHECK(group_map_get(&s->by_position, position) == GROUP_NONE);
    group_map_put(&s->by_position, position, node);
    s->counts[GROUP_NODE_DETACHED]++;
    return node;
}

uint32_t group_set_find(const struct group_set *s, uint64_t position)
{
    return group_map_get(&s->by_position, position);
}

void group_set_free(struct group_set *s, uint32_t node)
{
    CHECK(s->nodes[node].state == GROUP_NODE_DETACHED);
    group_map_remove(&s->by_position, s->nodes[node].position);
    s->counts[GROUP_NODE_DETACHED]--;
    s->nodes[node].position = 0; /* nobody's */
    s->nodes[node].next = s->free_nodes;
    s->free_nodes = node;
}

uint64_t group_stream_key(struct bytes stream)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < stream.n; i++) {
        hash = (hash ^ stream.p[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

/* ---- pages ---- */

static void touch(struct group_set *s, uint64_t position)
{
    uint64_t page = position >> GROUP_PAGE_SHIFT;
    if (group_map_get(&s->dirty, page) != GROUP_NONE) {
        return;
    }
    size_t n = s->dirty.n;
    if (n == s->dirty_cap) {
        size_t cap = n == 0 ? 16 : 2 * n;
        if (!resize(&s->dirty_pages, cap, sizeof *s->dirty_pages)) {
            s->status = ERR_MEMORY;
            return;
        }
        s->dirty_cap = cap;
    }
    if (group_map_reserve(&s->dirty, n + 1) != ERR_OK) {
        s->status = ERR_MEMORY;
        return;
    }
    s->dirty_pages[n] = page;
    group_map_put(&s->dirty, page, (uint32_t)n);
}

size_t group_set_dirty(const struct group_set *s, const uint64_t **ret_pages)
{
    *ret_pages = s->dirty_pages;
    return s->dirty.n;
}

/* A step that changed very much does not keep its memory. */
void group_set_clean(struct group_set *s)
{
    if (s->dirty.cap > 1024) {
        group_map_done(&s->dirty);
    } else {
        group_map_clear(&s->dirty);
    }
}

/* ---- states ---- */

static void set_state(struct group_set *s, uint32_t node, enum group_node_state state)
{
    s->counts[s->nodes[node].state]--;
    s->counts[state]++;
    s->nodes[node].state = (uint8_t)state;
}

/* Into the heap that its due time asks for. */
static void make_deliverable(struct group_set *s, uint32_t node)
{
    bool now = s->nodes[node].due_us == 0;
    set_state(s, node, now ? GROUP_NODE_READY : GROUP_NODE_WAITING);
    heap_push(s, now ? &s->ready : &s->due, node);
}

static void leave_heap(struct group_set *s, uint32_t node)
{
    const struct group_node *n = &s->nodes[node];
    if (n->state == GROUP_NODE_READY) {
        heap_remove(s, &s->ready, node);
    } else if (n->state == GROUP_NODE_WAITING ||
               (n->state == GROUP_NODE_LEASED && !n->committing)) {
        heap_remove(s, &s->due, node);
    }
}

static bool is_deliverable(const struct group_node *n)
{
    return n->state == GROUP_NODE_READY || n->state == GROUP_NODE_WAITING;
}

static void demote(struct group_set *s, uint32_t node)
{
    if (is_deliverable(&s->nodes[node])) {
        leave_heap(s, node);
        set_state(s, node, GROUP_NODE_HELD);
    }
}

/* ---- streams ---- */

static struct group_stream *stream_of(struct group_set *s, uint64_t key)
{
    uint32_t found = group_map_get(&s->by_stream, key);
    if (found == GROUP_NONE) {
        found = s->free_streams;
        if (found == GROUP_NONE) {
            found = s->streams_used++;
        } else {
            s->free_streams = s->streams[found].head;
        }
        CHECK(found < s->cap);
        s->streams[found] =
            (struct group_stream){.key = key, .head = GROUP_NONE, .tail = GROUP_NONE};
        group_map_put(&s->by_stream, key, found);
    }
    return &s->streams[found];
}

/* Lets the first one go if it may; forgets a stream with nothing in it. */
static void stream_settle(struct group_set *s, struct group_stream *stream)
{
    if (stream->head == GROUP_NONE && stream->leased == 0) {
        group_map_remove(&s->by_stream, stream->key);
        stream->head = s->free_streams;
        s->free_streams = (uint32_t)(stream - s->streams);
        return;
    }
    if (stream->head == GROUP_NONE) {
        return;
    }
    const struct group_node *first = &s->nodes[stream->head];
    if (stream->leased > 0) {
        demote(s, stream->head);
    } else if (first->state == GROUP_NODE_HELD) {
        make_deliverable(s, stream->head);
    }
}

/* Puts it where its position says; new ones come last, so the search is from there. */
static void queue_insert(struct group_set *s, struct group_stream *stream, uint32_t node)
{
    struct group_node *n = &s->nodes[node];
    uint32_t before = stream->tail;
    while (before != GROUP_NONE && s->nodes[before].position > n->position) {
        before = s->nodes[before].prev;
    }
    n->prev = before;
    n->next = before == GROUP_NONE ? stream->head : s->nodes[before].next;
    if (before == GROUP_NONE) {
        if (stream->head != GROUP_NONE) {
            demote(s, stream->head);
        }
        stream->head = node;
    } else {
        s->nodes[before].next = node;
    }
    if (n->next == GROUP_NONE) {
        stream->tail = node;
    } else {
        s->nodes[n->next].prev = node;
    }
}

static void queue_remove(struct group_set *s, struct group_stream *stream, uint32_t node)
{
    struct group_node *n = &s->nodes[node];
    if (n->prev == GROUP_NONE) {
        stream->head = n->next;
    } else {
        s->nodes[n->prev].next = n->next;
    }
    if (n->next == GROUP_NONE) {
        stream->tail = n->prev;
    } else {
        s->nodes[n->next].prev = n->prev;
    }
    n->prev = n->next = GROUP_NONE;
}

/* ---- what the caller does with nodes ---- */

static void enqueue(struct group_set *s, uint32_t node, enum group_node_state state)
{
    CHECK(s->nodes[node].state == GROUP_NODE_DETACHED);
    touch(s, s->nodes[node].position);
    if (!s->ordered) {
        CHECK(state == GROUP_NODE_HELD);
        make_deliverable(s, node);
        return;
    }
    struct group_stream *stream = stream_of(s, s->nodes[node].stream);
    set_state(s, node, state);
    queue_insert(s, stream, node);
    stream_settle(s, stream);
}

void group_set_release(struct group_set *s, uint32_t node)
{
    enqueue(s, node, GROUP_NODE_HELD);
}

void group_set_block(struct group_set *s, uint32_t node)
{
    CHECK(s->ordered);
    enqueue(s, node, GROUP_NODE_BLOCKS);
}

void group_set_lease(struct group_set *s, uint32_t node)
{
    CHECK(s->nodes[node].state == GROUP_NODE_DETACHED);
    set_state(s, node, GROUP_NODE_LEASED);
    if (!s->nodes[node].committing) {
        heap_push(s, &s->due, node);
    }
    if (s->ordered) {
        struct group_stream *stream = stream_of(s, s->nodes[node].stream);
        stream->leased++;
        stream_settle(s, stream);
    }
}

void group_set_detach(struct group_set *s, uint32_t node)
{
    bool leased = s->nodes[node].state == GROUP_NODE_LEASED;
    if (s->nodes[node].state == GROUP_NODE_DETACHED) {
        return;
    }
    leave_heap(s, node);
    if (!leased) {
        touch(s, s->nodes[node].position);
    }
    set_state(s, node, GROUP_NODE_DETACHED);
    if (!s->ordered) {
        return;
    }
    struct group_stream *stream = stream_of(s, s->nodes[node].stream);
    if (leased) {
        CHECK(stream->leased > 0);
        stream->leased--;
    } else {
        queue_remove(s, stream, node);
    }
    stream_settle(s, stream);
}

void group_set_extend(struct group_set *s, uint32_t node, int64_t due_us)
{
    CHECK(s->nodes[node].state == GROUP_NODE_LEASED);
    leave_heap(s, node);
    s->nodes[node].due_us = due_us;
    if (!s->nodes[node].committing) {
        heap_push(s, &s->due, node);
    }
}

void group_set_commit(struct group_set *s, uint32_t node, bool committing)
{
    struct group_node *n = &s->nodes[node];
    CHECK(n->state == GROUP_NODE_LEASED);
    if (n->committing != committing) {
        leave_heap(s, node);
        n->committing = committing;
        if (!committing) {
            heap_push(s, &s->due, node);
        }
    }
}

bool group_set_is_busy(const struct group_set *s, uint64_t stream)
{
    return s->ordered && group_map_get(&s->by_stream, stream) != GROUP_NONE;
}

uint32_t group_set_first(const struct group_set *s)
{
    return s->ready.n == 0 ? GROUP_NONE : s->ready.items[0];
}

uint32_t group_set_next_due(const struct group_set *s)
{
    return s->due.n == 0 ? GROUP_NONE : s->due.items[0];
}

/* Its page stays as it is: a time that is over says the same as none. */
void group_set_wake(struct group_set *s, uint32_t node)
{
    CHECK(s->nodes[node].state == GROUP_NODE_WAITING);
    leave_heap(s, node);
    s->nodes[node].due_us = 0;
    make_deliverable(s, node);
}

void group_set_free_blocks(struct group_set *s)
{
    for (uint32_t i = 0; i < s->used && s->counts[GROUP_NODE_BLOCKS] > 0; i++) {
        if (s->nodes[i].position != 0 && s->nodes[i].state == GROUP_NODE_BLOCKS) {
            group_set_detach(s, i);
            group_set_free(s, i);
        }
    }
}

/* Takes all out in the old order and puts them back in the new one; leases first, so that what is
 * not leased sees them. */
void group_set_order(struct group_set *s, bool ordered)
{
    if (s->ordered == ordered) {
        return;
    }
    group_set_free_blocks(s);
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->nodes[i].position != 0) {
            s->nodes[i].marked = s->nodes[i].state == GROUP_NODE_LEASED;
            group_set_detach(s, i);
        }
    }
    s->ordered = ordered;
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->nodes[i].position != 0 && s->nodes[i].marked) {
            s->nodes[i].marked = false;
            group_set_lease(s, i);
        }
    }
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->nodes[i].position != 0 && s->nodes[i].state == GROUP_NODE_DETACHED) {
            group_set_release(s, i);
        }
    }
}
