/* restore: what daybookd does with a backup instead of serving: --verify-backup and --restore. One
 * thread; prints to stdout and stderr; returns the exit status (maintenance.h). */
#ifndef DAYBOOK_SERVER_RESTORE_H
#define DAYBOOK_SERVER_RESTORE_H

#include "storage/store.h"

/* Reads the whole file ("-": standard input) and says what is wrong with it, and where. */
int restore_verify(const char *file);

/* Makes options->dir, which must be new or empty, a store with what the backup has, or what it had
 * at `to_position` (0: all). */
int restore_run(const char *file, const struct store_options *options, uint64_t to_position);

#endif
