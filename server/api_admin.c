/* api_admin: GET /healthz, /readyz, /v1/status and POST /v1/admin/verify.
 *
 * A verify takes minutes on a large store. It runs on a thread of its own, one at a time, while its
 * request is suspended. */
#include "server/api_admin.h"

#include "daybook/v1/status.pb-c.h"
#include "server/app.h"
#include "server/log.h"
#include "server/process.h"
#include "server/query.h"
#include "server/reply.h"
#include "server/router.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define ANSWER_BYTES_MAX ((size_t)1 << 20)
#define FINDINGS_MAX     100
#define FINDING_BYTES    400

struct verify {
    struct http_request *rq;
    struct app *app;
    enum encoding encoding;
    err_t err;
    struct store_verify_report report;
    size_t finding_count;
    char *findings[FINDINGS_MAX];
    char texts[FINDINGS_MAX][FINDING_BYTES];
};

/* Of the one verify; all under the mutex. */
static struct {
    pthread_mutex_t mutex;
    pthread_t thread;
    bool joinable, running, stopped;
} one = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void *verify_main(void *arg);
static void verify_resumed(struct http_request *rq, void *ctx);
static bool verify_start(struct verify *v);

static void reply_text(struct http_request *rq, struct app *app, const char *json)
{
    struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    buf_put_string(&b, json);
    reply_body(rq, 200, ENCODING_JSON, store_position(app->store), &b);
}

/* Probes accept anything, so there is nothing to negotiate. */
void api_healthz(struct http_request *rq, struct app *app)
{
    reply_text(rq, app, "{\"status\":\"ok\"}");
}

void api_readyz(struct http_request *rq, struct app *app)
{
    if (atomic_load(&app->stopping)) {
        reply_problem(rq, PROBLEM_SHUTTING_DOWN, NULL);
    } else if (!atomic_load(&app->ready)) {
        reply_problem(rq, PROBLEM_NOT_READY, NULL);
    } else {
        reply_text(rq, app, "{\"status\":\"ready\"}");
    }
}

/* ---- status ---- */

static err_t fill_status(struct app *app, Daybook__V1__Status *s)
{
    struct store_stats stats;
    struct writer_stats writer;
    err_t err = store_get_stats(app->store, &stats);
    if (err != ERR_OK) {
        return err;
    }
    writer_get_stats(app->writer, &writer);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    s->position = stats.position;
    s->applied_position = stats.applied_position;
    s->streams = stats.streams;
    s->uptime_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)app->started_us / 1e6;
    s->data_bytes = stats.data_bytes;
    s->tail_bytes = stats.tail_bytes;
    s->tail_bytes_max = stats.tail_bytes_max;
    s->queue_length = writer.queue_commands;
    s->queue_length_max = writer.queue_commands_max;
    s->connections = http_connections(app->http);
    s->followers = live_count(app->live);
    s->follower_lag_events = live_lag_max(app->live, stats.position);
    s->map_used_bytes = stats.map_used_bytes;
    s->map_bytes = stats.map_bytes;
    s->disk_free_bytes = stats.disk_free_bytes;
    s->disk_full = stats.disk_full;
    s->memory_bytes = process_private_bytes();
    return ERR_OK;
}

static void put_status_json(struct buf *b, const Daybook__V1__Status *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"data_bytes", s->data_bytes},
        {"tail_bytes", s->tail_bytes},
        {"tail_bytes_max", s->tail_bytes_max},
        {"queue_length", s->queue_length},
        {"queue_length_max", s->queue_length_max},
        {"connections", s->connections},
        {"followers", s->followers},
        {"follower_lag_events", s->follower_lag_events},
        {"map_used_bytes", s->map_used_bytes},
        {"map_bytes", s->map_bytes},
        {"disk_free_bytes", s->disk_free_bytes},
        {"memory_bytes", s->memory_bytes},
    };
    buf_put_format(b, "{\"version\":\"%s\",\"store_id\":\"%s\"", s->version, s->store_id);
    buf_put_format(b, ",\"position\":%llu,\"applied_position\":%llu,\"streams\":%llu",
                   (unsigned long long)s->position, (unsigned long long)s->applied_position,
                   (unsigned long long)s->streams);
    buf_put_format(b, ",\"uptime_s\":%.3f", s->uptime_s);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buf_put_format(b, ",\"%s\":%llu", numbers[i].name, (unsigned long long)numbers[i].value);
    }
    buf_put_string(b, s->disk_full ? ",\"disk_full\":true}" : ",\"disk_full\":false}");
}

static void put_message(struct buf *b, const ProtobufCMessage *message)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *to = buf_reserve(b, n);
    if (to != NULL) {
        buf_advance(b, protobuf_c_message_pack(message, to));
    }
}

void api_status(struct http_request *rq, struct app *app)
{
    const struct query_parameter none[] = {{0}};
    enum encoding encoding;
    if (!query_read(rq, none) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &encoding)) {
        return;
    }
    char version[] = DAYBOOK_VERSION;
    char id_text[UUID_TEXT_BYTES + 1] = "";
    uint8_t id[UUID_BYTES];
    store_id(app->store, id);
    uuid_format(id, id_text);
    Daybook__V1__Status status = DAYBOOK__V1__STATUS__INIT;
    status.version = version;
    status.store_id = id_text;
    err_t err = fill_status(app, &status);
    if (err != ERR_OK) {
        reply_error(rq, err, "reading the status");
        return;
    }
    struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    if (encoding == ENCODING_PROTOBUF) {
        put_message(&b, &status.base);
    } else {
        put_status_json(&b, &status);
    }
    reply_body(rq, 200, encoding, status.position, &b);
}

/* ---- verify ---- */

void api_verify(struct http_request *rq, struct app *app)
{
    const struct query_parameter none[] = {{0}};
    enum encoding encoding;
    if (!query_read(rq, none) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF), &encoding)) {
        return;
    }
    struct verify *v = calloc(1, sizeof *v);
    if (v == NULL) {
        reply_error(rq, ERR_MEMORY, "starting to verify");
        return;
    }
    *v = (struct verify){.rq = rq, .app = app, .encoding = encoding};
    http_set_context(rq, v, free);
    http_suspend(rq, verify_resumed, v);
    if (!verify_start(v)) {
        v->err = ERR_BUSY;
        http_resume(rq);
    }
}

void api_admin_stop(void)
{
    pthread_mutex_lock(&one.mutex);
    one.stopped = true;
    bool join = one.joinable;
    one.joinable = false;
    pthread_mutex_unlock(&one.mutex);
    if (join) {
        pthread_join(one.thread, NULL);
    }
}

static bool verify_start(struct verify *v)
{
    pthread_mutex_lock(&one.mutex);
    bool ok = !one.running && !one.stopped;
    if (ok && one.joinable) {
        pthread_join(one.thread, NULL); /* it has nothing left to do */
    }
    if (ok) {
        one.running = one.joinable = pthread_create(&one.thread, NULL, verify_main, v) == 0;
        ok = one.running;
    }
    pthread_mutex_unlock(&one.mutex);
    return ok;
}

static bool verify_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    (void)done;
    (void)total;
    pthread_mutex_lock(&one.mutex);
    bool go_on = !one.stopped;
    pthread_mutex_unlock(&one.mutex);
    return go_on;
}

static void verify_finding(void *ctx, const char *text)
{
    struct verify *v = ctx;
    log_line(LOG_LEVEL_ERROR, "verify: finding", log_text("finding", text));
    if (v->finding_count < FINDINGS_MAX && bytes_are_utf8(bytes_of_string(text))) {
        char *copy = v->texts[v->finding_count];
        size_t n = strnlen(text, FINDING_BYTES - 1);
        while (n > 0 && (text[n] & 0xc0) == 0x80) {
            n--; /* never cut inside a character */
        }
        memcpy(copy, text, n);
        v->findings[v->finding_count++] = copy;
    }
}

static void *verify_main(void *arg)
{
    struct verify *v = arg;
    const struct store_verify_options options = {
        .progress = verify_progress, .finding = verify_finding, .ctx = v};
    v->err = store_verify(v->app->store, &options, &v->report);
    log_line(v->report.findings == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "verified",
             log_number("events", (int64_t)v->report.events),
             log_number("findings", (int64_t)v->report.findings),
             log_text("result", err_name(v->err)));
    pthread_mutex_lock(&one.mutex);
    one.running = false;
    pthread_mutex_unlock(&one.mutex);
    http_resume(v->rq);
    return NULL;
}

static void put_report_json(struct buf *b, const struct verify *v)
{
    buf_put_format(b, "{\"ok\":%s,\"events\":%llu,\"streams\":%llu,\"findings\":[",
                   v->report.findings == 0 ? "true" : "false", (unsigned long long)v->report.events,
                   (unsigned long long)v->report.streams);
    for (size_t i = 0; i < v->finding_count; i++) {
        buf_put_string(b, i == 0 ? "" : ",");
        buf_put_json_string(b, bytes_of_string(v->findings[i]));
    }
    buf_put_string(b, "]}");
}

static void verify_resumed(struct http_request *rq, void *ctx)
{
    struct verify *v = ctx;
    if (v->err == ERR_BUSY) {
        reply_problem_detail(rq, PROBLEM_OVERLOADED, NULL, "a verify is running already");
        return;
    }
    if (v->err != ERR_OK) {
        reply_error(rq, v->err, "verifying");
        return;
    }
    struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    if (v->encoding == ENCODING_PROTOBUF) {
        Daybook__V1__VerifyReport report = DAYBOOK__V1__VERIFY_REPORT__INIT;
        report.ok = v->report.findings == 0;
        report.events = v->report.events;
        report.streams = v->report.streams;
        report.n_findings = v->finding_count;
        report.findings = v->findings;
        put_message(&b, &report.base);
    } else {
        put_report_json(&b, v);
    }
    reply_body(rq, 200, v->encoding, store_position(v->app->store), &b);
}
