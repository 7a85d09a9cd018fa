/* Tests of server/router.h, without a server. */
#include "server/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BIT(method) (1u << (method))

static unsigned allowed;

/* The path of the route that is found, or NULL. `path` is split at its slashes. */
static const char *found(enum http_method method, const char *path)
{
    struct bytes segments[16];
    size_t n = 0;
    while (*path == '/') {
        size_t length = strcspn(path + 1, "/");
        segments[n++] = bytes_of(path + 1, length);
        path += 1 + length;
    }
    const struct route *route = router_find(method, segments, n, &allowed);
    return route == NULL ? NULL : route->path;
}

/* Literal segments match themselves, parameters anything that is there. */
static void test_router_find_paths(void **state)
{
    (void)state;
    assert_string_equal(found(HTTP_GET, "/v1/streams/a/events"), "/v1/streams/{stream}/events");
    assert_string_equal(found(HTTP_POST, "/v1/streams/events/events"),
                        "/v1/streams/{stream}/events");
    assert_string_equal(found(HTTP_GET, "/v1/streams/a/events/7"),
                        "/v1/streams/{stream}/events/{revision}");
    assert_string_equal(found(HTTP_GET, "/v1/events"), "/v1/events");
    assert_string_equal(found(HTTP_GET, "/healthz"), "/healthz");
    assert_string_equal(found(HTTP_HEAD, "/v1/events/1"), "/v1/events/{position}");
    /* An empty name is for the handler to refuse. */
    assert_string_equal(found(HTTP_POST, "/v1/streams//events"), "/v1/streams/{stream}/events");
}

/* What is no route is not found, with any method. */
static void test_router_find_nothing(void **state)
{
    (void)state;
    static const char *const paths[] = {"",
                                        "/",
                                        "/v1",
                                        "/v1/",
                                        "/v1/event",
                                        "/v1/eventss",
                                        "/V1/events",
                                        "/v1/events/",
                                        "/v1/events/1/2",
                                        "/v1/streams/a/b",
                                        "/healthz/",
                                        "//healthz",
                                        "/v1/streams/",
                                        "/a/b/c/d/e/f/g/h/i/j"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_null(found(HTTP_GET, paths[i]));
        assert_int_equal(allowed, 0);
        assert_null(found(HTTP_DELETE, paths[i]));
        assert_int_equal(allowed, 0);
    }
}

/* A path with other methods says which. */
static void test_router_find_allowed(void **state)
{
    (void)state;
    assert_null(found(HTTP_DELETE, "/v1/events"));
    assert_int_equal(allowed, BIT(HTTP_GET) | BIT(HTTP_POST));
    assert_null(found(HTTP_GET, "/v1/commands"));
    assert_int_equal(allowed, BIT(HTTP_POST));
    assert_null(found(HTTP_OTHER, "/v1/status"));
    assert_int_equal(allowed, BIT(HTTP_GET));
}

/* Every row of routes.def is found by its own path. */
static void test_router_find_every_route(void **state)
{
    (void)state;
    size_t n;
    const struct route *routes = router_routes(&n);
    assert_true(n > 10);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(found(routes[i].method, routes[i].path), routes[i].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_router_find_paths),
        cmocka_unit_test(test_router_find_nothing),
        cmocka_unit_test(test_router_find_allowed),
        cmocka_unit_test(test_router_find_every_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
