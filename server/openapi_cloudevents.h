/* openapi_cloudevents: what the OpenAPI document says of CloudEvents, whose schema does not come
 * from a message of ours. Constant. */
#ifndef DAYBOOK_SERVER_OPENAPI_CLOUDEVENTS_H
#define DAYBOOK_SERVER_OPENAPI_CLOUDEVENTS_H

struct openapi_media {
    const char *media_type, *schema;
};

/* The media types in which CloudEvents stand for a message; ended by one without a name. NULL: for
 * this message they do not. */
const struct openapi_media *openapi_cloudevents(const char *message);

/* Members of components.schemas. */
extern const char openapi_cloudevents_schemas[];

#endif
