/* http_target: takes a request target apart: path segments and query parameters, percent-decoded.
 *
 * Any thread; pure. Results live in the arena that was given. */
#ifndef DAYBOOK_SERVER_HTTP_TARGET_H
#define DAYBOOK_SERVER_HTTP_TARGET_H

#include "storage/base/arena.h"

struct http_parameter {
    struct bytes name, value;
};

struct http_target {
    struct bytes path; /* raw, without the query; a NUL follows it */
    struct bytes *segments;
    size_t segment_count;
    struct http_parameter *parameters;
    size_t parameter_count;
};

/* Origin form ("/v1/streams/a%2Fb?x=1"), absolute form ("http://host/path", of which the path
 * counts) or "*" (no segments). ERR_INVALID: not one of them, or its percent-encoding is broken;
 * *ret_fault says why, and ret->path is set all the same. ERR_MEMORY. "/" has no segments; "/a//b/"
 * has "a", "", "b", "". */
MUST_CHECK err_t http_target_parse(struct arena *arena, struct bytes target,
                                   struct http_target *ret, const char **ret_fault);

#endif
