/* child: a part of a test that may die, in a process of its own. */
#ifndef DAYBOOK_TESTS_UNIT_CHILD_H
#define DAYBOOK_TESTS_UNIT_CHILD_H

#include <stddef.h>

/* Runs `run(ctx)` in a child and returns its wait status (see waitpid): what `run` returns is its
 * exit status; a failed assertion aborts it. Memory is a copy, but what child_shared gave.
 * `seconds`: then it is killed (SIGALRM). */
int child_run(int (*run)(void *ctx), void *ctx, unsigned seconds);

/* Zeroed memory that children share; given back with child_shared_free. */
void *child_shared(size_t n);
void child_shared_free(void *p, size_t n);

/* A wait status in words, in a static buffer. */
const char *child_status_text(int status);

#endif
