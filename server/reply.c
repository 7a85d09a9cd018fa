/* reply: answers and problem documents. */
#include "server/reply.h"

#include "daybook/v1/problems.pb-c.h"
#include "server/log.h"
#include "storage/base/check.h"

#include <stdarg.h>
#include <stdio.h>

#define PROBLEM_BYTES_MAX ((size_t)1 << 20)
#define DETAIL_BYTES      512
#define TYPE_PREFIX       "urn:daybook:problem:"
#define EXPECTED_BYTES    24

static const struct problem_row rows[PROBLEM_COUNT] = {
#define PROBLEM(name, code, status, title, hint) [PROBLEM_##name] = {code, status, title, hint},
#include "server/problems.def"
#undef PROBLEM
};

static const struct store *position_store;

static void put_problem_json(struct buf *b, const struct problem_row *row,
                             const struct problem_extra *extra);
static err_t put_problem_protobuf(struct http_request *rq, struct buf *b,
                                  const struct problem_row *row, const struct problem_extra *extra);

void reply_init(const struct store *store)
{
    position_store = store;
}

const struct problem_row *reply_problem_row(enum problem problem)
{
    CHECK((unsigned)problem < PROBLEM_COUNT);
    return &rows[problem];
}

bool reply_negotiate(struct http_request *rq, unsigned offered, enum encoding *ret)
{
    if (negotiate_accept(http_header(rq, "Accept"), offered, ret)) {
        return true;
    }
    char list[256] = "";
    for (unsigned e = 0; e < ENCODING_COUNT; e++) {
        if ((offered & OFFER(e)) != 0) {
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, "%s%s", n == 0 ? "" : ", ",
                     negotiate_media_type((enum encoding)e));
        }
    }
    reply_problem_detail(rq, PROBLEM_NOT_ACCEPTABLE, "header.Accept", "this route offers %s", list);
    return false;
}

bool reply_content_type(struct http_request *rq, enum encoding *ret)
{
    struct bytes type = http_header(rq, "Content-Type");
    if (negotiate_content_type(type, ret)) {
        return true;
    }
    size_t n = type.n < 100 ? type.n : 100;
    bool printable = bytes_are_utf8(bytes_of(type.p, n));
    reply_problem_detail(rq, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "header.Content-Type",
                         "the body is %.*s, not application/json or application/x-protobuf",
                         printable ? (int)n : 13,
                         printable ? (const char *)type.p : "something else");
    return false;
}

void reply_problem(struct http_request *rq, enum problem problem, const struct problem_extra *extra)
{
    static const struct problem_extra nothing;
    const struct problem_row *row = reply_problem_row(problem);
    extra = extra == NULL ? &nothing : extra;
    unsigned status = extra->status != 0 ? extra->status : row->status;
    bool protobuf = negotiate_only_protobuf(http_header(rq, "Accept"));
    struct buf b;
    buf_init(&b, PROBLEM_BYTES_MAX);
    if (protobuf && put_problem_protobuf(rq, &b, row, extra) != ERR_OK) {
        buf_clear(&b);
        protobuf = false;
    }
    if (!protobuf) {
        put_problem_json(&b, row, extra);
    }
    if (buf_status(&b) != ERR_OK) {
        /* Too many violations, or no memory: an answer with fewer words. */
        buf_clear(&b);
        struct problem_extra less = {.status = extra->status, .hint = extra->hint};
        put_problem_json(&b, row, &less);
        protobuf = false;
    }
    if (status == 503) {
        http_reply_header(rq, "Retry-After", "1");
    }
    reply_position(rq, position_store == NULL ? 0 : store_position(position_store));
    http_reply(rq, status,
               protobuf ? negotiate_media_type(ENCODING_PROTOBUF) : "application/problem+json", &b);
    buf_done(&b);
}

void reply_problem_detail(struct http_request *rq, enum problem problem, const char *field,
                          const char *format, ...)
{
    char detail[DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    reply_problem(rq, problem, &(struct problem_extra){.detail = detail, .field = field});
}

enum problem reply_problem_of(err_t err)
{
    switch (err) {
    case ERR_MEMORY:
    case ERR_BUSY:
    case ERR_FULL:
        return PROBLEM_OVERLOADED;
    case ERR_CLOSED:
        return PROBLEM_SHUTTING_DOWN;
    case ERR_LIMIT:
        return PROBLEM_BODY_TOO_LARGE;
    case ERR_INVALID:
        return PROBLEM_INVALID_FIELD;
    case ERR_GONE:
        return PROBLEM_STREAM_DELETED;
    case ERR_NOT_FOUND:
        return PROBLEM_NOT_FOUND;
    case ERR_DISK_FULL:
        return PROBLEM_INSUFFICIENT_STORAGE;
    case ERR_CORRUPT:
        return PROBLEM_DATA_DAMAGED;
    case ERR_OK:
    case ERR_END:
    case ERR_IO:
    case ERR_FORMAT:
    case ERR_UNSUPPORTED:
    case ERR_CONNECT:
    case ERR_REMOTE:
    case ERR_COUNT:
        break;
    }
    return PROBLEM_INTERNAL;
}

void reply_error(struct http_request *rq, err_t err, const char *doing)
{
    enum problem problem = reply_problem_of(err);
    if (problem == PROBLEM_INTERNAL || problem == PROBLEM_DATA_DAMAGED || err == ERR_MEMORY) {
        log_line(LOG_LEVEL_ERROR, "request failed", log_text("route", http_route(rq)),
                 log_text("doing", doing), log_text("error", err_name(err)),
                 log_text("detail", err_describe(err)));
    }
    reply_problem_detail(rq, problem, NULL, "%s: %s", doing, err_describe(err));
}

void reply_refusal(struct http_request *rq, enum http_refusal why, const char *detail, void *ctx)
{
    static const enum problem problems[] = {
        [HTTP_REFUSE_FRAMING] = PROBLEM_BAD_REQUEST,
        [HTTP_REFUSE_BODY_TOO_LARGE] = PROBLEM_BODY_TOO_LARGE,
        [HTTP_REFUSE_HEADER_TOO_LARGE] = PROBLEM_HEADER_TOO_LARGE,
        [HTTP_REFUSE_TARGET] = PROBLEM_BAD_REQUEST,
        [HTTP_REFUSE_TARGET_TOO_LONG] = PROBLEM_URI_TOO_LONG,
        [HTTP_REFUSE_BODY_TIMEOUT] = PROBLEM_REQUEST_TIMEOUT,
        [HTTP_REFUSE_OVERLOADED] = PROBLEM_OVERLOADED,
        [HTTP_REFUSE_STOPPING] = PROBLEM_SHUTTING_DOWN,
    };
    (void)ctx;
    struct problem_extra extra = {.detail = detail};
    if (why == HTTP_REFUSE_TARGET) {
        extra.hint = "send a path that starts with '/', and percent-encode every byte outside "
                     "printable ASCII";
    }
    reply_problem(rq, problems[why], &extra);
}

void reply_body(struct http_request *rq, unsigned status, enum encoding encoding, uint64_t position,
                struct buf *take_body)
{
    if (buf_status(take_body) != ERR_OK) {
        err_t err = buf_status(take_body);
        buf_done(take_body);
        reply_error(rq, err == ERR_LIMIT ? ERR_MEMORY : err, "writing the answer");
        return;
    }
    reply_position(rq, position);
    bool has_body = status != 204 && status != 304;
    http_reply(rq, status, has_body ? negotiate_media_type(encoding) : NULL, take_body);
}

void reply_foreign(struct http_request *rq, const char *media_type, uint64_t position,
                   struct buf *take_body)
{
    reply_position(rq, position);
    http_reply_header(rq, "X-Content-Type-Options", "nosniff");
    http_reply_header(rq, "Content-Security-Policy", "sandbox; default-src 'none'");
    http_reply(rq, 200, media_type, take_body);
}

void reply_stream(struct http_request *rq, enum encoding encoding, uint64_t position,
                  http_next_fn next, void (*free_ctx)(void *ctx), void *take_ctx)
{
    reply_position(rq, position);
    http_reply_stream(rq, 200, negotiate_media_type(encoding), next, free_ctx, take_ctx);
}

void reply_position(struct http_request *rq, uint64_t position)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)position);
    http_reply_header(rq, "Daybook-Position", digits);
}

/* As decimal digits, or the name of a state; `quoted` where JSON wants a string. */
static const char *expected_text(struct expectation expected, char ret[EXPECTED_BYTES],
                                 bool *ret_quoted)
{
    *ret_quoted = expected.kind != EXPECT_REVISION;
    switch (expected.kind) {
    case EXPECT_NO_STREAM:
        return "no_stream";
    case EXPECT_STREAM_EXISTS:
        return "stream_exists";
    case EXPECT_REVISION:
        snprintf(ret, EXPECTED_BYTES, "%llu", (unsigned long long)expected.revision);
        return ret;
    case EXPECT_ANY:
        break;
    }
    return "any";
}

static void put_member(struct buf *b, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0' && bytes_are_utf8(bytes_of_string(text))) {
        buf_put_format(b, ",\"%s\":", name);
        buf_put_json_string(b, bytes_of_string(text));
    }
}

static void put_violations_json(struct buf *b, const struct problem_extra *extra)
{
    for (size_t i = 0; i < extra->violation_count; i++) {
        const struct violation *v = &extra->violations[i];
        char digits[EXPECTED_BYTES];
        bool quoted;
        const char *expected = expected_text(v->expected, digits, &quoted);
        buf_put_string(b, i == 0 ? ",\"violations\":[{\"stream\":" : ",{\"stream\":");
        buf_put_json_string(b, v->stream);
        buf_put_format(b, quoted ? ",\"expected\":\"%s\"" : ",\"expected\":%s", expected);
        buf_put_format(b, ",\"actual\":%llu}", (unsigned long long)v->actual);
    }
    buf_put_string(b, extra->violation_count > 0 ? "]" : "");
    for (size_t i = 0; i < extra->condition_violation_count; i++) {
        const struct condition_violation *v = &extra->condition_violations[i];
        buf_put_string(b, i == 0 ? ",\"condition_violations\":[" : ",");
        buf_put_format(b, "{\"item\":%zu,\"position\":%llu}", v->item,
                       (unsigned long long)v->position);
    }
    buf_put_string(b, extra->condition_violation_count > 0 ? "]" : "");
}

static void put_problem_json(struct buf *b, const struct problem_row *row,
                             const struct problem_extra *extra)
{
    buf_put_format(b, "{\"type\":\"" TYPE_PREFIX "%s\"", row->code);
    put_member(b, "title", row->title);
    buf_put_format(b, ",\"status\":%u", extra->status != 0 ? extra->status : row->status);
    put_member(b, "detail", extra->detail);
    put_member(b, "hint", extra->hint != NULL ? extra->hint : row->hint);
    put_member(b, "field", extra->field);
    put_violations_json(b, extra);
    if (extra->stored_revision > 0) {
        buf_put_string(b, ",\"stored_revision\":");
        buf_put_u64(b, extra->stored_revision);
    }
    for (size_t i = 0; i < extra->lease_count; i++) {
        buf_put_string(b, i == 0 ? ",\"leases\":[" : ",");
        buf_put_json_string(b, extra->leases[i]);
    }
    buf_put_string(b, extra->lease_count > 0 ? "]}" : "}");
}

void reply_put_problem(struct buf *b, enum problem problem, const struct problem_extra *extra)
{
    put_problem_json(b, reply_problem_row(problem), extra);
}

static char *copy_text(struct arena *arena, struct bytes text)
{
    char *copy = arena_alloc(arena, text.n + 1);
    if (copy != NULL) {
        memcpy(copy, text.p, text.n);
        copy[text.n] = '\0';
    }
    return copy;
}

static Daybook__V1__Violation **make_violations(struct arena *arena,
                                                const struct problem_extra *extra)
{
    size_t n = extra->violation_count;
    Daybook__V1__Violation **list = arena_alloc(arena, (n + 1) * sizeof(void *));
    Daybook__V1__Violation *items = arena_alloc(arena, (n + 1) * sizeof *items);
    if (list == NULL || items == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        const struct violation *v = &extra->violations[i];
        char digits[EXPECTED_BYTES];
        bool quoted;
        const char *expected = expected_text(v->expected, digits, &quoted);
        daybook__v1__violation__init(&items[i]);
        items[i].stream = copy_text(arena, v->stream);
        items[i].expected = copy_text(arena, bytes_of_string(expected));
        items[i].actual = v->actual;
        if (items[i].stream == NULL || items[i].expected == NULL) {
            return NULL;
        }
        list[i] = &items[i];
    }
    return list;
}

static Daybook__V1__ConditionViolation **make_condition_violations(
    struct arena *arena, const struct problem_extra *extra)
{
    size_t n = extra->condition_violation_count;
    Daybook__V1__ConditionViolation **list = arena_alloc(arena, (n + 1) * sizeof(void *));
    Daybook__V1__ConditionViolation *items = arena_alloc(arena, (n + 1) * sizeof *items);
    if (list == NULL || items == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        daybook__v1__condition_violation__init(&items[i]);
        items[i].item = (uint32_t)extra->condition_violations[i].item;
        items[i].position = extra->condition_violations[i].position;
        list[i] = &items[i];
    }
    return list;
}

static char **make_leases(struct arena *arena, const struct problem_extra *extra)
{
    char **list = arena_alloc(arena, (extra->lease_count + 1) * sizeof *list);
    for (size_t i = 0; list != NULL && i < extra->lease_count; i++) {
        list[i] = copy_text(arena, extra->leases[i]);
        if (list[i] == NULL) {
            return NULL;
        }
    }
    return list;
}

/* The generated struct wants char *, and only reads. */
static char *text_or_empty(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

static err_t put_problem_protobuf(struct http_request *rq, struct buf *b,
                                  const struct problem_row *row, const struct problem_extra *extra)
{
    char type[128];
    snprintf(type, sizeof type, TYPE_PREFIX "%s", row->code);
    Daybook__V1__Problem p = DAYBOOK__V1__PROBLEM__INIT;
    p.type = type;
    p.title = text_or_empty(row->title);
    p.status = extra->status != 0 ? extra->status : row->status;
    p.detail = text_or_empty(extra->detail);
    p.hint = text_or_empty(extra->hint != NULL ? extra->hint : row->hint);
    p.field = text_or_empty(extra->field);
    p.n_violations = extra->violation_count;
    p.violations = make_violations(http_arena(rq), extra);
    p.n_condition_violations = extra->condition_violation_count;
    p.condition_violations = make_condition_violations(http_arena(rq), extra);
    p.stored_revision = extra->stored_revision;
    p.n_leases = extra->lease_count;
    p.leases = make_leases(http_arena(rq), extra);
    if (p.violations == NULL || p.condition_violations == NULL || p.leases == NULL) {
        return ERR_MEMORY;
    }
    size_t n = daybook__v1__problem__get_packed_size(&p);
    uint8_t *to = buf_reserve(b, n);
    if (to == NULL) {
        return buf_status(b);
    }
    buf_advance(b, daybook__v1__problem__pack(&p, to));
    return ERR_OK;
}
