/* fuzz_posting: any bytes as a posting block: refused, or a block that encodes to itself. */
#include "storage/posting.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_order(const struct posting_block *b)
{
    for (uint32_t i = 1; i < b->n; i++) {
        if (b->positions[i] <= b->positions[i - 1]) {
            abort();
        }
    }
}

/* Added again one by one it is the same block, unless a number was written longer than needed. */
static void check_again(const struct posting_block *b, enum name_kind kind, struct bytes value)
{
    static struct posting_block again;
    uint8_t out[POSTING_BYTES_MAX];
    posting_start(&again, b->ordinal);
    for (uint32_t i = 0; i < b->n; i++) {
        if (!posting_add(&again, kind, b->positions[i], b->prints[i])) {
            abort();
        }
    }
    size_t n = posting_encode(&again, kind, out);
    if (n > value.n || (n == value.n && memcmp(out, value.p, n) != 0)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct posting_block b;
    uint8_t key[POSTING_KEY_BYTES];
    const uint8_t *prints;
    uint32_t n;
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        struct kv_row row = {.key = posting_key((enum name_kind)kind, 1, 1, key),
                             .value = bytes_of(data, size)};
        if (posting_decode(&row, (enum name_kind)kind, &b) == ERR_OK) {
            check_order(&b);
            check_again(&b, (enum name_kind)kind, row.value);
        }
        if (posting_prints(&row, &n, &prints) == ERR_OK && prints + 2 * (size_t)n > data + size) {
            abort();
        }
    }
    return 0;
}
