/* import: the events of an NDJSON file, in its order, over all streams; running it again adds
 * none. */
#include "connect.h"
#include "import_ids.h"
#include "import_input.h"
#include "import_send.h"
#include "interrupt.h"
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BATCH_EVENTS     1000
#define BATCH_EVENTS_MAX 10000 /* the server's limit, as it is by default */
#define RETRY_S          30

struct import {
    const char *path;
    uint64_t batch_events, retry_s;
    bool dry_run, quiet;
    bool said_waiting;
    struct import_input *in;
    struct import_ids *ids;
    struct daybook *db; /* NULL in a dry run */
    struct import_sender *sender;
    struct progress progress;
};

static int run(struct import *im, const struct cli_globals *globals);
static bool connect_to(struct import *im, const struct cli_globals *globals);
static int import_lines(struct import *im);
static int import_line(struct import *im, const char *line, size_t n);
static int bad_line(struct import *im, uint64_t line, const char *why);
static int not_sent(struct import *im);
static int interrupted(struct import *im);
static void print_summary(const struct import *im);

int cli_import(int argc, char **argv, const struct cli_globals *globals)
{
    struct import im = {.batch_events = BATCH_EVENTS, .retry_s = RETRY_S};
    const struct cli_option options[] = {
        {"batch-events", CLI_NUMBER, &im.batch_events, "N", "events a request: 1000"},
        {"retry-s", CLI_NUMBER, &im.retry_s, "S", "how long to wait for the server: 30"},
        {"dry-run", CLI_FLAG, &im.dry_run, NULL, "check every line and send nothing"},
        {"quiet", CLI_FLAG, &im.quiet, NULL, "print nothing but errors"},
    };
    const struct cli_usage usage = {
        .synopsis = "import FILE|- [options]",
        .about = "Appends the events of a file, plain or gzip, in its order: one JSON object a "
                 "line with\n"
                 "stream, type, data or data_base64, and perhaps id, time (kept as occurred_at),\n"
                 "occurred_at, metadata, tags, content_type, schema_version. Data is kept byte for "
                 "byte.\n"
                 "Lines without an id get one made from what they say, so that importing the file "
                 "again\n"
                 "adds none. At a bad line it stops; what is before that line is in the store. "
                 "Ctrl-C\n"
                 "ends it behind the request under way and says what was done.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    if (im.batch_events < 1 || im.batch_events > BATCH_EVENTS_MAX) {
        cli_error("--batch-events must be between 1 and %d", BATCH_EVENTS_MAX);
        return CLI_USAGE;
    }
    im.path = arguments[0];
    result = run(&im, globals);
    import_sender_free(im.sender);
    daybook_close(im.db);
    import_ids_free(im.ids);
    import_input_close(im.in);
    return result;
}

static int run(struct import *im, const struct cli_globals *globals)
{
    im->in = import_input_open(im->path);
    if (im->in == NULL) {
        cli_error("%s cannot be opened: %s", im->path, strerror(errno));
        return CLI_FAILED;
    }
    if (!im->dry_run && !connect_to(im, globals)) {
        return CLI_FAILED;
    }
    im->ids = import_ids_new();
    im->sender = import_sender_new(im->db, (size_t)im->batch_events);
    if (im->ids == NULL || im->sender == NULL) {
        cli_error("not enough memory");
        return CLI_FAILED;
    }
    progress_start(&im->progress, im->quiet);
    interrupt_watch(NULL);
    int result = import_lines(im);
    progress_clear(&im->progress);
    if (result == CLI_OK && !im->quiet) {
        print_summary(im);
    }
    return result;
}

/* Told by the library when it has to wait for the server. */
static void on_waiting(void *arg, const char *reason, uint64_t wait_ms)
{
    struct import *im = arg;
    (void)wait_ms;
    if (interrupt_came()) {
        daybook_interrupt(im->db); /* it waits for the server in vain */
        return;
    }
    if (!im->quiet && !im->said_waiting) {
        im->said_waiting = true;
        progress_clear(&im->progress);
        (void)fprintf(stderr, "waiting up to %" PRIu64 " s for the server: %s\n", im->retry_s,
                      reason);
    }
}

static bool connect_to(struct import *im, const struct cli_globals *globals)
{
    uint64_t retry_ms = im->retry_s < UINT32_MAX ? im->retry_s * 1000 : UINT32_MAX;
    const struct daybook_options options = {
        .retry_ms = retry_ms == 0 ? DAYBOOK_RETRY_NEVER : retry_ms,
        .user_agent = "daybook/" DAYBOOK_VERSION,
        .waiting = on_waiting,
        .waiting_arg = im,
    };
    im->db = cli_connect(globals, &options);
    return im->db != NULL;
}

static int import_lines(struct import *im)
{
    const char *line = NULL;
    size_t n = 0;
    enum import_next next = IMPORT_LINE;
    while (!interrupt_came() && (next = import_input_next(im->in, &line, &n)) == IMPORT_LINE) {
        int result = import_line(im, line, n);
        if (result != CLI_OK) {
            return result;
        }
        if (progress_is_due(&im->progress)) {
            struct import_totals totals = import_sender_totals(im->sender);
            progress_show(&im->progress, totals.appended + totals.duplicates,
                          import_input_done_bytes(im->in), import_input_all_bytes(im->in));
        }
    }
    if (interrupt_came()) {
        return interrupted(im);
    }
    if (next == IMPORT_FAILED) {
        return bad_line(im, import_input_line(im->in), import_input_error(im->in));
    }
    return import_sender_flush(im->sender) == DAYBOOK_OK ? CLI_OK : not_sent(im);
}

static int import_line(struct import *im, const char *line, size_t n)
{
    struct daybook_arena *arena = import_sender_arena(im->sender);
    char why[IMPORT_WHY_SIZE];
    struct import_event event;
    uint64_t number = import_input_line(im->in);
    if (!import_line_parse(arena, line, n, &event, why)) {
        return bad_line(im, number, why);
    }
    if (event.stream == NULL || event.stream[0] == '\0') {
        return bad_line(im, number, "stream is missing");
    }
    event.line = number;
    bool ok = import_ids_add_stream(im->ids, event.stream);
    if (ok && event.event.id == NULL) {
        uint8_t *id = daybook_arena_get(arena, 16);
        ok = id != NULL && import_ids_make(im->ids, &event, id);
        event.event.id = id;
    }
    if (!ok) {
        return bad_line(im, number, "not enough memory");
    }
    return import_sender_add(im->sender, &event) == DAYBOOK_OK ? CLI_OK : not_sent(im);
}

/* What is before the line is sent, so that the message says all there is to know. */
static int bad_line(struct import *im, uint64_t line, const char *why)
{
    if (import_sender_flush(im->sender) != DAYBOOK_OK) {
        return not_sent(im);
    }
    progress_clear(&im->progress);
    cli_error("line %" PRIu64 ": %s", line, why);
    if (!im->dry_run) {
        cli_hint("the lines before it are in the store; nothing from it on was sent");
    }
    return CLI_FAILED;
}

/* Whether the same import would end at the same line again. */
static bool stays(enum daybook_result result)
{
    return result == DAYBOOK_ERR_REJECTED || result == DAYBOOK_ERR_ID_REUSED ||
           result == DAYBOOK_ERR_PARTIAL_DUPLICATE || result == DAYBOOK_ERR_DELETED ||
           result == DAYBOOK_ERR_ARGUMENT;
}

static int not_sent(struct import *im)
{
    char what[64];
    if (daybook_problem(im->db)->result == DAYBOOK_ERR_INTERRUPTED) {
        return interrupted(im);
    }
    progress_clear(&im->progress);
    (void)snprintf(what, sizeof what, "line %" PRIu64, import_sender_line(im->sender));
    (void)cli_fail_event(im->db, what);
    if (stays(daybook_problem(im->db)->result)) {
        cli_hint("the lines before it are in the store; mend this line or take it out, then import "
                 "the file again: what is there is not added twice");
    } else {
        cli_hint("the lines before it are in the store; run the import again to go on, it adds "
                 "none twice");
    }
    return CLI_FAILED;
}

/* Nothing was half done: a request is appended wholly or not at all, and is waited for. */
static int interrupted(struct import *im)
{
    struct import_totals totals = import_sender_totals(im->sender);
    uint64_t line = import_sender_line(im->sender);
    if (line == 0) {
        line = import_input_line(im->in) + 1;
    }
    progress_clear(&im->progress);
    if (im->dry_run) {
        cli_error("interrupted at line %" PRIu64 "; nothing was sent", line);
        return interrupt_exit();
    }
    cli_error("interrupted at line %" PRIu64 ": %" PRIu64 " events appended, %" PRIu64
              " duplicates so far",
              line, totals.appended, totals.duplicates);
    cli_hint("the lines before it are in the store; run the import again to go on, it adds none "
             "twice");
    return interrupt_exit();
}

static void print_summary(const struct import *im)
{
    struct import_totals totals = import_sender_totals(im->sender);
    double seconds = progress_seconds(&im->progress);
    if (im->dry_run) {
        (void)printf("%" PRIu64 " events in %" PRIu64 " streams; nothing was sent\n",
                     totals.appended, import_ids_streams(im->ids));
        return;
    }
    (void)printf("%" PRIu64 " events appended, %" PRIu64 " duplicates, %" PRIu64
                 " streams, %.2f s, %.0f events/s\n",
                 totals.appended, totals.duplicates, import_ids_streams(im->ids), seconds,
                 seconds > 0 ? (double)(totals.appended + totals.duplicates) / seconds : 0);
}
