/* log: blocks of records in KV_LOG. */
#include "log.h"

#include <stdlib.h>

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

/* ---- writing ---- */

/* What one block is made of: the records of the last block, then new ones. */
struct maker {
    const uint8_t *records[LOG_BLOCK_RECORDS_MAX];
    uint32_t n;
    size_t bytes;
};

static bool add_record(struct maker *m, const uint8_t *record)
{
    size_t more = OFFSET_BYTES + record_size(record);
    bool fits = m->n < LOG_BLOCK_RECORDS_MAX && (m->n == 0 || m->bytes + more <= LOG_BLOCK_BYTES);
    if (fits) {
        m->records[m->n++] = record;
        m->bytes += more;
    }
    return fits;
}

/* Writes the block; where it is small, zeroes behind it fill pages of its own. */
static err_t put_block(struct kv_txn *txn, uint64_t first, const struct maker *m, bool fresh)
{
    uint8_t key[8], *p;
    size_t least = kv_value_bytes_alone(txn);
    size_t size = m->bytes < least ? least : m->bytes;
    bytes_put_u64be(key, first);
    err_t err = fresh ? kv_append(txn, KV_LOG, bytes_of(key, sizeof key), size, &p)
                      : kv_reserve(txn, KV_LOG, bytes_of(key, sizeof key), size, &p);
    if (err != ERR_OK) {
        return err;
    }
    put_u16(p, m->n);
    size_t at = head_bytes(m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        size_t n = record_size(m->records[i]);
        put_u16(p + head_bytes(i), at);
        memcpy(p + at, m->records[i], n);
        at += n;
    }
    CHECK(at == m->bytes);
    memset(p + at, 0, size - at);
    return ERR_OK;
}

/* The records of a block in memory. */
static err_t take_records(struct maker *m, struct bytes block, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t at = get_u16(block.p + head_bytes(i)), size;
        if (at < head_bytes(n) || at > block.n ||
            record_measure(bytes_of(block.p + at, block.n - at), &size) != ERR_OK) {
            return ERR_CORRUPT;
        }
        m->records[m->n++] = block.p + at;
        m->bytes += OFFSET_BYTES + size;
    }
    return ERR_OK;
}

/* Starts with the last block's records where one more fits behind them; a copy in *copy, since the
 * row may change in place. 0: it starts empty. */
static err_t take_last(struct kv_txn *txn, const uint8_t *next, struct maker *m, uint8_t *copy,
                       uint64_t *ret_first)
{
    struct log_cursor c = {0};
    struct kv_row row;
    *ret_first = 0;
    *m = (struct maker){.bytes = COUNT_BYTES};
    err_t err = kv_cursor_open(txn, KV_LOG, &c.cursor);
    if (err == ERR_OK) {
        err = kv_last(c.cursor, &row);
    }
    if (err == ERR_OK) {
        err = load(&c, &row);
    }
    if (err == ERR_OK && c.block.n <= LOG_BLOCK_BYTES && c.n < LOG_BLOCK_RECORDS_MAX) {
        memcpy(copy, c.block.p, c.block.n);
        err = take_records(m, bytes_of(copy, c.block.n), c.n);
        bool fits = m->bytes + OFFSET_BYTES + record_size(next) <= LOG_BLOCK_BYTES;
        *ret_first = err == ERR_OK && fits ? c.first : 0;
    }
    log_cursor_done(&c);
    if (*ret_first == 0) {
        *m = (struct maker){.bytes = COUNT_BYTES};
    }
    return err == ERR_END ? ERR_OK : err;
}

err_t log_append(struct kv_txn *txn, uint64_t first, const uint8_t *const *records, uint32_t n,
                 uint32_t *ret_taken, size_t *ret_bytes)
{
    struct maker m;
    uint64_t start;
    CHECK(n > 0);
    uint8_t *copy = malloc(LOG_BLOCK_BYTES);
    if (copy == NULL) {
        return ERR_MEMORY;
    }
    err_t err = take_last(txn, records[0], &m, copy, &start);
    if (err == ERR_OK && start != 0 && start + m.n != first) {
        err = ERR_CORRUPT; /* a gap, or what is there already */
    }
    uint32_t taken = 0;
    while (err == ERR_OK && taken < n && add_record(&m, records[taken])) {
        taken++;
    }
    if (err == ERR_OK) {
        err = put_block(txn, start == 0 ? first : start, &m, start == 0);
    }
    free(copy);
    if (err == ERR_OK) {
        *ret_taken = taken;
        *ret_bytes = m.bytes;
    }
    return err;
}

err_t log_replace(struct kv_txn *txn, uint64_t first, const uint8_t *const *records, uint32_t n)
{
    struct maker m = {.n = n, .bytes = head_bytes(n)};
    CHECK(n > 0 && n <= LOG_BLOCK_RECORDS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        m.records[i] = records[i];
        m.bytes += record_size(records[i]);
    }
    return put_block(txn, first, &m, false);
}
