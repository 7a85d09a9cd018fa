/* export: events as NDJSON that import takes back. A file is written under another name and renamed
 * when it is whole, so that an export that was cut short is never taken for one. */
#include "connect.h"
#include "event_json.h"
#include "interrupt.h"
#include "progress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define LINE_BYTES_MAX ((size_t)1 << 30)
#define GZIP_BUFFER    (256u << 10)

struct export
{
    const char *path;    /* NULL: standard output */
    char part[PATH_MAX]; /* what is written; "" where that is path itself */
    bool gzip, quiet;
    gzFile file;
    struct progress progress;
    uint64_t events;
};

static int run(struct export *ex, const struct cli_globals *globals,
               const struct daybook_read_options *options);
static int interrupted(const struct export *ex);
static bool open_output(struct export *ex);
static bool close_output(struct export *ex, bool whole);
static bool write_events(struct export *ex, struct daybook *db, struct daybook_events *events,
                         uint64_t head);

int cli_export(int argc, char **argv, const struct cli_globals *globals)
{
    struct export ex = {.events = 0};
    struct cli_filters filters = {0};
    const char *stream = NULL;
    const struct cli_option options[] = {
        {"gzip", CLI_FLAG, &ex.gzip, NULL, "compress"},
        {"stream", CLI_TEXT, &stream, "S", "only this stream"},
        CLI_FILTER_OPTIONS(filters),
        {"quiet", CLI_FLAG, &ex.quiet, NULL, "print nothing but errors"},
    };
    const struct cli_usage usage = {
        .synopsis = "export [FILE|-] [options]",
        .about =
            "Writes events as lines that `daybook import` takes: stream, type, time, data, id\n"
            "and what else there is. time is the event's occurred_at or, where it has none,\n"
            "the time of the server.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_read_options read_options;
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result == CLI_GO_ON) {
        result = cli_read_options(&filters, stream, &read_options);
    }
    if (result != CLI_GO_ON) {
        return result;
    }
    ex.path = arguments[0] != NULL && strcmp(arguments[0], "-") != 0 ? arguments[0] : NULL;
    return run(&ex, globals, &read_options);
}

static int run(struct export *ex, const struct cli_globals *globals,
               const struct daybook_read_options *options)
{
    struct daybook_status status;
    struct daybook_events *events = NULL;
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    bool ok = daybook_get_status(db, &status) == DAYBOOK_OK &&
              daybook_read(db, options, &events) == DAYBOOK_OK;
    if (!ok) {
        (void)cli_fail(db, "export");
    } else if ((ok = open_output(ex))) {
        progress_start(&ex->progress, ex->quiet);
        interrupt_watch(db);
        ok = write_events(ex, db, events, status.position);
        ok = close_output(ex, ok);
        interrupt_forget();
        progress_clear(&ex->progress);
    }
    daybook_events_free(events);
    daybook_close(db);
    if (!ok && interrupt_came()) {
        return interrupted(ex);
    }
    if (ok && !ex->quiet) {
        (void)fprintf(stderr, "%" PRIu64 " events exported, %.2f s\n", ex->events,
                      progress_seconds(&ex->progress));
    }
    return ok ? CLI_OK : CLI_FAILED;
}

static int interrupted(const struct export *ex)
{
    cli_error("interrupted after %" PRIu64 " events; %s", ex->events,
              ex->part[0] != '\0' ? "no file was written" : "the output is cut short");
    return interrupt_exit();
}

/* ---- the output ---- */

static bool output_error(const struct export *ex, const char *why)
{
    cli_error("%s cannot be written: %s", ex->path == NULL ? "standard output" : ex->path, why);
    return false;
}

/* Where FILE is something else than a file, such as a device, it is written directly. */
static bool open_output(struct export *ex)
{
    struct stat st;
    int fd;
    if (ex->path == NULL) {
        fd = dup(STDOUT_FILENO);
    } else if (stat(ex->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        fd = open(ex->path, O_WRONLY | O_CLOEXEC);
    } else {
        int n = snprintf(ex->part, sizeof ex->part, "%s.part", ex->path);
        if (n < 0 || (size_t)n >= sizeof ex->part) {
            ex->part[0] = '\0';
            return output_error(ex, "its name is too long");
        }
        fd = open(ex->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (fd < 0) {
        return output_error(ex, strerror(errno));
    }
    /* "T" writes as it is, without compressing. */
    ex->file = gzdopen(fd, ex->gzip ? "wb6" : "wbT");
    if (ex->file == NULL) {
        (void)close(fd);
        return output_error(ex, "not enough memory");
    }
    (void)gzbuffer(ex->file, GZIP_BUFFER);
    return true;
}

/* Gives the file its name when it is whole, removes it when it is not. */
static bool close_output(struct export *ex, bool whole)
{
    bool ok = gzclose_w(ex->file) == Z_OK;
    if (whole && !ok) {
        (void)output_error(ex, errno != 0 ? strerror(errno) : "out of space");
    }
    ok = ok && whole;
    if (ex->part[0] == '\0') {
        return ok;
    }
    if (ok && rename(ex->part, ex->path) != 0) {
        ok = output_error(ex, strerror(errno));
    }
    if (!ok) {
        (void)unlink(ex->part);
    }
    return ok;
}

static bool write_line(struct export *ex, const struct daybook_buffer *line)
{
    int code = Z_OK;
    if (gzfwrite(line->p, 1, line->n, ex->file) == line->n) {
        return true;
    }
    const char *text = gzerror(ex->file, &code);
    return output_error(ex, code == Z_ERRNO ? strerror(errno) : text);
}

static bool write_events(struct export *ex, struct daybook *db, struct daybook_events *events,
                         uint64_t head)
{
    struct daybook_buffer line;
    const struct daybook_event *event = NULL;
    enum daybook_result result;
    bool ok = true;
    daybook_buffer_init(&line, LINE_BYTES_MAX);
    while (ok && (result = daybook_events_next(events, &event)) != DAYBOOK_END) {
        line.n = 0;
        if (interrupt_came()) {
            ok = false;
        } else if (result != DAYBOOK_OK) {
            (void)cli_fail(db, "export");
            ok = false;
        } else if (!event_json_add_export(&line, event)) {
            cli_error("not enough memory");
            ok = false;
        } else {
            ok = write_line(ex, &line);
            ex->events++;
            if (progress_is_due(&ex->progress)) {
                progress_show(&ex->progress, ex->events, event->position, head);
            }
        }
    }
    daybook_buffer_done(&line);
    return ok;
}
