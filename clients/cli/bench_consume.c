/* bench_consume: see the header. */
#include "bench_consume.h"

#include "bench_leases.h"
#include "cli.h"
#include "clients/c/buffer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_SECOND 1000000000
#define HEAD_MAX      2048
#define WAIT_S        1

struct worker {
    struct bench_leases leases;
    struct daybook_buffer ack; /* owned */
    bool acks;                 /* the request under way is an ack */
};

struct consume {
    const struct bench_config *config;
    struct bench_load *load;
    struct daybook_buffer fetch; /* owned, as all below */
    struct worker *workers;
    char *texts;
    uint64_t left, deadline_ns;
};

/* ---- requests ---- */

/* A POST; `body` may be a part of the body of `body_n` bytes. */
static bool add_post(struct daybook_buffer *b, const struct consume *c, const char *what,
                     const char *body, size_t body_n)
{
    char head[HEAD_MAX];
    (void)snprintf(head, sizeof head,
                   "POST %s/v1/groups/%s/%s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                   bench_load_prefix(c->load), c->config->group, what, bench_load_host(c->load),
                   body_n);
    b->n = 0;
    return daybook_buffer_add_text(b, head) && daybook_buffer_add_text(b, body);
}

static bool make_fetch(struct consume *c)
{
    char body[100];
    (void)snprintf(body, sizeof body, "{\"consumer\":\"bench\",\"max\":%" PRIu64 ",\"wait_s\":%d}",
                   c->config->batch, WAIT_S);
    return add_post(&c->fetch, c, "fetch", body, strlen(body));
}

/* {"leases":["…","…"]} */
static bool make_ack(struct consume *c, struct worker *w)
{
    static const char front[] = "{\"leases\":[";
    const struct bench_leases *l = &w->leases;
    size_t body_n = sizeof front - 1 + l->n * (BENCH_LEASE_TEXT + 3) - 1 + 2;
    bool ok = add_post(&w->ack, c, "ack", front, body_n);
    for (size_t i = 0; ok && i < l->n; i++) {
        ok = (i == 0 || daybook_buffer_add_byte(&w->ack, ',')) &&
             daybook_buffer_add_byte(&w->ack, '"') &&
             daybook_buffer_add(&w->ack, l->texts + i * BENCH_LEASE_TEXT, BENCH_LEASE_TEXT) &&
             daybook_buffer_add_byte(&w->ack, '"');
    }
    return ok && daybook_buffer_add_text(&w->ack, "]}");
}

/* ---- the job ---- */

static bool next(void *context, size_t connection, uint64_t now_ns, struct bench_request *ret)
{
    struct consume *c = context;
    struct worker *w = &c->workers[connection];
    w->acks = w->leases.n > 0;
    if (!w->acks && (c->left == 0 || now_ns >= c->deadline_ns)) {
        return false;
    }
    if (w->acks && !make_ack(c, w)) {
        cli_error("no memory for an acknowledgement");
        return false;
    }
    bench_leases_begin(&w->leases);
    const struct daybook_buffer *b = w->acks ? &w->ack : &c->fetch;
    *ret = (struct bench_request){
        .p = b->p, .n = b->n, .count = w->acks ? BENCH_COUNT_NONE : BENCH_COUNT_LEASES};
    return true;
}

static bool done(void *context, size_t connection, struct bench_answer *answer)
{
    static const char key[] = "{\"acked\":";
    struct consume *c = context;
    const struct worker *w = &c->workers[connection];
    answer->events = 0;
    if (answer->status != 200) {
        return false;
    }
    if (w->acks) {
        bool says = strncmp(answer->text, key, sizeof key - 1) == 0;
        answer->events = says ? strtoull(answer->text + sizeof key - 1, NULL, 10) : 0;
        c->left -= answer->events < c->left ? answer->events : c->left;
        return answer->events > 0;
    }
    return true;
}

static struct bench_leases *leases(void *context, size_t connection)
{
    return &((struct consume *)context)->workers[connection].leases;
}

/* With all that is to come acknowledged, fetches that wait are not waited for. */
static bool over(void *context, uint64_t now_ns)
{
    const struct consume *c = context;
    (void)now_ns;
    return c->left == 0;
}

/* ---- running ---- */

static bool prepare(struct consume *c)
{
    const struct bench_config *config = c->config;
    size_t connections = (size_t)config->connections, batch = (size_t)config->batch;
    c->workers = calloc(connections, sizeof *c->workers);
    c->texts = malloc(connections * batch * BENCH_LEASE_TEXT);
    daybook_buffer_init(&c->fetch, 2 * HEAD_MAX);
    bool ok = c->workers != NULL && c->texts != NULL && make_fetch(c);
    for (size_t i = 0; ok && i < connections; i++) {
        struct worker *w = &c->workers[i];
        w->leases.texts = c->texts + i * batch * BENCH_LEASE_TEXT;
        w->leases.room = batch;
        daybook_buffer_init(&w->ack, HEAD_MAX + (batch + 1) * (BENCH_LEASE_TEXT + 3));
    }
    if (!ok) {
        cli_error("no memory for the requests");
    }
    return ok;
}

static void done_with(struct consume *c)
{
    for (size_t i = 0; c->workers != NULL && i < c->config->connections; i++) {
        daybook_buffer_done(&c->workers[i].ack);
    }
    daybook_buffer_done(&c->fetch);
    free(c->workers);
    free(c->texts);
    bench_load_close(c->load);
}

bool bench_consume_run(const char *url, const struct bench_config *config, struct bench_stats *ret)
{
    struct consume c = {.config = config};
    const struct bench_job job = {
        .context = &c, .next = next, .done = done, .leases = leases, .over = over};
    memset(ret, 0, sizeof *ret);
    if (!bench_load_open(url, (size_t)config->connections, &c.load)) {
        return false;
    }
    bench_load_set_spin(c.load, config->spin_us);
    bool ok = prepare(&c);
    if (ok) {
        c.left = config->events > 0 ? config->events : UINT64_MAX;
        c.deadline_ns =
            config->seconds > 0 ? bench_now_ns() + config->seconds * NS_PER_SECOND : UINT64_MAX;
        ok = bench_load_run(c.load, &job, ret);
    }
    done_with(&c);
    return ok;
}
