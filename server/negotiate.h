/* negotiate: which encoding a body has and which one an answer gets (RFC 9110 sections 8.3
 * and 12.5.1).
 *
 * Any thread; pure. */
#ifndef DAYBOOK_SERVER_NEGOTIATE_H
#define DAYBOOK_SERVER_NEGOTIATE_H

#include "storage/base/bytes.h"

enum encoding {
    ENCODING_JSON,
    ENCODING_NDJSON,
    ENCODING_PROTOBUF,
    ENCODING_SSE,
    /* CloudEvents: one event, or several. */
    ENCODING_CE_JSON,
    ENCODING_CE_PROTOBUF,
    ENCODING_CE_JSON_BATCH,
    ENCODING_CE_PROTOBUF_BATCH,
};

#define ENCODING_COUNT 8
/* Bits for `offered`. */
#define OFFER(encoding) (1u << (encoding))

/* The media type of an answer: a static string. */
const char *negotiate_media_type(enum encoding encoding);

/* The best of what is offered: by quality value, then by how exactly the client named it, then by
 * its order in the header, then by the order of the enum. An empty header accepts everything. False
 * where nothing fits. */
bool negotiate_accept(struct bytes accept, unsigned offered, enum encoding *ret);

/* Whether a problem document must be protobuf because the client would not take it as JSON. */
bool negotiate_only_protobuf(struct bytes accept);

/* JSON or PROTOBUF for a request's Content-Type; empty: JSON. False for any other, and for JSON in
 * another charset. */
bool negotiate_content_type(struct bytes content_type, enum encoding *ret);

/* One of the ENCODING_CE_ for a request's Content-Type. False for any other. */
bool negotiate_cloudevents(struct bytes content_type, enum encoding *ret);
/* Whether the Content-Type says that the body is CloudEvents, in whichever format. */
bool negotiate_is_cloudevents(struct bytes content_type);

#endif
