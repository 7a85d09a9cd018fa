/* import_line: see import_line.h.
 *
 * The parser, yajl, says after each token how far it has come. Between two tokens there is only
 * white space, a comma or a colon, so the token's own bytes are what lies between the end of the
 * one before, skipping those, and its end. `mark` is that end. */
#include "import_line.h"

#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define TAGS_MAX 1000 /* the server's limit is lower; it says what it is */

enum field {
    STREAM,
    TYPE,
    ID,
    TIME,
    OCCURRED_AT,
    CONTENT_TYPE,
    DATA_BASE64, /* up to here strings */
    DATA,
    METADATA,
    TAGS,
    REDACTED,
    SCHEMA_VERSION, /* from here numbers */
    POSITION,
    REVISION,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    [STREAM] = "stream",
    [TYPE] = "type",
    [ID] = "id",
    [TIME] = "time",
    [OCCURRED_AT] = "occurred_at",
    [CONTENT_TYPE] = "content_type",
    [DATA_BASE64] = "data_base64",
    [DATA] = "data",
    [METADATA] = "metadata",
    [TAGS] = "tags",
    [REDACTED] = "redacted",
    [SCHEMA_VERSION] = "schema_version",
    [POSITION] = "position",
    [REVISION] = "revision",
};

struct parse {
    struct daybook_arena *arena;
    char *why;
    yajl_handle parser;
    const char *line;
    size_t mark;      /* where the token before ended */
    size_t value;     /* where the current member's value begins */
    unsigned depth;   /* of open objects and arrays; the line's own object is the first */
    enum field field; /* the current member */
    bool seen[FIELDS];
    const char *texts[DATA_BASE64 + 1]; /* NULL: absent */
    size_t base64_n;
    struct daybook_bytes data, metadata;
    const char **tags;
    size_t tags_n;
    uint64_t schema_version;
    bool redacted;
};

static const yajl_callbacks callbacks;
static bool run_parser(struct parse *p, size_t n);
static bool finish(struct parse *p, struct import_event *ret);
static bool finish_data(struct parse *p, struct daybook_new_event *event);

bool import_line_parse(struct daybook_arena *arena, const void *line, size_t n,
                       struct import_event *ret, char ret_why[IMPORT_WHY_SIZE])
{
    struct parse p = {.arena = arena, .why = ret_why, .line = daybook_arena_copy(arena, line, n)};
    ret_why[0] = '\0';
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &p);
    p.parser = parser;
    bool ok = p.line != NULL && parser != NULL && run_parser(&p, n) && finish(&p, ret);
    if (parser != NULL) {
        yajl_free(parser);
    }
    if (!ok && ret_why[0] == '\0') {
        (void)snprintf(ret_why, IMPORT_WHY_SIZE, "not enough memory");
    }
    return ok;
}

static bool reject(struct parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool reject(struct parse *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(p->why, IMPORT_WHY_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

static bool run_parser(struct parse *p, size_t n)
{
    yajl_status status = yajl_parse(p->parser, (const unsigned char *)p->line, n);
    size_t at = yajl_get_bytes_consumed(p->parser);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(p->parser);
    }
    if (status == yajl_status_ok && p->depth == 0 && p->mark > 0) {
        return true;
    }
    if (p->why[0] != '\0') {
        return false;
    }
    if (status == yajl_status_ok) {
        return reject(p, "it is not a JSON object");
    }
    unsigned char *text = yajl_get_error(p->parser, 0, NULL, 0);
    reject(p, "it is not valid JSON, at byte %zu: %s", at, text == NULL ? "" : (char *)text);
    p->why[strcspn(p->why, "\n")] = '\0';
    if (text != NULL) {
        yajl_free_error(p->parser, text);
    }
    return false;
}

/* ---- tokens ---- */

/* Where the current token begins. */
static size_t token_start(const struct parse *p)
{
    size_t at = p->mark;
    while (p->line[at] != '\0' && strchr(" \t\r\n:,", p->line[at]) != NULL) {
        at++;
    }
    return at;
}

/* Moves over the current token. Returns where it began. */
static size_t next_token(struct parse *p)
{
    size_t start = token_start(p);
    p->mark = yajl_get_bytes_consumed(p->parser);
    return start;
}

/* The code of a \u escape whose 'u' is at json[at]; 0 where there is none. yajl has checked it. */
static unsigned escaped_code(const char *json, size_t n, size_t at)
{
    char digits[5] = "";
    if (json[at] != 'u' || n - at < 5) {
        return 0;
    }
    memcpy(digits, json + at + 1, 4);
    return (unsigned)strtoul(digits, NULL, 16);
}

/* Half a surrogate pair as \u escape, which yajl would turn into a question mark. */
static bool has_half_pair(const char *json, size_t n)
{
    bool after_high = false;
    for (size_t i = 0; i + 1 < n; i++) {
        bool is_escape = json[i] == '\\';
        unsigned code = is_escape ? escaped_code(json, n, ++i) : 0;
        bool is_low = code >= 0xdc00 && code < 0xe000;
        if (after_high != is_low) {
            return true;
        }
        after_high = code >= 0xd800 && code < 0xdc00;
        i += is_escape && json[i] == 'u' ? 4 : 0;
    }
    return after_high;
}

/* A string that will be one of ours: a copy; NULL with the reason. */
static const char *take_text(struct parse *p, size_t start, const unsigned char *text, size_t n)
{
    const char *name = field_names[p->field];
    if (memchr(text, '\0', n) != NULL) {
        (void)reject(p, "%s has a NUL character", name);
        return NULL;
    }
    /* Between the quotes. */
    if (has_half_pair(p->line + start + 1, p->mark - start - 2)) {
        (void)reject(p, "%s has half of a surrogate pair", name);
        return NULL;
    }
    return daybook_arena_copy(p->arena, text, n);
}

static bool add_tag(struct parse *p, const char *tag)
{
    if (p->tags == NULL) {
        p->tags = daybook_arena_get(p->arena, TAGS_MAX * sizeof *p->tags);
    }
    if (p->tags_n == TAGS_MAX) {
        return reject(p, "it has more than %d tags", TAGS_MAX);
    }
    if (p->tags == NULL || tag == NULL) {
        return false;
    }
    p->tags[p->tags_n++] = tag;
    return true;
}

/* A member's value has ended: keeps its bytes where bytes are what counts. */
static void keep_bytes(struct parse *p)
{
    struct daybook_bytes bytes = {p->line + p->value, p->mark - p->value};
    if (p->field == DATA) {
        p->data = bytes;
    } else if (p->field == METADATA) {
        p->metadata = bytes;
    }
}

static const char *wanted(enum field field)
{
    return field <= DATA_BASE64 ? "a string"
           : field == METADATA  ? "an object"
           : field == TAGS      ? "an array of strings"
           : field == REDACTED  ? "true or false"
                                : "a whole number";
}

static int wrong_value(struct parse *p)
{
    return reject(p, "%s must be %s", field_names[p->field], wanted(p->field));
}

/* A value that is no member of the line's object: deeper ones are free, but for those of tags. */
static int other_value(struct parse *p)
{
    if (p->depth == 0) {
        return reject(p, "it is not a JSON object");
    }
    return p->field != TAGS || wrong_value(p);
}

/* ---- what yajl calls: 0 stops it ---- */

static int on_null(void *arg)
{
    struct parse *p = arg;
    size_t start = next_token(p);
    if (p->depth != 1) {
        return other_value(p);
    }
    p->value = start;
    if (p->field == DATA) {
        keep_bytes(p);
    }
    return true;
}

static int on_boolean(void *arg, int value)
{
    struct parse *p = arg;
    size_t start = next_token(p);
    if (p->depth != 1) {
        return other_value(p);
    }
    p->value = start;
    if (p->field == REDACTED) {
        p->redacted = value != 0;
        return true;
    }
    if (p->field != DATA) {
        return wrong_value(p);
    }
    keep_bytes(p);
    return true;
}

static int take_number(struct parse *p, const char *text, size_t n)
{
    uint64_t number = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || number > UINT32_MAX) {
            return p->field == SCHEMA_VERSION ? wrong_value(p) : true;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (p->field == SCHEMA_VERSION && number > UINT32_MAX) {
        return reject(p, "schema_version must be at most %" PRIu32, UINT32_MAX);
    }
    p->schema_version = p->field == SCHEMA_VERSION ? number : p->schema_version;
    return true;
}

static int on_number(void *arg, const char *text, size_t n)
{
    struct parse *p = arg;
    size_t start = next_token(p);
    if (p->depth != 1) {
        return other_value(p);
    }
    p->value = start;
    if (p->field == DATA) {
        keep_bytes(p);
        return true;
    }
    return p->field >= SCHEMA_VERSION ? take_number(p, text, n) : wrong_value(p);
}

static int on_string(void *arg, const unsigned char *text, size_t n)
{
    struct parse *p = arg;
    size_t start = next_token(p);
    if (p->depth == 2 && p->field == TAGS) {
        return add_tag(p, take_text(p, start, text, n));
    }
    if (p->depth != 1) {
        return other_value(p);
    }
    p->value = start;
    if (p->field == DATA) {
        keep_bytes(p);
        return true;
    }
    if (p->field > DATA_BASE64) {
        return wrong_value(p);
    }
    p->texts[p->field] = take_text(p, start, text, n);
    p->base64_n = p->field == DATA_BASE64 ? n : p->base64_n;
    return p->texts[p->field] != NULL;
}

static int on_open(struct parse *p, bool is_map)
{
    size_t start = next_token(p);
    if (p->depth == 0 && !is_map) {
        return reject(p, "it is not a JSON object");
    }
    if (p->depth == 1) {
        p->value = start;
        bool fits = p->field == DATA || p->field == (is_map ? METADATA : TAGS);
        if (!fits) {
            return wrong_value(p);
        }
    } else if (p->depth > 1 && p->field == TAGS) {
        return wrong_value(p);
    }
    p->depth++;
    return true;
}

static int on_start_map(void *arg)
{
    return on_open(arg, true);
}

static int on_start_array(void *arg)
{
    return on_open(arg, false);
}

static int on_end(void *arg)
{
    struct parse *p = arg;
    (void)next_token(p);
    p->depth--;
    if (p->depth == 1) {
        keep_bytes(p);
    }
    return true;
}

static int on_key(void *arg, const unsigned char *key, size_t n)
{
    struct parse *p = arg;
    (void)next_token(p);
    if (p->depth > 1) {
        return true;
    }
    for (int field = 0; field < FIELDS; field++) {
        if (strlen(field_names[field]) == n && memcmp(field_names[field], key, n) == 0) {
            p->field = (enum field)field;
            if (p->seen[field]) {
                return reject(p, "%s comes twice", field_names[field]);
            }
            p->seen[field] = true;
            return true;
        }
    }
    return reject(p, "there is no field %.*s", n > 100 ? 100 : (int)n, (const char *)key);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

/* ---- the whole ---- */

static bool finish(struct parse *p, struct import_event *ret)
{
    struct daybook_new_event event = {
        .type = p->texts[TYPE],
        .metadata = p->metadata,
        /* What was wiped is null now, whatever it was. */
        .content_type = p->redacted ? NULL : p->texts[CONTENT_TYPE],
        .tags = p->tags,
        .tags_n = p->tags_n,
        .occurred_at = p->texts[p->texts[OCCURRED_AT] != NULL ? OCCURRED_AT : TIME],
        .schema_version = (uint32_t)p->schema_version,
    };
    if (event.type == NULL) {
        return reject(p, "type is missing");
    }
    if (p->texts[ID] != NULL) {
        uint8_t *id = daybook_arena_get(p->arena, 16);
        if (id == NULL) {
            return false;
        }
        if (!text_parse_uuid(p->texts[ID], id)) {
            return reject(p, "id is not a UUID");
        }
        event.id = id;
    }
    if (!finish_data(p, &event)) {
        return false;
    }
    *ret = (struct import_event){.stream = p->texts[STREAM], .event = event};
    return true;
}

static bool finish_data(struct parse *p, struct daybook_new_event *event)
{
    const char *base64 = p->texts[DATA_BASE64];
    if (base64 == NULL) {
        if (p->data.p != NULL && !text_media_is_json(event->content_type)) {
            return reject(p, "data is JSON, which content_type is not: use data_base64");
        }
        event->data = p->data;
        return true;
    }
    if (p->data.p != NULL) {
        return reject(p, "it has both data and data_base64");
    }
    struct daybook_buffer decoded;
    daybook_buffer_init(&decoded, p->base64_n);
    bool ok = text_decode_base64(&decoded, base64, p->base64_n);
    if (!ok) {
        (void)reject(p, "data_base64 is not base64");
    } else {
        event->data.n = decoded.n;
        event->data.p = daybook_arena_copy(p->arena, decoded.p, decoded.n);
        ok = event->data.p != NULL;
    }
    daybook_buffer_done(&decoded);
    return ok;
}
