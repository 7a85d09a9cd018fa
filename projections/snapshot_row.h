/* snapshot_row: the bytes of clients' snapshots, and of what is known of all of them, in the state
 * environment.
 *
 * Pure functions on memory, any thread. Numbers are little-endian. A snapshot's key is
 * STATE_SNAPSHOTS and the stream's name; that byte alone is the key of the ledger. */
#ifndef DAYBOOK_PROJECTIONS_SNAPSHOT_ROW_H
#define DAYBOOK_PROJECTIONS_SNAPSHOT_ROW_H

#include "projections/state_env.h"
#include "storage/event.h"

/* A state of a stream that a client has folded and wants back. */
struct snapshot {
    uint64_t revision; /* of the last event that is in it */
    uint32_t schema_version;
    struct bytes name;         /* what kind of state it is, the client's; empty: it does not say */
    struct bytes content_type; /* empty: application/json */
    struct bytes data;
    /* Set by the store when it is put. */
    uint64_t position; /* the log's last position then */
    int64_t time_us;   /* no two snapshots have the same */
};

/* What is known of all of them. */
struct snapshot_ledger {
    uint64_t folded; /* revision of CHANGE_STREAM up to which its events have had their effect */
    int64_t last_time_us; /* of the snapshot that was put last */
    uint64_t bytes;       /* of all rows' values */
};

#define SNAPSHOT_KEY_MAX      (EVENT_NAME_MAX + 1)
#define SNAPSHOT_HEAD_BYTES   48
#define SNAPSHOT_LEDGER_BYTES 32

struct bytes snapshot_key(struct bytes stream, uint8_t room[SNAPSHOT_KEY_MAX]);

size_t snapshot_row_bytes(const struct snapshot *s);
/* Fills `n` bytes, at least snapshot_row_bytes: zeroes follow. */
void snapshot_row_encode(struct bytes key, const struct snapshot *s, uint8_t *p, size_t n);
/* Everything points into the row. ERR_CORRUPT. */
MUST_CHECK err_t snapshot_row_decode(struct bytes key, struct bytes row, struct snapshot *ret);

void snapshot_ledger_encode(const struct snapshot_ledger *l, uint8_t p[SNAPSHOT_LEDGER_BYTES]);
MUST_CHECK err_t snapshot_ledger_decode(struct bytes row, struct snapshot_ledger *ret);

#endif
