/* deadlines: a binary heap; each item knows its place. */
#include "server/deadlines.h"

#include "storage/base/check.h"

#include <stdlib.h>

static void put(struct deadlines *h, struct deadline *d, size_t place);
static void sift_up(struct deadlines *h, struct deadline *d);
static void sift_down(struct deadlines *h, struct deadline *d);

void deadlines_init(struct deadlines *h)
{
    *h = (struct deadlines){0};
}

void deadlines_done(struct deadlines *h)
{
    free(h->items);
    deadlines_init(h);
}

err_t deadlines_reserve(struct deadlines *h, size_t n)
{
    if (n <= h->cap) {
        return ERR_OK;
    }
    size_t cap = n < h->cap * 2 ? h->cap * 2 : n;
    struct deadline **items = realloc(h->items, cap * sizeof(*items));
    if (items == NULL) {
        return ERR_MEMORY;
    }
    h->items = items;
    h->cap = cap;
    return ERR_OK;
}

void deadlines_set(struct deadlines *h, struct deadline *d, int64_t at_us)
{
    if (d->place == 0) {
        CHECK(h->n < h->cap);
        put(h, d, ++h->n);
    }
    d->at_us = at_us;
    sift_up(h, d);
    sift_down(h, d);
}

void deadlines_remove(struct deadlines *h, struct deadline *d)
{
    size_t place = d->place;
    if (place == 0) {
        return;
    }
    d->place = 0;
    struct deadline *last = h->items[--h->n];
    if (last != d) {
        put(h, last, place);
        sift_up(h, last);
        sift_down(h, last);
    }
}

struct deadline *deadlines_first(const struct deadlines *h)
{
    return h->n == 0 ? NULL : h->items[0];
}

static void put(struct deadlines *h, struct deadline *d, size_t place)
{
    h->items[place - 1] = d;
    d->place = place;
}

static void sift_up(struct deadlines *h, struct deadline *d)
{
    while (d->place > 1) {
        struct deadline *above = h->items[d->place / 2 - 1];
        if (above->at_us <= d->at_us) {
            return;
        }
        size_t place = above->place;
        put(h, above, d->place);
        put(h, d, place);
    }
}

static void sift_down(struct deadlines *h, struct deadline *d)
{
    for (;;) {
        size_t child = d->place * 2;
        if (child < h->n && h->items[child]->at_us < h->items[child - 1]->at_us) {
            child++;
        }
        if (child > h->n || h->items[child - 1]->at_us >= d->at_us) {
            return;
        }
        struct deadline *below = h->items[child - 1];
        put(h, below, d->place);
        put(h, d, child);
    }
}
