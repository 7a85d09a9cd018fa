/* kv_lmdb: what the two files that know LMDB share. */
#ifndef DAYBOOK_STORAGE_KV_LMDB_H
#define DAYBOOK_STORAGE_KV_LMDB_H

#include <lmdb.h>

#include "storage/kv.h"

struct kv {
    MDB_env *env;
    MDB_dbi tables[KV_TABLE_COUNT];
    size_t page_bytes;
    /* kv_scrub.c's, the writing thread's: the snapshot whose free pages are being wiped, the list
     * it has come to, and how much a call does. */
    uint64_t scrub_snapshot, scrub_at;
    size_t scrub_pages;
};

struct kv_txn {
    MDB_txn *txn;
    struct kv *kv;
    bool write;
};

struct kv_cursor {
    MDB_cursor *cursor;
    const struct kv_txn *txn;
};

err_t kv_from_lmdb(int code);

#endif
