/* writer: the writer's thread: takes the queued commands, commits them in groups, completes their
 * requests; and the applier's thread behind it, which moves the tail into LMDB.
 *
 * Any thread may submit. A lone command is committed at once, by the thread that submitted it where
 * that saves two changes of threads; while a group is being synced the next one gathers (group
 * commit, as in Redis' AOF and PostgreSQL's commit_delay = 0). The queue is bounded in commands and
 * bytes. */
#ifndef DAYBOOK_SERVER_WRITER_H
#define DAYBOOK_SERVER_WRITER_H

#include "storage/store.h"

struct feed;
struct writer;
struct http_request;

struct writer_options {
    struct store *store;
    struct feed *feed; /* is told the position after each group; may be NULL */
    size_t queue_commands_max;
    size_t queue_bytes_max;
    unsigned apply_interval_ms;  /* how long a committed event may wait in memory before it is
                                    applied */
    unsigned reclaim_interval_s; /* between looks for what has expired; 0: never */
    /* Called once, on one of the writer's threads, when a commit or an apply failed beyond repair:
     * the process must stop. */
    void (*failed)(void *ctx, err_t err);
    void *ctx;
};

/* One command on its way; embedded in the caller's request context and kept until it was
 * resumed. */
struct writer_job {
    struct command *command;
    struct http_request *request; /* resumed through http_resume_all when decided; may be NULL */
    void (*decided)(struct writer_job *job); /* called instead where request is NULL, on the
                                                writer's thread */
    /* Set by the writer. ERR_OK: the command has its verdict. Else it has none and nothing of it
     * was written: ERR_DISK_FULL (the tail cannot be emptied), or the failure that stops the
     * process. */
    err_t error;
    struct writer_job *next;
};

MUST_CHECK err_t writer_start(const struct writer_options *options, struct writer **ret);
/* Finishes what is queued, refuses what comes later (ERR_CLOSED), applies the tail, joins the
 * threads. NULL is fine. */
void writer_stop(struct writer *w);
/* After writer_stop, when no thread can submit any more. NULL is fine. */
void writer_free(struct writer *w);

/* ERR_FULL: the queue is full, answer 503 with Retry-After. ERR_CLOSED: stopping. On ERR_OK the job
 * belongs to the writer until its request was resumed. */
MUST_CHECK err_t writer_submit(struct writer *w, struct writer_job *job);

/* The same for an event loop: a command that is alone in the queue waits for writer_end_turn, which
 * the loop's thread calls when it has handled all that had come. */
MUST_CHECK err_t writer_submit_in_turn(struct writer *w, struct writer_job *job);
/* Commits a command that came alone, on this thread; where commits take long, or more commands have
 * come since, the writer's thread is woken instead. */
void writer_end_turn(struct writer *w);

struct writer_stats {
    size_t queue_commands, queue_commands_max;
    uint64_t groups, commands; /* committed since the start */
    bool disk_full;
};
void writer_get_stats(struct writer *w, struct writer_stats *ret);

#endif
