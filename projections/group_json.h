/* group_json: reading the JSON that group_catalog.c writes into the log.
 *
 * For our own events: strict about what it is asked for, passes over the rest (members of a newer
 * binary). Nothing is allocated but texts with escapes, in the arena. After an error all calls are
 * no-ops that answer false, and `failed` says so. */
#ifndef DAYBOOK_PROJECTIONS_GROUP_JSON_H
#define DAYBOOK_PROJECTIONS_GROUP_JSON_H

#include "storage/base/arena.h"

struct group_json {
    const uint8_t *p, *end;
    struct arena *arena;
    bool failed;
};

void group_json_init(struct group_json *j, struct bytes text, struct arena *arena);

/* Walks an object or a list: call it before each member or item; *first is true before the first.
 * False: it is over. */
bool group_json_member(struct group_json *j, bool *first, struct bytes *ret_name);
bool group_json_item(struct group_json *j, bool *first);

/* One value; what is returned after a failure is empty. */
struct bytes group_json_string(struct group_json *j);
uint64_t group_json_number(struct group_json *j);
bool group_json_bool(struct group_json *j);
/* Whatever it is, as its own text. */
struct bytes group_json_raw(struct group_json *j);

#endif
