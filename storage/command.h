/* command: one write as a value, with its events already encoded, and the writer's verdict on it.
 *
 * Built by one thread, then handed to the writer, then read by the builder again: never by two at
 * once. A command owns a copy of everything that is put in. It holds every clock reading, id and
 * random number that it needs except the commit time, position and revision, which the writer
 * stamps: applied in the same order it gives the same store. */
#ifndef DAYBOOK_STORAGE_COMMAND_H
#define DAYBOOK_STORAGE_COMMAND_H

#include "storage/base/arena.h"
#include "storage/event.h"

/* An event to append, borrowed by command_add_event. */
struct event_draft {
    struct bytes id; /* UUID_BYTES */
    bool id_given; /* sent by the client, so it may be a retry; false: freshly made by the server */
    struct bytes type;
    struct bytes data;
    struct bytes content_type; /* empty, or any spelling of application/json without parameters:
                                  stored as empty */
    struct bytes metadata;     /* empty: none */
    struct bytes occurred_at;  /* empty: none */
    uint32_t schema_version;
    uint32_t tag_count;
    const struct bytes *tags;
};

/* A dynamic consistency boundary: the command is refused where an event after a position matches
 * one of its items. An event matches an item if its type is one of `types` (none: any type) and it
 * has every one of `tags`. Events of the system do not count. */
#define CONDITION_ITEMS_MAX 32
#define CONDITION_TYPES_MAX 64 /* of one item */
#define CONDITION_TAGS_MAX  32 /* of one item */
struct condition_item {
    const struct bytes *types, *tags;
    size_t type_count, tag_count;
};

enum verdict {
    VERDICT_NONE,      /* not decided yet */
    VERDICT_COMMITTED, /* durable and visible */
    VERDICT_DUPLICATE, /* every event was there before; results carry the original numbers */
    VERDICT_WRONG_EXPECTED_REVISION, /* of a stream; items of the condition may be violated too */
    VERDICT_CONDITION_FAILED,    /* every stream is as expected, but the condition is violated */
    VERDICT_CONDITION_TOO_BROAD, /* looking for an event that matches all of an item takes too long:
                                    too many match a part of it */
    VERDICT_ID_REUSED, /* an id that the stream has, with another type or data, or twice in this
                          command */
    VERDICT_PARTIAL_DUPLICATE, /* some events were there before and some are new, or not in the
                                  original order */
    VERDICT_STREAM_DELETED,    /* tombstoned */
    VERDICT_FAILED, /* not written: `error` says why (disk full, memory); nothing changed */
    VERDICT_STREAM_NOT_FOUND,   /* never written (of the commands on a stream's life) */
    VERDICT_EVENT_NOT_FOUND,    /* to be redacted: no such revision, or none that can be read */
    VERDICT_INVALID_TRUNCATION, /* truncate_before is after head + 1 */
};

/* What a command does: appends (with checks), or exactly one change of a stream's life. */
enum command_kind {
    COMMAND_APPEND,
    COMMAND_SET_METADATA,
    COMMAND_DELETE_STREAM,
    COMMAND_REDACT,
};

#define LIFE_CUSTOM_BYTES_MAX 16384 /* a stream's custom metadata */
#define LIFE_REASON_BYTES_MAX 1000  /* the reason of a redaction */

/* A change of a stream's metadata; what is not set stays as it is. */
struct life_change {
    bool set_max_count, set_max_age, set_truncate_before, set_custom;
    uint64_t max_count;       /* 0: no limit */
    uint64_t max_age_s;       /* 0: no limit */
    uint64_t truncate_before; /* first revision to keep; at most head + 1 */
    struct bytes custom;      /* a JSON object; empty: none */
};

/* What became of a stream by COMMITTED, what it is by DUPLICATE. */
struct life_result {
    uint64_t position; /* of the system's event that says so; of DUPLICATE: 0 */
    uint64_t head_revision, first_revision; /* the first that can be read, head + 1: none */
    bool deleted, tombstoned;
};

struct append_result {
    uint64_t first_revision, last_revision;
    uint64_t first_position, last_position;
    bool duplicate;
};

struct violation {
    struct bytes stream; /* borrowed from the command */
    struct expectation expected;
    uint64_t actual; /* head revision, 0: no such stream */
};

struct condition_violation {
    size_t item;       /* index of the item */
    uint64_t position; /* of the first event after the condition's position that matches it */
};

struct command;

/* A new, empty command; memory_max bounds everything it will hold. NULL when there is no memory. */
struct command *command_new(size_t memory_max);
void command_free(struct command *c);

/* Starts an append; the events that follow are for it. `stream` must be a valid name that is not
 * the system's, else ERR_INVALID. ERR_LIMIT, ERR_MEMORY. */
MUST_CHECK err_t command_add_append(struct command *c, struct bytes stream,
                                    struct expectation expected);

/* The same for a stream of the system's, with '$', whose events have types with '$': what the
 * server itself keeps in the log (definitions of projections). Never from a client's request. */
MUST_CHECK err_t command_add_system_append(struct command *c, struct bytes stream,
                                           struct expectation expected);

/* Adds an event to the append that was started last. The draft must be valid already (names, JSON,
 * at most EVENT_TAGS_MAX tags): command.c checks names and counts again and answers ERR_INVALID, as
 * defence. */
MUST_CHECK err_t command_add_event(struct command *c, const struct event_draft *draft);

/* Adds a guard on a stream. */
MUST_CHECK err_t command_add_check(struct command *c, struct bytes stream,
                                   struct expectation expected);

/* Adds an item to the command's condition; copies it. ERR_INVALID: a name is not valid or the
 * system's, there are neither types nor tags, or too many. ERR_LIMIT: memory, or an item too
 * many. */
MUST_CHECK err_t command_add_condition_item(struct command *c, const struct condition_item *item);
/* Only events after this position count; without it all do. It may lie beyond the last position:
 * then nothing matches. */
void command_set_condition_after(struct command *c, uint64_t position);

/* Make an empty command change one stream's life. `id` (UUID_BYTES) is a fresh one for the system's
 * event that will say so. ERR_INVALID: not a name, or one of the system's; the command is not
 * empty. ERR_LIMIT, ERR_MEMORY. */
MUST_CHECK err_t command_set_metadata(struct command *c, struct bytes stream,
                                      struct expectation expected, const struct life_change *change,
                                      struct bytes id);
/* `tombstone`: for ever, no event can be appended any more. */
MUST_CHECK err_t command_delete_stream(struct command *c, struct bytes stream,
                                       struct expectation expected, bool tombstone,
                                       struct bytes id);
/* Wipes data and metadata of one event. `reason` may be empty. */
MUST_CHECK err_t command_redact(struct command *c, struct bytes stream, uint64_t revision,
                                struct bytes reason, struct bytes id);

enum command_kind command_kind(const struct command *c);
/* For COMMITTED and DUPLICATE of what is not an append. */
const struct life_result *command_life_result(const struct command *c);

size_t command_appends(const struct command *c);
/* Events that it would add. */
size_t command_events(const struct command *c);
/* Bytes that its records will take in the journal, roughly, and what guards it: what the writer's
 * queue counts. */
size_t command_bytes(const struct command *c);
/* The stream of append `i`. */
struct bytes command_append_stream(const struct command *c, size_t i);
/* Number of events of append `i`. */
size_t command_append_events(const struct command *c, size_t i);
/* The id of event `event` of append `append`, UUID_BYTES. */
struct bytes command_event_id(const struct command *c, size_t append, size_t event);

/* After store_commit: */
enum verdict command_verdict(const struct command *c);
/* For VERDICT_FAILED. */
err_t command_error(const struct command *c);
/* Of append `i`, for COMMITTED and DUPLICATE. */
const struct append_result *command_result(const struct command *c, size_t i);
/* All violations, for WRONG_EXPECTED_REVISION. */
size_t command_violations(const struct command *c);
const struct violation *command_violation(const struct command *c, size_t i);
/* All violated items in their order, for WRONG_EXPECTED_REVISION (there may be none) and
 * CONDITION_FAILED. */
size_t command_condition_violations(const struct command *c);
const struct condition_violation *command_condition_violation(const struct command *c, size_t i);
/* For ID_REUSED, PARTIAL_DUPLICATE and STREAM_DELETED: which append and which event (0 for
 * STREAM_DELETED) it was. */
size_t command_fault_append(const struct command *c);
size_t command_fault_event(const struct command *c);

#endif
