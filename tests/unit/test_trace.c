/* Tests of server/trace.h: which headers are valid. What becomes of them: tests/http/test_trace.py.
 */
#include "server/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PARENT "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* The examples of the recommendation, and what it rules out. */
static void test_trace_parent_is_valid_cases(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"00-" PARENT, true},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true},
        {"cc-" PARENT, true},
        {"cc-" PARENT "-0123-ab", true},
        {"cc-" PARENT "0", false},
        {"cc-" PARENT "-\"", false},
        {"00-" PARENT "-01", false},
        {"ff-" PARENT, false},
        {"0-" PARENT, false},
        {"", false},
        {"00", false},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x", false},
        {"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319cab7ad6b7169203331-01", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(trace_parent_is_valid(bytes_of_string(cases[i].text)), cases[i].valid);
    }
}

/* No prefix of a valid one is valid, nor one with a byte changed to what is no digit. */
static void test_trace_parent_is_valid_near_misses(void **state)
{
    (void)state;
    char text[] = "00-" PARENT;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        assert_false(trace_parent_is_valid(bytes_of((uint8_t *)text, i)));
        char was = text[i];
        text[i] = 'g';
        assert_false(trace_parent_is_valid(bytes_of((uint8_t *)text, sizeof text - 1)));
        text[i] = was;
    }
    assert_true(trace_parent_is_valid(bytes_of((uint8_t *)text, sizeof text - 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_parent_is_valid_cases),
        cmocka_unit_test(test_trace_parent_is_valid_near_misses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
