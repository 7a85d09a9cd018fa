/* push: a thread with libcurl's multi interface; with the groups' thread it speaks by calls of its
 * own, whose ends come into the inbox. */
#include "server/push.h"

#include "server/cloudevents.h"
#include "server/log.h"
#include "server/push_delivery.h"
#include "server/push_message.h"
#include "server/workers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define WAIT_US         INT64_C(20000000) /* of a fetch */
#define FETCH_BYTES_MAX ((size_t)16 << 20)
#define EVENT_BYTES_MAX ((size_t)1 << 30)
#define OPEN_US         INT64_C(1000000)
#define OPEN_US_MAX     INT64_C(60000000)
#define REFETCH_US      INT64_C(200000) /* after a fetch that failed */

/* A group that is pushed; the thread's own, but for `status`. */
struct target {
    struct push *push;
    char name[GROUP_NAME_MAX + 1];
    struct push_settings settings;
    uint8_t secret[GROUP_SECRET_MAX];
    size_t secret_n;
    bool wanted;   /* is still defined so */
    bool fetching; /* a fetch is with the groups' thread */
    unsigned failures;
    int64_t rest_until_us;     /* monotonic */
    struct push_status status; /* under the mutex */
    struct target *next;
};

/* A call to the groups' thread. */
struct order {
    struct group_call call;
    struct push *push;
    struct target *target; /* of a fetch */
    char name[GROUP_NAME_MAX + 1];
    uint32_t max;
    struct delivery *deliveries; /* what was fetched */
    struct target *targets;      /* what is defined */
    struct group_lease lease;
    bool lost;
    struct group_nack nack;
    char why[PUSH_DETAIL_MAX];
    bool acks;
    struct order *next;
};

struct push {
    struct push_options options;
    pthread_t thread;
    bool started;
    CURLM *multi;
    struct target *targets;
    struct delivery *under_way;
    bool asking; /* what is defined */
    pthread_mutex_t mutex;
    struct order *inbox; /* under the mutex: ended calls */
    bool changed;        /* under the mutex */
    _Atomic bool stopping;
};

static void *run_push(void *ctx);

/* ---- calls ---- */

static void on_done(struct group_call *c)
{
    struct order *o = (struct order *)c; /* its first member */
    struct push *p = o->push;
    pthread_mutex_lock(&p->mutex);
    o->next = p->inbox;
    p->inbox = o;
    pthread_mutex_unlock(&p->mutex);
    curl_multi_wakeup(p->multi);
}

static struct order *new_order(struct push *p, const char *group,
                               enum group_outcome (*run)(struct group_call *c,
                                                         const struct group_turn *turn))
{
    struct order *o = calloc(1, sizeof *o);
    if (o != NULL) {
        o->push = p;
        snprintf(o->name, sizeof o->name, "%s", group);
        o->call = (struct group_call){
            .done = on_done, .run = run, .ctx = o, .group = bytes_of_string(o->name)};
    }
    return o;
}

static void free_targets(struct target *t)
{
    while (t != NULL) {
        struct target *next = t->next;
        free(t);
        t = next;
    }
}

static void free_deliveries(struct delivery *d)
{
    while (d != NULL) {
        struct delivery *next = d->next;
        delivery_free(d);
        d = next;
    }
}

static void free_order(struct order *o)
{
    free_deliveries(o->deliveries);
    free_targets(o->targets);
    free(o);
}

/* ---- what is defined: on the groups' thread ---- */

static err_t add_target(struct order *o, const struct group_turn *turn, struct group_info info)
{
    struct bytes secret;
    err_t err = groups_get_secret(turn->groups, bytes_of_string(info.name), &secret);
    if (err != ERR_OK) {
        return err;
    }
    struct target *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return ERR_MEMORY;
    }
    snprintf(t->name, sizeof t->name, "%s", info.name);
    t->push = o->push;
    t->secret_n = secret.n;
    if (secret.n > 0) {
        memcpy(t->secret, secret.p, secret.n);
    }
    if (!push_read_settings(info.settings->push, &t->settings)) {
        free(t);
        return ERR_OK;
    }
    t->next = o->targets;
    o->targets = t;
    return ERR_OK;
}

static enum group_outcome run_targets(struct group_call *c, const struct group_turn *turn)
{
    struct order *o = c->ctx;
    for (size_t i = 0; i < groups_count(turn->groups); i++) {
        struct group_info info = groups_at(turn->groups, i);
        if (info.settings->push.n > 0) {
            c->error = add_target(o, turn, info);
            if (c->error != ERR_OK) {
                return GROUP_FAILED;
            }
        }
    }
    return GROUP_ANSWERED;
}

/* ---- fetching and settling: on the groups' thread ---- */

static err_t take_delivery(void *ctx, const struct group_delivery *g)
{
    struct order *o = ctx;
    struct event e;
    struct arena arena;
    err_t err = store_record_decode(&g->record, &e);
    struct delivery *d = err == ERR_OK ? calloc(1, sizeof *d) : NULL;
    if (d == NULL) {
        return err == ERR_OK ? ERR_MEMORY : err;
    }
    d->lease = g->lease;
    d->attempt = g->attempt;
    uuid_format(e.id.p, d->id);
    buf_init(&d->body, EVENT_BYTES_MAX);
    arena_init(&arena, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    err = cloudevents_put_json(&d->body, &arena, &e);
    arena_done(&arena);
    d->next = o->deliveries;
    o->deliveries = d;
    return err == ERR_OK ? buf_status(&d->body) : err;
}

static enum group_outcome run_fetch(struct group_call *c, const struct group_turn *turn)
{
    struct order *o = c->ctx;
    struct group_fetched fetched = {0};
    struct group_fetch fetch = {.group = c->group,
                                .consumer = BYTES_LITERAL("push"),
                                .max = o->max,
                                .bytes_max = FETCH_BYTES_MAX};
    struct group_info info;
    bool pushed = groups_find(turn->groups, c->group, &info) && info.settings->push.n > 0;
    if (!pushed || atomic_load(&o->push->stopping)) {
        return GROUP_ANSWERED; /* what comes now is for others */
    }
    c->error = getrandom(fetch.token, sizeof fetch.token, 0) == sizeof fetch.token
                   ? groups_fetch(turn->groups, &fetch, take_delivery, o, &fetched)
                   : ERR_IO;
    if (c->error == ERR_NOT_FOUND) {
        return GROUP_ANSWERED;
    }
    if (c->error != ERR_OK) {
        return GROUP_FAILED;
    }
    c->soon = fetched.again && fetched.count == 0;
    return fetched.count == 0 && !c->over ? GROUP_WAITS : GROUP_ANSWERED;
}

static enum group_outcome run_settle(struct group_call *c, const struct group_turn *turn)
{
    struct order *o = c->ctx;
    size_t lost = 0;
    struct group_leases leases = {c->group, &o->lease, 1, &o->lost};
    c->error = o->acks ? groups_ack(turn->groups, &leases, &lost)
                       : groups_nack(turn->groups, &leases, &o->nack, &lost, NULL);
    return c->error == ERR_OK || c->error == ERR_NOT_FOUND ? GROUP_ANSWERED : GROUP_FAILED;
}

/* ---- what came of it ---- */

static void settle(struct push *p, const struct target *t, const struct delivery *d, bool ok,
                   int64_t delay_us, const char *why)
{
    struct order *o = new_order(p, t->name, run_settle);
    if (o == NULL) {
        return; /* the lease ends */
    }
    o->lease = d->lease;
    o->acks = ok;
    snprintf(o->why, sizeof o->why, "%s", why);
    o->nack = (struct group_nack){
        .action = GROUP_NACK_RETRY, .delay_us = delay_us, .reason = bytes_of_string(o->why)};
    if (getrandom(&o->nack.random, sizeof o->nack.random, 0) != sizeof o->nack.random) {
        o->nack.random = 0; /* without jitter, then */
    }
    groups_submit_own(p->options.groups, &o->call);
}

static void note_success(struct target *t)
{
    t->failures = 0;
    t->rest_until_us = 0;
    t->status.state = PUSH_CLOSED;
    t->status.retry_at_us = 0;
    t->status.sent++;
}

static void rest(struct target *t, int64_t us)
{
    int64_t until = workers_now_us() + us;
    if (until > t->rest_until_us) {
        t->rest_until_us = until;
        t->status.retry_at_us = (int64_t)time(NULL) * 1000000 + us;
    }
}

static void note_failure(struct target *t, const char *why, int64_t retry_after_us)
{
    t->status.failed++;
    snprintf(t->status.last_error, sizeof t->status.last_error, "%s", why);
    t->failures++;
    if (t->failures >= PUSH_FAILURES_MAX) {
        unsigned doublings = t->failures - PUSH_FAILURES_MAX;
        int64_t us = doublings > 6 ? OPEN_US_MAX : OPEN_US << doublings;
        if (t->status.state != PUSH_OPEN) {
            log_line(LOG_LEVEL_WARN, "a webhook is left alone for a while",
                     log_text("group", t->name), log_number("failures", t->failures),
                     log_text("detail", why));
        }
        t->status.state = PUSH_OPEN;
        rest(t, us < OPEN_US_MAX ? us : OPEN_US_MAX);
    }
    if (retry_after_us > 0) {
        rest(t, retry_after_us);
    }
}

static void unlink_delivery(struct push *p, struct delivery *d)
{
    struct delivery **at = &p->under_way;
    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
}

static void finish(struct push *p, struct delivery *d, CURLcode code)
{
    struct target *t = d->target;
    struct delivery_end end;
    delivery_read_end(d, code, &end);
    settle(p, t, d, end.ok, end.retry_after_us, end.why);
    pthread_mutex_lock(&p->mutex);
    t->status.in_flight--;
    if (end.ok) {
        note_success(t);
    } else {
        note_failure(t, end.why, end.retry_after_us);
    }
    pthread_mutex_unlock(&p->mutex);
    unlink_delivery(p, d);
    curl_multi_remove_handle(p->multi, d->curl);
    delivery_free(d);
}

static void start_delivery(struct push *p, struct target *t, struct delivery *d)
{
    const struct delivery_options options = {
        .url = t->settings.url,
        .group = t->name,
        .secret = bytes_of(t->secret, t->secret_n),
        .timeout_us = t->settings.timeout_us,
        .private_addresses = p->options.private_addresses,
    };
    d->target = t;
    if (!delivery_prepare(d, &options) || curl_multi_add_handle(p->multi, d->curl) != CURLM_OK) {
        settle(p, t, d, false, -1, "the server has no memory for the request");
        delivery_free(d);
        return;
    }
    d->next = p->under_way;
    p->under_way = d;
    pthread_mutex_lock(&p->mutex);
    t->status.in_flight++;
    pthread_mutex_unlock(&p->mutex);
}

/* ---- the inbox ---- */

static struct target *find_target(struct push *p, const char *name)
{
    struct target *t = p->targets;
    while (t != NULL && strcmp(t->name, name) != 0) {
        t = t->next;
    }
    return t;
}

static void take_settings(struct target *t, const struct target *from)
{
    bool moved = strcmp(t->settings.url, from->settings.url) != 0;
    t->settings = from->settings;
    memcpy(t->secret, from->secret, sizeof t->secret);
    t->secret_n = from->secret_n;
    t->wanted = true;
    if (moved) { /* another receiver has failed */
        t->failures = 0;
        t->rest_until_us = 0;
        t->status.state = PUSH_CLOSED;
    }
}

static void take_targets(struct push *p, struct order *o)
{
    p->asking = false;
    if (o->call.error != ERR_OK) {
        pthread_mutex_lock(&p->mutex);
        p->changed = !atomic_load(&p->stopping);
        pthread_mutex_unlock(&p->mutex);
        return;
    }
    pthread_mutex_lock(&p->mutex);
    for (struct target *t = p->targets; t != NULL; t = t->next) {
        t->wanted = false;
    }
    while (o->targets != NULL) {
        struct target *from = o->targets, *t = find_target(p, from->name);
        o->targets = from->next;
        if (t != NULL) {
            take_settings(t, from);
            free(from);
            continue;
        }
        from->wanted = true;
        from->next = p->targets;
        p->targets = from;
    }
    pthread_mutex_unlock(&p->mutex);
}

static void take_order(struct push *p, struct order *o)
{
    if (o->call.run == run_targets) {
        take_targets(p, o);
    } else if (o->call.run == run_fetch) {
        struct target *t = o->target;
        t->fetching = false;
        if (o->call.error != ERR_OK) {
            t->rest_until_us = workers_now_us() + REFETCH_US;
        }
        while (o->call.error == ERR_OK && o->deliveries != NULL) {
            struct delivery *d = o->deliveries;
            o->deliveries = d->next;
            if (t->wanted) {
                start_delivery(p, t, d);
            } else {
                delivery_free(d); /* the lease ends */
            }
        }
    }
    free_order(o);
}

static void take_inbox(struct push *p)
{
    pthread_mutex_lock(&p->mutex);
    struct order *o = p->inbox;
    p->inbox = NULL;
    pthread_mutex_unlock(&p->mutex);
    while (o != NULL) {
        struct order *next = o->next;
        take_order(p, o);
        o = next;
    }
}

/* ---- the thread ---- */

static void ask_for_targets(struct push *p)
{
    pthread_mutex_lock(&p->mutex);
    bool ask = p->changed && !p->asking;
    p->changed = p->changed && !ask;
    pthread_mutex_unlock(&p->mutex);
    struct order *o = ask ? new_order(p, "", run_targets) : NULL;
    if (o != NULL) {
        p->asking = true;
        groups_submit_own(p->options.groups, &o->call);
    }
}

/* As many as the receiver may have at once; one where it has failed. Returns when it rests until,
 * INT64_MAX: it does not. */
static int64_t fetch_for(struct push *p, struct target *t)
{
    int64_t now = workers_now_us();
    if (!t->wanted || t->fetching || t->status.in_flight >= t->settings.concurrency) {
        return INT64_MAX;
    }
    if (t->rest_until_us > now) {
        return t->rest_until_us;
    }
    bool careful = t->failures >= PUSH_FAILURES_MAX;
    if (careful && t->status.in_flight > 0) {
        return INT64_MAX;
    }
    struct order *o = new_order(p, t->name, run_fetch);
    if (o == NULL) {
        return now + REFETCH_US;
    }
    pthread_mutex_lock(&p->mutex);
    t->status.state = careful ? PUSH_HALF_OPEN : t->status.state;
    pthread_mutex_unlock(&p->mutex);
    o->target = t;
    o->max = careful ? 1 : t->settings.concurrency - t->status.in_flight;
    o->call.wait_us = WAIT_US;
    t->fetching = true;
    groups_submit_own(p->options.groups, &o->call);
    return INT64_MAX;
}

static void drop_unwanted(struct push *p)
{
    pthread_mutex_lock(&p->mutex);
    for (struct target **at = &p->targets; *at != NULL;) {
        struct target *t = *at;
        if (t->wanted || t->fetching || t->status.in_flight > 0) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        free(t);
    }
    pthread_mutex_unlock(&p->mutex);
}

static void read_results(struct push *p)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(p->multi, &left)) != NULL) {
        struct delivery *d = NULL;
        if (m->msg == CURLMSG_DONE) {
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&d);
            finish(p, d, code);
        }
    }
}

static void *run_push(void *ctx)
{
    struct push *p = ctx;
    while (!atomic_load(&p->stopping)) {
        int64_t until = workers_now_us() + INT64_C(1000000);
        int running;
        take_inbox(p);
        ask_for_targets(p);
        for (struct target *t = p->targets; t != NULL; t = t->next) {
            int64_t rests = fetch_for(p, t);
            until = rests < until ? rests : until;
        }
        drop_unwanted(p);
        curl_multi_perform(p->multi, &running);
        read_results(p);
        int64_t now = workers_now_us();
        curl_multi_poll(p->multi, NULL, 0, until <= now ? 0 : (int)((until - now + 999) / 1000),
                        NULL);
    }
    while (p->under_way != NULL) { /* given back at once: somebody else may go on */
        struct delivery *d = p->under_way;
        settle(p, d->target, d, false, 0, "the server was stopped");
        p->under_way = d->next;
        curl_multi_remove_handle(p->multi, d->curl);
        delivery_free(d);
    }
    return NULL;
}

err_t push_start(const struct push_options *options, struct push **ret, struct err_text *et)
{
    struct push *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    *ret = p; /* also on an error: push_free takes it */
    p->options = *options;
    p->changed = true;
    pthread_mutex_init(&p->mutex, NULL);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
        p->multi = curl_multi_init();
    }
    p->started = p->multi != NULL && pthread_create(&p->thread, NULL, run_push, p) == 0;
    return p->started ? ERR_OK : err_set(et, ERR_MEMORY, "cannot start the thread of webhooks");
}

void push_stop(struct push *p)
{
    if (p != NULL && p->started) {
        atomic_store(&p->stopping, true);
        curl_multi_wakeup(p->multi);
        pthread_join(p->thread, NULL);
        p->started = false;
    }
}

void push_free(struct push *p)
{
    if (p == NULL) {
        return;
    }
    while (p->inbox != NULL) {
        struct order *o = p->inbox;
        p->inbox = o->next;
        free_order(o);
    }
    free_targets(p->targets);
    curl_multi_cleanup(p->multi);
    pthread_mutex_destroy(&p->mutex);
    free(p);
    curl_global_cleanup();
}

void push_changed(void *push)
{
    struct push *p = *(struct push **)push; /* the groups may begin before it */
    if (p != NULL) {
        pthread_mutex_lock(&p->mutex);
        p->changed = true;
        pthread_mutex_unlock(&p->mutex);
        curl_multi_wakeup(p->multi);
    }
}

bool push_get_status(struct push *p, struct bytes group, struct push_status *ret)
{
    bool found = false;
    pthread_mutex_lock(&p->mutex);
    for (const struct target *t = p->targets; t != NULL && !found; t = t->next) {
        found = t->wanted && bytes_equal(group, bytes_of_string(t->name));
        if (found) {
            *ret = t->status;
        }
    }
    pthread_mutex_unlock(&p->mutex);
    return found;
}
