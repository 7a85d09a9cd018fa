/* maintenance: what daybookd does instead of serving: --verify and --reindex. One thread; prints to
 * stdout and stderr. */
#ifndef DAYBOOK_SERVER_MAINTENANCE_H
#define DAYBOOK_SERVER_MAINTENANCE_H

#include "storage/store.h"

/* What daybookd exits with. */
enum maintenance_exit { MAINTENANCE_OK = 0, MAINTENANCE_FINDINGS = 1, MAINTENANCE_ERROR = 2 };

/* Each prints progress where stderr is a terminal, and one summary line; returns the exit
 * status. */
int maintenance_verify(const struct store_options *options);
int maintenance_reindex(const struct store_options *options);

#endif
