/* state_cache: automatic snapshots: states of streams that were folded, for the next read of the
 * same (projections/state.h says when one is still good). In memory only: they follow from the log,
 * and what lasts is the model's own document.
 *
 * Any thread. Bounded in bytes; what does not fit any more goes, the oldest slot first. */
#ifndef DAYBOOK_SERVER_STATE_CACHE_H
#define DAYBOOK_SERVER_STATE_CACHE_H

#include "projections/state.h"

struct state_cache;

MUST_CHECK err_t state_cache_new(size_t bytes_max, struct state_cache **ret);
/* NULL is fine. */
void state_cache_free(struct state_cache *c);

/* Copies the state of a key into `*ret`. False: there is none. */
bool state_cache_get(struct state_cache *c, struct bytes key, struct state_mark *ret_mark,
                     struct buf *ret);
/* Keeps a copy, in place of the one of the same key. Where there is no memory, or it is too large,
 * it does not. */
void state_cache_put(struct state_cache *c, struct bytes key, const struct state_mark *mark,
                     struct bytes state);

#endif
