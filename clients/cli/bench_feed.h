/* bench_feed: counts the events of a live read of the whole log as it arrives, server-sent events
 * or NDJSON, and checks that each is the one behind the last.
 *
 * It looks at the beginnings of lines only, and holds no more of them. One thread. */
#ifndef DAYBOOK_BENCH_FEED_H
#define DAYBOOK_BENCH_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_FEED_HEAD 40 /* bytes of a line that are looked at */

/* {0} at first, but for `ndjson`. */
struct bench_feed {
    bool ndjson;
    uint64_t events;    /* so far */
    uint64_t number;    /* position of the last event; 0: none yet */
    uint64_t gaps;      /* events that did not follow the one before */
    uint64_t caught_up; /* how often it was said */
    /* Where it stands. */
    uint64_t id;
    bool has_data, is_control;
    size_t head_n;
    char head[BENCH_FEED_HEAD];
};

void bench_feed_take(struct bench_feed *f, const char *p, size_t n);

#endif
