/* Tests of server/feed.c: nobody sleeps through a publication. */
#include "server/feed.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define ROUNDS     20000
#define DEADLINE_S 60

static bool is_woken(const struct feed_sleeper *s, int wait_ms)
{
    struct pollfd fd = {.fd = s->event_fd, .events = POLLIN};
    return poll(&fd, 1, wait_ms) == 1;
}

/* A publication wakes who sleeps, and costs those who do not sleep nothing. */
static void test_feed_wakes_who_sleeps(void **state)
{
    (void)state;
    struct feed feed;
    struct feed_sleeper a, b;
    feed_init(&feed, 7);
    assert_int_equal(feed_add_sleeper(&feed, &a), ERR_OK);
    assert_int_equal(feed_add_sleeper(&feed, &b), ERR_OK);
    assert_false(feed_sleep(&feed, &a, 6)); /* it has moved on already */
    assert_true(feed_sleep(&feed, &a, 7));
    feed_publish(&feed, 8);
    assert_int_equal(feed_position(&feed), 8);
    assert_true(is_woken(&a, 0));
    assert_false(is_woken(&b, 0));
    feed_awake(&a);
    feed_wake(&b);
    assert_true(is_woken(&b, 0));
    feed_sleeper_done(&a);
    feed_sleeper_done(&b);
}

struct race {
    struct feed feed;
    struct feed_sleeper sleeper;
};

static void *publish_all(void *ctx)
{
    struct race *r = ctx;
    for (uint64_t p = 1; p <= ROUNDS; p++) {
        feed_publish(&r->feed, p);
    }
    return NULL;
}

/* However the two threads fall together, the sleeper is never left asleep behind the position. */
static void test_feed_race(void **state)
{
    (void)state;
    static struct race r;
    feed_init(&r.feed, 0);
    assert_int_equal(feed_add_sleeper(&r.feed, &r.sleeper), ERR_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, publish_all, &r), 0);
    uint64_t seen = 0;
    while (seen < ROUNDS) {
        if (feed_sleep(&r.feed, &r.sleeper, seen)) {
            assert_true(is_woken(&r.sleeper, DEADLINE_S * 1000));
            uint64_t count;
            assert_int_equal(read(r.sleeper.event_fd, &count, sizeof count), sizeof count);
            feed_awake(&r.sleeper);
        }
        uint64_t position = feed_position(&r.feed);
        assert_true(position >= seen);
        seen = position;
    }
    pthread_join(thread, NULL);
    feed_sleeper_done(&r.sleeper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feed_wakes_who_sleeps),
        cmocka_unit_test(test_feed_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
