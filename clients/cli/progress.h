/* progress: one line on stderr, rewritten a few times a second, when stderr is a terminal.
 *
 * One thread. */
#ifndef DAYBOOK_CLI_PROGRESS_H
#define DAYBOOK_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown; /* at all */
    uint64_t start_ms, last_ms;
};

/* Starts the clock; shows nothing where `quiet`, or where stderr is no terminal. */
void progress_start(struct progress *p, bool quiet);
/* Whether it is time to show it again; cheap. */
bool progress_is_due(const struct progress *p);
/* Shows events, their rate, and with all > 0 the part done / all and the time left. */
void progress_show(struct progress *p, uint64_t events, uint64_t done, uint64_t all);
/* Shows MiB and their rate. */
void progress_show_bytes(struct progress *p, uint64_t bytes);
/* Takes the line away. */
void progress_clear(struct progress *p);
double progress_seconds(const struct progress *p);

#endif
