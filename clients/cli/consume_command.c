/* consume_command: see consume_command.h.
 *
 * The event lies in a file in memory, which is the command's standard input: one that does not read
 * it stops nobody, and no pipe can break. The end of the process is told by a descriptor of it, not
 * by SIGCHLD, so that one poll waits for it and for its standard error. */
#include "consume_command.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES 4096

extern char **environ;

/* ---- the last line ---- */

static void end_line(struct consume_line *l)
{
    l->line[l->line_n] = '\0';
    if (strspn(l->line, " \t\r") < l->line_n) {
        memcpy(l->last, l->line, l->line_n + 1);
    }
    l->line_n = 0;
}

void consume_line_add(struct consume_line *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n') {
            end_line(l);
        } else if (l->line_n < CONSUME_LINE_BYTES && p[i] != '\0') {
            l->line[l->line_n++] = p[i];
        }
    }
}

const char *consume_line_end(struct consume_line *l)
{
    end_line(l);
    return l->last;
}

/* ---- starting ---- */

static bool set_environment(const struct consume_command *c)
{
    const struct daybook_delivery *d = c->delivery;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"DAYBOOK_POSITION", d->event.position},
                   {"DAYBOOK_REVISION", d->event.revision},
                   {"DAYBOOK_ATTEMPT", d->attempt}};
    bool ok = setenv("DAYBOOK_STREAM", d->event.stream, 1) == 0 &&
              setenv("DAYBOOK_TYPE", d->event.type, 1) == 0 &&
              setenv("DAYBOOK_URL", c->url, 1) == 0;
    for (size_t i = 0; ok && i < sizeof numbers / sizeof numbers[0]; i++) {
        char digits[24];
        (void)snprintf(digits, sizeof digits, "%" PRIu64, numbers[i].value);
        ok = setenv(numbers[i].name, digits, 1) == 0;
    }
    return ok;
}

/* -1: it could not be made. */
static int make_input(struct daybook_bytes input)
{
    int fd = memfd_create("event", MFD_CLOEXEC);
    const char *p = input.p;
    for (size_t done = 0; fd >= 0 && done < input.n;) {
        ssize_t n = write(fd, p + done, input.n - done);
        if (n < 0 && errno != EINTR) {
            (void)close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        (void)lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

/* 0, or an errno. */
static int spawn(const char *command, int input, int errors, pid_t *ret)
{
    char shell[] = "/bin/sh", option[] = "-c";
    char *text = strdup(command);
    char *const argv[] = {shell, option, text, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = text == NULL ? ENOMEM : posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        free(text);
        return error;
    }
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        error = error ? error : posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
        error = error ? error : posix_spawnattr_setpgroup(&attributes, 0);
        error = error ? error : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
        error = error ? error : posix_spawn(ret, shell, &actions, &attributes, argv, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    free(text);
    return error;
}

/* ---- running ---- */

/* False: there is nothing to read any more. */
static bool pass_on(const struct consume_command *c, int errors, struct consume_line *line)
{
    char bytes[READ_BYTES];
    ssize_t n = read(errors, bytes, sizeof bytes);
    if (n <= 0) {
        return n < 0 && errno == EINTR;
    }
    consume_line_add(line, bytes, (size_t)n);
    c->clear(c->arg);
    (void)!write(STDERR_FILENO, bytes, (size_t)n);
    return true;
}

/* A grandchild may hold its standard error for longer: of that only what is there already is
 * read. */
static void attend(const struct consume_command *c, int process, int errors,
                   struct consume_line *line)
{
    struct pollfd fds[] = {{.fd = process, .events = POLLIN}, {.fd = errors, .events = POLLIN}};
    while ((fds[0].revents & POLLIN) == 0) {
        int wait_ms = c->tick(c->arg);
        int n = poll(fds, 2, wait_ms);
        if (n < 0 && errno != EINTR) {
            break;
        }
        if (n < 0) {
            fds[0].revents = fds[1].revents = 0;
        }
        if (fds[1].revents != 0 && !pass_on(c, errors, line)) {
            fds[1].fd = -1;
            fds[1].revents = 0;
        }
    }
    (void)fcntl(errors, F_SETFL, O_NONBLOCK);
    while (pass_on(c, errors, line)) {
    }
}

static void take_status(pid_t pid, struct consume_ended *ret)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        ret->status = 128 + WTERMSIG(status);
        (void)snprintf(ret->how, sizeof ret->how, "ended by signal %d", WTERMSIG(status));
    } else {
        ret->status = WEXITSTATUS(status);
        (void)snprintf(ret->how, sizeof ret->how, "exit status %d", ret->status);
    }
    const char *line = consume_line_end(&ret->line);
    ret->reason = line[0] == '\0' ? ret->how : line;
}

static int fail(int error)
{
    cli_error("the command cannot be started: %s", strerror(error));
    return -1;
}

/* The descriptor of the process, or -1. */
static int start(const struct consume_command *c, int errors, pid_t *ret)
{
    int input = set_environment(c) ? make_input(c->input) : -1;
    if (input < 0) {
        return fail(errno);
    }
    int error = spawn(c->command, input, errors, ret);
    (void)close(input);
    if (error != 0) {
        return fail(error);
    }
    int process = (int)syscall(SYS_pidfd_open, *ret, 0);
    if (process < 0) {
        error = errno;
        (void)kill(*ret, SIGKILL);
        (void)waitpid(*ret, NULL, 0);
        return fail(error);
    }
    (void)fcntl(process, F_SETFD, FD_CLOEXEC);
    return process;
}

bool consume_command_run(const struct consume_command *c, struct consume_ended *ret)
{
    int errors[2];
    pid_t pid = 0;
    memset(ret, 0, sizeof *ret);
    if (pipe2(errors, O_CLOEXEC) != 0) {
        return fail(errno) >= 0;
    }
    int process = start(c, errors[1], &pid);
    (void)close(errors[1]);
    if (process >= 0) {
        attend(c, process, errors[0], &ret->line);
        take_status(pid, ret);
        (void)close(process);
    }
    (void)close(errors[0]);
    return process >= 0;
}

enum consume_verdict consume_verdict_of(int status)
{
    switch (status) {
    case 0:
        return CONSUME_ACK;
    case 99:
        return CONSUME_SKIP;
    case 100:
        return CONSUME_PARK;
    case 126:
    case 127:
        return CONSUME_STOP;
    default:
        return CONSUME_RETRY;
    }
}
