/* daybook_read: the half of the client library that reads. daybook.h includes it, and says which
 * threads may call what and who owns what. */
#ifndef DAYBOOK_READ_H
#define DAYBOOK_READ_H

#include "daybook.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- events ---- */

/* An event that was committed. Strings and bytes are borrowed; what is absent is "", empty or 0. */
struct daybook_event {
    uint64_t position; /* in the global log, from 1 */
    uint64_t revision; /* in its stream, from 1 */
    int64_t time_us;   /* the server's clock at commit, microseconds since 1970 */
    const char *stream;
    const char *type;
    const char *content_type; /* "application/json" where it was left out */
    const char *occurred_at;
    uint8_t id[16];
    struct daybook_bytes data;
    struct daybook_bytes metadata;
    const char *const *tags;
    size_t tags_n;
    uint32_t schema_version;
    bool redacted; /* its data and metadata were wiped */
};

struct daybook_names {
    const char *const *items;
    size_t n;
};

/* What to read; {0} is the whole log, forward. Filters: one of each list that is not empty. */
struct daybook_read_options {
    const char *stream; /* NULL: the global log */
    bool backward;
    uint64_t after;    /* forward: only events after this revision (stream) or position (log) */
    uint64_t before;   /* backward: only events before this one; 0: from the newest */
    uint64_t limit;    /* at most so many events; 0: all */
    const char *since; /* by the server's time, RFC 3339: not before; NULL: from ever */
    const char *until; /* before this time; NULL: for ever */
    struct daybook_names types;
    struct daybook_names categories; /* these three: global log only */
    struct daybook_names prefixes;   /* of stream names */
    struct daybook_names tags;
};

/* Starts to read. Events stream in as they are taken: at most about 1 MiB (or one event, if that is
 * larger) waits in memory. A connection that is lost is made anew behind the last event, within
 * options.retry_ms. Other calls with `db` may be made between two events. Free the iterator
 * before `db`. */
enum daybook_result daybook_read(struct daybook *db, const struct daybook_read_options *options,
                                 struct daybook_events **ret);
/* The next event, which lives until the next call with the iterator; DAYBOOK_END after the last
 * one that there was when the server got there. After an error the iterator only gives that error
 * again. */
enum daybook_result daybook_events_next(struct daybook_events *events,
                                        const struct daybook_event **ret);
void daybook_events_free(struct daybook_events *events);

/* One event by its number: of a stream by revision, or (stream NULL) of the log by position. */
enum daybook_result daybook_get_event(struct daybook *db, const char *stream, uint64_t number,
                                      const struct daybook_event **ret);

/* ---- streams ---- */

struct daybook_stream_info {
    const char *stream;
    const char *category;    /* the name's text before the first '-' */
    uint64_t head_revision;  /* events ever appended */
    uint64_t first_revision; /* the first that can be read */
    uint64_t events;         /* that can be read */
    uint64_t created_position;
    int64_t created_time_us;
    bool deleted;                  /* all events were hidden, none was appended since */
    bool tombstoned;               /* for ever */
    struct daybook_bytes metadata; /* a JSON object with what follows, where it is set */
    uint64_t max_count;            /* 0: no limit, as below */
    uint64_t max_age_s;
    uint64_t truncate_before;
    struct daybook_bytes custom; /* a JSON object; empty: none */
};

struct daybook_stream_summary {
    const char *stream;
    const char *category;
    uint64_t head_revision;
};

struct daybook_stream_list {
    const struct daybook_stream_summary *streams;
    size_t streams_n;
    const char *next; /* `after` of the next page */
    bool end;         /* there is no next page */
};

/* What is known of a stream. DAYBOOK_ERR_NOT_FOUND where it was never written. */
enum daybook_result daybook_get_stream(struct daybook *db, const char *stream,
                                       struct daybook_stream_info *ret);

struct daybook_list_options {
    const char *prefix;   /* of the name; NULL: any */
    const char *category; /* NULL: any */
    const char *after;    /* only names behind this one; NULL: from the first */
    uint64_t limit;       /* of the page; 0: as the server likes */
};

/* One page of streams, in byte order of their names. `options` may be NULL. */
enum daybook_result daybook_list_streams(struct daybook *db,
                                         const struct daybook_list_options *options,
                                         struct daybook_stream_list *ret);

/* ---- the server ---- */

struct daybook_status {
    const char *version;
    const char *store_id;
    uint64_t position;         /* the last committed */
    uint64_t applied_position; /* the last in LMDB; what follows is in the journal and in memory */
    uint64_t streams;
    double uptime_s;
    uint64_t data_bytes; /* on disk */
    uint64_t tail_bytes, tail_bytes_max;
    uint64_t queue_length, queue_length_max; /* commands that wait for the writer */
    uint64_t connections;
    uint64_t followers;                 /* reads that are open for new events */
    uint64_t follower_lag_events;       /* of the slowest that follows the log */
    uint64_t map_used_bytes, map_bytes; /* LMDB's map, and its limit */
    uint64_t disk_free_bytes;
    bool disk_full;        /* writes are refused */
    uint64_t memory_bytes; /* of the server's process, its own */
};

struct daybook_verify_report {
    bool ok;
    uint64_t events;
    uint64_t streams;
    const char *const *findings; /* each names the position or the index row at fault */
    size_t findings_n;
};

enum daybook_result daybook_get_status(struct daybook *db, struct daybook_status *ret);

/* Checks everything that is stored, which can take minutes. A store with faults is DAYBOOK_OK with
 * `ok` false. */
enum daybook_result daybook_verify(struct daybook *db, struct daybook_verify_report *ret);

#ifdef __cplusplus
}
#endif

#endif
