/* group_body: the bodies of requests about consumer groups, and what is written of groups.
 *
 * Loop's thread for reading; the rest any thread. */
#ifndef DAYBOOK_SERVER_GROUP_BODY_H
#define DAYBOOK_SERVER_GROUP_BODY_H

#include "projections/group_admin.h"
#include "server/body.h"
#include "server/push.h"
#include "storage/base/buf.h"

/* ---- reading: where it is false it has replied ---- */

/* Settings as a client gives them. */
struct group_patch {
    struct group_settings values;
    bool filter, ordering, on_park, ack_timeout, max_attempts, backoff_initial, backoff_max,
        max_in_flight, paused;
    bool after_given;
    struct body_place after;
    bool push; /* `values.push` is the text for the log; empty: none any more */
    bool secret_given;
    struct bytes secret;
};
/* `creates`: "after" may be there. */
bool group_body_read_patch(struct http_request *rq, bool creates, struct group_patch *ret);
/* Puts what was given into the settings. */
void group_patch_apply(const struct group_patch *patch, struct group_settings *settings);
/* A filter object into values that live in the request's arena; `root` ends in a dot. */
bool group_body_read_filter(struct http_request *rq, struct bytes text, const char *root,
                            struct store_filter *ret);

/* ---- writing; growth failures stick in the buf ---- */

struct group_report {
    struct group_info info;
    struct group_status status;
};
/* The object without its closing brace. */
void group_put_report(struct buf *b, const struct group_report *r);
/* Further members of it: how its webhook does. */
void group_put_push_status(struct buf *b, const struct push_status *s);
void group_put_consumer(struct buf *b, const struct group_consumer *c);
MUST_CHECK err_t group_put_delivery(struct buf *b, const struct group_delivery *d);
MUST_CHECK err_t group_put_parked(struct buf *b, const struct group_parked *p);

#endif
