/* event_json: events as lines of NDJSON.
 *
 * Any thread, no state; each adds one line with its line break to a buffer and fails only when it
 * cannot grow. */
#ifndef DAYBOOK_CLI_EVENT_JSON_H
#define DAYBOOK_CLI_EVENT_JSON_H

#include "clients/c/buffer.h"
#include "clients/c/daybook.h"

/* As the server's own NDJSON has it: every field; line breaks between the tokens of data or
 * metadata become blanks. */
bool event_json_add(struct daybook_buffer *b, const struct daybook_event *event);

/* As `daybook import` takes it back: "time" is the event's occurred_at, or the server's time where
 * it has none; data is kept byte for byte: where it has line breaks, as base64. */
bool event_json_add_export(struct daybook_buffer *b, const struct daybook_event *event);

#endif
