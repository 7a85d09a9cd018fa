/* json_read: bodies to drafts, as yajl reports them, without a tree.
 *
 * The reader keeps a stack of the objects and arrays of OUR messages (at most LEVELS_MAX deep); a
 * table says which fields each object has and what kinds of value they take. Event data and
 * metadata are not looked into: when such a value begins, its offset is remembered, yajl goes on
 * checking it with the callbacks for scalars switched off, and when it ends the bytes between the
 * two offsets are the value, exactly as it was sent. */
#include "server/json_int.h"

#include "server/base64.h"
#include "server/json_fields.h"
#include "storage/base/check.h"

#include <stdio.h>

#define LEVELS_MAX     8
#define SHOWN_NAME_MAX 64

struct level {
    enum json_context context;
    unsigned seen;                  /* bits of the fields that were there */
    const struct json_field *field; /* whose value comes next or is being read */
};

struct reader {
    struct draft *draft;
    struct bytes body;
    yajl_handle yajl;
    yajl_callbacks callbacks;
    size_t last_end; /* offset behind the last token that was reported */
    struct level levels[LEVELS_MAX];
    size_t depth; /* levels in use */
    struct draft_append *append;
    struct draft_event *event;
    struct draft_place place;
    struct bytes tags[EVENT_TAGS_MAX];
    /* While event data or metadata is read: */
    unsigned inside; /* depth in it, 0: not in one */
    size_t inside_start;
};

/* Names of fields are literals, so they end with NUL. */
#define FIELD_NAME(field) ((const char *)(field)->name.p)

static const yajl_callbacks reading;

static const char *const kind_names[] = {"null",     "a boolean", "a number",
                                         "a string", "an object", "an array"};

static bool take_scalar(struct reader *r, const struct json_field *field, enum json_kind kind,
                        struct bytes text);
static bool take_open(struct reader *r, enum json_member member);
static bool take_captured(struct reader *r, enum json_member member, struct bytes text);
static bool finish_body(struct reader *r);
static bool push(struct reader *r, enum json_context context);
static bool reject_here(struct reader *r, enum problem problem, const char *member,
                        const char *text);
static struct bytes token(struct reader *r);
static bool read_string(struct reader *r, struct bytes decoded, struct bytes source,
                        struct bytes *ret);

bool json_read_draft(struct bytes body, struct draft *d)
{
    struct draft_place nowhere = {-1, -1, -1};
    if (!bytes_are_utf8(body)) {
        return draft_reject(d, PROBLEM_INVALID_JSON, nowhere, "", "the body is not UTF-8");
    }
    struct json_memory memory;
    struct reader r;
    r.draft = d;
    r.body = body;
    r.callbacks = reading;
    r.last_end = 0;
    r.depth = 0;
    r.append = NULL;
    r.event = NULL;
    r.place = nowhere;
    r.inside = 0;
    (void)push(&r, IN_BODY);
    r.yajl = json_parser_new(&memory, &r.callbacks, &r);
    yajl_status status = json_parse(r.yajl, body);
    if (status == yajl_status_error) {
        char detail[JSON_DETAIL_MAX];
        json_describe_error(r.yajl, body, detail);
        draft_reject(d, PROBLEM_INVALID_JSON, nowhere, "", "%s", detail);
    }
    yajl_free(r.yajl);
    return status == yajl_status_ok && finish_body(&r);
}

/* ---- what yajl calls; 0 stops the parse ---- */

static struct level *top(struct reader *r)
{
    return &r->levels[r->depth - 1];
}

/* Whether a value of this kind may stand here; sets *ret_field to the field it is for, NULL for an
 * element of an array. */
static bool accept(struct reader *r, enum json_kind kind, const struct json_field **ret_field)
{
    const struct level *level = top(r);
    const struct json_field *field = level->field;
    enum json_kind wanted = level->context == IN_TAGS ? KIND_STRING : KIND_OBJECT;
    *ret_field = field;
    bool fits =
        field == NULL ? kind == wanted : kind == KIND_NULL || (field->kinds & BIT(kind)) != 0;
    if (fits) {
        return true;
    }
    char text[160];
    snprintf(text, sizeof text, "must be %s, not %s",
             field == NULL ? kind_names[wanted] : field->wanted, kind_names[kind]);
    char member[24] = "";
    if (level->context == IN_TAGS) {
        snprintf(member, sizeof member, "tags[%u]", r->event->fields.tag_count);
    } else if (level->context == IN_EVENTS) {
        snprintf(member, sizeof member, "events[%zu]", r->append->events);
    } else if (level->context != IN_BODY) {
        bool appends = level->context == IN_APPENDS;
        snprintf(member, sizeof member, "%s[%zu]", appends ? "appends" : "checks",
                 appends ? r->draft->appends.n : r->draft->checks.n);
    }
    return reject_here(r, PROBLEM_INVALID_FIELD, field == NULL ? member : FIELD_NAME(field), text);
}

static int on_scalar(struct reader *r, enum json_kind kind, struct bytes text)
{
    const struct json_field *field;
    struct bytes source = token(r);
    if (!accept(r, kind, &field)) {
        return 0;
    }
    bool is_data = field != NULL && field->member == MEMBER_DATA;
    if (kind == KIND_NULL) {
        return 1;
    }
    if (is_data) {
        return take_captured(r, MEMBER_DATA, source);
    }
    if (kind == KIND_STRING && !read_string(r, text, source, &text)) {
        return 0;
    }
    if (field == NULL) {
        return r->event->fields.tag_count < EVENT_TAGS_MAX
                   ? (r->tags[r->event->fields.tag_count++] = text, 1)
                   : reject_here(r, PROBLEM_INVALID_FIELD, "tags", "there are more than 32 tags");
    }
    return take_scalar(r, field, kind, text);
}

static int on_null(void *ctx)
{
    return on_scalar(ctx, KIND_NULL, BYTES_NONE);
}

static int on_boolean(void *ctx, int value)
{
    (void)value;
    return on_scalar(ctx, KIND_BOOLEAN, BYTES_NONE);
}

static int on_number(void *ctx, const char *p, size_t n)
{
    return on_scalar(ctx, KIND_NUMBER, bytes_of(p, n));
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    return on_scalar(ctx, KIND_STRING, bytes_of(p, n));
}

/* Rejects a key; its name is shown, cut between two characters. */
static bool reject_key(struct reader *r, enum problem problem, struct bytes name, const char *text)
{
    size_t n = name.n > SHOWN_NAME_MAX ? SHOWN_NAME_MAX : name.n;
    while (n > 0 && n < name.n && (name.p[n] & 0xc0) == 0x80) {
        n--;
    }
    char shown[SHOWN_NAME_MAX + 1];
    snprintf(shown, sizeof shown, "%.*s", (int)n, (const char *)name.p);
    return reject_here(r, problem, shown, text);
}

static int on_key(void *ctx, const unsigned char *p, size_t n)
{
    struct reader *r = ctx;
    struct level *level = top(r);
    struct bytes name = bytes_of(p, n);
    if (!read_string(r, name, token(r), &name)) {
        return 0;
    }
    unsigned bit = 1;
    for (const struct json_field *f = json_fields_of(level->context); f->name.p != NULL;
         f++, bit <<= 1) {
        if (!bytes_equal(name, f->name)) {
            continue;
        }
        if ((level->seen & bit) != 0) {
            return reject_key(r, PROBLEM_INVALID_FIELD, name, "the field is there twice");
        }
        level->seen |= bit;
        level->field = f;
        return 1;
    }
    return reject_key(r, PROBLEM_UNKNOWN_FIELD, name, "there is no such field here");
}

/* While inside data or metadata only arrays and objects are reported, and only their depth is of
 * interest. */
static void enter_capture(struct reader *r, size_t start)
{
    r->inside = 1;
    r->inside_start = start;
    r->callbacks.yajl_null = NULL;
    r->callbacks.yajl_boolean = NULL;
    r->callbacks.yajl_number = NULL;
    r->callbacks.yajl_string = NULL;
    r->callbacks.yajl_map_key = NULL;
}

static int on_open(struct reader *r, enum json_kind kind)
{
    if (r->inside > 0) {
        return r->inside++ < JSON_DEPTH_MAX
                   ? 1
                   : reject_here(r, PROBLEM_INVALID_FIELD, FIELD_NAME(top(r)->field),
                                 "it is nested deeper than 128 levels");
    }
    const struct json_field *field;
    size_t start = (size_t)(token(r).p - r->body.p);
    if (!accept(r, kind, &field)) {
        return 0;
    }
    if (field != NULL && (field->member == MEMBER_DATA || field->member == MEMBER_METADATA)) {
        enter_capture(r, start);
        return 1;
    }
    if (field != NULL) {
        return take_open(r, field->member);
    }
    switch (top(r)->context) {
    case IN_BODY:
        return r->draft->body == DRAFT_COMMAND       ? push(r, IN_COMMAND)
               : r->draft->body == DRAFT_APPEND_MANY ? push(r, IN_MANY)
                                                     : take_open(r, MEMBER_APPEND);
    case IN_APPENDS:
        return take_open(r, MEMBER_APPEND);
    case IN_CHECKS:
        r->append = draft_add_check(r->draft);
        r->place = (struct draft_place){-1, (long)r->draft->checks.n - 1, -1};
        return r->append != NULL && push(r, IN_CHECK);
    case IN_EVENTS:
        r->event = draft_add_event(r->draft, r->append);
        r->place.event = (long)r->append->events - 1;
        return r->event != NULL && push(r, IN_EVENT);
    case IN_COMMAND:
    case IN_MANY:
    case IN_APPEND:
    case IN_CHECK:
    case IN_EVENT:
    case IN_TAGS:
        break;
    }
    return 0;
}

static int on_open_object(void *ctx)
{
    return on_open(ctx, KIND_OBJECT);
}

static int on_open_array(void *ctx)
{
    return on_open(ctx, KIND_ARRAY);
}

/* The tags were gathered beside the draft, since only now their number is known. */
static bool close_tags(struct reader *r)
{
    struct event_draft *f = &r->event->fields;
    struct bytes *tags = arena_alloc(r->draft->arena, f->tag_count * sizeof *tags);
    if (tags == NULL) {
        return reject_here(r, PROBLEM_OVERLOADED, "",
                           "there is not enough memory for this request");
    }
    memcpy(tags, r->tags, f->tag_count * sizeof *tags);
    f->tags = tags;
    return true;
}

static int on_close(void *ctx)
{
    struct reader *r = ctx;
    if (r->inside > 0) {
        if (--r->inside > 0) {
            return 1;
        }
        r->callbacks = reading;
        r->last_end = yajl_get_bytes_consumed(r->yajl);
        return take_captured(r, top(r)->field->member,
                             bytes_of(r->body.p + r->inside_start, r->last_end - r->inside_start));
    }
    (void)token(r);
    enum json_context closed = top(r)->context;
    r->depth--;
    if (closed == IN_EVENT) {
        r->place.event = -1;
    } else if (closed == IN_APPEND || closed == IN_CHECK) {
        r->place = (struct draft_place){-1, -1, -1};
    }
    return closed == IN_TAGS ? close_tags(r) : 1;
}

static const yajl_callbacks reading = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_open_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open_array,
    .yajl_end_array = on_close,
};

/* ---- values ---- */

static bool take_base64(struct reader *r, struct bytes text)
{
    if (r->event->data_form == DRAFT_DATA_JSON) {
        return reject_here(r, PROBLEM_INVALID_FIELD, "data_base64",
                           "data is there too: send one of them");
    }
    uint8_t *to = arena_alloc(r->draft->arena, BASE64_DECODED_MAX(text.n));
    if (to == NULL) {
        return reject_here(r, PROBLEM_OVERLOADED, "",
                           "there is not enough memory for this request");
    }
    size_t n;
    if (!base64_decode(text, to, &n)) {
        return reject_here(r, PROBLEM_INVALID_FIELD, "data_base64",
                           "must be base64 with padding and no line breaks");
    }
    r->event->fields.data = bytes_of(to, n);
    r->event->data_form = DRAFT_DATA_BASE64;
    return true;
}

static bool take_id(struct reader *r, struct bytes text)
{
    if (uuid_parse(text, r->event->id) != ERR_OK) {
        return reject_here(r, PROBLEM_INVALID_FIELD, "id",
                           "must be a UUID such as 0192d3c4-5e6f-7a8b-9c0d-1e2f3a4b5c6d");
    }
    r->event->fields.id = bytes_of(r->event->id, UUID_BYTES);
    return true;
}

static bool take_scalar(struct reader *r, const struct json_field *field, enum json_kind kind,
                        struct bytes text)
{
    uint64_t number;
    switch (field->member) {
    case MEMBER_STREAM:
        r->append->stream = text;
        return true;
    case MEMBER_EXPECTED_REVISION:
        r->append->expected_given = true;
        return json_parse_expectation(kind == KIND_NUMBER, text, &r->append->expected) ||
               reject_here(r, PROBLEM_INVALID_FIELD, FIELD_NAME(field), "must be " EXPECTED_WANTED);
    case MEMBER_ID:
        return take_id(r, text);
    case MEMBER_TYPE:
        r->event->fields.type = text;
        return true;
    case MEMBER_DATA_BASE64:
        return take_base64(r, text);
    case MEMBER_CONTENT_TYPE:
    case MEMBER_OCCURRED_AT:
        if (text.n == 0) {
            return reject_here(r, PROBLEM_INVALID_FIELD, FIELD_NAME(field), "it is empty");
        }
        *(field->member == MEMBER_OCCURRED_AT ? &r->event->fields.occurred_at
                                              : &r->event->fields.content_type) = text;
        return true;
    case MEMBER_SCHEMA_VERSION:
        if (!json_parse_integer(text, UINT32_MAX, &number)) {
            return reject_here(r, PROBLEM_INVALID_FIELD, FIELD_NAME(field),
                               "must be an integer from 0 to 4294967295");
        }
        r->event->fields.schema_version = (uint32_t)number;
        return true;
    case MEMBER_APPEND:
    case MEMBER_APPEND_MANY:
    case MEMBER_APPENDS:
    case MEMBER_CHECKS:
    case MEMBER_EVENTS:
    case MEMBER_DATA:
    case MEMBER_METADATA:
    case MEMBER_TAGS:
        break;
    }
    CHECK(field == NULL);
    return false;
}

static bool open_append(struct reader *r)
{
    r->append = draft_add_append(r->draft);
    r->place = (struct draft_place){(long)r->draft->appends.n - 1, -1, -1};
    return r->append != NULL && push(r, IN_APPEND);
}

/* An array or object of ours begins. */
static bool take_open(struct reader *r, enum json_member member)
{
    bool is_command = top(r)->context == IN_COMMAND;
    if (is_command && r->draft->root[0] != '\0') {
        return reject_here(r, PROBLEM_INVALID_FIELD, "",
                           "a command is one of append and append_many, not both");
    }
    if (is_command) {
        r->draft->many = member == MEMBER_APPEND_MANY;
        r->draft->root = r->draft->many ? "append_many." : "append.";
    }
    switch (member) {
    case MEMBER_APPEND:
        return open_append(r);
    case MEMBER_APPEND_MANY:
        return push(r, IN_MANY);
    case MEMBER_APPENDS:
        return push(r, IN_APPENDS);
    case MEMBER_CHECKS:
        return push(r, IN_CHECKS);
    case MEMBER_EVENTS:
        return push(r, IN_EVENTS);
    case MEMBER_TAGS:
        return push(r, IN_TAGS);
    case MEMBER_STREAM:
    case MEMBER_EXPECTED_REVISION:
    case MEMBER_ID:
    case MEMBER_TYPE:
    case MEMBER_DATA:
    case MEMBER_DATA_BASE64:
    case MEMBER_CONTENT_TYPE:
    case MEMBER_METADATA:
    case MEMBER_OCCURRED_AT:
    case MEMBER_SCHEMA_VERSION:
        break;
    }
    CHECK(is_command);
    return false;
}

static bool take_captured(struct reader *r, enum json_member member, struct bytes text)
{
    if (member == MEMBER_METADATA) {
        r->event->fields.metadata = text;
        r->event->metadata_is_json = true;
        return true;
    }
    if (r->event->data_form == DRAFT_DATA_BASE64) {
        return reject_here(r, PROBLEM_INVALID_FIELD, "data",
                           "data_base64 is there too: send one of them");
    }
    r->event->fields.data = text;
    r->event->data_form = DRAFT_DATA_JSON;
    return true;
}

static bool finish_body(struct reader *r)
{
    if (r->draft->body == DRAFT_COMMAND && r->draft->root[0] == '\0') {
        return reject_here(r, PROBLEM_MISSING_FIELD, "append", "append or append_many is required");
    }
    return true;
}

/* ---- helpers ---- */

static bool push(struct reader *r, enum json_context context)
{
    CHECK(r->depth < LEVELS_MAX);
    r->levels[r->depth++] = (struct level){.context = context};
    return true;
}

static bool reject_here(struct reader *r, enum problem problem, const char *member,
                        const char *text)
{
    return draft_reject(r->draft, problem, r->place, member, "%s", text);
}

static bool is_between_tokens(uint8_t c)
{
    return c == ',' || c == ':' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The source of the token that is being reported: between it and the last one there is only
 * punctuation. */
static struct bytes token(struct reader *r)
{
    size_t at = r->last_end;
    size_t end = yajl_get_bytes_consumed(r->yajl);
    while (at < end && is_between_tokens(r->body.p[at])) {
        at++;
    }
    r->last_end = end;
    return bytes_of(r->body.p + at, end - at);
}

/* A string of ours. What had escapes was decoded into memory of yajl's that does not last. */
static bool read_string(struct reader *r, struct bytes decoded, struct bytes source,
                        struct bytes *ret)
{
    bool verbatim = decoded.n + 2 == source.n;
    if (verbatim) {
        *ret = bytes_of(source.p + 1, decoded.n);
        return true;
    }
    if (!json_surrogates_are_paired(source)) {
        return draft_reject(r->draft, PROBLEM_INVALID_JSON, r->place, "",
                            "lone surrogate in the string that ends at byte %zu", r->last_end);
    }
    if (arena_copy(r->draft->arena, decoded, ret) != ERR_OK) {
        return reject_here(r, PROBLEM_OVERLOADED, "",
                           "there is not enough memory for this request");
    }
    return true;
}
