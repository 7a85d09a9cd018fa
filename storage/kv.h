/* kv: ordered tables with transactions; kv_lmdb.c is the only file that knows LMDB.
 *
 * One write transaction at a time, on one thread; any number of read transactions, each on one
 * thread at a time and short: never across a wait. Keys and values that are returned point into the
 * map and live until their transaction ends (for a write transaction: until its next put). All keys
 * compare as bytes. */
#ifndef DAYBOOK_STORAGE_KV_H
#define DAYBOOK_STORAGE_KV_H

#include "storage/base/bytes.h"
#include "storage/base/err.h"

enum kv_table {
    KV_META,
    KV_LOG,
    KV_NAMES,
    KV_POSTINGS,
    KV_LIVES,
    KV_REDACTIONS,
    KV_TABLE_COUNT,
};

struct kv;
struct kv_txn;
struct kv_cursor;

/* Opens or makes the environment in `dir`, which exists. With `read_only` nothing is written but
 * the reader table. */
MUST_CHECK err_t kv_open(const char *dir, uint64_t map_bytes, bool read_only, struct kv **ret,
                         struct err_text *et);
void kv_close(struct kv *kv);

/* Bytes of the data file that are in use (free pages included). */
uint64_t kv_data_bytes(struct kv *kv);

MUST_CHECK err_t kv_begin(struct kv *kv, bool write, struct kv_txn **ret);
/* Durable when it returns ERR_OK; either way the transaction is over. ERR_DISK_FULL: nothing was
 * changed. */
MUST_CHECK err_t kv_commit(struct kv_txn *txn);
void kv_abort(struct kv_txn *txn);
/* For a read transaction that is used again and again: give up its snapshot, take a new one. */
void kv_reset(struct kv_txn *txn);
MUST_CHECK err_t kv_renew(struct kv_txn *txn);

/* ERR_NOT_FOUND. */
MUST_CHECK err_t kv_get(struct kv_txn *txn, enum kv_table table, struct bytes key,
                        struct bytes *ret);
/* Inserts or replaces. ERR_DISK_FULL. */
MUST_CHECK err_t kv_put(struct kv_txn *txn, enum kv_table table, struct bytes key,
                        struct bytes value);
/* Adds a row whose key is after every other of the table; the caller fills *ret (n bytes) before
 * its next call. */
MUST_CHECK err_t kv_append(struct kv_txn *txn, enum kv_table table, struct bytes key, size_t n,
                           uint8_t **ret);
/* Inserts or replaces a row of n bytes that the caller fills before its next call. */
MUST_CHECK err_t kv_reserve(struct kv_txn *txn, enum kv_table table, struct bytes key, size_t n,
                            uint8_t **ret);
/* A value of at least so many bytes has pages of its own, which hold nothing else. */
size_t kv_value_bytes_alone(const struct kv_txn *txn);
/* ERR_NOT_FOUND. */
MUST_CHECK err_t kv_delete(struct kv_txn *txn, enum kv_table table, struct bytes key);
/* Deletes every row of a table. */
MUST_CHECK err_t kv_clear(struct kv_txn *txn, enum kv_table table);

/* The number of a write transaction: they count up. */
uint64_t kv_txn_id(const struct kv_txn *txn);

/* Overwrites with zeroes all free pages that no reader can see, a bounded number a call. The thread
 * that writes, outside a transaction. It begins only when what transaction `wanted` has freed can
 * be wiped: a newer one is committed, no reader is older. *ret_done: all up to `wanted` is wiped;
 * *ret_more: call again, with no write transaction in between if that can be (the walk begins anew
 * after one, and does more a call); neither: it cannot begin now. */
MUST_CHECK err_t kv_scrub(struct kv *kv, uint64_t wanted, bool *ret_done, bool *ret_more);

MUST_CHECK err_t kv_cursor_open(struct kv_txn *txn, enum kv_table table, struct kv_cursor **ret);
void kv_cursor_close(struct kv_cursor *c);

struct kv_row {
    struct bytes key, value;
};

/* Each moves the cursor and returns the row there; ERR_END where there is none. */
MUST_CHECK err_t kv_first(struct kv_cursor *c, struct kv_row *ret);
MUST_CHECK err_t kv_last(struct kv_cursor *c, struct kv_row *ret);
MUST_CHECK err_t kv_next(struct kv_cursor *c, struct kv_row *ret);
MUST_CHECK err_t kv_prev(struct kv_cursor *c, struct kv_row *ret);
/* The first row at or after `key`; the last row at or before `key`. */
MUST_CHECK err_t kv_seek(struct kv_cursor *c, struct bytes key, struct kv_row *ret);
MUST_CHECK err_t kv_seek_back(struct kv_cursor *c, struct bytes key, struct kv_row *ret);

#endif
