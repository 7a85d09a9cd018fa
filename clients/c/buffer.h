/* buffer: bytes that grow at the end, up to a maximum. One thread. For clients/ only: no part of
 * the library's interface. */
#ifndef DAYBOOK_CLIENT_BUFFER_H
#define DAYBOOK_CLIENT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daybook_buffer {
    uint8_t *p; /* owned */
    size_t n;
    size_t capacity;
    size_t max;
};

/* Holds nothing yet and allocates nothing; at most `max` bytes ever. */
void daybook_buffer_init(struct daybook_buffer *b, size_t max);
void daybook_buffer_done(struct daybook_buffer *b);
/* Room for `more` bytes behind p + n; false: no memory, or over the maximum. */
bool daybook_buffer_reserve(struct daybook_buffer *b, size_t more);
/* Copies bytes to the end; false, with the buffer as it was, where there is no room. */
bool daybook_buffer_add(struct daybook_buffer *b, const void *p, size_t n);
bool daybook_buffer_add_text(struct daybook_buffer *b, const char *text);
bool daybook_buffer_add_byte(struct daybook_buffer *b, uint8_t byte);
bool daybook_buffer_add_number(struct daybook_buffer *b, uint64_t number);
/* Removes the first n bytes (at most all). */
void daybook_buffer_drop(struct daybook_buffer *b, size_t n);

#endif
