/* group_run: one random schedule of consumer groups: a store, two groups, a model of each as it is
 * and as of the last commit, and what the log has beside the groups' transactions.
 *
 * One thread. Everything fails the running test instead of returning an error. */
#ifndef DAYBOOK_TESTS_MODEL_GROUP_RUN_H
#define DAYBOOK_TESTS_MODEL_GROUP_RUN_H

#include "tests/model/group_model.h"
#include "tests/unit/support_group.h"

#define GROUPS      2
#define LEASES_MAX  64
#define TICKETS_MAX 4
#define LATE_MAX    32

enum change_kind { CHANGE_EDIT, CHANGE_SEEK, CHANGE_ACKED };
struct change {
    enum change_kind kind;
    unsigned group;
    unsigned filter;
    struct group_settings settings;
    uint64_t place;
    uint64_t positions[LEASES_MAX];
    size_t n;
};

struct ticket {
    uint64_t number;
    unsigned group;
    bool decided;
    uint64_t positions[LEASES_MAX];
    struct group_lease leases[LEASES_MAX];
    size_t n;
};

struct run {
    uint64_t random;
    struct test_groups *t;
    struct gm_world world;
    struct gm_group groups[GROUPS], durable[GROUPS];
    bool folded, durable_folded; /* `pending` is in the groups */
    bool has_pending;
    struct change pending; /* in the log; the next transaction takes it */
    struct ticket tickets[TICKETS_MAX];
    size_t ticket_count;
    struct group_lease late[GROUPS][LATE_MAX]; /* over for ever */
    size_t late_count[GROUPS];
    unsigned group; /* that the fetch is for */
};

static inline unsigned run_below(struct run *r, uint64_t limit)
{
    return (unsigned)test_below(&r->random, limit);
}

static inline bool run_chance(struct run *r, unsigned percent)
{
    return run_below(r, 100) < percent;
}

const char *run_group_name(unsigned group);

/* ---- the log ---- */

void run_append(struct run *r);
/* Notes an event that was committed; all else that was is the system's. */
void run_note_event(struct run *r, unsigned stream, unsigned type);
void run_fill_world(struct run *r);
/* Truncates or deletes a stream, or redacts an event. */
void run_hide(struct run *r);
struct group_settings run_settings(struct run *r, unsigned *ret_filter);
/* Edits a group or moves it; the next transaction takes it from the log. */
void run_change_group(struct run *r);

/* ---- transactions ---- */

struct group_status run_status(struct run *r, unsigned group);
void run_begin(struct run *r);
/* The transaction was committed, or undone: by an abort, a failure, a crash. */
void run_committed(struct run *r);
void run_undone(struct run *r);
/* Whether the ticket's leases are committing. */
void run_mark(struct gm_group *m, const struct ticket *ticket, bool committing);

#endif
