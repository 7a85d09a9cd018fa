/* bench_report: see the header. */
#include "bench_report.h"

#include "cli.h"

#include <inttypes.h>
#include <stdio.h>

#define STATUSES (sizeof((struct bench_stats *)0)->statuses / sizeof(uint64_t))

static const struct {
    const char *name;
    double fraction;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

#define QUANTILES (sizeof quantiles / sizeof quantiles[0])

const char *bench_workload_name(enum bench_workload workload)
{
    static const char *const names[] = {"append",        "post",   "read-stream", "read-log",
                                        "append-tagged", "follow", "consume"};
    return names[workload];
}

static double per_second(uint64_t n, const struct bench_stats *stats)
{
    return stats->seconds > 0 ? (double)n / stats->seconds : 0;
}

/* What went the way that matters: to the server for appends, from it for reads. */
static double megabytes(const struct bench_config *config, const struct bench_stats *stats)
{
    bool writes = config->workload == BENCH_APPEND || config->workload == BENCH_POST ||
                  config->workload == BENCH_TAGGED;
    return per_second(writes ? stats->bytes_sent : stats->bytes_received, stats) / 1e6;
}

static const char *encoding_name(const struct bench_config *config)
{
    if (config->workload == BENCH_FOLLOW) {
        return config->ndjson ? "ndjson" : "sse";
    }
    if (config->protobuf) {
        return "protobuf";
    }
    return config->workload == BENCH_READ_LOG ? "ndjson" : "json";
}

/* "append exact 64x1 json": what was done, over how many connections, how many events at a time. */
static void describe(const struct bench_config *config, char *ret, size_t size)
{
    const char *what = bench_workload_name(config->workload);
    const char *encoding = encoding_name(config);
    switch (config->workload) {
    case BENCH_APPEND:
        snprintf(ret, size, "%s %s %" PRIu64 "x%" PRIu64 " %s", what,
                 config->exact ? "exact" : "any", config->connections, config->batch, encoding);
        break;
    case BENCH_POST:
        snprintf(ret, size, "%s %" PRIu64 "x%" PRIu64 " %s", what, config->connections,
                 config->batch, encoding);
        break;
    case BENCH_TAGGED:
        snprintf(ret, size, "%s %s %" PRIu64 "x1 %s", what, config->condition ? "guarded" : "any",
                 config->connections, encoding);
        break;
    case BENCH_READ_STREAM:
        snprintf(ret, size, "%s %" PRIu64 "x%" PRIu64 " %s", what, config->connections,
                 config->events, encoding);
        break;
    case BENCH_READ_LOG:
        snprintf(ret, size, "%s %" PRIu64 " %s", what, config->connections, encoding);
        break;
    case BENCH_CONSUME:
        snprintf(ret, size, "%s %s %" PRIu64 "x%" PRIu64, what, config->group, config->connections,
                 config->batch);
        break;
    case BENCH_FOLLOW:
        snprintf(ret, size, "%s %" PRIu64 " (%" PRIu64 " append) %s", what, config->followers,
                 config->connections, encoding);
        break;
    }
}

void bench_print_header(void)
{
    printf("%-30s %11s %11s %8s", "", "requests/s", "events/s", "MB/s");
    for (size_t i = 0; i < QUANTILES; i++) {
        printf(" %8s", quantiles[i].name);
    }
    printf(" %8s %8s\n", "max ms", "failed");
}

void bench_print_row(const struct bench_config *config, const struct bench_stats *stats)
{
    char what[64];
    describe(config, what, sizeof what);
    printf("%-30s %11.*f %11.0f %8.1f", what, stats->requests < 1000 ? 2 : 0,
           per_second(stats->requests, stats), per_second(stats->events, stats),
           megabytes(config, stats));
    const struct bench_hist *hist =
        config->workload == BENCH_FOLLOW ? &stats->delivery : &stats->latency;
    for (size_t i = 0; i < QUANTILES; i++) {
        printf(" %8.3f", (double)bench_hist_quantile(hist, quantiles[i].fraction) / 1e6);
    }
    printf(" %8.3f %8" PRIu64 "\n", (double)hist->max / 1e6, stats->failed);
    fflush(stdout);
}

static void print_json_hist(const char *name, const struct bench_hist *hist)
{
    printf("\"%s\":{", name);
    for (size_t i = 0; i < QUANTILES; i++) {
        printf("\"%s\":%.1f,", quantiles[i].name,
               (double)bench_hist_quantile(hist, quantiles[i].fraction) / 1e3);
    }
    printf("\"max\":%.1f},", (double)hist->max / 1e3);
}

static void print_json_failures(const struct bench_stats *stats)
{
    const char *comma = "";
    printf("\"failures\":{");
    for (unsigned status = 0; status < STATUSES; status++) {
        if (stats->statuses[status] > 0) {
            printf("%s\"%u\":%" PRIu64, comma, status, stats->statuses[status]);
            comma = ",";
        }
    }
    if (stats->lost > 0) {
        printf("%s\"lost\":%" PRIu64, comma, stats->lost);
    }
    printf("}");
}

void bench_print_json(const struct bench_config *config, const struct bench_stats *stats)
{
    printf("{\"workload\":\"%s\",\"connections\":%" PRIu64 ",\"encoding\":\"%s\",\"batch\":%" PRIu64
           ",\"payload_bytes\":%" PRIu64 ",\"streams\":%" PRIu64
           ",\"expect\":\"%s\",\"seconds\":%.6f,\"requests\":%" PRIu64 ",\"events\":%" PRIu64
           ",\"bytes_sent\":%" PRIu64 ",\"bytes_received\":%" PRIu64
           ",\"requests_per_s\":%.3f,\"events_per_s\":%.1f,\"mb_per_s\":%.3f,",
           bench_workload_name(config->workload), config->connections, encoding_name(config),
           config->batch, config->payload, config->streams, config->exact ? "exact" : "any",
           stats->seconds, stats->requests, stats->events, stats->bytes_sent, stats->bytes_received,
           per_second(stats->requests, stats), per_second(stats->events, stats),
           megabytes(config, stats));
    print_json_hist("latency_us", &stats->latency);
    if (config->workload == BENCH_FOLLOW) {
        printf("\"followers\":%" PRIu64 ",", config->followers);
        print_json_hist("delivery_us", &stats->delivery);
    }
    printf("\"failed\":%" PRIu64 ",", stats->failed);
    print_json_failures(stats);
    printf("}\n");
    fflush(stdout);
}

void bench_print_failures(const struct bench_stats *stats)
{
    for (unsigned status = 0; status < STATUSES; status++) {
        if (stats->statuses[status] > 0) {
            cli_error("%" PRIu64 " requests were answered %u%s", stats->statuses[status], status,
                      status < 300 ? ", but not with what was to come" : "");
        }
    }
    if (stats->lost > 0) {
        cli_error("%" PRIu64 " connections ended without an answer", stats->lost);
    }
    if (stats->failure[0] != '\0') {
        cli_error("the first failed answer: %s", stats->failure);
    }
}
