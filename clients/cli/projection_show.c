/* projection_show: list, show, errors, schema. */
#include "cells.h"
#include "projection_int.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_BYTES_MAX ((size_t)64 << 20)

/* ---- list ---- */

static void fill_projection(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                            struct daybook_value *ret)
{
    const struct daybook_projection *p = (const struct daybook_projection *)ctx + row;
    const struct daybook_projection_version *v = &p->current;
    ret[0] = cell_text(p->name);
    ret[1] = cell_text(p->kind);
    ret[2] = cell_number(cells[2], v->version);
    ret[3] = cell_text(v->state);
    ret[4] = cell_number(cells[4], v->position);
    ret[5] = cell_number(cells[5], v->lag_events);
    if (p->building.version != 0) {
        uint64_t all = p->building.position + p->building.lag_events;
        (void)snprintf(cells[6], CELL_BYTES, "version %" PRIu64 " %s, %.0f %%", p->building.version,
                       p->building.state,
                       all == 0 ? 100 : 100 * (double)p->building.position / (double)all);
    }
    ret[6] = cell_text(cells[6]);
}

int projection_list(int argc, char **argv, const struct cli_globals *globals)
{
    static const char *const columns[] = {"name",     "kind",   "version", "state",
                                          "position", "behind", "next"};
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "as JSON"}};
    const struct cli_usage usage = {
        .synopsis = "projection list [--json]",
        .about = "All projections, with how far they are and what is built to take their place.\n",
        .options = options,
        .options_n = 1,
    };
    const char *arguments[2];
    const struct daybook_projection *list;
    size_t n;
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (daybook_projection_list(db, &list, &n) != DAYBOOK_OK) {
        exit = cli_fail(db, "projection list");
    } else if (json) {
        exit = projection_print_json(db);
    } else {
        exit = cells_print(columns, 7, n, fill_projection, list);
    }
    daybook_close(db);
    return exit;
}

/* ---- show ---- */

static bool add_line(struct daybook_buffer *b, const char *name, const char *value)
{
    char left[24];
    (void)snprintf(left, sizeof left, "%-10s", name);
    return daybook_buffer_add_text(b, left) && text_add_safe(b, value, strlen(value)) &&
           daybook_buffer_add_byte(b, '\n');
}

static bool add_version(struct daybook_buffer *b, const char *name,
                        const struct daybook_projection_version *v)
{
    char line[PROJECTION_LINE_BYTES];
    projection_describe(v, line);
    return add_line(b, name, line);
}

/* The script is printed as it is, like the data of events. */
static int print_projection(const struct daybook_projection *p, bool source)
{
    struct daybook_buffer b;
    char line[80];
    daybook_buffer_init(&b, OUTPUT_BYTES_MAX);
    bool ok = add_line(&b, "name", p->name) && add_line(&b, "kind", p->kind) &&
              add_version(&b, "now", &p->current);
    if (p->building.version != 0) {
        ok = ok && add_version(&b, "next", &p->building);
    }
    (void)snprintf(line, sizeof line, "%s after %u attempt%s", p->set_aside ? "set_aside" : "stop",
                   p->attempts, p->attempts == 1 ? "" : "s");
    ok = ok && add_line(&b, "on error", line);
    if (p->previous_version != 0) {
        (void)snprintf(line, sizeof line, "version %" PRIu64, p->previous_version);
        ok = ok && add_line(&b, "before", line);
    }
    if (p->defined[0] != '\0') {
        ok = ok && add_line(&b, "defined", p->defined);
    }
    if (source) {
        ok = ok && daybook_buffer_add_byte(&b, '\n') && daybook_buffer_add_text(&b, p->source);
    }
    if (ok) {
        (void)fwrite(b.p, 1, b.n, stdout);
    } else {
        cli_error("not enough memory");
    }
    daybook_buffer_done(&b);
    return ok ? CLI_OK : CLI_FAILED;
}

static int show(struct daybook *db, const char *name, bool watch, bool source, bool json)
{
    struct daybook_projection p;
    if (daybook_projection_get(db, name, &p) != DAYBOOK_OK) {
        return cli_fail(db, name);
    }
    if (watch) {
        return projection_watch(db, name, projection_desired(&p)->version, stdout, false);
    }
    return json ? projection_print_json(db) : print_projection(&p, source);
}

int projection_show(int argc, char **argv, const struct cli_globals *globals)
{
    bool watch = false, source = false, json = false;
    const struct cli_option options[] = {
        {"watch", CLI_FLAG, &watch, NULL, "its progress, until it has caught up and answers"},
        {"source", CLI_FLAG, &source, NULL, "its script too"},
        {"json", CLI_FLAG, &json, NULL, "as one JSON object"},
    };
    const struct cli_usage usage = {
        .synopsis = "projection show NAME [--watch] [--json]",
        .about = "What is known of a projection: the version that answers, and the one that is\n"
                 "being built, with how far it is, how fast, and when it will be there.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    if (exit == CLI_GO_ON && watch && (json || source)) {
        cli_error("--watch goes with neither --json nor --source");
        return CLI_USAGE;
    }
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    exit = show(db, arguments[0], watch, source, json);
    daybook_close(db);
    return exit;
}

/* ---- errors ---- */

static void fill_error(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                       struct daybook_value *ret)
{
    const struct daybook_projection_error *e = (const struct daybook_projection_error *)ctx + row;
    ret[0] = cell_number(cells[0], e->position);
    ret[1] = cell_text(e->stream);
    ret[2] = cell_text(e->type);
    ret[3] = cell_number(cells[3], e->attempts);
    ret[4] = cell_text(e->skipped ? "skipped" : "");
    ret[5] = cell_text(e->detail);
}

int projection_errors(int argc, char **argv, const struct cli_globals *globals)
{
    static const char *const columns[] = {"position", "stream", "type", "attempts", "", "error"};
    uint64_t limit = 0;
    bool json = false;
    struct projection_errors_order order = {0};
    const struct cli_option options[] = {
        {"after", CLI_NUMBER, &order.after, "P", "only events after this position"},
        {"limit", CLI_NUMBER, &limit, "N", "at most so many: 100"},
        {"json", CLI_FLAG, &json, NULL, "as JSON"},
        {"retry", CLI_NUMBER, &order.retry, "P", "try the event at this position again, now"},
        {"retry-all", CLI_FLAG, &order.retry_all, NULL, "try all again, oldest first"},
        {"skip", CLI_NUMBER, &order.skip, "P", "take the event at this position off the list"},
    };
    const struct cli_usage usage = {
        .synopsis = "projection errors NAME [--retry P | --retry-all | --skip P]",
        .about =
            "Events that a projection could not take and has left out, oldest first. One that\n"
            "is tried again is taken after all that came since; a changed script, or\n"
            "`rebuild`, takes all events again in order.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_projection_errors e;
    int exit = cli_parse(argc, argv, &usage, arguments);
    int orders = (order.retry > 0) + order.retry_all + (order.skip > 0);
    if (exit == CLI_GO_ON && orders > 1) {
        cli_error("only one of --retry, --retry-all and --skip at a time");
        return CLI_USAGE;
    }
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (orders > 0) {
        exit = projection_errors_order(db, arguments[0], &order);
    } else if (daybook_projection_get_errors(db, arguments[0], order.after, limit, &e) !=
               DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (json) {
        exit = projection_print_json(db);
    } else {
        exit = cells_print(columns, 6, e.errors_n, fill_error, e.errors);
        if (!e.end) {
            cli_hint("there are more: --after %" PRIu64, e.next);
        }
    }
    daybook_close(db);
    return exit;
}

/* ---- schema ---- */

static void fill_column(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                        struct daybook_value *ret)
{
    const struct daybook_table *t = ctx;
    (void)cells;
    while (row >= t->columns_n) {
        row -= t->columns_n;
        t++;
    }
    const struct daybook_column *c = &t->columns[row];
    ret[0] = cell_text(t->name);
    ret[1] = cell_text(t->kind);
    ret[2] = cell_text(c->name);
    ret[3] = cell_text(c->type);
    ret[4] = cell_text(c->primary_key ? "primary key" : c->not_null ? "not null" : "");
}

int projection_schema(int argc, char **argv, const struct cli_globals *globals)
{
    static const char *const columns[] = {"table", "kind", "column", "type", ""};
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "as JSON"}};
    const struct cli_usage usage = {
        .synopsis = "projection schema NAME [--json]",
        .about =
            "The tables of a projection and their columns: what `daybook query` can ask for.\n",
        .options = options,
        .options_n = 1,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    const struct daybook_table *tables;
    size_t n, rows = 0;
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (daybook_projection_get_schema(db, arguments[0], &tables, &n) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else if (json) {
        exit = projection_print_json(db);
    } else {
        for (size_t i = 0; i < n; i++) {
            rows += tables[i].columns_n;
        }
        exit = cells_print(columns, 5, rows, fill_column, tables);
    }
    daybook_close(db);
    return exit;
}
