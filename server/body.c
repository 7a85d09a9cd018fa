/* body: one table for all bodies that are no drafts of writes. */
#include "server/body.h"

#include "server/json_members.h"
#include "server/query.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELDS_MAX       24
#define PATH_MAX_BYTES   320
#define NUMBER_BYTES_MAX 64
#define SECONDS_MAX      1e9

struct body {
    struct http_request *rq;
    const char *root;
    const struct body_field *fields;
    bool seen[FIELDS_MAX];
};

static const char *take_seconds(const struct json_found *found, int64_t *ret)
{
    char text[NUMBER_BYTES_MAX];
    char *end;
    if (found->kind != KIND_NUMBER || found->source.n >= sizeof text) {
        return "seconds, a number from 0";
    }
    memcpy(text, found->source.p, found->source.n);
    text[found->source.n] = '\0';
    double v = strtod(text, &end);
    if (*end != '\0' || !isfinite(v) || v < 0 || v > SECONDS_MAX) {
        return "seconds, a number from 0";
    }
    *ret = (int64_t)(v * 1e6 + 0.5);
    return NULL;
}

static const char *take_place(const struct json_found *found, struct body_place *ret)
{
    *ret = (struct body_place){.end = bytes_equal(found->text, BYTES_LITERAL("end"))};
    bool ok = found->kind == KIND_STRING
                  ? ret->end || bytes_equal(found->text, BYTES_LITERAL("start"))
                  : found->kind == KIND_NUMBER && query_parse_number(found->source, &ret->position);
    return ok ? NULL : "a position (an integer from 0), \"start\" or \"end\"";
}

static const char *take_names(struct http_request *rq, const struct json_found *found,
                              struct body_names *ret)
{
    bool ok = true;
    if (found->kind == KIND_STRING) {
        ret->n = 1;
        ret->items = arena_alloc(http_arena(rq), sizeof *ret->items);
        ok = ret->items != NULL;
        if (ok) {
            ret->items[0] = found->text;
        }
    } else {
        ok = found->kind == KIND_ARRAY &&
             json_read_strings(found->source, BODY_NAMES_MAX, http_arena(rq), &ret->items, &ret->n);
    }
    return ok ? NULL : "a string or a list of at most 10000 strings";
}

static const char *take_time(const struct json_found *found, int64_t *ret)
{
    struct query_time time = {0};
    char detail[QUERY_DETAIL_MAX];
    if (found->kind != KIND_STRING || !query_parse(QUERY_TIME, found->text, &time, detail)) {
        return "a time such as \"2026-01-01T00:00:00Z\"";
    }
    *ret = time.us;
    return NULL;
}

/* NULL, or what the value must be. */
static const char *take(struct http_request *rq, const struct body_field *f,
                        const struct json_found *found)
{
    switch (f->kind) {
    case BODY_TEXT:
        *(struct bytes *)f->ret = found->text;
        return found->kind == KIND_STRING ? NULL : "a string";
    case BODY_COUNT:
        return found->kind == KIND_NUMBER && query_parse_number(found->source, f->ret)
                   ? NULL
                   : "an integer from 0";
    case BODY_FLAG:
        *(bool *)f->ret = bytes_equal(found->source, BYTES_LITERAL("true"));
        return found->kind == KIND_BOOLEAN ? NULL : "true or false";
    case BODY_SECONDS:
        return take_seconds(found, f->ret);
    case BODY_PLACE:
        return take_place(found, f->ret);
    case BODY_TIME:
        return take_time(found, f->ret);
    case BODY_NAMES:
        return take_names(rq, found, f->ret);
    case BODY_OBJECT_OR_NULL:
    case BODY_OBJECT:
        *(struct bytes *)f->ret = found->source;
        return found->kind == KIND_OBJECT ? NULL : "an object";
    }
    return "something else";
}

static bool refuse(const struct body *b, enum problem problem, struct bytes name,
                   const char *detail)
{
    char path[PATH_MAX_BYTES];
    int n = (int)(name.n < EVENT_NAME_MAX ? name.n : EVENT_NAME_MAX);
    snprintf(path, sizeof path, "%s%.*s", b->root, n, (const char *)name.p);
    reply_problem_detail(b->rq, problem, path, "%s", detail);
    return false;
}

static bool on_member(void *ctx, const struct json_found *found)
{
    struct body *b = ctx;
    const struct body_field *f = b->fields;
    while (f->name != NULL && !bytes_equal(found->name, bytes_of_string(f->name))) {
        f++;
    }
    if (f->name == NULL) {
        return refuse(b, PROBLEM_UNKNOWN_FIELD, found->name, "there is no such field");
    }
    bool *seen = &b->seen[f - b->fields];
    if (*seen) {
        return refuse(b, PROBLEM_INVALID_FIELD, found->name, "is there twice");
    }
    *seen = true;
    bool null = found->kind == KIND_NULL;
    if (null && f->kind != BODY_OBJECT_OR_NULL) {
        return true;
    }
    const char *wanted = null ? NULL : take(b->rq, f, found);
    if (wanted != NULL) {
        char detail[80];
        snprintf(detail, sizeof detail, "must be %s", wanted);
        return refuse(b, PROBLEM_INVALID_FIELD, found->name, detail);
    }
    if (f->given != NULL) {
        *f->given = true;
    }
    return true;
}

bool body_read(struct http_request *rq, struct bytes text, const char *root,
               const struct body_field *fields)
{
    struct body b = {.rq = rq, .root = root, .fields = fields};
    const struct json_members_handler handler = {.member = on_member, .ctx = &b};
    char detail[JSON_DETAIL_MAX];
    if (text.n == 0) {
        return true;
    }
    switch (json_read_members(text, false, http_arena(rq), &handler, detail)) {
    case JSON_MEMBERS_OK:
        return true;
    case JSON_MEMBERS_INVALID:
        reply_problem_detail(rq, PROBLEM_INVALID_JSON, NULL, "%s", detail);
        return false;
    case JSON_MEMBERS_KIND:
        reply_problem_detail(rq, PROBLEM_INVALID_FIELD, NULL, "the body must be an object");
        return false;
    case JSON_MEMBERS_MEMORY:
        reply_error(rq, ERR_MEMORY, "reading the body");
        return false;
    case JSON_MEMBERS_STOPPED:
        return false;
    }
    return false;
}
