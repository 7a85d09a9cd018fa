/* event: the vocabulary of the store: names, positions, revisions, expectations, events.
 *
 * Any thread; plain values, nothing owned. Positions and revisions count from 1; 0 means "nothing
 * yet". */
#ifndef DAYBOOK_STORAGE_EVENT_H
#define DAYBOOK_STORAGE_EVENT_H

#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/uuid.h"

#define EVENT_NAME_MAX  255 /* bytes of a stream, type or tag name */
#define EVENT_TAGS_MAX  32  /* tags of one event */
#define EVENT_MEDIA_MAX 255 /* bytes of a content type */
#define EVENT_TIME_MAX  64  /* bytes of occurred_at */

/* An event as it is read. All bytes are borrowed from the view (store.h) it was read through. */
struct event {
    uint64_t position;
    uint64_t revision;
    int64_t time_us;
    struct bytes stream;
    struct bytes id; /* UUID_BYTES */
    struct bytes type;
    struct bytes data;
    struct bytes content_type;    /* empty: application/json */
    struct bytes metadata;        /* empty: none */
    struct bytes occurred_at;     /* empty: none */
    struct bytes life, redaction; /* of the system's events about streams: for the storage folder */
    uint32_t schema_version;
    bool redacted; /* data and metadata were wiped */
    uint32_t tag_count;
    struct bytes tags[EVENT_TAGS_MAX];
};

/* What a writer expects of a stream before its append. */
enum expectation_kind {
    EXPECT_ANY,
    EXPECT_NO_STREAM,
    EXPECT_STREAM_EXISTS,
    EXPECT_REVISION,
};

struct expectation {
    enum expectation_kind kind;
    uint64_t revision; /* for EXPECT_REVISION */
};

/* Whether `expected` is met by a stream whose head revision is `head` (0: it does not exist). */
bool expectation_met(struct expectation expected, uint64_t head);

/* A name of a stream, type or tag: 1 to EVENT_NAME_MAX bytes of UTF-8 without control characters
 * (C0, DEL, C1). */
bool event_name_is_valid(struct bytes name);

/* Whether the name belongs to the system: it starts with '$'. */
static inline bool event_name_is_system(struct bytes name)
{
    return name.n > 0 && name.p[0] == '$';
}

/* The category of a stream: the text before its first '-', the whole name if there is none.
 * Borrowed from `stream`. */
struct bytes event_category(struct bytes stream);

/* Whether a media type means that the data is JSON: empty, application/json or any +json,
 * parameters ignored. */
bool event_content_is_json(struct bytes content_type);

#endif
