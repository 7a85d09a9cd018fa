/* script_lua: a document projection's script, confined: Lua 5.4 that sees events and states and
 * nothing else. script_lua*.c are the only files that know Lua.
 *
 * The chunk returns a table: `on` (handlers by event type, "*" for all others), and optionally
 * `init`, `key`, `category`, `types`. One thread at a time; no clock: whoever limits the time says
 * so by `cancelled`. States are kept decoded until script_forget. */
#ifndef DAYBOOK_PROJECTIONS_SCRIPT_LUA_H
#define DAYBOOK_PROJECTIONS_SCRIPT_LUA_H

#include "storage/base/buf.h"
#include "storage/store.h"

struct script_lua;

#define SCRIPT_KEYS_MAX  256               /* of one event */
#define SCRIPT_STATE_MAX ((size_t)1 << 20) /* bytes of one state as JSON */

/* Loads and runs the chunk; text only, no bytecode. ERR_INVALID with the line. */
MUST_CHECK err_t script_lua_open(struct bytes source, struct script_lua **ret, struct err_text *et);
/* NULL is fine. */
void script_lua_close(struct script_lua *s);

/* Which events it takes; borrowed. */
const struct store_filter *script_lua_filter(const struct script_lua *s);
/* Whether it has a `key`; else documents are by stream. */
bool script_lua_chooses_keys(const struct script_lua *s);
/* Asked every few thousand steps; NULL: never. */
void script_lua_set_cancel(struct script_lua *s, bool (*cancelled)(void *ctx), void *ctx);

/* Begins with an event, which must stay until the next one: the keys of the documents that it
 * changes (none: it is skipped), borrowed until then too. ERR_INVALID, ERR_LIMIT: the script
 * failed; after that script_lua_forget. */
MUST_CHECK err_t script_lua_begin(struct script_lua *s, const struct event *e,
                                  const struct bytes **ret_keys, size_t *ret_n,
                                  struct err_text *et);
/* Puts one there: from its JSON, or where that is empty a new one. */
MUST_CHECK err_t script_lua_load(struct script_lua *s, struct bytes key, struct bytes json,
                                 struct err_text *et);
/* Lets the handler fold the event into the state of a key. *ret_deleted: it returned nil.
 * ERR_NOT_FOUND: the state is not there, load it first. */
MUST_CHECK err_t script_lua_fold(struct script_lua *s, struct bytes key, bool *ret_deleted,
                                 struct err_text *et);
/* Appends a state as JSON. */
MUST_CHECK err_t script_lua_save(struct script_lua *s, struct bytes key, struct buf *ret,
                                 struct err_text *et);
/* Drops all states. */
void script_lua_forget(struct script_lua *s);
/* Whether it holds more than half of what it may, garbage not counted. */
bool script_lua_is_heavy(struct script_lua *s);
#define SCRIPT_MEMORY_MAX ((size_t)64 << 20)

#endif
