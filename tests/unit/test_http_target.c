/* Tests of server/http_target.h. */
#include "server/http_target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena arena;
static struct http_target target;
static const char *fault;

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static err_t parse(const char *text)
{
    return http_target_parse(&arena, bytes_of_string(text), &target, &fault);
}

static void assert_bytes(struct bytes got, const char *wanted)
{
    assert_int_equal(got.n, strlen(wanted));
    assert_memory_equal(got.p, wanted, got.n);
}

/* Segments are split before they are decoded, so an encoded slash is part of a name. */
static void test_http_target_parse_path(void **state)
{
    (void)state;
    assert_int_equal(parse("/v1/streams/a%2Fb%c3%BC+/events?x"), ERR_OK);
    assert_string_equal(target.path.p, "/v1/streams/a%2Fb%c3%BC+/events");
    assert_int_equal(target.segment_count, 4);
    assert_bytes(target.segments[0], "v1");
    assert_bytes(target.segments[2], "a/bü+");
    assert_bytes(target.segments[3], "events");
    assert_int_equal(parse("/"), ERR_OK);
    assert_int_equal(target.segment_count, 0);
    assert_int_equal(parse("/a//b/"), ERR_OK);
    assert_int_equal(target.segment_count, 4);
    assert_bytes(target.segments[1], "");
    assert_bytes(target.segments[3], "");
}

/* Parameters keep their order and repetitions; a plus is a space; a NUL may be meant. */
static void test_http_target_parse_query(void **state)
{
    (void)state;
    assert_int_equal(parse("/?a=1&b=%41+%2B&&a=x=y&c&=z&d=%00"), ERR_OK);
    static const char *const wanted[][2] = {
        {"a", "1"}, {"b", "A +"}, {"a", "x=y"}, {"c", ""}, {"", "z"}};
    assert_int_equal(target.parameter_count, 6);
    for (size_t i = 0; i < 5; i++) {
        assert_bytes(target.parameters[i].name, wanted[i][0]);
        assert_bytes(target.parameters[i].value, wanted[i][1]);
    }
    assert_int_equal(target.parameters[5].value.n, 1);
    assert_int_equal(parse("/?"), ERR_OK);
    assert_int_equal(target.parameter_count, 0);
}

/* The absolute form counts from its path on; "*" has no path. */
static void test_http_target_parse_forms(void **state)
{
    (void)state;
    assert_int_equal(parse("HTTP://host:1/a?b"), ERR_OK);
    assert_bytes(target.path, "/a");
    assert_int_equal(target.parameter_count, 1);
    assert_int_equal(parse("https://host"), ERR_OK);
    assert_bytes(target.path, "/");
    assert_int_equal(parse("*"), ERR_OK);
    assert_int_equal(target.segment_count, 0);
}

/* What is none says why. */
static void test_http_target_parse_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "a",       "?a",    "host:80",      "/%",   "/%4",
                                      "/%4g", "/a%zz/b", "/?a=%", "/?%=a",        "/a#b", "/ü",
                                      "/a b", "/a\tb",   "/\x7f", "http://host?a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i]), ERR_INVALID);
        assert_non_null(fault);
        assert_non_null(target.path.p);
    }
}

/* Where the arena is full it says so. */
static void test_http_target_parse_memory(void **state)
{
    (void)state;
    for (size_t max = 1; max < 400; max++) {
        struct arena small;
        arena_init(&small, 16, max);
        err_t err = http_target_parse(&small, BYTES_LITERAL("/a/b?c=d&e=f"), &target, &fault);
        assert_true(err == ERR_OK || err == ERR_MEMORY);
        assert_true(err == ERR_OK || max < 300);
        arena_done(&small);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_http_target_parse_path),   TEST(test_http_target_parse_query),
        TEST(test_http_target_parse_forms),  TEST(test_http_target_parse_bad),
        TEST(test_http_target_parse_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
