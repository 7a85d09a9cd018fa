/* table: rows of values for people, aligned, and for other programs, as CSV.
 *
 * Any thread, no state. Both add to a buffer; false: it cannot grow, or there is no memory, and
 * what was added may be a part. */
#ifndef DAYBOOK_CLI_TABLE_H
#define DAYBOOK_CLI_TABLE_H

#include "clients/c/buffer.h"
#include "clients/c/daybook.h"

/* The names, a rule, a line a row; numbers to the right; NULL as NULL. Text is made safe for a
 * terminal, so a row is one line whatever is in it. */
bool table_add_text(struct daybook_buffer *b, const struct daybook_rows *rows);

/* RFC 4180: a line of names, a line a row, each ended by CR LF. NULL is an empty field, empty text
 * is "". What has a quote, a comma or a line break in it is quoted; the bytes are kept. */
bool table_add_csv(struct daybook_buffer *b, const struct daybook_rows *rows);

#endif
