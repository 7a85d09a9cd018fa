/* scan: looks into JSON text where it lies, without building a tree: values are pieces of the text,
 * so data of events keeps its bytes. For clients/ only: no part of the library's interface.
 *
 * Any thread, no state. Bytes that are no JSON make a value of 0 bytes, or end a walk as damaged;
 * nothing is ever read outside of the text. It takes a little more than JSON allows (it does not
 * look into numbers, nor for control characters), which does not matter for what a server wrote. */
#ifndef DAYBOOK_CLIENT_SCAN_H
#define DAYBOOK_CLIENT_SCAN_H

#include "arena.h"
#include "daybook.h"

#define DAYBOOK_SCAN_DEPTH 512 /* of values in each other */

/* The value at the front of a text, without blanks around it; 0 bytes: there is none. */
struct daybook_bytes daybook_scan_value(struct daybook_bytes text);

/* A walk over the members of an object or the elements of an array. */
struct daybook_scan {
    const char *at, *end;
    bool damaged; /* it ended, but not where it should have */
};
/* Of what is no object, or no array, there is nothing to walk over. */
struct daybook_scan daybook_scan_object(struct daybook_bytes object);
struct daybook_scan daybook_scan_array(struct daybook_bytes array);
/* False: there are no more. A name is the string with its quotes. */
bool daybook_scan_member(struct daybook_scan *s, struct daybook_bytes *ret_name,
                         struct daybook_bytes *ret_value);
bool daybook_scan_element(struct daybook_scan *s, struct daybook_bytes *ret_value);
size_t daybook_scan_count(struct daybook_bytes array);

/* A member by its name, which must need no escapes; 0 bytes: there is none. */
struct daybook_bytes daybook_scan_find(struct daybook_bytes object, const char *name);
bool daybook_scan_is(struct daybook_bytes value, const char *literal);
/* The text of a string, in the arena, with a NUL behind. NULL: it is no string, or no memory. */
const char *daybook_scan_string(struct daybook_arena *arena, struct daybook_bytes value);
/* 0 where it is no whole number of digits alone, or too large. */
uint64_t daybook_scan_number(struct daybook_bytes value);

#endif
