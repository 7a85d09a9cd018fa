/* query: what a read asks for, as a value: copied, compared, and tried on one event. */
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

static bool has(const struct bytes *names, size_t n, struct bytes name);
static bool has_prefix_of(const struct bytes *prefixes, size_t n, struct bytes name);
static bool has_tag_of(const struct bytes *tags, size_t n, const struct event *e);
static bool has_all_tags_of(const struct store_filter *f, const struct event *e);

bool store_filter_matches(const struct store_filter *f, const struct event *e)
{
    bool system = event_name_is_system(e->stream) || event_name_is_system(e->type);
    return (!system || f->system) &&
           (f->type_count == 0 || has(f->types, f->type_count, e->type)) &&
           (f->category_count == 0 ||
            has(f->categories, f->category_count, event_category(e->stream))) &&
           (f->prefix_count == 0 || has_prefix_of(f->prefixes, f->prefix_count, e->stream)) &&
           (f->tag_count == 0 || has_tag_of(f->tags, f->tag_count, e)) && has_all_tags_of(f, e) &&
           (f->since_us == 0 || e->time_us >= f->since_us) &&
           (f->until_us == 0 || e->time_us < f->until_us);
}

static bool has(const struct bytes *names, size_t n, struct bytes name)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_equal(names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool has_prefix_of(const struct bytes *prefixes, size_t n, struct bytes name)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_have_prefix(name, prefixes[i])) {
            return true;
        }
    }
    return false;
}

static bool has_tag_of(const struct bytes *tags, size_t n, const struct event *e)
{
    for (uint32_t i = 0; i < e->tag_count; i++) {
        if (has(tags, n, e->tags[i])) {
            return true;
        }
    }
    return false;
}

static bool has_all_tags_of(const struct store_filter *f, const struct event *e)
{
    for (size_t i = 0; i < f->all_tag_count; i++) {
        if (!has(e->tags, e->tag_count, f->all_tags[i])) {
            return false;
        }
    }
    return true;
}

/* ---- one block for the query and its names ---- */

#define LISTS 5

struct name_list {
    const struct bytes **items;
    size_t n;
};

static void lists_of(struct store_filter *f, struct name_list ret[LISTS])
{
    ret[0] = (struct name_list){&f->types, f->type_count};
    ret[1] = (struct name_list){&f->categories, f->category_count};
    ret[2] = (struct name_list){&f->prefixes, f->prefix_count};
    ret[3] = (struct name_list){&f->tags, f->tag_count};
    ret[4] = (struct name_list){&f->all_tags, f->all_tag_count};
}

static struct bytes copy_text(uint8_t **to, struct bytes text)
{
    struct bytes copy = bytes_of(*to, text.n);
    if (text.n > 0) {
        memcpy(*to, text.p, text.n);
        *to += text.n;
    }
    return copy;
}

err_t store_query_copy(const struct store_query *q, struct store_query **ret)
{
    struct store_query template = *q;
    struct name_list lists[LISTS];
    lists_of(&template.filter, lists);
    size_t names = 0;
    size_t text = q->stream.n;
    for (size_t l = 0; l < LISTS; l++) {
        names += lists[l].n;
        for (size_t i = 0; i < lists[l].n; i++) {
            text += (*lists[l].items)[i].n;
        }
    }
    struct store_query *copy = malloc(sizeof *copy + names * sizeof(struct bytes) + text);
    if (copy == NULL) {
        return ERR_MEMORY;
    }
    *copy = template;
    struct bytes *name = (struct bytes *)(copy + 1);
    uint8_t *to = (uint8_t *)(name + names);
    copy->stream = copy_text(&to, q->stream);
    lists_of(&copy->filter, lists);
    for (size_t l = 0; l < LISTS; l++) {
        const struct bytes *from = *lists[l].items;
        *lists[l].items = name;
        for (size_t i = 0; i < lists[l].n; i++) {
            *name++ = copy_text(&to, from[i]);
        }
    }
    *ret = copy;
    return ERR_OK;
}

void store_query_put_key(const struct store_query *q, struct buf *b)
{
    struct store_filter f = q->filter;
    struct name_list lists[LISTS];
    lists_of(&f, lists);
    buf_put_byte(b, (uint8_t)(q->backward | f.system << 1));
    buf_put_varint(b, (uint64_t)f.since_us);
    buf_put_varint(b, (uint64_t)f.until_us);
    buf_put_varint(b, q->stream.n);
    buf_put(b, q->stream);
    for (size_t l = 0; l < LISTS; l++) {
        buf_put_varint(b, lists[l].n);
        for (size_t i = 0; i < lists[l].n; i++) {
            buf_put_varint(b, (*lists[l].items)[i].n);
            buf_put(b, (*lists[l].items)[i]);
        }
    }
}
