/* read: prints events, for people or as NDJSON. */
#include "connect.h"
#include "event_json.h"
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX ((size_t)1 << 30)
#define DATA_SHOWN_MAX 1000 /* bytes of an event's data on a line for people */

static bool add_pretty(struct daybook_buffer *line, const struct daybook_event *e);
static bool add_pretty_data(struct daybook_buffer *line, const struct daybook_event *e);

static int print_events(struct daybook *db, struct daybook_events *events, const char *what,
                        bool json)
{
    struct daybook_buffer line;
    const struct daybook_event *event = NULL;
    enum daybook_result result;
    daybook_buffer_init(&line, LINE_BYTES_MAX);
    while ((result = daybook_events_next(events, &event)) == DAYBOOK_OK) {
        line.n = 0;
        if (!(json ? event_json_add(&line, event) : add_pretty(&line, event))) {
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

/* "42  2026-01-01T00:00:00.000000Z  order-7@3  ItemAdded  {"sku":"a"}" */
static bool add_pretty(struct daybook_buffer *line, const struct daybook_event *e)
{
    char numbers[TEXT_TIME_SIZE + 32];
    char time[TEXT_TIME_SIZE];
    text_time(e->time_us, time);
    (void)snprintf(numbers, sizeof numbers, "%8llu  %s  ", (unsigned long long)e->position, time);
    return daybook_buffer_add_text(line, numbers) &&
           text_add_safe(line, e->stream, strlen(e->stream)) &&
           daybook_buffer_add_byte(line, '@') && daybook_buffer_add_number(line, e->revision) &&
           daybook_buffer_add_text(line, "  ") && text_add_safe(line, e->type, strlen(e->type)) &&
           daybook_buffer_add_text(line, "  ") && add_pretty_data(line, e) &&
           daybook_buffer_add_byte(line, '\n');
}

static bool add_pretty_data(struct daybook_buffer *line, const struct daybook_event *e)
{
    if (!text_media_is_json(e->content_type) && strncmp(e->content_type, "text/", 5) != 0) {
        return daybook_buffer_add_byte(line, '<') && daybook_buffer_add_number(line, e->data.n) &&
               daybook_buffer_add_text(line, " bytes of ") &&
               text_add_safe(line, e->content_type, strlen(e->content_type)) &&
               daybook_buffer_add_byte(line, '>');
    }
    size_t shown = e->data.n;
    const uint8_t *p = e->data.p;
    if (shown > DATA_SHOWN_MAX) {
        /* Not in the middle of a character. */
        for (shown = DATA_SHOWN_MAX; shown > 0 && (p[shown] & 0xc0) == 0x80; shown--) {
        }
    }
    if (!text_add_safe(line, p, shown) || shown == e->data.n) {
        return shown == e->data.n;
    }
    return daybook_buffer_add_text(line, " ... (") &&
           daybook_buffer_add_number(line, e->data.n - shown) &&
           daybook_buffer_add_text(line, " bytes more)");
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
