/* api_follow: the live form of a read (api_read.c), once its parameters have been read. */
#ifndef DAYBOOK_SERVER_API_FOLLOW_H
#define DAYBOOK_SERVER_API_FOLLOW_H

#include "server/app.h"

struct follow {
    struct store_query query; /* forward; `from` is what `after` says */
    bool after_end;           /* from the head instead */
    enum encoding encoding;   /* not JSON */
    uint64_t limit;           /* 0: none */
};

/* Replies: with a stream of events that goes on, or with a problem. Loop's thread. */
void api_follow(struct http_request *rq, struct app *app, const struct follow *f);

#endif
