/* command_int: the inside of a command, for the storage folder only. */
#ifndef DAYBOOK_STORAGE_COMMAND_INT_H
#define DAYBOOK_STORAGE_COMMAND_INT_H

#include "storage/record.h"

struct command_event {
    struct record_draft draft;
    uint32_t append; /* index of its append */
    uint32_t tag_count;
    bool id_given;
    const struct bytes *tags; /* in the command's arena */
};

struct command_append {
    struct bytes stream;
    struct expectation expected;
    size_t first_event, event_count;
    bool system; /* its stream and types are the system's */
    struct append_result result;
};

struct command_check {
    struct bytes stream;
    struct expectation expected;
};

/* What a command on a stream's life asks for. */
struct command_life {
    struct bytes stream;
    struct expectation expected;
    struct life_change change; /* of SET_METADATA */
    bool tombstone;            /* of DELETE_STREAM */
    uint64_t revision;         /* of REDACT */
    struct bytes reason;
    uint8_t id[UUID_BYTES];
    struct life_result result;
};

/* Arrays grow by doubling inside the arena: what is left behind is at most as much again. */
struct command {
    struct arena arena;
    struct command_append *appends;
    size_t append_count, append_cap;
    struct command_event *events;
    size_t event_count, event_cap;
    struct command_check *checks;
    size_t check_count, check_cap;
    struct condition_item *items;
    size_t item_count, item_cap;
    uint64_t condition_after;
    enum command_kind kind;
    struct command_life life; /* of other kinds than APPEND */
    size_t bytes;             /* of its records, at most */
    size_t guard_bytes;       /* of what guards it and does not go to the journal */

    enum verdict verdict;
    err_t error;
    struct violation *violations;
    size_t violation_count, violation_cap;
    struct condition_violation *condition_violations;
    size_t condition_violation_count, condition_violation_cap;
    size_t fault_append, fault_event;
};

/* Adds a violation; ERR_MEMORY, ERR_LIMIT. */
MUST_CHECK err_t command_add_violation(struct command *c, struct bytes stream,
                                       struct expectation expected, uint64_t actual);
MUST_CHECK err_t command_add_condition_violation(struct command *c, size_t item, uint64_t position);

#endif
