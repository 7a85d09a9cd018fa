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

enum verdict {
    VERDICT_NONE,      /* not decided yet */
    VERDICT_COMMITTED, /* durable and visible */
    VERDICT_DUPLICATE, /* every event was there before; results carry the original numbers */
    VERDICT_WRONG_EXPECTED_REVISION,
    VERDICT_ID_REUSED, /* an id that the stream has, with another type or data, or twice in this
                          command */
    VERDICT_PARTIAL_DUPLICATE, /* some events were there before and some are new, or not in the
                                  original order */
    VERDICT_STREAM_DELETED,    /* tombstoned */
    VERDICT_FAILED, /* not written: `error` says why (disk full, memory); nothing changed */
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

struct command;

/* A new, empty command; memory_max bounds everything it will hold. NULL when there is no memory. */
struct command *command_new(size_t memory_max);
void command_free(struct command *c);

/* Starts an append; the events that follow are for it. `stream` must be a valid name that is not
 * the system's, else ERR_INVALID. ERR_LIMIT, ERR_MEMORY. */
MUST_CHECK err_t command_add_append(struct command *c, struct bytes stream,
                                    struct expectation expected);

/* Adds an event to the append that was started last. The draft must be valid already (names, JSON,
 * at most EVENT_TAGS_MAX tags): command.c checks names and counts again and answers ERR_INVALID, as
 * defence. */
MUST_CHECK err_t command_add_event(struct command *c, const struct event_draft *draft);

/* Adds a guard on a stream. */
MUST_CHECK err_t command_add_check(struct command *c, struct bytes stream,
                                   struct expectation expected);

size_t command_appends(const struct command *c);
/* Events over all appends. */
size_t command_events(const struct command *c);
/* Bytes that its records will take in the journal, roughly: what the writer's queue counts. */
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
/* For ID_REUSED, PARTIAL_DUPLICATE and STREAM_DELETED: which append and which event (0 for
 * STREAM_DELETED) it was. */
size_t command_fault_append(const struct command *c);
size_t command_fault_event(const struct command *c);

#endif
