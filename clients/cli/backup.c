/* backup and restore. A backup is written under another name and renamed when it is whole and on
 * disk, so that one that was cut short is never taken for one. */
#include "connect.h"
#include "daybookd.h"
#include "interrupt.h"
#include "progress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

struct output {
    const char *path;    /* NULL: standard output */
    char part[PATH_MAX]; /* what is written; "" where that is path itself */
    int fd;
    uint64_t bytes;
    bool refused; /* a write failed, and it was said */
    struct progress progress;
};

static bool output_error(const struct output *o, int code)
{
    cli_error("%s cannot be written: %s", o->path == NULL ? "standard output" : o->path,
              strerror(code));
    return false;
}

/* Where FILE is something else than a file, such as a device, it is written directly. */
static bool open_output(struct output *o)
{
    struct stat st;
    if (o->path == NULL) {
        o->fd = STDOUT_FILENO;
    } else if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        o->fd = open(o->path, O_WRONLY | O_CLOEXEC);
    } else {
        int n = snprintf(o->part, sizeof o->part, "%s.part", o->path);
        if (n < 0 || (size_t)n >= sizeof o->part) {
            o->part[0] = '\0';
            return output_error(o, ENAMETOOLONG);
        }
        o->fd = open(o->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    return o->fd >= 0 || output_error(o, errno);
}

static bool write_piece(void *arg, const void *p, size_t n)
{
    struct output *o = arg;
    const char *from = p;
    while (n > 0) {
        ssize_t done = write(o->fd, from, n);
        if (done < 0 && errno == EINTR && !interrupt_came()) {
            continue;
        }
        if (done < 0) {
            o->refused = !output_error(o, errno);
            return false;
        }
        from += done;
        n -= (size_t)done;
        o->bytes += (uint64_t)done;
    }
    if (progress_is_due(&o->progress)) {
        progress_show_bytes(&o->progress, o->bytes);
    }
    return !interrupt_came();
}

/* Gives the file its name when it is whole, removes it when it is not. */
static bool close_output(struct output *o, bool whole)
{
    if (o->path == NULL) {
        return whole;
    }
    bool ok = whole && (o->part[0] == '\0' || fsync(o->fd) == 0 || output_error(o, errno));
    ok = (close(o->fd) == 0 || (ok && output_error(o, errno))) && ok;
    if (ok && o->part[0] != '\0' && rename(o->part, o->path) != 0) {
        ok = output_error(o, errno);
    }
    if (!ok && o->part[0] != '\0') {
        (void)unlink(o->part);
    }
    return ok;
}

static int run(struct output *o, const struct cli_globals *globals, bool quiet)
{
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    bool ok = open_output(o);
    if (ok) {
        progress_start(&o->progress, quiet);
        interrupt_watch(db);
        ok = daybook_backup(db, write_piece, o) == DAYBOOK_OK;
        progress_clear(&o->progress);
        if (!ok && !o->refused && !interrupt_came()) {
            (void)cli_fail(db, "backup");
        }
        ok = close_output(o, ok);
        interrupt_forget();
    }
    daybook_close(db);
    if (!ok && interrupt_came()) {
        cli_error("interrupted; %s",
                  o->part[0] != '\0' ? "no file was written" : "the output is cut short");
        return interrupt_exit();
    }
    if (ok && !quiet) {
        (void)fprintf(stderr, "%.1f MiB, %.2f s\n", (double)o->bytes / (double)MIB,
                      progress_seconds(&o->progress));
    }
    return ok ? CLI_OK : CLI_FAILED;
}

int cli_backup(int argc, char **argv, const struct cli_globals *globals)
{
    bool quiet = false;
    const struct cli_option options[] = {
        {"quiet", CLI_FLAG, &quiet, NULL, "print nothing but errors"},
    };
    const struct cli_usage usage = {
        .synopsis = "backup FILE|-",
        .about =
            "Writes a backup: everything that can be read now, compressed and with\n"
            "checksums, while the server goes on. Deleted, truncated and redacted events are\n"
            "not in it, nor are read models (restore builds them again), client snapshots and\n"
            "how far consumer groups are. `daybook verify FILE` checks it.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    struct output output = {.fd = -1};
    output.path = strcmp(arguments[0], "-") == 0 ? NULL : arguments[0];
    return run(&output, globals, quiet);
}

/* The texts are borrowed; exec does not change them. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

int cli_restore(int argc, char **argv, const struct cli_globals *globals)
{
    (void)globals;
    uint64_t to = 0;
    const struct cli_option options[] = {
        {"to-position", CLI_NUMBER, &to, "N", "as it was when N was the last position"},
    };
    const struct cli_usage usage = {
        .synopsis = "restore FILE|- DIR [--to-position N]",
        .about =
            "Makes DIR, which must be new or empty, a data directory with what a backup has.\n"
            "Start it with: daybookd --data DIR. While it is not whole, daybookd refuses it.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[2];
    char number[24];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    (void)snprintf(number, sizeof number, "%" PRIu64, to);
    char *const command[] = {text("daybookd"),   text("--restore"),
                             text(arguments[0]), text("--data"),
                             text(arguments[1]), to > 0 ? text("--to-position") : NULL,
                             text(number),       NULL};
    return daybookd_become(command);
}
