/* change: what an event of the system's stream about streams says, for those outside this folder
 * that keep something of a stream which a deletion or a redaction has to reach.
 *
 * Any thread; pure. */
#ifndef DAYBOOK_STORAGE_CHANGE_H
#define DAYBOOK_STORAGE_CHANGE_H

#include "storage/store.h"

/* The stream that has all of them, in the order in which they were committed. Reading it takes a
 * filter with `system`. */
#define CHANGE_STREAM BYTES_LITERAL("$streams")

enum change_kind {
    CHANGE_METADATA, /* limits, a truncation, or what its owner notes */
    CHANGE_DELETED,  /* all its events were hidden */
    CHANGE_REDACTED, /* the event at `revision` was wiped */
};

struct change {
    enum change_kind kind;
    struct bytes stream; /* whose change it is; borrowed from the event */
    uint64_t revision;
};

/* ERR_CORRUPT: it is no event of that stream. */
MUST_CHECK err_t change_decode(const struct event *e, struct change *ret);
/* Calls `each` for the changes after revision `*from` of their stream that the view has, and moves
 * `*from` to the last one. An error of `each` ends it before that change. */
typedef err_t (*change_each)(void *ctx, const struct change *c, uint64_t position);
MUST_CHECK err_t change_read(struct store_view *v, uint64_t *from, change_each each, void *ctx);

#endif
