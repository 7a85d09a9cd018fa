/* consume_command: one run of the command of `daybook consume --exec`: an event on its standard
 * input, facts about it in its environment, and what came of it.
 *
 * One thread; it changes the process's environment. */
#ifndef DAYBOOK_CLI_CONSUME_COMMAND_H
#define DAYBOOK_CLI_CONSUME_COMMAND_H

#include "clients/c/buffer.h"
#include "clients/c/daybook.h"

#define CONSUME_LINE_BYTES 1000 /* of a line on standard error that is kept */

/* The last line of what comes in pieces. {0} at first. */
struct consume_line {
    char line[CONSUME_LINE_BYTES + 1]; /* that is being written; what does not fit is cut */
    size_t line_n;
    char last[CONSUME_LINE_BYTES + 1]; /* the last whole one that is not blank */
};
void consume_line_add(struct consume_line *l, const char *p, size_t n);
/* The last line that is not blank, also where nothing ended it; "": there was none. */
const char *consume_line_end(struct consume_line *l);

struct consume_command {
    const char *command; /* for /bin/sh -c */
    const char *url;     /* of the server, for a command that talks with it */
    const struct daybook_delivery *delivery;
    struct daybook_bytes input;
    /* Called now and then while it runs; returns in how many milliseconds again. */
    int (*tick)(void *arg);
    void (*clear)(void *arg); /* called before something is written to standard error */
    void *arg;
};

struct consume_ended {
    int status; /* as a shell has it: 128 + the signal's number where one ended it */
    struct consume_line line;
    const char *reason; /* its last line on standard error, else how it ended; in here */
    char how[48];
};

/* Runs it to its end. What it writes to standard error is passed on. It is a process group of its
 * own, so that Ctrl-C does not end it. False: it could not be started, and why was printed. */
bool consume_command_run(const struct consume_command *c, struct consume_ended *ret);

/* What an exit status says of the event. */
enum consume_verdict {
    CONSUME_ACK,   /* 0 */
    CONSUME_SKIP,  /* 99: settled, though nothing was done with it */
    CONSUME_PARK,  /* 100: not to be tried again by itself */
    CONSUME_STOP,  /* 126, 127: the command cannot be run; no event is to blame */
    CONSUME_RETRY, /* any other */
};
enum consume_verdict consume_verdict_of(int status);

#endif
