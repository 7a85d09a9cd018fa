/* state_env: DATA/state, the LMDB environment for small durable state that is not in the log:
 * consumer groups, clients' snapshots.
 *
 * Opened once per process. Several threads may use it: a write transaction waits for the one
 * before it, so it must be short; a transaction belongs to one thread. All rows are in one table
 * (state_table), whose keys begin with one byte that says whose they are (enum state_owner). */
#ifndef DAYBOOK_PROJECTIONS_STATE_ENV_H
#define DAYBOOK_PROJECTIONS_STATE_ENV_H

#include "storage/kv.h"

enum state_owner {
    STATE_FORMAT = 'F', /* state_env.c's own */
    STATE_GROUPS = 'G',
    STATE_SNAPSHOTS = 'S',
};

/* The table with all rows: kv_get(txn, STATE_TABLE, …). */
#define STATE_TABLE KV_META

struct state_env;

/* Opens or makes `dir`, whose parent exists. map_bytes: of LMDB's sparse map; 0: 256 GiB.
 * ERR_FORMAT: of another version of this format. */
MUST_CHECK err_t state_env_open(const char *dir, uint64_t map_bytes, struct state_env **ret,
                                struct err_text *et);
/* No transaction may be open. NULL is fine. */
void state_env_close(struct state_env *env);
struct kv *state_env_kv(struct state_env *env);

#endif
