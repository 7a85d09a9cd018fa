/* main: daybookd: starts the store, the writer and the HTTP server in this order, waits for a
 * signal, and stops them in the other order. */
#include "server/api_admin.h"
#include "server/api_backup.h"
#include "server/api_metrics.h"
#include "server/app.h"
#include "server/config.h"
#include "server/groups.h"
#include "server/jobs.h"
#include "server/log.h"
#include "server/maintenance.h"
#include "server/push.h"
#include "server/reply.h"
#include "server/restore.h"
#include "server/router.h"
#include "server/snapshot_writer.h"
#include "server/state_cache.h"
#include "server/trace.h"
#include "server/workers.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE          2
#define EXIT_WRITE_FAILED   70
#define DRAIN_MS            1500
#define DESCRIPTORS_MORE    256 /* besides the connections: journal, LMDB, epoll, log */
#define PAGE_EVENTS         1000
#define GROUP_CALLS_MAX     10000 /* requests about groups that wait or run */
#define PROJECTION_JOBS_MAX 1024  /* reads and definitions that wait or run */
#define SNAPSHOT_JOBS_MAX   4096

static err_t serve(const struct config *c, struct err_text *et);
static void stop(struct app *app);

static void write_failed(void *ctx, err_t err)
{
    (void)ctx;
    log_line(LOG_LEVEL_ERROR,
             "a write to the store failed; stopping at once, nothing more is acknowledged",
             log_text("error", err_name(err)), log_text("detail", err_describe(err)));
    _exit(EXIT_WRITE_FAILED);
}

/* The loops run before http_start has returned what `app` needs. */
static void handle(struct http_request *rq, void *ctx)
{
    struct app *app = ctx;
    if (atomic_load(&app->ready)) {
        router_handle(rq, app);
    } else {
        reply_problem(rq, PROBLEM_NOT_READY, NULL);
    }
}

static void end_turn(void *ctx)
{
    struct app *app = ctx;
    if (atomic_load(&app->ready)) {
        writer_end_turn(app->writer);
    }
}

static const char *method_name(enum http_method method)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",         [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
        [HTTP_OPTIONS] = "OPTIONS", [HTTP_OTHER] = "other",
    };
    return names[method];
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void log_request(struct http_request *rq, unsigned status, uint64_t response_bytes)
{
    struct bytes trace = trace_parent(rq);
    const struct log_field fields[] = {
        log_text("method", method_name(http_method(rq))),
        log_bytes("path", http_raw_path(rq)),
        log_text("route", http_route(rq)),
        log_number("status", status),
        log_number("bytes", (int64_t)response_bytes),
        log_number("us", clock_us(CLOCK_MONOTONIC) - http_started_us(rq)),
        log_text("peer", http_peer(rq)),
        log_bytes("traceparent", trace),
    };
    size_t n = sizeof fields / sizeof *fields;
    log_fields(LOG_LEVEL_INFO, "request", fields, trace.n > 0 ? n : n - 1);
}

static void request_done(struct http_request *rq, unsigned status, uint64_t response_bytes,
                         void *ctx)
{
    const struct app *app = ctx;
    api_metrics_count(rq, status);
    if (app->log_requests) {
        log_request(rq, status, response_bytes);
    }
}

static void raise_descriptor_limit(uint64_t connections_max)
{
    struct rlimit limit;
    rlim_t wanted = connections_max + DESCRIPTORS_MORE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    struct rlimit more = {wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
        return;
    }
    more.rlim_cur = more.rlim_max = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &more);
    log_line(LOG_LEVEL_WARN, "fewer file descriptors than connections-max wants",
             log_number("wanted", (int64_t)wanted), log_number("limit", (int64_t)more.rlim_cur));
}

/* The signals that end the server are taken by sigwait, so they are blocked before any thread
 * starts. */
static void block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void exit_at_once(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_FAILURE);
}

static err_t store_options_of(const struct config *c, struct store_options *ret,
                              struct err_text *et)
{
    struct {
        uint64_t hash_secret[2];
        uint64_t salt;
        uint8_t id[10];
    } random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        return err_set(et, ERR_IO, "no random numbers: %s", strerror(errno));
    }
    bytes_hash_set_secret(random.hash_secret);
    *ret = (struct store_options){
        .dir = c->data,
        .map_bytes = c->map_bytes,
        .segment_bytes = c->segment_bytes,
        .tail_bytes_max = c->tail_bytes_max,
        .disk_free_min_bytes = c->disk_free_min_bytes,
        .salt = random.salt,
    };
    uuid_make_v7((uint64_t)clock_us(CLOCK_REALTIME) / 1000, random.id, ret->new_store_id);
    return ERR_OK;
}

/* Request bodies and commands of up to a MiB come and go with every batch: the heap keeps their
 * pages instead of giving them back each time (profiled: a hundred page faults a batch of 1,000
 * events). Larger pieces, such as the tail's, are mapped alone and go back at once. */
static void tune_allocator(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

int main(int argc, char **argv)
{
    tune_allocator();
    static struct config c;
    struct err_text et = {0};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    err_t err = config_load(argc, argv, environ, cores < 1 ? 1 : (unsigned)cores, &c, &et);
    if (err != ERR_OK) {
        fprintf(stderr, "daybookd: %s\n", et.text);
        return EXIT_USAGE;
    }
    log_open((enum log_level)c.log_level, (enum log_format)c.log_format, STDERR_FILENO);
    struct store_options options;
    switch (c.action) {
    case CONFIG_HELP:
        config_print_help(stdout);
        return EXIT_SUCCESS;
    case CONFIG_VERSION:
        puts("daybookd " DAYBOOK_VERSION);
        return EXIT_SUCCESS;
    case CONFIG_VERIFY:
    case CONFIG_REINDEX:
        err = store_options_of(&c, &options, &et);
        if (err == ERR_OK) {
            return c.action == CONFIG_VERIFY ? maintenance_verify(&options)
                                             : maintenance_reindex(&options);
        }
        break;
    case CONFIG_VERIFY_BACKUP:
        return restore_verify(c.backup);
    case CONFIG_RESTORE:
        err = store_options_of(&c, &options, &et);
        if (err == ERR_OK) {
            return restore_run(c.backup, &options, c.to_position);
        }
        break;
    case CONFIG_SERVE:
        err = serve(&c, &et);
        break;
    }
    if (err != ERR_OK) {
        fprintf(stderr, "daybookd: %s\n", et.text[0] == '\0' ? err_describe(err) : et.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static err_t start_store(const struct config *c, struct app *app, struct err_text *et)
{
    struct store_options options;
    err_t err = store_options_of(c, &options, et);
    if (err != ERR_OK) {
        return err;
    }
    err = store_open(&options, &app->store, et);
    if (err != ERR_OK) {
        return et->text[0] != '\0'
                   ? err
                   : err_set(et, err, "cannot open %s: %s", c->data, err_describe(err));
    }
    reply_init(app->store);
    feed_init(&app->feed, store_position(app->store));
    return ERR_OK;
}

static err_t start_http(const struct config *c, struct app *app, struct err_text *et)
{
    const struct http_options options = {
        .host = c->host,
        .port = c->port,
        .threads = (unsigned)c->http_threads,
        .connections_max = (unsigned)c->connections_max,
        .connections_per_address_max = (unsigned)c->connections_per_address_max,
        .header_bytes_max = c->header_bytes_max,
        .body_bytes_max = c->body_bytes_max,
        .body_memory_max =
            c->body_memory_max > c->body_bytes_max ? c->body_memory_max : c->body_bytes_max,
        .header_timeout_s = (unsigned)c->header_timeout_s,
        .body_timeout_s = (unsigned)c->body_timeout_s,
        .idle_timeout_s = (unsigned)c->idle_timeout_s,
        .handle = handle,
        .refuse = reply_refusal,
        .done = request_done,
        .end_turn = end_turn,
        .ctx = app,
    };
    return http_start(&options, &app->http, et);
}

static void projection_moved(void *ctx)
{
    const struct app *app = ctx;
    jobs_kick(app->jobs);
    live_models_moved(app->live);
}

static err_t start_projections(const struct config *c, struct app *app, struct err_text *et)
{
    if (c->state_snapshot_events > 0 &&
        state_cache_new(c->state_cache_bytes, &app->state_cache) != ERR_OK) {
        return err_set(et, ERR_MEMORY, "no memory for the states of streams");
    }
    const struct jobs_options jobs = {.threads = (unsigned)c->query_threads,
                                      .jobs_max = PROJECTION_JOBS_MAX};
    err_t err = jobs_start(&jobs, &app->jobs);
    if (err != ERR_OK) {
        return err_set(et, err, "cannot start the threads of queries: %s", err_describe(err));
    }
    unsigned half = (unsigned)sysconf(_SC_NPROCESSORS_ONLN) / 2;
    unsigned threads = half < 2 ? 2 : half > 4 ? 4 : half; /* one may be busy with a build */
    const struct workers_options workers = {
        .store = app->store,
        .feed = &app->feed,
        .dir = c->data,
        .threads = c->projection_threads > 0 ? (unsigned)c->projection_threads : threads,
        .rest_ms = (unsigned)c->projection_rest_ms,
        .disk_free_min_bytes = c->disk_free_min_bytes,
        .counts = c->projection_counts,
        .moved = projection_moved,
        .ctx = app,
    };
    err = workers_start(&workers, &app->workers, et);
    return err == ERR_OK || et->text[0] != '\0'
               ? err
               : err_set(et, err, "cannot start projections: %s", err_describe(err));
}

static err_t start_groups(const struct config *c, struct app *app, struct err_text *et)
{
    const struct group_service_options options = {
        .store = app->store,
        .writer = app->writer,
        .feed = &app->feed,
        .state = app->state,
        .calls_max = GROUP_CALLS_MAX,
        .defined = push_changed,
        .ctx = &app->push,
    };
    err_t err = groups_start(&options, &app->groups, et);
    if (err == ERR_OK) {
        const struct push_options push = {.groups = app->groups,
                                          .private_addresses = c->push_private};
        err = push_start(&push, &app->push, et);
    }
    return err == ERR_OK || et->text[0] != '\0'
               ? err
               : err_set(et, err, "cannot start consumer groups: %s", err_describe(err));
}

/* DATA/state, and who has something in it. */
static err_t start_state(const struct config *c, struct app *app, struct err_text *et)
{
    char dir[CONFIG_TEXT_MAX + 8];
    snprintf(dir, sizeof dir, "%s/state", c->data);
    err_t err = state_env_open(dir, 0, &app->state, et);
    if (err == ERR_OK) {
        err = snapshots_open(app->state, c->snapshots_bytes_max, &app->snapshots, et);
    }
    if (err != ERR_OK) {
        return et->text[0] != '\0' ? err
                                   : err_set(et, err, "cannot open %s: %s", dir, err_describe(err));
    }
    const struct snapshot_writer_options options = {
        .store = app->store,
        .snapshots = app->snapshots,
        .dir = c->data,
        .disk_free_min_bytes = c->disk_free_min_bytes,
        .queue_max = SNAPSHOT_JOBS_MAX,
    };
    err = snapshot_writer_start(&options, &app->snapshot_writer);
    return err == ERR_OK
               ? start_groups(c, app, et)
               : err_set(et, err, "cannot start the thread of snapshots: %s", err_describe(err));
}

static err_t start(const struct config *c, struct app *app, struct err_text *et)
{
    err_t err = start_store(c, app, et);
    if (err != ERR_OK) {
        return err;
    }
    const struct writer_options writer = {
        .store = app->store,
        .feed = &app->feed,
        .queue_commands_max = c->queue_commands_max,
        .queue_bytes_max = c->queue_bytes_max,
        .apply_interval_ms = (unsigned)c->apply_interval_ms,
        .reclaim_interval_s = (unsigned)c->reclaim_interval_s,
        .failed = write_failed,
    };
    err = writer_start(&writer, &app->writer);
    if (err != ERR_OK) {
        return err_set(et, err, "cannot start the writer: %s", err_describe(err));
    }
    const struct live_options live = {
        .store = app->store,
        .feed = &app->feed,
        .heartbeat_s = (unsigned)c->heartbeat_s,
        .idle_timeout_s = (unsigned)c->idle_timeout_s,
    };
    err = live_start(&live, &app->live);
    if (err != ERR_OK) {
        return err_set(et, err, "cannot start the live thread: %s", err_describe(err));
    }
    err = start_state(c, app, et);
    if (err == ERR_OK) {
        err = start_projections(c, app, et);
    }
    return err == ERR_OK ? start_http(c, app, et) : err;
}

/* A line for people; as JSON where the log is. */
static void print_ready(const struct config *c, const struct app *app)
{
    char url[CONFIG_TEXT_MAX + 32];
    bool v6 = strchr(c->host, ':') != NULL;
    snprintf(url, sizeof url, "http://%s%s%s:%u", v6 ? "[" : "", c->host[0] == '\0' ? "*" : c->host,
             v6 ? "]" : "", http_port(app->http));
    char *path = realpath(c->data, NULL);
    uint64_t position = store_position(app->store);
    if (c->log_format == LOG_FORMAT_JSON) {
        log_line(LOG_LEVEL_INFO, "serving", log_text("version", DAYBOOK_VERSION),
                 log_text("data", path == NULL ? c->data : path), log_text("url", url),
                 log_number("position", (int64_t)position));
    } else {
        fprintf(stderr, "daybookd %s serving %s on %s (position %" PRIu64 ")\n", DAYBOOK_VERSION,
                path == NULL ? c->data : path, url, position);
    }
    free(path);
}

static err_t serve(const struct config *c, struct err_text *et)
{
    static struct app app;
    sigset_t ending;
    block_signals(&ending);
    raise_descriptor_limit(c->connections_max);
    app.limits = (struct app_limits){
        .event_bytes_max = c->event_bytes_max,
        .snapshot_bytes_max = c->snapshot_bytes_max,
        .body_bytes_max = c->body_bytes_max,
        .header_bytes_max = c->header_bytes_max,
        .append_events_max = c->append_events_max,
        .page_events_max = c->page_events_max,
        .page_events_default = c->page_events_max < PAGE_EVENTS ? c->page_events_max : PAGE_EVENTS,
        .projections_max = c->projections_max,
        .query_rows_max = c->query_rows_max,
        .query_bytes_max = c->query_bytes_max,
        .query_time_ms = (unsigned)c->query_time_ms,
        .state_snapshot_events = c->state_snapshot_events,
    };
    app.started_us = clock_us(CLOCK_MONOTONIC);
    app.log_requests = c->log_requests != 0;
    app.connections_max = (unsigned)c->connections_max;
    app.idle_timeout_s = (unsigned)c->idle_timeout_s;
    err_t err = start(c, &app, et);
    if (err == ERR_OK) {
        atomic_store(&app.ready, true);
        print_ready(c, &app);
        int which = 0;
        sigwait(&ending, &which);
        log_line(LOG_LEVEL_INFO, "stopping", log_text("signal", strsignal(which)));
        signal(SIGTERM, exit_at_once);
        signal(SIGINT, exit_at_once);
        pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
    }
    stop(&app);
    return err;
}

/* Takes what start made, also in part. The order matters: nothing new comes in; live reads end, so
 * that their connections close meanwhile; what is queued is decided and answered; whoever resumes
 * requests is gone before the HTTP server; the store is last. */
static void stop(struct app *app)
{
    atomic_store(&app->stopping, true);
    if (app->http != NULL) {
        http_drain(app->http);
    }
    live_stop(app->live);
    push_stop(app->push);
    groups_stop(app->groups); /* fetches that wait are answered; what the writer has, too */
    api_admin_stop();
    api_backup_stop();
    for (int ms = 0; app->http != NULL && http_requests_active(app->http) > 0 && ms < DRAIN_MS;
         ms++) {
        usleep(1000);
    }
    snapshot_writer_stop(app->snapshot_writer);
    jobs_stop(app->jobs);
    workers_stop(app->workers);
    writer_stop(app->writer);
    http_stop(app->http);
    writer_free(app->writer);
    snapshot_writer_free(app->snapshot_writer);
    snapshots_close(app->snapshots);
    groups_free(app->groups);
    push_free(app->push);
    state_env_close(app->state);
    jobs_free(app->jobs);
    state_cache_free(app->state_cache);
    workers_free(app->workers);
    live_free(app->live);
    reply_init(NULL);
    if (app->store != NULL) {
        uint64_t position = store_position(app->store);
        store_close(app->store);
        log_line(LOG_LEVEL_INFO, "stopped", log_number("position", (int64_t)position));
    }
}
