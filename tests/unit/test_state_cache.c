/* The automatic snapshots: what is kept comes back, within a bound of bytes. */
#include "server/state_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 20000

static bool get(struct state_cache *c, const char *key, struct buf *ret, uint64_t *ret_revision)
{
    struct state_mark mark;
    buf_clear(ret);
    bool found = state_cache_get(c, bytes_of_string(key), &mark, ret);
    *ret_revision = found ? mark.revision : 0;
    return found;
}

static void put(struct state_cache *c, const char *key, const char *state, uint64_t revision)
{
    const struct state_mark mark = {.revision = revision};
    state_cache_put(c, bytes_of_string(key), &mark, bytes_of_string(state));
}

static void test_get_put(void **state)
{
    (void)state;
    struct state_cache *c;
    struct buf b;
    uint64_t revision;
    buf_init(&b, 1 << 20);
    assert_int_equal(state_cache_new(1000, &c), ERR_OK);
    assert_false(get(c, "a", &b, &revision));
    put(c, "a", "{\"n\":1}", 7);
    assert_true(get(c, "a", &b, &revision));
    assert_int_equal(revision, 7);
    assert_true(bytes_equal(buf_bytes(&b), BYTES_LITERAL("{\"n\":1}")));
    put(c, "a", "", 8); /* no document, which is a state too */
    assert_true(get(c, "a", &b, &revision));
    assert_int_equal(revision, 8);
    assert_int_equal(b.n, 0);
    assert_false(get(c, "", &b, &revision));
    buf_done(&b);
    state_cache_free(c);
}

/* What is too large is not kept, and takes nothing's place; what comes back is what was put,
 * however many keys meet. */
static void test_bound(void **state)
{
    (void)state;
    struct state_cache *c;
    struct buf b;
    uint64_t revision;
    char key[32], text[64];
    size_t found = 0, bytes = 0;
    buf_init(&b, 1 << 20);
    assert_int_equal(state_cache_new(10000, &c), ERR_OK);
    put(c, "small", "1", 1);
    char *large = calloc(1, 10002);
    assert_non_null(large);
    memset(large, 'x', 10001);
    put(c, "large", large, 1);
    free(large);
    assert_false(get(c, "large", &b, &revision));
    assert_true(get(c, "small", &b, &revision));
    for (uint64_t i = 1; i <= KEYS; i++) {
        snprintf(key, sizeof key, "key-%llu", (unsigned long long)i);
        snprintf(text, sizeof text, "state of %llu", (unsigned long long)i);
        put(c, key, text, i);
        assert_true(get(c, key, &b, &revision));
    }
    for (uint64_t i = 1; i <= KEYS; i++) {
        snprintf(key, sizeof key, "key-%llu", (unsigned long long)i);
        if (get(c, key, &b, &revision)) {
            snprintf(text, sizeof text, "state of %llu", (unsigned long long)i);
            assert_int_equal(revision, i);
            assert_true(bytes_equal(buf_bytes(&b), bytes_of_string(text)));
            found++;
            bytes += strlen(key) + b.n;
        }
    }
    assert_true(found > 0 && bytes <= 10000);
    buf_done(&b);
    state_cache_free(c);
    state_cache_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_put),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
