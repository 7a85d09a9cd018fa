/* router: from method and path to a handler, by the table routes.def that also makes the OpenAPI document.
 *
 * Loop's thread only. The table is constant; the application (app.h) is what handlers work with. */
#ifndef DAYBOOK_SERVER_ROUTER_H
#define DAYBOOK_SERVER_ROUTER_H

#include "server/http.h"

struct app;

/* Handles one request: finds its route (404, 405 with Allow; HEAD is GET without a body; OPTIONS answers Allow) and calls it. */
void router_handle(struct http_request *rq, struct app *app);

/* What a handler looks like. It finds path parameters by their index in the path: {stream} of /v1/streams/{stream} is segment 2. */
typedef void (*route_fn)(struct http_request *rq, struct app *app);

/* One declaration a row: ROUTE(METHOD, "/path/{param}", handler, "summary", request message or "", response message or "", PARAMETERS) */
#define ROUTE(method, path, handler, summary, request, response, parameters)                                                     \
    void handler(struct http_request *rq, struct app *app);
#include "server/routes.def"
#undef ROUTE

#endif
