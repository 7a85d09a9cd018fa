/* workload: a store whose whole content follows from a seed: the event at each position, and where
 * each command begins. So any store that was written with it can be checked by itself. */
#ifndef DAYBOOK_TESTS_MODEL_WORKLOAD_H
#define DAYBOOK_TESTS_MODEL_WORKLOAD_H

#include "storage/store.h"

#define WORKLOAD_STREAMS 12

/* Number of events of the command whose first event is at position `start`. */
uint64_t workload_command_events(uint64_t seed, uint64_t start);
/* That command. */
struct command *workload_command(uint64_t seed, uint64_t start);
/* Commits up to `commands` commands as one group, from `*position` on, which moves on. Returns the
 * error of store_commit, of a command that failed (a full disk), or ERR_OK. */
err_t workload_commit(struct store *s, uint64_t seed, size_t commands, uint64_t *position);
/* NULL where `s` holds exactly the events up to its position, that is the end of a command, and
 * they read alike one by one and by stream; else what is wrong, in a static buffer. */
const char *workload_check(struct store *s, uint64_t seed);

#endif
