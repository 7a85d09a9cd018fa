/* err: the names and texts of error codes, and bounded messages for humans. */
#include "err.h"

#include "bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    const char *text;
} table[ERR_COUNT] = {
    [ERR_OK] = {"OK", "no error"},
#define ERR(name, text) [ERR_##name] = {#name, text},
#include "err.def"
#undef ERR
};

static size_t format_text(char ret[ERR_TEXT_MAX], const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static size_t whole_characters(const char *text, size_t n);
static void make_text(char *text, size_t n);

const char *err_name(err_t err)
{
    return (unsigned)err < ERR_COUNT ? table[err].name : "UNKNOWN";
}

const char *err_describe(err_t err)
{
    return (unsigned)err < ERR_COUNT ? table[err].text : "an unknown error";
}

err_t err_set(struct err_text *et, err_t err, const char *format, ...)
{
    if (et == NULL) {
        return err;
    }
    /* Formatted aside, because an argument may be the old text itself. */
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    size_t n = format_text(text, format, args);
    va_end(args);
    memcpy(et->text, text, n + 1);
    return err;
}

void err_prepend(struct err_text *et, const char *format, ...)
{
    if (et == NULL) {
        return;
    }
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    size_t n = format_text(text, format, args);
    va_end(args);

    size_t old = strnlen(et->text, ERR_TEXT_MAX - 1);
    if (old > 0 && n + 2 < ERR_TEXT_MAX) {
        memcpy(text + n, ": ", 2);
        n += 2;
        size_t room = ERR_TEXT_MAX - 1 - n;
        size_t keep = old <= room ? old : whole_characters(et->text, room);
        memcpy(text + n, et->text, keep);
        n += keep;
    }
    memcpy(et->text, text, n);
    et->text[n] = '\0';
}

err_t err_from_errno(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case ENOMEM:
    case EMFILE: /* passes, like memory */
    case ENFILE:
        return ERR_MEMORY;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}

static size_t format_text(char ret[ERR_TEXT_MAX], const char *format, va_list args)
{
    int wanted = vsnprintf(ret, ERR_TEXT_MAX, format, args);
    size_t n = wanted < 0 ? 0 : (size_t)wanted;
    if (n >= ERR_TEXT_MAX) {
        n = whole_characters(ret, ERR_TEXT_MAX - 1);
    }
    ret[n] = '\0';
    make_text(ret, n);
    return n;
}

/* A message may quote any bytes, such as a script's; people and JSON get UTF-8. */
static void make_text(char *text, size_t n)
{
    if (bytes_are_utf8(bytes_of(text, n))) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        text[i] = (unsigned char)text[i] > 0x7f ? '?' : text[i];
    }
}

/* How many of the first n bytes end on a UTF-8 character boundary: a message that is cut in the
 * middle of a character could not be put into JSON. */
static size_t whole_characters(const char *text, size_t n)
{
    size_t lead = n;
    while (lead > 0 && n - lead < 4) {
        unsigned char c = (unsigned char)text[--lead];
        if ((c & 0xc0) != 0x80) {
            size_t length = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
            return n - lead < length ? lead : n;
        }
    }
    return n;
}
