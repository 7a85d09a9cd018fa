/* cloudevents_attributes: names, types and values of attributes, by the CloudEvents
 * specification. */
#include "server/cloudevents_int.h"

#include "storage/base/timestamp.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define SPECVERSION "1.0"

static const char *value_fault(struct bytes name, enum cloudevent_type type, struct bytes text);
static const char *uri_reference_fault(struct bytes text);
static const char *uri_fault(struct bytes text);
static const char *timestamp_fault(struct bytes text);

static const char *const type_names[] = {
    [CLOUDEVENT_STRING] = "string",
    [CLOUDEVENT_BOOLEAN] = "boolean",
    [CLOUDEVENT_INTEGER] = "integer",
    [CLOUDEVENT_BYTES] = "bytes",
    [CLOUDEVENT_URI] = "uri",
    [CLOUDEVENT_URI_REF] = "uri_ref",
    [CLOUDEVENT_TIMESTAMP] = "timestamp",
};

#define TYPES (sizeof type_names / sizeof *type_names)

static bool say(char why[CLOUDEVENT_WHY_MAX], const char *text)
{
    snprintf(why, CLOUDEVENT_WHY_MAX, "%s", text);
    return false;
}

bool cloudevent_set(struct cloudevent *ce, struct bytes name, enum cloudevent_type type,
                    struct bytes text, char why[CLOUDEVENT_WHY_MAX])
{
    if (!cloudevent_name_is_valid(name)) {
        return say(why, "an attribute's name is 1 to 64 of a-z and 0-9, and not data");
    }
    const char *fault = value_fault(name, type, text);
    if (fault != NULL) {
        return say(why, fault);
    }
    struct bytes *attribute = cloudevent_context_attribute(ce, name);
    if (attribute != NULL && attribute->p != NULL) {
        return say(why, "the attribute is there twice");
    }
    if (attribute != NULL) {
        *attribute = text;
        return true;
    }
    for (size_t i = 0; i < ce->extension_count; i++) {
        if (bytes_equal(ce->extensions[i].name, name)) {
            return say(why, "the attribute is there twice");
        }
    }
    if (ce->extension_count == CLOUDEVENT_EXTENSIONS_MAX + ce->own_extension_count) {
        snprintf(why, CLOUDEVENT_WHY_MAX, "there are more than %d extension attributes",
                 CLOUDEVENT_EXTENSIONS_MAX);
        return false;
    }
    ce->extensions[ce->extension_count++] = (struct cloudevent_attribute){name, type, text};
    return true;
}

struct bytes *cloudevent_context_attribute(struct cloudevent *ce, struct bytes name)
{
    const struct {
        struct bytes name;
        struct bytes *value;
    } attributes[] = {
        {BYTES_LITERAL("specversion"), &ce->specversion},
        {BYTES_LITERAL("id"), &ce->id},
        {BYTES_LITERAL("source"), &ce->source},
        {BYTES_LITERAL("type"), &ce->type},
        {BYTES_LITERAL("subject"), &ce->subject},
        {BYTES_LITERAL("time"), &ce->time},
        {BYTES_LITERAL("datacontenttype"), &ce->datacontenttype},
        {BYTES_LITERAL("dataschema"), &ce->dataschema},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        if (bytes_equal(attributes[i].name, name)) {
            return attributes[i].value;
        }
    }
    return NULL;
}

bool cloudevent_name_is_valid(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        bool fits =
            (name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= '0' && name.p[i] <= '9');
        if (!fits) {
            return false;
        }
    }
    return name.n > 0 && name.n <= CLOUDEVENT_NAME_MAX && !bytes_equal(name, BYTES_LITERAL("data"));
}

bool cloudevent_integer_is_valid(struct bytes text, int32_t *ret)
{
    if (text.n == 0) {
        return false;
    }
    bool negative = text.p[0] == '-';
    struct bytes digits = bytes_after(text, negative);
    if (digits.n == 0 || digits.n > 10 || (digits.p[0] == '0' && digits.n > 1)) {
        return false;
    }
    int64_t v = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') {
            return false;
        }
        v = v * 10 + (digits.p[i] - '0');
    }
    v = negative ? -v : v;
    if (v < INT32_MIN || v > INT32_MAX) {
        return false;
    }
    *ret = (int32_t)v;
    return true;
}

bool cloudevent_text_is_valid(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        /* C0, DEL, and C1, which is U+0080 to U+009F, in UTF-8. */
        if (text.p[i] < 0x20 || text.p[i] == 0x7f ||
            (text.p[i] == 0xc2 && i + 1 < text.n && text.p[i + 1] < 0xa0)) {
            return false;
        }
    }
    return true;
}

static struct bytes without_parameters(struct bytes media)
{
    const uint8_t *semicolon = media.n > 0 ? memchr(media.p, ';', media.n) : NULL;
    size_t n = semicolon == NULL ? media.n : (size_t)(semicolon - media.p);
    while (n > 0 && (media.p[n - 1] == ' ' || media.p[n - 1] == '\t')) {
        n--;
    }
    return bytes_of(media.p, n);
}

static bool ends_with(struct bytes text, const char *end)
{
    size_t n = strlen(end);
    return text.n > n && strncasecmp((const char *)text.p + text.n - n, end, n) == 0;
}

bool cloudevent_media_is_json(struct bytes datacontenttype)
{
    struct bytes media = without_parameters(datacontenttype);
    return media.n == 0 || ends_with(media, "/json") || ends_with(media, "+json");
}

bool cloudevent_media_is_text(struct bytes datacontenttype)
{
    if (datacontenttype.n == 0) {
        return false;
    }
    struct bytes media = without_parameters(datacontenttype);
    struct bytes rest = bytes_after(datacontenttype, media.n);
    bool is_text = media.n > 5 && strncasecmp((const char *)media.p, "text/", 5) == 0;
    return is_text && (rest.n == 0 || ends_with(rest, "charset=utf-8") ||
                       ends_with(rest, "charset=\"utf-8\""));
}

const char *cloudevent_type_name(enum cloudevent_type type)
{
    return type_names[type];
}

bool cloudevent_type_of_name(struct bytes name, enum cloudevent_type *ret)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (bytes_equal(name, bytes_of_string(type_names[i]))) {
            *ret = (enum cloudevent_type)i;
            return true;
        }
    }
    return false;
}

/* ---- values ---- */

static const char *context_fault(struct bytes name, struct bytes text)
{
    if (text.n == 0) {
        return "it is empty";
    }
    if (bytes_equal(name, BYTES_LITERAL("specversion"))) {
        return bytes_equal(text, BYTES_LITERAL(SPECVERSION)) ? NULL : "must be " SPECVERSION;
    }
    if (bytes_equal(name, BYTES_LITERAL("source"))) {
        return uri_reference_fault(text);
    }
    if (bytes_equal(name, BYTES_LITERAL("dataschema"))) {
        return uri_fault(text);
    }
    if (bytes_equal(name, BYTES_LITERAL("time"))) {
        return timestamp_fault(text);
    }
    if (bytes_equal(name, BYTES_LITERAL("datacontenttype"))) {
        return draft_media_type_is_valid(text)
                   ? NULL
                   : "must be a media type such as application/json, at most 255 bytes";
    }
    return NULL;
}

static const char *value_fault(struct bytes name, enum cloudevent_type type, struct bytes text)
{
    struct cloudevent unused;
    int32_t number;
    bool is_context = cloudevent_context_attribute(&unused, name) != NULL;
    if (is_context &&
        (type == CLOUDEVENT_BOOLEAN || type == CLOUDEVENT_INTEGER || type == CLOUDEVENT_BYTES)) {
        return "must be a string";
    }
    if (!bytes_are_utf8(text)) {
        return "it is not UTF-8";
    }
    if (!cloudevent_text_is_valid(text)) {
        return "it has a control character";
    }
    if (is_context) {
        return context_fault(name, text);
    }
    switch (type) {
    case CLOUDEVENT_INTEGER:
        return cloudevent_integer_is_valid(text, &number)
                   ? NULL
                   : "must be an integer from -2147483648 to 2147483647, in digits";
    case CLOUDEVENT_URI:
        return uri_fault(text);
    case CLOUDEVENT_URI_REF:
        return uri_reference_fault(text);
    case CLOUDEVENT_TIMESTAMP:
        return timestamp_fault(text);
    case CLOUDEVENT_STRING:
    case CLOUDEVENT_BOOLEAN:
    case CLOUDEVENT_BYTES:
        break;
    }
    return NULL;
}

static bool is_hex(uint8_t c)
{
    return isxdigit(c) != 0;
}

/* By the characters that RFC 3986 allows, and those of RFC 3987 beside, which clients send. */
static const char *uri_reference_fault(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '%' &&
            (text.n - i < 3 || !is_hex(text.p[i + 1]) || !is_hex(text.p[i + 2]))) {
            return "must be a URI reference: a % is not followed by two hexadecimal digits";
        }
        if (strchr(" \"<>\\^`{|}", text.p[i]) != NULL) {
            return "must be a URI reference: it has a character that must be percent-encoded";
        }
    }
    return text.n > 0 ? NULL : "it is empty";
}

static const char *uri_fault(struct bytes text)
{
    size_t n = 0;
    while (n < text.n && (isalnum(text.p[n]) != 0 || strchr("+-.", text.p[n]) != NULL)) {
        n++;
    }
    if (n == 0 || n == text.n || text.p[n] != ':' || isalpha(text.p[0]) == 0) {
        return "must be an absolute URI, such as https://example.com/schema";
    }
    return uri_reference_fault(text);
}

static const char *timestamp_fault(struct bytes text)
{
    int64_t time_us;
    return text.n <= EVENT_TIME_MAX && timestamp_parse(text, &time_us) == ERR_OK
               ? NULL
               : "must be an RFC 3339 time such as 2026-01-01T00:00:00Z";
}
