/* Tests of clients/cli/bench_feed.c: what is counted does not depend on how the bytes come. */
#include "clients/cli/bench_feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char sse[] = ": hello\n\n"
                          "retry: 1000\n\n"
                          "id: 41\ndata: {\"position\":41,\"data\":\"id: 7\"}\n\n"
                          "id: 42\ndata: {\"position\":42}\n\n"
                          "event: caught_up\nid: 42\ndata: {\"position\":42}\n\n"
                          ": heartbeat\n\nid: 42\n\n"
                          "id: 43\ndata: {}\n\n";

static const char ndjson[] = "{\"position\":41,\"data\":{\"control\":\"caught_up\"}}\n"
                             "{\"position\":42}\n"
                             "{\"control\":\"caught_up\",\"position\":42}\n"
                             "{\"control\":\"heartbeat\",\"position\":42}\n"
                             "{\"position\":43,\"stream\":\"order-18446744073709551615\"}\n";

static struct bench_feed feed_in_pieces(bool is_ndjson, const char *text, size_t n, size_t piece)
{
    struct bench_feed f = {.ndjson = is_ndjson};
    for (size_t at = 0; at < n; at += piece) {
        bench_feed_take(&f, text + at, n - at < piece ? n - at : piece);
    }
    return f;
}

/* Events are counted, and heartbeats and what else is said are not, in pieces of any size. */
static void test_count(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 100; piece++) {
        for (int i = 0; i < 2; i++) {
            const char *text = i == 0 ? sse : ndjson;
            struct bench_feed f = feed_in_pieces(i == 1, text, strlen(text), piece);
            assert_int_equal(f.events, 3);
            assert_int_equal(f.number, 43);
            assert_int_equal(f.caught_up, 1);
            assert_int_equal(f.gaps, 0);
        }
    }
}

/* An event that is missing, comes again or too early is a gap. */
static void test_gaps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t gaps;
    } cases[] = {
        {"{\"position\":1}\n{\"position\":2}\n{\"position\":4}\n", 1},
        {"{\"position\":1}\n{\"position\":2}\n{\"position\":2}\n{\"position\":3}\n", 1},
        {"{\"position\":2}\n{\"position\":1}\n{\"position\":2}\n", 1},
        {"{\"position\":7}\n{\"position\":8}\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench_feed f = feed_in_pieces(true, cases[i].text, strlen(cases[i].text), 5);
        assert_int_equal(f.gaps, cases[i].gaps);
    }
}

/* A line that has not come to its end does not count. */
static void test_part(void **state)
{
    (void)state;
    struct bench_feed f = feed_in_pieces(true, ndjson, strlen(ndjson) - 1, 7);
    assert_int_equal(f.events, 2);
    bench_feed_take(&f, "\n", 1);
    assert_int_equal(f.events, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
