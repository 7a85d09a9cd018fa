/* daybook: the command line. Finds the command in the table and gives it the rest. */
#include "cli.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    cli_command_fn *run;
    const char *summary; /* for `daybook help` */
};

/* In the order of `daybook help`. */
static const struct command commands[] = {
    {"append", cli_append, "append events to a stream"},
    {"read", cli_read, "read a stream or the whole log"},
    {"tail", cli_tail, "follow a stream or the whole log, live"},
    {"streams", cli_streams, "list streams"},
    {"info", cli_info, "what is known of a stream, or of the server"},
    {"delete", cli_delete, "hide all events of a stream"},
    {"truncate", cli_truncate, "hide a stream's oldest events"},
    {"redact", cli_redact, "wipe one event's data for good"},
    {"metadata", cli_metadata, "a stream's limits of number and age, and your own notes"},
    {"projection", cli_projection, "define read models, look at them, give them orders"},
    {"query", cli_query, "ask a read model with SQL"},
    {"group", cli_group, "consumer groups: make them, look at them, what they have parked"},
    {"consume", cli_consume, "work on the events of a group, with a command for each"},
    {"import", cli_import, "append the events of an NDJSON file, plain or gzip"},
    {"export", cli_export, "write events as NDJSON that import takes"},
    {"backup", cli_backup, "write a backup of everything, while the server goes on"},
    {"restore", cli_restore, "make a data directory out of a backup"},
    {"verify", cli_verify, "check everything that is stored, or a backup"},
    {"reindex", cli_reindex, "build the index anew from the log (server stopped)"},
    {"bench", cli_bench, "measure appends and reads"},
    {"version", cli_version, "the versions of this program and of the server"},
    {"help", cli_help, "this text, or a command's"},
};

static int take_globals(int *argc, char **argv, struct cli_globals *globals);
static int run(int argc, char **argv, const struct cli_globals *globals);
static const struct command *find_command(const char *name);
static const char *other_name(const char *name);

int main(int argc, char **argv)
{
    const char *url = getenv("DAYBOOK_URL");
    struct cli_globals globals = {
        .url = url != NULL && url[0] != '\0' ? url : CLI_URL_DEFAULT,
        .program = argv[0],
    };
    (void)setlocale(LC_CTYPE, "");
    int result = take_globals(&argc, argv, &globals);
    if (result == CLI_GO_ON) {
        result = run(argc, argv, &globals);
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && result == CLI_OK) {
        cli_error("standard output cannot be written");
        result = CLI_FAILED;
    }
    return result;
}

/* Takes --url and its value out of argv, wherever they are before a "--". */
static int take_globals(int *argc, char **argv, struct cli_globals *globals)
{
    int kept = 1;
    bool done = false;
    for (int i = 1; i < *argc; i++) {
        done = done || strcmp(argv[i], "--") == 0;
        if (!done && strncmp(argv[i], "--url=", 6) == 0) {
            globals->url = argv[i] + 6;
        } else if (!done && strcmp(argv[i], "--url") == 0) {
            if (i + 1 == *argc) {
                cli_error("--url needs a value");
                return CLI_USAGE;
            }
            globals->url = argv[++i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return CLI_GO_ON;
}

static int run(int argc, char **argv, const struct cli_globals *globals)
{
    if (argc < 2) {
        cli_error("no command was given");
        cli_hint("daybook help lists the commands");
        return CLI_USAGE;
    }
    const struct command *command = find_command(other_name(argv[1]));
    if (command == NULL) {
        cli_error("there is no command %s", argv[1]);
        cli_hint("daybook help lists the commands");
        return CLI_USAGE;
    }
    return command->run(argc - 1, argv + 1, globals);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* What people type in place of two of the names. */
static const char *other_name(const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        return "help";
    }
    return strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0 ? "version" : name;
}

int cli_help(int argc, char **argv, const struct cli_globals *globals)
{
    if (argc > 1 && strcmp(argv[1], "help") != 0 && argv[1][0] != '-') {
        const struct command *command = find_command(argv[1]);
        if (command == NULL) {
            cli_error("there is no command %s", argv[1]);
            return CLI_USAGE;
        }
        char help[] = "--help";
        char *command_argv[] = {argv[1], help, NULL};
        return command->run(2, command_argv, globals);
    }
    (void)printf("usage: daybook COMMAND [options]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        (void)printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    (void)printf("\ndaybook COMMAND --help says more. The server is the one that --url or\n"
                 "DAYBOOK_URL names, else " CLI_URL_DEFAULT ".\n"
                 "Exit status: 0 done, 1 failed, 2 called wrongly, 130 ended by Ctrl-C.\n");
    return CLI_OK;
}
