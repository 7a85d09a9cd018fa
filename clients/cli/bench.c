/* bench: `daybook bench`, to Daybook what redis-benchmark is to Redis.
 *
 * The load generator is in bench_load, what it sends in bench_work and bench_request, how it reads
 * the answers in bench_answer, what it prints in bench_report. */
#include "bench_consume.h"
#include "bench_follow.h"
#include "bench_report.h"
#include "bench_request.h"
#include "cli.h"
#include "interrupt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SECONDS   5
#define SUITE_SECONDS     3
#define DEFAULT_WARMUP_MS 500
#define EVENTS_MAX        10000
#define UNSET             UINT64_MAX

/* As given; what was not is UNSET or NULL. */
struct given {
    const char *workload, *encoding, *expect, *path;
    uint64_t connections, batch, payload, streams, events, requests, seconds, warmup_ms, spin_us;
    uint64_t rate, followers;
    const char *feed, *from, *group;
    bool ids, condition, json, until_caught_up;
};

/* Defaults by workload. */
static const struct bench_config defaults[] = {
    [BENCH_APPEND] = {.connections = 64, .batch = 1, .streams = 10000, .exact = true},
    [BENCH_POST] = {.connections = 64, .batch = 1, .streams = 10000, .exact = true},
    [BENCH_READ_STREAM] = {.connections = 8, .batch = 1, .streams = 1000},
    [BENCH_READ_LOG] = {.connections = 1, .batch = 1, .streams = 1},
    [BENCH_TAGGED] = {.connections = 64, .batch = 1, .streams = 10000},
    [BENCH_FOLLOW] = {.connections = 1, .batch = 1, .streams = 10000},
    [BENCH_CONSUME] = {.connections = 8, .batch = 100, .streams = 1},
};

#define WORKLOADS (sizeof defaults / sizeof defaults[0])

/* What runs where no workload is given. */
static const struct bench_config suite[] = {
    {.workload = BENCH_APPEND, .connections = 1, .batch = 1, .streams = 10000, .exact = true},
    {.workload = BENCH_APPEND, .connections = 8, .batch = 1, .streams = 10000, .exact = true},
    {.workload = BENCH_APPEND, .connections = 64, .batch = 1, .streams = 10000, .exact = true},
    {.workload = BENCH_APPEND, .connections = 2, .batch = 1000, .streams = 10000, .protobuf = true},
    {.workload = BENCH_READ_STREAM, .connections = 8, .batch = 1, .streams = 1000},
    {.workload = BENCH_READ_STREAM,
     .connections = 8,
     .batch = 1,
     .streams = 1000,
     .protobuf = true},
    {.workload = BENCH_READ_LOG, .connections = 1, .batch = 1, .streams = 1},
    {.workload = BENCH_READ_LOG, .connections = 1, .batch = 1, .streams = 1, .protobuf = true},
};

#define SUITE (sizeof suite / sizeof suite[0])

static const char about[] =
    "Measures durable appends and reads over HTTP/1.1, with one request outstanding on each\n"
    "connection, all from one thread. It writes to the server: streams order-<n>, events of type\n"
    "OrderPlaced. Workloads:\n"
    "  append         events to streams chosen at random\n"
    "  append-tagged  events with two tags, one a request; with --condition: if nothing of their\n"
    "                 type and tags came after the stream's last answer\n"
    "  read-stream    whole streams chosen at random, appended first where they are missing\n"
    "  read-log       the whole log (NDJSON or protobuf)\n"
    "  follow         one append after the other, each until all followers of the log have its\n"
    "                 event (times are from the append's answer); with --connections 0 none:\n"
    "                 until each follower has --events, or for --seconds\n"
    "  consume        fetches of --batch events of --group, which must be there, each with an\n"
    "                 ack; until --events were acknowledged, or for --seconds\n"
    "  post           the requests of append to --path of any server: the limit of bare HTTP\n"
    "Without a workload a suite of them runs. Exits 1 when any request failed. Ctrl-C ends it\n"
    "with what was measured until then.\n";

static int parse(int argc, char **argv, struct given *given);
static bool configure(const struct given *given, struct bench_config *ret);
static bool check(const struct bench_config *config);
static bool run(const char *url, const struct bench_config *config, bool json, bool first);
static int ended(bool ok);

static uint64_t given_or(uint64_t given, uint64_t otherwise)
{
    return given == UNSET ? otherwise : given;
}

int cli_bench(int argc, char **argv, const struct cli_globals *globals)
{
    struct given given;
    struct bench_config config;
    int result = parse(argc, argv, &given);
    if (result != CLI_GO_ON) {
        return result;
    }
    interrupt_watch(NULL);
    if (given.workload != NULL) {
        if (!configure(&given, &config)) {
            return CLI_USAGE;
        }
        return ended(run(globals->url, &config, given.json, true));
    }
    bool ok = true;
    for (size_t i = 0; i < SUITE && ok && !interrupt_came(); i++) {
        config = suite[i];
        config.payload = given_or(given.payload, 256);
        config.events = 100;
        bool log = config.workload == BENCH_READ_LOG;
        config.seconds = log ? 0 : given_or(given.seconds, SUITE_SECONDS);
        config.requests = log ? 1 : 0;
        config.warmup_ms = log ? 0 : DEFAULT_WARMUP_MS;
        config.ids = given.ids;
        config.spin_us = given.spin_us;
        ok = check(&config) && run(globals->url, &config, given.json, i == 0);
    }
    return ended(ok);
}

static int ended(bool ok)
{
    if (interrupt_came()) {
        cli_error("interrupted; what is printed was measured until then");
        return interrupt_exit();
    }
    return ok ? CLI_OK : CLI_FAILED;
}

static int parse(int argc, char **argv, struct given *given)
{
    *given = (struct given){.connections = UNSET,
                            .batch = UNSET,
                            .payload = UNSET,
                            .streams = UNSET,
                            .events = UNSET,
                            .requests = UNSET,
                            .seconds = UNSET,
                            .warmup_ms = UNSET,
                            .followers = UNSET};
    const struct cli_option options[] = {
        {"connections", CLI_NUMBER, &given->connections, "N", "64; read-stream 8, read-log 1"},
        {"batch", CLI_NUMBER, &given->batch, "N", "events in a request (1)"},
        {"payload", CLI_NUMBER, &given->payload, "BYTES", "of JSON data in an event (256)"},
        {"streams", CLI_NUMBER, &given->streams, "N", "how many (10000; read-stream 1000)"},
        {"expect", CLI_TEXT, &given->expect, "exact|any", "expected_revision of an append (exact)"},
        {"encoding", CLI_TEXT, &given->encoding, "json|protobuf", "of requests and answers (json)"},
        {"ids", CLI_FLAG, &given->ids, NULL, "send an id with every event"},
        {"condition", CLI_FLAG, &given->condition, NULL, "of append-tagged: guard each by one"},
        {"events", CLI_NUMBER, &given->events, "N", "of a stream that is read (100)"},
        {"group", CLI_TEXT, &given->group, "NAME", "of consume (bench)"},
        {"path", CLI_TEXT, &given->path, "PATH", "of post (/)"},
        {"requests", CLI_NUMBER, &given->requests, "N", "stop after so many (read-log 1)"},
        {"seconds", CLI_NUMBER, &given->seconds, "N", "stop after so long (5)"},
        {"warmup-ms", CLI_NUMBER, &given->warmup_ms, "N", "not measured, before it (500)"},
        {"rate", CLI_NUMBER, &given->rate, "N", "appends begun a second, not more (no limit)"},
        {"followers", CLI_NUMBER, &given->followers, "N", "of follow (1)"},
        {"feed", CLI_TEXT, &given->feed, "ndjson|sse", "how they follow (sse)"},
        {"from", CLI_TEXT, &given->from, "start|end", "where they begin (end)"},
        {"until-caught-up", CLI_FLAG, &given->until_caught_up, NULL,
         "measure how followers catch up, and end"},
        {"spin-us", CLI_NUMBER, &given->spin_us, "N", "stay awake so long for an answer (0)"},
        {"json", CLI_FLAG, &given->json, NULL, "a line of JSON a workload instead of the table"},
    };
    const struct cli_usage usage = {
        .synopsis =
            "bench [append|append-tagged|read-stream|read-log|follow|consume|post] [options]",
        .about = about,
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_max = 1,
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    given->workload = arguments[0];
    return result;
}

/* Whether it is the first of the choices; NULL leaves the default. False: it is neither. */
static bool read_choice(const char *option, const char *text, const char *const choices[2],
                        bool *ret)
{
    if (text == NULL) {
        return true;
    }
    *ret = strcmp(text, choices[0]) == 0;
    if (!*ret && strcmp(text, choices[1]) != 0) {
        cli_error("--%s must be %s or %s, not %s", option, choices[0], choices[1], text);
        return false;
    }
    return true;
}

static bool configure(const struct given *given, struct bench_config *ret)
{
    size_t workload = 0;
    while (workload < WORKLOADS &&
           strcmp(given->workload, bench_workload_name((enum bench_workload)workload)) != 0) {
        workload++;
    }
    if (workload == WORKLOADS) {
        cli_error("unknown workload: %s", given->workload);
        cli_hint(
            "there are append, append-tagged, read-stream, read-log, follow, consume and post");
        return false;
    }
    bool log = workload == BENCH_READ_LOG;
    bool follow = workload == BENCH_FOLLOW || workload == BENCH_CONSUME;
    *ret = defaults[workload];
    ret->workload = (enum bench_workload)workload;
    ret->connections = given_or(given->connections, ret->connections);
    ret->batch = given_or(given->batch, ret->batch);
    ret->payload = given_or(given->payload, 256);
    ret->streams = given_or(given->streams, ret->streams);
    ret->events = given_or(given->events, follow ? 0 : 100);
    ret->rate = given->rate;
    ret->followers = given_or(given->followers, 1);
    ret->until_caught_up = given->until_caught_up;
    ret->requests = given_or(given->requests, log && given->seconds == UNSET ? 1 : 0);
    bool counted = ret->requests > 0 || (follow && ret->events > 0);
    ret->seconds = given_or(given->seconds, counted ? 0 : DEFAULT_SECONDS);
    ret->warmup_ms = given_or(given->warmup_ms, log ? 0 : DEFAULT_WARMUP_MS);
    ret->spin_us = given->spin_us;
    ret->path = given->path == NULL ? "/" : given->path;
    ret->group = given->group == NULL ? "bench" : given->group;
    ret->ids = given->ids;
    ret->condition = given->condition;
    static const char *const encodings[] = {"protobuf", "json"};
    static const char *const expectations[] = {"exact", "any"};
    static const char *const feeds[] = {"ndjson", "sse"};
    static const char *const beginnings[] = {"start", "end"};
    return read_choice("feed", given->feed, feeds, &ret->ndjson) &&
           read_choice("from", given->from, beginnings, &ret->from_start) &&
           read_choice("encoding", given->encoding, encodings, &ret->protobuf) &&
           read_choice("expect", given->expect, expectations, &ret->exact) && check(ret);
}

static bool in_range(const char *option, uint64_t value, uint64_t min, uint64_t max)
{
    if (value < min || value > max) {
        cli_error("--%s must be %" PRIu64 " to %" PRIu64 ", not %" PRIu64, option, min, max, value);
        return false;
    }
    return true;
}

static bool check(const struct bench_config *config)
{
    bool follow = config->workload == BENCH_FOLLOW;
    bool consume = config->workload == BENCH_CONSUME;
    if (!in_range("connections", config->connections, follow ? 0 : 1, BENCH_CONNECTIONS_MAX / 2) ||
        !in_range("followers", config->followers, follow ? 1 : 0, BENCH_CONNECTIONS_MAX / 2) ||
        !in_range("rate", config->rate, 0, 1000000) ||
        !in_range("batch", config->batch, 1, BENCH_BATCH_MAX) ||
        !in_range("payload", config->payload, BENCH_PAYLOAD_MIN, BENCH_PAYLOAD_MAX) ||
        !in_range("streams", config->streams, 1, BENCH_STREAMS_MAX) ||
        !in_range("events", config->events, follow || consume ? 0 : 1,
                  follow || consume ? UINT32_MAX : EVENTS_MAX) ||
        !in_range("seconds", config->seconds, 0, 86400) ||
        !in_range("warmup-ms", config->warmup_ms, 0, 3600000) ||
        !in_range("spin-us", config->spin_us, 0, 1000000)) {
        return false;
    }
    if (config->exact && config->streams < config->connections) {
        cli_error("--expect exact needs at least as many streams as connections");
        return false;
    }
    bool tagged = config->workload == BENCH_TAGGED;
    if (tagged && (config->batch > 1 || config->protobuf || config->exact || config->ids)) {
        cli_error("append-tagged takes no --batch, --encoding, --expect and --ids");
        return false;
    }
    if (config->condition && (!tagged || config->streams < config->connections)) {
        cli_error("--condition is for append-tagged, with at least as many streams as connections");
        return false;
    }
    if (config->workload == BENCH_POST && config->path[0] != '/') {
        cli_error("--path must begin with a '/'");
        return false;
    }
    return true;
}

static bool run(const char *url, const struct bench_config *config, bool json, bool first)
{
    struct bench_stats *stats = malloc(sizeof *stats);
    if (stats == NULL) {
        cli_error("no memory");
        return false;
    }
    bool ok = config->workload == BENCH_FOLLOW    ? bench_follow_run(url, config, stats)
              : config->workload == BENCH_CONSUME ? bench_consume_run(url, config, stats)
                                                  : bench_work_run(url, config, stats);
    if (ok && json) {
        bench_print_json(config, stats);
    } else if (ok) {
        if (first) {
            bench_print_header();
        }
        bench_print_row(config, stats);
    }
    if (ok && stats->failed > 0) {
        bench_print_failures(stats);
        ok = false;
    }
    free(stats);
    return ok;
}
