/* daybookd: see daybookd.h. */
#include "daybookd.h"

#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

int daybookd_become(char *const argv[])
{
    static const char NAME[] = "daybookd";
    char path[PATH_SIZE];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof NAME);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    (void)fflush(NULL);
    if (slash != NULL) {
        memcpy(slash + 1, NAME, sizeof NAME);
        (void)execv(path, argv);
    }
    (void)execvp(NAME, argv);
    cli_error("daybookd cannot be started: %s", strerror(errno));
    cli_hint("it is expected beside the daybook program, or in PATH");
    return CLI_FAILED;
}
