/* state: the document of one stream, folded up to the head of a view: what a model has stored of
 * it, and the events since. The same as a fold from the stream's first event.
 *
 * Where the model stands still, paused or faulted, those events become many. So what was folded can
 * be kept as a snapshot, and the next fold begins there, as long as that is the same: nothing that
 * was folded into it is hidden or redacted since, and the model has not moved. (Where it moves, the
 * events that it does not have become fewer by themselves.)
 *
 * One thread at a time; nothing is kept. */
#ifndef DAYBOOK_PROJECTIONS_STATE_H
#define DAYBOOK_PROJECTIONS_STATE_H

#include "storage/base/buf.h"
#include "storage/store.h"

/* Events that one call folds at most. */
#define STATE_TAIL_MAX 100000

/* A state up to a revision, without its bytes. That the same version of the same model is asked
 * for, with no event taken out of order meanwhile, is the caller's to know. */
struct state_mark {
    uint64_t revision;   /* the stream's head then; 0: no mark */
    uint64_t position;   /* of the view */
    uint64_t checkpoint; /* of the model that it began with … */
    uint64_t from;       /* … and the first revision that was folded on top of that */
    uint64_t changes;    /* revision of CHANGE_STREAM: redactions up to there were seen */
};

struct state_request {
    struct bytes source; /* of the document projection; its documents are by stream */
    struct bytes stream;
    struct bytes stored;           /* the document as JSON; empty: there is none */
    uint64_t checkpoint;           /* of the model, when that was read; the view is not older */
    const struct state_mark *mark; /* of the snapshot; NULL: there is none */
    struct bytes snapshot;         /* its state as JSON; empty: there is no document */
    bool (*cancelled)(void *ctx);  /* asked while handlers run; may be NULL */
    void *cancel_ctx;
};

/* What was folded. */
struct state_result {
    uint64_t folded;        /* events that were read for it */
    struct state_mark mark; /* of the state, to be kept with it */
};

/* Appends the state as JSON: nothing where there is no document. ERR_NOT_FOUND, ERR_GONE: the
 * stream. ERR_UNSUPPORTED: the script has a `key`, so its documents are not by stream. ERR_INVALID,
 * ERR_CLOSED: a handler failed on an event of the tail. ERR_LIMIT: so did it, or the tail is too
 * long. */
MUST_CHECK err_t state_fold(const struct state_request *r, struct store_view *v, struct buf *ret,
                            struct state_result *ret_result, struct err_text *et);

#endif
