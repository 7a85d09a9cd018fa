/* names: the directory: for every stream, category, type and tag its id, its number of events and
 * its last position.
 *
 * Pure functions on transactions; the caller's thread. A name's id is the position of the first
 * event that had it, so it follows from the log and never has to be handed out. Layout in
 * FORMAT.md. */
#ifndef DAYBOOK_STORAGE_NAMES_H
#define DAYBOOK_STORAGE_NAMES_H

#include "storage/event.h"
#include "storage/kv.h"

enum name_kind { NAME_STREAM, NAME_CATEGORY, NAME_TYPE, NAME_TAG, NAME_KINDS };

#define NAME_KEY_BYTES_MAX (1 + EVENT_NAME_MAX)

struct name_row {
    uint64_t id;    /* position of its first event */
    uint64_t count; /* events; of a stream: its head revision */
    uint64_t last;  /* position of its last event */
};

/* The row's key into key[NAME_KEY_BYTES_MAX]. */
struct bytes names_key(enum name_kind kind, struct bytes name, uint8_t *key);

/* ERR_NOT_FOUND leaves *ret zeroed. */
MUST_CHECK err_t names_get(struct kv_txn *txn, enum name_kind kind, struct bytes name,
                           struct name_row *ret);
MUST_CHECK err_t names_put(struct kv_txn *txn, enum name_kind kind, struct bytes name,
                           const struct name_row *row);
/* Reads a row of the table; ERR_CORRUPT. */
MUST_CHECK err_t names_decode(const struct kv_row *row, enum name_kind *ret_kind,
                              struct bytes *ret_name, struct name_row *ret);

#endif
