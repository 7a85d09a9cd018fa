/* verify and reindex: by the server, or on its data directory by the daybookd beside this program
 * while the server is stopped. */
#include "connect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* Becomes `daybookd MODE --data DIR`: the one in the folder of this program, else of PATH. Returns
 * only when it cannot. */
static int become_daybookd(const char *mode, const char *data)
{
    char path[PATH_SIZE];
    char daybookd[] = "daybookd";
    char data_option[] = "--data";
    char *argv[] = {daybookd, (char *)(uintptr_t)mode, data_option, (char *)(uintptr_t)data, NULL};
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof daybookd);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    (void)fflush(NULL);
    if (slash != NULL) {
        memcpy(slash + 1, daybookd, sizeof daybookd);
        (void)execv(path, argv);
    }
    (void)execvp(daybookd, argv);
    cli_error("daybookd cannot be started: %s", strerror(errno));
    cli_hint("it is expected beside the daybook program, or in PATH");
    return CLI_FAILED;
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
        .synopsis = "verify [--data DIR]",
        .about = "Checks everything that is stored: checksums, numbering, index against log.\n"
                 "Asks the running server, or with --data checks a directory without one.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    return data != NULL ? become_daybookd("--verify", data) : verify_by_server(globals);
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
    return become_daybookd("--reindex", data);
}
