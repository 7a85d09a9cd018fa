/* sql_guard: what SQLite does not bound by itself while a statement runs: its memory, and functions
 * whose cost is out of proportion to the text that calls them.
 *
 * SQLite asks between two steps of its machine whether to go on, and one step may be a function
 * that takes an hour (instr() of 16 MB in 16 MB) or a text of a kilobyte that is expanded to
 * gigabytes while it is prepared. So every allocation is counted against a budget of the thread,
 * and such functions are replaced by ones that are linear, or say what they cost. Only sql.c
 * includes it. */
#ifndef DAYBOOK_PROJECTIONS_SQL_GUARD_H
#define DAYBOOK_PROJECTIONS_SQL_GUARD_H

#include "storage/base/bytes.h"

struct sqlite3;

/* Before SQLite is initialized. */
void sql_guard_init(void);

/* Bounds of values, texts and statements; what no script needs is off. */
void sql_guard_limit(struct sqlite3 *db);

/* From now on this thread may allocate `left` bytes more within SQLite; beyond that it gets no
 * memory. What is given back counts. */
void sql_guard_enter(int64_t left);
/* Until here. *ret_left: what was left. True: memory was refused. */
bool sql_guard_leave(int64_t *ret_left);

/* Asked before something that costs about so many steps of a byte; false: it may not be done. */
typedef bool (*sql_guard_spend)(void *ctx, uint64_t bytes);

/* Puts functions of ours in the place of SQLite's: instr, replace, trim, ltrim and rtrim with a
 * set, like, glob, printf and format; and ends a statement that calls randomblob or total_changes,
 * or, on a connection that writes, random. False: no memory. */
bool sql_guard_add_functions(struct sqlite3 *db, sql_guard_spend may_spend, void *ctx);

#endif
