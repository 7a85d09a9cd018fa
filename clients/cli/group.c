/* group: `daybook group PART …`; and the parts that change a group. */
#include "group_int.h"

#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 4096

static const struct cli_part parts[] = {
    {"create", group_create, "make one, over all events or those that match a filter"},
    {"list", group_list, "all of them, with how far they are"},
    {"show", group_show, "what is known of one, and its consumers"},
    {"edit", group_edit, "change its filter, limits and policies; pause, resume"},
    {"seek", group_seek, "move it: to a position, a time, the start or the end"},
    {"parked", group_parked, "events that were given up on"},
    {"replay", group_replay, "deliver parked events again"},
    {"discard", group_discard, "settle parked events for good"},
    {"delete", group_delete, "delete it; the events stay"},
};

int cli_group(int argc, char **argv, const struct cli_globals *globals)
{
    static const struct cli_parts all = {"group", "daybook consume works for one.", parts,
                                         sizeof parts / sizeof parts[0]};
    return cli_run_part(&all, argc, argv, globals);
}

/* ---- shared ---- */

struct daybook_names group_names(const struct cli_list *list)
{
    return (struct daybook_names){list->items, list->n};
}

int group_print_json(const struct daybook *db)
{
    struct daybook_bytes json = daybook_json(db);
    (void)printf("%.*s\n", (int)json.n, (const char *)json.p);
    return CLI_OK;
}

void group_say(const char *name, const char *format, ...)
{
    char line[LINE_BYTES];
    struct daybook_buffer safe;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    daybook_buffer_init(&safe, 2 * LINE_BYTES * TEXT_SAFE_GROWTH);
    if (text_add_safe(&safe, name, strlen(name)) && daybook_buffer_add_text(&safe, ": ") &&
        text_add_safe(&safe, line, strlen(line))) {
        (void)printf("%.*s\n", (int)safe.n, (const char *)safe.p);
    }
    daybook_buffer_done(&safe);
}

/* Digits and perhaps a point, so that the locale has no say. */
static bool parse_decimal(const char *text, size_t n, double *ret)
{
    double value = 0, unit = 1;
    bool point = false;
    size_t digits = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        digits++;
        unit = point ? unit / 10 : unit;
        value = point ? value + (text[i] - '0') * unit : value * 10 + (text[i] - '0');
    }
    *ret = value;
    return digits > 0 && digits < 16;
}

bool group_parse_seconds(const char *text, double *ret)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 0.001}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    size_t n = strspn(text, "0123456789.");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + n, units[i].unit) == 0) {
            double value;
            bool ok = parse_decimal(text, n, &value);
            *ret = ok ? value * units[i].seconds : *ret;
            return ok;
        }
    }
    return false;
}

/* ---- create, edit ---- */

struct change {
    struct cli_list types, categories, prefixes, tags;
    const char *ordering, *on_park, *ack_timeout, *backoff_initial, *backoff_max, *after;
    uint64_t max_attempts, max_in_flight;
    bool all, pause, resume, json;
    double initial_s, max_s;
    struct daybook_group_settings settings;
};

/* Rows of an option table for a struct change. */
#define CHANGE_OPTIONS(c)                                                                     \
    {"category", CLI_LIST, &(c).categories, "C", "only streams of this category"},            \
        {"type", CLI_LIST, &(c).types, "T", "only events of this type"},                      \
        {"prefix", CLI_LIST, &(c).prefixes, "P", "only streams whose names start so"},        \
        {"tag", CLI_LIST, &(c).tags, "T", "only events with this tag"},                       \
        {"ordering", CLI_TEXT, &(c).ordering, "stream|none",                                  \
         "one event of a stream at a time, in order; or any"},                                \
        {"on-park", CLI_TEXT, &(c).on_park, "block|continue",                                 \
         "what the rest of a stream does behind a parked event"},                             \
        {"ack-timeout", CLI_TEXT, &(c).ack_timeout, "T",                                      \
         "how long a lease holds: 30s; as 500ms, 10m"},                                       \
        {"max-attempts", CLI_NUMBER, &(c).max_attempts, "N",                                  \
         "deliveries, before an event is parked: 10"},                                        \
        {"backoff-initial", CLI_TEXT, &(c).backoff_initial, "T",                              \
         "before the first retry: 1s; it doubles"},                                           \
        {"backoff-max", CLI_TEXT, &(c).backoff_max, "T", "up to this: 300s"},                 \
    {                                                                                         \
        "max-in-flight", CLI_NUMBER, &(c).max_in_flight, "N", "leased at the same time: 1000" \
    }

static bool read_seconds(const char *option, const char *text, double *ret)
{
    if (text == NULL || group_parse_seconds(text, ret)) {
        return true;
    }
    cli_error("%s must be a time like 30s, 500ms or 10m, not %s", option, text);
    return false;
}

static unsigned narrow(uint64_t n)
{
    return n > UINT32_MAX ? UINT32_MAX : (unsigned)n;
}

static int check_change(struct change *c)
{
    struct daybook_group_settings *s = &c->settings;
    if (!read_seconds("--ack-timeout", c->ack_timeout, &s->ack_timeout_s) ||
        !read_seconds("--backoff-initial", c->backoff_initial, &c->initial_s) ||
        !read_seconds("--backoff-max", c->backoff_max, &c->max_s)) {
        return CLI_USAGE;
    }
    if (c->pause && c->resume) {
        cli_error("--pause does not go with --resume");
        return CLI_USAGE;
    }
    s->types = group_names(&c->types);
    s->categories = group_names(&c->categories);
    s->prefixes = group_names(&c->prefixes);
    s->tags = group_names(&c->tags);
    s->set_filter = c->all;
    if (c->all && s->types.n + s->categories.n + s->prefixes.n + s->tags.n > 0) {
        cli_error("--all does not go with a filter");
        return CLI_USAGE;
    }
    s->ordering = c->ordering;
    s->on_park = c->on_park;
    s->max_attempts = narrow(c->max_attempts);
    s->max_in_flight = narrow(c->max_in_flight);
    s->backoff_initial_s = c->backoff_initial == NULL ? NULL : &c->initial_s;
    s->backoff_max_s = c->backoff_max == NULL ? NULL : &c->max_s;
    s->paused = c->pause ? DAYBOOK_ON : c->resume ? DAYBOOK_OFF : DAYBOOK_AS_IT_IS;
    return CLI_GO_ON;
}

int group_create(int argc, char **argv, const struct cli_globals *globals)
{
    struct change c = {0};
    const struct cli_option options[] = {
        CHANGE_OPTIONS(c),
        {"after", CLI_TEXT, &c.after, "A", "where it begins: start (default), end, or a position"},
        {"pause", CLI_FLAG, &c.pause, NULL, "it delivers nothing yet"},
        {"json", CLI_FLAG, &c.json, NULL, "print the group as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "group create NAME [options]",
        .about = "Makes a consumer group: its consumers share the events that match, each event\n"
                 "goes to one of them, and comes again until one has acknowledged it. A group of\n"
                 "this name that is there already gets these settings and keeps its place.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_group g;
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? check_change(&c) : exit;
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    exit = CLI_OK;
    if (daybook_group_define(db, arguments[0], &c.settings, c.after, &g) != DAYBOOK_OK) {
        exit = cli_fail(db, "group create");
    } else if (c.json) {
        exit = group_print_json(db);
    } else if (g.created) {
        group_say(g.name, "created, after position %" PRIu64, g.position);
    } else {
        group_say(g.name, "it was there; its settings are these now, its place is as it was");
    }
    daybook_close(db);
    return exit;
}

int group_edit(int argc, char **argv, const struct cli_globals *globals)
{
    struct change c = {0};
    const struct cli_option options[] = {
        CHANGE_OPTIONS(c),
        {"all", CLI_FLAG, &c.all, NULL, "every event: no filter any more"},
        {"pause", CLI_FLAG, &c.pause, NULL, "deliver nothing; leases still can be settled"},
        {"resume", CLI_FLAG, &c.resume, NULL, "deliver again"},
        {"json", CLI_FLAG, &c.json, NULL, "print the group as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "group edit NAME [options]",
        .about = "Changes what is given. Its place, its leases, retries and parked events stay. A\n"
                 "filter takes the place of the one before, and decides about what was not\n"
                 "fetched yet.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_group g;
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? check_change(&c) : exit;
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (daybook_group_edit(db, arguments[0], &c.settings, &g) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else {
        exit = c.json ? group_print_json(db) : group_print(&g);
    }
    daybook_close(db);
    return exit;
}

/* ---- seek, delete ---- */

int group_seek(int argc, char **argv, const struct cli_globals *globals)
{
    const char *time = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"time", CLI_TEXT, &time, "T", "to the first event at or after this time (RFC 3339)"},
        {"json", CLI_FLAG, &json, NULL, "print the group as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "group seek NAME [start|end|POSITION] [--time T]",
        .about = "Moves a group: all up to the position counts as settled, all behind it is\n"
                 "delivered, again where it was before. Leases end; parked events before the\n"
                 "position stay parked.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 2,
    };
    const char *arguments[2];
    struct daybook_group g;
    int exit = cli_parse(argc, argv, &usage, arguments);
    if (exit == CLI_GO_ON && (arguments[1] == NULL) == (time == NULL)) {
        cli_error("where to is one of: start, end, a position, --time");
        return CLI_USAGE;
    }
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    exit = CLI_OK;
    if (daybook_group_seek(db, arguments[0], arguments[1], time, &g) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (json) {
        exit = group_print_json(db);
    } else {
        group_say(g.name, "goes on after position %" PRIu64 "; %s%" PRIu64 " events to deliver",
                  g.position, g.lag_is_exact ? "" : "at most ", g.lag_events);
    }
    daybook_close(db);
    return exit;
}

int group_delete(int argc, char **argv, const struct cli_globals *globals)
{
    bool json = false;
    const struct cli_option options[] = {
        {"json", CLI_FLAG, &json, NULL, "print the answer as JSON"}};
    const struct cli_usage usage = {
        .synopsis = "group delete NAME",
        .about = "Deletes a group, its place and the list of what it has parked. The events stay.\n"
                 "It does not ask.\n",
        .options = options,
        .options_n = 1,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    exit = CLI_OK;
    if (daybook_group_delete(db, arguments[0]) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (json) {
        exit = group_print_json(db);
    } else {
        group_say(arguments[0], "deleted");
    }
    daybook_close(db);
    return exit;
}
