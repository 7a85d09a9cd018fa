/* openapi_parameters: see openapi_parameters.h. */
#include "server/openapi_parameters.h"

#define NAMES "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"

static const struct parameter parameters[] = {
    {"stream", IN_PATH, "{\"type\":\"string\",\"minLength\":1}",
     "Name of the stream, percent-encoded: 1-255 bytes of UTF-8 without control characters."},
    {"revision", IN_PATH, "{\"type\":\"integer\",\"minimum\":1}", "Place in the stream, from 1."},
    {"position", IN_PATH, "{\"type\":\"integer\",\"minimum\":1}",
     "Place in the global log, from 1."},
    {"name", IN_PATH, "{\"type\":\"string\",\"minLength\":1,\"maxLength\":64}",
     "Name of the projection: letters, digits, `_`, `-` and `.`; `$counts` is built in."},
    {"group", IN_PATH, "{\"type\":\"string\",\"minLength\":1,\"maxLength\":64}",
     "Name of the consumer group: letters, digits, `_`, `-` and `.`."},
    {"key", IN_PATH, "{\"type\":\"string\",\"minLength\":1}",
     "Key of a document, percent-encoded: where the script has no `key`, the stream."},
    {"after", IN_EVENTS, "{\"type\":[\"integer\",\"string\"],\"default\":0}",
     "Forward: only events after this revision or position; `end`: only what comes from now on; of "
     "a "
     "stream `snapshot`: after its snapshot, whose revision (0: there is none) is in "
     "Daybook-After."},
    {"before", IN_EVENTS, "{\"type\":\"integer\",\"minimum\":1}",
     "Backward: only events before this revision or position; without it from the newest."},
    {"direction", IN_EVENTS, "{\"enum\":[\"forward\",\"backward\"],\"default\":\"forward\"}",
     "Which way to read."},
    {"limit", IN_EVENTS, "{\"type\":\"integer\",\"minimum\":1}",
     "At most this many events; a JSON page has 1000 without it."},
    {"follow", IN_EVENTS, "{\"type\":\"boolean\",\"default\":false}",
     "NDJSON and protobuf: after the last event stay and send new ones as they are committed; "
     "server-sent events always do."},
    {"wait", IN_EVENTS, "{\"type\":\"string\",\"pattern\":\"^[0-9]+(ms|s|m)$\"}",
     "JSON: where there is nothing yet, wait up to this long (`500ms`, `10s`, `1m`, at most 60 s) "
     "for the first event; an empty page when it has not come."},
    {"type", IN_EVENTS, NAMES, "Only events of this type; repeatable, any of them."},
    {"category", IN_EVENTS, NAMES,
     "Only events of streams of this category; repeatable, any of them."},
    {"prefix", IN_EVENTS, NAMES,
     "Only events of streams whose name starts with this; repeatable, any of them."},
    {"tag", IN_EVENTS, NAMES, "Only events with this tag; repeatable, any of them."},
    {"since", IN_EVENTS, "{\"type\":\"string\",\"format\":\"date-time\"}",
     "Only events that were committed at or after this time (RFC 3339), by the server's clock."},
    {"until", IN_EVENTS, "{\"type\":\"string\",\"format\":\"date-time\"}",
     "Only events that were committed before this time (RFC 3339), by the server's clock."},
    {"system", IN_EVENTS, "{\"type\":\"boolean\",\"default\":false}",
     "Include events of the system, whose stream or type starts with `$`."},
    {"Last-Event-ID", IN_HEADER, "{\"type\":\"integer\",\"minimum\":0}",
     "Of server-sent events: only those after this revision or position; wins over `after`."},
    {"traceparent", IN_HEADER, "{\"type\":\"string\"}",
     "W3C Trace Context: kept in the metadata of events that have none."},
    {"cloudevents", IN_EVENT, "{\"enum\":[\"binary\"]}",
     "The event as a CloudEvent in binary mode: attributes as ce- headers, data as the body. "
     "Accept chooses the other modes."},
    {"after", IN_LISTS, "{\"type\":\"string\"}",
     "Only names after this one in byte order: the `next` of the page before."},
    {"limit", IN_LISTS, "{\"type\":\"integer\",\"minimum\":1,\"default\":1000}",
     "At most this many rows."},
    {"category", IN_LISTS, "{\"type\":\"string\"}", "Only streams of this category."},
    {"prefix", IN_LISTS, "{\"type\":\"string\"}", "Only names that start with this."},
    {"system", IN_LISTS, "{\"type\":\"boolean\",\"default\":false}",
     "Include names of the system, which start with `$`."},
    {"after", IN_GROUPS, "{\"type\":\"integer\",\"minimum\":0,\"default\":0}",
     "Only events after this position: the `next` of the page before."},
    {"limit", IN_GROUPS, "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000,\"default\":100}",
     "At most this many."},
    {"dry_run", IN_GROUPS, "{\"type\":\"boolean\",\"default\":false}",
     "Only say how many there are."},
    {"on_error", IN_PROJECTIONS, "{\"enum\":[\"stop\",\"set_aside\"],\"default\":\"stop\"}",
     "What is done about an event that a handler fails on: stop there, faulted, or write it down "
     "and "
     "go on."},
    {"attempts", IN_PROJECTIONS,
     "{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"default\":1}",
     "How often an event is tried before that."},
    {"dry_run", IN_PROJECTIONS, "{\"type\":\"boolean\",\"default\":false}",
     "Only show what the script would do with the first events; nothing is kept."},
    {"limit", IN_PROJECTIONS, "{\"type\":\"integer\",\"minimum\":1}",
     "Of a dry run: so many events (1000 without it). Of errors and documents: at most "
     "so many (100)."},
    {"min_position", IN_PROJECTIONS, "{\"type\":\"integer\",\"minimum\":0}",
     "Answer from a model that has reached this position, else 503 `not-caught-up`."},
    {"wait", IN_PROJECTIONS, "{\"type\":\"string\",\"pattern\":\"^[0-9]+(ms|s|m)$\"}",
     "How long to wait for that, or for a projection that is being built (at most 60 s)."},
    {"after", IN_PROJECTIONS, "{\"type\":[\"integer\",\"string\"]}",
     "Only errors of events after this position, or documents after this key: the `next` of the "
     "page before. Of a document that is followed: the id of the last message, as Last-Event-ID."},
    {"follow", IN_PROJECTIONS, "{\"type\":\"boolean\",\"default\":false}",
     "Server-sent events: the document now and after every change; so does `Accept: "
     "text/event-stream`."},
    {"projection", IN_PROJECTIONS, "{\"type\":\"string\"}",
     "Required: the document projection, whose documents are by stream."},
    {"prefix", IN_PROJECTIONS, "{\"type\":\"string\"}",
     "Only documents whose key starts with this."},
    {"expected_revision", IN_WRITES, "{\"type\":[\"integer\",\"string\"],\"default\":\"any\"}",
     "What the stream must be like: its head revision, or `any`, `no_stream`, `stream_exists`."},
    {"tombstone", IN_WRITES, "{\"type\":\"boolean\",\"default\":false}",
     "Close the name for ever: nothing can be appended to the stream any more."},
};

const struct parameter *openapi_parameters(size_t *ret_n)
{
    *ret_n = sizeof parameters / sizeof *parameters;
    return parameters;
}

const char *openapi_place_name(enum parameter_place where)
{
    static const char *const names[PARAMETER_PLACES] = {
        [IN_PATH] = "path",     [IN_EVENTS] = "events",           [IN_LISTS] = "lists",
        [IN_EVENT] = "event",   [IN_PROJECTIONS] = "projections", [IN_GROUPS] = "groups",
        [IN_WRITES] = "writes", [IN_HEADER] = "header",
    };
    return names[where];
}
