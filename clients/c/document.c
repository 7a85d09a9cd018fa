/* document: reading documents, and orders about events that were set aside. */
#include "document_int.h"

#include <stdio.h>
#include <string.h>

static enum daybook_result check(struct daybook *db, const char *name, const char *key)
{
    if (name == NULL || name[0] == '\0') {
        return daybook_fail_argument(db, "the projection has no name");
    }
    return key == NULL || key[0] == '\0' ? daybook_fail_argument(db, "the document has no key")
                                         : DAYBOOK_OK;
}

bool daybook_document_url(struct daybook *db, struct daybook_buffer *url, const char *projection,
                          const char *key)
{
    bool ok = daybook_url_begin(db, url, "/v1/projections/") &&
              daybook_url_segment(url, projection) && daybook_buffer_add_text(url, "/documents");
    return ok &&
           (key == NULL || (daybook_buffer_add_byte(url, '/') && daybook_url_segment(url, key)));
}

enum daybook_result daybook_document_get(struct daybook *db, const char *projection,
                                         const char *key, uint64_t min_position, uint64_t wait_ms,
                                         struct daybook_document *ret)
{
    char mark = '?', wait[40];
    enum daybook_result result = check(db, projection, key);
    if (result != DAYBOOK_OK) {
        return result;
    }
    (void)snprintf(wait, sizeof wait, "%llums", (unsigned long long)wait_ms);
    bool ok =
        daybook_document_url(db, &db->url, projection, key) &&
        (min_position == 0 || daybook_url_number(&db->url, &mark, "min_position", min_position)) &&
        (wait_ms == 0 || daybook_url_text(&db->url, &mark, "wait", wait));
    if (db->call.timeout_ms > 0 && wait_ms < UINT64_MAX / 2) {
        db->call.timeout_ms += wait_ms;
    }
    result = daybook_projection_call(db, ok, NULL, false);
    db->call.timeout_ms = db->options.timeout_ms;
    return result == DAYBOOK_OK ? daybook_json_document(db, daybook_json(db), &db->arena, ret)
                                : result;
}

enum daybook_result daybook_document_list(struct daybook *db, const char *projection,
                                          const char *prefix, const char *after, uint64_t limit,
                                          struct daybook_documents *ret)
{
    char mark = '?';
    enum daybook_result result = check(db, projection, "-");
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = daybook_document_url(db, &db->url, projection, NULL) &&
              (prefix == NULL || daybook_url_text(&db->url, &mark, "prefix", prefix)) &&
              (after == NULL || daybook_url_text(&db->url, &mark, "after", after)) &&
              (limit == 0 || daybook_url_number(&db->url, &mark, "limit", limit));
    result = daybook_projection_call(db, ok, NULL, false);
    return result == DAYBOOK_OK ? daybook_json_documents(db, ret) : result;
}

/* ---- events that were set aside ---- */

/* "/v1/projections/NAME/errors" and "/POSITION", where that is not 0. */
static bool begin_errors(struct daybook *db, const char *name, uint64_t position)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "/%llu", (unsigned long long)position);
    return daybook_url_begin(db, &db->url, "/v1/projections/") &&
           daybook_url_segment(&db->url, name) && daybook_buffer_add_text(&db->url, "/errors") &&
           (position == 0 || daybook_buffer_add_text(&db->url, digits));
}

static enum daybook_result order(struct daybook *db, bool ok, const char *method,
                                 struct daybook_errors_result *ret)
{
    enum daybook_result result = daybook_projection_call(db, ok, method, true);
    return result == DAYBOOK_OK ? daybook_json_errors_result(db, ret) : result;
}

static enum daybook_result check_position(struct daybook *db, const char *name, uint64_t position)
{
    return position == 0 ? daybook_fail_argument(db, "positions count from 1")
                         : check(db, name, "-");
}

enum daybook_result daybook_projection_retry_error(struct daybook *db, const char *name,
                                                   uint64_t position,
                                                   struct daybook_errors_result *ret)
{
    enum daybook_result result = check_position(db, name, position);
    return result != DAYBOOK_OK ? result
                                : order(db,
                                        begin_errors(db, name, position) &&
                                            daybook_buffer_add_text(&db->url, "/retry"),
                                        "POST", ret);
}

enum daybook_result daybook_projection_retry_errors(struct daybook *db, const char *name,
                                                    uint64_t after,
                                                    struct daybook_errors_result *ret)
{
    char mark = '?';
    enum daybook_result result = check(db, name, "-");
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = begin_errors(db, name, 0) && daybook_buffer_add_text(&db->url, "/retry") &&
              (after == 0 || daybook_url_number(&db->url, &mark, "after", after));
    return order(db, ok, "POST", ret);
}

enum daybook_result daybook_projection_discard_error(struct daybook *db, const char *name,
                                                     uint64_t position,
                                                     struct daybook_errors_result *ret)
{
    enum daybook_result result = check_position(db, name, position);
    return result != DAYBOOK_OK ? result
                                : order(db, begin_errors(db, name, position), "DELETE", ret);
}
