/* feed: a position, and who sleeps until it moves.
 *
 * Nobody sleeps through a publication: the sleeper says that it sleeps and then looks at the
 * position, the publisher stores the position and then looks who sleeps. All four are sequentially
 * consistent, so at least one of the two sees the other. */
#include "server/feed.h"

#include <sys/eventfd.h>
#include <unistd.h>

void feed_init(struct feed *f, uint64_t position)
{
    atomic_init(&f->position, position);
    atomic_init(&f->sleepers, NULL);
}

void feed_publish(struct feed *f, uint64_t position)
{
    atomic_store(&f->position, position);
    for (struct feed_sleeper *s = atomic_load(&f->sleepers); s != NULL; s = s->next) {
        if (atomic_load(&s->asleep) && atomic_exchange(&s->asleep, false)) {
            feed_wake(s);
        }
    }
}

uint64_t feed_position(const struct feed *f)
{
    return atomic_load(&f->position);
}

err_t feed_add_sleeper(struct feed *f, struct feed_sleeper *ret)
{
    ret->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ret->event_fd < 0) {
        return ERR_MEMORY;
    }
    atomic_init(&ret->asleep, false);
    ret->next = atomic_load(&f->sleepers);
    while (!atomic_compare_exchange_weak(&f->sleepers, &ret->next, ret)) {
    }
    return ERR_OK;
}

void feed_sleeper_done(struct feed_sleeper *s)
{
    close(s->event_fd);
    s->event_fd = -1;
}

bool feed_sleep(struct feed *f, struct feed_sleeper *s, uint64_t seen)
{
    atomic_store(&s->asleep, true);
    if (atomic_load(&f->position) == seen) {
        return true;
    }
    atomic_store(&s->asleep, false);
    return false;
}

void feed_awake(struct feed_sleeper *s)
{
    atomic_store_explicit(&s->asleep, false, memory_order_relaxed);
}

void feed_wake(struct feed_sleeper *s)
{
    uint64_t one = 1;
    (void)!write(s->event_fd, &one, sizeof one);
}
