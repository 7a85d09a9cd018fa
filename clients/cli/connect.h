/* connect: what commands that talk with the server share: a handle, its problems as error lines,
 * and the options that say what to read.
 *
 * One thread. */
#ifndef DAYBOOK_CLI_CONNECT_H
#define DAYBOOK_CLI_CONNECT_H

#include "cli.h"
#include "clients/c/daybook.h"

#define CLI_RETRY_MS 1000 /* for commands that a person waits for */

/* A handle for the server that the globals name; the caller closes it. NULL after it has printed
 * what is wrong. `options` may be NULL: retries for CLI_RETRY_MS. */
struct daybook *cli_connect(const struct cli_globals *globals,
                            const struct daybook_options *options);

/* Prints the handle's last problem after "<what>: ", and its hint. Returns CLI_FAILED. */
int cli_fail(const struct daybook *db, const char *what);
/* The same where `what` names the one event of the request: its field is then said as one of the
 * event, not of the request. */
int cli_fail_event(const struct daybook *db, const char *what);

/* What --expect asks of a stream; NULL is any. CLI_GO_ON, or CLI_USAGE after it has printed what is
 * wrong. */
int cli_parse_expect(const char *text, struct daybook_expect *ret);

/* Events that `read` and `export` are about, as given on the command line. {0} is everything. */
struct cli_filters {
    uint64_t after, before, limit;
    bool backward;
    const char *since, *until; /* NULL: not given; the server says what is no time */
    struct cli_list types, categories, prefixes, tags;
};

/* Rows of an option table for a struct cli_filters. */
#define CLI_FILTER_OPTIONS(f)                                                                     \
    {"after", CLI_NUMBER, &(f).after, "N", "only events after this position (stream: revision)"}, \
        {"before", CLI_NUMBER, &(f).before, "N", "only events before it; with --backward"},       \
        {"backward", CLI_FLAG, &(f).backward, NULL, "the newest first"},                          \
        {"limit", CLI_NUMBER, &(f).limit, "N", "at most so many events"},                         \
        {"since", CLI_TEXT, &(f).since, "TIME", "only events from this time on (RFC 3339)"},      \
        {"until", CLI_TEXT, &(f).until, "TIME", "only events before this time"},                  \
        {"type", CLI_LIST, &(f).types, "T", "only events of this type"},                          \
        {"category", CLI_LIST, &(f).categories, "C", "only streams of this category"},            \
        {"prefix", CLI_LIST, &(f).prefixes, "P", "only streams whose names start so"},            \
    {                                                                                             \
        "tag", CLI_LIST, &(f).tags, "T", "only events with this tag"                              \
    }

/* The filters as options of a read of `stream` (NULL: the log); borrows both. CLI_GO_ON, or
 * CLI_USAGE after it has printed what does not go together. */
int cli_read_options(const struct cli_filters *filters, const char *stream,
                     struct daybook_read_options *ret);

#endif
