/* append: one event from the options, or many from an NDJSON file, to one stream, all or
 * nothing. */
#include "clients/c/arena.h"
#include "connect.h"
#include "import_input.h"
#include "import_line.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA_BYTES_MAX ((size_t)256 << 20)
#define EVENTS_MAX     10000

struct append_options {
    const char *type, *data, *metadata, *id, *expect, *occurred_at, *content_type, *ndjson;
    struct cli_list tags;
    bool json;
};

/* The events to append. */
struct append_events {
    struct daybook_arena arena; /* what lines say */
    struct daybook_buffer data; /* what --data says */
    struct daybook_new_event *events;
    uint64_t *lines; /* of events[i] in the file; NULL where there is none */
    size_t n;
    uint8_t id[16];
};

static int check_options(const struct append_options *o, struct daybook_expect *ret_expect);
static int append_all(const struct cli_globals *globals, const char *stream,
                      struct append_options *o, struct daybook_expect expect);
static int event_of_options(const struct append_options *o, struct append_events *ret);
static int events_of_file(const char *path, const char *stream, struct append_events *ret);
static int fail(const struct daybook *db, const struct append_events *all);
static void print_result(const struct daybook_appended *a, bool json);

int cli_append(int argc, char **argv, const struct cli_globals *globals)
{
    struct append_options o = {0};
    const struct cli_option options[] = {
        {"type", CLI_TEXT, &o.type, "T", "event type (required, but with --ndjson)"},
        {"data", CLI_TEXT, &o.data, "D", "JSON; @FILE: a file's bytes; -: standard input's"},
        {"metadata", CLI_TEXT, &o.metadata, "JSON", "a JSON object about the event"},
        {"tag", CLI_LIST, &o.tags, "T", "a label of the event"},
        {"id", CLI_TEXT, &o.id, "UUID", "makes a repetition harmless; else a new one"},
        {"expect", CLI_TEXT, &o.expect, "E",
         "any (default), no_stream, stream_exists, or the head revision"},
        {"occurred-at", CLI_TEXT, &o.occurred_at, "T", "your own time, RFC 3339"},
        {"content-type", CLI_TEXT, &o.content_type, "M", "of the data; else application/json"},
        {"ndjson", CLI_TEXT, &o.ndjson, "FILE", "events from lines as import takes them; -: stdin"},
        {"json", CLI_FLAG, &o.json, NULL, "print the result as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "append STREAM --type T [options] | append STREAM --ndjson FILE",
        .about = "Appends an event, or with --ndjson up to 10,000 at once, all or nothing.\n"
                 "When it returns they are on disk.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_expect expect = {.kind = DAYBOOK_ANY};
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result == CLI_GO_ON) {
        result = check_options(&o, &expect);
    }
    return result == CLI_GO_ON ? append_all(globals, arguments[0], &o, expect) : result;
}

static int check_options(const struct append_options *o, struct daybook_expect *ret_expect)
{
    bool has_event = o->type != NULL || o->data != NULL || o->metadata != NULL || o->id != NULL ||
                     o->occurred_at != NULL || o->content_type != NULL || o->tags.n > 0;
    if (o->ndjson != NULL && has_event) {
        cli_error("with --ndjson the lines say what the events are: only --expect goes with it");
        return CLI_USAGE;
    }
    if (o->ndjson == NULL && o->type == NULL) {
        cli_error("--type is missing");
        cli_hint("usage: daybook append STREAM --type T [--data JSON]");
        return CLI_USAGE;
    }
    return cli_parse_expect(o->expect, ret_expect);
}

static int append_all(const struct cli_globals *globals, const char *stream,
                      struct append_options *o, struct daybook_expect expect)
{
    struct append_events all = {.n = 0};
    struct daybook *db = NULL;
    daybook_buffer_init(&all.data, DATA_BYTES_MAX);
    int result =
        o->ndjson != NULL ? events_of_file(o->ndjson, stream, &all) : event_of_options(o, &all);
    if (result == CLI_OK) {
        db = cli_connect(globals, NULL);
        struct daybook_appended appended;
        if (db == NULL) {
            result = CLI_FAILED;
        } else if (daybook_append(db, stream, expect, all.events, all.n, &appended) != DAYBOOK_OK) {
            result = fail(db, &all);
        } else {
            print_result(&appended, o->json);
        }
    }
    daybook_close(db);
    daybook_buffer_done(&all.data);
    daybook_arena_done(&all.arena);
    free(all.events);
    free(all.lines);
    return result;
}

/* A field of an event that came from a file, "events[3].data", is said by its line. */
static int fail(const struct daybook *db, const struct append_events *all)
{
    static const char events[] = "events[";
    char what[64];
    const char *field = daybook_problem(db)->field;
    bool is_event = all->lines != NULL && strncmp(field, events, sizeof events - 1) == 0;
    uint64_t index = is_event ? strtoull(field + sizeof events - 1, NULL, 10) : UINT64_MAX;
    if (index >= all->n) {
        return cli_fail(db, "append");
    }
    (void)snprintf(what, sizeof what, "line %" PRIu64, all->lines[index]);
    return cli_fail_event(db, what);
}

/* ---- where events come from ---- */

static int read_data(const char *source, struct daybook_buffer *ret)
{
    bool is_stdin = strcmp(source, "-") == 0;
    if (!is_stdin && source[0] != '@') {
        return daybook_buffer_add_text(ret, source) ? CLI_OK : CLI_FAILED;
    }
    FILE *file = is_stdin ? stdin : fopen(source + 1, "rb");
    if (file == NULL) {
        cli_error("%s cannot be opened: %s", source + 1, strerror(errno));
        return CLI_FAILED;
    }
    size_t n = 0;
    do {
        ret->n += n;
        n = daybook_buffer_reserve(ret, 65536) ? fread(ret->p + ret->n, 1, 65536, file) : 0;
    } while (n > 0);
    bool ok = ferror(file) == 0 && feof(file) != 0;
    if (!ok) {
        cli_error("the data cannot be read, or is over %zu MiB", DATA_BYTES_MAX >> 20);
    }
    if (!is_stdin) {
        (void)fclose(file);
    }
    return ok ? CLI_OK : CLI_FAILED;
}

/* JSON without the white space around it: a file's or an echo's last line break is no part of the
 * value. */
static struct daybook_bytes json_of(const struct daybook_buffer *b)
{
    static const char WHITE[] = " \t\r\n";
    size_t from = 0, n = b->n;
    while (from < n && memchr(WHITE, b->p[from], 4) != NULL) {
        from++;
    }
    while (n > from && memchr(WHITE, b->p[n - 1], 4) != NULL) {
        n--;
    }
    return (struct daybook_bytes){n == 0 ? NULL : b->p + from, n - from};
}

static int event_of_options(const struct append_options *o, struct append_events *ret)
{
    if (o->id != NULL && !text_parse_uuid(o->id, ret->id)) {
        cli_error("--id must be a UUID, not %s", o->id);
        return CLI_USAGE;
    }
    int result = o->data != NULL ? read_data(o->data, &ret->data) : CLI_OK;
    ret->events = calloc(1, sizeof *ret->events);
    if (result != CLI_OK || ret->events == NULL) {
        return CLI_FAILED;
    }
    ret->n = 1;
    ret->events[0] = (struct daybook_new_event){
        .id = o->id != NULL ? ret->id : NULL,
        .type = o->type,
        .data = o->content_type == NULL ? json_of(&ret->data)
                                        : (struct daybook_bytes){ret->data.p, ret->data.n},
        .content_type = o->content_type,
        .tags = o->tags.items,
        .tags_n = o->tags.n,
        .occurred_at = o->occurred_at,
    };
    if (o->metadata != NULL) {
        ret->events[0].metadata = (struct daybook_bytes){o->metadata, strlen(o->metadata)};
    }
    return CLI_OK;
}

/* One line more. False with the reason in why. */
static bool add_line(struct append_events *all, const char *stream, const struct import_input *in,
                     struct daybook_bytes line, char why[IMPORT_WHY_SIZE])
{
    struct import_event event;
    uint64_t number = import_input_line(in);
    if (!import_line_parse(&all->arena, line.p, line.n, &event, why)) {
        return false;
    }
    if (event.stream != NULL && strcmp(event.stream, stream) != 0) {
        (void)snprintf(why, IMPORT_WHY_SIZE, "it is for the stream %.255s", event.stream);
        return false;
    }
    if (all->n == EVENTS_MAX) {
        (void)snprintf(why, IMPORT_WHY_SIZE, "at most %d events can be appended at once",
                       EVENTS_MAX);
        return false;
    }
    all->lines[all->n] = number;
    all->events[all->n++] = event.event;
    return true;
}

static int events_of_file(const char *path, const char *stream, struct append_events *ret)
{
    char why[IMPORT_WHY_SIZE] = "";
    const char *line = NULL;
    size_t n = 0;
    enum import_next next = IMPORT_LINE;
    struct import_input *in = import_input_open(path);
    if (in == NULL) {
        cli_error("%s cannot be opened: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    ret->events = calloc(EVENTS_MAX, sizeof *ret->events);
    ret->lines = calloc(EVENTS_MAX, sizeof *ret->lines);
    bool ok = ret->events != NULL && ret->lines != NULL;
    while (ok && (next = import_input_next(in, &line, &n)) == IMPORT_LINE) {
        ok = add_line(ret, stream, in, (struct daybook_bytes){line, n}, why);
    }
    if (!ok || next == IMPORT_FAILED) {
        cli_error("line %" PRIu64 ": %s", import_input_line(in), ok ? import_input_error(in) : why);
        ok = false;
    } else if (ret->n == 0) {
        cli_error("there are no events in it");
        ok = false;
    }
    import_input_close(in);
    return ok ? CLI_OK : CLI_FAILED;
}

/* ---- the result ---- */

static void print_result(const struct daybook_appended *a, bool json)
{
    struct daybook_buffer name;
    uint64_t n = a->last_revision - a->first_revision + 1;
    daybook_buffer_init(&name, 4096);
    bool ok =
        json ? text_add_json(&name, a->stream) : text_add_safe(&name, a->stream, strlen(a->stream));
    ok = ok && daybook_buffer_add_byte(&name, '\0');
    const char *stream = ok ? (const char *)name.p : "\"\"";
    if (json) {
        (void)printf("{\"stream\":%s,\"first_revision\":%" PRIu64 ",\"last_revision\":%" PRIu64
                     ",\"first_position\":%" PRIu64 ",\"last_position\":%" PRIu64
                     ",\"duplicate\":%s}\n",
                     stream, a->first_revision, a->last_revision, a->first_position,
                     a->last_position, a->duplicate ? "true" : "false");
    } else if (n == 1) {
        (void)printf("%s: revision %" PRIu64 ", position %" PRIu64 "%s\n", stream, a->last_revision,
                     a->last_position, a->duplicate ? " (it was there already)" : "");
    } else {
        (void)printf("%s: revisions %" PRIu64 " to %" PRIu64 ", positions %" PRIu64 " to %" PRIu64
                     "%s\n",
                     stream, a->first_revision, a->last_revision, a->first_position,
                     a->last_position, a->duplicate ? " (they were there already)" : "");
    }
    daybook_buffer_done(&name);
}
