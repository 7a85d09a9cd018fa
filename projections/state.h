/* state: the document of one stream, folded up to the head of a view: what a model has stored of
 * it, and the events since. The same as a fold from the stream's first event.
 *
 * One thread at a time; nothing is kept. */
#ifndef DAYBOOK_PROJECTIONS_STATE_H
#define DAYBOOK_PROJECTIONS_STATE_H

#include "storage/base/buf.h"
#include "storage/store.h"

/* Events of the stream that may have come since the model's checkpoint. */
#define STATE_TAIL_MAX 100000

struct state_request {
    struct bytes source; /* of the document projection; its documents are by stream */
    struct bytes stream;
    struct bytes stored;          /* the document as JSON; empty: there is none */
    uint64_t checkpoint;          /* of the model, when that was read; the view is not older */
    bool (*cancelled)(void *ctx); /* asked while handlers run; may be NULL */
    void *cancel_ctx;
};

/* Appends the state as JSON: nothing where there is no document. ERR_NOT_FOUND, ERR_GONE: the
 * stream. ERR_UNSUPPORTED: the script has a `key`, so its documents are not by stream. ERR_INVALID,
 * ERR_CLOSED: a handler failed on an event of the tail. ERR_LIMIT: so did it, or the tail is too
 * long. */
MUST_CHECK err_t state_fold(const struct state_request *r, struct store_view *v, struct buf *ret,
                            uint64_t *ret_revision, struct err_text *et);

#endif
