/* Tests of storage/event.c: names, categories, expectations, content types. */
#include "storage/event.h"

#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

static bool is_valid(const char *name)
{
    return event_name_is_valid(bytes_of_string(name));
}

/* Any UTF-8 without control characters is a name, up to 255 bytes. */
static void test_event_name_is_valid_cases(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'a', 256);
    longest[256] = '\0';
    assert_false(is_valid(longest));
    longest[255] = '\0';
    assert_true(is_valid(longest));
    assert_true(is_valid(" "));
    assert_true(is_valid("order-1"));
    assert_true(is_valid("\xc2\xa0")); /* the first character after C1 */
    assert_true(is_valid("\xf0\x9f\x92\xa9"));
    assert_false(is_valid(""));
    assert_false(is_valid("a\nb"));
    assert_false(is_valid("\x7f"));
    assert_false(is_valid("\x1f"));
    assert_false(is_valid("a\xc2\x80"));
    assert_false(is_valid("a\xc2\x9f"));
    assert_false(is_valid("\xff"));
    assert_false(is_valid("\xc2"));
    assert_false(is_valid("\xed\xa0\x80")); /* a surrogate */
    assert_false(event_name_is_valid(bytes_of("a\0b", 3)));
}

/* A name that starts with '$' is the system's. */
static void test_event_name_is_system_cases(void **state)
{
    (void)state;
    assert_true(event_name_is_system(BYTES_LITERAL("$x")));
    assert_false(event_name_is_system(BYTES_LITERAL("x$")));
    assert_false(event_name_is_system(BYTES_NONE));
}

/* The category is the text before the first dash. */
static void test_event_category_cases(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        {"order-1", "order"}, {"order", "order"}, {"a-b-c", "a"}, {"order-", "order"}, {"-x", ""}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct bytes got = event_category(bytes_of_string(CASES[i][0]));
        assert_true(bytes_equal(got, bytes_of_string(CASES[i][1])));
    }
    assert_int_equal(event_category(BYTES_NONE).n, 0);
}

/* The table of expectations and heads. */
static void test_expectation_met_table(void **state)
{
    (void)state;
    assert_true(expectation_met(TEST_ANY, 0) && expectation_met(TEST_ANY, 5));
    assert_true(expectation_met(TEST_NO_STREAM, 0) && !expectation_met(TEST_NO_STREAM, 1));
    assert_true(!expectation_met(TEST_EXISTS, 0) && expectation_met(TEST_EXISTS, 1));
    assert_true(expectation_met(TEST_AT(0), 0) && !expectation_met(TEST_AT(0), 1));
    assert_true(expectation_met(TEST_AT(7), 7) && !expectation_met(TEST_AT(7), 6));
}

/* JSON media types in any case and with parameters; nothing else. */
static void test_event_content_is_json_cases(void **state)
{
    (void)state;
    static const char *const JSON[] = {"",
                                       "application/json",
                                       "Application/JSON",
                                       "application/json; charset=utf-8",
                                       "application/cloudevents+json",
                                       "image/svg+JSON ; a=b"};
    static const char *const OTHER[] = {"text/plain", "application/jsonx", "xapplication/json",
                                        "+json", "application/octet-stream; a=+json"};
    for (size_t i = 0; i < sizeof JSON / sizeof *JSON; i++) {
        assert_true(event_content_is_json(bytes_of_string(JSON[i])));
    }
    for (size_t i = 0; i < sizeof OTHER / sizeof *OTHER; i++) {
        assert_false(event_content_is_json(bytes_of_string(OTHER[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_name_is_valid_cases),
        cmocka_unit_test(test_event_name_is_system_cases),
        cmocka_unit_test(test_event_category_cases),
        cmocka_unit_test(test_expectation_met_table),
        cmocka_unit_test(test_event_content_is_json_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
