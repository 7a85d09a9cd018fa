/* projection: the calls about projections. They speak JSON, as their answers have the shape that a
 * script gives them. */
#include "document_int.h"

#include <stdio.h>
#include <string.h>

static enum daybook_result call(struct daybook *db, bool url_ok, const char *method,
                                const char *content_type, const struct daybook_bytes *body,
                                bool once);

/* ---- URLs ---- */

static enum daybook_result check_name(struct daybook *db, const char *name)
{
    return name == NULL || name[0] == '\0' ? daybook_fail_argument(db, "the projection has no name")
                                           : DAYBOOK_OK;
}

/* "/v1/projections/NAME" and "/MORE", where that is not NULL. */
static bool begin_url(struct daybook *db, const char *name, const char *more)
{
    bool ok =
        daybook_url_begin(db, &db->url, "/v1/projections/") && daybook_url_segment(&db->url, name);
    return ok && (more == NULL || (daybook_buffer_add_byte(&db->url, '/') &&
                                   daybook_buffer_add_text(&db->url, more)));
}

/* ---- one exchange ---- */

static bool add_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);
    *list = longer == NULL ? *list : longer;
    return longer != NULL;
}

static enum daybook_result call(struct daybook *db, bool url_ok, const char *method,
                                const char *content_type, const struct daybook_bytes *body,
                                bool once)
{
    struct daybook_shape shape = {.method = method, .once = once};
    char type[100];
    (void)snprintf(type, sizeof type, "Content-Type: %s", content_type);
    bool ok = url_ok && daybook_url_end(&db->url) &&
              add_header(&shape.headers, "Accept: " DAYBOOK_JSON) &&
              (body == NULL ||
               (add_header(&shape.headers, type) && add_header(&shape.headers, "Expect:")));
    enum daybook_result result =
        ok ? daybook_http_call_json(db, &db->url, body, &shape) : daybook_fail_memory(db);
    curl_slist_free_all(shape.headers);
    if (result == DAYBOOK_OK) {
        daybook_arena_reset(&db->arena);
    }
    return result;
}

static enum daybook_result get(struct daybook *db, bool url_ok)
{
    return call(db, url_ok, NULL, "", NULL, false);
}

enum daybook_result daybook_projection_call(struct daybook *db, bool url_ok, const char *method,
                                            bool once)
{
    const struct daybook_bytes nothing = {NULL, 0};
    bool posts = method != NULL && strcmp(method, "POST") == 0;
    return call(db, url_ok, posts ? NULL : method, DAYBOOK_JSON, posts ? &nothing : NULL, once);
}

struct daybook_bytes daybook_json(const struct daybook *db)
{
    return (struct daybook_bytes){db->call.body.p, db->call.body.n};
}

/* ---- defining ---- */

static enum daybook_result put(struct daybook *db, const char *name,
                               const struct daybook_definition *d, bool dry_run, uint64_t limit)
{
    char mark = '?';
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK && (d->media_type == NULL || strlen(d->media_type) > 80)) {
        result = daybook_fail_argument(db, "the definition has no media type");
    }
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = begin_url(db, name, NULL);
    if (d->set_aside) {
        ok = ok && daybook_url_text(&db->url, &mark, "on_error", "set_aside");
    }
    if (d->attempts > 0) {
        ok = ok && daybook_url_number(&db->url, &mark, "attempts", d->attempts);
    }
    if (dry_run) {
        ok = ok && daybook_url_text(&db->url, &mark, "dry_run", "true");
    }
    if (limit > 0) {
        ok = ok && daybook_url_number(&db->url, &mark, "limit", limit);
    }
    return call(db, ok, "PUT", d->media_type, &d->source, false);
}

enum daybook_result daybook_projection_put(struct daybook *db, const char *name,
                                           const struct daybook_definition *definition,
                                           struct daybook_projection *ret)
{
    enum daybook_result result = put(db, name, definition, false, 0);
    return result == DAYBOOK_OK ? daybook_json_projection(db, ret) : result;
}

enum daybook_result daybook_projection_dry_run(struct daybook *db, const char *name,
                                               const struct daybook_definition *definition,
                                               uint64_t limit, struct daybook_dry_run *ret)
{
    enum daybook_result result = put(db, name, definition, true, limit);
    return result == DAYBOOK_OK ? daybook_json_dry_run(db, ret) : result;
}

/* ---- looking and ordering ---- */

enum daybook_result daybook_projection_get(struct daybook *db, const char *name,
                                           struct daybook_projection *ret)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        result = get(db, begin_url(db, name, NULL));
    }
    return result == DAYBOOK_OK ? daybook_json_projection(db, ret) : result;
}

enum daybook_result daybook_projection_list(struct daybook *db,
                                            const struct daybook_projection **ret, size_t *ret_n)
{
    enum daybook_result result = get(db, daybook_url_begin(db, &db->url, "/v1/projections"));
    return result == DAYBOOK_OK ? daybook_json_projections(db, ret, ret_n) : result;
}

enum daybook_result daybook_projection_order(struct daybook *db, const char *name,
                                             enum daybook_order order,
                                             struct daybook_projection *ret)
{
    static const char *const paths[] = {
        [DAYBOOK_PAUSE] = "pause",       [DAYBOOK_RESUME] = "resume", [DAYBOOK_REBUILD] = "rebuild",
        [DAYBOOK_ROLLBACK] = "rollback", [DAYBOOK_SKIP] = "skip",     [DAYBOOK_DELETE] = NULL,
    };
    const struct daybook_bytes nothing = {NULL, 0};
    enum daybook_result result = check_name(db, name);
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = begin_url(db, name, paths[order]);
    result = order == DAYBOOK_DELETE ? call(db, ok, "DELETE", "", NULL, true)
                                     : call(db, ok, "POST", DAYBOOK_JSON, &nothing, true);
    return result == DAYBOOK_OK ? daybook_json_projection(db, ret) : result;
}

enum daybook_result daybook_projection_get_errors(struct daybook *db, const char *name,
                                                  uint64_t after, uint64_t limit,
                                                  struct daybook_projection_errors *ret)
{
    char mark = '?';
    enum daybook_result result = check_name(db, name);
    if (result != DAYBOOK_OK) {
        return result;
    }
    bool ok = begin_url(db, name, "errors") &&
              (after == 0 || daybook_url_number(&db->url, &mark, "after", after)) &&
              (limit == 0 || daybook_url_number(&db->url, &mark, "limit", limit));
    result = get(db, ok);
    return result == DAYBOOK_OK ? daybook_json_errors(db, ret) : result;
}

enum daybook_result daybook_projection_get_schema(struct daybook *db, const char *name,
                                                  const struct daybook_table **ret, size_t *ret_n)
{
    enum daybook_result result = check_name(db, name);
    if (result == DAYBOOK_OK) {
        result = get(db, begin_url(db, name, "schema"));
    }
    return result == DAYBOOK_OK ? daybook_json_schema(db, ret, ret_n) : result;
}

/* ---- querying ---- */

/* The server is silent while it waits. */
enum daybook_result daybook_query(struct daybook *db, const struct daybook_query *query,
                                  struct daybook_rows *ret, uint64_t *ret_position)
{
    char mark = '?';
    char wait[40];
    enum daybook_result result = check_name(db, query->projection);
    if (result == DAYBOOK_OK) {
        result = daybook_json_query(db, query);
    }
    if (result != DAYBOOK_OK) {
        return result;
    }
    (void)snprintf(wait, sizeof wait, "%llums", (unsigned long long)query->wait_ms);
    bool ok = begin_url(db, query->projection, "query") &&
              (query->min_position == 0 ||
               daybook_url_number(&db->url, &mark, "min_position", query->min_position)) &&
              (query->wait_ms == 0 || daybook_url_text(&db->url, &mark, "wait", wait));
    const struct daybook_bytes body = {db->request.p, db->request.n};
    if (db->call.timeout_ms > 0 && query->wait_ms < UINT64_MAX / 2) {
        db->call.timeout_ms += query->wait_ms;
    }
    result = call(db, ok, NULL, DAYBOOK_JSON, &body, false);
    db->call.timeout_ms = db->options.timeout_ms;
    return result == DAYBOOK_OK ? daybook_json_rows(db, ret, ret_position) : result;
}
