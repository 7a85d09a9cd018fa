/* journal_purge: letting segments go. Mostly a file is recycled, and keeps its old bytes until new
 * ones take their place. After a deletion or a redaction that will not do: a purge leaves the
 * active segment for a fresh one, and everything before that is deleted. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "storage/journal_file.h"

/* Where it cannot be done, the segment is still the oldest: one that stays while its successors go
 * would make a hole. */
static err_t drop_oldest(struct journal_file *j, bool recycle)
{
    char name[JOURNAL_NAME_BYTES];
    segment_name(j->old[0].base, name);
    bool fits = j->old[0].size == j->options.segment_bytes;
    bool secret = j->old[0].base < j->purge_base;
    if (recycle && fits && !secret && !j->free_ready &&
        renameat(j->dir_fd, name, j->dir_fd, JOURNAL_FREE_NAME) == 0) {
        j->free_ready = true;
    } else if (unlinkat(j->dir_fd, name, 0) != 0 && errno != ENOENT) {
        return err_from_errno(errno);
    }
    j->removal_unsynced = true;
    j->old_count--;
    memmove(j->old, j->old + 1, j->old_count * sizeof *j->old);
    return ERR_OK;
}

/* A power cut must not bring this one's predecessor back and lose this one: a hole. The sync is
 * seldom needed, since making a segment does it. */
static err_t trim_locked(struct journal_file *j, uint64_t position, bool recycle)
{
    err_t err = ERR_OK;
    while (err == ERR_OK && j->old_count > 0 && j->old[0].last_position <= position) {
        err = j->removal_unsynced ? journal_sync_names(j) : ERR_OK;
        if (err == ERR_OK) {
            err = drop_oldest(j, recycle);
        }
    }
    return err;
}

static void drop_free(struct journal_file *j)
{
    if (j->free_ready) {
        unlinkat(j->dir_fd, JOURNAL_FREE_NAME, 0);
        j->free_ready = false;
    }
}

err_t journal_file_trim(struct journal *base, uint64_t position, bool idle)
{
    struct journal_file *j = self(base);
    pthread_mutex_lock(&j->lock);
    err_t err = trim_locked(j, position, !idle);
    if (idle) {
        drop_free(j);
    }
    pthread_mutex_unlock(&j->lock);
    return err;
}

/* Makes sure that the prepared segment is a fresh file, and nothing waits to be recycled. */
static err_t prepare_fresh(struct journal_file *j)
{
    char name[JOURNAL_NAME_BYTES];
    drop_free(j);
    if (j->next_ready && j->next_recycled) {
        segment_name(next_base(j), name);
        unlinkat(j->dir_fd, name, 0);
        j->next_ready = false;
    }
    return journal_prepare_locked(j);
}

static bool active_is_clean(const struct journal_file *j)
{
    return !j->active.recycled && j->active.last_position == 0;
}

/* Leaves the active segment for the prepared one; the writer may have done it meanwhile. An empty
 * segment may be left only when none stands before it: replay would take it for the end. */
static err_t leave_active(struct journal_file *j, uint64_t fresh_base, bool *ret_left)
{
    bool empty = j->active.last_position == 0;
    *ret_left = j->active.base >= fresh_base || active_is_clean(j);
    if (*ret_left || (empty && j->old_count > 0)) {
        return ERR_OK;
    }
    err_t err = empty && j->removal_unsynced ? journal_sync_names(j) : ERR_OK;
    if (err == ERR_OK) {
        err = journal_roll_locked(j);
    }
    *ret_left = err == ERR_OK;
    return err;
}

static err_t start_purge(struct journal_file *j, uint64_t position, uint64_t applied)
{
    bool left = false;
    pthread_mutex_lock(&j->lock);
    j->purge_base = UINT64_MAX; /* nothing is recycled while it is not known what is clean */
    err_t err = trim_locked(j, applied, false);
    if (err == ERR_OK) {
        err = prepare_fresh(j);
    }
    uint64_t fresh_base = next_base(j);
    pthread_mutex_unlock(&j->lock);
    if (err != ERR_OK) {
        return err;
    }
    pthread_mutex_lock(&j->writing);
    pthread_mutex_lock(&j->lock);
    err = leave_active(j, fresh_base, &left);
    if (left) {
        j->purge_base = j->active.base < fresh_base ? j->active.base : fresh_base;
        j->purged = position;
    }
    pthread_mutex_unlock(&j->lock);
    pthread_mutex_unlock(&j->writing);
    return err;
}

err_t journal_file_purge(struct journal *base, uint64_t position, uint64_t applied, bool *ret_done)
{
    struct journal_file *j = self(base);
    err_t err = j->purged < position ? start_purge(j, position, applied) : ERR_OK;
    *ret_done = false;
    if (err != ERR_OK || j->purged < position) {
        return err;
    }
    pthread_mutex_lock(&j->lock);
    err = trim_locked(j, applied, true);
    bool done = j->old_count == 0 || j->old[0].base >= j->purge_base;
    if (err == ERR_OK && done && j->removal_unsynced) {
        err = journal_sync_names(j);
    }
    *ret_done = err == ERR_OK && done;
    pthread_mutex_unlock(&j->lock);
    return err;
}
