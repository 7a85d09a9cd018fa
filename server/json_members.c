/* json_members: as json_read, but for objects with members of any name. A value that is an array or
 * an object is remembered by where it begins, and yajl checks it with the callbacks for scalars
 * switched off. */
#include "server/json_members.h"

#include "server/json_int.h"

#include <stdio.h>

struct reader {
    struct bytes text;
    struct arena *arena;
    const struct json_members_handler *handler;
    yajl_handle yajl;
    yajl_callbacks callbacks;
    size_t last_end;  /* offset behind the last token that was reported */
    bool list, begun; /* whether the list was opened */
    bool in_object;
    struct json_found found;
    unsigned inside; /* depth in a value that is not looked into */
    size_t inside_start;
    enum json_members_result result;
    bool too_deep;
};

static const yajl_callbacks reading;

enum json_members_result json_read_members(struct bytes text, bool list, struct arena *arena,
                                           const struct json_members_handler *handler,
                                           char detail[JSON_DETAIL_MAX])
{
    if (!bytes_are_utf8(text)) {
        snprintf(detail, JSON_DETAIL_MAX, "it is not UTF-8");
        return JSON_MEMBERS_INVALID;
    }
    struct json_memory memory;
    struct reader r = {.text = text,
                       .arena = arena,
                       .handler = handler,
                       .callbacks = reading,
                       .list = list,
                       .result = JSON_MEMBERS_OK};
    r.yajl = json_parser_new(&memory, &r.callbacks, &r);
    yajl_status status = json_parse(r.yajl, text);
    if (status == yajl_status_error) {
        json_describe_error(r.yajl, text, detail);
        r.result = JSON_MEMBERS_INVALID;
    } else if (r.result == JSON_MEMBERS_INVALID && r.too_deep) {
        snprintf(detail, JSON_DETAIL_MAX, "it is nested deeper than %d levels", JSON_DEPTH_MAX);
    } else if (r.result == JSON_MEMBERS_INVALID) {
        snprintf(detail, JSON_DETAIL_MAX, "lone surrogate in the string that ends at byte %zu",
                 r.last_end);
    }
    yajl_free(r.yajl);
    return r.result;
}

static int stop(struct reader *r, enum json_members_result why)
{
    r->result = why;
    return 0;
}

static bool is_between_tokens(uint8_t c)
{
    return c == ',' || c == ':' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The source of the token that is being reported: between it and the last one there is only
 * punctuation. A number at the very end is reported when yajl is told that this is the end, and
 * then it does not count on from where it was. */
static struct bytes token(struct reader *r)
{
    size_t at = r->last_end;
    size_t end = yajl_get_bytes_consumed(r->yajl);
    end = end > at ? end : r->text.n;
    while (at < end && is_between_tokens(r->text.p[at])) {
        at++;
    }
    r->last_end = end;
    return bytes_of(r->text.p + at, end - at);
}

/* What had escapes was decoded into memory of yajl's that does not last. */
static int read_string(struct reader *r, struct bytes decoded, struct bytes source,
                       struct bytes *ret)
{
    bool verbatim = decoded.n + 2 == source.n;
    if (verbatim) {
        *ret = bytes_of(source.p + 1, decoded.n);
        return 1;
    }
    if (!json_surrogates_are_paired(source)) {
        return stop(r, JSON_MEMBERS_INVALID);
    }
    return arena_copy(r->arena, decoded, ret) == ERR_OK ? 1 : stop(r, JSON_MEMBERS_MEMORY);
}

static int hand_over(struct reader *r)
{
    return r->handler->member(r->handler->ctx, &r->found) ? 1 : stop(r, JSON_MEMBERS_STOPPED);
}

static int on_scalar(struct reader *r, enum json_kind kind)
{
    struct bytes source = token(r);
    if (!r->in_object) {
        return stop(r, JSON_MEMBERS_KIND);
    }
    r->found.kind = kind;
    r->found.source = source;
    r->found.text = BYTES_NONE;
    return 1;
}

static int on_null(void *ctx)
{
    return on_scalar(ctx, KIND_NULL) && hand_over(ctx);
}

static int on_boolean(void *ctx, int value)
{
    (void)value;
    return on_scalar(ctx, KIND_BOOLEAN) && hand_over(ctx);
}

static int on_number(void *ctx, const char *p, size_t n)
{
    (void)p;
    (void)n;
    return on_scalar(ctx, KIND_NUMBER) && hand_over(ctx);
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    struct reader *r = ctx;
    return on_scalar(r, KIND_STRING) &&
           read_string(r, bytes_of(p, n), r->found.source, &r->found.text) && hand_over(r);
}

static int on_key(void *ctx, const unsigned char *p, size_t n)
{
    struct reader *r = ctx;
    return read_string(r, bytes_of(p, n), token(r), &r->found.name);
}

static void enter_value(struct reader *r, size_t start)
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
        r->too_deep = r->inside++ == JSON_DEPTH_MAX;
        return r->too_deep ? stop(r, JSON_MEMBERS_INVALID) : 1;
    }
    size_t start = (size_t)(token(r).p - r->text.p);
    if (r->in_object) {
        r->found.kind = kind;
        enter_value(r, start);
        return 1;
    }
    if (r->list && !r->begun) {
        r->begun = true;
        return kind == KIND_ARRAY ? 1 : stop(r, JSON_MEMBERS_KIND);
    }
    if (kind != KIND_OBJECT) {
        return stop(r, JSON_MEMBERS_KIND);
    }
    r->in_object = true;
    bool ok = r->handler->open == NULL || r->handler->open(r->handler->ctx);
    return ok ? 1 : stop(r, JSON_MEMBERS_STOPPED);
}

static int on_open_object(void *ctx)
{
    return on_open(ctx, KIND_OBJECT);
}

static int on_open_array(void *ctx)
{
    return on_open(ctx, KIND_ARRAY);
}

static int on_close(void *ctx)
{
    struct reader *r = ctx;
    if (r->inside > 1) {
        r->inside--;
        return 1;
    }
    if (r->inside == 1) {
        r->inside = 0;
        r->callbacks = reading;
        r->last_end = yajl_get_bytes_consumed(r->yajl);
        r->found.source = bytes_of(r->text.p + r->inside_start, r->last_end - r->inside_start);
        r->found.text = BYTES_NONE;
        return hand_over(r);
    }
    (void)token(r);
    if (!r->in_object) {
        return 1; /* the list's end */
    }
    r->in_object = false;
    bool ok = r->handler->close == NULL || r->handler->close(r->handler->ctx);
    return ok ? 1 : stop(r, JSON_MEMBERS_STOPPED);
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
