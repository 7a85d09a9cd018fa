/* writer_int: what the writer's thread (writer.c) and the applier's (applier.c) share. */
#ifndef DAYBOOK_SERVER_WRITER_INT_H
#define DAYBOOK_SERVER_WRITER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "server/reclaim.h"
#include "server/writer.h"

#define WRITER_GROUP_COMMANDS_MAX 1024
#define WRITER_US_PER_SECOND      1000000

struct writer {
    struct writer_options options;
    pthread_t writer_thread;
    pthread_t applier_thread;

    pthread_mutex_t mutex;
    pthread_cond_t work;  /* the writer sleeps on it */
    pthread_cond_t apply; /* the applier sleeps on it */
    pthread_cond_t room;  /* the writer waits on it while the tail is full */
    struct writer_job *head, *tail;
    size_t queue_commands, queue_bytes;
    bool writer_sleeps;
    bool committing;  /* somebody has the group below */
    bool stopping;    /* no more submits */
    bool writer_done; /* the applier is to apply what is left and end */
    _Atomic bool failed;
    bool disk_full;
    int64_t unapplied_since_us; /* monotonic; 0: nothing waits to be applied */
    size_t unapplied_bytes;     /* committed since the applier was last woken for them */
    bool apply_wanted, flush_wanted;
    uint64_t apply_steps;
    uint64_t groups, commands;
    struct reclaim reclaim; /* the applier's */

    /* Of the thread that has set `committing`: the group that is being committed. */
    int64_t commit_us; /* how long that takes, a moving average */
    int64_t took_us;   /* the last time */
    size_t n;
    size_t events;
    size_t bytes;
    struct command *group[WRITER_GROUP_COMMANDS_MAX];
    struct writer_job *jobs[WRITER_GROUP_COMMANDS_MAX];
    struct http_request *requests[WRITER_GROUP_COMMANDS_MAX];
};

/* The applier's thread; ctx is the writer. */
void *writer_run_applier(void *ctx);

/* Either thread; only the first failure is told. */
void writer_fail(struct writer *w, err_t err);

int64_t writer_clock_us(clockid_t clock);

#endif
