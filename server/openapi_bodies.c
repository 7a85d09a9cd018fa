/* openapi_bodies: see openapi_bodies.h. */
#include "server/openapi_bodies.h"

#define JSON_OBJECT(more) "{\"application/json\":{\"schema\":{\"type\":\"object\"," more "}}}"
#define NAMES             "{\"type\":[\"string\",\"array\"],\"items\":{\"type\":\"string\"}}"
#define NUMBER(least)     "{\"type\":\"number\",\"minimum\":" #least "}"
#define FILTER                                                                               \
    "\"filter\":{\"type\":\"object\",\"properties\":{\"category\":" NAMES ",\"type\":" NAMES \
    ",\"prefix\":" NAMES ",\"tag\":" NAMES "},\"additionalProperties\":false}"
#define PLACE "{\"type\":[\"integer\",\"string\"],\"description\":\"a position, `start` or `end`\"}"
#define SETTINGS                                                                                \
    FILTER ",\"ordering\":{\"enum\":[\"stream\",\"none\"]},\"on_park\":{\"enum\":[\"block\","   \
           "\"continue\"]},\"ack_timeout_s\":" NUMBER(                                          \
               0.1) ",\"max_attempts\":{\"type\":\"integer\","                                  \
                    "\"minimum\":1,\"maximum\":1000},\"backoff\":{\"type\":\"object\","         \
                    "\"properties\":{"                                                          \
                    "\"initial_s\":" NUMBER(0) ",\"max_s\":" NUMBER(                            \
                        0) "},\"additionalProperties\":false},"                                 \
                           "\"max_in_flight\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":" \
                           "100000},"                                                           \
                           "\"paused\":{\"type\":\"boolean\"}"
#define LEASES "\"leases\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":1}"
#define LEASES_AND(more)                                                 \
    JSON_OBJECT("\"required\":[\"leases\"],\"properties\":{" LEASES more \
                "},\"additionalProperties\":false")
#define FREELY(properties) \
    JSON_OBJECT("\"properties\":{" properties "},\"additionalProperties\":false")

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
    {HTTP_PUT, "/v1/groups/{group}", FREELY(SETTINGS ",\"after\":" PLACE)},
    {HTTP_PATCH, "/v1/groups/{group}", FREELY(SETTINGS)},
    {HTTP_POST, "/v1/groups/{group}/seek",
     FREELY("\"to\":" PLACE ",\"time\":{\"type\":\"string\",\"format\":\"date-time\"}")},
    {HTTP_POST, "/v1/groups/{group}/fetch",
     FREELY("\"consumer\":{\"type\":\"string\",\"maxLength\":255},\"max\":{\"type\":\"integer\","
            "\"minimum\":1,\"maximum\":10000,\"default\":100},\"wait_s\":{\"type\":\"number\","
            "\"minimum\":0,\"maximum\":60,\"default\":0}")},
    {HTTP_POST, "/v1/groups/{group}/ack",
     LEASES_AND(",\"append\":{\"$ref\":\"#/components/schemas/AppendMany\"}")},
    {HTTP_POST, "/v1/groups/{group}/nack",
     LEASES_AND(",\"action\":{\"enum\":[\"retry\",\"park\",\"skip\"],\"default\":\"retry\"},"
                "\"delay_s\":" NUMBER(0) ",\"reason\":{\"type\":\"string\"}")},
    {HTTP_POST, "/v1/groups/{group}/extend", LEASES_AND(",\"timeout_s\":" NUMBER(0))},
    {HTTP_POST, "/v1/groups/{group}/parked/replay",
     FREELY("\"position\":{\"type\":\"integer\"},\"from\":{\"type\":\"integer\"},\"to\":{\"type\":"
            "\"integer\"}," FILTER ",\"dry_run\":{\"type\":\"boolean\"}")},
};

/* Every answer has it, these too. */
#define POSITION_HEADER \
    "\"headers\":{\"Daybook-Position\":{\"$ref\":\"#/components/headers/Daybook-Position\"}}"

#define MEDIA(type, schema) "\"" type "\":{\"schema\":" schema "}"
#define MESSAGE(name)       "{\"$ref\":\"#/components/schemas/" name "\"}"

static const struct {
    const char *path, *answer;
} answers[] = {
    {"/v1/projections/{name}/query",
     "\"200\":{\"description\":\"The rows of one commit of the model. As NDJSON an object a line, "
     "sent "
     "while the query runs; what goes wrong after the first is the last line, a Problem instead of "
     "a row.\"," POSITION_HEADER
     ",\"content\":{" MEDIA("application/json", MESSAGE("QueryResult")) "," MEDIA(
         "application/x-ndjson", "{\"type\":\"object\"}") "," MEDIA("application/x-protobuf",
                                                                    MESSAGE("QueryResult")) "}}"},
    {"/v1/projections/{name}/documents/{key}",
     "\"200\":{\"description\":\"The document. As server-sent events: now and after every change, "
     "with the "
     "model's position as the id; `event: deleted` where there is none.\"," POSITION_HEADER
     ",\"content\":{" MEDIA("application/json", MESSAGE("Document")) "," MEDIA(
         "text/event-stream", MESSAGE("Document")) "," MEDIA("application/x-protobuf",
                                                             MESSAGE("Document")) "}}"},
    {"/v1/admin/backup", "\"200\":{\"description\":\"A backup, for `daybook restore`; whole only "
                         "where the body is\"," POSITION_HEADER
                         ",\"content\":{\"application/vnd.daybook.backup\":{\"schema\":{\"type\":"
                         "\"string\",\"format\":\"binary\"}}}}"},
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
