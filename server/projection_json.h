/* projection_json: how a projection's status looks. Any thread. */
#ifndef DAYBOOK_SERVER_PROJECTION_JSON_H
#define DAYBOOK_SERVER_PROJECTION_JSON_H

#include "server/workers.h"
#include "storage/base/buf.h"

/* The object of GET /v1/projections/{name}; growth failures stick in the buf. `source`: shown where
 * .p is not NULL. */
void projection_json_put(struct buf *b, const struct projection_status *s, struct bytes source);

#endif
