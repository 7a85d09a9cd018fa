/* bench_work: see the header.
 *
 * The streams are dealt out to the connections, connection c of n has c, c + n, c + 2n, ..., so
 * that a stream is used by one connection at a time and its head is known here without asking. */
#include "bench_work.h"

#include "bench_request.h"
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_PATH   "/v1/streams/order-*"
#define SAMPLE_EVERY  64 /* JSON answers are counted in full once in so many */
#define NS_PER_MS     1000000
#define NS_PER_SECOND 1000000000

struct worker {
    struct bench_template request;
    uint64_t cursor; /* while preparing: the next stream of its share */
    uint64_t stream; /* of the request that is under way */
    uint64_t random;
    uint64_t sent; /* requests */
};

struct work {
    const struct bench_config *config;
    struct bench_load *load;
    struct bench_shape shape;
    struct worker *workers; /* owned, one a connection */
    uint64_t *heads;        /* owned, by stream: revisions, or of BENCH_TAGGED positions */
    uint64_t left;          /* requests still to begin */
    uint64_t deadline_ns;
    uint64_t number; /* of the next event */
    uint64_t due_ns; /* with a rate: when the next request is to begin */
};

/* ---- which stream, and until when ---- */

static uint64_t next_random(struct worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static uint64_t choose_stream(struct work *work, size_t connection)
{
    const struct bench_config *config = work->config;
    uint64_t random = next_random(&work->workers[connection]) >> 16;
    if (config->streams < config->connections) {
        return random % config->streams;
    }
    uint64_t share = (config->streams - connection - 1) / config->connections + 1;
    return connection + random % share * config->connections;
}

static bool is_over(struct work *work, uint64_t now_ns)
{
    if (work->left == 0 || now_ns >= work->deadline_ns) {
        return true;
    }
    work->left--;
    return false;
}

/* With a rate: whether a request is due, and since when. Requests that could not begin in time
 * because all connections were busy count from when they were due. */
static bool is_due(struct work *work, uint64_t now_ns, uint64_t *ret_due_ns)
{
    if (work->config->rate == 0) {
        *ret_due_ns = 0;
        return true;
    }
    if (work->due_ns == 0) {
        work->due_ns = now_ns;
    }
    *ret_due_ns = work->due_ns;
    if (now_ns < work->due_ns) {
        return false;
    }
    work->due_ns += NS_PER_SECOND / work->config->rate;
    return true;
}

static uint64_t wake_ns(void *context)
{
    const struct work *work = context;
    return work->left == 0 || work->due_ns >= work->deadline_ns ? UINT64_MAX : work->due_ns;
}

/* ---- append, post ---- */

static bool next_append(void *context, size_t connection, uint64_t now_ns,
                        struct bench_request *ret)
{
    struct work *work = context;
    struct worker *w = &work->workers[connection];
    uint64_t due_ns = 0;
    if (work->left == 0 || !is_due(work, now_ns, &due_ns) || is_over(work, now_ns)) {
        return false;
    }
    w->stream = choose_stream(work, connection);
    bench_patch_stream(&w->request, w->stream);
    bench_patch_events(&w->request, work->number);
    bench_patch_expected(&w->request, work->heads[w->stream]);
    work->number += work->config->batch;
    *ret = (struct bench_request){w->request.bytes.p, w->request.bytes.n, BENCH_COUNT_NONE, due_ns};
    return true;
}

static bool done_append(void *context, size_t connection, struct bench_answer *answer)
{
    struct work *work = context;
    if (answer->status != 201) {
        return false;
    }
    work->heads[work->workers[connection].stream] += work->config->batch;
    answer->events = work->config->batch;
    return true;
}

/* ---- append-tagged ---- */

static bool next_tagged(void *context, size_t connection, uint64_t now_ns,
                        struct bench_request *ret)
{
    struct work *work = context;
    struct worker *w = &work->workers[connection];
    if (!next_append(context, connection, now_ns, ret)) {
        return false;
    }
    bench_patch_after(&w->request, work->heads[w->stream]);
    return true;
}

/* The number behind a key of an answer; 0: it has no such key. */
static uint64_t number_of(const struct bench_answer *answer, const char *key)
{
    const char *found = strstr(answer->text, key);
    return found == NULL ? 0 : strtoull(found + strlen(key), NULL, 10);
}

static bool done_tagged(void *context, size_t connection, struct bench_answer *answer)
{
    struct work *work = context;
    uint64_t position = number_of(answer, "\"last_position\":");
    work->heads[work->workers[connection].stream] = position;
    answer->events = 1;
    return answer->status == 201 && position > 0;
}

/* Whoever begins knows all that there is. */
static bool next_position(void *context, size_t connection, uint64_t now_ns,
                          struct bench_request *ret)
{
    struct work *work = context;
    struct worker *w = &work->workers[connection];
    (void)now_ns;
    *ret = (struct bench_request){w->request.bytes.p, w->request.bytes.n, BENCH_COUNT_NONE, 0};
    return connection == 0 && w->cursor++ == 0;
}

static bool done_position(void *context, size_t connection, struct bench_answer *answer)
{
    struct work *work = context;
    uint64_t position = number_of(answer, "\"position\":");
    (void)connection;
    for (uint64_t i = 0; i < work->config->streams; i++) {
        work->heads[i] = position;
    }
    return answer->status == 200;
}

static bool done_post(void *context, size_t connection, struct bench_answer *answer)
{
    const struct work *work = context;
    (void)connection;
    answer->events = work->config->batch;
    return answer->status >= 200 && answer->status < 300;
}

/* ---- read-stream, read-log ---- */

static bool next_stream_read(void *context, size_t connection, uint64_t now_ns,
                             struct bench_request *ret)
{
    struct work *work = context;
    struct worker *w = &work->workers[connection];
    if (is_over(work, now_ns)) {
        return false;
    }
    enum bench_count count = BENCH_COUNT_FIELDS;
    if (!work->config->protobuf) {
        count = w->sent % SAMPLE_EVERY == 0 ? BENCH_COUNT_JSON : BENCH_COUNT_NONE;
    }
    w->sent++;
    bench_patch_stream(&w->request, choose_stream(work, connection));
    *ret = (struct bench_request){w->request.bytes.p, w->request.bytes.n, count, 0};
    return true;
}

static bool done_stream_read(void *context, size_t connection, struct bench_answer *answer)
{
    const struct work *work = context;
    (void)connection;
    if (answer->count == BENCH_COUNT_NONE) {
        answer->events = work->config->events;
    }
    return answer->status == 200 && answer->events == work->config->events;
}

static bool next_log_read(void *context, size_t connection, uint64_t now_ns,
                          struct bench_request *ret)
{
    struct work *work = context;
    const struct worker *w = &work->workers[connection];
    if (is_over(work, now_ns)) {
        return false;
    }
    *ret =
        (struct bench_request){w->request.bytes.p, w->request.bytes.n,
                               work->config->protobuf ? BENCH_COUNT_FIELDS : BENCH_COUNT_LINES, 0};
    return true;
}

static bool done_log_read(void *context, size_t connection, struct bench_answer *answer)
{
    (void)context;
    (void)connection;
    return answer->status == 200;
}

/* ---- preparing: heads of the streams, events to read ---- */

static bool next_head(void *context, size_t connection, uint64_t now_ns, struct bench_request *ret)
{
    struct work *work = context;
    struct worker *w = &work->workers[connection];
    (void)now_ns;
    w->stream = connection + w->cursor++ * work->config->connections;
    if (w->stream >= work->config->streams) {
        return false;
    }
    bench_patch_stream(&w->request, w->stream);
    *ret = (struct bench_request){w->request.bytes.p, w->request.bytes.n, BENCH_COUNT_NONE, 0};
    return true;
}

static bool done_head(void *context, size_t connection, struct bench_answer *answer)
{
    static const char key[] = "\"head_revision\":";
    struct work *work = context;
    if (answer->status == 404) {
        return true;
    }
    work->heads[work->workers[connection].stream] = number_of(answer, key);
    return answer->status == 200 && strstr(answer->text, key) != NULL;
}

/* Appends to streams that are too short. */
static bool next_fill(void *context, size_t connection, uint64_t now_ns, struct bench_request *ret)
{
    struct work *work = context;
    struct worker *w = &work->workers[connection];
    (void)now_ns;
    do {
        w->stream = connection + w->cursor++ * work->config->connections;
        if (w->stream >= work->config->streams) {
            return false;
        }
    } while (work->heads[w->stream] >= work->config->events);
    bench_patch_stream(&w->request, w->stream);
    bench_patch_events(&w->request, work->number);
    work->number += work->config->events;
    *ret = (struct bench_request){w->request.bytes.p, w->request.bytes.n, BENCH_COUNT_NONE, 0};
    return true;
}

static bool done_fill(void *context, size_t connection, struct bench_answer *answer)
{
    (void)context;
    (void)connection;
    return answer->status == 201;
}

/* ---- running ---- */

static void drop_requests(struct work *work)
{
    for (size_t i = 0; i < work->config->connections; i++) {
        bench_template_done(&work->workers[i].request);
        work->workers[i].cursor = 0;
    }
}

/* Requests of a kind for all connections. `path` is that of a GET; NULL: they are appends. */
static bool make_requests(struct work *work, const char *path, const char *accept)
{
    bool ok = true;
    drop_requests(work);
    for (size_t i = 0; i < work->config->connections; i++) {
        struct bench_template *t = &work->workers[i].request;
        ok = ok && (path == NULL ? bench_append_init(t, &work->shape)
                                 : bench_get_init(t, &work->shape, path, accept));
    }
    if (!ok) {
        cli_error("no memory for the requests");
    }
    return ok;
}

/* A run whose requests must all succeed, or there is nothing to measure. */
static bool run_strictly(struct work *work, const struct bench_job *job, const char *what)
{
    struct bench_stats *stats = calloc(1, sizeof *stats);
    bool ok = stats != NULL && bench_load_run(work->load, job, stats);
    if (ok && stats->failed > 0) {
        cli_error("cannot %s: %s", what, stats->failure);
        ok = false;
    }
    free(stats);
    return ok;
}

static bool learn_heads(struct work *work)
{
    const struct bench_job job = {.context = work, .next = next_head, .done = done_head};
    return make_requests(work, STREAM_PATH, "application/json") &&
           run_strictly(work, &job, "get the heads of the streams");
}

static bool learn_position(struct work *work)
{
    const struct bench_job job = {.context = work, .next = next_position, .done = done_position};
    return make_requests(work, "/v1/status", "application/json") &&
           run_strictly(work, &job, "get the server's position");
}

static bool fill_streams(struct work *work)
{
    const struct bench_job job = {.context = work, .next = next_fill, .done = done_fill};
    struct bench_shape shape = work->shape;
    work->shape.batch = work->config->events;
    work->shape.exact = false;
    bool ok = learn_heads(work) && make_requests(work, NULL, NULL) &&
              run_strictly(work, &job, "append the events that are to be read");
    work->shape = shape;
    return ok;
}

static bool prepare(struct work *work, struct bench_job *ret)
{
    const struct bench_config *config = work->config;
    char path[128];
    const char *accept = config->protobuf ? "application/x-protobuf" : "application/json";
    switch (config->workload) {
    case BENCH_APPEND:
        ret->wake_ns = config->rate > 0 ? wake_ns : NULL;
        ret->next = next_append;
        ret->done = done_append;
        return (!config->exact || learn_heads(work)) && make_requests(work, NULL, NULL);
    case BENCH_POST:
        ret->wake_ns = config->rate > 0 ? wake_ns : NULL;
        ret->next = next_append;
        ret->done = done_post;
        return make_requests(work, NULL, NULL);
    case BENCH_TAGGED:
        ret->wake_ns = config->rate > 0 ? wake_ns : NULL;
        ret->next = next_tagged;
        ret->done = done_tagged;
        return learn_position(work) && make_requests(work, NULL, NULL);
    case BENCH_READ_STREAM:
        ret->next = next_stream_read;
        ret->done = done_stream_read;
        snprintf(path, sizeof path, STREAM_PATH "/events?limit=%" PRIu64, config->events);
        return fill_streams(work) && make_requests(work, path, accept);
    case BENCH_READ_LOG:
        ret->next = next_log_read;
        ret->done = done_log_read;
        return make_requests(work, "/v1/events",
                             config->protobuf ? accept : "application/x-ndjson");
    case BENCH_FOLLOW:
    case BENCH_CONSUME:
        break; /* not here: bench_follow, bench_consume */
    }
    return false;
}

/* What failed while warming up counts. */
static bool warm_up(struct work *work, const struct bench_job *job, struct bench_stats *stats)
{
    work->left = UINT64_MAX;
    work->deadline_ns = bench_now_ns() + work->config->warmup_ms * NS_PER_MS;
    bool ok = bench_load_run(work->load, job, stats);
    memset(&stats->latency, 0, sizeof stats->latency);
    stats->requests = stats->events = stats->bytes_sent = stats->bytes_received = 0;
    stats->seconds = 0;
    return ok;
}

static bool measure(struct work *work, struct bench_stats *stats)
{
    const struct bench_config *config = work->config;
    struct bench_job job = {.context = work};
    if (!prepare(work, &job) || (config->warmup_ms > 0 && !warm_up(work, &job, stats))) {
        return false;
    }
    work->left = config->requests > 0 ? config->requests : UINT64_MAX;
    work->deadline_ns = UINT64_MAX;
    if (config->seconds > 0) {
        work->deadline_ns = bench_now_ns() + config->seconds * NS_PER_SECOND;
    }
    work->due_ns = 0;
    return bench_load_run(work->load, &job, stats);
}

bool bench_work_run(const char *url, const struct bench_config *config, struct bench_stats *ret)
{
    struct work work = {.config = config};
    memset(ret, 0, sizeof *ret);
    if (!bench_load_open(url, (size_t)config->connections, &work.load)) {
        return false;
    }
    bench_load_set_spin(work.load, config->spin_us);
    work.shape = (struct bench_shape){
        .host = bench_load_host(work.load),
        .prefix = bench_load_prefix(work.load),
        .path = config->workload == BENCH_POST ? config->path : NULL,
        .batch = config->batch,
        .payload = config->payload,
        .streams = config->streams,
        .exact = config->exact,
        .protobuf = config->protobuf,
        .ids = config->ids,
        .tagged = config->workload == BENCH_TAGGED,
        .condition = config->condition,
    };
    work.workers = calloc((size_t)config->connections, sizeof *work.workers);
    work.heads = calloc((size_t)config->streams, sizeof *work.heads);
    bool ok = work.workers != NULL && work.heads != NULL;
    if (ok) {
        for (size_t i = 0; i < config->connections; i++) {
            work.workers[i].random = (i + 1) * 0x9e3779b97f4a7c15;
        }
        ok = measure(&work, ret);
        drop_requests(&work);
    } else {
        cli_error("no memory");
    }
    free(work.workers);
    free(work.heads);
    bench_load_close(work.load);
    return ok;
}
