/* read: prints events, for people or as NDJSON. */
#include "connect.h"
#include "event_json.h"
#include "event_text.h"

#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES_MAX ((size_t)1 << 30)

static int print_events(struct daybook *db, struct daybook_events *events, const char *what,
                        bool json)
{
    static const struct event_text_style style = {.position = true};
    struct daybook_buffer line;
    const struct daybook_event *event = NULL;
    enum daybook_result result;
    daybook_buffer_init(&line, LINE_BYTES_MAX);
    while ((result = daybook_events_next(events, &event)) == DAYBOOK_OK) {
        line.n = 0;
        if (!(json ? event_json_add(&line, event) : event_text_add(&line, event, &style))) {
            cli_error("not enough memory");
            break;
        }
        if (fwrite(line.p, 1, line.n, stdout) != line.n) {
            break; /* main says that stdout is broken */
        }
    }
    daybook_buffer_done(&line);
    if (result == DAYBOOK_END) {
        return CLI_OK;
    }
    return result == DAYBOOK_OK ? CLI_FAILED : cli_fail(db, what);
}

static int read_events(const struct cli_globals *globals,
                       const struct daybook_read_options *options, bool json)
{
    struct daybook_events *events = NULL;
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    const char *what = options->stream != NULL ? options->stream : "read";
    int result = daybook_read(db, options, &events) == DAYBOOK_OK
                     ? print_events(db, events, what, json)
                     : cli_fail(db, what);
    daybook_events_free(events);
    daybook_close(db);
    return result;
}

int cli_read(int argc, char **argv, const struct cli_globals *globals)
{
    struct cli_filters filters = {0};
    bool json = false;
    bool pretty = false;
    const struct cli_option options[] = {
        CLI_FILTER_OPTIONS(filters),
        {"json", CLI_FLAG, &json, NULL, "NDJSON; the default where the output is no terminal"},
        {"pretty", CLI_FLAG, &pretty, NULL, "one line for people; the default on a terminal"},
    };
    const struct cli_usage usage = {
        .synopsis = "read [STREAM] [options]",
        .about = "Prints the events of a stream, or of the whole log.\n"
                 "A line for people: position, time, stream@revision, type, data.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_read_options read_options;
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result == CLI_GO_ON) {
        result = cli_read_options(&filters, arguments[0], &read_options);
    }
    if (result != CLI_GO_ON) {
        return result;
    }
    return read_events(globals, &read_options, json || (!pretty && !isatty(STDOUT_FILENO)));
}
