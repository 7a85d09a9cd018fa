/* store: the event store: one global log, its streams and indexes, in one data directory.
 *
 * Threads: one writer may call store_commit, one applier store_apply, any number of readers the
 * views; each view stays on one thread. Nothing in here starts a thread, reads a clock, draws a
 * random number or logs. The caller starts and stops.
 *
 * What is committed is durable (journal, O_DSYNC) and visible to every view opened afterwards. See
 * README.md for the invariants and FORMAT.md for the bytes. */
#ifndef DAYBOOK_STORAGE_STORE_H
#define DAYBOOK_STORAGE_STORE_H

#include "storage/base/buf.h"
#include "storage/command.h"
#include "storage/event.h"

struct store;
struct store_view;
struct store_read;

#define STORE_MAP_BYTES ((uint64_t)1 << 40) /* where none is said */

struct store_options {
    const char *dir;         /* data directory; made when missing (its parent must exist) */
    uint64_t map_bytes;      /* size of LMDB's sparse map; 0: 1 TiB */
    uint64_t segment_bytes;  /* size of a journal segment; 0: 32 MiB; at least 64 KiB */
    uint64_t tail_bytes_max; /* committed events kept in memory until they are applied; 0: 64 MiB */
    uint64_t disk_free_min_bytes; /* headroom: below it writes are refused as DISK_FULL; 0: 64 MiB
                                   */
    uint8_t new_store_id[UUID_BYTES]; /* the store's id, where one is made now */
    uint64_t salt; /* random, fresh and secret: with it nobody can make bytes that look like a group
                      of the journal */
    bool restoring; /* it is being made out of a backup: copy.h */
    bool read_only; /* verify: opens LMDB, replays the journal into memory, writes nothing */
};

/* Opens, recovers from a crash (replays the journal, catches the index up) and is ready. ERR_BUSY:
 * in use by another process; ERR_FORMAT: a newer or older binary's data; ERR_CORRUPT: damage, named
 * in `et`; never repairs silently. */
MUST_CHECK err_t store_open(const struct store_options *options, struct store **ret,
                            struct err_text *et);

/* Applies what is in the tail and closes. Views must be closed before. NULL is fine. */
void store_close(struct store *s);

/* ---- writing: the writer's thread only ---- */

/* Decides `n` commands in order at `now_us` (made monotone), writes all that are accepted to the
 * journal as one group with one synced write, publishes them. Each command carries its verdict
 * afterwards. ERR_FULL: the tail is full, nothing was decided; apply and call again. Any other
 * error: a commit's write failed, nothing after it may be trusted, and the process must stop
 * (DESIGN section 3); the commands have no verdict. ERR_DISK_FULL never comes from here: it is a
 * verdict (VERDICT_FAILED). `now_us` is the caller's clock. */
MUST_CHECK err_t store_commit(struct store *s, struct command **commands, size_t n, int64_t now_us);

/* ---- applying: the applier's thread only ---- */

/* One bounded step of moving the tail into LMDB. *ret_more: call again at once. `flush`: start on
 * what is there even if it is little (the caller says so when the oldest of it has waited long
 * enough, and at shutdown). ERR_DISK_FULL: nothing is lost, try again later. Other errors: the
 * process must stop. */
MUST_CHECK err_t store_apply(struct store *s, bool flush, bool *ret_more);

/* Creates or recycles the next journal segment ahead of need; cheap when there is nothing to do.
 * Any one thread. */
MUST_CHECK err_t store_prepare(struct store *s);

/* ---- reading ---- */

/* The last committed position, and the last one whose event and index rows are in LMDB. Any thread,
 * atomic. */
uint64_t store_position(const struct store *s);
uint64_t store_applied_position(const struct store *s);
void store_id(const struct store *s, uint8_t ret[UUID_BYTES]);

struct store_stats {
    uint64_t position, applied_position, streams;
    uint64_t data_bytes; /* on disk: journal and LMDB */
    uint64_t tail_bytes, tail_bytes_max;
    uint64_t map_used_bytes, map_bytes; /* of LMDB's map */
    uint64_t disk_free_bytes, disk_free_min_bytes;
    bool disk_full;       /* writes are being refused */
    bool reclaim_pending; /* deletions, truncations or redactions are not reclaimed yet */
};
MUST_CHECK err_t store_get_stats(struct store *s, struct store_stats *ret);

/* A consistent snapshot of everything up to store_view_position: cheap to open (about a
 * microsecond); to be closed before any wait for the network. All bytes read through it are
 * borrowed until it is closed. */
MUST_CHECK err_t store_view_open(struct store *s, struct store_view **ret);
void store_view_close(struct store_view *v);
uint64_t store_view_position(const struct store_view *v);
/* max_age_s is judged at this time, or the store's own where that is later; without it: the time of
 * the last event. */
void store_view_set_time(struct store_view *v, int64_t now_us);

/* What to read. OR inside one list, AND across lists; empty lists do not filter. At most
 * STORE_FILTER_MAX items each, and EVENT_TAGS_MAX in all_tags, of which an event must have every
 * one. */
#define STORE_FILTER_MAX 64
struct store_filter {
    const struct bytes *types, *categories, *prefixes, *tags, *all_tags;
    size_t type_count, category_count, prefix_count, tag_count, all_tag_count;
    int64_t since_us, until_us; /* only events with since <= time < until; 0: no such bound */
    bool system;                /* include events whose stream or type starts with '$' */
};

struct store_query {
    struct bytes stream; /* empty: the global log */
    bool backward;
    uint64_t from; /* forward: only after this revision (stream) or position (log). backward: only
                      before it, 0: from the newest */
    struct store_filter filter; /* for a stream: types and times only */
};

/* A copy of the query and its names in one block: free() it. ERR_MEMORY. */
MUST_CHECK err_t store_query_copy(const struct store_query *q, struct store_query **ret);
/* Appends bytes that are equal for two queries that ask for the same and differ in `from` alone. */
void store_query_put_key(const struct store_query *q, struct buf *b);
/* Whether the filter lets this event through, by what stands in the event itself. */
bool store_filter_matches(const struct store_filter *f, const struct event *e);

/* One event as it is stored. */
struct store_record {
    uint64_t position;
    struct bytes body; /* protobuf fields of an Event from `revision` (2) on: prepend field 1,
                          position, and it is an Event */
};

/* Starts a read; the query's bytes must stay until the read is closed. ERR_NOT_FOUND: no such
 * stream; ERR_GONE: it was deleted. */
MUST_CHECK err_t store_read_open(struct store_view *v, const struct store_query *q,
                                 struct store_read **ret);
/* The next record. ERR_END at the end. ERR_FULL: it has looked at many records that do not match;
 * call again, now or later, so that a filter that finds little does not hold the thread.
 * ERR_CORRUPT: a record is damaged; store_read_place names its number. */
MUST_CHECK err_t store_read_next(struct store_read *r, struct store_record *ret);
/* How far the read has looked: every event up to (forward) or from (backward) this revision or
 * position was either returned or does not match. Give it as `from` to go on later. After ERR_END
 * of a forward read: the end of the view. */
uint64_t store_read_place(const struct store_read *r);
void store_read_close(struct store_read *r);

/* Single events. ERR_NOT_FOUND: also when the stream is missing, when the event was truncated or
 * has expired. ERR_GONE: its stream was deleted. */
MUST_CHECK err_t store_get_event(struct store_view *v, uint64_t position, struct store_record *ret);
MUST_CHECK err_t store_get_stream_event(struct store_view *v, struct bytes stream,
                                        uint64_t revision, struct store_record *ret);

/* Splits a record into its fields (no allocation, nothing copied). ERR_CORRUPT. */
MUST_CHECK err_t store_record_decode(const struct store_record *record, struct event *ret);

struct store_stream_info {
    uint64_t head_revision, first_revision; /* what can be read is from the one to the other */
    uint64_t events, created_position;
    int64_t created_time_us;
    bool deleted, tombstoned;
    bool changed; /* something was set or deleted once, so that the head does not say it all */
    uint64_t deleted_revision; /* the head when it was deleted last; 0: never */
    uint64_t max_count, max_age_s, truncate_before; /* 0: none */
    struct bytes custom;                            /* empty: none; borrowed from the view */
};
/* ERR_NOT_FOUND; a deleted stream is found. */
MUST_CHECK err_t store_get_stream(struct store_view *v, struct bytes stream,
                                  struct store_stream_info *ret);

/* Directory listings, in byte order of the names. */
enum store_names { STORE_STREAMS, STORE_CATEGORIES, STORE_TYPES, STORE_TAGS };
struct store_name {
    struct bytes name; /* borrowed from the list */
    uint64_t events;   /* head revision of a stream, number of events of the others */
};
struct store_name_list {
    struct arena arena;
    struct store_name *items;
    size_t n;
    bool end; /* there are no more after these */
};
struct store_list_query {
    enum store_names kind;
    struct bytes prefix; /* only names that start so; may be empty */
    struct bytes after;  /* only names after this one; may be empty */
    size_t limit;        /* > 0 */
    bool system;         /* also names that start with '$' */
};
/* A page of names. Fills *ret, which the caller gives back with store_name_list_done. */
MUST_CHECK err_t store_list_names(struct store_view *v, const struct store_list_query *q,
                                  struct store_name_list *ret);
void store_name_list_done(struct store_name_list *list);

#include "storage/maintenance.h"

#endif
