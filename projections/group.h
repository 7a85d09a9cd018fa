/* group: consumer groups: shared work on the events that match a filter, with leases, retries and
 * parked events; in order per stream where that is asked for.
 *
 * One thread at a time (the server's groups thread) for everything but groups_due's result, which
 * is a number. No thread, no clock, no random source in here: `now_us` and tokens are arguments. It
 * reads the log through a view, keeps its state in one LMDB environment (state_env.h), and holds in
 * memory only groups that were used since the start.
 *
 * Everything happens between groups_begin and groups_commit, as many operations of as many requests
 * as there are: one synced write makes all of them durable, and only then may the requests be
 * answered. What an operation did is visible to the next one at once. If groups_commit fails, or
 * groups_abort is called, NONE of them happened: the state is as it was at groups_begin, answers
 * must not be sent, and leases that were handed out are not valid.
 *
 * An event is *owed* from when a fetch has looked at it until it is settled: acknowledged, skipped,
 * gone (hidden by truncation or deletion, or redacted, before it could be delivered again; or the
 * filter was changed so that it does not match any more), or parked. All events up to the group's
 * `fetched` position are settled or owed, those after it were not looked at; nothing is ever in
 * neither set. `position`, what users see as the group's place, is the last one before the oldest
 * owed event (events that are being replayed do not count).
 *
 * Errors of every operation: ERR_NOT_FOUND: no such group (or deleted); ERR_MEMORY, ERR_CORRUPT,
 * ERR_IO, ERR_DISK_FULL: call groups_abort; the transaction cannot be committed. The limits that an
 * operation names are refused as ERR_INVALID and change nothing. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_H
#define DAYBOOK_PROJECTIONS_GROUP_H

#include "projections/group_catalog.h"
#include "projections/state_env.h"

struct groups;

/* A group owes at most so many events that are not leased: they wait for a retry, are held back by
 * another of their stream, or are parked and block it (and what is in flight comes to this when it
 * is given back). Then it looks at no new ones (`held_full`). */
#define GROUP_HELD_MAX  16384
#define GROUP_FETCH_MAX 10000 /* events of one fetch */

/* Reads the state; `env` must stay open until groups_close and is not owned. */
MUST_CHECK err_t groups_open(struct state_env *env, struct groups **ret, struct err_text *et);
/* Aborts what is open. NULL is fine. */
void groups_close(struct groups *g);

/* ---- transactions ---- */

/* Begins, and takes what is new in GROUPS_STREAM up to the view (definitions, seeks, deletions,
 * acknowledgements by append). The view must stay open until groups_commit or groups_abort, and
 * until the last record handed out was used. `now_us`: the wall clock; it never goes back in here.
 * After an error there is no transaction. */
MUST_CHECK err_t groups_begin(struct groups *g, struct store_view *v, int64_t now_us);
/* Durable when it returns ERR_OK; without a change it costs nothing. ERR_DISK_FULL: try again
 * later. The transaction is over either way. */
MUST_CHECK err_t groups_commit(struct groups *g);
void groups_abort(struct groups *g);

/* ---- the groups there are (as of the last fold) ---- */

struct group_info {
    const char *name;
    uint64_t id; /* position of the event that created it: never used twice */
    int64_t created_us;
    const struct group_settings *settings;
    uint64_t revision; /* counts definitions, from 1: an ETag */
};
/* In order of their creation, without deleted ones. Borrowed until the next call of groups_begin,
 * groups_abort or groups_close. */
size_t groups_count(const struct groups *g);
struct group_info groups_at(const struct groups *g, size_t i);
/* false: there is none. */
bool groups_find(const struct groups *g, struct bytes name, struct group_info *ret);
/* Revision of the last event of GROUPS_STREAM that was taken. */
uint64_t groups_folded(const struct groups *g);

/* ---- leases ---- */

/* A lease: the random token of its fetch and a number. Its text is 36 hexadecimal characters and
 * means nothing to a client. */
#define GROUP_TOKEN_BYTES 16
#define GROUP_LEASE_TEXT  36
struct group_lease {
    uint8_t token[GROUP_TOKEN_BYTES];
    uint16_t index;
};
void group_lease_format(const struct group_lease *lease, char ret[GROUP_LEASE_TEXT]);
/* false: not the text of a lease, so it is lost. */
bool group_lease_parse(struct bytes text, struct group_lease *ret);

struct group_delivery {
    struct store_record record; /* borrowed from the view; event.h's decode for its fields */
    struct group_lease lease;
    uint32_t attempt; /* 1: the first delivery */
    bool replay;      /* it was parked and is delivered again by request */
};
/* Takes one delivery. ERR_OK, or ERR_FULL: taken, but no more now. Any other error ends the fetch
 * with it; call groups_abort. Answers must wait for groups_commit. */
typedef err_t (*group_each)(void *ctx, const struct group_delivery *delivery);

struct group_fetch {
    struct bytes group;
    struct bytes consumer; /* for status and parked events; 0 to GROUP_CONSUMER_MAX bytes */
    uint32_t max;          /* 1 to GROUP_FETCH_MAX */
    size_t bytes_max;      /* no more after so many bytes of records; 0: no limit */
    uint8_t token[GROUP_TOKEN_BYTES]; /* fresh random bytes for each call */
};
struct group_fetched {
    uint32_t count;
    int64_t deadline_us; /* of these leases */
    bool again;          /* less than max, but it has looked at enough: commit, call again soon */
    bool in_flight_full; /* stopped by max_in_flight */
    bool held_full;      /* stopped by GROUP_HELD_MAX */
    bool paused;
};
/* Leases events to a consumer: due retries and expired ones first, replays, then new ones. It may
 * find nothing: then wait until the log has grown, groups_due has come, or a lease of the group was
 * settled, and call it again (also groups_changed says so). */
MUST_CHECK err_t groups_fetch(struct groups *g, const struct group_fetch *fetch, group_each each,
                              void *ctx, struct group_fetched *ret);

/* The leases of one request. Each is looked at first: where one or more are lost (expired,
 * delivered again, settled, ended by a seek, unknown, twice in the request), or busy in an
 * acknowledgement with append, NOTHING changes and lost[i] (n of them) tells which; *ret_lost says
 * how many: answer 409 lease-lost. */
struct group_leases {
    struct bytes group;
    const struct group_lease *items;
    size_t n;
    bool *lost; /* filled */
};
MUST_CHECK err_t groups_ack(struct groups *g, const struct group_leases *leases, size_t *ret_lost);

enum group_nack_action { GROUP_NACK_RETRY, GROUP_NACK_PARK, GROUP_NACK_SKIP };
struct group_nack {
    enum group_nack_action action;
    int64_t delay_us;    /* RETRY: so long; < 0: by the group's back-off. At most
                            GROUP_BACKOFF_MAX */
    struct bytes reason; /* UTF-8, kept if the event is parked by this, cut at GROUP_REASON_MAX;
                            may be empty */
    uint64_t random;     /* fresh random bits, for the jitter */
};
/* RETRY parks an event that was delivered max_attempts times; *ret_parked (may be NULL) counts. */
MUST_CHECK err_t groups_nack(struct groups *g, const struct group_leases *leases,
                             const struct group_nack *nack, size_t *ret_lost, size_t *ret_parked);

/* The leases end at now + timeout (0: the group's ack timeout; at most GROUP_ACK_TIMEOUT_MAX). */
MUST_CHECK err_t groups_extend(struct groups *g, const struct group_leases *leases,
                               int64_t timeout_us, size_t *ret_lost, int64_t *ret_deadline_us);

/* ---- acknowledging in one step with an append ----
 *
 * 1. In a transaction: groups_ack_prepare. The leases are `committing` from then on: they neither
 *    expire nor can be settled otherwise. Then groups_make_acked; commit (it costs nothing).
 * 2. Submit ONE command: the client's appends, and command_add_system_append(GROUPS_STREAM) of the
 *    event. The log decides.
 * 3. When the verdict is there, in a transaction whose view is newer: groups_begin takes the event,
 *    if it was committed, and settles the leases; then groups_ack_finish, whatever the verdict.
 *    Where it was not committed the leases are in flight again with their old deadline.
 * A process that dies in between needs nothing: groups_begin takes what the log says. Where the
 * transaction of step 1 fails or the command is never submitted, call groups_ack_finish too. */
MUST_CHECK err_t groups_ack_prepare(struct groups *g, const struct group_leases *leases,
                                    size_t *ret_lost, uint64_t *ret_ticket);
MUST_CHECK err_t groups_make_acked(struct groups *g, uint64_t ticket, struct arena *arena,
                                   struct event_draft *ret);
/* Needs no transaction, but not during the fold: any time after the groups_begin of step 3. */
void groups_ack_finish(struct groups *g, uint64_t ticket);

/* ---- waking ---- */

/* When the next lease ends or the next retry is due, of the groups in memory; INT64_MAX: never. */
int64_t groups_due(const struct groups *g);
/* Parks what has used its attempts up and frees what has expired, in all groups in memory; bounded.
 * groups_fetch does it for its own group. *ret_more: call again. Changes what groups_due says. */
MUST_CHECK err_t groups_expire(struct groups *g, bool *ret_more);
/* Counts up whenever events of a group may have become deliverable by anything but the growing of
 * the log or time (a settled lease, a replay, a seek, an edit). 0: not in memory. */
uint64_t groups_changed(const struct groups *g, struct bytes group);

#endif
