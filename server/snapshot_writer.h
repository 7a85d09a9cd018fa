/* snapshot_writer: the thread that writes clients' snapshots: what is asked for while it is busy
 * shares one synced transaction, as with the log's writer. It also takes back what deletions and
 * redactions have ended, and wipes its bytes.
 *
 * Any loop's thread may submit and kick. */
#ifndef DAYBOOK_SERVER_SNAPSHOT_WRITER_H
#define DAYBOOK_SERVER_SNAPSHOT_WRITER_H

#include "projections/snapshots.h"

struct http_request;
struct snapshot_writer;

struct snapshot_writer_options {
    struct store *store;
    struct snapshots *snapshots;
    const char *dir; /* of the data; copied */
    uint64_t disk_free_min_bytes;
    size_t queue_max; /* requests that wait; more are refused */
};

/* One request; in its arena, with all that it points to. */
struct snapshot_job {
    struct http_request *request; /* suspended; resumed when it is done */
    struct bytes stream;
    const struct snapshot *put; /* NULL: delete */
    /* Set by the thread. ERR_OK: the result says what was done, durably. ERR_DISK_FULL, … */
    err_t error;
    struct snapshot_result result;
    uint64_t position; /* that the answer reflects */
    struct snapshot_job *next;
};

MUST_CHECK err_t snapshot_writer_start(const struct snapshot_writer_options *options,
                                       struct snapshot_writer **ret);
/* Finishes what waits, refuses what comes later, joins the thread. NULL is fine. */
void snapshot_writer_stop(struct snapshot_writer *w);
/* After snapshot_writer_stop. NULL is fine. */
void snapshot_writer_free(struct snapshot_writer *w);

/* The request is suspended before. ERR_FULL: too many wait; ERR_CLOSED: it has stopped; then the
 * request is not resumed. */
MUST_CHECK err_t snapshot_writer_submit(struct snapshot_writer *w, struct snapshot_job *job);
/* Something was deleted or redacted. */
void snapshot_writer_kick(struct snapshot_writer *w);

#endif
