/* projection_orders: pause, resume, rebuild, rollback, skip, delete. */
#include "projection_int.h"

#include <inttypes.h>
#include <string.h>

static int print(const struct daybook *db, const struct daybook_projection *p, bool json)
{
    char line[PROJECTION_LINE_BYTES];
    if (json) {
        return projection_print_json(db);
    }
    if (p->deleted) {
        (void)printf("%s: deleted\n", p->name);
        return CLI_OK;
    }
    struct daybook_projection_version v = *projection_desired(p);
    v.error = ""; /* `show` says it */
    projection_describe(&v, line);
    (void)printf("%s: %s\n", p->name, line);
    return CLI_OK;
}

static int order(struct daybook *db, const char *what, const char *name, enum daybook_order order,
                 bool wait, bool json)
{
    struct daybook_projection p;
    if (daybook_projection_order(db, name, order, &p) != DAYBOOK_OK) {
        return cli_fail(db, what);
    }
    if (wait) {
        int exit = projection_watch(db, name, projection_desired(&p)->version, stderr, true);
        if (exit != CLI_OK) {
            return exit;
        }
        if (daybook_projection_get(db, name, &p) != DAYBOOK_OK) {
            return cli_fail(db, what);
        }
    }
    return print(db, &p, json);
}

/* `about` is a whole sentence; those that lead to another version can be waited for. */
static int run(int argc, char **argv, const struct cli_globals *globals, enum daybook_order kind,
               const char *about)
{
    bool json = false, wait = false;
    bool waits = kind == DAYBOOK_REBUILD || kind == DAYBOOK_ROLLBACK;
    char synopsis[80], what[40];
    const struct cli_option options[] = {
        {"json", CLI_FLAG, &json, NULL, "print the answer as JSON"},
        {"wait", CLI_FLAG, &wait, NULL, "until it has caught up and answers"},
    };
    (void)snprintf(what, sizeof what, "projection %s", argv[0]);
    (void)snprintf(synopsis, sizeof synopsis, "%s NAME%s", what, waits ? " [--wait]" : "");
    const struct cli_usage usage = {
        .synopsis = synopsis,
        .about = about,
        .options = options,
        .options_n = waits ? 2 : 1,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    if (exit != CLI_GO_ON) {
        return exit;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    exit = order(db, what, arguments[0], kind, wait, json);
    daybook_close(db);
    return exit;
}

int projection_pause(int argc, char **argv, const struct cli_globals *globals)
{
    return run(argc, argv, globals, DAYBOOK_PAUSE,
               "Lets a projection stand where it is; it goes on to answer queries.\n");
}

int projection_resume(int argc, char **argv, const struct cli_globals *globals)
{
    return run(
        argc, argv, globals, DAYBOOK_RESUME,
        "Lets a projection go on that is paused, or faulted: then it tries the event again.\n");
}

int projection_rebuild(int argc, char **argv, const struct cli_globals *globals)
{
    return run(argc, argv, globals, DAYBOOK_REBUILD,
               "Builds a projection anew from the log, as its next version, while the one that\n"
               "there is answers; then they are swapped.\n");
}

int projection_rollback(int argc, char **argv, const struct cli_globals *globals)
{
    return run(argc, argv, globals, DAYBOOK_ROLLBACK,
               "Goes back to the version that answered before, once that has caught up.\n");
}

int projection_skip(int argc, char **argv, const struct cli_globals *globals)
{
    return run(argc, argv, globals, DAYBOOK_SKIP,
               "Leaves out the event that a projection is faulted at; `errors` lists it then.\n");
}

int projection_delete(int argc, char **argv, const struct cli_globals *globals)
{
    return run(argc, argv, globals, DAYBOOK_DELETE,
               "Deletes a projection and its read model. The events stay. It does not ask.\n");
}
