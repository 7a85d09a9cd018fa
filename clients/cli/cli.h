/* cli: what the commands of `daybook` share: the table they are in, the global options, how they
 * report an error, and how they read their options.
 *
 * One thread. Errors go to stderr as one line (and a hint), results to stdout. Commands return one
 * of enum cli_exit, or interrupt_exit(), and never call exit(). */
#ifndef DAYBOOK_CLI_H
#define DAYBOOK_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

#define CLI_URL_DEFAULT "http://127.0.0.1:7407"

/* What was given for the program as a whole. Borrowed strings that live as long as the process. */
struct cli_globals {
    const char *url;     /* of the server: --url, else DAYBOOK_URL, else the default; never NULL */
    const char *program; /* argv[0] of the process, to find daybookd beside it */
};

/* A command. argv[0] is its name; `--url URL` was taken out of argv already, `--help` was not: it
 * prints the command's usage to stdout and returns CLI_OK. */
typedef int cli_command_fn(int argc, char **argv, const struct cli_globals *globals);

/* The commands, one file each or a small group; the table is in main.c. */
cli_command_fn cli_append;
cli_command_fn cli_backup;
cli_command_fn cli_bench;
cli_command_fn cli_consume;
cli_command_fn cli_delete;
cli_command_fn cli_export;
cli_command_fn cli_group;
cli_command_fn cli_help;
cli_command_fn cli_import;
cli_command_fn cli_info;
cli_command_fn cli_metadata;
cli_command_fn cli_projection;
cli_command_fn cli_query;
cli_command_fn cli_read;
cli_command_fn cli_redact;
cli_command_fn cli_reindex;
cli_command_fn cli_restore;
cli_command_fn cli_streams;
cli_command_fn cli_tail;
cli_command_fn cli_truncate;
cli_command_fn cli_verify;
cli_command_fn cli_version;

/* ---- a command of parts: `daybook group PART …` ---- */

struct cli_part {
    const char *name;
    cli_command_fn *run;
    const char *summary;
};

struct cli_parts {
    const char *command, *more; /* a sentence under the list */
    const struct cli_part *items;
    size_t n;
};

/* Runs the part that argv[1] names, with it as argv[0], or says which there are. */
int cli_run_part(const struct cli_parts *parts, int argc, char **argv,
                 const struct cli_globals *globals);

/* ---- options ---- */

enum cli_option_kind {
    CLI_FLAG,   /* ret is a bool *, set to true */
    CLI_TEXT,   /* ret is a const char **, borrowed from argv */
    CLI_NUMBER, /* ret is a uint64_t *, decimal digits */
    CLI_LIST,   /* ret is a struct cli_list *: may be given more than once */
};

#define CLI_LIST_MAX 64

struct cli_list {
    const char *items[CLI_LIST_MAX]; /* borrowed from argv */
    size_t n;
};

struct cli_option {
    const char *name; /* without the dashes: one before one letter, two before more */
    enum cli_option_kind kind;
    void *ret;         /* untouched where the option is not given */
    const char *value; /* what the help calls its value; NULL for a flag */
    const char *help;  /* one line */
};

/* How a command is called. The help is printed from it. */
struct cli_usage {
    const char *synopsis; /* "append STREAM --type T [options]" */
    const char *about;    /* sentences with line breaks, ending in one */
    const struct cli_option *options;
    size_t options_n;
    size_t arguments_min; /* arguments that are not options */
    size_t arguments_max; /* at most 2 */
};

/* Nothing is to be returned yet: go on. */
#define CLI_GO_ON (-1)

/* Reads argv by `usage`: options (--name VALUE or --name=VALUE, before, between or after the
 * arguments, none after "--") into their `ret`, arguments into ret_arguments (borrowed; NULL where
 * not given). Returns CLI_GO_ON, or what the command is to return: CLI_OK after --help, CLI_USAGE
 * after it has printed what is wrong. */
int cli_parse(int argc, char **argv, const struct cli_usage *usage, const char *ret_arguments[2]);

/* Decimal digits alone, at most UINT64_MAX; false leaves ret untouched. */
bool cli_parse_number(const char *text, uint64_t *ret);

/* ---- errors ---- */

/* Prints "daybook: <text>" to stderr; control characters in it are shown as \xNN. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "hint: <text>" to stderr likewise. */
void cli_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
