/* bench_follow: see the header.
 *
 * Connections 0 to appenders - 1 append, those behind them follow: a follower is a request whose
 * answer does not end. One event is outstanding at a time on each appending connection. What is
 * delivered before the answer to its append has been read counts as delivered at once. */
#include "bench_follow.h"

#include "bench_request.h"
#include "cli.h"
#include "interrupt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_SECOND 1000000000
#define WAKE_EVERY_NS 100000000
#define SILENCE_NS    ((uint64_t)30 * NS_PER_SECOND)
#define PENDING_MAX   65536 /* events that were appended or delivered and not yet both */

struct follower {
    uint64_t events; /* in all */
    uint64_t target; /* with so many it has what it is to get */
    bool begun, caught_up;
};

/* An event on its way, in a ring by position. */
struct pending {
    uint64_t position; /* whose slot it is at the moment */
    uint64_t answered_ns;
    uint64_t followers; /* that have it */
};

struct follow {
    const struct bench_config *config;
    struct bench_load *load;
    struct bench_stats *stats;
    struct bench_template get;
    struct bench_template *appends; /* owned, as all below; by appending connection */
    struct pending *pending;
    uint64_t *waits_for; /* position, by appending connection; 0: none */
    struct follower *followers;
    uint64_t random;
    uint64_t number;    /* of the next event */
    uint64_t caught_up; /* followers that have */
    uint64_t full;      /* followers that have what they are to get */
    uint64_t left, deadline_ns;
    uint64_t heard_ns; /* when a follower was sent something last */
    bool measuring;
    bool settled; /* an appending connection may go on */
    bool failed;
};

static size_t appenders(const struct follow *f)
{
    return (size_t)f->config->connections;
}

/* ---- appends ---- */

static bool next_append(struct follow *f, size_t connection, uint64_t now_ns,
                        struct bench_request *ret)
{
    if (!f->measuring || f->waits_for[connection] > 0 || f->left == 0 || now_ns >= f->deadline_ns) {
        return false;
    }
    f->left--;
    f->settled = false;
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    struct bench_template *append = &f->appends[connection];
    bench_patch_stream(append, (f->random >> 16) % f->config->streams);
    bench_patch_events(append, f->number++);
    *ret = (struct bench_request){append->bytes.p, append->bytes.n, BENCH_COUNT_NONE, 0};
    return true;
}

static struct pending *pending_of(struct follow *f, uint64_t position)
{
    struct pending *p = &f->pending[position % PENDING_MAX];
    if (p->position != position) {
        *p = (struct pending){.position = position};
    }
    return p;
}

/* Everyone has it: who appended it may go on. */
static void settle(struct follow *f, const struct pending *p)
{
    if (p->answered_ns == 0 || p->followers < f->config->followers) {
        return;
    }
    for (size_t i = 0; i < appenders(f); i++) {
        if (f->waits_for[i] == p->position) {
            f->waits_for[i] = 0;
            f->settled = true;
        }
    }
}

static bool done_append(struct follow *f, size_t connection, struct bench_answer *answer)
{
    static const char key[] = "\"first_position\":";
    const char *found = strstr(answer->text, key);
    if (answer->status != 201 || found == NULL) {
        return false;
    }
    uint64_t position = strtoull(found + sizeof key - 1, NULL, 10);
    struct pending *p = pending_of(f, position);
    p->answered_ns = bench_now_ns();
    f->waits_for[connection] = position;
    for (uint64_t i = 0; i < p->followers; i++) {
        bench_hist_add(&f->stats->delivery, 0);
    }
    settle(f, p);
    return true;
}

/* ---- followers ---- */

static void fail(struct follow *f, const char *what)
{
    if (!f->failed) {
        cli_error("%s", what);
    }
    f->failed = true;
}

/* The events up to `number`, of which this follower now has the last `n`. */
static void deliver(struct follow *f, uint64_t number, uint64_t n)
{
    uint64_t now_ns = bench_now_ns();
    for (uint64_t position = number - n + 1; appenders(f) > 0 && position <= number; position++) {
        struct pending *p = pending_of(f, position);
        p->followers++;
        if (p->answered_ns > 0) {
            bench_hist_add(&f->stats->delivery, now_ns - p->answered_ns);
        }
        settle(f, p);
    }
}

static void part(void *context, size_t connection, const struct bench_answer *answer)
{
    struct follow *f = context;
    if (connection < appenders(f)) {
        return;
    }
    struct follower *w = &f->followers[connection - appenders(f)];
    uint64_t before = w->events;
    w->events = answer->feed.events;
    f->heard_ns = bench_now_ns();
    if (answer->status != 200) {
        fail(f, "a follower was not answered with 200");
    } else if (answer->feed.gaps > 0) {
        fail(f, "a follower got an event that does not follow the one before");
    }
    if (!w->caught_up && answer->feed.caught_up > 0) {
        w->caught_up = true;
        f->caught_up++;
    }
    f->stats->events += w->events - before;
    if (f->measuring && w->events > before) {
        f->full += before < w->target && w->events >= w->target;
        deliver(f, answer->feed.number, w->events - before);
    }
}

static bool next_follow(struct follow *f, size_t follower, struct bench_request *ret)
{
    if (f->followers[follower].begun) {
        return false;
    }
    f->followers[follower].begun = true;
    *ret = (struct bench_request){f->get.bytes.p, f->get.bytes.n,
                                  f->config->ndjson ? BENCH_COUNT_FEED : BENCH_COUNT_SSE, 0};
    return true;
}

/* ---- the job ---- */

static bool next(void *context, size_t connection, uint64_t now_ns, struct bench_request *ret)
{
    struct follow *f = context;
    return connection < appenders(f) ? next_append(f, connection, now_ns, ret)
                                     : next_follow(f, connection - appenders(f), ret);
}

/* The answer to a follower does not end. */
static bool done(void *context, size_t connection, struct bench_answer *answer)
{
    struct follow *f = context;
    if (connection < appenders(f)) {
        return done_append(f, connection, answer);
    }
    fail(f, "a follower's answer has ended");
    return false;
}

static bool is_silent(struct follow *f, uint64_t now_ns)
{
    if (now_ns > f->heard_ns && now_ns - f->heard_ns > SILENCE_NS) {
        fail(f, "followers that wait for something heard nothing for 30 seconds");
    }
    return f->failed;
}

static bool over(void *context, uint64_t now_ns)
{
    struct follow *f = context;
    if (f->failed || f->stats->failed > 0) {
        return true;
    }
    if (!f->measuring) {
        return f->caught_up == f->config->followers || is_silent(f, now_ns);
    }
    if (appenders(f) == 0) {
        return now_ns >= f->deadline_ns ||
               (f->config->events > 0 && (f->full == f->config->followers || is_silent(f, now_ns)));
    }
    bool waits = false;
    for (size_t i = 0; i < appenders(f); i++) {
        waits = waits || f->waits_for[i] > 0 || bench_load_is_busy(f->load, i);
    }
    return waits ? is_silent(f, now_ns) : f->left == 0 || now_ns >= f->deadline_ns;
}

/* Looks around often: a delivery lets another connection append, and time passes without events. */
static uint64_t wake_ns(void *context)
{
    const struct follow *f = context;
    return f->settled ? bench_now_ns() : bench_now_ns() + WAKE_EVERY_NS;
}

/* ---- running ---- */

static bool prepare(struct follow *f)
{
    const struct bench_config *config = f->config;
    const struct bench_shape shape = {
        .host = bench_load_host(f->load),
        .prefix = bench_load_prefix(f->load),
        .batch = 1,
        .payload = config->payload,
        .streams = config->streams,
    };
    const char *path =
        config->from_start ? "/v1/events?follow=true" : "/v1/events?follow=true&after=end";
    f->appends = calloc(appenders(f) + 1, sizeof *f->appends);
    f->pending = calloc(PENDING_MAX, sizeof *f->pending);
    f->waits_for = calloc(appenders(f) + 1, sizeof *f->waits_for);
    f->followers = calloc((size_t)config->followers, sizeof *f->followers);
    bool ok = f->appends != NULL && f->pending != NULL && f->waits_for != NULL &&
              f->followers != NULL &&
              bench_get_init(&f->get, &shape, path,
                             config->ndjson ? "application/x-ndjson" : "text/event-stream");
    for (size_t i = 0; ok && i < appenders(f); i++) {
        ok = bench_append_init(&f->appends[i], &shape);
    }
    if (!ok) {
        cli_error("no memory for the requests");
    }
    return ok;
}

static void done_with(struct follow *f)
{
    for (size_t i = 0; f->appends != NULL && i < appenders(f); i++) {
        bench_template_done(&f->appends[i]);
    }
    bench_template_done(&f->get);
    free(f->appends);
    free(f->pending);
    free(f->waits_for);
    free(f->followers);
    bench_load_close(f->load);
}

static bool run(struct follow *f, struct bench_stats *stats)
{
    const struct bench_job job = {
        .context = f, .next = next, .done = done, .part = part, .over = over, .wake_ns = wake_ns};
    return bench_load_run(f->load, &job, stats) && !f->failed;
}

/* What they had until now does not count. */
static void begin_to_measure(struct follow *f, struct bench_stats *stats)
{
    const struct bench_config *config = f->config;
    (void)fprintf(stderr, "%" PRIu64 " followers have caught up\n", config->followers);
    memset(stats, 0, sizeof *stats);
    for (uint64_t i = 0; i < config->followers; i++) {
        f->followers[i].target = f->followers[i].events + config->events;
    }
    f->left = config->requests > 0 ? config->requests : UINT64_MAX;
    f->deadline_ns =
        config->seconds > 0 ? bench_now_ns() + config->seconds * NS_PER_SECOND : UINT64_MAX;
    f->heard_ns = bench_now_ns();
    f->measuring = true;
}

bool bench_follow_run(const char *url, const struct bench_config *config, struct bench_stats *ret)
{
    struct follow f = {
        .config = config, .stats = ret, .random = 0x9e3779b97f4a7c15, .heard_ns = bench_now_ns()};
    memset(ret, 0, sizeof *ret);
    if (!bench_load_open(url, (size_t)(config->connections + config->followers), &f.load)) {
        return false;
    }
    bench_load_set_spin(f.load, config->spin_us);
    bool ok = prepare(&f) && run(&f, ret);
    if (ok && !config->until_caught_up && !interrupt_came()) {
        begin_to_measure(&f, ret);
        ok = run(&f, ret);
    }
    done_with(&f);
    return ok;
}
