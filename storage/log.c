/* log: blocks of records in KV_LOG. */
#include "log.h"

#include "storage/base/check.h"
#include "storage/record.h"

void log_cursor_done(struct log_cursor *c)
{
    log_cursor_reset(c);
}

void log_cursor_reset(struct log_cursor *c)
{
    kv_cursor_close(c->cursor);
    c->cursor = NULL;
    c->first = 0;
}

/* Finds where each record of the block starts. */
static err_t load(struct log_cursor *c, const struct kv_row *row)
{
    c->first = 0;
    if (row->key.n != 8) {
        return ERR_CORRUPT;
    }
    c->block = row->value;
    c->n = 0;
    for (size_t at = 0; at < row->value.n;) {
        size_t size;
        err_t err = record_measure(bytes_of(row->value.p + at, row->value.n - at), &size);
        if (err != ERR_OK || c->n == LOG_BLOCK_RECORDS_MAX) {
            return ERR_CORRUPT;
        }
        c->offsets[c->n++] = (uint32_t)at;
        at += size;
    }
    c->first = bytes_get_u64be(row->key.p);
    return c->n > 0 && c->first > 0 ? ERR_OK : ERR_CORRUPT;
}

static bool holds(const struct log_cursor *c, uint64_t position)
{
    return c->first != 0 && position >= c->first && position - c->first < c->n;
}

static err_t load_block_of(struct log_cursor *c, struct kv_txn *txn, uint64_t position)
{
    struct kv_row row;
    err_t err = c->cursor == NULL ? kv_cursor_open(txn, KV_LOG, &c->cursor) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    if (c->first != 0 && position == c->first + c->n) {
        err = kv_next(c->cursor, &row);
    } else {
        uint8_t key[8];
        bytes_put_u64be(key, position);
        err = kv_seek_back(c->cursor, bytes_of(key, sizeof key), &row);
    }
    return err == ERR_OK ? load(c, &row) : err;
}

err_t log_find(struct log_cursor *c, struct kv_txn *txn, uint64_t position, struct bytes *ret)
{
    if (!holds(c, position)) {
        err_t err = load_block_of(c, txn, position);
        if (err != ERR_OK) {
            c->first = 0;
            return err == ERR_END ? ERR_NOT_FOUND : err;
        }
        if (!holds(c, position)) {
            return ERR_NOT_FOUND;
        }
    }
    size_t at = c->offsets[position - c->first];
    *ret = bytes_of(c->block.p + at, c->block.n - at);
    return ERR_OK;
}

err_t log_last(struct kv_txn *txn, uint64_t *ret)
{
    struct log_cursor c = {0};
    struct kv_row row;
    err_t err = kv_cursor_open(txn, KV_LOG, &c.cursor);
    if (err == ERR_OK) {
        err = kv_last(c.cursor, &row);
    }
    if (err == ERR_OK) {
        err = load(&c, &row);
    }
    if (err == ERR_OK) {
        *ret = c.first + c.n - 1;
    } else if (err == ERR_END) {
        *ret = 0;
        err = ERR_OK;
    }
    log_cursor_done(&c);
    return err;
}

err_t log_append(struct kv_txn *txn, uint64_t first, const uint8_t *const *records, uint32_t n,
                 size_t bytes)
{
    uint8_t key[8], *p;
    CHECK(n > 0 && n <= LOG_BLOCK_RECORDS_MAX);
    bytes_put_u64be(key, first);
    err_t err = kv_append(txn, KV_LOG, bytes_of(key, sizeof key), bytes, &p);
    if (err != ERR_OK) {
        return err;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t size;
        err = record_measure(bytes_of(records[i], bytes - at), &size);
        if (err != ERR_OK) {
            return err;
        }
        memcpy(p + at, records[i], size);
        at += size;
    }
    CHECK(at == bytes);
    return ERR_OK;
}
