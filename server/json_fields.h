/* json_fields: what the objects of our JSON bodies are made of; for json_read.c only. */
#ifndef DAYBOOK_SERVER_JSON_FIELDS_H
#define DAYBOOK_SERVER_JSON_FIELDS_H

#include "storage/base/bytes.h"

enum json_kind { KIND_NULL, KIND_BOOLEAN, KIND_NUMBER, KIND_STRING, KIND_OBJECT, KIND_ARRAY };

#define BIT(kind) (1u << (kind))
#define ANY_KIND  (BIT(KIND_ARRAY) * 2 - 1)

/* Where the reader is; what comes after IN_ITEM is an array, and from IN_TAGS on one of strings. */
enum json_context {
    IN_BODY,
    IN_COMMAND,
    IN_MANY,
    IN_APPEND,
    IN_CHECK,
    IN_SET_METADATA,
    IN_DELETE_STREAM,
    IN_REDACT,
    IN_EVENT,
    IN_CONDITION,
    IN_QUERY,
    IN_ITEM,
    IN_APPENDS,
    IN_CHECKS,
    IN_EVENTS,
    IN_ITEMS,
    IN_TAGS,
    IN_ITEM_TYPES,
    IN_ITEM_TAGS,
};

/* What a value is for. */
enum json_member {
    MEMBER_OPENS, /* an object or array of ours: the field says which */
    MEMBER_STREAM,
    MEMBER_EXPECTED_REVISION,
    MEMBER_ID,
    MEMBER_TYPE,
    MEMBER_DATA,
    MEMBER_DATA_BASE64,
    MEMBER_CONTENT_TYPE,
    MEMBER_METADATA,
    MEMBER_OCCURRED_AT,
    MEMBER_SCHEMA_VERSION,
    MEMBER_AFTER,
    MEMBER_CUSTOM,
    MEMBER_MAX_COUNT,
    MEMBER_MAX_AGE_S,
    MEMBER_TRUNCATE_BEFORE,
    MEMBER_TOMBSTONE,
    MEMBER_REVISION,
    MEMBER_REASON,
};

#define EXPECTED_WANTED \
    "a revision (an integer from 0), \"any\", \"no_stream\" or \"stream_exists\""

#define POSITION_WANTED "a position (an integer from 0)"

struct json_field {
    struct bytes name; /* a literal, so it ends with NUL; NULL ends a table */
    enum json_member member;
    unsigned kinds; /* beside null, which counts as absent but for limits, which it removes */
    const char *wanted;
    enum json_context opens; /* of MEMBER_OPENS */
};

/* The fields of an object, ended by one without a name. NULL for arrays. */
const struct json_field *json_fields_of(enum json_context context);

#endif
