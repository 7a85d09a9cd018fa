/* openapi_bodies: requests and answers whose body is no message: scripts, queries, metrics. Any
 * thread; constant. */
#ifndef DAYBOOK_SERVER_OPENAPI_BODIES_H
#define DAYBOOK_SERVER_OPENAPI_BODIES_H

#include "server/router.h"

/* The `content` of a route's requestBody, as JSON; NULL: it takes a message or nothing. */
const char *openapi_body_of(const struct route *route);
/* The `"200":{…}` of its responses; NULL: a message, or a JSON object. */
const char *openapi_answer_of(const struct route *route);

#endif
