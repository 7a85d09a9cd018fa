/* Tests of projections/group_map.c: random puts and removals, compared with a plain table. */
#include "projections/group_map.h"

#include "tests/unit/support.h"

#include <cmocka.h>

#define KEYS 512

/* Whatever was put and removed, the map says what the table says; keys crowd together, so that
 * removals move others back. */
static void test_group_map_random(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    struct group_map m = {0};
    static uint32_t table[KEYS];
    memset(table, 0xff, sizeof table);
    size_t n = 0;
    assert_int_equal(group_map_get(&m, 1), GROUP_NONE);
    group_map_remove(&m, 1);
    for (int i = 0; i < 200000; i++) {
        uint64_t key = test_below(&random, KEYS);
        uint32_t value = (uint32_t)test_below(&random, 1000);
        if (test_below(&random, 2) == 0) {
            assert_int_equal(group_map_reserve(&m, m.n + 1), ERR_OK);
            group_map_put(&m, key << 40, value);
            n += table[key] == GROUP_NONE ? 1 : 0;
            table[key] = value;
        } else {
            group_map_remove(&m, key << 40);
            n -= table[key] == GROUP_NONE ? 0 : 1;
            table[key] = GROUP_NONE;
        }
        uint64_t other = test_below(&random, KEYS);
        assert_int_equal(group_map_get(&m, other << 40), table[other]);
        assert_int_equal(m.n, n);
    }
    group_map_clear(&m);
    assert_int_equal(group_map_get(&m, 1 << 20), GROUP_NONE);
    assert_int_equal(m.n, 0);
    group_map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_group_map_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
