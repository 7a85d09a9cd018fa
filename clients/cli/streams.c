/* streams: lists streams, page by page. */
#include "connect.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE        1000
#define LINE_BYTES  8192
#define AFTER_BYTES 1024

static bool print_stream(const struct daybook_stream_summary *s, bool json)
{
    struct daybook_buffer line;
    daybook_buffer_init(&line, LINE_BYTES);
    bool ok;
    if (json) {
        ok = daybook_buffer_add_text(&line, "{\"stream\":") && text_add_json(&line, s->stream) &&
             daybook_buffer_add_text(&line, ",\"category\":") &&
             text_add_json(&line, s->category) &&
             daybook_buffer_add_text(&line, ",\"head_revision\":") &&
             daybook_buffer_add_number(&line, s->head_revision) &&
             daybook_buffer_add_text(&line, "}\n");
    } else {
        char head[32];
        (void)snprintf(head, sizeof head, "%10" PRIu64 "  ", s->head_revision);
        ok = daybook_buffer_add_text(&line, head) &&
             text_add_safe(&line, s->stream, strlen(s->stream)) &&
             daybook_buffer_add_byte(&line, '\n');
    }
    ok = ok && fwrite(line.p, 1, line.n, stdout) == line.n;
    daybook_buffer_done(&line);
    return ok;
}

static int print_streams(struct daybook *db, const struct daybook_list_options *options,
                         uint64_t limit, bool json)
{
    struct daybook_list_options page = *options;
    struct daybook_stream_list list = {.end = false};
    char after[AFTER_BYTES];
    for (uint64_t printed = 0; !list.end && (limit == 0 || printed < limit);) {
        uint64_t left = limit == 0 ? PAGE : limit - printed;
        page.limit = left < PAGE ? left : PAGE;
        if (daybook_list_streams(db, &page, &list) != DAYBOOK_OK) {
            return cli_fail(db, "streams");
        }
        for (size_t i = 0; i < list.streams_n; i++, printed++) {
            if (!print_stream(&list.streams[i], json)) {
                return CLI_FAILED; /* main says that stdout is broken */
            }
        }
        if (list.streams_n == 0) {
            break;
        }
        (void)snprintf(after, sizeof after, "%s", list.next);
        page.after = after;
    }
    return CLI_OK;
}

int cli_streams(int argc, char **argv, const struct cli_globals *globals)
{
    struct daybook_list_options list = {0};
    uint64_t limit = 0;
    bool json = false;
    const struct cli_option options[] = {
        {"prefix", CLI_TEXT, &list.prefix, "P", "only streams whose names start so"},
        {"category", CLI_TEXT, &list.category, "C", "only streams of this category"},
        {"after", CLI_TEXT, &list.after, "NAME", "only streams behind this one"},
        {"limit", CLI_NUMBER, &limit, "N", "at most so many"},
        {"json", CLI_FLAG, &json, NULL, "one JSON object a line"},
    };
    const struct cli_usage usage = {
        .synopsis = "streams [options]",
        .about = "Lists streams in the order of their names: head revision and name.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    result = print_streams(db, &list, limit, json);
    daybook_close(db);
    return result;
}
