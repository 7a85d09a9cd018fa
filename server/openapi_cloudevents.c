/* openapi_cloudevents: tables. */
#include "server/openapi_cloudevents.h"

#include <stddef.h>
#include <string.h>

static const struct openapi_media requests[] = {
    {"application/cloudevents+json", "CloudEvent"},
    {"application/cloudevents+protobuf", "CloudEvent"},
    {"application/cloudevents-batch+json", "CloudEventBatch"},
    {"application/cloudevents-batch+protobuf", "CloudEventBatch"},
    {NULL, NULL},
};

static const struct openapi_media one[] = {
    {"application/cloudevents+json", "CloudEvent"},
    {"application/cloudevents+protobuf", "CloudEvent"},
    {NULL, NULL},
};

static const struct openapi_media page[] = {
    {"application/cloudevents-batch+json", "CloudEventBatch"},
    {"application/cloudevents-batch+protobuf", "CloudEventBatch"},
    {NULL, NULL},
};

const struct openapi_media *openapi_cloudevents(const char *message)
{
    if (strcmp(message, "Append") == 0 || strcmp(message, "AppendMany") == 0) {
        return requests;
    }
    return strcmp(message, "EventPage") == 0 ? page : strcmp(message, "Event") == 0 ? one : NULL;
}

/* In the JSON format; in protobuf they are the messages of proto/cloudevents/v1. */
const char openapi_cloudevents_schemas[] =
    "\"CloudEvent\":{\"type\":\"object\",\"description\":"
    "\"A CloudEvent 1.0. Other members are extension attributes: a string, a boolean or an integer "
    "of 32 bits; answers have stream, revision, position and recordedtime. In binary mode (any "
    "other "
    "Content-Type, with the header ce-specversion) attributes are ce- headers and the body is the "
    "data.\",\"properties\":{"
    "\"specversion\":{\"const\":\"1.0\"},"
    "\"id\":{\"type\":\"string\",\"minLength\":1},"
    "\"source\":{\"type\":\"string\",\"format\":\"uri-reference\",\"minLength\":1},"
    "\"type\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":255},"
    "\"subject\":{\"type\":\"string\",\"minLength\":1},"
    "\"time\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"datacontenttype\":{\"type\":\"string\",\"minLength\":1},"
    "\"dataschema\":{\"type\":\"string\",\"format\":\"uri\",\"minLength\":1},"
    "\"stream\":{\"type\":\"string\",\"description\":"
    "\"On POST /v1/events the stream it is appended to; without it subject is.\"},"
    "\"data\":{},"
    "\"data_base64\":{\"type\":\"string\",\"contentEncoding\":\"base64\"}},"
    "\"required\":[\"specversion\",\"id\",\"source\",\"type\"],"
    "\"propertyNames\":{\"pattern\":\"^([a-z0-9]+|data_base64)$\"}},"
    "\"CloudEventBatch\":{\"type\":\"array\",\"description\":"
    "\"Of a read the headers say how to go on: Daybook-Next is the after or before of the next "
    "page, "
    "Daybook-End whether there is nothing more now, Daybook-Head the newest position or revision, "
    "and "
    "Link, with rel=next, leads to the next page.\","
    "\"items\":{\"$ref\":\"#/components/schemas/CloudEvent\"}}";
