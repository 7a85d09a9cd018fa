/* interrupt: Ctrl-C (SIGINT) and SIGTERM as something a command asks for, so that it can say what
 * was done until then. The first signal is noted, a second one ends the process on the spot.
 *
 * One thread; process-wide. System calls that wait return EINTR. */
#ifndef DAYBOOK_CLI_INTERRUPT_H
#define DAYBOOK_CLI_INTERRUPT_H

#include "clients/c/daybook.h"

#include <stdbool.h>

/* From now on signals are noted. A handle that is not NULL is interrupted too (daybook_interrupt):
 * call interrupt_forget before it is closed. */
void interrupt_watch(struct daybook *db);
void interrupt_forget(void);
/* Whether a signal came. */
bool interrupt_came(void);
/* What the command then returns: 128 + the signal's number, as a shell has it. */
int interrupt_exit(void);

#endif
