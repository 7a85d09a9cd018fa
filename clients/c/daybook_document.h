/* daybook_document: the part of the client library that reads the documents of document
 * projections, follows one, and sees to events that a projection has set aside. daybook.h includes
 * it, and says which threads may call what and who owns what. */
#ifndef DAYBOOK_DOCUMENT_H
#define DAYBOOK_DOCUMENT_H

#include "daybook.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading ---- */

struct daybook_document {
    const char *key;
    struct daybook_bytes json; /* the document as it was sent; n is 0: there is none */
    uint64_t position;         /* of the model that it was read from */
};

/* Reads one once the model is at min_position (0: as it is), for which to wait `wait_ms`, at most
 * 60,000. DAYBOOK_ERR_NOT_FOUND: no such document (code "document-not-found"), or projection. */
enum daybook_result daybook_document_get(struct daybook *db, const char *projection,
                                         const char *key, uint64_t min_position, uint64_t wait_ms,
                                         struct daybook_document *ret);

struct daybook_documents {
    const struct daybook_document *documents;
    size_t documents_n;
    const char *next; /* the `after` of the next page */
    bool end;         /* there is none */
};
/* In the order of the keys: those that start with `prefix` (NULL: all), after a key (NULL: from the
 * first), at most `limit` (0: the server's default). */
enum daybook_result daybook_document_list(struct daybook *db, const char *projection,
                                          const char *prefix, const char *after, uint64_t limit,
                                          struct daybook_documents *ret);

/* ---- following ---- */

struct daybook_document_follower;

/* Starts to follow one: how it is now, and then after every change; of several in a row perhaps
 * only the last. Once the server has answered, goes on by itself after a lost connection or a
 * restart of the server, however long that takes, then perhaps with what it has said already. Free
 * the follower before `db`. */
enum daybook_result daybook_document_follow(struct daybook *db, const char *projection,
                                            const char *key,
                                            struct daybook_document_follower **ret);
/* Waits for the next state, which lives until the next call. Where there is no document, json.n is
 * 0. Ends with an error only: DAYBOOK_ERR_NOT_FOUND where the projection is not there (any more).
 * daybook_interrupt ends it from another thread. */
enum daybook_result daybook_document_follow_next(struct daybook_document_follower *follower,
                                                 const struct daybook_document **ret);
void daybook_document_follow_free(struct daybook_document_follower *follower);

/* ---- events that were set aside ---- */

struct daybook_errors_result {
    uint64_t retried, discarded;
    uint64_t failed;    /* of all that were tried; they stay set aside */
    uint64_t next;      /* go on after it */
    bool end;           /* there are no more */
    const char *detail; /* why the first of those that failed did; "": none did */
};

/* Tries an event again, now, after those that came since. Where it fails again:
 * DAYBOOK_ERR_CONFLICT (code "retry-failed"). Not among them: DAYBOOK_ERR_NOT_FOUND. Sent once, as
 * the two below. */
enum daybook_result daybook_projection_retry_error(struct daybook *db, const char *name,
                                                   uint64_t position,
                                                   struct daybook_errors_result *ret);
/* All after a position, oldest first, but for those that a user has skipped. Where there are very
 * many the server stops somewhere: ret->end is false, go on after ret->next. */
enum daybook_result daybook_projection_retry_errors(struct daybook *db, const char *name,
                                                    uint64_t after,
                                                    struct daybook_errors_result *ret);
/* Takes one off the list; the model stays without it. */
enum daybook_result daybook_projection_discard_error(struct daybook *db, const char *name,
                                                     uint64_t position,
                                                     struct daybook_errors_result *ret);

#ifdef __cplusplus
}
#endif

#endif
