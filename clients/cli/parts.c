/* parts: commands that are made of parts. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static void print_parts(const struct cli_parts *parts)
{
    printf("usage: daybook %s PART [options]\n\n", parts->command);
    for (size_t i = 0; i < parts->n; i++) {
        printf("  %-9s %s\n", parts->items[i].name, parts->items[i].summary);
    }
    printf("\ndaybook %s PART --help says more. %s\n", parts->command, parts->more);
}

int cli_run_part(const struct cli_parts *parts, int argc, char **argv,
                 const struct cli_globals *globals)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_parts(parts);
        return CLI_OK;
    }
    for (size_t i = 0; argc >= 2 && i < parts->n; i++) {
        if (strcmp(argv[1], parts->items[i].name) == 0) {
            return parts->items[i].run(argc - 1, argv + 1, globals);
        }
    }
    if (argc < 2) {
        cli_error("which part of it is missing");
    } else {
        cli_error("%s has no part %s", parts->command, argv[1]);
    }
    cli_hint("daybook %s --help lists them", parts->command);
    return CLI_USAGE;
}
