/* value: a value of SQL and a span of time as somebody types them.
 *
 * Any thread, no state. */
#ifndef DAYBOOK_CLI_VALUE_H
#define DAYBOOK_CLI_VALUE_H

#include "clients/c/buffer.h"
#include "clients/c/daybook.h"

/* A JSON number, string, true, false or null as that; anything else as text. A JSON string is
 * decoded into `text`, which must have room for as many bytes as `given`, and the value points into
 * it; other text is borrowed from `given`. False: no memory. */
bool value_read(const char *given, struct daybook_buffer *text, struct daybook_value *ret);

/* "300ms", "5s", "2m"; false leaves ret untouched. */
bool value_read_wait(const char *text, uint64_t *ret_ms);

#endif
