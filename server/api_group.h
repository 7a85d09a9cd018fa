/* api_group: what the routes of consumer groups share. Loop's thread. */
#ifndef DAYBOOK_SERVER_API_GROUP_H
#define DAYBOOK_SERVER_API_GROUP_H

#include "server/group_body.h"
#include "server/groups.h"
#include "server/query.h"

#define GROUP_ANSWER_BYTES_MAX ((size_t)64 << 20)

/* A call about the {group} of the path, whose answer is JSON; NULL, and it has replied, where the
 * name, a query parameter or Accept is not valid. `parameters` as for query_read; NULL: none. */
struct group_call *api_group_call(struct http_request *rq, struct app *app,
                                  const struct query_parameter *parameters, size_t ctx_bytes);

/* Else it has replied. */
bool api_group_body_is_json(struct http_request *rq);

/* For `run`. An error of groups.h that is no fault of the transaction becomes the answer: no such
 * group (then true); else it is the call's error. */
enum group_outcome api_group_failed(struct group_call *c, err_t err);
/* The whole answer is there: its buf's status decides. */
enum group_outcome api_group_answered(struct group_call *c, const struct group_turn *turn);
/* Whether the log has what the call wanted to commit; else it has its answer. */
bool api_group_is_committed(struct group_call *c);

#endif
