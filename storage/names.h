/* names: the directory: for every stream, category, type and tag its id, its number of events and
 * its first and last position.
 *
 * Pure functions on transactions; the caller's thread. A name's id never has to be handed out: it
 * is the position of the event that brought it, and its place among that event's tags, since one
 * event may bring several new ones. It stays when that event is reclaimed. Layout in FORMAT.md. */
#ifndef DAYBOOK_STORAGE_NAMES_H
#define DAYBOOK_STORAGE_NAMES_H

#include "storage/event.h"
#include "storage/kv.h"

enum name_kind { NAME_STREAM, NAME_CATEGORY, NAME_TYPE, NAME_TAG, NAME_KINDS };

#define NAME_KEY_BYTES_MAX (1 + EVENT_NAME_MAX)

/* The low bits of an id: which of its first event's tags the name is; 0 for the other kinds. */
#define NAME_ID_TAG_BITS 5

struct name_row {
    uint64_t id;    /* names_id of the first event that had it since the row was made */
    uint64_t first; /* position of its first event */
    uint64_t count; /* events; of a stream: its head revision */
    uint64_t last;  /* position of its last event */
};

static inline uint64_t names_id(uint64_t first, uint32_t tag)
{
    return first << NAME_ID_TAG_BITS | tag;
}

/* The row's key into key[NAME_KEY_BYTES_MAX]. */
struct bytes names_key(enum name_kind kind, struct bytes name, uint8_t *key);

/* ERR_NOT_FOUND leaves *ret zeroed. */
MUST_CHECK err_t names_get(struct kv_txn *txn, enum name_kind kind, struct bytes name,
                           struct name_row *ret);
MUST_CHECK err_t names_delete(struct kv_txn *txn, enum name_kind kind, struct bytes name);
MUST_CHECK err_t names_put(struct kv_txn *txn, enum name_kind kind, struct bytes name,
                           const struct name_row *row);
/* Reads a row of the table; ERR_CORRUPT. */
MUST_CHECK err_t names_decode(const struct kv_row *row, enum name_kind *ret_kind,
                              struct bytes *ret_name, struct name_row *ret);

#endif
