/* value: see value.h. */
#include "value.h"

#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define WAIT_DIGITS_MAX 9

struct reading {
    struct daybook_buffer *text;
    struct daybook_value *ret;
    bool memory; /* there is none */
};

static int on_null(void *ctx)
{
    struct reading *r = ctx;
    *r->ret = (struct daybook_value){.kind = DAYBOOK_NULL};
    return 1;
}

static int on_boolean(void *ctx, int value)
{
    struct reading *r = ctx;
    *r->ret = (struct daybook_value){.kind = DAYBOOK_INTEGER, .integer = value};
    return 1;
}

/* No locale but for letters is set in this program, so the point is a point. */
static int on_number(void *ctx, const char *p, size_t n)
{
    struct reading *r = ctx;
    char copy[400], *end;
    if (n >= sizeof copy) {
        return 0;
    }
    memcpy(copy, p, n);
    copy[n] = '\0';
    errno = 0;
    long long integer = strtoll(copy, &end, 10);
    if (*end == '\0' && errno == 0) {
        *r->ret = (struct daybook_value){.kind = DAYBOOK_INTEGER, .integer = integer};
    } else {
        *r->ret = (struct daybook_value){.kind = DAYBOOK_REAL, .real = strtod(copy, NULL)};
    }
    return 1;
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    struct reading *r = ctx;
    size_t at = r->text->n;
    r->memory = !daybook_buffer_add(r->text, p, n);
    *r->ret = (struct daybook_value){.kind = DAYBOOK_TEXT, .text = {r->text->p + at, n}};
    return !r->memory;
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

bool value_read(const char *given, struct daybook_buffer *text, struct daybook_value *ret)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = refuse,
        .yajl_start_array = refuse,
    };
    struct reading r = {.text = text, .ret = ret};
    yajl_handle h = yajl_alloc(&callbacks, NULL, &r);
    if (h == NULL) {
        return false;
    }
    yajl_status status = yajl_parse(h, (const unsigned char *)given, strlen(given));
    status = status == yajl_status_ok ? yajl_complete_parse(h) : status;
    yajl_free(h);
    if (status != yajl_status_ok) {
        *ret = (struct daybook_value){.kind = DAYBOOK_TEXT, .text = {given, strlen(given)}};
    }
    return !r.memory;
}

bool value_read_wait(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
    char digits[WAIT_DIGITS_MAX + 1];
    size_t n = strspn(text, "0123456789");
    uint64_t number;
    if (n > WAIT_DIGITS_MAX) {
        return false;
    }
    memcpy(digits, text, n);
    digits[n] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + n, units[i].name) == 0 && cli_parse_number(digits, &number)) {
            *ret_ms = number * units[i].ms;
            return true;
        }
    }
    return false;
}
