/* group_int: what the parts of `daybook group` share.
 *
 * One thread. */
#ifndef DAYBOOK_CLI_GROUP_INT_H
#define DAYBOOK_CLI_GROUP_INT_H

#include "cells.h"
#include "connect.h"

/* The parts, as cli_command_fn is. */
cli_command_fn group_create;
cli_command_fn group_edit;
cli_command_fn group_seek;
cli_command_fn group_delete;
cli_command_fn group_list;
cli_command_fn group_show;
cli_command_fn group_parked;
cli_command_fn group_replay;
cli_command_fn group_discard;

struct daybook_names group_names(const struct cli_list *list);
/* The last answer as one line of JSON. */
int group_print_json(const struct daybook *db);
/* Prints "<name>: <text>", made safe for a terminal. */
void group_say(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is known of a group, line by line. */
int group_print(const struct daybook_group *g);

/* "30", "1.5", "250ms", "10m", "2h", "1d": seconds. False: it is something else. */
bool group_parse_seconds(const char *text, double *ret);

#endif
