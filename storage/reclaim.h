/* reclaim: the background pass that gives back what hidden events take, and makes sure that their
 * bytes, and those of redacted events, are in no file any more.
 *
 * The applier's thread, between generations. A pass has these stages, each in bounded steps:
 *
 *   collect   some events that are hidden for ever, from the lives; redactions that wait
 *   rewrite   the log's blocks that hold them, and the index's lists, in one transaction a step
 *   note      in the lives and redactions how far it came, then collect the next ones
 *   scrub     pages of LMDB's file that are free
 *   purge     old segments of the journal
 *
 * What the stages have still to do stands in tables: a crash between any two steps costs a second
 * walk over what is done. */
#ifndef DAYBOOK_STORAGE_RECLAIM_H
#define DAYBOOK_STORAGE_RECLAIM_H

#include "storage/store_int.h"

#define RECLAIM_TARGETS_MAX 16384

/* An event to take away or to wipe. */
struct reclaim_target {
    uint64_t position;
    bool redact; /* only its data */
    /* Else what the event must be, else the list that led there is damaged. */
    uint32_t note; /* that of its stream */
    uint64_t revision;
};

enum reclaim_stage { RECLAIM_COLLECT, RECLAIM_REWRITE, RECLAIM_NOTE, RECLAIM_SCRUB, RECLAIM_PURGE };

/* How far a stream's events are taken away by the targets. */
struct reclaim_note {
    struct bytes stream;
    uint64_t through;
};

struct reclaimer {
    enum reclaim_stage stage;
    bool under_way;
    uint64_t applied; /* when the pass began: what it covers */
    int64_t time_us;  /* max_age_s is judged at this time */
    bool for_good;    /* some target is there by a command: the journal must be purged too */

    struct reclaim_target *targets; /* ascending, RECLAIM_TARGETS_MAX; NULL before the first pass */
    size_t target_count, target_at;
    struct arena arena; /* of notes */
    struct reclaim_note *notes;
    size_t note_count, note_cap;
    bool redactions_taken, lives_taken; /* of this pass, all */
    uint8_t name[EVENT_NAME_MAX];       /* the last stream that is taken */
    size_t name_bytes;
    uint64_t rolling; /* of the last pass: lives with max_count or max_age_s */
    uint64_t nudged;  /* a transaction was committed after this one, so that it can be scrubbed */
};

/* Fills targets and notes with the next part. reclaim_collect.c */
MUST_CHECK err_t reclaim_collect(struct store *s);
/* One transaction of the targets from target_at on, which it moves. reclaim_rewrite.c */
MUST_CHECK err_t reclaim_rewrite(struct store *s);

#endif
