/* json_check: whether bytes are one JSON value.
 *
 * yajl does the lexing and parsing; UTF-8 is checked here, in one pass over the whole text, because
 * yajl lets overlong forms and surrogates through, and so is the depth, which yajl does not
 * bound. */
#include "server/json_int.h"

#include "storage/base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define ALIGNMENT 16

struct checker {
    unsigned depth;
    bool wants_object;
    bool too_deep;
    bool started;
};

static int on_open_object(void *ctx);
static int on_open(void *ctx);
static int on_close(void *ctx);

/* Without callbacks for scalars yajl hands nothing out and decodes nothing. */
static const yajl_callbacks checking = {
    .yajl_start_map = on_open_object,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open,
    .yajl_end_array = on_close,
};

bool json_check(struct bytes text, bool object, char detail[JSON_DETAIL_MAX])
{
    if (!bytes_are_utf8(text)) {
        snprintf(detail, JSON_DETAIL_MAX, "it is not UTF-8");
        return false;
    }
    struct json_memory memory;
    struct checker c = {.wants_object = object};
    yajl_handle h = json_parser_new(&memory, &checking, &c);
    yajl_status status = json_parse(h, text);
    bool ok = status == yajl_status_ok && (!object || c.started);
    if (!ok && c.too_deep) {
        snprintf(detail, JSON_DETAIL_MAX, "it is nested deeper than %d levels", JSON_DEPTH_MAX);
    } else if (!ok && (status != yajl_status_error)) {
        snprintf(detail, JSON_DETAIL_MAX, "it is another kind of value");
    } else if (!ok) {
        json_describe_error(h, text, detail);
    }
    yajl_free(h);
    return ok;
}

static int on_open_object(void *ctx)
{
    struct checker *c = ctx;
    c->started = true;
    return on_open(ctx);
}

static int on_open(void *ctx)
{
    struct checker *c = ctx;
    if (c->wants_object && !c->started) {
        return 0;
    }
    c->too_deep = c->depth++ == JSON_DEPTH_MAX;
    return c->too_deep ? 0 : 1;
}

static int on_close(void *ctx)
{
    struct checker *c = ctx;
    c->depth--;
    return 1;
}

/* ---- yajl's memory: a piece of the stack, then malloc; each piece is preceded by its size ---- */

static void *memory_malloc(void *ctx, size_t n)
{
    struct json_memory *m = ctx;
    size_t rounded = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT;
    uint8_t *p;
    if (rounded <= sizeof m->space - m->used) {
        p = m->space + m->used;
        m->used += rounded;
    } else {
        p = malloc(rounded);
        /* yajl cannot be told that there is no memory. */
        CHECK(p != NULL);
    }
    memcpy(p, &n, sizeof n);
    return p + ALIGNMENT;
}

static void memory_free(void *ctx, void *p)
{
    struct json_memory *m = ctx;
    if (p == NULL) {
        return;
    }
    uint8_t *piece = (uint8_t *)p - ALIGNMENT;
    bool on_stack = piece >= m->space && piece < m->space + sizeof m->space;
    if (!on_stack) {
        free(piece);
    }
}

static void *memory_realloc(void *ctx, void *p, size_t n)
{
    void *grown = memory_malloc(ctx, n);
    if (p != NULL) {
        size_t old;
        memcpy(&old, (uint8_t *)p - ALIGNMENT, sizeof old);
        memcpy(grown, p, old < n ? old : n);
        memory_free(ctx, p);
    }
    return grown;
}

yajl_handle json_parser_new(struct json_memory *m, const yajl_callbacks *callbacks, void *ctx)
{
    m->used = 0;
    m->functions = (yajl_alloc_funcs){memory_malloc, memory_realloc, memory_free, m};
    yajl_handle h = yajl_alloc(callbacks, &m->functions, ctx);
    yajl_config(h, yajl_dont_validate_strings, 1);
    yajl_config(h, yajl_allow_trailing_garbage, 1); /* json_parse looks */
    return h;
}

/* Whether nothing but white space follows the value. yajl's own look at what follows takes a string
 * that is not ended for one that may still be. */
static bool is_all(yajl_handle h, struct bytes text)
{
    for (size_t i = yajl_get_bytes_consumed(h); i < text.n; i++) {
        if (memchr(" \t\r\n", text.p[i], 4) == NULL) {
            return false;
        }
    }
    return true;
}

yajl_status json_parse(yajl_handle h, struct bytes text)
{
    yajl_status status = yajl_parse(h, text.p, text.n);
    if (status != yajl_status_ok) {
        return status;
    }
    return is_all(h, text) ? yajl_complete_parse(h) : yajl_status_error;
}

void json_describe_error(yajl_handle h, struct bytes text, char detail[JSON_DETAIL_MAX])
{
    unsigned char *error = yajl_get_error(h, 0, text.p, text.n);
    /* The end is found by feeding a blank, so that yajl counts from there. */
    bool at_end = strstr((const char *)error, "premature EOF") != NULL;
    size_t at = at_end ? text.n : yajl_get_bytes_consumed(h);
    /* What json_parse found is no error of yajl's. */
    bool is_garbage = strncmp((const char *)error, "unknown", strlen("unknown")) == 0;
    const char *what = is_garbage ? "something follows the value" : (const char *)error;
    size_t n = strcspn(what, "\n");
    snprintf(detail, JSON_DETAIL_MAX, "%.*s, at byte %zu", (int)(n > 100 ? 100 : n), what, at);
    yajl_free_error(h, error);
}
