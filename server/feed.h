/* feed: "the committed position has moved on", told to threads that wait for it. It carries a
 * position, never events.
 *
 * One thread publishes (the writer's, after each group); any number of threads ask; each that
 * sleeps has a sleeper of its own, with an eventfd to put into its epoll set. Publishing is one
 * store, and a system call only for those that really sleep. */
#ifndef DAYBOOK_SERVER_FEED_H
#define DAYBOOK_SERVER_FEED_H

#include "storage/base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct feed_sleeper {
    int event_fd; /* readable after a wake-up; watch it edge-triggered, then nobody has to read it
                   */
    _Atomic bool asleep;
    struct feed_sleeper *next;
};

struct feed {
    _Atomic uint64_t position;
    _Atomic(struct feed_sleeper *) sleepers;
};

void feed_init(struct feed *f, uint64_t position);
/* The publisher's thread; a view that is opened afterwards has what was committed up to there. */
void feed_publish(struct feed *f, uint64_t position);
/* Any thread. */
uint64_t feed_position(const struct feed *f);

/* Makes the eventfd and adds the sleeper for ever: it must stay until nobody publishes any more,
 * then feed_sleeper_done. ERR_MEMORY: no descriptor. */
MUST_CHECK err_t feed_add_sleeper(struct feed *f, struct feed_sleeper *ret);
void feed_sleeper_done(struct feed_sleeper *s);

/* The sleeper's thread, before it waits: false, and it must not wait, where the position is not
 * `seen` any more. True: a publication from now on wakes it, once. */
bool feed_sleep(struct feed *f, struct feed_sleeper *s, uint64_t seen);
/* After it waited, whatever woke it. */
void feed_awake(struct feed_sleeper *s);
/* Any thread: wakes the sleeper for another reason. */
void feed_wake(struct feed_sleeper *s);

#endif
