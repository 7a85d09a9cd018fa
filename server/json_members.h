/* json_members: reads one JSON object, or an array of objects, whose members are not known before:
 * each is handed over as it comes, without a tree. Values that are arrays or objects are not looked
 * into.
 *
 * Any thread; nothing is shared. */
#ifndef DAYBOOK_SERVER_JSON_MEMBERS_H
#define DAYBOOK_SERVER_JSON_MEMBERS_H

#include "server/json.h"
#include "server/json_fields.h"

/* A member; borrowed from the text, or from the arena where a string had escapes. */
struct json_found {
    struct bytes name;
    enum json_kind kind;
    struct bytes source; /* the value as it stands in the text */
    struct bytes text;   /* of a string: decoded; of the others: empty. "true" or "false" is in
                            `source` */
};

/* False stops the reading. `open` and `close` may be NULL. */
struct json_members_handler {
    bool (*open)(void *ctx); /* an object begins */
    bool (*member)(void *ctx, const struct json_found *found);
    bool (*close)(void *ctx);
    void *ctx;
};

enum json_members_result {
    JSON_MEMBERS_OK,
    JSON_MEMBERS_INVALID, /* it is not JSON, or nested deeper than JSON_DEPTH_MAX: `detail` says why
                           */
    JSON_MEMBERS_KIND,    /* it is JSON, but no object; of an array: an element that is none */
    JSON_MEMBERS_MEMORY,  /* the arena is exhausted */
    JSON_MEMBERS_STOPPED, /* by the handler */
};

/* `list`: the text is an array of objects, else it is one object. */
enum json_members_result json_read_members(struct bytes text, bool list, struct arena *arena,
                                           const struct json_members_handler *handler,
                                           char detail[JSON_DETAIL_MAX]);

/* Reads an array of at most `max` strings, such as a member's source; copies them. False: it is
 * something else, or there is no memory. */
bool json_read_strings(struct bytes text, size_t max, struct arena *arena, struct bytes **ret,
                       size_t *ret_n);

#endif
