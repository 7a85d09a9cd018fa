/* journal_file: the inside of the engine on files, for journal_file.c and journal_purge.c. */
#ifndef DAYBOOK_STORAGE_JOURNAL_FILE_H
#define DAYBOOK_STORAGE_JOURNAL_FILE_H

#include <pthread.h>

#include "storage/journal_segment.h"

struct segment {
    uint64_t base, size, salt;
    uint64_t last_position; /* of the last group in it; 0: none */
    bool recycled;          /* an older life's groups may stand behind its own */
};

struct journal_file {
    struct journal base;
    struct journal_file_options options;
    int dir_fd;

    /* The writer's, and under `writing` for the rare time that a purge changes segments. Who takes
     * both locks takes this one first. */
    pthread_mutex_t writing;
    int fd;                /* of the active segment, -1: none yet */
    struct segment active; /* changes under both locks */
    uint64_t at;           /* where the next group goes, from the start of the active segment */
    bool failed;

    /* Under the lock, which the writer takes only when it changes segments. */
    pthread_mutex_t lock;
    struct segment *old; /* full ones, oldest first */
    size_t old_count, old_cap;
    bool next_ready; /* the segment after the active one stands prepared */
    bool next_recycled;
    uint64_t next_salt;
    bool free_ready;       /* a recycled file waits under JOURNAL_FREE_NAME */
    bool removal_unsynced; /* the oldest segment's name is gone, but not for good yet */

    /* The trimming thread's. */
    uint64_t purged;     /* the last position that a purge was asked for */
    uint64_t purge_base; /* what begins before this is deleted, never recycled */
};

static inline struct journal_file *self(struct journal *j)
{
    return (struct journal_file *)j;
}

static inline uint64_t end_of(const struct segment *s)
{
    return s->base + s->size;
}

/* Where the segment after the active one starts. */
static inline uint64_t next_base(const struct journal_file *j)
{
    return end_of(&j->active);
}

/* Makes every name of the directory durable; under the lock. */
MUST_CHECK err_t journal_sync_names(struct journal_file *j);
/* Has the next segment ready; under the lock. */
MUST_CHECK err_t journal_prepare_locked(struct journal_file *j);
/* Makes the next segment the active one; under both locks. */
MUST_CHECK err_t journal_roll_locked(struct journal_file *j);

/* Methods of the journal (journal.h). */
MUST_CHECK err_t journal_file_trim(struct journal *base, uint64_t position, bool idle);
MUST_CHECK err_t journal_file_purge(struct journal *base, uint64_t position, uint64_t applied,
                                    bool *ret_done);

#endif
