/* source: all positions of one name in a view, ascending, the part in LMDB and the part in the tail
 * as one list.
 *
 * The view's thread. It has a current place; seek and step move it. About 41 KiB each. */
#ifndef DAYBOOK_STORAGE_SOURCE_H
#define DAYBOOK_STORAGE_SOURCE_H

#include "storage/posting.h"
#include "storage/store_int.h"

struct source {
    struct store_view *view;
    enum name_kind kind;
    struct name_row row;                          /* what LMDB has; zeroes: nothing */
    struct tail_span spans[TAIL_GENERATIONS_MAX]; /* cut to what LMDB does not have */
    size_t span_count;
    struct kv_cursor *cursor;
    /* The current place: in the block (span == SOURCE_IN_BLOCK) or in a span. */
    size_t span, at;
    struct posting_block block;
    bool block_loaded;
};

#define SOURCE_IN_BLOCK SIZE_MAX

/* Whether the tail knows of more events of a stream before its own than LMDB has: its row is
 * damaged or missing. */
bool source_misses_row(enum name_kind kind, const struct tail_span *spans, size_t n,
                       uint64_t stored);

/* ERR_NOT_FOUND: the name has no event in the view. */
MUST_CHECK err_t source_open(struct source *s, struct store_view *v, enum name_kind kind,
                             struct bytes name);
void source_close(struct source *s);

/* Goes to the first position at or after (backward: the last at or before) `position`. ERR_END,
 * ERR_CORRUPT. */
MUST_CHECK err_t source_seek(struct source *s, uint64_t position, bool backward, uint64_t *ret);
/* The next (backward: the previous) one; after a seek only. */
MUST_CHECK err_t source_step(struct source *s, bool backward, uint64_t *ret);
/* Of a stream: goes to a revision, which is in 1 … source_count. */
MUST_CHECK err_t source_seek_revision(struct source *s, uint64_t revision, uint64_t *ret);
/* Of a stream: the revision at the current place. */
uint64_t source_revision(const struct source *s);
/* Of a stream: the fingerprint of the id at the current place; 0: reclaim has taken the event. */
uint16_t source_print(const struct source *s);
/* Number of positions. */
uint64_t source_count(const struct source *s);

#endif
