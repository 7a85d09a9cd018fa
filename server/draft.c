/* draft: building one, saying what is wrong with it, and making the command. draft_check.c has the
 * rules. */
#include "server/draft.h"

#include "server/ids.h"

#include <stdarg.h>
#include <stdio.h>

/* What a command needs beside the bytes of its events: room for headers, names and index keys. */
#define COMMAND_EVENT_OVERHEAD 4096
#define COMMAND_BASE_BYTES     65536
#define COMMAND_ITEM_OVERHEAD        \
    (sizeof(struct condition_item) + \
     (CONDITION_TYPES_MAX + CONDITION_TAGS_MAX) * sizeof(struct bytes))

static struct draft_append *add_to(struct draft *d, struct draft_list *list);
static bool out_of_memory(struct draft *d);
static bool build_append(struct draft *d, struct command *c, const struct draft_append *append,
                         size_t i);
static bool build_condition(struct draft *d, struct command *c);

void draft_init(struct draft *d, enum draft_body body, const struct app_limits *limits,
                struct arena *arena)
{
    *d = (struct draft){
        .body = body,
        .limits = limits,
        .arena = arena,
        .root = "",
        .many = body == DRAFT_APPEND_MANY,
    };
    switch (body) {
    case DRAFT_SET_METADATA:
        draft_begin_life(d, COMMAND_SET_METADATA, "");
        return;
    case DRAFT_DELETE_STREAM:
        draft_begin_life(d, COMMAND_DELETE_STREAM, "");
        return;
    case DRAFT_REDACT:
        draft_begin_life(d, COMMAND_REDACT, "");
        return;
    case DRAFT_APPEND:
    case DRAFT_APPEND_MANY:
    case DRAFT_COMMAND:
        return;
    }
}

struct draft_append *draft_add_append(struct draft *d)
{
    if (d->appends.n == d->limits->append_events_max) { /* each needs an event */
        draft_reject(d, PROBLEM_TOO_MANY_EVENTS, (struct draft_place){-1, -1, -1}, "",
                     "the request has more than %zu appends, the limit (append-events-max)",
                     d->limits->append_events_max);
        return NULL;
    }
    return add_to(d, &d->appends);
}

struct draft_append *draft_add_check(struct draft *d)
{
    if (d->checks.n == d->limits->append_events_max) {
        draft_reject(d, PROBLEM_INVALID_FIELD, (struct draft_place){-1, -1, -1}, "checks",
                     "there are more than %zu checks, the limit (append-events-max)",
                     d->limits->append_events_max);
        return NULL;
    }
    return add_to(d, &d->checks);
}

struct draft_event *draft_add_event(struct draft *d, struct draft_append *append)
{
    if (d->events == d->limits->append_events_max) {
        draft_reject(d, PROBLEM_TOO_MANY_EVENTS, (struct draft_place){-1, -1, -1}, "",
                     "the request has more than %zu events, the limit (append-events-max)",
                     d->limits->append_events_max);
        return NULL;
    }
    struct draft_event *event = arena_alloc(d->arena, sizeof *event);
    if (event == NULL) {
        out_of_memory(d);
        return NULL;
    }
    memset(event, 0, sizeof *event);
    if (append->last == NULL) {
        append->first = event;
    } else {
        append->last->next = event;
    }
    append->last = event;
    append->events++;
    d->events++;
    return event;
}

struct draft_item *draft_add_item(struct draft *d)
{
    struct draft_condition *condition = &d->condition;
    if (condition->n == CONDITION_ITEMS_MAX) {
        draft_reject(d, PROBLEM_INVALID_FIELD, (struct draft_place){-1, -1, -1},
                     "condition.fail_if_events_match.items", "there are more than %d items",
                     CONDITION_ITEMS_MAX);
        return NULL;
    }
    struct draft_item *item = arena_alloc(d->arena, sizeof *item);
    if (item == NULL) {
        out_of_memory(d);
        return NULL;
    }
    memset(item, 0, sizeof *item);
    if (condition->last == NULL) {
        condition->first = item;
    } else {
        condition->last->next = item;
    }
    condition->last = item;
    condition->n++;
    return item;
}

bool draft_reject(struct draft *d, enum problem problem, struct draft_place place,
                  const char *member, const char *format, ...)
{
    d->rejection.problem = problem;
    draft_path(d, place, member, d->rejection.field);
    va_list args;
    va_start(args, format);
    vsnprintf(d->rejection.detail, sizeof d->rejection.detail, format, args);
    va_end(args);
    return false;
}

void draft_path(const struct draft *d, struct draft_place place, const char *member,
                char ret[DRAFT_FIELD_MAX])
{
    if (d->path != NULL) {
        d->path(d, place, member, ret);
        return;
    }
    char list[48] = "";
    if (place.check >= 0) {
        snprintf(list, sizeof list, "checks[%ld].", place.check);
    } else if (place.append >= 0 && d->many) {
        snprintf(list, sizeof list, "appends[%ld].", place.append);
    }
    char event[32] = "";
    if (place.event >= 0) {
        snprintf(event, sizeof event, "events[%ld].", place.event);
    }
    int n = snprintf(ret, DRAFT_FIELD_MAX, "%s%s%s%s", d->root, list, event, member);
    bool dangling = member[0] == '\0' && n > 0 && n < DRAFT_FIELD_MAX;
    if (dangling) {
        ret[n - 1] = '\0'; /* the place itself, without the dot */
    }
}

void draft_item_path(size_t item, const char *rest, char ret[DRAFT_FIELD_MAX])
{
    snprintf(ret, DRAFT_FIELD_MAX, "condition.fail_if_events_match.items[%zu]%s", item, rest);
}

bool draft_build(struct draft *d, struct command **ret)
{
    if (d->life.kind != COMMAND_APPEND) {
        return draft_build_life(d, ret);
    }
    size_t overhead = d->events * COMMAND_EVENT_OVERHEAD + d->checks.n * 1024 +
                      2 * d->condition.n * COMMAND_ITEM_OVERHEAD;
    struct command *c = command_new(2 * d->limits->body_bytes_max + overhead + COMMAND_BASE_BYTES);
    if (c == NULL) {
        return out_of_memory(d);
    }
    size_t i = 0;
    for (const struct draft_append *a = d->appends.first; a != NULL; a = a->next, i++) {
        if (!build_append(d, c, a, i)) {
            goto fail;
        }
    }
    for (const struct draft_append *k = d->checks.first; k != NULL; k = k->next) {
        if (command_add_check(c, k->stream, k->expected) != ERR_OK) {
            out_of_memory(d);
            goto fail;
        }
    }
    if (!build_condition(d, c)) {
        goto fail;
    }
    *ret = c;
    return true;
fail:
    command_free(c);
    return false;
}

static bool build_condition(struct draft *d, struct command *c)
{
    command_set_condition_after(c, d->condition.after);
    for (const struct draft_item *i = d->condition.first; i != NULL; i = i->next) {
        if (command_add_condition_item(c, &i->fields) != ERR_OK) {
            return out_of_memory(d);
        }
    }
    return true;
}

static struct draft_append *add_to(struct draft *d, struct draft_list *list)
{
    struct draft_append *append = arena_alloc(d->arena, sizeof *append);
    if (append == NULL) {
        out_of_memory(d);
        return NULL;
    }
    memset(append, 0, sizeof *append);
    if (list->last == NULL) {
        list->first = append;
    } else {
        list->last->next = append;
    }
    list->last = append;
    list->n++;
    return append;
}

static bool out_of_memory(struct draft *d)
{
    return draft_reject(d, PROBLEM_OVERLOADED, (struct draft_place){-1, -1, -1}, "",
                        "there is not enough memory for this request");
}

/* draft_check has been here, so whatever the command refuses is a limit of memory. */
static bool build_append(struct draft *d, struct command *c, const struct draft_append *append,
                         size_t i)
{
    if (command_add_append(c, append->stream, append->expected) != ERR_OK) {
        return out_of_memory(d);
    }
    long at = 0;
    for (struct draft_event *e = append->first; e != NULL; e = e->next, at++) {
        e->fields.id_given = e->fields.id.n > 0;
        if (!e->fields.id_given) {
            ids_make(e->id);
            e->fields.id = bytes_of(e->id, UUID_BYTES);
        }
        err_t err = command_add_event(c, &e->fields);
        if (err == ERR_INVALID) {
            return draft_reject(d, PROBLEM_INVALID_FIELD, (struct draft_place){(long)i, -1, at}, "",
                                "the event is not valid");
        }
        if (err != ERR_OK) {
            return out_of_memory(d);
        }
    }
    return true;
}
