/* daybook_life: the half of the client library that limits, truncates, deletes and redacts.
 * daybook.h includes it, and says which threads may call what and who owns what. */
#ifndef DAYBOOK_LIFE_H
#define DAYBOOK_LIFE_H

#include "daybook.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What to change about a stream; what is not set stays as it is. {0} changes nothing and is
 * refused. */
struct daybook_metadata_change {
    bool set_max_count, set_max_age, set_truncate_before, set_custom;
    uint64_t max_count;          /* only so many of the newest events can be read; 0: no limit */
    uint64_t max_age_s;          /* only events at most so old can be read; 0: no limit */
    uint64_t truncate_before;    /* the first revision to keep, at most the head revision + 1 */
    struct daybook_bytes custom; /* a JSON object of at most 16 KiB; empty: none */
};

/* What became of a change. */
struct daybook_changed {
    const char *stream;
    uint64_t position; /* of the event in the stream "$streams" that records it; 0: a duplicate */
    uint64_t head_revision;
    uint64_t first_revision; /* the first that can be read; head_revision + 1: none can */
    bool deleted, tombstoned;
    bool duplicate; /* it had been done before: nothing was written */
};

/* All three: durable and seen by every read when they return; tried again within options.retry_ms,
 * which is safe. DAYBOOK_ERR_NOT_FOUND: the stream was never written, or has no such event.
 * DAYBOOK_ERR_DELETED: the stream is deleted for ever. DAYBOOK_ERR_CONFLICT: it is not as
 * expected. */

enum daybook_result daybook_set_metadata(struct daybook *db, const char *stream,
                                         struct daybook_expect expect,
                                         const struct daybook_metadata_change *change,
                                         struct daybook_changed *ret);

/* Hides all events of a stream; its numbering goes on where it is appended to again. `tombstone`:
 * for ever, nothing can be appended any more. */
enum daybook_result daybook_delete_stream(struct daybook *db, const char *stream,
                                          struct daybook_expect expect, bool tombstone,
                                          struct daybook_changed *ret);

/* Wipes the data and metadata of one event for good; its id, type, times and tags stay. `reason`,
 * at most 1,000 bytes, is kept with the record of it; it may be NULL. */
enum daybook_result daybook_redact(struct daybook *db, const char *stream, uint64_t revision,
                                   const char *reason, struct daybook_changed *ret);

#ifdef __cplusplus
}
#endif

#endif
