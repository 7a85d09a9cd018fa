/* push_message: what a webhook's request is made of: where it may go, and its signature.
 *
 * Any thread; pure. */
#ifndef DAYBOOK_SERVER_PUSH_MESSAGE_H
#define DAYBOOK_SERVER_PUSH_MESSAGE_H

#include "storage/base/buf.h"

#include <sys/socket.h>

#define PUSH_URL_MAX 2000

/* What the log keeps of a webhook: everything but its secret. */
struct push_settings {
    char url[PUSH_URL_MAX + 1];
    int64_t timeout_us;
    unsigned concurrency; /* requests at a time */
};
void push_put_settings(struct buf *b, const struct push_settings *s);
/* false: it is not what push_put_settings writes. */
bool push_read_settings(struct bytes text, struct push_settings *ret);

/* NULL, or what is wrong with the URL of a webhook: http or https, a host, no user or password, no
 * fragment, printable ASCII without quotes and backslashes. */
const char *push_url_fault(struct bytes url);

/* Whether an address is not one of the public internet: loopback, private, link-local, shared,
 * multicast, reserved, or an IPv4 address of these inside IPv6. Of other families: true. */
bool push_address_is_private(const struct sockaddr *address);

/* The value of `webhook-signature` (Standard Webhooks 1.0): "v1," and HMAC-SHA256 over
 * "id.timestamp.body" in base64. The key is the secret's bytes; of "whsec_" and base64 what that
 * decodes to. */
void push_sign(struct buf *b, struct bytes secret, struct bytes id, int64_t timestamp_s,
               struct bytes body);

#endif
