/* verify and reindex: by the server, or on its data directory by the daybookd beside this program
 * while the server is stopped. */
#include "connect.h"
#include "daybookd.h"

#include <inttypes.h>
#include <stdio.h>

/* Becomes `daybookd MODE OPTION VALUE`, or without a value. */
static int become(const char *mode, const char *option, const char *value)
{
    char *const argv[] = {(char *)(uintptr_t) "daybookd", (char *)(uintptr_t)mode,
                          (char *)(uintptr_t)option, (char *)(uintptr_t)value, NULL};
    return daybookd_become(argv);
}

static int verify_by_server(const struct cli_globals *globals)
{
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    struct daybook_verify_report report;
    int result = CLI_FAILED;
    if (daybook_verify(db, &report) != DAYBOOK_OK) {
        (void)cli_fail(db, "verify");
    } else {
        for (size_t i = 0; i < report.findings_n; i++) {
            cli_error("%s", report.findings[i]);
        }
        (void)printf("%s: %" PRIu64 " events in %" PRIu64 " streams were checked\n",
                     report.ok ? "ok" : "FAULTS", report.events, report.streams);
        result = report.ok ? CLI_OK : CLI_FAILED;
    }
    daybook_close(db);
    return result;
}

int cli_verify(int argc, char **argv, const struct cli_globals *globals)
{
    const char *data = NULL;
    const struct cli_option options[] = {
        {"data", CLI_TEXT, &data, "DIR", "a data directory whose server is stopped"},
    };
    const struct cli_usage usage = {
        .synopsis = "verify [FILE|-] [--data DIR]",
        .about =
            "Checks everything that is stored: checksums, numbering, index against log.\n"
            "Asks the running server, or with --data checks a directory without one. With FILE\n"
            "checks a backup, and says where it is damaged or cut short.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_max = 1,
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    if (arguments[0] != NULL && data != NULL) {
        cli_error("verify checks a backup or a data directory, not both");
        return CLI_USAGE;
    }
    if (arguments[0] != NULL) {
        return become("--verify-backup", arguments[0], NULL);
    }
    return data != NULL ? become("--verify", "--data", data) : verify_by_server(globals);
}

int cli_reindex(int argc, char **argv, const struct cli_globals *globals)
{
    (void)globals;
    const char *data = NULL;
    const struct cli_option options[] = {
        {"data", CLI_TEXT, &data, "DIR", "the data directory; its server must be stopped"},
    };
    const struct cli_usage usage = {
        .synopsis = "reindex --data DIR",
        .about = "Throws the index away and builds it anew from the log.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    if (data == NULL) {
        cli_error("reindex works on a data directory, not on a running server");
        cli_hint("stop the server, then: daybook reindex --data DIR");
        return CLI_USAGE;
    }
    return become("--reindex", "--data", data);
}
