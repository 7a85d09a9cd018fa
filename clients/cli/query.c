/* query: asks a projection with SQL. */
#include "connect.h"
#include "table.h"
#include "value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_BYTES_MAX ((size_t)4 << 30)
#define WAIT_MS_MAX      60000

struct query {
    struct cli_list params;
    uint64_t min_position;
    const char *wait;
    bool json, csv;
};

static int run(const struct query *q, const char *name, const char *sql,
               const struct cli_globals *globals);
static int print(const struct query *q, const struct daybook *db, const struct daybook_rows *rows,
                 uint64_t position);

int cli_query(int argc, char **argv, const struct cli_globals *globals)
{
    struct query q = {0};
    const struct cli_option options[] = {
        {"param", CLI_LIST, &q.params, "V", "a value for ?, or :NAME=V for :NAME"},
        {"min-position", CLI_NUMBER, &q.min_position, "P", "answer once the model is there"},
        {"wait", CLI_TEXT, &q.wait, "T", "how long to wait for that: 300ms 5s 1m (default 5s)"},
        {"json", CLI_FLAG, &q.json, NULL, "print the answer as JSON"},
        {"csv", CLI_FLAG, &q.csv, NULL, "print it as CSV (RFC 4180); NULL is an empty field"},
    };
    const struct cli_usage usage = {
        .synopsis = "query NAME SQL [--param V] [--min-position P] [--json | --csv]",
        .about =
            "Asks a projection with one SELECT and prints an aligned table. A parameter that is\n"
            "a JSON number, string, true, false or null is that, anything else is text.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    if (exit == CLI_GO_ON && q.json && q.csv) {
        cli_error("--json and --csv do not go together");
        return CLI_USAGE;
    }
    return exit == CLI_GO_ON ? run(&q, arguments[0], arguments[1], globals) : exit;
}

/* ":name=value" or "value"; `text` keeps what the parameters point to. */
static bool read_params(const struct cli_list *list, struct daybook_buffer *text,
                        struct daybook_param *ret)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *given = list->items[i];
        const char *equals = given[0] == ':' ? strchr(given, '=') : NULL;
        ret[i] = (struct daybook_param){0};
        if (equals != NULL) {
            size_t at = text->n;
            if (!daybook_buffer_add(text, given + 1, (size_t)(equals - given - 1)) ||
                !daybook_buffer_add_byte(text, '\0')) {
                return false;
            }
            ret[i].name = (const char *)text->p + at;
        }
        if (!value_read(equals == NULL ? given : equals + 1, text, &ret[i].value)) {
            return false;
        }
    }
    return true;
}

/* Room for all of it before the first pointer into it is taken. */
static bool reserve_text(const struct cli_list *list, struct daybook_buffer *text)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        n += strlen(list->items[i]) + 2;
    }
    return daybook_buffer_reserve(text, n);
}

static int run(const struct query *q, const char *name, const char *sql,
               const struct cli_globals *globals)
{
    struct daybook_param params[CLI_LIST_MAX];
    struct daybook_query query = {.projection = name, .sql = sql, .wait_ms = 5000};
    struct daybook_rows rows;
    struct daybook_buffer text;
    uint64_t position;
    if (q->wait != NULL &&
        (!value_read_wait(q->wait, &query.wait_ms) || query.wait_ms > WAIT_MS_MAX)) {
        cli_error("--wait must be like 300ms, 5s or 1m, at most 1m, not %s", q->wait);
        return CLI_USAGE;
    }
    daybook_buffer_init(&text, OUTPUT_BYTES_MAX);
    if (!reserve_text(&q->params, &text) || !read_params(&q->params, &text, params)) {
        cli_error("not enough memory");
        daybook_buffer_done(&text);
        return CLI_FAILED;
    }
    query.params = params;
    query.params_n = q->params.n;
    query.min_position = q->min_position;
    int exit = CLI_FAILED;
    struct daybook *db = cli_connect(globals, NULL);
    if (db != NULL) {
        exit = daybook_query(db, &query, &rows, &position) == DAYBOOK_OK
                   ? print(q, db, &rows, position)
                   : cli_fail(db, "query");
    }
    daybook_close(db);
    daybook_buffer_done(&text);
    return exit;
}

static int print(const struct query *q, const struct daybook *db, const struct daybook_rows *rows,
                 uint64_t position)
{
    struct daybook_buffer out;
    daybook_buffer_init(&out, OUTPUT_BYTES_MAX);
    bool ok;
    if (q->json) {
        struct daybook_bytes json = daybook_json(db);
        ok = daybook_buffer_add(&out, json.p, json.n) && daybook_buffer_add_byte(&out, '\n');
    } else {
        ok = q->csv ? table_add_csv(&out, rows) : table_add_text(&out, rows);
    }
    if (ok && !q->json && !q->csv) {
        char foot[80];
        (void)snprintf(foot, sizeof foot, "(%zu row%s, at position %" PRIu64 ")\n", rows->rows_n,
                       rows->rows_n == 1 ? "" : "s", position);
        ok = daybook_buffer_add_text(&out, foot);
    }
    if (ok) {
        (void)fwrite(out.p, 1, out.n, stdout);
    } else {
        cli_error("not enough memory for the answer");
    }
    daybook_buffer_done(&out);
    return ok ? CLI_OK : CLI_FAILED;
}
