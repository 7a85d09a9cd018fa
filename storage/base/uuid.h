/* uuid: 16-byte UUIDs (RFC 9562), their text form, and version 7 from a clock reading and random
 * bits the caller gives.
 *
 * Any thread; reads no clock and no random source itself. */
#ifndef DAYBOOK_BASE_UUID_H
#define DAYBOOK_BASE_UUID_H

#include "bytes.h"
#include "err.h"

#define UUID_BYTES      16
#define UUID_TEXT_BYTES 36

/* Version 7: 48 bits of Unix milliseconds, then `random` with version and variant set. */
void uuid_make_v7(uint64_t unix_ms, const uint8_t random[10], uint8_t ret[UUID_BYTES]);

/* Reads "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", either case; any version. ERR_INVALID leaves ret
 * untouched. */
MUST_CHECK err_t uuid_parse(struct bytes text, uint8_t ret[UUID_BYTES]);

/* Writes exactly UUID_TEXT_BYTES lower-case characters, no terminator. */
void uuid_format(const uint8_t uuid[UUID_BYTES], char ret[UUID_TEXT_BYTES]);

#endif
