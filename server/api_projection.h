/* api_projection: what the routes of projections share. Loop's thread. */
#ifndef DAYBOOK_SERVER_API_PROJECTION_H
#define DAYBOOK_SERVER_API_PROJECTION_H

#include "server/jobs.h"
#include "server/workers.h"

/* The {name} of the path; `changes`: it must not be a built-in one. Where it is not valid it
 * replies and returns false. */
bool api_projection_name(struct http_request *rq, bool changes, struct bytes *ret);
/* NULL: there is none, and it has replied. */
struct projection *api_projection_find(struct http_request *rq, struct app *app, struct bytes name);

/* What a definition would do with the first `limit` events that it takes (0: a thousand); nothing
 * is kept. Replies. */
void api_projection_dry_run(struct http_request *rq, struct app *app,
                            const struct catalog_definition *d, uint64_t limit);

#endif
