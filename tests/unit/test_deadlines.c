/* Tests of server/deadlines.c against a plain search. */
#include "server/deadlines.h"

#include "tests/unit/support.h"

#include <cmocka.h>

#define ITEMS 200
#define STEPS 20000

/* The first is the earliest of those that are set, whatever was set, moved and removed. */
static void test_deadlines_random(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static struct deadline items[ITEMS];
    struct deadlines h;
    deadlines_init(&h);
    assert_null(deadlines_first(&h));
    for (int step = 0; step < STEPS; step++) {
        struct deadline *d = &items[test_below(&random, ITEMS)];
        if (test_below(&random, 3) == 0) {
            deadlines_remove(&h, d);
            assert_int_equal(d->place, 0);
        } else {
            assert_int_equal(deadlines_reserve(&h, h.n + 1), ERR_OK);
            deadlines_set(&h, d, (int64_t)test_below(&random, 1000));
        }
        size_t n = 0;
        int64_t earliest = INT64_MAX;
        for (int i = 0; i < ITEMS; i++) {
            n += items[i].place > 0;
            earliest = items[i].place > 0 && items[i].at_us < earliest ? items[i].at_us : earliest;
        }
        assert_int_equal(h.n, n);
        const struct deadline *first = deadlines_first(&h);
        assert_int_equal(first == NULL ? INT64_MAX : first->at_us, earliest);
    }
    deadlines_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
