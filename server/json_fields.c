/* json_fields: the tables. The commonest fields come first. */
#include "server/json_fields.h"

/* BYTES_LITERAL is no constant expression. */
#define LITERAL(s)                          \
    {                                       \
        (const uint8_t *)(s), sizeof(s) - 1 \
    }

#define LIMIT_WANTED "an integer from 1, or null for none"

static const struct json_field command_fields[] = {
    {LITERAL("append"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_APPEND},
    {LITERAL("append_many"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_MANY},
    {LITERAL("set_metadata"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_SET_METADATA},
    {LITERAL("delete_stream"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_DELETE_STREAM},
    {LITERAL("redact"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_REDACT},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field many_fields[] = {
    {LITERAL("appends"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array", IN_APPENDS},
    {LITERAL("checks"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array", IN_CHECKS},
    {LITERAL("condition"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_CONDITION},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field append_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string", 0},
    {LITERAL("expected_revision"), MEMBER_EXPECTED_REVISION, BIT(KIND_STRING) | BIT(KIND_NUMBER),
     EXPECTED_WANTED, 0},
    {LITERAL("events"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array", IN_EVENTS},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field check_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string", 0},
    {LITERAL("expected_revision"), MEMBER_EXPECTED_REVISION, BIT(KIND_STRING) | BIT(KIND_NUMBER),
     EXPECTED_WANTED, 0},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field condition_fields[] = {
    {LITERAL("fail_if_events_match"), MEMBER_OPENS, BIT(KIND_OBJECT), "an object", IN_QUERY},
    {LITERAL("after"), MEMBER_AFTER, BIT(KIND_NUMBER), POSITION_WANTED, 0},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field query_fields[] = {
    {LITERAL("items"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array of objects", IN_ITEMS},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field item_fields[] = {
    {LITERAL("types"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array of strings", IN_ITEM_TYPES},
    {LITERAL("tags"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array of strings", IN_ITEM_TAGS},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field set_metadata_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string", 0},
    {LITERAL("expected_revision"), MEMBER_EXPECTED_REVISION, BIT(KIND_STRING) | BIT(KIND_NUMBER),
     EXPECTED_WANTED, 0},
    {LITERAL("max_count"), MEMBER_MAX_COUNT, BIT(KIND_NUMBER), LIMIT_WANTED, 0},
    {LITERAL("max_age_s"), MEMBER_MAX_AGE_S, BIT(KIND_NUMBER), LIMIT_WANTED, 0},
    {LITERAL("truncate_before"), MEMBER_TRUNCATE_BEFORE, BIT(KIND_NUMBER), LIMIT_WANTED, 0},
    {LITERAL("custom"), MEMBER_CUSTOM, BIT(KIND_OBJECT), "an object, or null for none", 0},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field delete_stream_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string", 0},
    {LITERAL("expected_revision"), MEMBER_EXPECTED_REVISION, BIT(KIND_STRING) | BIT(KIND_NUMBER),
     EXPECTED_WANTED, 0},
    {LITERAL("tombstone"), MEMBER_TOMBSTONE, BIT(KIND_BOOLEAN), "true or false", 0},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field redact_fields[] = {
    {LITERAL("stream"), MEMBER_STREAM, BIT(KIND_STRING), "a string", 0},
    {LITERAL("revision"), MEMBER_REVISION, BIT(KIND_NUMBER), "an integer from 1", 0},
    {LITERAL("reason"), MEMBER_REASON, BIT(KIND_STRING), "a string", 0},
    {{NULL, 0}, 0, 0, NULL, 0},
};

static const struct json_field event_fields[] = {
    {LITERAL("type"), MEMBER_TYPE, BIT(KIND_STRING), "a string", 0},
    {LITERAL("data"), MEMBER_DATA, ANY_KIND, "", 0},
    {LITERAL("id"), MEMBER_ID, BIT(KIND_STRING), "a UUID string", 0},
    {LITERAL("metadata"), MEMBER_METADATA, BIT(KIND_OBJECT), "an object", 0},
    {LITERAL("tags"), MEMBER_OPENS, BIT(KIND_ARRAY), "an array of strings", IN_TAGS},
    {LITERAL("data_base64"), MEMBER_DATA_BASE64, BIT(KIND_STRING), "a base64 string", 0},
    {LITERAL("content_type"), MEMBER_CONTENT_TYPE, BIT(KIND_STRING), "a string", 0},
    {LITERAL("occurred_at"), MEMBER_OCCURRED_AT, BIT(KIND_STRING), "an RFC 3339 string", 0},
    {LITERAL("schema_version"), MEMBER_SCHEMA_VERSION, BIT(KIND_NUMBER),
     "an integer from 0 to 4294967295", 0},
    {{NULL, 0}, 0, 0, NULL, 0},
};

const struct json_field *json_fields_of(enum json_context context)
{
    static const struct json_field *const fields_of[] = {
        [IN_COMMAND] = command_fields,
        [IN_MANY] = many_fields,
        [IN_APPEND] = append_fields,
        [IN_CHECK] = check_fields,
        [IN_SET_METADATA] = set_metadata_fields,
        [IN_DELETE_STREAM] = delete_stream_fields,
        [IN_REDACT] = redact_fields,
        [IN_EVENT] = event_fields,
        [IN_CONDITION] = condition_fields,
        [IN_QUERY] = query_fields,
        [IN_ITEM] = item_fields,
        [IN_ITEM_TAGS] = NULL,
    };
    return fields_of[context];
}
