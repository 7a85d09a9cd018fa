/* Tests of clients/c/url.c and of what makes memory there: buffer, arena, ids. */
#include "clients/c/client_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct daybook *open_at(const char *url)
{
    struct daybook *db = NULL;
    assert_int_equal(daybook_open(url, NULL, &db), DAYBOOK_OK);
    return db;
}

static void assert_segment(const char *name, const char *expected)
{
    struct daybook_buffer b;
    daybook_buffer_init(&b, 4096);
    assert_true(daybook_url_segment(&b, name));
    assert_true(daybook_url_end(&b));
    assert_string_equal((char *)b.p, expected);
    daybook_buffer_done(&b);
}

/* A name is one segment, whatever is in it: it is encoded so that no server or proxy reads it as
 * more, as less, or as another. */
static void test_segment(void **state)
{
    (void)state;
    assert_segment("order-1", "order-1");
    assert_segment("a b/c?d#e%f", "a%20b%2Fc%3Fd%23e%25f");
    assert_segment("h\xc3\xa9;x=1&y+z", "h%C3%A9%3Bx%3D1%26y%2Bz");
    assert_segment(".", "%2E");
    assert_segment("..", "%2E%2E");
    assert_segment("...", "...");
    assert_segment("a.b", "a.b");
}

/* A base with a path, with or without a slash at its end, comes before the route. */
static void test_begin(void **state)
{
    (void)state;
    static const char *const bases[] = {"http://h:1", "http://h:1/", "http://h:1//"};
    for (size_t i = 0; i < 3; i++) {
        struct daybook *db = open_at(bases[i]);
        assert_true(daybook_url_begin(db, &db->url, "/v1/events") && daybook_url_end(&db->url));
        assert_string_equal((char *)db->url.p, "http://h:1/v1/events");
        daybook_close(db);
    }
    struct daybook *db = open_at("https://h/daybook/");
    assert_true(daybook_url_begin(db, &db->url, "/v1") && daybook_url_end(&db->url));
    assert_string_equal((char *)db->url.p, "https://h/daybook/v1");
    daybook_close(db);
}

/* The first parameter follows a '?', the others a '&'. */
static void test_parameters(void **state)
{
    (void)state;
    char mark = '?';
    struct daybook_buffer b;
    daybook_buffer_init(&b, 4096);
    assert_true(daybook_url_number(&b, &mark, "after", UINT64_MAX));
    assert_true(daybook_url_text(&b, &mark, "type", "a&b"));
    assert_true(daybook_url_text(&b, &mark, "type", ""));
    assert_true(daybook_url_end(&b));
    assert_string_equal((char *)b.p, "?after=18446744073709551615&type=a%26b&type=");
    daybook_buffer_done(&b);
}

/* What is no address is refused at once. */
static void test_open_refuses(void **state)
{
    (void)state;
    struct daybook *db = NULL;
    assert_int_equal(daybook_open(NULL, NULL, &db), DAYBOOK_ERR_ARGUMENT);
    assert_int_equal(daybook_open("", NULL, &db), DAYBOOK_ERR_ARGUMENT);
    assert_int_equal(daybook_open("localhost:7407", NULL, &db), DAYBOOK_ERR_ARGUMENT);
    assert_int_equal(daybook_open("file:///etc/passwd", NULL, &db), DAYBOOK_ERR_ARGUMENT);
    assert_null(db);
    daybook_close(NULL);
}

/* A proxy is never asked for this machine. */
static void test_open_direct(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool direct;
    } cases[] = {
        {"http://127.0.0.1:7407", true},   {"http://localhost", true},
        {"HTTP://LOCALHOST:7407/x", true}, {"http://[::1]:7407", true},
        {"http://example.com", false},     {"http://localhost.example.com", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct daybook *db = open_at(cases[i].url);
        assert_int_equal(db->direct, cases[i].direct);
        daybook_close(db);
    }
}

/* Ids are version 7, different, and in the order of their milliseconds. */
static void test_make_id(void **state)
{
    (void)state;
    uint8_t before[16] = {0};
    for (int i = 0; i < 1000; i++) {
        uint8_t id[16];
        daybook_make_id(id);
        assert_int_equal(id[6] >> 4, 7);
        assert_int_equal(id[8] >> 6, 2);
        assert_true(memcmp(before, id, 6) <= 0);
        assert_true(memcmp(before, id, 16) != 0);
        memcpy(before, id, 16);
    }
}

/* A buffer never grows over its maximum, and keeps what it had when it cannot. */
static void test_buffer_max(void **state)
{
    (void)state;
    struct daybook_buffer b;
    daybook_buffer_init(&b, 1000);
    for (int i = 0; i < 100; i++) {
        assert_true(daybook_buffer_add(&b, "0123456789", 10));
    }
    assert_false(daybook_buffer_add_byte(&b, 'x'));
    assert_false(daybook_buffer_reserve(&b, SIZE_MAX));
    assert_int_equal(b.n, 1000);
    daybook_buffer_drop(&b, 995);
    assert_int_equal(b.n, 5);
    assert_memory_equal(b.p, "56789", 5);
    daybook_buffer_drop(&b, 6);
    assert_int_equal(b.n, 0);
    daybook_buffer_done(&b);
}

/* Pieces of an arena do not touch each other, and a reset gives their room out again. */
static void test_arena(void **state)
{
    (void)state;
    struct daybook_arena arena = {0};
    for (int round = 0; round < 3; round++) {
        char *pieces[200];
        for (size_t i = 0; i < 200; i++) {
            pieces[i] = daybook_arena_get(&arena, i * 10);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], (int)i, i * 10);
        }
        for (size_t i = 0; i < 200; i++) {
            for (size_t k = 0; k < i * 10; k++) {
                assert_int_equal((uint8_t)pieces[i][k], i);
            }
        }
        assert_non_null(daybook_arena_get(&arena, (size_t)3 << 20));
        daybook_arena_reset(&arena);
    }
    assert_string_equal(daybook_arena_copy(&arena, "abc", 2), "ab");
    assert_string_equal(daybook_arena_copy(&arena, NULL, 0), "");
    assert_null(daybook_arena_get(&arena, SIZE_MAX));
    daybook_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment),     cmocka_unit_test(test_begin),
        cmocka_unit_test(test_parameters),  cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_open_direct), cmocka_unit_test(test_make_id),
        cmocka_unit_test(test_buffer_max),  cmocka_unit_test(test_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
