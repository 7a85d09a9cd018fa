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

/* A block's head: the number of records (2 bytes), then where each starts in the block (2 bytes
 * each), little-endian. */
#define COUNT_BYTES  2
#define OFFSET_BYTES 2

static size_t head_bytes(uint32_t n)
{
    return COUNT_BYTES + (size_t)n * OFFSET_BYTES;
}

static size_t get_u16(const uint8_t *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8;
}

static void put_u16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static err_t load(struct log_cursor *c, const struct kv_row *row)
{
    c->first = 0;
    if (row->key.n != 8 || row->value.n < COUNT_BYTES) {
        return ERR_CORRUPT;
    }
    c->block = row->value;
    c->n = (uint32_t)get_u16(row->value.p);
    if (c->n == 0 || c->n > LOG_BLOCK_RECORDS_MAX || row->value.n < head_bytes(c->n)) {
        return ERR_CORRUPT;
    }
    c->first = bytes_get_u64be(row->key.p);
    return c->first > 0 ? ERR_OK : ERR_CORRUPT;
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
    size_t at = get_u16(c->block.p + head_bytes((uint32_t)(position - c->first)));
    if (at < head_bytes(c->n) || at > c->block.n) {
        return ERR_CORRUPT;
    }
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

/* How many records make a block, and its size. One that is larger than a block is a block of its
 * own. */
static uint32_t measure(const uint8_t *const *records, uint32_t n, size_t *ret_bytes)
{
    uint32_t taken = 0;
    size_t bytes = COUNT_BYTES;
    while (taken < n && taken < LOG_BLOCK_RECORDS_MAX) {
        size_t more = OFFSET_BYTES + record_size(records[taken]);
        if (taken > 0 && bytes + more > LOG_BLOCK_BYTES) {
            break;
        }
        bytes += more;
        taken++;
    }
    *ret_bytes = bytes;
    return taken;
}

err_t log_append(struct kv_txn *txn, uint64_t first, const uint8_t *const *records, uint32_t n,
                 uint32_t *ret_taken, size_t *ret_bytes)
{
    uint8_t key[8], *p;
    uint32_t taken = measure(records, n, ret_bytes);
    CHECK(taken > 0);
    bytes_put_u64be(key, first);
    err_t err = kv_append(txn, KV_LOG, bytes_of(key, sizeof key), *ret_bytes, &p);
    if (err != ERR_OK) {
        return err;
    }
    put_u16(p, taken);
    size_t at = head_bytes(taken);
    for (uint32_t i = 0; i < taken; i++) {
        size_t size = record_size(records[i]);
        put_u16(p + head_bytes(i), at);
        memcpy(p + at, records[i], size);
        at += size;
    }
    CHECK(at == *ret_bytes);
    *ret_taken = taken;
    return ERR_OK;
}
