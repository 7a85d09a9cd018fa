/* Arrays of strings, as they stand in bodies. */
#include "server/json_members.h"
#include "tests/unit/support.h"

struct arrays {
    const char *text;
    size_t n; /* SIZE_MAX: refused */
    const char *first, *last;
};

static void test_arrays(void **state)
{
    (void)state;
    static const struct arrays cases[] = {
        {"[]", 0, NULL, NULL},
        {" [ \"a\" ] ", 1, "a", "a"},
        {"[\"\",\"b\"]", 2, "", "b"},
        {"[\"a,b\",\"c\\\"]\"]", 2, "a,b", "c\"]"},
        {"[\"\\u20ac\",\"\\ud83d\\ude00\"]", 2, "\xe2\x82\xac", "\xf0\x9f\x98\x80"},
        {"[\"1\",\"2\",\"3\",\"4\"]", 4, "1", "4"},
        {"[\"1\",\"2\",\"3\",\"4\",\"5\"]", SIZE_MAX, NULL, NULL}, /* more than the test's 4 */
        {"[1]", SIZE_MAX, NULL, NULL},
        {"[null]", SIZE_MAX, NULL, NULL},
        {"[true]", SIZE_MAX, NULL, NULL},
        {"[{}]", SIZE_MAX, NULL, NULL},
        {"[[\"a\"]]", SIZE_MAX, NULL, NULL},
        {"\"a\"", SIZE_MAX, NULL, NULL},
        {"{\"a\":\"b\"}", SIZE_MAX, NULL, NULL},
        {"[\"a\"", SIZE_MAX, NULL, NULL},
        {"[\"\\ud83d\"]", SIZE_MAX, NULL, NULL},
        {"[\"\xff\"]", SIZE_MAX, NULL, NULL},
        {"", SIZE_MAX, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena;
        struct bytes *items = NULL;
        size_t n = 0;
        arena_init(&arena, 256, 1 << 20);
        bool ok = json_read_strings(bytes_of_string(cases[i].text), 4, &arena, &items, &n);
        assert_int_equal(ok, cases[i].n != SIZE_MAX);
        if (ok) {
            assert_int_equal(n, cases[i].n);
        }
        if (ok && n > 0) {
            assert_true(bytes_equal(items[0], bytes_of_string(cases[i].first)));
            assert_true(bytes_equal(items[n - 1], bytes_of_string(cases[i].last)));
        }
        arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
