/* workers_int: what workers.c (threads, steps, what is known) and workers_models.c (opening,
 * swapping and removing models) share. */
#ifndef DAYBOOK_SERVER_WORKERS_INT_H
#define DAYBOOK_SERVER_WORKERS_INT_H

#include "server/app.h"
#include "server/workers.h"

#include <pthread.h>

#define WORKERS_PATH_MAX    1100
#define WORKERS_READERS_MAX 4 /* idle ones that are kept, of one projection */
#define COUNTS_NAME         "$counts"

/* How fast a version goes, over windows of at least a second. */
struct rate {
    int64_t since_us;
    uint64_t position, events;
    double positions_per_s, events_per_s;
};

/* One version in work. The runner belongs to whoever has claimed the projection; the rest is
 * guarded by the mutex. */
struct part {
    uint64_t version; /* 0: there is none */
    struct runner *runner;
    struct runner_status seen; /* after the last step */
    char fault[WORKERS_TEXT_MAX];
    struct rate rate;
    const struct model_kind *kind;
    uint64_t since, patches; /* see struct workers_model */
    int64_t retry_at_us;     /* after an error that may pass: not before; monotonic */
    int64_t rest_until_us;   /* has caught up, or gives way to appends; monotonic */
    err_t failing;           /* that error; of whoever has claimed it */
    err_t shown_failing;     /* as of the last step */
    int64_t logged_us;       /* when such a one was logged last; 0: never */
};

struct projection {
    char name[CATALOG_NAME_MAX + 1];
    bool builtin, deleted, paused;
    bool claimed;
    int64_t step_since_us;                /* monotonic; 0: no step runs */
    struct catalog_definition definition; /* of the desired version; `source` is not kept */
    struct part serving, building;
    uint64_t wanted; /* the lowest position that somebody waits for, since the last step; 0: nobody
                      */
    uint64_t previous;
    uint64_t readers_version;
    struct reader *readers[WORKERS_READERS_MAX];
    size_t reader_count;
};

struct worker {
    struct workers *workers;
    pthread_t thread;
    struct feed_sleeper sleeper;
};

struct workers {
    struct workers_options options;
    pthread_mutex_t change; /* who plans and commits a definition; taken before `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t unclaimed;
    struct catalog *catalog;
    struct projection **items;
    size_t count, cap, next; /* next: where the search for work begins */
    struct worker *threads;
    size_t started;
    _Atomic bool stopping;
};

/* Claims and unclaims; the mutex is held. workers_show publishes what a claimed projection's
 * runners say. */
void workers_claim(struct workers *w, struct projection *p);
void workers_unclaim(struct workers *w, struct projection *p);
void workers_show(struct workers *w, struct projection *p);
/* Wakes the threads: there is work that no position tells of. */
void workers_kick(struct workers *w);

/* ---- workers_models.c ---- */

MUST_CHECK err_t models_make_dir(const struct workers *w, struct err_text *et);
/* Makes the projection what the catalog says it shall be: opens, closes, pauses; claims it. Not
 * with the mutex held. */
MUST_CHECK err_t models_reconcile(struct workers *w, struct projection *p);
/* Opens the built-in one. */
MUST_CHECK err_t models_open_counts(struct workers *w, struct projection *p);
/* The built version has caught up and is not behind: from now on it serves. Claimed, without the
 * mutex. */
MUST_CHECK err_t models_swap(struct workers *w, struct projection *p);
/* Closes all; claimed or nobody works any more. */
void models_close(struct workers *w, struct projection *p);
/* Removes directories of models that no projection has. At the start. */
void models_clean(struct workers *w);
MUST_CHECK err_t models_dir(const struct workers *w, const char *name, uint64_t version,
                            char ret[WORKERS_PATH_MAX]);

#endif
