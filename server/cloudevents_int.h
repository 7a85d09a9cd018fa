/* cloudevents_int: a CloudEvent between its formats; for cloudevents_*.c only. */
#ifndef DAYBOOK_SERVER_CLOUDEVENTS_INT_H
#define DAYBOOK_SERVER_CLOUDEVENTS_INT_H

#include "server/cloudevents.h"

#define CLOUDEVENT_EXTENSIONS_MAX 64
/* stream, revision, position and recordedtime, which every event gets on its way out, and redacted,
 * where it is. */
#define CLOUDEVENT_OWN_EXTENSIONS 5
#define CLOUDEVENT_NAME_MAX       64
#define CLOUDEVENT_WHY_MAX        120
/* The member of an event's metadata that holds what only a CloudEvent has. */
#define CLOUDEVENT_MEMBER "cloudevents"

/* The types of attributes. The text of a boolean is "true" or "false", of an integer its digits, of
 * bytes their base64, of a timestamp RFC 3339. */
enum cloudevent_type {
    CLOUDEVENT_STRING,
    CLOUDEVENT_BOOLEAN,
    CLOUDEVENT_INTEGER,
    CLOUDEVENT_BYTES,
    CLOUDEVENT_URI,
    CLOUDEVENT_URI_REF,
    CLOUDEVENT_TIMESTAMP,
};

struct cloudevent_attribute {
    struct bytes name;
    enum cloudevent_type type;
    struct bytes text;
};

enum cloudevent_data {
    CLOUDEVENT_DATA_NONE,
    CLOUDEVENT_DATA_JSON,   /* a JSON value */
    CLOUDEVENT_DATA_TEXT,   /* UTF-8, whose media type is another */
    CLOUDEVENT_DATA_BINARY, /* in: bytes of any media type */
    CLOUDEVENT_DATA_BASE64, /* in: as BINARY, from JSON's data_base64 */
    CLOUDEVENT_DATA_ANY,    /* a protobuf message: `data_type_url` names it */
};

struct cloudevent {
    /* .p is NULL where it is not set. */
    struct bytes specversion, id, source, type, subject, time, datacontenttype, dataschema;
    enum cloudevent_data form;
    struct bytes data, data_type_url;
    size_t extension_count, own_extension_count;
    struct cloudevent_attribute extensions[CLOUDEVENT_EXTENSIONS_MAX + CLOUDEVENT_OWN_EXTENSIONS];
};

/* ---- cloudevents_attributes.c ---- */

/* Sets an attribute, once. False with the reason. Name and value are borrowed; .p of the value is
 * not NULL. */
bool cloudevent_set(struct cloudevent *ce, struct bytes name, enum cloudevent_type type,
                    struct bytes text, char why[CLOUDEVENT_WHY_MAX]);
/* The member with this name, where it is a context attribute, or NULL. */
struct bytes *cloudevent_context_attribute(struct cloudevent *ce, struct bytes name);
/* Whether it may be the name of an attribute: a-z and 0-9, not `data`. */
bool cloudevent_name_is_valid(struct bytes name);
/* An integer of 32 bits in its JSON form. */
bool cloudevent_integer_is_valid(struct bytes text, int32_t *ret);
/* Whether it has no control characters. */
bool cloudevent_text_is_valid(struct bytes text);
/* Whether data of this media type is a JSON value in the JSON format: none, any /json or +json. */
bool cloudevent_media_is_json(struct bytes datacontenttype);
/* Whether it is text in UTF-8: text/ without another charset. */
bool cloudevent_media_is_text(struct bytes datacontenttype);
const char *cloudevent_type_name(enum cloudevent_type type);
bool cloudevent_type_of_name(struct bytes name, enum cloudevent_type *ret);

/* ---- cloudevents_draft.c ---- */

/* For readers: what they fill, one event after the other. */
struct cloudevents_input {
    struct draft *draft;
    enum cloudevents_mode mode;
    struct bytes stream; /* of the path; .n is 0: each event names its own */
    struct cloudevent event;
    size_t index; /* of the event in the request */
};

void cloudevents_input_init(struct cloudevents_input *in, struct draft *d,
                            enum cloudevents_mode mode);
/* Rejects the event that is being read; `member` may be "". Always false. */
bool cloudevents_reject(struct cloudevents_input *in, enum problem problem, struct bytes member,
                        const char *why);
/* Adds the event to the draft and begins the next one. */
bool cloudevents_add(struct cloudevents_input *in);

bool cloudevents_read_json(struct cloudevents_input *in, struct bytes body);
bool cloudevents_read_protobuf(struct cloudevents_input *in, struct bytes body);
bool cloudevents_read_headers(struct cloudevents_input *in, struct http_request *rq);
/* What cloudevents_read_headers is made of: a header, where its name begins with ce-, and, at the
 * end, the body. */
bool cloudevents_take_header(struct cloudevents_input *in, struct bytes name, struct bytes value);
bool cloudevents_take_body(struct cloudevents_input *in, struct bytes content_type,
                           struct bytes body);

/* A header's value, unquoted and percent-decoded, in the arena. False: it is malformed. */
bool cloudevents_decode_header(struct arena *arena, struct bytes value, struct bytes *ret);
/* The other way: what may not stand in a header is percent-encoded. */
void cloudevents_encode_header(struct buf *b, struct bytes value);

/* ---- cloudevents_event.c ---- */

/* The CloudEvent that a stored event is. Borrowed from the event and the arena; ERR_MEMORY,
 * ERR_LIMIT. */
MUST_CHECK err_t cloudevent_of_event(const struct event *e, struct arena *arena,
                                     struct cloudevent *ret);
/* Says application/json where the JSON format implies it, for formats that do not. */
void cloudevent_tell_implied(struct cloudevent *ce);

#endif
