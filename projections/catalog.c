/* catalog: see catalog.h. The machine form of a change is in the event's tags ("name:x",
 * "version:2", …), which need no parser and can be filtered by; the source of a definition is the
 * event's data, as it was sent, under its own media type. */
#include "catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/command.h"

#define TAG_COUNT 5

struct catalog {
    struct catalog_projection **items;
    size_t count, cap;
    uint64_t revision;
};

static const char *const TYPES[CATALOG_CHANGE_COUNT] = {
    [CATALOG_DEFINED] = "$projection-defined", [CATALOG_ROLLED_BACK] = "$projection-rolled-back",
    [CATALOG_PAUSED] = "$projection-paused",   [CATALOG_RESUMED] = "$projection-resumed",
    [CATALOG_DELETED] = "$projection-deleted",
};

err_t catalog_new(struct catalog **ret)
{
    struct catalog *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    *ret = c;
    return ERR_OK;
}

static void free_source(struct catalog_definition *d)
{
    free((void *)(uintptr_t)d->source.p);
}

static void forget_versions(struct catalog_projection *p)
{
    for (size_t i = 0; i < p->version_count; i++) {
        free_source(&p->versions[i]);
    }
    p->version_count = 0;
}

void catalog_free(struct catalog *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        forget_versions(c->items[i]);
        free(c->items[i]);
    }
    free(c->items);
    free(c);
}

uint64_t catalog_revision(const struct catalog *c)
{
    return c->revision;
}

size_t catalog_count(const struct catalog *c)
{
    return c->count;
}

const struct catalog_projection *catalog_at(const struct catalog *c, size_t i)
{
    return c->items[i];
}

static struct catalog_projection *find(const struct catalog *c, struct bytes name)
{
    for (size_t i = 0; i < c->count; i++) {
        if (bytes_equal(bytes_of_string(c->items[i]->name), name)) {
            return c->items[i];
        }
    }
    return NULL;
}

const struct catalog_projection *catalog_find_any(const struct catalog *c, struct bytes name)
{
    return find(c, name);
}

const struct catalog_projection *catalog_find(const struct catalog *c, struct bytes name)
{
    const struct catalog_projection *p = find(c, name);
    return p == NULL || p->deleted ? NULL : p;
}

const struct catalog_definition *catalog_version(const struct catalog_projection *p,
                                                 uint64_t version)
{
    for (size_t i = 0; i < p->version_count; i++) {
        if (p->versions[i].version == version) {
            return &p->versions[i];
        }
    }
    return NULL;
}

static bool is_alphanumeric(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool catalog_name_is_valid(struct bytes name)
{
    if (name.n == 0 || name.n > CATALOG_NAME_MAX || name.p[0] == '-' || name.p[0] == '.') {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (!is_alphanumeric(c) && c != '_' && c != '-' && c != '.') {
            return false;
        }
    }
    return true;
}

/* ---- folding ---- */

/* What follows "key:" in the tags; empty where there is none. */
static struct bytes tag_value(const struct event *e, const char *key)
{
    struct bytes prefix = bytes_of_string(key);
    for (uint32_t i = 0; i < e->tag_count; i++) {
        if (bytes_have_prefix(e->tags[i], prefix)) {
            return bytes_of(e->tags[i].p + prefix.n, e->tags[i].n - prefix.n);
        }
    }
    return BYTES_NONE;
}

static uint64_t tag_number(const struct event *e, const char *key)
{
    struct bytes text = tag_value(e, key);
    uint64_t v = 0;
    for (size_t i = 0; i < text.n && i < 18 && text.p[i] >= '0' && text.p[i] <= '9'; i++) {
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    return v;
}

static err_t add(struct catalog *c, struct bytes name, struct catalog_projection **ret)
{
    if (c->count == c->cap) {
        size_t cap = c->cap == 0 ? 8 : c->cap * 2;
        void *items = realloc(c->items, cap * sizeof(struct catalog_projection *));
        if (items == NULL) {
            return ERR_MEMORY;
        }
        c->items = items;
        c->cap = cap;
    }
    struct catalog_projection *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    memcpy(p->name, name.p, name.n);
    c->items[c->count++] = p;
    *ret = p;
    return ERR_OK;
}

/* The oldest one makes room, but not the one that shall serve. */
static void make_room(struct catalog_projection *p)
{
    if (p->version_count < CATALOG_VERSIONS_MAX) {
        return;
    }
    size_t out = p->versions[0].version == p->desired ? 1 : 0;
    free_source(&p->versions[out]);
    p->version_count--;
    memmove(&p->versions[out], &p->versions[out + 1],
            (p->version_count - out) * sizeof *p->versions);
}

static err_t fold_defined(struct catalog *c, struct bytes name, const struct event *e)
{
    const struct model_kind *kind = model_kind_of_name(tag_value(e, "kind:"));
    uint64_t version = tag_number(e, "version:"), attempts = tag_number(e, "attempts:");
    struct catalog_projection *p = find(c, name);
    if (kind == NULL || version == 0) {
        return ERR_OK;
    }
    err_t err = p == NULL ? add(c, name, &p) : ERR_OK;
    uint8_t *source = malloc(e->data.n + 1);
    if (err != ERR_OK || source == NULL) {
        free(source);
        return ERR_MEMORY;
    }
    memcpy(source, e->data.n == 0 ? (const void *)"" : e->data.p, e->data.n);
    make_room(p);
    p->versions[p->version_count++] = (struct catalog_definition){
        .version = version,
        .kind = kind,
        .source = bytes_of(source, e->data.n),
        .policy = {.set_aside = bytes_equal(tag_value(e, "on_error:"), BYTES_LITERAL("set_aside")),
                   .attempts = attempts == 0 ? 1 : (unsigned)attempts},
        .time_us = e->time_us,
    };
    p->desired = p->last = version;
    p->deleted = p->paused = false;
    return ERR_OK;
}

static void fold_change(struct catalog_projection *p, const struct event *e)
{
    uint64_t version = tag_number(e, "version:");
    if (bytes_equal(e->type, bytes_of_string(TYPES[CATALOG_ROLLED_BACK]))) {
        p->desired = catalog_version(p, version) != NULL ? version : p->desired;
    } else if (bytes_equal(e->type, bytes_of_string(TYPES[CATALOG_PAUSED]))) {
        p->paused = true;
    } else if (bytes_equal(e->type, bytes_of_string(TYPES[CATALOG_RESUMED]))) {
        p->paused = false;
    } else if (bytes_equal(e->type, bytes_of_string(TYPES[CATALOG_DELETED]))) {
        p->deleted = true;
        p->paused = false;
        p->desired = 0;
        forget_versions(p);
    }
}

err_t catalog_fold(struct catalog *c, const struct event *e)
{
    struct bytes name = tag_value(e, "name:");
    if (catalog_name_is_valid(name)) {
        if (bytes_equal(e->type, bytes_of_string(TYPES[CATALOG_DEFINED]))) {
            err_t err = fold_defined(c, name, e);
            if (err != ERR_OK) {
                return err;
            }
        } else {
            struct catalog_projection *p = find(c, name);
            if (p != NULL && !p->deleted) {
                fold_change(p, e);
            }
        }
    }
    c->revision = e->revision;
    return ERR_OK;
}

/* ---- making events ---- */

static err_t add_tag(struct arena *arena, struct bytes *tags, struct event_draft *draft,
                     const char *key, struct bytes value)
{
    struct bytes name = bytes_of_string(key);
    uint8_t *p = arena_alloc(arena, name.n + value.n);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    memcpy(p, name.p, name.n);
    memcpy(p + name.n, value.p, value.n);
    tags[draft->tag_count++] = bytes_of(p, name.n + value.n);
    return ERR_OK;
}

static err_t add_number_tag(struct arena *arena, struct bytes *tags, struct event_draft *draft,
                            const char *key, uint64_t value)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, value);
    return add_tag(arena, tags, draft, key, bytes_of(digits, (size_t)n));
}

static err_t add_definition(const struct catalog_definition *d, struct arena *arena,
                            struct bytes *tags, struct event_draft *draft)
{
    draft->data = d->source;
    draft->content_type = bytes_of_string(d->kind->media_type == NULL ? "application/octet-stream"
                                                                      : d->kind->media_type);
    err_t err = add_tag(arena, tags, draft, "kind:", bytes_of_string(d->kind->name));
    if (err == ERR_OK) {
        err = add_tag(arena, tags, draft,
                      "on_error:", bytes_of_string(d->policy.set_aside ? "set_aside" : "stop"));
    }
    return err == ERR_OK ? add_number_tag(arena, tags, draft, "attempts:", d->policy.attempts)
                         : err;
}

err_t catalog_make_event(const struct catalog_change *change, struct arena *arena,
                         struct event_draft *ret)
{
    struct bytes *tags = arena_alloc(arena, TAG_COUNT * sizeof *tags);
    if (tags == NULL) {
        return ERR_MEMORY;
    }
    struct event_draft draft = {
        .type = bytes_of_string(TYPES[change->kind]), .data = BYTES_LITERAL("{}"), .tags = tags};
    err_t err = add_tag(arena, tags, &draft, "name:", change->name);
    if (err == ERR_OK && change->version > 0) {
        err = add_number_tag(arena, tags, &draft, "version:", change->version);
    }
    if (err == ERR_OK && change->kind == CATALOG_DEFINED) {
        err = add_definition(change->definition, arena, tags, &draft);
    }
    if (err == ERR_OK) {
        *ret = draft;
    }
    return err;
}
