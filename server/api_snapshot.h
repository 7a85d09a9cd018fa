/* api_snapshot: what reads of events ask about snapshots. Loop's thread. */
#ifndef DAYBOOK_SERVER_API_SNAPSHOT_H
#define DAYBOOK_SERVER_API_SNAPSHOT_H

#include "server/app.h"

/* The revision of the stream's snapshot; 0: it has none. A view that is opened afterwards has what
 * the snapshot is of. It is also told in the answer's header Daybook-After. Where there is no such
 * stream, or the snapshot cannot be read, it replies and returns false. */
bool api_snapshot_revision(struct http_request *rq, struct app *app, struct bytes stream,
                           uint64_t *ret);

#endif
