/* bench_consume: consumers of a group, all on epoll in the calling thread: each fetches a batch of
 * events, acknowledges it, and begins again. One thread. */
#ifndef DAYBOOK_BENCH_CONSUME_H
#define DAYBOOK_BENCH_CONSUME_H

#include "bench_work.h"

/* Until `events` events were acknowledged (0: no limit), or for the time. `ret` has the latency of
 * fetches and acks, and the number of events acknowledged. A lease that is lost is a failure. */
bool bench_consume_run(const char *url, const struct bench_config *config, struct bench_stats *ret);

#endif
