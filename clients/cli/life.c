/* life: delete, truncate, redact: each one call, and a line that says what is so now. */
#include "connect.h"
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 16384

#define EXPECT_HELP "any (default), stream_exists, or the head revision"

static int finish(const struct daybook *db, enum daybook_result result, const char *what);
static void print_json(const struct daybook_changed *c);
static void say(const char *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));

int cli_delete(int argc, char **argv, const struct cli_globals *globals)
{
    const char *expect_text = NULL;
    bool tombstone = false;
    bool json = false;
    const struct cli_option options[] = {
        {"tombstone", CLI_FLAG, &tombstone, NULL, "for ever: nothing can be appended any more"},
        {"expect", CLI_TEXT, &expect_text, "E", EXPECT_HELP},
        {"json", CLI_FLAG, &json, NULL, "print the result as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "delete STREAM [--tombstone] [--expect E]",
        .about = "Hides all events of a stream from every read, at once; their space is freed in\n"
                 "the background. An append goes on with the next revision. It does not ask.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_expect expect;
    struct daybook_changed c;
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? cli_parse_expect(expect_text, &expect) : exit;
    if (exit != CLI_GO_ON) {
        return exit;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    enum daybook_result result = daybook_delete_stream(db, arguments[0], expect, tombstone, &c);
    if (result == DAYBOOK_OK && json) {
        print_json(&c);
    } else if (result == DAYBOOK_OK && c.tombstoned) {
        say(c.stream, "deleted for ever%s", c.duplicate ? " (it was already)" : "");
    } else if (result == DAYBOOK_OK) {
        say(c.stream, "deleted%s; an append goes on with revision %" PRIu64,
            c.duplicate ? " (it was already)" : "", c.head_revision + 1);
    }
    exit = finish(db, result, "delete");
    daybook_close(db);
    return exit;
}

int cli_truncate(int argc, char **argv, const struct cli_globals *globals)
{
    const char *expect_text = NULL;
    bool json = false;
    struct daybook_metadata_change change = {.set_truncate_before = true};
    const struct cli_option options[] = {
        {"before", CLI_NUMBER, &change.truncate_before, "REV", "the first revision to keep"},
        {"expect", CLI_TEXT, &expect_text, "E", EXPECT_HELP},
        {"json", CLI_FLAG, &json, NULL, "print the result as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "truncate STREAM --before REV [--expect E]",
        .about = "Hides the events of a stream before a revision from every read, at once and for\n"
                 "ever; their space is freed in the background. It does not ask.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_expect expect;
    struct daybook_changed c;
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? cli_parse_expect(expect_text, &expect) : exit;
    if (exit == CLI_GO_ON && change.truncate_before == 0) {
        cli_error("--before is missing: the first revision to keep, from 1");
        return CLI_USAGE;
    }
    if (exit != CLI_GO_ON) {
        return exit;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    enum daybook_result result = daybook_set_metadata(db, arguments[0], expect, &change, &c);
    if (result == DAYBOOK_OK && json) {
        print_json(&c);
    } else if (result == DAYBOOK_OK && c.first_revision > c.head_revision) {
        say(c.stream, "no event can be read now; an append goes on with revision %" PRIu64,
            c.head_revision + 1);
    } else if (result == DAYBOOK_OK) {
        say(c.stream, "its first revision is %" PRIu64 " now", c.first_revision);
    }
    exit = finish(db, result, "truncate");
    daybook_close(db);
    return exit;
}

int cli_redact(int argc, char **argv, const struct cli_globals *globals)
{
    const char *reason = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"reason", CLI_TEXT, &reason, "TEXT", "kept with the record of it, at most 1,000 bytes"},
        {"json", CLI_FLAG, &json, NULL, "print the result as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "redact STREAM REV [--reason TEXT]",
        .about = "Wipes the data and metadata of one event for good; its id, type, times and tags\n"
                 "stay, and an event of the system records it. It does not ask.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[2];
    uint64_t revision = 0;
    struct daybook_changed c;
    int exit = cli_parse(argc, argv, &usage, arguments);
    if (exit != CLI_GO_ON) {
        return exit;
    }
    if (!cli_parse_number(arguments[1], &revision) || revision == 0) {
        cli_error("the revision must be a whole number from 1, not %s", arguments[1]);
        return CLI_USAGE;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    enum daybook_result result = daybook_redact(db, arguments[0], revision, reason, &c);
    if (result == DAYBOOK_OK && json) {
        print_json(&c);
    } else if (result == DAYBOOK_OK) {
        say(c.stream, "the event at revision %" PRIu64 " is redacted%s", revision,
            c.duplicate ? " (it was already)" : "");
    }
    exit = finish(db, result, "redact");
    daybook_close(db);
    return exit;
}

static int finish(const struct daybook *db, enum daybook_result result, const char *what)
{
    return result == DAYBOOK_OK ? CLI_OK : cli_fail(db, what);
}

/* "order-1: <text>" */
static void say(const char *stream, const char *format, ...)
{
    struct daybook_buffer line;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    daybook_buffer_init(&line, LINE_BYTES);
    if (text_add_safe(&line, stream, strlen(stream))) {
        (void)printf("%.*s: %s\n", (int)line.n, (const char *)line.p, text);
    }
    daybook_buffer_done(&line);
}

static void print_json(const struct daybook_changed *c)
{
    struct daybook_buffer name;
    daybook_buffer_init(&name, LINE_BYTES);
    if (text_add_json(&name, c->stream)) {
        (void)printf("{\"stream\":%.*s,\"position\":%" PRIu64 ",\"head_revision\":%" PRIu64
                     ",\"first_revision\":%" PRIu64
                     ",\"deleted\":%s,\"tombstoned\":%s,\"duplicate\":%s}\n",
                     (int)name.n, (const char *)name.p, c->position, c->head_revision,
                     c->first_revision, c->deleted ? "true" : "false",
                     c->tombstoned ? "true" : "false", c->duplicate ? "true" : "false");
    }
    daybook_buffer_done(&name);
}
