/* openapi_parameters: the parameters of all routes, described once. Any thread; constant. */
#ifndef DAYBOOK_SERVER_OPENAPI_PARAMETERS_H
#define DAYBOOK_SERVER_OPENAPI_PARAMETERS_H

#include <stddef.h>

/* In the path; in the query of a read of events, of a listing, of one event, of a projection, of a
 * consumer group, of a write; in a header. */
enum parameter_place {
    IN_PATH,
    IN_EVENTS,
    IN_LISTS,
    IN_EVENT,
    IN_PROJECTIONS,
    IN_GROUPS,
    IN_WRITES,
    IN_HEADER,
    PARAMETER_PLACES
};

struct parameter {
    const char *name;
    enum parameter_place where;
    const char *schema, *description;
};

const struct parameter *openapi_parameters(size_t *ret_n);
/* Components of parameters are named by this and their name. */
const char *openapi_place_name(enum parameter_place where);

#endif
