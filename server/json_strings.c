/* json_strings: reads an array of strings that was found whole in a body. */
#include "server/json_int.h"
#include "server/json_members.h"

struct strings {
    struct arena *arena;
    struct bytes *items;
    size_t n, max;
    bool inside;
};

static int on_start(void *ctx)
{
    struct strings *s = ctx;
    bool was_inside = s->inside;
    s->inside = true;
    return !was_inside;
}

static int on_end(void *ctx)
{
    (void)ctx;
    return 1;
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    struct strings *s = ctx;
    return s->inside && s->n < s->max &&
           arena_copy(s->arena, bytes_of(p, n), &s->items[s->n++]) == ERR_OK;
}

static int on_no_string(void *ctx)
{
    (void)ctx;
    return 0;
}

static int on_boolean(void *ctx, int value)
{
    (void)value;
    return on_no_string(ctx);
}

static int on_number(void *ctx, const char *p, size_t n)
{
    (void)p;
    (void)n;
    return on_no_string(ctx);
}

static const yajl_callbacks reading = {
    .yajl_null = on_no_string,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_no_string,
    .yajl_start_array = on_start,
    .yajl_end_array = on_end,
};

/* A string takes a comma or the bracket, so their number bounds that of the strings. */
static size_t count_at_most(struct bytes text, size_t max)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n && n < max; i++) {
        n += text.p[i] == ',';
    }
    return n;
}

bool json_read_strings(struct bytes text, size_t max, struct arena *arena, struct bytes **ret,
                       size_t *ret_n)
{
    struct strings s = {.arena = arena, .max = max};
    s.items = arena_alloc(arena, count_at_most(text, max) * sizeof *s.items);
    if (s.items == NULL || !bytes_are_utf8(text) || !json_surrogates_are_paired(text)) {
        return false;
    }
    struct json_memory memory;
    yajl_handle h = json_parser_new(&memory, &reading, &s);
    yajl_status status = json_parse(h, text);
    yajl_free(h);
    *ret = s.items;
    *ret_n = s.n;
    return status == yajl_status_ok && s.inside;
}
