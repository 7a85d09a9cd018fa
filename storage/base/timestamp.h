/* timestamp: RFC 3339 text and microseconds since 1970-01-01T00:00:00Z.
 *
 * Any thread; reads no clock. Years 0001 to 9999. */
#ifndef DAYBOOK_BASE_TIMESTAMP_H
#define DAYBOOK_BASE_TIMESTAMP_H

#include "bytes.h"
#include "err.h"

#define TIMESTAMP_TEXT_BYTES 27

/* Writes "2026-01-01T00:00:00.000000Z": exactly TIMESTAMP_TEXT_BYTES characters, no terminator.
 * Never uses gmtime. A time outside the years 0001 to 9999 is written as the nearest inside. */
void timestamp_format(int64_t time_us, char ret[TIMESTAMP_TEXT_BYTES]);

/* Reads any RFC 3339 date-time (offset or Z, `T`/`t`, 0 to 9 fraction digits, leap second 60 at
 * the end of a UTC day counted as 59.999999; what is finer than a microsecond is dropped).
 * ERR_INVALID leaves *ret_us untouched. */
MUST_CHECK err_t timestamp_parse(struct bytes text, int64_t *ret_us);

#endif
