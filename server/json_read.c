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
#define COMMANDS       "append, append_many, set_metadata, delete_stream and redact"
#define SHOWN_NAME_MAX 64
#define STRINGS_MAX    CONDITION_TYPES_MAX

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
    struct draft_item *item;
    struct draft_place place;
    struct bytes strings[STRINGS_MAX]; /* of the array that is being read */
    size_t string_count;
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
static bool open_field(struct reader *r, const struct json_field *field);
static bool open_element(struct reader *r, enum json_context array);
static bool open_object(struct reader *r, enum json_context context);
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
    r.item = NULL;
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

/* The path, in its object, of the element of an array that comes next. */
static void name_element(const struct reader *r, enum json_context context, char ret[24])
{
    const struct {
        const char *name;
        size_t n;
    } arrays[] = {
        [IN_APPENDS] = {"appends", r->draft->appends.n},
        [IN_CHECKS] = {"checks", r->draft->checks.n},
        [IN_EVENTS] = {"events", r->append == NULL ? 0 : r->append->events},
        [IN_ITEMS] = {"items", r->draft->condition.n},
        [IN_TAGS] = {"tags", r->string_count},
        [IN_ITEM_TYPES] = {"types", r->string_count},
        [IN_ITEM_TAGS] = {"tags", r->string_count},
    };
    ret[0] = '\0';
    if (context >= IN_APPENDS) {
        snprintf(ret, 24, "%s[%zu]", arrays[context].name, arrays[context].n);
    }
}

/* Whether a value of this kind may stand here; sets *ret_field to the field it is for, NULL for an
 * element of an array. */
static bool accept(struct reader *r, enum json_kind kind, const struct json_field **ret_field)
{
    const struct level *level = top(r);
    const struct json_field *field = level->field;
    enum json_kind wanted = level->context >= IN_TAGS ? KIND_STRING : KIND_OBJECT;
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
    if (field == NULL) {
        name_element(r, level->context, member);
    }
    return reject_here(r, PROBLEM_INVALID_FIELD, field == NULL ? member : FIELD_NAME(field), text);
}

/* An element of an array of strings. */
static bool take_string(struct reader *r, struct bytes text)
{
    bool types = top(r)->context == IN_ITEM_TYPES;
    size_t max = types ? CONDITION_TYPES_MAX : EVENT_TAGS_MAX;
    if (r->string_count < max) {
        r->strings[r->string_count++] = text;
        return true;
    }
    char detail[64];
    snprintf(detail, sizeof detail, "there are more than %zu %s", max, types ? "types" : "tags");
    return reject_here(r, PROBLEM_INVALID_FIELD, types ? "types" : "tags", detail);
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
        (void)json_take_life(&r->draft->life, field->member, kind, text);
        return 1;
    }
    if (is_data) {
        return take_captured(r, MEMBER_DATA, source);
    }
    if (kind == KIND_STRING && !read_string(r, text, source, &text)) {
        return 0;
    }
    if (field == NULL) {
        return take_string(r, text);
    }
    return take_scalar(r, field, kind, text);
}

static int on_null(void *ctx)
{
    return on_scalar(ctx, KIND_NULL, BYTES_NONE);
}

static int on_boolean(void *ctx, int value)
{
    return on_scalar(ctx, KIND_BOOLEAN, value ? BYTES_LITERAL("true") : BYTES_LITERAL("false"));
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
    if (field != NULL && (field->member == MEMBER_DATA || field->member == MEMBER_METADATA ||
                          field->member == MEMBER_CUSTOM)) {
        enter_capture(r, start);
        return 1;
    }
    if (field != NULL) {
        return open_field(r, field);
    }
    static const enum json_context bodies[] = {
        [DRAFT_APPEND] = IN_APPEND,
        [DRAFT_APPEND_MANY] = IN_MANY,
        [DRAFT_COMMAND] = IN_COMMAND,
        [DRAFT_SET_METADATA] = IN_SET_METADATA,
        [DRAFT_DELETE_STREAM] = IN_DELETE_STREAM,
        [DRAFT_REDACT] = IN_REDACT,
    };
    return top(r)->context == IN_BODY ? open_object(r, bodies[r->draft->body])
                                      : open_element(r, top(r)->context);
}

static int on_open_object(void *ctx)
{
    return on_open(ctx, KIND_OBJECT);
}

static int on_open_array(void *ctx)
{
    return on_open(ctx, KIND_ARRAY);
}

/* The strings were gathered beside the draft, since only now their number is known. */
static bool close_strings(struct reader *r, enum json_context closed)
{
    size_t n = r->string_count;
    struct bytes *copy = arena_alloc(r->draft->arena, n * sizeof *copy);
    if (copy == NULL) {
        return reject_here(r, PROBLEM_OVERLOADED, "",
                           "there is not enough memory for this request");
    }
    memcpy(copy, r->strings, n * sizeof *copy);
    if (closed == IN_TAGS) {
        r->event->fields.tags = copy;
        r->event->fields.tag_count = (uint32_t)n;
    } else if (closed == IN_ITEM_TAGS) {
        r->item->fields.tags = copy;
        r->item->fields.tag_count = n;
    } else {
        r->item->fields.types = copy;
        r->item->fields.type_count = n;
    }
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
    return closed >= IN_TAGS ? close_strings(r, closed) : 1;
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
    case MEMBER_AFTER:
        return json_parse_integer(text, INT64_MAX, &r->draft->condition.after) ||
               reject_here(r, PROBLEM_INVALID_FIELD, FIELD_NAME(field), "must be " POSITION_WANTED);
    case MEMBER_MAX_COUNT:
    case MEMBER_MAX_AGE_S:
    case MEMBER_TRUNCATE_BEFORE:
    case MEMBER_TOMBSTONE:
    case MEMBER_REVISION:
    case MEMBER_REASON:
        return json_take_life(&r->draft->life, field->member, kind, text) ||
               reject_here(r, PROBLEM_INVALID_FIELD, FIELD_NAME(field), JSON_LIFE_WANTED);
    case MEMBER_OPENS:
    case MEMBER_DATA:
    case MEMBER_METADATA:
    case MEMBER_CUSTOM:
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

static bool open_object(struct reader *r, enum json_context context)
{
    if (context == IN_APPEND) {
        return open_append(r);
    }
    if (context == IN_SET_METADATA || context == IN_DELETE_STREAM || context == IN_REDACT) {
        r->append = &r->draft->life.target;
    }
    return push(r, context);
}

/* An array or object of ours begins, as the value of a field … */
static bool open_field(struct reader *r, const struct json_field *field)
{
    struct draft *d = r->draft;
    if (top(r)->context == IN_COMMAND) {
        if (d->root[0] != '\0') {
            return reject_here(r, PROBLEM_INVALID_FIELD, "", "a command is only one of " COMMANDS);
        }
        json_begin_command(d, field->opens);
    }
    CHECK(field->member == MEMBER_OPENS);
    d->condition.given = d->condition.given || field->opens == IN_CONDITION;
    d->condition.query_given = d->condition.query_given || field->opens == IN_QUERY;
    return open_object(r, field->opens);
}

/* … or as an element of an array. */
static bool open_element(struct reader *r, enum json_context array)
{
    if (array == IN_APPENDS) {
        return open_append(r);
    }
    if (array == IN_CHECKS) {
        r->append = draft_add_check(r->draft);
        r->place = (struct draft_place){-1, (long)r->draft->checks.n - 1, -1};
        return r->append != NULL && push(r, IN_CHECK);
    }
    if (array == IN_ITEMS) {
        r->item = draft_add_item(r->draft);
        return r->item != NULL && push(r, IN_ITEM);
    }
    CHECK(array == IN_EVENTS);
    r->event = draft_add_event(r->draft, r->append);
    r->place.event = (long)r->append->events - 1;
    return r->event != NULL && push(r, IN_EVENT);
}

static bool take_captured(struct reader *r, enum json_member member, struct bytes text)
{
    if (member == MEMBER_CUSTOM) {
        return json_take_custom(&r->draft->life, text);
    }
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
        return reject_here(r, PROBLEM_MISSING_FIELD, "append", "one of " COMMANDS " is required");
    }
    return true;
}

/* ---- helpers ---- */

static bool push(struct reader *r, enum json_context context)
{
    CHECK(r->depth < LEVELS_MAX);
    r->string_count = 0;
    r->levels[r->depth++] = (struct level){.context = context};
    return true;
}

/* What the draft's places do not say: where in the condition the reader is. */
static void put_condition_path(const struct reader *r, char ret[DRAFT_FIELD_MAX])
{
    ret[0] = '\0';
    for (size_t i = 0; i < r->depth; i++) {
        enum json_context context = r->levels[i].context;
        if (context == IN_CONDITION) {
            snprintf(ret, DRAFT_FIELD_MAX, "condition.");
        } else if (context == IN_QUERY) {
            snprintf(ret, DRAFT_FIELD_MAX, "condition.fail_if_events_match.");
        } else if (context == IN_ITEM) {
            draft_item_path(r->draft->condition.n - 1, ".", ret);
        }
    }
}

static bool reject_here(struct reader *r, enum problem problem, const char *member,
                        const char *text)
{
    char path[DRAFT_FIELD_MAX + SHOWN_NAME_MAX];
    put_condition_path(r, path);
    size_t n = strlen(path);
    snprintf(path + n, sizeof path - n, "%s", member);
    return draft_reject(r->draft, problem, r->place, path, "%s", text);
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
