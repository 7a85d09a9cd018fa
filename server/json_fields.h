/* json_fields: what the objects of our JSON bodies are made of; for json_read.c only. */
#ifndef DAYBOOK_SERVER_JSON_FIELDS_H
#define DAYBOOK_SERVER_JSON_FIELDS_H

#include "storage/base/bytes.h"

enum json_kind { KIND_NULL, KIND_BOOLEAN, KIND_NUMBER, KIND_STRING, KIND_OBJECT, KIND_ARRAY };

#define BIT(kind) (1u << (kind))
#define ANY_KIND  (BIT(KIND_ARRAY) * 2 - 1)

/* Where the reader is; what comes after IN_EVENT is an array. */
enum json_context {
    IN_BODY,
    IN_COMMAND,
    IN_MANY,
    IN_APPEND,
    IN_CHECK,
    IN_EVENT,
    IN_APPENDS,
    IN_CHECKS,
    IN_EVENTS,
    IN_TAGS,
};

enum json_member {
    MEMBER_APPEND,
    MEMBER_APPEND_MANY,
    MEMBER_APPENDS,
    MEMBER_CHECKS,
    MEMBER_STREAM,
    MEMBER_EXPECTED_REVISION,
    MEMBER_EVENTS,
    MEMBER_ID,
    MEMBER_TYPE,
    MEMBER_DATA,
    MEMBER_DATA_BASE64,
    MEMBER_CONTENT_TYPE,
    MEMBER_METADATA,
    MEMBER_TAGS,
    MEMBER_OCCURRED_AT,
    MEMBER_SCHEMA_VERSION,
};

#define EXPECTED_WANTED \
    "a revision (an integer from 0), \"any\", \"no_stream\" or \"stream_exists\""

struct json_field {
    struct bytes name; /* a literal, so it ends with NUL; NULL ends a table */
    enum json_member member;
    unsigned kinds; /* beside null, which counts as absent */
    const char *wanted;
};

/* The fields of an object, ended by one without a name. NULL for arrays. */
const struct json_field *json_fields_of(enum json_context context);

#endif
