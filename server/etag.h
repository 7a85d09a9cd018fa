/* etag: entity tags, which are revisions or positions in quotes. Loop's thread. */
#ifndef DAYBOOK_SERVER_ETAG_H
#define DAYBOOK_SERVER_ETAG_H

#include "server/http.h"

/* Sets ETag to the number. */
void etag_set(struct http_request *rq, uint64_t number);
/* Whether If-None-Match names the number (or is *), so that 304 is to be answered. */
bool etag_is_known(struct http_request *rq, uint64_t number);
/* Answers 304; `position`: for Daybook-Position. */
void etag_reply_not_modified(struct http_request *rq, uint64_t position);

/* Whether a list of entity tags (RFC 9110 section 13.1.2, weak comparison) has the number. */
bool etag_list_has(struct bytes list, uint64_t number);
/* The same for a tag of any text, which has its quotes. */
bool etag_list_has_text(struct bytes list, struct bytes wanted);

#endif
