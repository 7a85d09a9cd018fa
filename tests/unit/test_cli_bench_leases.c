/* Tests of clients/cli/bench_leases.h. */
#include "clients/cli/bench_leases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define A "0123456789abcdef0123456789abcdef0000"
#define B "0123456789abcdef0123456789abcdef0001"

static const char text[] =
    "{\"events\":[{\"lease\":\"" A "\",\"attempt\":1,\"event\":{\"a\":\"\"leas\"}},"
    "{\"lease\":\"" B "\",\"attempt\":1}]}";

/* The leases are found wherever the pieces are cut. */
static void test_pieces(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        char texts[2 * BENCH_LEASE_TEXT];
        struct bench_leases l = {.texts = texts, .room = 2};
        bench_leases_begin(&l);
        bench_leases_take(&l, text, cut);
        bench_leases_take(&l, text + cut, sizeof text - 1 - cut);
        assert_int_equal(l.n, 2);
        assert_memory_equal(texts, A B, sizeof texts);
    }
}

/* What there is no room for is left out; the next answer begins anew. */
static void test_room(void **state)
{
    (void)state;
    char texts[BENCH_LEASE_TEXT];
    struct bench_leases l = {.texts = texts, .room = 1};
    bench_leases_take(&l, text, sizeof text - 1);
    assert_int_equal(l.n, 1);
    assert_memory_equal(texts, A, sizeof texts);
    bench_leases_begin(&l);
    bench_leases_take(&l, "{\"events\":[]}", 13);
    assert_int_equal(l.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
