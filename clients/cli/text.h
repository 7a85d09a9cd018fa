/* text: bytes for terminals and for JSON: made safe, quoted, encoded.
 *
 * Any thread, no state. The text_add_ functions add to a buffer and fail only when it cannot grow,
 * which may leave a part of what they add. */
#ifndef DAYBOOK_CLI_TEXT_H
#define DAYBOOK_CLI_TEXT_H

#include "clients/c/buffer.h"

#define TEXT_UUID_SIZE   37 /* with the NUL */
#define TEXT_TIME_SIZE   40
#define TEXT_SAFE_GROWTH 4 /* safe text is at most so many times as long */

/* Adds text so that a terminal only shows it: control characters (C0, DEL, C1), those that change
 * the direction of writing, and bytes that are no UTF-8 come as \n, \t, \xNN. */
bool text_add_safe(struct daybook_buffer *b, const void *p, size_t n);

/* How many of n bytes of safe text fit into so many columns of a terminal (as the locale counts
 * them), and how many columns those take. */
size_t text_cut(const void *p, size_t n, size_t columns, size_t *ret_columns);

/* Adds a JSON string of UTF-8 text, quotes included. */
bool text_add_json(struct daybook_buffer *b, const char *text);

bool text_add_base64(struct daybook_buffer *b, const void *p, size_t n);
/* Decodes base64 with its padding; false where it is not exactly that, or without memory. */
bool text_decode_base64(struct daybook_buffer *b, const char *text, size_t n);

/* The usual lower-case form. */
void text_uuid(const uint8_t id[16], char ret[TEXT_UUID_SIZE]);
/* Either case; false leaves ret untouched. */
bool text_parse_uuid(const char *text, uint8_t ret[16]);

/* Microseconds since 1970 as RFC 3339 in UTC with microseconds. */
void text_time(int64_t time_us, char ret[TEXT_TIME_SIZE]);

/* Whether data of this content type is JSON: application/json or any +json; NULL and "" are. */
bool text_media_is_json(const char *content_type);

#endif
