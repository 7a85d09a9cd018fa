/* event_json: one event out of the server's JSON. */
#include "group_int.h"

#include <string.h>
#include <time.h>

/* ---- values that are strings ---- */

static int value_of_hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "xxxxxxxx-xxxx-…" in its quotes. */
static bool scan_uuid(struct daybook_bytes value, uint8_t ret[16])
{
    const char *p = value.p;
    size_t n = 0;
    if (value.n != 38) {
        return false;
    }
    for (size_t i = 1; i + 2 < value.n && n < 16;) {
        if (p[i] == '-') {
            i++;
            continue;
        }
        int high = value_of_hex(p[i]), low = value_of_hex(p[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret[n++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    return n == 16;
}

/* So many digits. */
static bool scan_digits(const char **at, size_t n, int *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9') {
            return false;
        }
        *ret = *ret * 10 + (**at - '0');
    }
    return true;
}

/* Microseconds: the digits behind the point, however many. */
static int64_t scan_fraction(const char **at)
{
    int64_t us = 0, unit = 100000;
    if (**at != '.') {
        return 0;
    }
    for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) {
        us += (**at - '0') * unit;
    }
    return us;
}

int64_t daybook_scan_time(struct daybook_bytes value)
{
    char text[48];
    struct tm tm = {0};
    if (value.n < 22 || value.n - 2 >= sizeof text) {
        return 0;
    }
    memcpy(text, (const char *)value.p + 1, value.n - 2);
    text[value.n - 2] = '\0';
    const char *at = text;
    bool ok = scan_digits(&at, 4, &tm.tm_year) && *at++ == '-' && scan_digits(&at, 2, &tm.tm_mon) &&
              *at++ == '-' && scan_digits(&at, 2, &tm.tm_mday) && *at++ == 'T' &&
              scan_digits(&at, 2, &tm.tm_hour) && *at++ == ':' && scan_digits(&at, 2, &tm.tm_min) &&
              *at++ == ':' && scan_digits(&at, 2, &tm.tm_sec);
    int64_t us = ok ? scan_fraction(&at) : 0;
    if (!ok || strcmp(at, "Z") != 0) {
        return 0;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return (int64_t)timegm(&tm) * 1000000 + us;
}

static int value_of_base64(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *digit = c == '\0' ? NULL : strchr(digits, c);
    return digit == NULL ? -1 : (int)(digit - digits);
}

/* A string in standard base64. */
static bool scan_base64(struct daybook_arena *arena, struct daybook_bytes value,
                        struct daybook_bytes *ret)
{
    const char *text = daybook_scan_string(arena, value);
    uint8_t *out = text == NULL ? NULL : daybook_arena_get(arena, value.n);
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    if (out == NULL) {
        return false;
    }
    for (; *text != '\0' && *text != '='; text++) {
        int digit = value_of_base64(*text);
        if (digit < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    *ret = (struct daybook_bytes){out, n};
    return true;
}

/* ---- the event ---- */

static bool scan_tags(struct daybook_arena *arena, struct daybook_bytes value,
                      struct daybook_event *event)
{
    size_t n = daybook_scan_count(value);
    const char **tags = daybook_arena_get(arena, (n + 1) * sizeof *tags);
    struct daybook_scan s = daybook_scan_array(value);
    struct daybook_bytes element;
    event->tags = tags;
    while (tags != NULL && event->tags_n < n && daybook_scan_element(&s, &element)) {
        const char *tag = daybook_scan_string(arena, element);
        if (tag == NULL) {
            return false;
        }
        tags[event->tags_n++] = tag;
    }
    return tags != NULL;
}

/* Whether it is one of the members that are text, and then is read. */
static bool take_text(struct daybook_arena *arena, struct daybook_bytes name,
                      struct daybook_bytes value, struct daybook_event *e, bool *ret_ok)
{
    const struct {
        const char *name;
        const char **ret;
    } texts[] = {{"\"stream\"", &e->stream},
                 {"\"type\"", &e->type},
                 {"\"content_type\"", &e->content_type},
                 {"\"occurred_at\"", &e->occurred_at}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (daybook_scan_is(name, texts[i].name)) {
            *texts[i].ret = daybook_scan_string(arena, value);
            *ret_ok = *texts[i].ret != NULL;
            return true;
        }
    }
    return false;
}

static bool take_member(struct daybook_arena *arena, struct daybook_bytes name,
                        struct daybook_bytes value, struct daybook_event *e)
{
    bool ok = true;
    if (take_text(arena, name, value, e, &ok)) {
        return ok;
    }
    if (daybook_scan_is(name, "\"position\"")) {
        e->position = daybook_scan_number(value);
    } else if (daybook_scan_is(name, "\"revision\"")) {
        e->revision = daybook_scan_number(value);
    } else if (daybook_scan_is(name, "\"id\"")) {
        return scan_uuid(value, e->id);
    } else if (daybook_scan_is(name, "\"time\"")) {
        e->time_us = daybook_scan_time(value);
    } else if (daybook_scan_is(name, "\"data\"")) {
        e->data = value;
    } else if (daybook_scan_is(name, "\"data_base64\"")) {
        return scan_base64(arena, value, &e->data);
    } else if (daybook_scan_is(name, "\"metadata\"")) {
        e->metadata = value;
    } else if (daybook_scan_is(name, "\"tags\"")) {
        return scan_tags(arena, value, e);
    } else if (daybook_scan_is(name, "\"schema_version\"")) {
        e->schema_version = (uint32_t)daybook_scan_number(value);
    } else if (daybook_scan_is(name, "\"redacted\"")) {
        e->redacted = daybook_scan_is(value, "true");
    }
    return true;
}

bool daybook_event_scan(struct daybook_arena *arena, struct daybook_bytes json,
                        struct daybook_event *ret)
{
    struct daybook_event e = {
        .stream = "", .type = "", .content_type = "application/json", .occurred_at = ""};
    struct daybook_scan s = daybook_scan_object(json);
    struct daybook_bytes name, value;
    while (daybook_scan_member(&s, &name, &value)) {
        if (!take_member(arena, name, value, &e)) {
            return false;
        }
    }
    if (e.redacted) {
        e.data = (struct daybook_bytes){NULL, 0};
    }
    *ret = e;
    return !s.damaged && e.position > 0 && e.stream[0] != '\0';
}
