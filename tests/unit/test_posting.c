/* Tests of storage/posting.c: blocks read back what was put in; damaged ones are refused. */
#include "storage/posting.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

/* Fills a block with random deltas of up to `spread` until it is full or has `most`. */
static void fill(struct posting_block *b, enum name_kind kind, uint32_t most, uint64_t spread,
                 uint64_t *random)
{
    uint64_t position = 0;
    posting_start(b, 1 + test_below(random, 1000));
    do {
        position += 1 + test_below(random, spread);
    } while (b->n < most && posting_add(b, kind, position, (uint16_t)test_random(random)));
}

static struct kv_row encode(const struct posting_block *b, enum name_kind kind, uint8_t *key,
                            uint8_t *value)
{
    size_t n = posting_encode(b, kind, value);
    return (struct kv_row){.key = posting_key(kind, 7, b->ordinal, key),
                           .value = bytes_of(value, n)};
}

/* A block of any size and spread decodes to what was added. */
static void test_posting_round_trip(void **state)
{
    (void)state;
    static struct posting_block a, b;
    uint64_t random = test_seed();
    for (int i = 0; i < 3000; i++) {
        uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX];
        enum name_kind kind = (enum name_kind)test_below(&random, NAME_KINDS);
        uint64_t spread = (uint64_t)1 << test_below(&random, 52);
        fill(&a, kind, 1 + (uint32_t)test_below(&random, POSTING_ENTRIES_MAX), spread, &random);
        struct kv_row row = encode(&a, kind, key, value);
        assert_int_equal(posting_decode(&row, kind, &b), ERR_OK);
        assert_int_equal(b.ordinal, a.ordinal);
        assert_int_equal(b.n, a.n);
        assert_int_equal(b.bytes, a.bytes);
        assert_memory_equal(b.positions, a.positions, a.n * sizeof *a.positions);
        if (kind == NAME_STREAM) {
            uint32_t n;
            const uint8_t *prints;
            assert_memory_equal(b.prints, a.prints, a.n * sizeof *a.prints);
            assert_int_equal(posting_prints(&row, &n, &prints), ERR_OK);
            assert_int_equal(n, a.n);
            assert_int_equal(prints[0] | prints[1] << 8, a.prints[0]);
        }
    }
}

/* A block takes so many entries and so many bytes, and no more. */
static void test_posting_add_full(void **state)
{
    (void)state;
    static struct posting_block b;
    uint64_t random = 1;
    fill(&b, NAME_TYPE, UINT32_MAX, 1, &random);
    assert_int_equal(b.n, POSTING_ENTRIES_MAX);
    fill(&b, NAME_STREAM, UINT32_MAX, (uint64_t)1 << 40, &random);
    assert_true(b.n < POSTING_ENTRIES_MAX && b.bytes <= POSTING_BYTES_MAX);
    assert_true(b.bytes > POSTING_BYTES_MAX - 12);
}

/* Extending a block gives the bytes that adding the same positions one by one gives, and takes as
 * many. */
static void test_posting_extend_is_adding(void **state)
{
    (void)state;
    static struct posting_block whole, part;
    uint64_t random = test_seed();
    for (int i = 0; i < 2000; i++) {
        uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX], out[POSTING_BYTES_MAX];
        enum name_kind kind = (enum name_kind)test_below(&random, NAME_KINDS);
        fill(&whole, kind, 2 + (uint32_t)test_below(&random, POSTING_ENTRIES_MAX),
             (uint64_t)1 << test_below(&random, 40), &random);
        if (whole.n < 2) {
            continue;
        }
        uint32_t first = 1 + (uint32_t)test_below(&random, whole.n - 1);
        posting_start(&part, whole.ordinal);
        for (uint32_t k = 0; k < first; k++) {
            assert_true(posting_add(&part, kind, whole.positions[k], whole.prints[k]));
        }
        struct kv_row row = encode(&part, kind, key, value);
        struct posting_run run = {.positions = whole.positions + first,
                                  .prints = kind == NAME_STREAM ? whole.prints + first : NULL,
                                  .n = whole.n - first};
        struct posting_extended extended;
        uint64_t last = whole.positions[first - 1];
        assert_int_equal(posting_extend(&row, kind, last, &run, out, &extended), ERR_OK);
        assert_int_equal(extended.taken, run.n);
        uint8_t wanted[POSTING_BYTES_MAX];
        assert_int_equal(extended.bytes, posting_encode(&whole, kind, wanted));
        assert_memory_equal(out, wanted, extended.bytes);
        assert_int_equal(posting_extend(&row, kind, last + 1, &run, out, &extended), ERR_CORRUPT);
    }
}

/* Every truncation is refused. */
static void test_posting_decode_truncated(void **state)
{
    (void)state;
    static struct posting_block a, b;
    uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX];
    uint64_t random = test_seed();
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        fill(&a, (enum name_kind)kind, 100, 500, &random);
        struct kv_row row = encode(&a, (enum name_kind)kind, key, value);
        for (size_t n = row.value.n; n-- > 0;) {
            uint8_t *exact = malloc(n + 1);
            assert_non_null(exact);
            memcpy(exact, value, n);
            struct kv_row cut = {.key = row.key, .value = bytes_of(exact, n)};
            assert_int_equal(posting_decode(&cut, (enum name_kind)kind, &b), ERR_CORRUPT);
            free(exact);
        }
        row.key.n--;
        assert_int_equal(posting_decode(&row, (enum name_kind)kind, &b), ERR_CORRUPT);
    }
}

/* Random bytes are refused or decode to ascending positions; never beyond the bytes given. */
static void test_posting_decode_random(void **state)
{
    (void)state;
    static struct posting_block b;
    uint64_t random = test_seed();
    uint8_t key[POSTING_KEY_BYTES] = {0};
    for (int i = 0; i < 100000; i++) {
        size_t n = test_below(&random, 64);
        uint8_t *exact = malloc(n + 1);
        assert_non_null(exact);
        for (size_t k = 0; k < n; k++) {
            exact[k] = (uint8_t)(k < 2 ? test_below(&random, 8) * (1 - k) : test_random(&random));
        }
        struct kv_row row = {.key = bytes_of(key, sizeof key), .value = bytes_of(exact, n)};
        err_t err = posting_decode(&row, (enum name_kind)test_below(&random, NAME_KINDS), &b);
        assert_true(err == ERR_OK || err == ERR_CORRUPT);
        for (uint32_t k = 1; err == ERR_OK && k < b.n; k++) {
            assert_true(b.positions[k] > b.positions[k - 1]);
        }
        free(exact);
    }
}

/* The search finds the first position at or after. */
static void test_posting_search_edges(void **state)
{
    (void)state;
    static const uint64_t POSITIONS[] = {2, 4, 4000};
    assert_int_equal(posting_search(POSITIONS, 0, 1), 0);
    assert_int_equal(posting_search(POSITIONS, 3, 0), 0);
    assert_int_equal(posting_search(POSITIONS, 3, 2), 0);
    assert_int_equal(posting_search(POSITIONS, 3, 3), 1);
    assert_int_equal(posting_search(POSITIONS, 3, 4000), 2);
    assert_int_equal(posting_search(POSITIONS, 3, 4001), 3);
}

/* Keys sort by kind, id and ordinal. */
static void test_posting_key_order(void **state)
{
    (void)state;
    uint8_t a[POSTING_KEY_BYTES], b[POSTING_KEY_BYTES];
    struct bytes key = posting_key(NAME_STREAM, 255, 256, a);
    assert_true(bytes_compare(key, posting_key(NAME_STREAM, 255, 257, b)) < 0);
    assert_true(bytes_compare(key, posting_key(NAME_STREAM, 256, 1, b)) < 0);
    assert_true(bytes_compare(key, posting_key(NAME_TAG, 1, 1, b)) < 0);
    assert_true(posting_key_is(key, NAME_STREAM, 255));
    assert_false(posting_key_is(key, NAME_TYPE, 255));
    assert_false(posting_key_is(key, NAME_STREAM, 254));
    assert_false(posting_key_is(bytes_of(a, 9), NAME_STREAM, 255));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posting_round_trip),
        cmocka_unit_test(test_posting_add_full),
        cmocka_unit_test(test_posting_extend_is_adding),
        cmocka_unit_test(test_posting_decode_truncated),
        cmocka_unit_test(test_posting_decode_random),
        cmocka_unit_test(test_posting_search_edges),
        cmocka_unit_test(test_posting_key_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
