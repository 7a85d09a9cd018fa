/* connect: see connect.h. */
#include "connect.h"

#include <inttypes.h>
#include <string.h>

struct daybook *cli_connect(const struct cli_globals *globals,
                            const struct daybook_options *options)
{
    static const struct daybook_options usual = {.retry_ms = CLI_RETRY_MS,
                                                 .user_agent = "daybook/" DAYBOOK_VERSION};
    struct daybook *db = NULL;
    enum daybook_result result =
        daybook_open(globals->url, options == NULL ? &usual : options, &db);
    if (result == DAYBOOK_ERR_ARGUMENT) {
        cli_error("not the address of a server: %s", globals->url);
        cli_hint("it looks like " CLI_URL_DEFAULT);
    } else if (result != DAYBOOK_OK) {
        cli_error("not enough memory");
    }
    return result == DAYBOOK_OK ? db : NULL;
}

/* Of conflicts the violations say all, each on a line; else there is one line. */
static int print_problem(const struct daybook_problem *p, const char *what, const char *field)
{
    const char *colon = p->detail[0] != '\0' ? ": " : "";
    for (size_t i = 0; i < p->violations_n; i++) {
        const struct daybook_violation *v = &p->violations[i];
        cli_error("%s: %s: stream %s: expected %s, its head revision is %" PRIu64, what, p->title,
                  v->stream, v->expected, v->actual);
    }
    if (p->violations_n == 0 && field[0] != '\0') {
        cli_error("%s: %s%s%s (%s)", what, p->title, colon, p->detail, field);
    } else if (p->violations_n == 0) {
        cli_error("%s: %s%s%s", what, p->title, colon, p->detail);
    }
    if (p->hint[0] != '\0') {
        cli_hint("%s", p->hint);
    }
    return CLI_FAILED;
}

int cli_fail(const struct daybook *db, const char *what)
{
    const struct daybook_problem *p = daybook_problem(db);
    return print_problem(p, what, p->field);
}

/* "appends[0].events[0].data" is the event's "data". */
int cli_fail_event(const struct daybook *db, const char *what)
{
    const struct daybook_problem *p = daybook_problem(db);
    const char *field = p->field;
    for (const char *dot; (dot = strstr(field, "].")) != NULL;) {
        field = dot + 2;
    }
    return print_problem(p, what, field);
}

int cli_parse_expect(const char *text, struct daybook_expect *ret)
{
    static const struct {
        const char *name;
        enum daybook_expect_kind kind;
    } states[] = {{"any", DAYBOOK_ANY},
                  {"no_stream", DAYBOOK_NO_STREAM},
                  {"stream_exists", DAYBOOK_STREAM_EXISTS}};
    *ret = (struct daybook_expect){.kind = DAYBOOK_ANY};
    for (size_t i = 0; text != NULL && i < sizeof states / sizeof states[0]; i++) {
        if (strcmp(text, states[i].name) == 0) {
            ret->kind = states[i].kind;
            return CLI_GO_ON;
        }
    }
    if (text == NULL) {
        return CLI_GO_ON;
    }
    ret->kind = DAYBOOK_REVISION;
    if (cli_parse_number(text, &ret->revision)) {
        return CLI_GO_ON;
    }
    cli_error("--expect must be any, no_stream, stream_exists or a revision, not %s", text);
    return CLI_USAGE;
}

static struct daybook_names names(const struct cli_list *list)
{
    return (struct daybook_names){list->items, list->n};
}

int cli_read_options(const struct cli_filters *filters, const char *stream,
                     struct daybook_read_options *ret)
{
    if (filters->before > 0 && !filters->backward) {
        cli_error("--before goes with --backward");
        return CLI_USAGE;
    }
    if (filters->after > 0 && filters->backward) {
        cli_error("--after does not go with --backward");
        return CLI_USAGE;
    }
    if (stream != NULL && filters->categories.n + filters->prefixes.n + filters->tags.n > 0) {
        cli_error("--category, --prefix and --tag are for the whole log, not for one stream");
        return CLI_USAGE;
    }
    *ret = (struct daybook_read_options){
        .stream = stream,
        .backward = filters->backward,
        .after = filters->after,
        .before = filters->before,
        .limit = filters->limit,
        .since = filters->since,
        .until = filters->until,
        .types = names(&filters->types),
        .categories = names(&filters->categories),
        .prefixes = names(&filters->prefixes),
        .tags = names(&filters->tags),
    };
    return CLI_GO_ON;
}
