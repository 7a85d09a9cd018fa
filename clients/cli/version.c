/* version: of this program, and of the server when it can be reached. */
#include "connect.h"

#include <stdio.h>

int cli_version(int argc, char **argv, const struct cli_globals *globals)
{
    const struct cli_usage usage = {
        .synopsis = "version",
        .about =
            "Prints the versions of this program and, when it can be reached, of the server.\n",
    };
    const char *arguments[2];
    /* As `daybook --version`, argv[0] is that; there may be nothing behind it either way. */
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    (void)printf("daybook  %s\n", DAYBOOK_VERSION);
    const struct daybook_options options = {
        .retry_ms = DAYBOOK_RETRY_NEVER, .connect_timeout_ms = 2000, .timeout_ms = 2000};
    struct daybook *db = cli_connect(globals, &options);
    if (db == NULL) {
        return CLI_FAILED;
    }
    struct daybook_status status;
    if (daybook_get_status(db, &status) == DAYBOOK_OK) {
        (void)printf("daybookd %s at %s\n", status.version, globals->url);
    } else {
        (void)printf("daybookd not reached at %s\n", globals->url);
    }
    daybook_close(db);
    return CLI_OK;
}
