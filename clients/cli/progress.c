/* progress: see progress.h. */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SHOW_EVERY_MS 200

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void progress_start(struct progress *p, bool quiet)
{
    *p = (struct progress){.shown = !quiet && isatty(STDERR_FILENO) == 1, .start_ms = now_ms()};
    p->last_ms = p->start_ms;
}

bool progress_is_due(const struct progress *p)
{
    return p->shown && now_ms() - p->last_ms >= SHOW_EVERY_MS;
}

void progress_show(struct progress *p, uint64_t events, uint64_t done, uint64_t all)
{
    if (!p->shown) {
        return;
    }
    p->last_ms = now_ms();
    double seconds = progress_seconds(p);
    (void)fprintf(stderr, "\r%" PRIu64 " events, %.0f/s", events,
                  seconds > 0 ? (double)events / seconds : 0);
    if (all > 0 && done > 0 && done <= all) {
        double left_s = seconds * (double)(all - done) / (double)done;
        (void)fprintf(stderr, ", %.0f %%, %.0f s left", 100.0 * (double)done / (double)all, left_s);
    }
    (void)fprintf(stderr, "\033[K");
    (void)fflush(stderr);
}

void progress_show_bytes(struct progress *p, uint64_t bytes)
{
    if (p->shown) {
        double seconds = progress_seconds(p), mib = (double)bytes / (1 << 20);
        p->last_ms = now_ms();
        (void)fprintf(stderr, "\r%.1f MiB, %.1f MiB/s\033[K", mib, seconds > 0 ? mib / seconds : 0);
        (void)fflush(stderr);
    }
}

void progress_clear(struct progress *p)
{
    if (p->shown) {
        (void)fprintf(stderr, "\r\033[K");
        (void)fflush(stderr);
    }
}

double progress_seconds(const struct progress *p)
{
    return (double)(now_ms() - p->start_ms) / 1000.0;
}
