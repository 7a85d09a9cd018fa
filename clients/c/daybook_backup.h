/* daybook_backup: part of daybook.h: a backup of the whole store. */
#ifndef DAYBOOK_BACKUP_H
#define DAYBOOK_BACKUP_H

#include "daybook.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Is given the next n bytes; false gives the backup up. */
typedef bool (*daybook_write_fn)(void *arg, const void *p, size_t n);

/* A consistent copy of everything that can be read, while the server goes on. What was written is a
 * backup only where this returns DAYBOOK_OK; `daybook restore` takes it. It is not tried again. */
enum daybook_result daybook_backup(struct daybook *db, daybook_write_fn write, void *arg);

#ifdef __cplusplus
}
#endif

#endif
