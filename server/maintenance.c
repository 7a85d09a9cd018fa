/* maintenance: --verify and --reindex. */
#include "server/maintenance.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_US  ((int64_t)200000)
#define FINDINGS_MAX 1000

struct progress {
    const char *doing;
    bool shown;
    int64_t started_us, last_us;
    uint64_t findings;
};

static bool show_progress(void *ctx, uint64_t done, uint64_t total);
static void print_finding(void *ctx, const char *text);
static struct progress progress_start(const char *doing);
static double progress_end(struct progress *p);
static int open_failed(const struct store_options *options, err_t err, const struct err_text *et);

/* A mistyped directory must not become a new, empty store, nor get a lock file. */
static bool has_store(const struct store_options *options)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/store/data.mdb", options->dir);
    if (n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0) {
        return true;
    }
    fprintf(stderr, "daybookd: there is no Daybook store in %s\n", options->dir);
    return false;
}

int maintenance_verify(const struct store_options *options)
{
    if (!has_store(options)) {
        return MAINTENANCE_ERROR;
    }
    struct store *store;
    struct err_text et = {0};
    struct store_options read_only = *options;
    read_only.read_only = true;
    err_t err = store_open(&read_only, &store, &et);
    if (err != ERR_OK) {
        return open_failed(options, err, &et);
    }
    struct progress p = progress_start("verified");
    struct store_verify_options verify = {show_progress, print_finding, &p};
    struct store_verify_report report = {0};
    err = store_verify(store, &verify, &report);
    double seconds = progress_end(&p);
    store_close(store);
    if (err != ERR_OK) {
        fprintf(stderr, "daybookd: cannot verify %s: %s\n", options->dir, err_describe(err));
        return MAINTENANCE_ERROR;
    }
    printf("verify: %s: %llu events in %llu streams, %llu findings, %.1f s\n",
           report.findings == 0 ? "ok" : "DAMAGED", (unsigned long long)report.events,
           (unsigned long long)report.streams, (unsigned long long)report.findings, seconds);
    return report.findings == 0 ? MAINTENANCE_OK : MAINTENANCE_FINDINGS;
}

int maintenance_reindex(const struct store_options *options)
{
    if (!has_store(options)) {
        return MAINTENANCE_ERROR;
    }
    struct store *store;
    struct err_text et = {0};
    err_t err = store_open(options, &store, &et);
    if (err != ERR_OK) {
        return open_failed(options, err, &et);
    }
    struct progress p = progress_start("indexed");
    err = store_reindex(store, show_progress, &p);
    double seconds = progress_end(&p);
    uint64_t events = store_position(store);
    store_close(store);
    if (err != ERR_OK) {
        fprintf(stderr,
                "daybookd: cannot reindex %s: %s; what is missing is built at the next start\n",
                options->dir, err_describe(err));
        return MAINTENANCE_ERROR;
    }
    printf("reindex: ok: %llu events, %.1f s\n", (unsigned long long)events, seconds);
    return MAINTENANCE_OK;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct progress progress_start(const char *doing)
{
    int64_t now = now_us();
    return (struct progress){.doing = doing, .started_us = now, .last_us = now};
}

/* Seconds since the start; leaves a clean line behind. */
static double progress_end(struct progress *p)
{
    if (p->shown) {
        fputs("\r\033[K", stderr);
    }
    return (double)(now_us() - p->started_us) / 1e6;
}

static bool show_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *p = ctx;
    int64_t now = now_us();
    if (!isatty(STDERR_FILENO) || now - p->last_us < PROGRESS_US || done == 0) {
        return true;
    }
    p->last_us = now;
    p->shown = true;
    double rate = (double)done * 1e6 / (double)(now - p->started_us);
    double left = total > done ? (double)(total - done) / rate : 0;
    fprintf(stderr, "\r%s %llu of %llu events (%d %%), %.0f a second, %.0f s left\033[K", p->doing,
            (unsigned long long)done, (unsigned long long)total,
            total == 0 ? 100 : (int)(done * 100 / total), rate, left);
    return true;
}

static void print_finding(void *ctx, const char *text)
{
    struct progress *p = ctx;
    if (++p->findings <= FINDINGS_MAX) {
        printf("finding: %s\n", text);
    }
    if (p->findings == FINDINGS_MAX) {
        puts("finding: more are only counted");
    }
}

static int open_failed(const struct store_options *options, err_t err, const struct err_text *et)
{
    if (et->text[0] != '\0') {
        fprintf(stderr, "daybookd: %s\n", et->text);
    } else {
        fprintf(stderr, "daybookd: cannot open %s: %s\n", options->dir, err_describe(err));
    }
    return err == ERR_CORRUPT ? MAINTENANCE_FINDINGS : MAINTENANCE_ERROR;
}
