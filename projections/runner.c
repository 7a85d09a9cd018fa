/* runner: see runner.h.
 *
 * Where all goes well a batch is: begin, apply each, commit with the checkpoint. Where the handler
 * fails on an event, SQLite may have done a part of it, so the batch is aborted and run again up to
 * before that event, which then is tried in transactions of its own. So the good path pays nothing
 * for errors (no savepoint an event), and a bad event costs a batch twice. */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "follower.h"
#include "storage/base/check.h"

#define BATCH_BYTES_MAX ((size_t)32 << 20)

struct runner {
    struct model *model;
    struct follower *follower;
    struct runner_policy policy;
    enum runner_state state;
    uint64_t events;
    size_t singly; /* so many events are taken one by one: their batch failed as a whole */
    uint64_t fault_position;
    struct err_text fault;
};

/* One pass over records. */
struct batch {
    struct runner *runner;
    bool (*enough)(void *ctx);
    void *ctx;
    struct err_text *et;
    size_t taken;
    uint64_t last_position;   /* of the last one taken */
    uint64_t failed_position; /* 0: the handler has not failed */
};

/* ---- states ---- */

#define NOT RUNNER_STATE_COUNT

static const enum runner_state MOVES[RUNNER_STATE_COUNT][RUNNER_MOVE_COUNT] = {
    /*                   catch up,    pause,         resume,          fail */
    [RUNNER_BUILDING] = {RUNNER_LIVE, RUNNER_PAUSED, NOT, RUNNER_FAULTED},
    [RUNNER_LIVE] = {RUNNER_LIVE, RUNNER_PAUSED, NOT, RUNNER_FAULTED},
    [RUNNER_PAUSED] = {NOT, NOT, RUNNER_BUILDING, NOT},
    [RUNNER_FAULTED] = {NOT, RUNNER_PAUSED, RUNNER_BUILDING, RUNNER_FAULTED},
};

bool runner_next_state(enum runner_state from, enum runner_move move, enum runner_state *ret)
{
    enum runner_state to = MOVES[from][move];
    if (to == NOT) {
        return false;
    }
    *ret = to;
    return true;
}

const char *runner_state_name(enum runner_state state)
{
    static const char *const names[RUNNER_STATE_COUNT] = {
        [RUNNER_BUILDING] = "building",
        [RUNNER_LIVE] = "live",
        [RUNNER_PAUSED] = "paused",
        [RUNNER_FAULTED] = "faulted",
    };
    return names[state];
}

static void move(struct runner *r, enum runner_move what)
{
    bool allowed = runner_next_state(r->state, what, &r->state);
    CHECK(allowed);
}

static bool has_served(const struct runner *r)
{
    return model_fact(r->model, MODEL_SERVED).n > 0;
}

/* ---- opening ---- */

static uint64_t to_number(struct bytes text)
{
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    return v;
}

static void find_state(struct runner *r)
{
    struct bytes fault = model_fact(r->model, MODEL_FAULT_POSITION);
    r->state = has_served(r) ? RUNNER_LIVE : RUNNER_BUILDING;
    if (fault.n > 0) {
        r->state = RUNNER_FAULTED;
        r->fault_position = to_number(fault);
        (void)err_set(&r->fault, ERR_OK, "%.*s",
                      BYTES_ARGS(model_fact(r->model, MODEL_FAULT_TEXT)));
    }
}

err_t runner_new(struct model *take_model, const struct runner_policy *policy, struct runner **ret)
{
    CHECK(policy->attempts > 0);
    struct runner *r = calloc(1, sizeof *r);
    if (r == NULL) {
        model_close(take_model);
        return ERR_MEMORY;
    }
    r->model = take_model;
    r->policy = *policy;
    struct store_query query = {.from = model_checkpoint(take_model),
                                .filter = *model_filter(take_model)};
    err_t err = follower_new(&query, &r->follower);
    if (err != ERR_OK) {
        runner_free(r);
        return err;
    }
    find_state(r);
    *ret = r;
    return ERR_OK;
}

void runner_free(struct runner *r)
{
    if (r != NULL) {
        follower_free(r->follower);
        model_close(r->model);
        free(r);
    }
}

struct model *runner_model(const struct runner *r)
{
    return r->model;
}

void runner_get_status(const struct runner *r, struct runner_status *ret)
{
    *ret = (struct runner_status){
        .state = r->state,
        .position = model_checkpoint(r->model),
        .time_us = model_time_us(r->model),
        .events = r->events,
        .fault_position = r->state == RUNNER_FAULTED ? r->fault_position : 0,
        .fault_text = r->state == RUNNER_FAULTED ? r->fault.text : "",
    };
}

/* ---- a step ---- */

static bool is_handlers_fault(err_t err)
{
    return err == ERR_INVALID || err == ERR_LIMIT;
}

static err_t take(void *ctx, const struct store_record *record)
{
    struct batch *b = ctx;
    struct event e;
    err_t err = store_record_decode(record, &e);
    if (err != ERR_OK) {
        return err_set(b->et, err, "the event at position %" PRIu64 " is damaged",
                       record->position);
    }
    err = model_apply(b->runner->model, &e, b->et);
    if (err != ERR_OK) {
        b->failed_position = is_handlers_fault(err) ? e.position : 0;
        return err;
    }
    b->taken++;
    b->last_position = e.position;
    return b->enough != NULL && b->enough(b->ctx) ? ERR_FULL : ERR_OK;
}

static void go_back(struct runner *r)
{
    model_abort(r->model);
    follower_seek(r->follower, model_checkpoint(r->model));
}

/* At most `events`; where `checkpoint` is not 0 the batch is committed as being that far. */
static err_t run_batch(struct runner *r, struct store_view *v, struct batch *b, size_t events,
                       uint64_t checkpoint, bool *ret_caught_up)
{
    err_t err = model_begin(r->model, b->et);
    if (err != ERR_OK) {
        return err;
    }
    const struct follower_limits limits = {.events = events, .bytes = BATCH_BYTES_MAX};
    err = follower_next(r->follower, v, &limits, take, b, ret_caught_up);
    if (err != ERR_OK) {
        go_back(r);
        return err;
    }
    err = model_commit(r->model, checkpoint == 0 ? follower_checkpoint(r->follower) : checkpoint,
                       b->et);
    follower_seek(r->follower, model_checkpoint(r->model));
    r->events += err == ERR_OK ? b->taken : 0;
    return err;
}

/* One transaction for one event. */
static err_t run_alone(struct runner *r, const struct event *e, struct err_text *et)
{
    err_t err = model_begin(r->model, et);
    if (err != ERR_OK) {
        return err;
    }
    err = model_apply(r->model, e, et);
    if (err != ERR_OK) {
        model_abort(r->model);
        return err;
    }
    err = model_commit(r->model, e->position, et);
    r->events += err == ERR_OK;
    return err;
}

static err_t set_fault(struct runner *r, uint64_t position, const char *text, struct err_text *et)
{
    char digits[24] = "";
    if (position > 0) {
        snprintf(digits, sizeof digits, "%" PRIu64, position);
    }
    err_t err = model_set_fact(r->model, MODEL_FAULT_TEXT, bytes_of_string(text), et);
    if (err == ERR_OK) {
        err = model_set_fact(r->model, MODEL_FAULT_POSITION, bytes_of_string(digits), et);
    }
    return err;
}

/* Goes past an event without it and writes it down. */
static err_t leave_out(struct runner *r, const struct event *e, const char *text, bool skipped,
                       struct err_text *et)
{
    const struct model_error error = {.position = e->position,
                                      .attempts = r->policy.attempts,
                                      .time_us = e->time_us,
                                      .stream = e->stream,
                                      .type = e->type,
                                      .text = bytes_of_string(text),
                                      .skipped = skipped};
    err_t err = model_begin(r->model, et);
    if (err != ERR_OK) {
        return err;
    }
    err = model_put_error(r->model, &error, et);
    if (err != ERR_OK) {
        model_abort(r->model);
        return err;
    }
    err = model_commit(r->model, e->position, et);
    follower_seek(r->follower, model_checkpoint(r->model));
    return err;
}

/* What became of an event that was there: it was truncated, or its stream deleted. */
static bool is_hidden(err_t err)
{
    return err == ERR_NOT_FOUND || err == ERR_GONE;
}

static err_t get_event(struct store_view *v, uint64_t position, struct event *ret)
{
    struct store_record record;
    err_t err = store_get_event(v, position, &record);
    return err == ERR_OK ? store_record_decode(&record, ret) : err;
}

/* The event that a batch failed on, which is next. Handlers are pure, so attempts are for the sake
 * of those that hit a limit. */
static err_t handle_failing(struct runner *r, struct store_view *v, uint64_t position,
                            struct err_text *et)
{
    struct event e;
    err_t err = get_event(v, position, &e);
    if (err != ERR_OK) {
        return is_hidden(err) ? ERR_OK : err; /* no concern any more */
    }
    struct err_text why = {0};
    for (unsigned i = 0; i < r->policy.attempts; i++) {
        why = (struct err_text){0};
        err = run_alone(r, &e, &why);
        if (!is_handlers_fault(err)) {
            follower_seek(r->follower, model_checkpoint(r->model));
            return err == ERR_OK ? err : err_set(et, err, "%s", why.text);
        }
    }
    err_prepend(&why, "event %" PRIu64 " (%.*s)", position, BYTES_ARGS(e.type));
    if (r->policy.set_aside) {
        return leave_out(r, &e, why.text, false, et);
    }
    err = set_fault(r, position, why.text, et);
    if (err == ERR_OK) {
        r->fault = why;
        r->fault_position = position;
        move(r, RUNNER_FAIL);
    }
    return err;
}

/* The handler's fault shows only when the batch is written: which event it was is found out by
 * taking them one by one. */
static err_t handle_failed_write(struct runner *r, struct batch *b, err_t err)
{
    if (!is_handlers_fault(err) || b->failed_position > 0 || b->taken == 0) {
        return err;
    }
    if (b->taken == 1) {
        b->failed_position = b->last_position;
        b->taken = 0;
        return err;
    }
    r->singly = b->taken;
    return ERR_OK;
}

err_t runner_step(struct runner *r, struct store_view *v, bool (*enough)(void *ctx), void *ctx,
                  bool *ret_caught_up, struct err_text *et)
{
    CHECK(r->state == RUNNER_BUILDING || r->state == RUNNER_LIVE);
    bool caught_up = false;
    struct batch b = {.runner = r, .enough = enough, .ctx = ctx, .et = et};
    size_t events = r->singly > 0 ? 1 : model_kind(r->model)->batch_events;
    r->singly -= r->singly > 0;
    err_t err = run_batch(r, v, &b, events, 0, &caught_up);
    if (err != ERR_OK) {
        caught_up = false;
        err = handle_failed_write(r, &b, err);
    }
    if (err != ERR_OK && b.failed_position > 0) {
        struct batch again = {.runner = r, .et = et};
        err = ERR_OK;
        caught_up = false;
        if (b.taken > 0) {
            err = run_batch(r, v, &again, b.taken, b.failed_position - 1, &caught_up);
            caught_up = false;
        }
        if (is_handlers_fault(err)) { /* a handler that keeps state of its own */
            r->singly = b.taken + 1;
            return ERR_OK;
        }
        if (err == ERR_OK) {
            err = handle_failing(r, v, b.failed_position, et);
        }
    }
    if (err != ERR_OK) {
        return err;
    }
    if (caught_up) {
        move(r, RUNNER_CATCH_UP);
    }
    *ret_caught_up = caught_up;
    return ERR_OK;
}

/* ---- by a user's word ---- */

err_t runner_pause(struct runner *r)
{
    return runner_next_state(r->state, RUNNER_PAUSE, &r->state) ? ERR_OK : ERR_INVALID;
}

err_t runner_resume(struct runner *r, struct err_text *et)
{
    enum runner_state to;
    if (!runner_next_state(r->state, RUNNER_RESUME, &to)) {
        return ERR_INVALID;
    }
    err_t err = set_fault(r, 0, "", et);
    if (err == ERR_OK) {
        r->state = has_served(r) ? RUNNER_LIVE : to;
    }
    return err;
}

err_t runner_skip(struct runner *r, struct store_view *v, struct err_text *et)
{
    if (r->state != RUNNER_FAULTED || r->fault_position == 0) {
        return ERR_INVALID;
    }
    struct event e;
    err_t err = get_event(v, r->fault_position, &e);
    if (err == ERR_OK) {
        err = leave_out(r, &e, r->fault.text, true, et);
    }
    return err == ERR_OK || is_hidden(err) ? runner_resume(r, et) : err;
}

/* Within a batch. */
static err_t take_late(struct runner *r, struct store_view *v, uint64_t position,
                       struct err_text *et)
{
    struct event e;
    err_t err = model_drop_error(r->model, position, et);
    if (err != ERR_OK) {
        return err;
    }
    err = get_event(v, position, &e);
    if (err != ERR_OK) {
        return is_hidden(err) ? ERR_GONE : err;
    }
    err = model_apply_late(r->model, &e, et);
    if (is_handlers_fault(err)) {
        err_prepend(et, "event %" PRIu64 " (%.*s)", position, BYTES_ARGS(e.type));
    }
    return err;
}

err_t runner_retry_error(struct runner *r, struct store_view *v, uint64_t position,
                         struct err_text *et)
{
    err_t err = model_begin(r->model, et);
    if (err != ERR_OK) {
        return err;
    }
    err = take_late(r, v, position, et);
    if (err == ERR_OK) {
        err = model_commit(r->model, model_checkpoint(r->model), et);
        r->events += err == ERR_OK;
    } else {
        model_abort(r->model);
    }
    if (is_handlers_fault(err)) {
        struct err_text ignored = {0};
        err_t noted = model_note_attempt(r->model, position, bytes_of_string(et->text), &ignored);
        err = noted == ERR_OK ? err : noted;
    }
    return err;
}

err_t runner_discard_error(struct runner *r, uint64_t position, struct err_text *et)
{
    err_t err = model_begin(r->model, et);
    if (err != ERR_OK) {
        return err;
    }
    err = model_drop_error(r->model, position, et);
    if (err == ERR_OK) {
        return model_commit(r->model, model_checkpoint(r->model), et);
    }
    model_abort(r->model);
    return err;
}

void runner_fail(struct runner *r, const char *text)
{
    r->fault = (struct err_text){0};
    (void)err_set(&r->fault, ERR_OK, "%s", text);
    r->fault_position = 0;
    move(r, RUNNER_FAIL);
}
