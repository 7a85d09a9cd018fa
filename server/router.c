/* router: compares the segments of the path with those of each route; sixteen routes need no
 * more. */
#include "server/router.h"

#include "server/app.h"
#include "server/reply.h"
#include "storage/base/check.h"

#include <pthread.h>
#include <stdio.h>

static struct route routes[] = {
#define ROUTE(method_, path_, handler_, summary_, request_, response_, parameters_) \
    {.method = HTTP_##method_,                                                      \
     .path = (path_),                                                               \
     .summary = (summary_),                                                         \
     .request = (request_),                                                         \
     .response = (response_),                                                       \
     .parameters = (parameters_),                                                   \
     .handle = (handler_)},
#include "server/routes.def"
#undef ROUTE
};

#define ROUTES (sizeof routes / sizeof *routes)

static pthread_once_t split_once = PTHREAD_ONCE_INIT;

static void split_all(void);
static bool path_matches(const struct route *route, const struct bytes *segments, size_t n);
static void set_allow(struct http_request *rq, unsigned allowed);

void router_handle(struct http_request *rq, struct app *app)
{
    struct bytes segments[ROUTE_SEGMENTS_MAX];
    size_t n = http_path_segments(rq);
    for (size_t i = 0; i < n && i < ROUTE_SEGMENTS_MAX; i++) {
        segments[i] = http_path_segment(rq, i);
    }
    unsigned allowed;
    enum http_method method = http_method(rq);
    const struct route *route = router_find(method, segments, n, &allowed);
    if (route != NULL) {
        http_set_route(rq, route->path, (unsigned)(route - routes) + 1);
        route->handle(rq, app);
        return;
    }
    bool is_server = method == HTTP_OPTIONS && bytes_equal(http_raw_path(rq), BYTES_LITERAL("*"));
    if (allowed == 0 && !is_server) {
        reply_problem(rq, PROBLEM_NOT_FOUND, NULL);
        return;
    }
    set_allow(rq, is_server ? ~0u : allowed);
    if (method != HTTP_OPTIONS) {
        reply_problem(rq, PROBLEM_METHOD_NOT_ALLOWED, NULL);
        return;
    }
    struct buf empty;
    buf_init(&empty, 1);
    reply_body(rq, 204, ENCODING_JSON, store_position(app->store), &empty);
}

const struct route *router_routes(size_t *ret_n)
{
    pthread_once(&split_once, split_all);
    *ret_n = ROUTES;
    return routes;
}

const struct route *router_find(enum http_method method, const struct bytes *segments, size_t n,
                                unsigned *ret_allowed)
{
    pthread_once(&split_once, split_all);
    method = method == HTTP_HEAD ? HTTP_GET : method;
    *ret_allowed = 0;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_matches(&routes[i], segments, n)) {
            continue;
        }
        if (routes[i].method == method) {
            return &routes[i];
        }
        *ret_allowed |= 1u << routes[i].method;
    }
    return NULL;
}

static void split_all(void)
{
    for (size_t i = 0; i < ROUTES; i++) {
        const char *p = routes[i].path;
        while (*p == '/') {
            size_t n = strcspn(++p, "/");
            CHECK(routes[i].segment_count < ROUTE_SEGMENTS_MAX);
            routes[i].segments[routes[i].segment_count++] = *p == '{' ? BYTES_NONE : bytes_of(p, n);
            p += n;
        }
    }
}

static bool path_matches(const struct route *route, const struct bytes *segments, size_t n)
{
    if (route->segment_count != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool parameter = route->segments[i].p == NULL;
        /* A slash at the end makes another path; inside, an empty name is for the handler to
         * refuse. */
        if (parameter ? i == n - 1 && segments[i].n == 0
                      : !bytes_equal(route->segments[i], segments[i])) {
            return false;
        }
    }
    return true;
}

static void set_allow(struct http_request *rq, unsigned allowed)
{
    static const struct {
        enum http_method method;
        const char *name;
    } names[] = {{HTTP_GET, "GET, HEAD"},
                 {HTTP_POST, "POST"},
                 {HTTP_PUT, "PUT"},
                 {HTTP_PATCH, "PATCH"},
                 {HTTP_DELETE, "DELETE"}};
    char list[64] = "OPTIONS";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if ((allowed & 1u << names[i].method) != 0) {
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, ", %s", names[i].name);
        }
    }
    http_reply_header(rq, "Allow", list);
}
