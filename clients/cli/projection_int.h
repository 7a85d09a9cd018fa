/* projection_int: what the files of `daybook projection` share. One thread. */
#ifndef DAYBOOK_CLI_PROJECTION_INT_H
#define DAYBOOK_CLI_PROJECTION_INT_H

#include "connect.h"

#include <stdio.h>

/* The parts of the command, as main.c's table has them; argv[0] is the part's name. */
cli_command_fn projection_put;
cli_command_fn projection_list;
cli_command_fn projection_show;
cli_command_fn projection_pause;
cli_command_fn projection_resume;
cli_command_fn projection_rebuild;
cli_command_fn projection_rollback;
cli_command_fn projection_skip;
cli_command_fn projection_delete;
cli_command_fn projection_errors;
cli_command_fn projection_schema;
cli_command_fn projection_document;
cli_command_fn projection_documents;

/* ---- projection_text.c ---- */

#define PROJECTION_LINE_BYTES 4096

/* What is known of one version as a part of a line: "version 2 building [###...] 45 %, …". */
void projection_describe(const struct daybook_projection_version *v,
                         char ret[PROJECTION_LINE_BYTES]);
/* Prints rows as a table to stdout. */
int projection_print_rows(const struct daybook_rows *rows);
/* Prints the answer to the last call as a line of JSON. */
int projection_print_json(const struct daybook *db);
/* The version that shall answer: the one that is being built, else the one that does. */
const struct daybook_projection_version *projection_desired(const struct daybook_projection *p);

/* ---- projection_errors.c ---- */

/* One of the three. */
struct projection_errors_order {
    uint64_t retry, skip; /* the event at this position */
    bool retry_all;       /* all after `after` */
    uint64_t after;
};
/* Carries it out and prints what was done. */
int projection_errors_order(struct daybook *db, const char *name,
                            const struct projection_errors_order *order);

/* ---- projection_watch.c ---- */

/* Waits until the version answers and is where the log is, or stands still. Draws its progress over
 * and over on a terminal; on anything else `out` gets a line whenever something changes, at most
 * one a second, or nothing where `only_terminal`. CLI_OK: it answers. Else it has printed why
 * not. */
int projection_watch(struct daybook *db, const char *name, uint64_t version, FILE *out,
                     bool only_terminal);

#endif
