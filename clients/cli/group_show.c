/* group_show: list, show. */
#include "group_int.h"
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES       4096
#define OUTPUT_BYTES_MAX ((size_t)64 << 20)

/* ---- list ---- */

static void fill_group(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                       struct daybook_value *ret)
{
    const struct daybook_group *g = (const struct daybook_group *)ctx + row;
    ret[0] = cell_text(g->name);
    ret[1] = cell_text(g->ordering);
    ret[2] = cell_text(g->paused ? "paused" : g->held_full ? "held full" : "");
    ret[3] = cell_number(cells[3], g->position);
    ret[4] = cell_number(cells[4], g->lag_events);
    (void)snprintf(cells[5], CELL_BYTES, "%.1f s", g->lag_s);
    ret[5] = cell_text(cells[5]);
    ret[6] = cell_number(cells[6], g->in_flight);
    ret[7] = cell_number(cells[7], g->waiting);
    ret[8] = cell_number(cells[8], g->parked);
}

int group_list(int argc, char **argv, const struct cli_globals *globals)
{
    static const char *const columns[] = {"name", "ordering",  "",        "position", "behind",
                                          "lag",  "in flight", "waiting", "parked"};
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "as JSON"}};
    const struct cli_usage usage = {
        .synopsis = "group list [--json]",
        .about = "All consumer groups: their place, how many events they are behind and how old "
                 "the\noldest of those is, what is leased, waits for a retry, and is parked.\n",
        .options = options,
        .options_n = 1,
    };
    const char *arguments[2];
    const struct daybook_group *groups;
    size_t n;
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (daybook_group_list(db, &groups, &n) != DAYBOOK_OK) {
        exit = cli_fail(db, "group list");
    } else {
        exit =
            json ? group_print_json(db)
                 : cells_print(columns, sizeof columns / sizeof columns[0], n, fill_group, groups);
    }
    daybook_close(db);
    return exit;
}

/* ---- show ---- */

static bool add_line(struct daybook_buffer *b, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool add_line(struct daybook_buffer *b, const char *name, const char *format, ...)
{
    char left[24], line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)snprintf(left, sizeof left, "%-13s", name);
    return daybook_buffer_add_text(b, left) && text_add_safe(b, line, strlen(line)) &&
           daybook_buffer_add_byte(b, '\n');
}

/* "type A or B, tag x"; what does not fit is cut. */
static void describe_filter(const struct daybook_group *g, char ret[LINE_BYTES])
{
    const struct {
        const char *name;
        const struct daybook_names *names;
    } lists[] = {{"category", &g->categories},
                 {"type", &g->types},
                 {"prefix", &g->prefixes},
                 {"tag", &g->tags}};
    size_t at = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (size_t j = 0; j < lists[i].names->n && at < LINE_BYTES; j++) {
            int n =
                snprintf(ret + at, LINE_BYTES - at, "%s%s%s%s",
                         j > 0    ? " or "
                         : at > 0 ? ", "
                                  : "",
                         j > 0 ? "" : lists[i].name, j > 0 ? "" : " ", lists[i].names->items[j]);
            at += n > 0 ? (size_t)n : LINE_BYTES;
        }
    }
    if (at == 0) {
        (void)snprintf(ret, LINE_BYTES, "every event");
    }
}

static bool add_settings(struct daybook_buffer *b, const struct daybook_group *g)
{
    char filter[LINE_BYTES];
    describe_filter(g, filter);
    bool stream = strcmp(g->ordering, "stream") == 0;
    return add_line(b, "name", "%s%s", g->name, g->paused ? " (paused)" : "") &&
           add_line(b, "events", "%s", filter) &&
           add_line(b, "ordering", "%s%s%s", g->ordering,
                    stream ? "; behind a parked event its stream: " : "",
                    stream ? g->on_park : "") &&
           add_line(b, "a lease", "%g s, at most %" PRIu64 " at the same time", g->ack_timeout_s,
                    g->max_in_flight) &&
           add_line(b, "retries",
                    "after %g s, doubling up to %g s; parked after %" PRIu64 " attempt%s",
                    g->backoff_initial_s, g->backoff_max_s, g->max_attempts,
                    g->max_attempts == 1 ? "" : "s");
}

static bool add_state(struct daybook_buffer *b, const struct daybook_group *g)
{
    bool ok = add_line(b, "position", "%" PRIu64 " of %" PRIu64, g->position, g->head) &&
              add_line(b, "behind", "%s%" PRIu64 " event%s", g->lag_is_exact ? "" : "at most ",
                       g->lag_events, g->lag_events == 1 ? "" : "s");
    if (g->oldest > 0) {
        ok = ok && add_line(b, "oldest", "position %" PRIu64 ", %.1f s old", g->oldest, g->lag_s);
    }
    ok = ok && add_line(b, "now",
                        "%" PRIu64 " in flight, %" PRIu64 " waiting for a retry, %" PRIu64
                        " ready again, %" PRIu64 " held back by their stream",
                        g->in_flight, g->waiting, g->ready, g->held);
    if (g->held_full) {
        ok = ok && add_line(b, "", "so much is held back that it looks at no new events");
    }
    ok = ok && add_line(b, "parked", "%" PRIu64 ", which block %" PRIu64 " stream%s", g->parked,
                        g->blocked_streams, g->blocked_streams == 1 ? "" : "s");
    return ok && add_line(b, "ever",
                          "%" PRIu64 " delivered (%" PRIu64 " again), %" PRIu64 " acked, %" PRIu64
                          " expired, %" PRIu64 " skipped, %" PRIu64 " parked, %" PRIu64
                          " replayed, %" PRIu64 " discarded, %" PRIu64 " gone",
                          g->delivered, g->redelivered, g->acked, g->expired, g->skipped,
                          g->parked_ever, g->replayed, g->discarded, g->gone);
}

static void fill_consumer(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                          struct daybook_value *ret)
{
    const struct daybook_group_consumer *c = (const struct daybook_group_consumer *)ctx + row;
    ret[0] = cell_text(c->name);
    ret[1] = cell_text(c->last_fetch_at);
    ret[2] = cell_number(cells[2], c->in_flight);
    ret[3] = cell_number(cells[3], c->delivered);
}

int group_print(const struct daybook_group *g)
{
    static const char *const columns[] = {"consumer", "last fetch", "in flight", "delivered"};
    struct daybook_buffer b;
    daybook_buffer_init(&b, OUTPUT_BYTES_MAX);
    bool ok = add_settings(&b, g) && add_state(&b, g) &&
              (g->consumers_n == 0 || daybook_buffer_add_byte(&b, '\n'));
    if (ok) {
        (void)fwrite(b.p, 1, b.n, stdout);
    } else {
        cli_error("not enough memory");
    }
    daybook_buffer_done(&b);
    return !ok                   ? CLI_FAILED
           : g->consumers_n == 0 ? CLI_OK
                                 : cells_print(columns, sizeof columns / sizeof columns[0],
                                               g->consumers_n, fill_consumer, g->consumers);
}

int group_show(int argc, char **argv, const struct cli_globals *globals)
{
    bool json = false;
    const struct cli_option options[] = {{"json", CLI_FLAG, &json, NULL, "as one JSON object"}};
    const struct cli_usage usage = {
        .synopsis = "group show NAME [--json]",
        .about =
            "What is known of a consumer group: its settings, how far it is, what is in work,\n"
            "and who has fetched since the server was started.\n",
        .options = options,
        .options_n = 1,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_group g;
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    if (daybook_group_get(db, arguments[0], &g) != DAYBOOK_OK) {
        exit = cli_fail(db, arguments[0]);
    } else {
        exit = json ? group_print_json(db) : group_print(&g);
    }
    daybook_close(db);
    return exit;
}
