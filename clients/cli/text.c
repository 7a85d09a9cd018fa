/* text: see text.h. */
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>

static size_t utf8_length(const uint8_t *p, size_t n, uint32_t *ret_code);
static bool is_shown(uint32_t code);

/* ---- terminals ---- */

bool text_add_safe(struct daybook_buffer *b, const void *p, size_t n)
{
    const uint8_t *bytes = p;
    bool ok = true;
    for (size_t i = 0; ok && i < n;) {
        uint32_t code = 0;
        size_t length = utf8_length(bytes + i, n - i, &code);
        if (length > 0 && is_shown(code)) {
            ok = daybook_buffer_add(b, bytes + i, length);
            i += length;
        } else if (bytes[i] == '\n' || bytes[i] == '\t' || bytes[i] == '\r') {
            ok = daybook_buffer_add_text(b, bytes[i] == '\n'   ? "\\n"
                                            : bytes[i] == '\t' ? "\\t"
                                                               : "\\r");
            i++;
        } else {
            for (size_t end = i + (length > 0 ? length : 1); ok && i < end; i++) {
                char escaped[8];
                (void)snprintf(escaped, sizeof escaped, "\\x%02x", bytes[i]);
                ok = daybook_buffer_add_text(b, escaped);
            }
        }
    }
    return ok;
}

/* The length of the UTF-8 character at p, 0 where there is none: overlong forms, surrogates and
 * what is beyond U+10FFFF are none. */
static size_t utf8_length(const uint8_t *p, size_t n, uint32_t *ret_code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (length == 0 || length > n || p[0] > 0xf4) {
        return 0;
    }
    uint32_t code = length == 1 ? p[0] : p[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        return 0;
    }
    *ret_code = code;
    return length;
}

/* Not: controls, line and paragraph separators, marks that turn the direction of writing, the byte
 * order mark. */
static bool is_shown(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {{0x00, 0x1f},     {0x7f, 0x9f},     {0x200e, 0x200f}, {0x2028, 0x202e},
                  {0x2066, 0x2069}, {0x061c, 0x061c}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}};
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (code >= hidden[i].first && code <= hidden[i].last) {
            return false;
        }
    }
    return true;
}

size_t text_cut(const void *p, size_t n, size_t columns, size_t *ret_columns)
{
    const uint8_t *bytes = p;
    size_t i = 0;
    *ret_columns = 0;
    while (i < n) {
        uint32_t code = 0;
        size_t length = utf8_length(bytes + i, n - i, &code);
        int width = length > 1 ? wcwidth((wchar_t)code) : 1;
        size_t wide = width < 0 ? 1 : (size_t)width;
        if (*ret_columns + wide > columns) {
            break;
        }
        *ret_columns += wide;
        i += length > 0 ? length : 1;
    }
    return i;
}

/* ---- JSON ---- */

bool text_add_json(struct daybook_buffer *b, const char *text)
{
    bool ok = daybook_buffer_add_byte(b, '"');
    for (const char *c = text; ok && *c != '\0'; c++) {
        uint8_t byte = (uint8_t)*c;
        if (byte == '"' || byte == '\\') {
            ok = daybook_buffer_add_byte(b, '\\') && daybook_buffer_add_byte(b, byte);
        } else if (byte < 0x20) {
            char escaped[8];
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            ok = daybook_buffer_add_text(b, escaped);
        } else {
            ok = daybook_buffer_add_byte(b, byte);
        }
    }
    return ok && daybook_buffer_add_byte(b, '"');
}

bool text_media_is_json(const char *content_type)
{
    if (content_type == NULL) {
        return true;
    }
    size_t n = strcspn(content_type, ";");
    while (n > 0 && (content_type[n - 1] == ' ' || content_type[n - 1] == '\t')) {
        n--;
    }
    return n == 0 || (n == 16 && strncasecmp(content_type, "application/json", 16) == 0) ||
           (n > 5 && strncasecmp(content_type + n - 5, "+json", 5) == 0);
}

/* ---- base64 (RFC 4648) ---- */

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool text_add_base64(struct daybook_buffer *b, const void *p, size_t n)
{
    const uint8_t *bytes = p;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= left > 2 ? bytes[i + 2] : 0;
        char four[4];
        for (int k = 0; k < 4; k++) {
            four[k] = base64_digits[three >> (18 - 6 * k) & 63];
        }
        if (left < 3) {
            four[3] = '=';
        }
        if (left < 2) {
            four[2] = '=';
        }
        if (!daybook_buffer_add(b, four, sizeof four)) {
            return false;
        }
    }
    return true;
}

bool text_decode_base64(struct daybook_buffer *b, const char *text, size_t n)
{
    if (n % 4 != 0 || !daybook_buffer_reserve(b, n / 4 * 3)) {
        return false;
    }
    for (size_t i = 0; i < n; i += 4) {
        size_t padding = 0;
        uint32_t three = 0;
        for (size_t k = 0; k < 4; k++) {
            char c = text[i + k];
            const char *digit = c == '\0' ? NULL : strchr(base64_digits, c);
            padding += c == '=';
            if (c == '=' ? i + 4 < n || k < 2 : digit == NULL || padding > 0) {
                return false;
            }
            three = three << 6 | (digit == NULL ? 0 : (uint32_t)(digit - base64_digits));
        }
        if ((padding == 1 && (three & 0xff) != 0) || (padding == 2 && (three & 0xffff) != 0)) {
            return false;
        }
        uint8_t bytes[3] = {(uint8_t)(three >> 16), (uint8_t)(three >> 8), (uint8_t)three};
        if (!daybook_buffer_add(b, bytes, 3 - padding)) {
            return false;
        }
    }
    return true;
}

/* ---- UUIDs and times ---- */

void text_uuid(const uint8_t id[16], char ret[TEXT_UUID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    char *to = ret;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *to++ = '-';
        }
        *to++ = hex[id[i] >> 4];
        *to++ = hex[id[i] & 15];
    }
    *to = '\0';
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool text_parse_uuid(const char *text, uint8_t ret[16])
{
    uint8_t id[16];
    if (strlen(text) != 36) {
        return false;
    }
    for (size_t i = 0, at = 0; i < 16; i++, at += 2) {
        if (at == 8 || at == 13 || at == 18 || at == 23) {
            if (text[at++] != '-') {
                return false;
            }
        }
        int high = hex_value(text[at]);
        int low = hex_value(text[at + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        id[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret, id, sizeof id);
    return true;
}

void text_time(int64_t time_us, char ret[TEXT_TIME_SIZE])
{
    int64_t part_us = time_us % 1000000;
    time_t seconds = (time_t)(time_us / 1000000);
    if (part_us < 0) {
        part_us += 1000000;
        seconds--;
    }
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL) {
        (void)snprintf(ret, TEXT_TIME_SIZE, "-");
        return;
    }
    size_t n = strftime(ret, TEXT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(ret + n, TEXT_TIME_SIZE - n, ".%06dZ", (int)part_us);
}
