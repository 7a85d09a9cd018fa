/* openapi: the OpenAPI 3.1 document of this server, made once from the tables that the server runs
 * on: routes.def, problems.def, the descriptors of the generated protobuf code, and those of the
 * openapi_ files. */
#include "daybook/v1/commands.pb-c.h"
#include "daybook/v1/problems.pb-c.h"
#include "daybook/v1/projections.pb-c.h"
#include "daybook/v1/snapshots.pb-c.h"
#include "daybook/v1/status.pb-c.h"
#include "daybook/v1/streams.pb-c.h"
#include "server/app.h"
#include "server/openapi_bodies.h"
#include "server/openapi_cloudevents.h"
#include "server/openapi_parameters.h"
#include "server/reply.h"
#include "server/router.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>

#define DOCUMENT_BYTES_MAX ((size_t)4 << 20)
#define SCHEMA(name)       "\"#/components/schemas/" name "\""

/* ---- what the tables do not say ---- */

/* Fields whose JSON form is not that of their protobuf type (see the comments in proto/). NULL for
 * the message: in any. `members`: what stands in the schema instead; "" leaves the field out. */
static const struct {
    const char *message, *field, *members;
} json_forms[] = {
    {NULL, "time_us", "\"time\":{\"type\":\"string\",\"format\":\"date-time\"}"},
    {NULL, "created_time_us", "\"created_time\":{\"type\":\"string\",\"format\":\"date-time\"}"},
    {NULL, "occurred_at", "\"occurred_at\":{\"type\":\"string\",\"format\":\"date-time\"}"},
    {NULL, "id", "\"id\":{\"type\":\"string\",\"format\":\"uuid\"}"},
    {NULL, "store_id", "\"store_id\":{\"type\":\"string\",\"format\":\"uuid\"}"},
    {NULL, "data",
     "\"data\":{\"description\":\"Any JSON value, kept byte for byte; where content_type is "
     "JSON.\"},\"data_base64\":{\"type\":\"string\",\"contentEncoding\":\"base64\","
     "\"description\":\"The payload where content_type is not JSON.\"}"},
    {NULL, "expected_revision",
     "\"expected_revision\":{\"oneOf\":[{\"type\":\"integer\",\"minimum\":0},{\"enum\":["
     "\"any\",\"no_stream\",\"stream_exists\"]}],\"default\":\"any\"}"},
    {NULL, "expected_state", ""},
    {"Event", "life", ""},
    {"Event", "redaction", ""},
    {"SetMetadata", "max_count", "\"max_count\":{\"type\":[\"integer\",\"null\"],\"minimum\":1}"},
    {"SetMetadata", "max_age_s", "\"max_age_s\":{\"type\":[\"integer\",\"null\"],\"minimum\":1}"},
    {"SetMetadata", "truncate_before",
     "\"truncate_before\":{\"type\":[\"integer\",\"null\"],\"minimum\":1}"},
    {"SetMetadata", "custom", "\"custom\":{\"type\":[\"object\",\"null\"]}"},
    {"StreamInfo", "metadata",
     "\"metadata\":{\"type\":\"object\",\"properties\":{\"max_count\":{\"type\":\"integer\"},\"max_"
     "age_"
     "s\":{\"type\":\"integer\"},\"truncate_before\":{\"type\":\"integer\"},\"custom\":{\"type\":"
     "\"object\"}}}"},
    {NULL, "metadata", "\"metadata\":{\"type\":\"object\"}"},
    {"StreamInfo", "max_count", ""},
    {"StreamInfo", "max_age_s", ""},
    {"StreamInfo", "truncate_before", ""},
    {"StreamInfo", "custom", ""},
    {"Violation", "expected",
     "\"expected\":{\"oneOf\":[{\"type\":\"integer\",\"minimum\":0},{\"enum\":[\"any\",\"no_"
     "stream\",\"stream_exists\"]}]}"},
    {"Control", "kind", "\"control\":{\"enum\":[\"caught_up\",\"heartbeat\"]}"},
    {NULL, "defined_us", "\"defined\":{\"type\":\"string\",\"format\":\"date-time\"}"},
    {NULL, "eta_seconds", "\"eta_seconds\":{\"type\":[\"number\",\"null\"]}"},
    {"Query", "params", "\"params\":{\"type\":[\"array\",\"object\"]}"},
    {"Query", "named_params", ""},
    {"QueryResult", "rows",
     "\"rows\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"description\":\"A value a "
     "column.\"}}"},
    {"Document", "document", "\"document\":{\"description\":\"Any JSON value.\"}"},
    {"NameCountList", "items",
     "\"categories\":{\"type\":\"array\",\"items\":{\"$ref\":" SCHEMA(
         "NameCount") "}},\"types\":{\"type\":\"array\",\"items\":{\"$ref\":" SCHEMA("NameCoun"
                                                                                     "t") "}}"},
};

/* Messages that are sent to the server: unknown fields are refused, and these are required. */
static const struct {
    const char *message, *closing;
} requests[] = {
    {"NewEvent", ",\"required\":[\"type\"],\"additionalProperties\":false"},
    {"Append", ",\"required\":[\"events\"],\"additionalProperties\":false"},
    {"AppendMany", ",\"required\":[\"appends\"],\"additionalProperties\":false"},
    {"Check", ",\"required\":[\"stream\"],\"additionalProperties\":false"},
    {"Condition", ",\"required\":[\"fail_if_events_match\"],\"additionalProperties\":false"},
    {"EventQuery", ",\"required\":[\"items\"],\"additionalProperties\":false"},
    {"EventMatch", ",\"minProperties\":1,\"additionalProperties\":false"},
    {"SetMetadata", ",\"additionalProperties\":false"},
    {"DeleteStream", ",\"additionalProperties\":false"},
    {"Redact", ",\"additionalProperties\":false"},
    {"PutSnapshot", ",\"required\":[\"revision\"],\"additionalProperties\":false"},
    {"Query", ",\"required\":[\"sql\"],\"additionalProperties\":false"},
    {"Command", ",\"minProperties\":1,\"maxProperties\":1,\"additionalProperties\":false"},
};

static const ProtobufCMessageDescriptor *const messages[] = {
    &daybook__v1__event__descriptor,
    &daybook__v1__event_batch__descriptor,
    &daybook__v1__control__descriptor,
    &daybook__v1__event_page__descriptor,
    &daybook__v1__new_event__descriptor,
    &daybook__v1__append__descriptor,
    &daybook__v1__check__descriptor,
    &daybook__v1__append_many__descriptor,
    &daybook__v1__command__descriptor,
    &daybook__v1__condition__descriptor,
    &daybook__v1__event_query__descriptor,
    &daybook__v1__event_match__descriptor,
    &daybook__v1__condition_violation__descriptor,
    &daybook__v1__append_result__descriptor,
    &daybook__v1__append_results__descriptor,
    &daybook__v1__set_metadata__descriptor,
    &daybook__v1__delete_stream__descriptor,
    &daybook__v1__redact__descriptor,
    &daybook__v1__life_result__descriptor,
    &daybook__v1__stream_info__descriptor,
    &daybook__v1__stream_summary__descriptor,
    &daybook__v1__stream_list__descriptor,
    &daybook__v1__name_count__descriptor,
    &daybook__v1__name_count_list__descriptor,
    &daybook__v1__put_snapshot__descriptor,
    &daybook__v1__snapshot__descriptor,
    &daybook__v1__snapshot_result__descriptor,
    &daybook__v1__violation__descriptor,
    &daybook__v1__problem__descriptor,
    &daybook__v1__status__descriptor,
    &daybook__v1__verify_report__descriptor,
    &daybook__v1__projection_fault__descriptor,
    &daybook__v1__projection_version__descriptor,
    &daybook__v1__projection__descriptor,
    &daybook__v1__projection_list__descriptor,
    &daybook__v1__query__descriptor,
    &daybook__v1__query_result__descriptor,
    &daybook__v1__column__descriptor,
    &daybook__v1__table__descriptor,
    &daybook__v1__projection_schema__descriptor,
    &daybook__v1__document__descriptor,
    &daybook__v1__document_list__descriptor,
    &daybook__v1__projection_error__descriptor,
    &daybook__v1__projection_error_list__descriptor,
    &daybook__v1__projection_errors_result__descriptor,
    &daybook__v1__dry_run_table__descriptor,
    &daybook__v1__dry_run__descriptor,
    NULL,
};

static pthread_once_t document_once = PTHREAD_ONCE_INIT;
static struct buf document;

static void make_document(void);
static void put_path(struct buf *b, const struct route *routes, size_t n, size_t first);
static void put_operation(struct buf *b, const struct route *route);
static void put_parameters(struct buf *b, const struct route *route);
static void put_content(struct buf *b, const char *message);
static void put_responses(struct buf *b, const struct route *route);
static void put_components(struct buf *b);
static void put_schema(struct buf *b, const ProtobufCMessageDescriptor *m);

void api_openapi(struct http_request *rq, struct app *app)
{
    pthread_once(&document_once, make_document);
    struct buf copy;
    buf_init(&copy, DOCUMENT_BYTES_MAX);
    buf_put(&copy, buf_bytes(&document));
    if (buf_status(&document) != ERR_OK) {
        buf_done(&copy);
        reply_error(rq, buf_status(&document), "writing the OpenAPI document");
        return;
    }
    reply_body(rq, 200, ENCODING_JSON, store_position(app->store), &copy);
}

static void put_text(struct buf *b, const char *text)
{
    buf_put_json_string(b, bytes_of_string(text));
}

static void make_document(void)
{
    struct buf *b = &document;
    size_t n;
    const struct route *routes = router_routes(&n);
    buf_init(b, DOCUMENT_BYTES_MAX);
    buf_put_string(
        b, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Daybook\",\"version\":\"" DAYBOOK_VERSION
           "\",\"summary\":\"An event-sourcing database server\",\"description\":\"Bodies are "
           "messages of proto/daybook/v1, as JSON or as protobuf. Positions and revisions count "
           "from 1.\","
           "\"license\":{\"name\":\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}},"
           "\"servers\":[{\"url\":\"/\"}],\"paths\":{");
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++) {
            seen = seen || strcmp(routes[j].path, routes[i].path) == 0;
        }
        if (!seen) {
            buf_put_string(b, any ? "," : "");
            put_path(b, routes, n, i);
            any = true;
        }
    }
    buf_put_string(b, "},\"components\":{");
    put_components(b);
    buf_put_string(b, "}}\n");
}

/* ---- paths ---- */

static void put_body(struct buf *b, const struct route *route)
{
    if (route->request[0] != '\0') {
        bool required = strcmp(route->request, "Redact") != 0;
        buf_put_format(
            b, ",\"requestBody\":{\"required\":%s,\"content\":", required ? "true" : "false");
        put_content(b, route->request);
        buf_put_byte(b, '}');
    }
    const char *content = openapi_body_of(route);
    if (content != NULL) {
        buf_put_format(b, ",\"requestBody\":{\"required\":true,\"content\":%s}", content);
    }
}

static const char *method_key(enum http_method method)
{
    static const char *const keys[] = {
        [HTTP_GET] = "get",         [HTTP_HEAD] = "head",   [HTTP_POST] = "post",
        [HTTP_PUT] = "put",         [HTTP_PATCH] = "patch", [HTTP_DELETE] = "delete",
        [HTTP_OPTIONS] = "options", [HTTP_OTHER] = "trace",
    };
    return keys[method];
}

static void put_path(struct buf *b, const struct route *routes, size_t n, size_t first)
{
    put_text(b, routes[first].path);
    buf_put_string(b, ":{");
    for (size_t i = first; i < n; i++) {
        if (strcmp(routes[i].path, routes[first].path) == 0) {
            buf_put_string(b, i == first ? "" : ",");
            put_operation(b, &routes[i]);
        }
    }
    buf_put_byte(b, '}');
}

static void put_operation(struct buf *b, const struct route *route)
{
    buf_put_format(b, "\"%s\":{\"operationId\":\"%s", method_key(route->method),
                   method_key(route->method));
    for (const char *p = route->path; *p != '\0'; p++) {
        if (*p != '{' && *p != '}') {
            buf_put_byte(b, isalnum((unsigned char)*p) ? (uint8_t)*p : '_');
        }
    }
    buf_put_string(b, "\",\"summary\":");
    put_text(b, route->summary);
    buf_put_string(b, ",\"parameters\":[");
    put_parameters(b, route);
    buf_put_byte(b, ']');
    put_body(b, route);
    buf_put_string(b, ",\"responses\":{");
    put_responses(b, route);
    buf_put_string(b, "}}");
}

static void put_parameter_ref(struct buf *b, struct bytes name, enum parameter_place where,
                              bool *first)
{
    size_t n;
    const struct parameter *parameters = openapi_parameters(&n);
    for (size_t i = 0; i < n; i++) {
        if (parameters[i].where == where &&
            bytes_equal(name, bytes_of_string(parameters[i].name))) {
            buf_put_format(b, "%s{\"$ref\":\"#/components/parameters/%s_%s\"}", *first ? "" : ",",
                           openapi_place_name(where), parameters[i].name);
            *first = false;
        }
    }
}

static void put_parameters(struct buf *b, const struct route *route)
{
    bool first = true;
    for (const char *p = strchr(route->path, '{'); p != NULL; p = strchr(p + 1, '{')) {
        put_parameter_ref(b, bytes_of(p + 1, strcspn(p + 1, "}")), IN_PATH, &first);
    }
    bool group = strncmp(route->path, "/v1/groups", 10) == 0;
    bool projection = strncmp(route->path, "/v1/projections", 15) == 0 ||
                      strcmp(route->path, "/v1/streams/{stream}/state") == 0;
    enum parameter_place where = group                                        ? IN_GROUPS
                                 : projection                                 ? IN_PROJECTIONS
                                 : strcmp(route->response, "EventPage") == 0  ? IN_EVENTS
                                 : strcmp(route->response, "Event") == 0      ? IN_EVENT
                                 : strcmp(route->response, "LifeResult") == 0 ? IN_WRITES
                                                                              : IN_LISTS;
    for (const char *p = route->parameters; *p != '\0';) {
        size_t n = strcspn(p, " ");
        put_parameter_ref(b, bytes_of(p, n), where, &first);
        p += n + strspn(p + n, " ");
    }
    bool appends = strncmp(route->response, "Append", 6) == 0;
    if (where == IN_EVENTS || appends) {
        put_parameter_ref(b, bytes_of_string(appends ? "traceparent" : "Last-Event-ID"), IN_HEADER,
                          &first);
    }
}

static void put_media(struct buf *b, const char *media_type, const char *message)
{
    /* "A|B" is one of them. */
    bool several = strchr(message, '|') != NULL;
    buf_put_format(b, "\"%s\":{\"schema\":%s", media_type, several ? "{\"oneOf\":[" : "");
    for (const char *p = message; *p != '\0';) {
        size_t n = strcspn(p, "|");
        buf_put_format(b, "%s{\"$ref\":" SCHEMA("%.*s") "}", p == message ? "" : ",", (int)n, p);
        p += n + (p[n] == '|');
    }
    buf_put_string(b, several ? "]}}" : "}");
}

/* A message in both encodings. A read is a page in JSON and a stream of events in the others. */
static void put_content(struct buf *b, const char *message)
{
    bool page = strcmp(message, "EventPage") == 0;
    buf_put_byte(b, '{');
    put_media(b, "application/json", message);
    buf_put_byte(b, ',');
    if (page) {
        /* A line is an event or, of a live read, a control; so is the data of a message. */
        put_media(b, "application/x-ndjson", "Event|Control");
        buf_put_byte(b, ',');
        put_media(b, "text/event-stream", "Event|Control");
        buf_put_byte(b, ',');
    }
    put_media(b, "application/x-protobuf", page ? "EventBatch" : message);
    const struct openapi_media *more = openapi_cloudevents(message);
    for (; more != NULL && more->media_type != NULL; more++) {
        buf_put_byte(b, ',');
        put_media(b, more->media_type, more->schema);
    }
    buf_put_byte(b, '}');
}

static void put_response(struct buf *b, const char *status, const char *description,
                         const char *message)
{
    buf_put_format(b, "\"%s\":{\"description\":", status);
    put_text(b, description);
    buf_put_string(b, ",\"headers\":{\"Daybook-Position\":{\"$ref\":\"#/components/headers/"
                      "Daybook-Position\"}}");
    if (message[0] != '\0') {
        buf_put_string(b, ",\"content\":");
        put_content(b, message);
    } else if (strcmp(status, "204") != 0) {
        buf_put_string(b, ",\"content\":{\"application/json\":{\"schema\":{\"type\":\"object\"}}}");
    }
    buf_put_byte(b, '}');
}

static void put_responses(struct buf *b, const struct route *route)
{
    bool makes = route->request[0] != '\0' && strncmp(route->response, "Append", 6) == 0;
    bool keeps = strcmp(route->response, "SnapshotResult") == 0;
    if (keeps || makes) {
        put_response(b, "201", "Done: on disk and visible to every read", route->response);
        buf_put_byte(b, ',');
        put_response(b, "200",
                     keeps ? "Done, in place of the one before"
                           : "Done before: the same events were sent again",
                     route->response);
    } else if (openapi_answer_of(route) != NULL) {
        buf_put_string(b, openapi_answer_of(route));
    } else {
        bool empty = route->handle == api_snapshot_delete;
        put_response(b, empty ? "204" : "200", empty ? "Done" : "The answer", route->response);
    }
    buf_put_string(b, ",\"default\":{\"$ref\":\"#/components/responses/Problem\"}");
}

/* ---- components ---- */

static const char *place_of(enum parameter_place where)
{
    return where == IN_PATH ? "path" : where == IN_HEADER ? "header" : "query";
}

static void put_parameter(struct buf *b, const struct parameter *p)
{
    buf_put_format(b, "\"%s_%s\":{\"name\":\"%s\",\"in\":\"%s\",\"schema\":%s%s,\"description\":",
                   openapi_place_name(p->where), p->name, p->name, place_of(p->where), p->schema,
                   p->where == IN_PATH ? ",\"required\":true" : "");
    put_text(b, p->description);
    buf_put_byte(b, '}');
}

static void put_components(struct buf *b)
{
    size_t n;
    const struct parameter *parameters = openapi_parameters(&n);
    buf_put_string(b, "\"parameters\":{");
    for (size_t i = 0; i < n; i++) {
        buf_put_string(b, i == 0 ? "" : ",");
        put_parameter(b, &parameters[i]);
    }
    buf_put_string(
        b,
        "},\"headers\":{\"Daybook-Position\":{\"description\":\"The last committed position that "
        "the answer "
        "reflects.\",\"schema\":{\"type\":\"integer\",\"minimum\":0}}},"
        "\"responses\":{\"Problem\":{\"description\":\"What was wrong (RFC 9457)\",\"content\":{");
    put_media(b, "application/problem+json", "Problem");
    buf_put_byte(b, ',');
    put_media(b, "application/x-protobuf", "Problem");
    buf_put_string(b, "}}},\"schemas\":{");
    for (size_t i = 0; messages[i] != NULL; i++) {
        buf_put_string(b, i == 0 ? "" : ",");
        put_schema(b, messages[i]);
    }
    buf_put_string(b, ",");
    buf_put_string(b, openapi_cloudevents_schemas);
    buf_put_byte(b, '}');
}

static void put_scalar(struct buf *b, const ProtobufCFieldDescriptor *f)
{
    const ProtobufCMessageDescriptor *message = f->descriptor;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        buf_put_string(b, "{\"type\":\"boolean\"}");
        return;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        buf_put_string(b, "{\"type\":\"number\"}");
        return;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_ENUM:
        buf_put_string(b, "{\"type\":\"string\"}");
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        buf_put_format(b, "{\"$ref\":" SCHEMA("%s") "}", message->short_name);
        return;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buf_put_string(b, "{\"type\":\"integer\"}");
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        break;
    }
    buf_put_string(b, "{\"type\":\"integer\",\"minimum\":0}");
}

static const char *json_form(const char *message, const char *field)
{
    for (size_t i = 0; i < sizeof json_forms / sizeof *json_forms; i++) {
        bool here = json_forms[i].message == NULL || strcmp(json_forms[i].message, message) == 0;
        if (here && strcmp(json_forms[i].field, field) == 0) {
            return json_forms[i].members;
        }
    }
    return NULL;
}

/* The stable codes, as the values that a problem's type may have, and what each means. */
static void put_problem_types(struct buf *b)
{
    buf_put_string(b, "\"type\":{\"type\":\"string\",\"oneOf\":[");
    for (int i = 0; i < PROBLEM_COUNT; i++) {
        const struct problem_row *row = reply_problem_row((enum problem)i);
        char description[512];
        snprintf(description, sizeof description, "%u: %s; %s", row->status, row->title, row->hint);
        buf_put_format(b, "%s{\"const\":\"urn:daybook:problem:%s\",\"description\":",
                       i == 0 ? "" : ",", row->code);
        put_text(b, description);
        buf_put_byte(b, '}');
    }
    buf_put_string(b, "]}");
}

static void put_field(struct buf *b, const ProtobufCMessageDescriptor *m,
                      const ProtobufCFieldDescriptor *f)
{
    const char *members = json_form(m->short_name, f->name);
    if (members != NULL) {
        buf_put_string(b, members);
        return;
    }
    if (m == &daybook__v1__problem__descriptor && strcmp(f->name, "type") == 0) {
        put_problem_types(b);
        return;
    }
    bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
    buf_put_format(b, "\"%s\":%s", f->name, repeated ? "{\"type\":\"array\",\"items\":" : "");
    put_scalar(b, f);
    buf_put_string(b, repeated ? "}" : "");
}

static void put_schema(struct buf *b, const ProtobufCMessageDescriptor *m)
{
    buf_put_format(b, "\"%s\":{\"type\":\"object\",\"x-protobuf-message\":\"%s\",\"properties\":{",
                   m->short_name, m->name);
    bool first = true;
    for (unsigned i = 0; i < m->n_fields; i++) {
        const char *members = json_form(m->short_name, m->fields[i].name);
        if (members != NULL && members[0] == '\0') {
            continue;
        }
        buf_put_string(b, first ? "" : ",");
        put_field(b, m, &m->fields[i]);
        first = false;
    }
    buf_put_byte(b, '}');
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        buf_put_string(b,
                       strcmp(requests[i].message, m->short_name) == 0 ? requests[i].closing : "");
    }
    buf_put_byte(b, '}');
}
