/* Tests of storage/base/map.h. DAYBOOK_TEST_SEED=n repeats a random run. */
#include "storage/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ENTRIES 100000

struct entry {
    uint8_t key[40];
    size_t key_bytes;
    bool seen;
};

static uint64_t random_state;

static void seed_random(void)
{
    const char *text = getenv("DAYBOOK_TEST_SEED");
    random_state = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("DAYBOOK_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t v = random_state += 0x9e3779b97f4a7c15u;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

static struct bytes key_of(const struct entry *e)
{
    return bytes_of(e->key, e->key_bytes);
}

/* Distinct keys: the number makes them so, the random bytes and lengths make them ugly. */
static struct entry *make_entries(void)
{
    struct entry *entries = calloc(ENTRIES, sizeof *entries);
    assert_non_null(entries);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        bytes_put_u32le(entries[i].key, i);
        entries[i].key_bytes = 4 + next_random() % (sizeof entries[i].key - 3);
        for (size_t j = 4; j < entries[i].key_bytes; j++) {
            entries[i].key[j] = (uint8_t)(next_random() % 3);
        }
    }
    return entries;
}

/* An empty map has nothing, owns nothing, and may be done twice. */
static void test_map_get_empty(void **state)
{
    (void)state;
    struct map m;
    size_t iterator = 0;
    map_init(&m);
    assert_null(map_get(&m, BYTES_LITERAL("a")));
    assert_null(map_get(&m, BYTES_NONE));
    assert_null(map_next(&m, &iterator));
    map_done(&m);
    map_done(&m);
}

/* Keys that are prefixes of each other, empty or hold zero bytes are different keys. */
static void test_map_add_similar_keys(void **state)
{
    (void)state;
    static const struct bytes keys[] = {
        {NULL, 0},
        {(const uint8_t *)"a", 1},
        {(const uint8_t *)"a\0", 2},
        {(const uint8_t *)"\0a", 2},
        {(const uint8_t *)"\0", 1},
        {(const uint8_t *)"\0\0", 2},
    };
    int values[6];
    struct map m;
    map_init(&m);
    for (size_t i = 0; i < 6; i++) {
        assert_null(map_get(&m, keys[i]));
        assert_int_equal(map_add(&m, keys[i], &values[i]), ERR_OK);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_ptr_equal(map_get(&m, keys[i]), &values[i]);
    }
    assert_int_equal(m.n, 6);
    map_done(&m);
}

/* Keys with one and the same hash are still different keys. */
static void test_map_add_collisions(void **state)
{
    (void)state;
    enum { KEYS = 500, KEY_BYTES = 17 };
    static uint8_t keys[KEYS][KEY_BYTES];
    struct map m;
    map_init(&m);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct bytes key = bytes_of(keys[i], KEY_BYTES);
        /* A first word like the hash's own constant multiplies the second word by zero. */
        bytes_put_u64le(keys[i], 0xe7037ed1a0b428db);
        bytes_put_u32le(keys[i] + 8, i);
        assert_true(bytes_hash(key, 1) == bytes_hash(bytes_of(keys[0], KEY_BYTES), 1));
        assert_null(map_get(&m, key));
        assert_int_equal(map_add(&m, key, keys[i]), ERR_OK);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(map_get(&m, bytes_of(keys[i], KEY_BYTES)), keys[i]);
    }
    map_done(&m);
}

/* All of 100 000 entries are found through every growth, and what was not added never is. */
static void test_map_add_many(void **state)
{
    (void)state;
    seed_random();
    struct entry *entries = make_entries();
    struct map m;
    map_init(&m);
    for (size_t i = 0; i < ENTRIES; i++) {
        assert_null(map_get(&m, key_of(&entries[i])));
        assert_int_equal(map_add(&m, key_of(&entries[i]), &entries[i]), ERR_OK);
        size_t other = next_random() % ENTRIES;
        assert_ptr_equal(map_get(&m, key_of(&entries[other])), other <= i ? &entries[other] : NULL);
        assert_true(m.n <= m.cap / 4 * 3);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        assert_ptr_equal(map_get(&m, key_of(&entries[i])), &entries[i]);
    }
    map_done(&m);
    free(entries);
}

/* The walk meets each entry exactly once and then ends. */
static void test_map_next_all_once(void **state)
{
    (void)state;
    seed_random();
    struct entry *entries = make_entries();
    struct map m;
    map_init(&m);
    for (size_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(map_add(&m, key_of(&entries[i]), &entries[i]), ERR_OK);
    }
    size_t iterator = 0;
    size_t seen = 0;
    for (struct entry *e = map_next(&m, &iterator); e != NULL; e = map_next(&m, &iterator)) {
        assert_false(e->seen);
        e->seen = true;
        seen++;
    }
    assert_int_equal(seen, ENTRIES);
    assert_null(map_next(&m, &iterator));
    map_done(&m);
    free(entries);
}

/* Where the larger table cannot be had, the map is as it was and goes on once there is memory. */
static void test_map_add_memory(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* they need all of the address space */
#endif
    seed_random();
    struct entry *entries = make_entries();
    struct map m;
    map_init(&m);
    size_t n = 0;
    for (; m.n < m.cap / 4 * 3 || m.cap < 65536; n++) {
        assert_int_equal(map_add(&m, key_of(&entries[n]), &entries[n]), ERR_OK);
    }
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    err_t err = map_add(&m, key_of(&entries[n]), &entries[n]);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(err, ERR_MEMORY);
    assert_int_equal(m.n, n);
    assert_null(map_get(&m, key_of(&entries[n])));
    assert_int_equal(map_add(&m, key_of(&entries[n]), &entries[n]), ERR_OK);
    for (size_t i = 0; i <= n; i++) {
        assert_ptr_equal(map_get(&m, key_of(&entries[i])), &entries[i]);
    }
    map_done(&m);
    free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_get_empty),      cmocka_unit_test(test_map_add_similar_keys),
        cmocka_unit_test(test_map_add_collisions), cmocka_unit_test(test_map_add_many),
        cmocka_unit_test(test_map_next_all_once),  cmocka_unit_test(test_map_add_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
