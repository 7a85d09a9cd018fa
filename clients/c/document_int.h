/* document_int: what the files about documents and events set aside share, on top of client_int. */
#ifndef DAYBOOK_CLIENT_DOCUMENT_INT_H
#define DAYBOOK_CLIENT_DOCUMENT_INT_H

#include "client_int.h"

/* One exchange in JSON about projections, to db->url where that is ok: GET, or `method` without a
 * body. (projection.c) */
enum daybook_result daybook_projection_call(struct daybook *db, bool url_ok, const char *method,
                                            bool once);
/* "…/documents" and "/KEY", where that is not NULL. (document.c) */
bool daybook_document_url(struct daybook *db, struct daybook_buffer *url, const char *projection,
                          const char *key);

/* Of any text; what is kept of it is put into `arena`. */
enum daybook_result daybook_json_document(struct daybook *db, struct daybook_bytes json,
                                          struct daybook_arena *arena,
                                          struct daybook_document *ret);
enum daybook_result daybook_json_documents(struct daybook *db, struct daybook_documents *ret);
enum daybook_result daybook_json_errors_result(struct daybook *db,
                                               struct daybook_errors_result *ret);
/* A member's value as it stands in the text, and the next element of an array, where *at is 0 at
 * first. False: there is none. (json_raw.c) */
bool daybook_json_raw_member(struct daybook_bytes object, const char *name,
                             struct daybook_bytes *ret);
bool daybook_json_raw_element(struct daybook_bytes array, size_t *at, struct daybook_bytes *ret);

#endif
