/* group_parked: parked, replay, discard: what an operator does with events that were given up on.
 */
#include "group_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- parked ---- */

static void fill_parked(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                        struct daybook_value *ret)
{
    const struct daybook_parked *p = (const struct daybook_parked *)ctx + row;
    ret[0] = cell_number(cells[0], p->position);
    (void)snprintf(cells[1], CELL_BYTES, "%.40s@%" PRIu64, p->event.stream, p->event.revision);
    ret[1] = cell_text(p->gone ? "gone" : cells[1]);
    ret[2] = cell_text(p->event.type);
    ret[3] = cell_number(cells[3], p->attempts);
    ret[4] = cell_text(p->cause);
    ret[5] = cell_text(p->parked_at);
    ret[6] = cell_text(p->blocks ? "blocks" : "");
    ret[7] = cell_text(p->reason);
}

int group_parked(int argc, char **argv, const struct cli_globals *globals)
{
    static const char *const columns[] = {"position", "event",     "type", "attempts",
                                          "by",       "parked at", "",     "reason"};
    uint64_t after = 0, limit = 0;
    bool json = false;
    const struct cli_option options[] = {
        {"after", CLI_NUMBER, &after, "P", "only events after this position"},
        {"limit", CLI_NUMBER, &limit, "N", "at most so many"},
        {"json", CLI_FLAG, &json, NULL, "as JSON, with the whole events"},
    };
    const struct cli_usage usage = {
        .synopsis = "group parked NAME [--after P] [--limit N]",
        .about = "Events that a group has given up on, oldest first: by a consumer's word (nack),\n"
                 "after their last attempt (attempts), or when the last lease ended (expiry).\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_parked_list list;
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (daybook_group_parked(db, arguments[0], after, limit, &list) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (json) {
        exit = group_print_json(db);
    } else {
        exit = cells_print(columns, sizeof columns / sizeof columns[0], list.parked_n, fill_parked,
                           list.parked);
        if (!list.end) {
            cli_hint("there are more: --after %" PRIu64, list.next);
        }
    }
    daybook_close(db);
    return exit;
}

/* ---- replay, discard ---- */

/* A position as an argument; 0: none was given. */
static int read_position(const char *text, uint64_t *ret)
{
    *ret = 0;
    if (text == NULL || (cli_parse_number(text, ret) && *ret > 0)) {
        return CLI_GO_ON;
    }
    cli_error("a position is a whole number from 1, not %s", text);
    return CLI_USAGE;
}

struct replay {
    struct daybook_selection selection;
    struct cli_list types, categories, prefixes, tags;
    bool all, json;
};

/* So that nobody replays everything by leaving something out. */
static int check_replay(struct replay *r, const char *position)
{
    struct daybook_selection *s = &r->selection;
    size_t names = r->types.n + r->categories.n + r->prefixes.n + r->tags.n;
    bool some = s->from + s->to > 0 || names > 0;
    if ((position != NULL) + some + r->all != 1) {
        cli_error("which events is one of: a position, a range or a filter, --all");
        return CLI_USAGE;
    }
    s->types = group_names(&r->types);
    s->categories = group_names(&r->categories);
    s->prefixes = group_names(&r->prefixes);
    s->tags = group_names(&r->tags);
    return read_position(position, &s->position);
}

static void say_replayed(const char *name, const struct replay *r, uint64_t n, uint64_t gone)
{
    char left_out[80] = "";
    if (gone > 0) {
        (void)snprintf(left_out, sizeof left_out,
                       "; %" PRIu64 " cannot be read any more and %s settled", gone,
                       r->selection.dry_run ? "would be" : "are");
    }
    group_say(name, "%" PRIu64 " parked event%s %s delivered again%s", n, n == 1 ? "" : "s",
              r->selection.dry_run ? "would be"
              : n == 1             ? "is"
                                   : "are",
              left_out);
}

int group_replay(int argc, char **argv, const struct cli_globals *globals)
{
    struct replay r = {0};
    uint64_t n = 0, gone = 0;
    const struct cli_option options[] = {
        {"all", CLI_FLAG, &r.all, NULL, "all that are parked"},
        {"from", CLI_NUMBER, &r.selection.from, "P", "from this position on"},
        {"to", CLI_NUMBER, &r.selection.to, "P", "up to this position"},
        {"type", CLI_LIST, &r.types, "T", "only events of this type"},
        {"category", CLI_LIST, &r.categories, "C", "only streams of this category"},
        {"prefix", CLI_LIST, &r.prefixes, "P", "only streams whose names start so"},
        {"tag", CLI_LIST, &r.tags, "T", "only events with this tag"},
        {"dry-run", CLI_FLAG, &r.selection.dry_run, NULL, "only say how many"},
        {"json", CLI_FLAG, &r.json, NULL, "print the answer as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "group replay NAME [POSITION] [--all] [options]",
        .about = "Delivers parked events again, with all their attempts before them; each before\n"
                 "what its stream holds back behind it.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 2,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? check_replay(&r, arguments[1]) : exit;
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    exit = CLI_OK;
    if (daybook_group_replay(db, arguments[0], &r.selection, &n, &gone) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (r.json) {
        exit = group_print_json(db);
    } else {
        say_replayed(arguments[0], &r, n, gone);
    }
    daybook_close(db);
    return exit;
}

int group_discard(int argc, char **argv, const struct cli_globals *globals)
{
    bool all = false, json = false;
    uint64_t position = 0, n = 0;
    const struct cli_option options[] = {
        {"all", CLI_FLAG, &all, NULL, "all that are parked"},
        {"json", CLI_FLAG, &json, NULL, "print the answer as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "group discard NAME POSITION|--all",
        .about = "Settles a parked event for good, or all of them; what waited behind it in its\n"
                 "stream goes on. The events themselves stay in the log.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 2,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    if (exit == CLI_GO_ON && (arguments[1] != NULL) == all) {
        cli_error("which events is one of: a position, --all");
        return CLI_USAGE;
    }
    exit = exit == CLI_GO_ON ? read_position(arguments[1], &position) : exit;
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    exit = CLI_OK;
    if (daybook_group_discard(db, arguments[0], position, &n) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (json) {
        exit = group_print_json(db);
    } else {
        group_say(arguments[0], "%" PRIu64 " parked event%s discarded", n, n == 1 ? "" : "s");
    }
    daybook_close(db);
    return exit;
}
