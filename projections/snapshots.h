/* snapshots: clients' snapshots of streams, one a stream, in the state environment (state_env.h).
 *
 * Whether a snapshot is there is decided by the log: a deletion of its stream that was committed
 * after it was put ends it, and so does a redaction of an event that may be in it, since its data
 * may be too. Those events (change.h) are folded when something is written; a reader judges by
 * itself what was not folded yet, so that a snapshot is gone for everybody from the moment of the
 * commit, wherever a process dies.
 *
 * Passive: no thread, no clock. Writing is for one thread at a time, reading for any. */
#ifndef DAYBOOK_PROJECTIONS_SNAPSHOTS_H
#define DAYBOOK_PROJECTIONS_SNAPSHOTS_H

#include "projections/snapshot_row.h"
#include "storage/base/buf.h"
#include "storage/store.h"

struct snapshots;

/* The environment stays the caller's and open until snapshots_close. `bytes_max`: of all
 * snapshots. */
MUST_CHECK err_t snapshots_open(struct state_env *env, uint64_t bytes_max, struct snapshots **ret,
                                struct err_text *et);
/* NULL is fine. */
void snapshots_close(struct snapshots *s);

/* ---- writing ---- */

enum snapshot_verdict {
    SNAPSHOT_DONE,
    SNAPSHOT_NO_STREAM,
    SNAPSHOT_STREAM_DELETED,
    SNAPSHOT_STALE,       /* one of a higher revision is there: `revision` */
    SNAPSHOT_BEYOND_HEAD, /* the stream has no such event yet: `revision` is its head */
    SNAPSHOT_OF_DELETED,  /* the stream was deleted at that revision or later: `revision` */
    SNAPSHOT_NO_ROOM,     /* bytes_max */
};

struct snapshot_result {
    enum snapshot_verdict verdict;
    bool existed; /* DONE: there was one before */
    uint64_t revision;
    int64_t time_us; /* of the snapshot that was put */
};

/* Begins a transaction, which has the effect of all that the view has; the view stays open until
 * the end of the transaction, and is not older than that of the one before. On an error there is
 * no transaction. ERR_DISK_FULL. */
MUST_CHECK err_t snapshots_begin(struct snapshots *s, struct store_view *v);
/* Puts a snapshot in place of the one that is there, unless that is of a higher revision. `now_us`:
 * the caller's clock. On an error the transaction is to be aborted. ERR_DISK_FULL. */
MUST_CHECK err_t snapshots_put(struct snapshots *s, struct bytes stream, const struct snapshot *put,
                               int64_t now_us, struct snapshot_result *ret);
MUST_CHECK err_t snapshots_delete(struct snapshots *s, struct bytes stream,
                                  struct snapshot_result *ret);
/* Durable when it returns ERR_OK; else nothing was changed. */
MUST_CHECK err_t snapshots_commit(struct snapshots *s);
void snapshots_abort(struct snapshots *s);

/* Whether bytes of snapshots that a deletion or a redaction has ended may still lie in free pages
 * of the file. */
bool snapshots_must_wipe(const struct snapshots *s);
/* Wipes some of them; between transactions. Others who write to the environment wait meanwhile,
 * each time for a few milliseconds. `*ret_waits`: an old reader holds them, try again later. */
MUST_CHECK err_t snapshots_wipe(struct snapshots *s, bool *ret_waits);

/* ---- reading ---- */

/* What was read of one stream; init before, done after. */
struct snapshot_read {
    bool found;
    struct snapshot snapshot; /* borrowed from `row` */
    uint64_t folded;
    struct buf row;
};

void snapshot_read_init(struct snapshot_read *r);
void snapshot_read_done(struct snapshot_read *r);
/* First this, then a view is opened, then snapshots_judge: so the view has what the snapshot is
 * of. ERR_CORRUPT: it is damaged. */
MUST_CHECK err_t snapshots_read(struct snapshots *s, struct bytes stream, struct snapshot_read *r);
/* Takes back `found` where the snapshot is no more. ERR_NOT_FOUND, ERR_GONE: the stream. */
MUST_CHECK err_t snapshots_judge(struct store_view *v, struct bytes stream,
                                 struct snapshot_read *r);

#endif
