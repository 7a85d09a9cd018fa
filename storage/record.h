/* record: one event as bytes: encoded by a request thread, stamped by the writer, checked and
 * decoded by readers.
 *
 * Pure functions, any thread, nothing allocated. A record is a header of RECORD_HEADER_BYTES
 * (CRC32C, length and flags) and a body, the protobuf fields of daybook.v1.Event from `revision`
 * on; the position is not stored, it follows from where the record stands, and it seeds the
 * checksum, so that a record in the wrong place is a damaged one. See FORMAT.md. */
#ifndef DAYBOOK_STORAGE_RECORD_H
#define DAYBOOK_STORAGE_RECORD_H

#include "storage/command.h"
#include "storage/event.h"

#define RECORD_HEADER_BYTES    8
#define RECORD_STAMP_BYTES_MAX (RECORD_HEADER_BYTES + 22) /* header, revision and time fields */
#define RECORD_BODY_BYTES_MAX  ((1u << 28) - 1)

#define RECORD_SYSTEM   (1u << 31) /* the stream or the type belongs to the system */
#define RECORD_REDACTED (1u << 29) /* without data and metadata */
#define RECORD_GONE     (1u << 28) /* what reclaim leaves of an event: revision, time, stream */
#define RECORD_FLAGS    (0xfu << 28)

/* Field numbers of daybook.v1.Event that others than record.c put behind a draft. */
#define RECORD_FIELD_LIFE      14
#define RECORD_FIELD_REDACTION 15

/* What the writer needs of an encoded draft: the parts point into `encoded`. */
struct record_draft {
    struct bytes encoded; /* fields `stream` (4) and on */
    struct bytes id, type, data;
    uint32_t flags;
};

/* The size of an encoded draft, exactly. */
size_t record_draft_bytes(struct bytes stream, const struct event_draft *draft);

/* Encodes into p[0 .. record_draft_bytes). */
void record_encode_draft(uint8_t *p, struct bytes stream, const struct event_draft *draft,
                         struct record_draft *ret);

/* Writes the whole record (header, stamp, draft) to p, which has room for RECORD_STAMP_BYTES_MAX +
 * draft->encoded.n; returns its size. */
size_t record_stamp(uint8_t *p, const struct record_draft *draft, uint64_t position,
                    uint64_t revision, int64_t time_us);

/* The record at the start of `at`: its size from the header alone (ERR_CORRUPT where it does not
 * fit in `at`) … */
MUST_CHECK err_t record_measure(struct bytes at, size_t *ret_size);

/* … and its body and flags after checking the checksum for `position`. ERR_CORRUPT. */
MUST_CHECK err_t record_check(struct bytes at, uint64_t position, struct bytes *ret_body,
                              uint32_t *ret_flags);

/* The size of a record that is known to be whole: in memory, checked before. */
static inline size_t record_size(const uint8_t *record)
{
    return RECORD_HEADER_BYTES + (bytes_get_u32le(record + 4) & ~RECORD_FLAGS);
}

/* Splits a body into the fields of an event; everything points into `body`. ERR_CORRUPT. */
MUST_CHECK err_t record_decode(uint64_t position, struct bytes body, struct event *ret);

/* The same for what stands in the log: one that is gone has no id and no type. */
MUST_CHECK err_t record_decode_stored(uint64_t position, struct bytes body, uint32_t flags,
                                      struct event *ret);

/* What every record has in front, also one that is gone. ERR_CORRUPT. */
struct record_head {
    uint64_t revision;
    int64_t time_us;
    struct bytes stream;
};
MUST_CHECK err_t record_peek(struct bytes body, struct record_head *ret);

/* The body of an event without its data and metadata, marked as redacted, into p, which has room
 * for the body and RECORD_REDACTED_BYTES; returns its size. ERR_CORRUPT. */
#define RECORD_REDACTED_BYTES 2
MUST_CHECK err_t record_redact(struct bytes body, uint8_t *p, size_t *ret_size);

/* Whole records for the same place, for reclaim: what is left of a redacted event, and of one that
 * is gone. p has room for the old record and RECORD_REDACTED_BYTES. ERR_CORRUPT. */
MUST_CHECK err_t record_make_redacted(struct bytes body, uint32_t flags, uint64_t position,
                                      uint8_t *p);
MUST_CHECK err_t record_make_gone(struct bytes body, uint32_t flags, uint64_t position, uint8_t *p);

/* The short fingerprint of an event id that the stream's posting blocks keep. */
uint16_t record_id_print(const uint8_t id[UUID_BYTES]);

#endif
