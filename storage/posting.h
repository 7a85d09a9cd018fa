/* posting: one block of a posting list: up to POSTING_ENTRIES_MAX positions of one name,
 * delta-coded, and for a stream the fingerprints of the event ids.
 *
 * Pure functions on memory, any thread. A list is rows of KV_POSTINGS under (kind, name id,
 * ordinal): of a stream the ordinal is the first revision in the block, of the others its first
 * position. A full block of a stream fills a page of its own (LMDB puts a value over half
 * a page on overflow pages), so that long lists leave no half-empty pages. Layout in FORMAT.md. */
#ifndef DAYBOOK_STORAGE_POSTING_H
#define DAYBOOK_STORAGE_POSTING_H

#include "storage/kv.h"
#include "storage/names.h"

#define POSTING_KEY_BYTES   17
#define POSTING_ENTRIES_MAX 4000
#define POSTING_BYTES_MAX   4080

struct posting_block {
    uint64_t ordinal; /* from the key */
    uint32_t n;
    size_t bytes; /* encoded */
    uint64_t positions[POSTING_ENTRIES_MAX];
    uint16_t prints[POSTING_ENTRIES_MAX]; /* streams only */
};

struct bytes posting_key(enum name_kind kind, uint64_t id, uint64_t ordinal,
                         uint8_t key[POSTING_KEY_BYTES]);

/* Whether a row's key is of this list. */
bool posting_key_is(struct bytes key, enum name_kind kind, uint64_t id);

/* ERR_CORRUPT where it is not a block: cut, out of order, too long. */
MUST_CHECK err_t posting_decode(const struct kv_row *row, enum name_kind kind,
                                struct posting_block *ret);
/* The same for the positions' end alone: how many there are, and (streams) where their fingerprints
 * stand, 2 bytes each, little-endian. */
MUST_CHECK err_t posting_prints(const struct kv_row *row, uint32_t *ret_n,
                                const uint8_t **ret_prints);

/* Positions to post, ascending; fingerprints for a stream, else NULL. */
struct posting_run {
    const uint64_t *positions;
    const uint16_t *prints;
    size_t n;
};

/* Writes a row's block with as many of `more` behind it as fit to out[POSTING_BYTES_MAX]: what is
 * there is copied, not decoded and encoded again. It may be none. ERR_CORRUPT: it is not a block
 * whose last position is `last`. */
struct posting_extended {
    size_t taken; /* of `more` */
    size_t bytes; /* of the block in out */
};
MUST_CHECK err_t posting_extend(const struct kv_row *row, enum name_kind kind, uint64_t last,
                                const struct posting_run *more, uint8_t out[POSTING_BYTES_MAX],
                                struct posting_extended *ret);

/* Starts an empty block. */
void posting_start(struct posting_block *b, uint64_t ordinal);
/* Adds a position after the last one; false: the block is full, start another. */
bool posting_add(struct posting_block *b, enum name_kind kind, uint64_t position, uint16_t print);
/* Into out[POSTING_BYTES_MAX]; returns the size. */
size_t posting_encode(const struct posting_block *b, enum name_kind kind,
                      uint8_t out[POSTING_BYTES_MAX]);

/* Index of the first of `n` ascending positions that is at or after `position`; n where there is
 * none. */
size_t posting_search(const uint64_t *positions, size_t n, uint64_t position);

#endif
