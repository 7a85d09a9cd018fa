/* buffer: see buffer.h. */
#include "buffer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 256

void daybook_buffer_init(struct daybook_buffer *b, size_t max)
{
    *b = (struct daybook_buffer){.max = max};
}

void daybook_buffer_done(struct daybook_buffer *b)
{
    free(b->p);
    *b = (struct daybook_buffer){.max = b->max};
}

bool daybook_buffer_reserve(struct daybook_buffer *b, size_t more)
{
    assert(b->n <= b->capacity);
    if (more <= b->capacity - b->n) {
        return true;
    }
    if (b->n > b->max || more > b->max - b->n) {
        return false;
    }
    size_t capacity = b->capacity > b->max / 2 ? b->max : b->capacity * 2;
    if (capacity < b->n + more) {
        capacity = b->n + more;
    }
    if (capacity < CAPACITY_MIN) {
        capacity = CAPACITY_MIN;
    }
    uint8_t *p = realloc(b->p, capacity);
    if (p == NULL) {
        return false;
    }
    b->p = p;
    b->capacity = capacity;
    return true;
}

bool daybook_buffer_add(struct daybook_buffer *b, const void *p, size_t n)
{
    if (!daybook_buffer_reserve(b, n)) {
        return false;
    }
    if (n > 0) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
    return true;
}

bool daybook_buffer_add_text(struct daybook_buffer *b, const char *text)
{
    return daybook_buffer_add(b, text, strlen(text));
}

bool daybook_buffer_add_byte(struct daybook_buffer *b, uint8_t byte)
{
    return daybook_buffer_add(b, &byte, 1);
}

bool daybook_buffer_add_number(struct daybook_buffer *b, uint64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    return daybook_buffer_add_text(b, digits);
}

void daybook_buffer_drop(struct daybook_buffer *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
    } else if (n > 0) {
        b->n -= n;
        memmove(b->p, b->p + n, b->n);
    }
}
