/* json_fields: the tables. The commonest fields come first. */
#include "server/json_fields.h"

/* BYTES_LITERAL is no constant expression. */
#define LITERAL(s)                          \
    {                                       \
        (const uint8_t *)(s), sizeof(s) - 1 \
    }

static const struct json_field command_fields[] = {
    {LITERAL("append"), MEMBER_APPEND, BIT(KIND_OBJECT), "an object"},
    {LITERAL("append_many"), MEMBER_APPEND_MANY, BIT(KIND_OBJECT), "an object"},
    {{NULL, 0}, 0, 0, NULL},
};

static const struct json_field many_fields[] = {
    {LITERAL("appends"), MEMBER_APPENDS, BIT(KIND_ARRAY), "an array"},
    {LITERAL("checks"), MEMBER_CHECKS, BIT(KIND_ARRAY), "an array"},
    {{NULL, 0}, 0, 0, NULL},
};

static const struct json_field append_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string"},
    {LITERAL("expected_revision"), MEMBER_EXPECTED_REVISION, BIT(KIND_STRING) | BIT(KIND_NUMBER),
     EXPECTED_WANTED},
    {LITERAL("events"), MEMBER_EVENTS, BIT(KIND_ARRAY), "an array"},
    {{NULL, 0}, 0, 0, NULL},
};

static const struct json_field check_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string"},
    {LITERAL("expected_revision"), MEMBER_EXPECTED_REVISION, BIT(KIND_STRING) | BIT(KIND_NUMBER),
     EXPECTED_WANTED},
    {{NULL, 0}, 0, 0, NULL},
};

static const struct json_field event_fields[] = {
    {LITERAL("type"), MEMBER_TYPE, BIT(KIND_STRING), "a string"},
    {LITERAL("data"), MEMBER_DATA, ANY_KIND, ""},
    {LITERAL("id"), MEMBER_ID, BIT(KIND_STRING), "a UUID string"},
    {LITERAL("metadata"), MEMBER_METADATA, BIT(KIND_OBJECT), "an object"},
    {LITERAL("tags"), MEMBER_TAGS, BIT(KIND_ARRAY), "an array of strings"},
    {LITERAL("data_base64"), MEMBER_DATA_BASE64, BIT(KIND_STRING), "a base64 string"},
    {LITERAL("content_type"), MEMBER_CONTENT_TYPE, BIT(KIND_STRING), "a string"},
    {LITERAL("occurred_at"), MEMBER_OCCURRED_AT, BIT(KIND_STRING), "an RFC 3339 string"},
    {LITERAL("schema_version"), MEMBER_SCHEMA_VERSION, BIT(KIND_NUMBER),
     "an integer from 0 to 4294967295"},
    {{NULL, 0}, 0, 0, NULL},
};

const struct json_field *json_fields_of(enum json_context context)
{
    static const struct json_field *const fields_of[] = {
        [IN_COMMAND] = command_fields, [IN_MANY] = many_fields,   [IN_APPEND] = append_fields,
        [IN_CHECK] = check_fields,     [IN_EVENT] = event_fields, [IN_TAGS] = NULL,
    };
    return fields_of[context];
}
