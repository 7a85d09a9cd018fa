/* import_line: one line of NDJSON as an event to append.
 *
 * A line is an object with `stream`, `type`, `data` (any JSON value) or `data_base64`, and perhaps
 * `id`, `time` (the event's occurred_at, unless that is there too), `occurred_at`, `metadata` (an
 * object), `tags`, `content_type`, `schema_version`. `position` and `revision` are passed over, so
 * that what was read can be appended elsewhere; any other member is an error, and so is one that
 * comes twice. `null` is the same as absent, but for `data`.
 *
 * Data and metadata are the bytes of the line, not printed again. Any thread, no state. */
#ifndef DAYBOOK_CLI_IMPORT_LINE_H
#define DAYBOOK_CLI_IMPORT_LINE_H

#include "clients/c/arena.h"
#include "clients/c/daybook.h"

#define IMPORT_WHY_SIZE 300

/* All memory is the arena's. */
struct import_event {
    const char *stream;             /* NULL where the line has none */
    struct daybook_new_event event; /* .type is never NULL; .id is NULL where the line has none */
    uint64_t line;                  /* its number, for messages: the caller's */
};

/* Reads the n bytes of a line, without its break, which it copies into the arena. False with the
 * reason in ret_why; `ret` is then untouched. */
bool import_line_parse(struct daybook_arena *arena, const void *line, size_t n,
                       struct import_event *ret, char ret_why[IMPORT_WHY_SIZE]);

#endif
