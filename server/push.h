/* push: groups whose events are sent to a webhook: one thread that fetches from such groups as a
 * consumer would, sends each event as a CloudEvent, and acknowledges what was answered with 2xx.
 *
 * What fails goes back to the group, by its back-off or as the receiver's Retry-After says, and is
 * parked after max_attempts. A receiver that fails PUSH_FAILURES_MAX times in a row is left alone
 * for a while, which doubles, and then tried with one event (a circuit breaker). No redirect is
 * followed, no proxy used; addresses that are not public only where the options allow them, which
 * is asked of each address that a connection is made to. */
#ifndef DAYBOOK_SERVER_PUSH_H
#define DAYBOOK_SERVER_PUSH_H

#include "server/groups.h"

struct push;

#define PUSH_FAILURES_MAX 5
#define PUSH_DETAIL_MAX   200

struct push_options {
    struct group_service *groups;
    bool private_addresses;
};

MUST_CHECK err_t push_start(const struct push_options *options, struct push **ret,
                            struct err_text *et);
/* Ends the thread; what is under way is given back. Before groups_stop. NULL is fine. */
void push_stop(struct push *p);
/* After groups_stop. NULL is fine. */
void push_free(struct push *p);
/* Definitions have changed. Any thread. */
void push_changed(void *push);

enum push_state { PUSH_CLOSED, PUSH_OPEN, PUSH_HALF_OPEN };
struct push_status {
    enum push_state state; /* of the circuit */
    unsigned in_flight;
    uint64_t sent, failed; /* since the start of the process */
    int64_t retry_at_us;   /* OPEN: until then it is left alone */
    char last_error[PUSH_DETAIL_MAX];
};
/* false: the group is not pushed. Any thread. */
bool push_get_status(struct push *p, struct bytes group, struct push_status *ret);

#endif
