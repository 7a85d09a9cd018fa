/* projection: `daybook projection PART …`; and `put`, which defines one. */
#include "projection_int.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SOURCE_BYTES_MAX ((size_t)16 << 20)

static const struct cli_part parts[] = {
    {"put", projection_put, "define one by a script, or change its definition"},
    {"list", projection_list, "all of them, with how far they are"},
    {"show", projection_show, "what is known of one; --watch: its progress"},
    {"pause", projection_pause, "let it stand where it is; it answers queries"},
    {"resume", projection_resume, "let it go on, also after a fault"},
    {"rebuild", projection_rebuild, "build it anew beside the one that answers"},
    {"rollback", projection_rollback, "go back to the version that answered before"},
    {"skip", projection_skip, "leave out the event that it is faulted at"},
    {"query", cli_query, "ask it with SQL: the same as `daybook query`"},
    {"delete", projection_delete, "delete it with its read model"},
    {"errors", projection_errors, "events that were set aside; --retry, --skip: see to them"},
    {"document", projection_document, "one document; --follow: whenever it changes"},
    {"documents", projection_documents, "its documents, a line each"},
    {"schema", projection_schema, "its tables and columns"},
};

int cli_projection(int argc, char **argv, const struct cli_globals *globals)
{
    static const struct cli_parts all = {"projection", "daybook query asks one.", parts,
                                         sizeof parts / sizeof parts[0]};
    return cli_run_part(&all, argc, argv, globals);
}

/* ---- put ---- */

struct put {
    const char *kind, *on_error;
    uint64_t attempts, limit;
    bool dry_run, wait, json;
    struct daybook_definition definition;
    struct daybook_buffer source;
};

static const char *media_of(const char *kind)
{
    return strcmp(kind, "sql") == 0 ? DAYBOOK_SQL : strcmp(kind, "lua") == 0 ? DAYBOOK_LUA : NULL;
}

static int check(struct put *p, const char *file)
{
    const char *dot = strrchr(file, '.');
    p->definition.media_type = p->kind != NULL ? media_of(p->kind)
                               : dot != NULL   ? media_of(dot + 1)
                                               : NULL;
    if (p->definition.media_type == NULL) {
        cli_error("--kind must be sql or lua, or FILE must end in one of them");
        return CLI_USAGE;
    }
    p->definition.set_aside = p->on_error != NULL && strcmp(p->on_error, "set_aside") == 0;
    if (p->on_error != NULL && !p->definition.set_aside && strcmp(p->on_error, "stop") != 0) {
        cli_error("--on-error must be stop or set_aside, not %s", p->on_error);
        return CLI_USAGE;
    }
    if (p->limit > 0 && !p->dry_run) {
        cli_error("--limit goes with --dry-run");
        return CLI_USAGE;
    }
    if (p->wait && p->dry_run) {
        cli_error("--wait does not go with --dry-run, which keeps nothing");
        return CLI_USAGE;
    }
    p->definition.attempts = p->attempts > UINT32_MAX ? UINT32_MAX : (unsigned)p->attempts;
    return CLI_GO_ON;
}

static int read_source(struct put *p, const char *file)
{
    bool is_stdin = strcmp(file, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(file, "rb");
    bool room = true;
    if (f == NULL) {
        cli_error("%s: %s", file, strerror(errno));
        return CLI_FAILED;
    }
    size_t n = 1;
    while (room && n > 0) {
        room = daybook_buffer_reserve(&p->source, 65536);
        n = room ? fread(p->source.p + p->source.n, 1, 65536, f) : 0;
        p->source.n += n;
    }
    bool failed = ferror(f) != 0;
    if (!is_stdin) {
        (void)fclose(f);
    }
    if (!room || failed) {
        cli_error("%s: %s", file, failed ? "it cannot be read" : "it is too large for a script");
        return CLI_FAILED;
    }
    p->definition.source = (struct daybook_bytes){p->source.p, p->source.n};
    return CLI_GO_ON;
}

static int print_dry_run(const struct daybook_dry_run *d)
{
    int exit = CLI_OK;
    (void)printf("%" PRIu64 " events, up to position %" PRIu64 "; nothing was kept\n", d->events,
                 d->position);
    for (size_t i = 0; i < d->tables_n && exit == CLI_OK; i++) {
        const struct daybook_dry_table *t = &d->tables[i];
        (void)printf("\n%s: %" PRIu64 " row%s", t->name, t->count, t->count == 1 ? "" : "s");
        (void)printf("%s\n", t->sample.rows_n < t->count ? ", the first ones:" : "");
        exit = t->sample.rows_n > 0 ? projection_print_rows(&t->sample) : CLI_OK;
    }
    for (size_t i = 0; i < d->errors_n; i++) {
        cli_error("event %" PRIu64 " (%s in %s): %s", d->errors[i].position, d->errors[i].type,
                  d->errors[i].stream, d->errors[i].detail);
    }
    return exit;
}

static int dry_run(const struct put *p, struct daybook *db, const char *name)
{
    struct daybook_dry_run d;
    if (daybook_projection_dry_run(db, name, &p->definition, p->limit, &d) != DAYBOOK_OK) {
        return cli_fail(db, "projection put");
    }
    return p->json ? projection_print_json(db) : print_dry_run(&d);
}

static int define(const struct put *p, struct daybook *db, const char *name)
{
    struct daybook_projection now;
    if (daybook_projection_put(db, name, &p->definition, &now) != DAYBOOK_OK) {
        return cli_fail(db, "projection put");
    }
    if (p->wait) {
        int exit = projection_watch(db, name, projection_desired(&now)->version, stderr, true);
        if (exit != CLI_OK) {
            return exit;
        }
        if (daybook_projection_get(db, name, &now) != DAYBOOK_OK) {
            return cli_fail(db, "projection put");
        }
    }
    if (p->json) {
        return projection_print_json(db);
    }
    const struct daybook_projection_version *v = projection_desired(&now);
    (void)printf("%s: version %" PRIu64 " %s\n", name, v->version,
                 strcmp(v->state, "building") == 0 ? "is being built" : v->state);
    return CLI_OK;
}

static int put(struct put *p, const char *const *arguments, const struct cli_globals *globals)
{
    int exit = read_source(p, arguments[1]);
    if (exit != CLI_GO_ON) {
        return exit;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    exit = p->dry_run ? dry_run(p, db, arguments[0]) : define(p, db, arguments[0]);
    daybook_close(db);
    return exit;
}

int projection_put(int argc, char **argv, const struct cli_globals *globals)
{
    struct put p = {0};
    const struct cli_option options[] = {
        {"kind", CLI_TEXT, &p.kind, "K",
         "sql: a table projection; lua: documents; else by FILE's end"},
        {"on-error", CLI_TEXT, &p.on_error, "E",
         "an event that fails: stop (default) or set_aside"},
        {"attempts", CLI_NUMBER, &p.attempts, "N", "before an event counts as failed: 1"},
        {"wait", CLI_FLAG, &p.wait, NULL, "until it has caught up and answers"},
        {"dry-run", CLI_FLAG, &p.dry_run, NULL, "show what it would do; keep nothing"},
        {"limit", CLI_NUMBER, &p.limit, "N", "with --dry-run: the first N events (1,000)"},
        {"json", CLI_FLAG, &p.json, NULL, "print the answer as JSON"},
    };
    const struct cli_usage usage = {
        .synopsis = "projection put NAME FILE [--wait] [--dry-run]",
        .about = "Defines a projection by a script (FILE - is standard input). A changed script\n"
                 "becomes the next version, which is built while the old one answers.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? check(&p, arguments[1]) : exit;
    if (exit != CLI_GO_ON) {
        return exit;
    }
    daybook_buffer_init(&p.source, SOURCE_BYTES_MAX);
    exit = put(&p, arguments, globals);
    daybook_buffer_done(&p.source);
    return exit;
}
