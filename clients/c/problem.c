/* problem: what went wrong, from an answer's problem document (protobuf or JSON) or from libcurl,
 * as one typed value that the handle keeps until the next failure. */
#include "client_int.h"

#include "daybook/v1/problems.pb-c.h"
#include "scan.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yajl/yajl_tree.h>

#define URN_PREFIX   "urn:daybook:problem:"
#define JSON_PROBLEM "application/problem+json"

static const char *media_type(const struct daybook_transfer *t);
static bool media_is(const struct daybook_transfer *t, const char *media);
static bool read_protobuf(struct daybook_transfer *t, struct daybook_problem *p);
static bool read_json(struct daybook_transfer *t, struct daybook_problem *p);
static enum daybook_result result_of(const struct daybook_problem *p);
static enum daybook_result fail_without_answer(struct daybook_transfer *t);
static const char *kept(struct daybook *db, const char *text);

enum daybook_result daybook_fail(struct daybook *db, enum daybook_result result, const char *title,
                                 const char *detail, const char *hint)
{
    daybook_arena_reset(&db->problem_arena);
    db->problem = (struct daybook_problem){
        .result = result,
        .code = "",
        .title = title,
        .detail = kept(db, detail),
        .hint = hint,
        .field = "",
    };
    return result;
}

enum daybook_result daybook_fail_argument(struct daybook *db, const char *detail)
{
    return daybook_fail(db, DAYBOOK_ERR_ARGUMENT, "the call is not valid", detail, "");
}

enum daybook_result daybook_fail_memory(struct daybook *db)
{
    return daybook_fail(db, DAYBOOK_ERR_MEMORY, "not enough memory", "", "");
}

enum daybook_result daybook_fail_protocol(struct daybook *db, const char *detail)
{
    return daybook_fail(db, DAYBOOK_ERR_PROTOCOL, "the answer is not one of a Daybook server",
                        detail, "check the address");
}

/* A copy that lives as long as the problem; without memory for it, nothing is known. */
static const char *kept(struct daybook *db, const char *text)
{
    const char *copy = daybook_arena_copy(&db->problem_arena, text, strlen(text));
    return copy == NULL ? "" : copy;
}

const struct daybook_problem *daybook_problem(const struct daybook *db)
{
    return &db->problem;
}

bool daybook_transfer_ok(const struct daybook_transfer *t)
{
    return !t->running && t->outcome == CURLE_OK && t->status >= 200 && t->status < 300 &&
           media_is(t, t->shape == NULL          ? DAYBOOK_PROTOBUF
                       : t->shape->media == NULL ? DAYBOOK_JSON
                                                 : t->shape->media);
}

/* ---- transfers ---- */

enum daybook_result daybook_fail_transfer(struct daybook_transfer *t)
{
    if (t->outcome != CURLE_OK || t->db->interrupted) {
        return fail_without_answer(t);
    }
    struct daybook *db = t->db;
    daybook_arena_reset(&db->problem_arena);
    struct daybook_problem p = {.code = "", .title = "", .detail = "", .hint = "", .field = ""};
    bool known = false;
    if (t->status >= 400 && media_is(t, DAYBOOK_PROTOBUF)) {
        known = read_protobuf(t, &p);
    } else if (t->status >= 400 && media_is(t, JSON_PROBLEM)) {
        known = read_json(t, &p);
    }
    if (!known) {
        char detail[200];
        (void)snprintf(detail, sizeof detail, "HTTP status %ld with Content-Type %s", t->status,
                       media_type(t));
        enum daybook_result result = daybook_fail_protocol(db, detail);
        db->problem.http_status = (unsigned)t->status;
        return result;
    }
    p.http_status = (unsigned)t->status;
    p.result = result_of(&p);
    db->problem = p;
    return p.result;
}

static enum daybook_result fail_without_answer(struct daybook_transfer *t)
{
    struct daybook *db = t->db;
    if (db->interrupted) {
        return daybook_fail(db, DAYBOOK_ERR_INTERRUPTED, "the call was interrupted", "", "");
    }
    if (t->overflow || t->outcome == CURLE_OUT_OF_MEMORY) {
        return daybook_fail(db, DAYBOOK_ERR_MEMORY, "the answer is too large", "", "");
    }
    const char *why = t->error[0] != '\0' ? t->error : curl_easy_strerror(t->outcome);
    char detail[CURL_ERROR_SIZE + 300];
    (void)snprintf(detail, sizeof detail, "%.250s: %s", db->base_url, why);
    bool reached = t->moved > 0 || t->status > 0;
    const char *title = !reached ? "the server cannot be reached"
                        : t->outcome == CURLE_OPERATION_TIMEDOUT
                            ? "the server did not answer in time"
                            : "the connection to the server was lost";
    return daybook_fail(db, DAYBOOK_ERR_TRANSPORT, title, detail,
                        reached ? "" : "check the address, and that daybookd runs there");
}

static const char *media_type(const struct daybook_transfer *t)
{
    char *type = NULL;
    (void)curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    return type == NULL ? "(none)" : type;
}

static bool media_is(const struct daybook_transfer *t, const char *media)
{
    const char *type = media_type(t);
    size_t n = strlen(media);
    return strncasecmp(type, media, n) == 0 &&
           (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

/* ---- problem documents ---- */

static void take_type(struct daybook_problem *p, const char *type)
{
    size_t n = strlen(URN_PREFIX);
    p->code = strncmp(type, URN_PREFIX, n) == 0 ? type + n : type;
}

static bool read_protobuf(struct daybook_transfer *t, struct daybook_problem *p)
{
    struct daybook_arena *arena = &t->db->problem_arena;
    ProtobufCAllocator allocator = daybook_arena_allocator(arena);
    Daybook__V1__Problem *m = daybook__v1__problem__unpack(&allocator, t->body.n, t->body.p);
    if (m == NULL) {
        return false;
    }
    take_type(p, m->type);
    p->title = m->title;
    p->detail = m->detail;
    p->hint = m->hint;
    p->field = m->field;
    struct daybook_violation *v = daybook_arena_get(arena, (m->n_violations + 1) * sizeof *v);
    if (v == NULL) {
        return true;
    }
    for (size_t i = 0; i < m->n_violations; i++) {
        v[i] = (struct daybook_violation){.stream = m->violations[i]->stream,
                                          .expected = m->violations[i]->expected,
                                          .actual = m->violations[i]->actual};
    }
    p->violations = v;
    p->violations_n = m->n_violations;
    return true;
}

/* Lists that only some problems have. Without memory for one it stays empty. */
static void read_lists(struct daybook *db, struct daybook_bytes document, struct daybook_problem *p)
{
    struct daybook_arena *arena = &db->problem_arena;
    struct daybook_bytes leases = daybook_scan_find(document, "leases"), element;
    struct daybook_bytes violations = daybook_scan_find(document, "violations");
    size_t leases_n = daybook_scan_count(leases), violations_n = daybook_scan_count(violations);
    const char **lost = daybook_arena_get(arena, (leases_n + 1) * sizeof *lost);
    struct daybook_violation *v = daybook_arena_get(arena, (violations_n + 1) * sizeof *v);
    struct daybook_scan s = daybook_scan_array(leases);
    p->leases = lost;
    while (lost != NULL && p->leases_n < leases_n && daybook_scan_element(&s, &element)) {
        const char *lease = daybook_scan_string(arena, element);
        lost[p->leases_n++] = lease == NULL ? "" : lease;
    }
    s = daybook_scan_array(violations);
    p->violations = v;
    while (v != NULL && p->violations_n < violations_n && daybook_scan_element(&s, &element)) {
        struct daybook_bytes expected = daybook_scan_find(element, "expected");
        const char *stream = daybook_scan_string(arena, daybook_scan_find(element, "stream"));
        const char *text = daybook_scan_string(arena, expected);
        text = text == NULL ? daybook_arena_copy(arena, expected.p, expected.n) : text;
        v[p->violations_n++] = (struct daybook_violation){
            .stream = stream == NULL ? "" : stream,
            .expected = text == NULL ? "" : text,
            .actual = daybook_scan_number(daybook_scan_find(element, "actual")),
        };
    }
}

/* The server answers in JSON where that is asked for, and where it could not read which encoding is
 * accepted. */
static bool read_json(struct daybook_transfer *t, struct daybook_problem *p)
{
    if (!daybook_buffer_add_byte(&t->body, '\0')) {
        return false;
    }
    yajl_val tree = yajl_tree_parse((const char *)t->body.p, NULL, 0);
    if (tree == NULL) {
        return false;
    }
    const struct {
        const char *name;
        const char **ret;
    } members[] = {
        {"type", &p->code}, {"title", &p->title}, {"detail", &p->detail},
        {"hint", &p->hint}, {"field", &p->field},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *path[] = {members[i].name, NULL};
        const char *text = YAJL_GET_STRING(yajl_tree_get(tree, path, yajl_t_string));
        if (text != NULL) {
            *members[i].ret = kept(t->db, text);
        }
    }
    yajl_tree_free(tree);
    read_lists(t->db, daybook_scan_value((struct daybook_bytes){t->body.p, t->body.n - 1}), p);
    take_type(p, p->code);
    return true;
}

static enum daybook_result result_of(const struct daybook_problem *p)
{
    static const struct {
        const char *code;
        enum daybook_result result;
    } codes[] = {
        {"wrong-expected-revision", DAYBOOK_ERR_CONFLICT},
        {"id-reused", DAYBOOK_ERR_ID_REUSED},
        {"partial-duplicate", DAYBOOK_ERR_PARTIAL_DUPLICATE},
        {"stream-not-found", DAYBOOK_ERR_NOT_FOUND},
        {"event-not-found", DAYBOOK_ERR_NOT_FOUND},
        {"projection-not-found", DAYBOOK_ERR_NOT_FOUND},
        {"group-not-found", DAYBOOK_ERR_NOT_FOUND},
        {"stream-deleted", DAYBOOK_ERR_DELETED},
        {"lease-lost", DAYBOOK_ERR_LEASE_LOST},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(p->code, codes[i].code) == 0) {
            return codes[i].result;
        }
    }
    if (p->http_status == 503 || p->http_status == 507) {
        return DAYBOOK_ERR_UNAVAILABLE;
    }
    return p->http_status < 500 ? DAYBOOK_ERR_REJECTED : DAYBOOK_ERR_SERVER;
}
