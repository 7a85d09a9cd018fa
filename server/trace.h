/* trace: the `traceparent` header of a request (W3C Trace Context): for log lines, and kept with
 * the events that the request appends.
 *
 * Loop's thread. A header that is not valid is as if it were not there, as the recommendation
 * says. */
#ifndef DAYBOOK_SERVER_TRACE_H
#define DAYBOOK_SERVER_TRACE_H

#include "server/draft.h"

/* Borrowed from the request; empty: there is none that is valid. */
struct bytes trace_parent(struct http_request *rq);
bool trace_parent_is_valid(struct bytes text);

/* Gives it to the draft's events: one without metadata gets {"traceparent":"…"}. What a client says
 * in metadata stays as it is, byte for byte; the metadata that is made of a CloudEvent's attributes
 * gets one more member, where it has none of this name. After draft_check, so that no limit of the
 * client's depends on what a proxy adds. False with the rejection set: no memory. */
bool trace_keep(struct http_request *rq, struct draft *d, bool cloudevents);

#endif
