/* bench_work: the workloads of `daybook bench`: what each prepares, sends, and takes for a good
 * answer.
 *
 * One thread. What goes wrong is reported with cli_error. */
#ifndef DAYBOOK_BENCH_WORK_H
#define DAYBOOK_BENCH_WORK_H

#include "bench_load.h"

enum bench_workload {
    BENCH_APPEND,
    BENCH_POST, /* the requests of append, to some other path */
    BENCH_READ_STREAM,
    BENCH_READ_LOG,
    BENCH_TAGGED,  /* one event with two tags a request */
    BENCH_FOLLOW,  /* bench_follow.h */
    BENCH_CONSUME, /* bench_consume.h */
};

struct bench_config {
    uint64_t connections;
    uint64_t batch;    /* events in a request */
    uint64_t payload;  /* bytes of an event's data */
    uint64_t streams;  /* how many are written or read */
    uint64_t events;   /* of a stream that is read */
    uint64_t requests; /* stop after so many; 0: no limit */
    uint64_t seconds;  /* stop after so long; 0: no limit */
    uint64_t warmup_ms;
    uint64_t rate;      /* of BENCH_APPEND: requests a second; 0: as fast as they are answered */
    uint64_t followers; /* of BENCH_FOLLOW */
    bool ndjson;        /* how they follow; else server-sent events */
    bool from_start;    /* where from; else from the end */
    bool until_caught_up;
    uint64_t spin_us;  /* see bench_load_set_spin */
    const char *path;  /* of BENCH_POST */
    const char *group; /* of BENCH_CONSUME */
    enum bench_workload workload;
    bool exact; /* expected_revision is the stream's head, else "any" */
    bool protobuf;
    bool ids;       /* events have ids of the client's */
    bool condition; /* of BENCH_TAGGED */
};

/* Opens the connections, prepares the server's streams, warms up, measures. False: it could not be
 * done, and why was reported. Failed requests are in the statistics, those of the warm-up as
 * well. */
bool bench_work_run(const char *url, const struct bench_config *config, struct bench_stats *ret);

#endif
