/* openapi_bodies: see openapi_bodies.h. */
#include "server/openapi_bodies.h"

static const struct {
    enum http_method method;
    const char *path, *content;
} bodies[] = {
    {HTTP_PUT, "/v1/projections/{name}",
     "{\"application/sql\":{\"schema\":{\"type\":\"string\",\"description\":\"CREATE TABLE, INDEX "
     "and "
     "VIEW, then blocks: `-- @on EventType[, ...]` or `-- @on *`, each with the statements to run "
     "for such an event. Parameters: :stream :entity :category :type :revision :position :time "
     ":occurred_at :id :data :metadata. `-- @category order` keeps to streams of a category.\"}},"
     "\"text/x-lua\":{\"schema\":{\"type\":\"string\",\"description\":\"A chunk of Lua 5.4 that "
     "returns a "
     "table: `on`, handlers `function(state, event) ... return state end` by event type or `*`; "
     "optional `init()`, `key(event)` (nil skips, a list fans out; without it the stream), "
     "`category`, "
     "`types`.\"}}}"},
    {HTTP_POST, "/v1/projections/{name}/query",
     "{\"application/"
     "json\":{\"schema\":{\"type\":\"object\",\"required\":[\"sql\"],\"properties\":{"
     "\"sql\":{\"type\":\"string\"},\"params\":{\"type\":[\"array\",\"object\"]}},"
     "\"additionalProperties\":false}}}"},
};

/* Every answer has it, these too. */
#define POSITION_HEADER \
    "\"headers\":{\"Daybook-Position\":{\"$ref\":\"#/components/headers/Daybook-Position\"}}"

static const struct {
    const char *path, *answer;
} answers[] = {
    {"/metrics",
     "\"200\":{\"description\":\"Prometheus text format 0.0.4\"," POSITION_HEADER ",\"content\":{"
     "\"text/plain\":{\"schema\":{\"type\":\"string\"}}}}"},
};

const char *openapi_answer_of(const struct route *route)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        if (strcmp(answers[i].path, route->path) == 0) {
            return answers[i].answer;
        }
    }
    return NULL;
}

const char *openapi_body_of(const struct route *route)
{
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        if (bodies[i].method == route->method && strcmp(bodies[i].path, route->path) == 0) {
            return bodies[i].content;
        }
    }
    return NULL;
}
