/* runner: keeps one model up to the log, a batch at a step, and knows what state it is in.
 *
 * Each batch is one transaction with its checkpoint, so every event is in the model exactly once,
 * wherever it stops. One thread at a time; no thread, no clock of its own. */
#ifndef DAYBOOK_PROJECTIONS_RUNNER_H
#define DAYBOOK_PROJECTIONS_RUNNER_H

#include "projections/model.h"

struct runner;

enum runner_state {
    RUNNER_BUILDING, /* has not seen all that was there when it began */
    RUNNER_LIVE,     /* has caught up at least once, and goes along */
    RUNNER_PAUSED,   /* by a user */
    RUNNER_FAULTED,  /* stands before an event that its handler fails on, or its file failed */
    RUNNER_STATE_COUNT
};
/* "building", ... */
const char *runner_state_name(enum runner_state state);

enum runner_move { RUNNER_CATCH_UP, RUNNER_PAUSE, RUNNER_RESUME, RUNNER_FAIL, RUNNER_MOVE_COUNT };
/* Whether a state takes a move, and what it is then. */
bool runner_next_state(enum runner_state from, enum runner_move move, enum runner_state *ret);

/* What is done about an event that the handler fails on, after so many attempts. */
struct runner_policy {
    bool set_aside; /* write it down and go on; else: stop there, faulted */
    unsigned attempts;
};

/* Takes the model, also on an error. A model that stands at a fault starts as FAULTED, one that has
 * served as LIVE, else BUILDING. */
MUST_CHECK err_t runner_new(struct model *take_model, const struct runner_policy *policy,
                            struct runner **ret);
/* Closes the model. NULL is fine. */
void runner_free(struct runner *r);
struct model *runner_model(const struct runner *r);

/* One batch of what follows its checkpoint in the view, committed. Only where it is BUILDING or
 * LIVE. `enough` is asked after each event and ends the batch early; may be NULL. *ret_caught_up:
 * nothing more is in this view; a building model is live then. It may be FAULTED afterwards, which
 * is no error of this call. On an error nothing of the batch is in the model: ERR_DISK_FULL,
 * ERR_MEMORY, ERR_BUSY may pass; others do not. */
MUST_CHECK err_t runner_step(struct runner *r, struct store_view *v, bool (*enough)(void *ctx),
                             void *ctx, bool *ret_caught_up, struct err_text *et);

/* ERR_INVALID: its state does not take it. Resuming a faulted one tries the event again. */
MUST_CHECK err_t runner_pause(struct runner *r);
MUST_CHECK err_t runner_resume(struct runner *r, struct err_text *et);
/* A faulted one leaves the event out, which is kept among the errors, and goes on. */
MUST_CHECK err_t runner_skip(struct runner *r, struct store_view *v, struct err_text *et);
/* In any state: an event that was left out, taken after all, or its entry thrown away. It is taken
 * now, after those that came since, in one transaction with taking it off the list. ERR_NOT_FOUND:
 * it is not on the list. ERR_GONE: it is, but no longer in the log. ERR_INVALID, ERR_LIMIT,
 * ERR_CLOSED: its handler failed again; `et` and the list say how. */
MUST_CHECK err_t runner_retry_error(struct runner *r, struct store_view *v, uint64_t position,
                                    struct err_text *et);
MUST_CHECK err_t runner_discard_error(struct runner *r, uint64_t position, struct err_text *et);
/* For errors of a step that do not pass; not durable, the next start tries again. */
void runner_fail(struct runner *r, const char *text);

struct runner_status {
    enum runner_state state;
    uint64_t position;       /* its checkpoint */
    int64_t time_us;         /* of the last event it took; 0: none */
    uint64_t events;         /* taken since it was opened, to reckon a rate from */
    uint64_t fault_position; /* FAULTED: the event; 0: the file failed */
    const char *fault_text;  /* borrowed from the runner until its next call */
};
void runner_get_status(const struct runner *r, struct runner_status *ret);

#endif
