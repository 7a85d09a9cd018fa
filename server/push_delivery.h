/* push_delivery: one event on its way to a webhook, as a request of libcurl's.
 *
 * The thread of push.c. */
#ifndef DAYBOOK_SERVER_PUSH_DELIVERY_H
#define DAYBOOK_SERVER_PUSH_DELIVERY_H

#include "server/push.h"

#include <curl/curl.h>

struct target;

struct delivery {
    struct target *target;
    struct group_lease lease;
    uint32_t attempt;
    char id[UUID_TEXT_BYTES + 1];
    struct buf body;
    size_t answer_bytes;
    bool private_addresses; /* may be connected to */
    bool refused;           /* one that is not public was */
    CURL *curl;
    struct curl_slist *headers;
    struct delivery *next;
};

struct delivery_options {
    const char *url, *group; /* `url` must last as long as the request */
    struct bytes secret;
    int64_t timeout_us;
    bool private_addresses;
};
/* Makes the request of a delivery whose lease, attempt, id and body are there. */
MUST_CHECK bool delivery_prepare(struct delivery *d, const struct delivery_options *options);
void delivery_free(struct delivery *d);

struct delivery_end {
    bool ok;
    int64_t retry_after_us; /* as a 429 or 503 said, < 0: nothing */
    char why[PUSH_DETAIL_MAX];
};
void delivery_read_end(struct delivery *d, CURLcode code, struct delivery_end *ret);

#endif
