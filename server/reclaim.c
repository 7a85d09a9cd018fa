/* reclaim: see reclaim.h. */
#include "server/reclaim.h"

#include <time.h>

#include "server/log.h"

#define US_PER_SECOND 1000000
/* Between the end of a pass and the next one that a command asks for: four times as long as it
 * took, within bounds, so that many deletions share the cost of wiping files. */
#define PAUSE_FACTOR 4
#define PAUSE_US_MIN US_PER_SECOND
#define PAUSE_US_MAX (10 * US_PER_SECOND)

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

static int64_t next_interval(const struct reclaim *r)
{
    return r->interval_s == 0 ? INT64_MAX
                              : now_us(CLOCK_MONOTONIC) + (int64_t)r->interval_s * US_PER_SECOND;
}

void reclaim_init(struct reclaim *r, struct store *s, unsigned interval_s)
{
    *r = (struct reclaim){.store = s, .interval_s = interval_s};
    r->interval_us = next_interval(r);
}

int64_t reclaim_due_us(const struct reclaim *r)
{
    bool wanted = r->under_way || store_reclaim_is_wanted(r->store);
    return wanted ? r->next_us : r->interval_us;
}

static int64_t pause_after(int64_t took_us)
{
    int64_t pause_us = took_us * PAUSE_FACTOR;
    return pause_us < PAUSE_US_MIN   ? PAUSE_US_MIN
           : pause_us > PAUSE_US_MAX ? PAUSE_US_MAX
                                     : pause_us;
}

err_t reclaim_step(struct reclaim *r)
{
    if (!r->under_way) {
        r->began_us = now_us(CLOCK_MONOTONIC);
    }
    err_t err = store_reclaim(r->store, now_us(CLOCK_REALTIME), &r->under_way);
    r->next_us = 0;
    if (err == ERR_CORRUPT && !r->told_damage) {
        r->told_damage = true;
        log_line(LOG_LEVEL_ERROR, "reclaim stopped at damaged data",
                 log_text("hint", "run daybook verify"));
    }
    if (err == ERR_DISK_FULL || err == ERR_CORRUPT) {
        err = ERR_OK;
        r->under_way = false;
    }
    if (!r->under_way) {
        /* Done, or waiting for readers or space. */
        r->interval_us = next_interval(r);
        int64_t now = now_us(CLOCK_MONOTONIC);
        r->next_us = now + pause_after(now - r->began_us);
    }
    return err;
}
