/* api_metrics: GET /metrics: all of metrics.def in the text format of Prometheus, 0.0.4.
 *
 * What the hot paths count is summed up (metrics.h), everything else is asked for now. Each piece
 * is read by itself, so two numbers of one answer may be some microseconds apart; a lag is computed
 * from one reading and never negative. */
#include "server/api_metrics.h"

#include "server/app.h"
#include "server/groups.h"
#include "server/metrics.h"
#include "server/process.h"
#include "server/reply.h"
#include "server/router.h"
#include "server/workers.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define CONTENT_TYPE     "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_BYTES_MAX   ((size_t)64 << 20)
#define PROJECTION_BYTES 1024

enum metric {
#define METRIC(name, text, type, help) METRIC_##name,
#include "server/metrics.def"
#undef METRIC
    METRIC_COUNT
};

static const struct {
    const char *name, *type, *help;
} metrics[] = {
#define METRIC(name, text, type, help) {text, #type, help},
#include "server/metrics.def"
#undef METRIC
};

/* ---- counting ---- */

enum route_kind { ROUTE_OTHER, ROUTE_APPENDS, ROUTE_READS };

static uint8_t route_kinds[METRICS_ROUTES_MAX];
static pthread_once_t kinds_once = PTHREAD_ONCE_INIT;

static void find_kinds(void)
{
    size_t n;
    const struct route *routes = router_routes(&n);
    for (size_t i = 0; i < n && i + 1 < METRICS_ROUTES_MAX; i++) {
        route_fn h = routes[i].handle;
        bool appends = h == api_append_stream || h == api_append_many || h == api_command;
        bool reads = h == api_read_stream || h == api_read_log || h == api_read_stream_event ||
                     h == api_read_log_event;
        route_kinds[i + 1] = appends ? ROUTE_APPENDS : reads ? ROUTE_READS : ROUTE_OTHER;
    }
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void api_metrics_count(struct http_request *rq, unsigned status)
{
    pthread_once(&kinds_once, find_kinds);
    unsigned route = http_route_number(rq);
    metrics_count_request(route, status);
    if (route >= METRICS_ROUTES_MAX || route_kinds[route] == ROUTE_OTHER || !http_is_short(rq)) {
        return;
    }
    int64_t took_us = clock_us(CLOCK_MONOTONIC) - http_started_us(rq);
    metrics_observe(route_kinds[route] == ROUTE_APPENDS ? METRICS_APPEND_US : METRICS_READ_US,
                    took_us < 0 ? 0 : (uint64_t)took_us);
}

/* ---- writing ---- */

static void put_head(struct buf *b, enum metric m)
{
    buf_put_format(b, "# HELP %s %s\n# TYPE %s %s\n", metrics[m].name, metrics[m].help,
                   metrics[m].name, metrics[m].type);
}

static void put_number(struct buf *b, enum metric m, uint64_t value)
{
    put_head(b, m);
    buf_put_format(b, "%s %" PRIu64 "\n", metrics[m].name, value);
}

static void put_seconds(struct buf *b, enum metric m, double value)
{
    put_head(b, m);
    buf_put_format(b, "%s %.6f\n", metrics[m].name, value);
}

/* Buckets of Prometheus count all that is lower, too. */
static void put_histogram(struct buf *b, enum metric m, enum metrics_histogram h,
                          const struct metrics_sums *sums)
{
    size_t n;
    const uint64_t *bounds = metrics_bounds(h, &n);
    const struct metrics_distribution *d = &sums->histograms[h];
    const char *name = metrics[m].name;
    double unit = h <= METRICS_COMMIT_US ? 1e6 : 1;
    uint64_t count = 0;
    put_head(b, m);
    for (size_t i = 0; i < n; i++) {
        count += d->counts[i];
        buf_put_format(b, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)bounds[i] / unit,
                       count);
    }
    count += d->counts[n];
    buf_put_format(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    buf_put_format(b, "%s_sum %.6f\n", name, (double)d->sum / unit);
    buf_put_format(b, "%s_count %" PRIu64 "\n", name, count);
}

static const char *method_name(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return "GET";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    case HTTP_DELETE:
        return "DELETE";
    case HTTP_OPTIONS:
    case HTTP_OTHER:
        break;
    }
    return "other";
}

static void put_requests(struct buf *b, const struct metrics_sums *sums)
{
    size_t n;
    const struct route *routes = router_routes(&n);
    put_head(b, METRIC_REQUESTS);
    for (size_t route = 0; route <= n && route < METRICS_ROUTES_MAX; route++) {
        bool none = route == METRICS_NO_ROUTE;
        for (size_t column = 0; column < METRICS_STATUSES_MAX; column++) {
            if (sums->requests[route][column] > 0) {
                buf_put_format(b, "%s{method=\"%s\",route=\"%s\",status=\"%u\"} %" PRIu64 "\n",
                               metrics[METRIC_REQUESTS].name,
                               none ? "other" : method_name(routes[route - 1].method),
                               none ? "none" : routes[route - 1].path, metrics_status(column),
                               sums->requests[route][column]);
            }
        }
    }
}

static err_t put_counted(struct buf *b)
{
    struct metrics_sums *sums = malloc(sizeof *sums);
    if (sums == NULL) {
        return ERR_MEMORY;
    }
    metrics_sum(sums);
    put_requests(b, sums);
    put_histogram(b, METRIC_APPEND_SECONDS, METRICS_APPEND_US, sums);
    put_histogram(b, METRIC_READ_SECONDS, METRICS_READ_US, sums);
    put_histogram(b, METRIC_COMMIT_SECONDS, METRICS_COMMIT_US, sums);
    put_histogram(b, METRIC_COMMIT_COMMANDS, METRICS_COMMIT_COMMANDS, sums);
    put_histogram(b, METRIC_COMMIT_EVENTS, METRICS_COMMIT_EVENTS, sums);
    free(sums);
    return ERR_OK;
}

static void put_server(struct buf *b, struct app *app)
{
    struct writer_stats writer;
    writer_get_stats(app->writer, &writer);
    put_head(b, METRIC_BUILD_INFO);
    buf_put_format(b, "%s{version=\"%s\"} 1\n", metrics[METRIC_BUILD_INFO].name, DAYBOOK_VERSION);
    put_seconds(b, METRIC_UPTIME, (double)(clock_us(CLOCK_MONOTONIC) - app->started_us) / 1e6);
    put_number(b, METRIC_REQUESTS_ACTIVE, http_requests_active(app->http));
    put_number(b, METRIC_CONNECTIONS, http_connections(app->http));
    put_number(b, METRIC_CONNECTIONS_MAX, app->connections_max);
    put_number(b, METRIC_QUEUE, writer.queue_commands);
    put_number(b, METRIC_QUEUE_MAX, writer.queue_commands_max);
}

static err_t put_store(struct buf *b, struct app *app)
{
    struct store_stats s;
    err_t err = store_get_stats(app->store, &s);
    if (err != ERR_OK) {
        return err;
    }
    const struct {
        enum metric metric;
        uint64_t value;
    } rows[] = {
        {METRIC_COMMITTED, s.position},
        {METRIC_APPLIED, s.applied_position},
        {METRIC_INDEX_LAG, s.position > s.applied_position ? s.position - s.applied_position : 0},
        {METRIC_TAIL, s.tail_bytes},
        {METRIC_TAIL_MAX, s.tail_bytes_max},
        {METRIC_STREAMS, s.streams},
        {METRIC_RECLAIM_PENDING, s.reclaim_pending},
        {METRIC_FOLLOWERS, live_count(app->live)},
        {METRIC_FOLLOWER_LAG_EVENTS, live_lag_max(app->live, s.position)},
        {METRIC_DATA_BYTES, s.data_bytes},
        {METRIC_DISK_FREE, s.disk_free_bytes},
        {METRIC_DISK_FREE_MIN, s.disk_free_min_bytes},
        {METRIC_DISK_FULL, s.disk_full},
        {METRIC_MAP_USED, s.map_used_bytes},
        {METRIC_MAP_MAX, s.map_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_number(b, rows[i].metric, rows[i].value);
    }
    return ERR_OK;
}

/* The version that answers, else the one that is built first. */
static const struct version_status *shown(const struct projection_status *p)
{
    return p->serving.version != 0 ? &p->serving : &p->building;
}

static double projection_value(const struct projection_status *p, enum metric m)
{
    const struct version_status *v = shown(p);
    switch ((int)m) {
    case METRIC_PROJECTION_LAG_EVENTS:
        return (double)v->lag_events;
    case METRIC_PROJECTION_LAG_SECONDS:
        return v->lag_us > 0 ? (double)v->lag_us / 1e6 : 0;
    case METRIC_PROJECTION_FAULTED:
        return p->serving.state == RUNNER_FAULTED || p->building.state == RUNNER_FAULTED;
    case METRIC_PROJECTION_PAUSED:
        return v->state == RUNNER_PAUSED;
    default:
        return p->serving.failing != NULL || p->building.failing != NULL;
    }
}

/* A metric's rows stand together, so all are asked once and the rows gathered by metric. */
static err_t put_projections(struct buf *b, struct app *app)
{
    enum { FIRST = METRIC_PROJECTION_LAG_EVENTS, ROWS = METRIC_PROJECTION_FAILING - FIRST + 1 };
    struct buf rows[ROWS];
    struct projection_status status;
    struct projection *p;
    size_t max = app->limits.projections_max * PROJECTION_BYTES + PROJECTION_BYTES;
    for (int i = 0; i < ROWS; i++) {
        buf_init(&rows[i], max);
    }
    for (size_t at = 0; (p = workers_at(app->workers, at)) != NULL; at++) {
        bool there = workers_get_status(app->workers, p, &status);
        for (int i = 0; there && i < ROWS; i++) {
            enum metric m = (enum metric)(FIRST + i);
            buf_put_format(&rows[i], "%s{projection=\"%s\"} %.15g\n", metrics[m].name, status.name,
                           projection_value(&status, m));
        }
    }
    err_t err = ERR_OK;
    for (int i = 0; i < ROWS; i++) {
        put_head(b, (enum metric)(FIRST + i));
        buf_put(b, buf_bytes(&rows[i]));
        err = err == ERR_OK ? buf_status(&rows[i]) : err;
        buf_done(&rows[i]);
    }
    return err;
}

static void put_process(struct buf *b, const struct app *app)
{
    int64_t age_us = clock_us(CLOCK_MONOTONIC) - app->started_us;
    put_number(b, METRIC_MEMORY_PRIVATE, process_private_bytes());
    put_number(b, METRIC_MEMORY_RESIDENT, process_resident_bytes());
    put_seconds(b, METRIC_CPU, process_cpu_s());
    put_number(b, METRIC_OPEN_FDS, process_open_files());
    put_number(b, METRIC_MAX_FDS, process_open_files_max());
    put_seconds(b, METRIC_START_TIME, (double)(clock_us(CLOCK_REALTIME) - age_us) / 1e6);
}

/* ---- groups: what is known of them belongs to their thread ---- */

struct group_row {
    const char *name;
    struct group_status status;
};

struct group_rows {
    struct group_row *items;
    size_t n;
};

/* Where it fails there are none, and the rest is answered all the same. */
static enum group_outcome run_groups(struct group_call *c, const struct group_turn *turn)
{
    struct group_rows *rows = c->ctx;
    struct arena *arena = http_arena(c->job->rq);
    size_t n = groups_count(turn->groups);
    struct group_row *items = arena_alloc(arena, (n + 1) * sizeof *items);
    for (size_t i = 0; items != NULL && i < n; i++) {
        struct bytes name = bytes_of_string(groups_at(turn->groups, i).name);
        char *copy = arena_alloc(arena, name.n + 1);
        if (copy == NULL) {
            break;
        }
        memcpy(copy, name.p, name.n + 1);
        items[i].name = copy;
        c->error = groups_status(turn->groups, name, &items[i].status);
        if (c->error != ERR_OK) {
            return GROUP_FAILED;
        }
        *rows = (struct group_rows){items, i + 1};
    }
    return GROUP_ANSWERED;
}

static double group_value(const struct group_status *s, enum metric m)
{
    switch ((int)m) {
    case METRIC_GROUP_LAG_EVENTS:
        return (double)s->lag_events;
    case METRIC_GROUP_LAG_SECONDS:
        return s->lag_us > 0 ? (double)s->lag_us / 1e6 : 0;
    case METRIC_GROUP_IN_FLIGHT:
        return (double)s->in_flight;
    case METRIC_GROUP_PARKED:
        return (double)s->parked;
    case METRIC_GROUP_CONSUMERS:
        return (double)s->consumers;
    default:
        return (double)s->counts.redelivered;
    }
}

static void put_groups(struct buf *b, const struct group_rows *rows)
{
    for (int m = METRIC_GROUP_LAG_EVENTS; m <= METRIC_GROUP_REDELIVERIES; m++) {
        put_head(b, (enum metric)m);
        for (size_t i = 0; i < rows->n; i++) {
            buf_put_format(b, "%s{group=\"%s\"} %.15g\n", metrics[m].name, rows->items[i].name,
                           group_value(&rows->items[i].status, (enum metric)m));
        }
    }
}

/* Whatever a scraper accepts, this is what there is. */
static void reply_metrics(struct http_request *rq, struct job *job)
{
    struct app *app = job->app;
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    put_server(&b, app);
    err_t err = put_counted(&b);
    if (err == ERR_OK) {
        err = put_store(&b, app);
    }
    if (err == ERR_OK) {
        err = put_projections(&b, app);
    }
    put_groups(&b, job->ctx);
    put_process(&b, app);
    if (err == ERR_OK) {
        err = buf_status(&b);
    }
    if (err != ERR_OK) {
        buf_done(&b);
        reply_error(rq, err, "reading metrics");
        return;
    }
    reply_position(rq, store_position(app->store));
    http_reply(rq, 200, CONTENT_TYPE, &b);
}

void api_metrics(struct http_request *rq, struct app *app)
{
    struct group_call *c = group_call_new(rq, app, sizeof(struct group_rows));
    if (c != NULL) {
        c->job->answer = JOB_DETACH;
        c->job->detach = reply_metrics;
        c->anyway = true;
        c->run = run_groups;
        groups_submit(app->groups, c);
    }
}
