/* api_group_work: what consumers of a group do: fetch, acknowledge (with an append in the same
 * step), give back, extend. */
#include "server/api_group.h"
#include "server/api_life.h"
#include "server/ids.h"
#include "server/json.h"
#include "server/router.h"

#include <stdio.h>
#include <sys/random.h>

#define FETCH_DEFAULT       100
#define FETCH_BYTES_MAX     ((size_t)16 << 20)
#define FETCH_WAIT_MAX_S    60
#define DRAFT_CHUNK_BYTES   65536
#define EVENT_STRUCTS_BYTES 1024

static bool refuse(struct http_request *rq, const char *field, const char *detail)
{
    reply_problem_detail(rq, PROBLEM_INVALID_FIELD, field, "%s", detail);
    return false;
}

/* The kernel's; where it has none, which it says at the start of the process, there is no token. */
static bool random_bytes(void *p, size_t n)
{
    return getrandom(p, n, 0) == (ssize_t)n;
}

/* ---- fetch ---- */

struct fetch_request {
    struct bytes consumer;
    uint64_t max;
    int64_t wait_us;
};

struct fetch_answer {
    struct buf *b;
    size_t n;
};

static err_t put_delivery(void *ctx, const struct group_delivery *delivery)
{
    struct fetch_answer *a = ctx;
    buf_put_string(a->b, a->n++ > 0 ? "," : "");
    return group_put_delivery(a->b, delivery);
}

static enum group_outcome run_fetch(struct group_call *c, const struct group_turn *turn)
{
    const struct fetch_request *f = c->ctx;
    struct fetch_answer a = {.b = &c->job->body};
    struct group_fetched fetched = {0};
    struct group_fetch fetch = {.group = c->group,
                                .consumer = f->consumer,
                                .max = (uint32_t)f->max,
                                .bytes_max = FETCH_BYTES_MAX};
    buf_clear(a.b);
    buf_put_string(a.b, "{\"events\":[");
    if (!c->job->gone) { /* else nobody would get them */
        err_t err = random_bytes(fetch.token, sizeof fetch.token)
                        ? groups_fetch(turn->groups, &fetch, put_delivery, &a, &fetched)
                        : ERR_IO;
        if (err != ERR_OK) {
            return api_group_failed(c, err);
        }
    }
    c->soon = fetched.again && a.n == 0;
    if (a.n == 0 && !c->over && (c->soon || f->wait_us > 0)) {
        return GROUP_WAITS;
    }
    buf_put_byte(a.b, ']');
    if (a.n > 0) {
        buf_put_string(a.b, ",\"lease_until\":");
        json_put_time(a.b, fetched.deadline_us);
    }
    buf_put_byte(a.b, '}');
    return api_group_answered(c, turn);
}

void api_group_fetch(struct http_request *rq, struct app *app)
{
    struct group_call *c = api_group_call(rq, app, NULL, sizeof(struct fetch_request));
    if (c == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    struct fetch_request *f = c->ctx;
    const struct body_field fields[] = {
        {"consumer", BODY_TEXT, &f->consumer, NULL},
        {"max", BODY_COUNT, &f->max, NULL},
        {"wait_s", BODY_SECONDS, &f->wait_us, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    f->max = FETCH_DEFAULT;
    if (!body_read(rq, http_body(rq), "", fields) ||
        ((f->max == 0 || f->max > GROUP_FETCH_MAX) &&
         !refuse(rq, "max", "must be from 1 to 10000")) ||
        (f->wait_us > FETCH_WAIT_MAX_S * INT64_C(1000000) &&
         !refuse(rq, "wait_s", "must be at most 60")) ||
        (f->consumer.n > 0 && !event_name_is_valid(f->consumer) &&
         !refuse(rq, "consumer", "must be a name of at most 255 bytes"))) {
        return;
    }
    c->wait_us = f->wait_us;
    c->run = run_fetch;
    groups_submit(app->groups, c);
}

/* ---- leases ---- */

struct lease_request {
    struct body_names texts;
    struct group_leases leases;
    /* nack and extend */
    struct group_nack nack;
    int64_t timeout_us;
};

static bool read_leases(struct http_request *rq, struct lease_request *r, struct bytes group)
{
    if (r->texts.n == 0) {
        reply_problem_detail(rq, PROBLEM_MISSING_FIELD, "leases", "at least one is needed");
        return false;
    }
    struct group_lease *items = arena_alloc(http_arena(rq), r->texts.n * sizeof *items);
    bool *lost = arena_alloc(http_arena(rq), r->texts.n * sizeof *lost);
    if (items == NULL || lost == NULL) {
        reply_error(rq, ERR_MEMORY, "reading the leases");
        return false;
    }
    for (size_t i = 0; i < r->texts.n; i++) {
        lost[i] = false;
        if (!group_lease_parse(r->texts.items[i], &items[i])) {
            items[i] = (struct group_lease){.index = 0}; /* nobody's, so it is lost */
        }
    }
    r->leases = (struct group_leases){group, items, r->texts.n, lost};
    return true;
}

static enum group_outcome answer_lost(struct group_call *c, size_t lost)
{
    const struct lease_request *r = c->ctx;
    struct bytes *texts = arena_alloc(http_arena(c->job->rq), lost * sizeof *texts);
    size_t n = 0;
    for (size_t i = 0; texts != NULL && i < r->leases.n; i++) {
        if (r->leases.lost[i]) {
            texts[n++] = r->texts.items[i];
        }
    }
    c->job->leases = texts;
    c->job->lease_count = n;
    job_fail(c->job, PROBLEM_LEASE_LOST, "leases", "%zu of %zu are lost", lost, r->leases.n);
    return GROUP_ANSWERED;
}

static enum group_outcome run_ack(struct group_call *c, const struct group_turn *turn)
{
    struct lease_request *r = c->ctx;
    size_t lost = 0;
    err_t err = groups_ack(turn->groups, &r->leases, &lost);
    if (err != ERR_OK || lost > 0) {
        return err != ERR_OK ? api_group_failed(c, err) : answer_lost(c, lost);
    }
    buf_put_format(&c->job->body, "{\"acked\":%zu}", r->leases.n);
    return api_group_answered(c, turn);
}

/* ---- acknowledging with an append ---- */

static bool read_append(struct http_request *rq, struct app *app, struct bytes text,
                        struct command **ret)
{
    struct arena arena;
    struct draft d;
    arena_init(&arena, DRAFT_CHUNK_BYTES,
               4 * text.n + app->limits.append_events_max * EVENT_STRUCTS_BYTES +
                   DRAFT_CHUNK_BYTES);
    draft_init(&d, DRAFT_APPEND_MANY, &app->limits, &arena);
    d.root = "append.";
    bool ok = json_read_draft(text, &d) && draft_check(&d) && draft_build(&d, ret);
    if (!ok) {
        const char *field = d.rejection.field[0] != '\0' ? d.rejection.field : NULL;
        reply_problem(rq, d.rejection.problem,
                      &(struct problem_extra){.detail = d.rejection.detail, .field = field});
    }
    arena_done(&arena);
    return ok;
}

/* Adds "these are acknowledged" to the client's command: one step of the log, all or nothing. */
static err_t add_acked(struct group_call *c, struct groups *g)
{
    uint8_t id[UUID_BYTES];
    struct event_draft draft;
    err_t err = groups_make_acked(g, c->ticket, http_arena(c->job->rq), &draft);
    if (err == ERR_OK) {
        err = command_add_system_append(c->command, BYTES_LITERAL(GROUPS_STREAM),
                                        (struct expectation){EXPECT_ANY, 0});
    }
    if (err == ERR_OK) {
        ids_make(id);
        draft.id = bytes_of(id, sizeof id);
        err = command_add_event(c->command, &draft);
    }
    return err;
}

static enum group_outcome plan_append(struct group_call *c, const struct group_turn *turn)
{
    struct lease_request *r = c->ctx;
    size_t lost = 0;
    err_t err = groups_ack_prepare(turn->groups, &r->leases, &lost, &c->ticket);
    if (err != ERR_OK || lost > 0) {
        c->ticket = 0;
        return err != ERR_OK ? api_group_failed(c, err) : answer_lost(c, lost);
    }
    err = add_acked(c, turn->groups);
    if (err != ERR_OK) {
        groups_ack_finish(turn->groups, c->ticket);
        c->ticket = 0;
        job_error(c->job, err, "adding the acknowledgement to the append");
        return GROUP_ANSWERED;
    }
    return GROUP_COMMITS;
}

static void reply_refused(struct http_request *rq, struct job *job)
{
    struct group_call *c = http_context(rq);
    api_reply_refused(rq, job->app, c->command, "append.");
}

static enum group_outcome run_ack_append(struct group_call *c, const struct group_turn *turn)
{
    const struct lease_request *r = c->ctx;
    struct buf *b = &c->job->body;
    if (!c->decided) {
        return plan_append(c, turn);
    }
    groups_ack_finish(turn->groups, c->ticket);
    c->ticket = 0;
    if (!api_group_is_committed(c)) {
        if (c->submitted == ERR_OK && c->writer_job.error == ERR_OK) {
            c->job->answer = JOB_DETACH;
            c->job->detach = reply_refused;
        }
        return GROUP_ANSWERED;
    }
    buf_put_format(b, "{\"acked\":%zu,\"results\":[", r->leases.n);
    for (size_t i = 0; i + 1 < command_appends(c->command); i++) { /* the last is ours */
        buf_put_string(b, i > 0 ? "," : "");
        json_put_append_result(b, c->command, i);
    }
    buf_put_string(b, "]}");
    c->job->status = 201;
    return api_group_answered(c, turn);
}

void api_group_ack(struct http_request *rq, struct app *app)
{
    struct bytes append = BYTES_NONE;
    struct group_call *c = api_group_call(rq, app, NULL, sizeof(struct lease_request));
    if (c == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    struct lease_request *r = c->ctx;
    const struct body_field fields[] = {
        {"leases", BODY_NAMES, &r->texts, NULL},
        {"append", BODY_OBJECT, &append, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, http_body(rq), "", fields) || !read_leases(rq, r, c->group) ||
        (append.n > 0 && !read_append(rq, app, append, &c->command))) {
        return;
    }
    c->run = append.n > 0 ? run_ack_append : run_ack;
    groups_submit(app->groups, c);
}

/* ---- nack, extend ---- */

static enum group_outcome run_nack(struct group_call *c, const struct group_turn *turn)
{
    struct lease_request *r = c->ctx;
    size_t lost = 0, parked = 0;
    err_t err = groups_nack(turn->groups, &r->leases, &r->nack, &lost, &parked);
    if (err != ERR_OK || lost > 0) {
        return err != ERR_OK ? api_group_failed(c, err) : answer_lost(c, lost);
    }
    buf_put_format(&c->job->body, "{\"nacked\":%zu,\"parked\":%zu}", r->leases.n, parked);
    return api_group_answered(c, turn);
}

static bool read_action(struct http_request *rq, struct bytes text, enum group_nack_action *ret)
{
    static const char *const names[] = {
        [GROUP_NACK_RETRY] = "retry", [GROUP_NACK_PARK] = "park", [GROUP_NACK_SKIP] = "skip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (bytes_equal(text, bytes_of_string(names[i]))) {
            *ret = (enum group_nack_action)i;
            return true;
        }
    }
    return refuse(rq, "action", "must be \"retry\", \"park\" or \"skip\"");
}

void api_group_nack(struct http_request *rq, struct app *app)
{
    struct bytes action = BYTES_LITERAL("retry");
    struct group_call *c = api_group_call(rq, app, NULL, sizeof(struct lease_request));
    if (c == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    struct lease_request *r = c->ctx;
    bool delayed = false;
    const struct body_field fields[] = {
        {"leases", BODY_NAMES, &r->texts, NULL},
        {"action", BODY_TEXT, &action, NULL},
        {"delay_s", BODY_SECONDS, &r->nack.delay_us, &delayed},
        {"reason", BODY_TEXT, &r->nack.reason, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, http_body(rq), "", fields) || !read_leases(rq, r, c->group) ||
        !read_action(rq, action, &r->nack.action) ||
        (r->nack.delay_us > GROUP_BACKOFF_MAX &&
         !refuse(rq, "delay_s", "must be at most 604800"))) {
        return;
    }
    if (!random_bytes(&r->nack.random, sizeof r->nack.random)) {
        r->nack.random = 0; /* without jitter, then */
    }
    r->nack.delay_us = delayed ? r->nack.delay_us : -1;
    c->run = run_nack;
    groups_submit(app->groups, c);
}

static enum group_outcome run_extend(struct group_call *c, const struct group_turn *turn)
{
    struct lease_request *r = c->ctx;
    size_t lost = 0;
    int64_t deadline_us = 0;
    err_t err = groups_extend(turn->groups, &r->leases, r->timeout_us, &lost, &deadline_us);
    if (err != ERR_OK || lost > 0) {
        return err != ERR_OK ? api_group_failed(c, err) : answer_lost(c, lost);
    }
    buf_put_format(&c->job->body, "{\"extended\":%zu,\"lease_until\":", r->leases.n);
    json_put_time(&c->job->body, deadline_us);
    buf_put_byte(&c->job->body, '}');
    return api_group_answered(c, turn);
}

void api_group_extend(struct http_request *rq, struct app *app)
{
    struct group_call *c = api_group_call(rq, app, NULL, sizeof(struct lease_request));
    if (c == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    struct lease_request *r = c->ctx;
    const struct body_field fields[] = {
        {"leases", BODY_NAMES, &r->texts, NULL},
        {"timeout_s", BODY_SECONDS, &r->timeout_us, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, http_body(rq), "", fields) || !read_leases(rq, r, c->group) ||
        (r->timeout_us > GROUP_ACK_TIMEOUT_MAX &&
         !refuse(rq, "timeout_s", "must be at most 86400"))) {
        return;
    }
    c->run = run_extend;
    groups_submit(app->groups, c);
}
