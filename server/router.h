/* router: from method and path to a handler, by the table routes.def that also makes the OpenAPI
 * document.
 *
 * Loop's thread only. The table is constant; the application (app.h) is what handlers work with. */
#ifndef DAYBOOK_SERVER_ROUTER_H
#define DAYBOOK_SERVER_ROUTER_H

#include "server/http.h"

struct app;

/* Handles one request: finds its route (404, 405 with Allow; HEAD is GET without a body; OPTIONS
 * answers Allow) and calls it. */
void router_handle(struct http_request *rq, struct app *app);

/* What a handler looks like. It finds path parameters by their index in the path: {stream} of
 * /v1/streams/{stream} is segment 2. */
typedef void (*route_fn)(struct http_request *rq, struct app *app);

#define ROUTE_SEGMENTS_MAX 8

/* A row of routes.def. */
struct route {
    enum http_method method;
    const char *path, *summary, *request, *response, *parameters;
    route_fn handle;
    size_t segment_count;
    struct bytes segments[ROUTE_SEGMENTS_MAX]; /* .p is NULL for a path parameter */
};

const struct route *router_routes(size_t *ret_n);
/* A request's http_route_number is its route's place in there, from 1. */

/* The route for a path, or NULL. *ret_allowed gets a bit (1 << method) for each method that the
 * path takes: none, and there is nothing at this path. */
const struct route *router_find(enum http_method method, const struct bytes *segments, size_t n,
                                unsigned *ret_allowed);

/* One declaration a row: ROUTE(METHOD, "/path/{param}", handler, "summary", request message or "",
 * response message or "", PARAMETERS) */
#define ROUTE(method, path, handler, summary, request, response, parameters) \
    void handler(struct http_request *rq, struct app *app);
#include "server/routes.def"
#undef ROUTE

#endif
