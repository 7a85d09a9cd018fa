/* life: what the metadata, the truncation and the deletion of one stream say about which of its
 * events can be read; its bytes in events and in the table KV_LIVES.
 *
 * Pure functions on memory and transactions, any thread. A life is the complete state; a newer one
 * replaces it. */
#ifndef DAYBOOK_STORAGE_LIFE_H
#define DAYBOOK_STORAGE_LIFE_H

#include "storage/event.h"
#include "storage/kv.h"

/* The system's stream that has all changes of all lives, and redactions, as events. */
#define LIFE_STREAM BYTES_LITERAL("$streams")

struct life {
    struct bytes stream;
    uint64_t floor;           /* events below this revision are gone for ever; it only grows */
    uint64_t max_count;       /* 0: no limit */
    uint64_t max_age_s;       /* 0: no limit */
    uint64_t truncate_before; /* as it was asked for */
    struct bytes custom;
    uint64_t deleted_head; /* the head when it was deleted; 0: never */
    bool tombstoned;
    uint64_t position;  /* of the event that says all this */
    uint64_t reclaimed; /* in KV_LIVES only: events up to this revision are stubs already */
};

/* Whether the stream, whose head is `head`, counts as deleted. */
static inline bool life_is_deleted(const struct life *l, uint64_t head)
{
    return l->tombstoned || (l->deleted_head > 0 && l->deleted_head == head);
}

/* The first revision that floor and max_count let through, at most head + 1. */
uint64_t life_first(const struct life *l, uint64_t head);
/* Events before this time are hidden by max_age_s; INT64_MIN: none. */
int64_t life_expiry_us(const struct life *l, int64_t now_us);

/* A StreamLife message (events.proto). */
size_t life_encoded_bytes(const struct life *l);
uint8_t *life_encode(uint8_t *p, const struct life *l);
/* Everything points into `message`; position and reclaimed are 0. ERR_CORRUPT. */
MUST_CHECK err_t life_decode(struct bytes message, struct life *ret);

/* A Redaction message. */
struct redaction {
    struct bytes stream;
    uint64_t revision, position;
    struct bytes reason;
};
size_t redaction_encoded_bytes(const struct redaction *r);
uint8_t *redaction_encode(uint8_t *p, const struct redaction *r);
MUST_CHECK err_t redaction_decode(struct bytes message, struct redaction *ret);

/* ---- the tables ---- */

/* What the first 4 bytes of a row's value must be. */
uint32_t life_row_checksum(struct bytes key, struct bytes value);

/* The stream's life; ERR_NOT_FOUND: it has none. Borrowed from the transaction. */
MUST_CHECK err_t lives_get(struct kv_txn *txn, struct bytes stream, struct life *ret);
MUST_CHECK err_t lives_put(struct kv_txn *txn, const struct life *l);
MUST_CHECK err_t lives_decode(const struct kv_row *row, struct life *ret);

/* Redactions whose target is not wiped yet: target position, and position of the event that asks
 * for it. */
#define REDACTION_KEY_BYTES   8
#define REDACTION_VALUE_BYTES 12
MUST_CHECK err_t redactions_put(struct kv_txn *txn, uint64_t target, uint64_t position);
/* ERR_NOT_FOUND: none waits. */
MUST_CHECK err_t redactions_get(struct kv_txn *txn, uint64_t target, uint64_t *ret_position);
MUST_CHECK err_t redactions_delete(struct kv_txn *txn, uint64_t target);
MUST_CHECK err_t redactions_decode(const struct kv_row *row, uint64_t *ret_target,
                                   uint64_t *ret_position);

#endif
