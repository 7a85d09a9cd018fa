/* bench_follow: followers of the whole log, all on epoll in the calling thread, perhaps beside
 * appends whose events they wait for.
 *
 * One thread. What goes wrong is reported with cli_error: an event that is missing, comes twice or
 * out of order ends the run. */
#ifndef DAYBOOK_BENCH_FOLLOW_H
#define DAYBOOK_BENCH_FOLLOW_H

#include "bench_work.h"

/* Opens the followers and waits until each has caught up; says so on stderr. Then, with
 * connections, each appends an event, waits until every follower has it, and begins again, for the
 * time or number of requests that the configuration says; without, followers take what comes until
 * each has `events` events, or for the time. `ret` then has the latency of the appends, that of the
 * deliveries after them, and the number of events delivered. With until_caught_up it ends, and what
 * is measured is, the catching up. */
bool bench_follow_run(const char *url, const struct bench_config *config, struct bench_stats *ret);

#endif
