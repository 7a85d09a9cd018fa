/* command: building a command, and reading what became of it. */
#include "command_int.h"

#include <stdlib.h>

#include "storage/base/check.h"

#define COMMAND_CHUNK_BYTES 2048

struct command *command_new(size_t memory_max)
{
    struct command *c = calloc(1, sizeof *c);
    if (c != NULL) {
        arena_init(&c->arena, COMMAND_CHUNK_BYTES, memory_max);
    }
    return c;
}

void command_free(struct command *c)
{
    if (c != NULL) {
        arena_done(&c->arena);
        free(c);
    }
}

/* Makes room for one more item of `size` bytes in the array *items. */
static err_t grow(struct arena *a, void **items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return ERR_OK;
    }
    size_t wanted = *cap == 0 ? 1 : *cap * 2;
    void *p = arena_alloc(a, wanted * size);
    if (p == NULL) {
        return ERR_LIMIT;
    }
    if (n > 0) {
        memcpy(p, *items, n * size);
    }
    *items = p;
    *cap = wanted;
    return ERR_OK;
}

static err_t copy_name(struct command *c, struct bytes stream, bool system, struct bytes *ret)
{
    if (!event_name_is_valid(stream) || event_name_is_system(stream) != system) {
        return ERR_INVALID;
    }
    return arena_copy(&c->arena, stream, ret);
}

static err_t add_append(struct command *c, struct bytes stream, struct expectation expected,
                        bool system)
{
    struct bytes name;
    err_t err = c->kind != COMMAND_APPEND ? ERR_INVALID : copy_name(c, stream, system, &name);
    if (err != ERR_OK) {
        return err;
    }
    err =
        grow(&c->arena, (void **)&c->appends, c->append_count, &c->append_cap, sizeof *c->appends);
    if (err != ERR_OK) {
        return err;
    }
    c->appends[c->append_count++] = (struct command_append){
        .stream = name, .expected = expected, .first_event = c->event_count, .system = system};
    return ERR_OK;
}

err_t command_add_append(struct command *c, struct bytes stream, struct expectation expected)
{
    return add_append(c, stream, expected, false);
}

err_t command_add_system_append(struct command *c, struct bytes stream, struct expectation expected)
{
    return add_append(c, stream, expected, true);
}

static bool draft_is_valid(const struct event_draft *draft, bool system)
{
    if (draft->id.n != UUID_BYTES || !event_name_is_valid(draft->type) ||
        event_name_is_system(draft->type) != system || draft->tag_count > EVENT_TAGS_MAX ||
        draft->content_type.n > EVENT_MEDIA_MAX || draft->occurred_at.n > EVENT_TIME_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        if (!event_name_is_valid(draft->tags[i])) {
            return false;
        }
    }
    return draft->data.n + draft->metadata.n <= RECORD_BODY_BYTES_MAX / 2;
}

/* The tags as slices of the encoded draft would need decoding; they are few, so they are copied. */
static err_t copy_tags(struct command *c, const struct event_draft *draft, const struct bytes **ret)
{
    if (draft->tag_count == 0) {
        *ret = NULL;
        return ERR_OK;
    }
    struct bytes *tags = arena_alloc(&c->arena, draft->tag_count * sizeof *tags);
    if (tags == NULL) {
        return ERR_LIMIT;
    }
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        err_t err = arena_copy(&c->arena, draft->tags[i], &tags[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    *ret = tags;
    return ERR_OK;
}

err_t command_add_event(struct command *c, const struct event_draft *draft)
{
    CHECK(c->append_count > 0);
    if (!draft_is_valid(draft, c->appends[c->append_count - 1].system)) {
        return ERR_INVALID;
    }
    err_t err =
        grow(&c->arena, (void **)&c->events, c->event_count, &c->event_cap, sizeof *c->events);
    if (err != ERR_OK) {
        return err;
    }
    struct command_append *append = &c->appends[c->append_count - 1];
    size_t n = record_draft_bytes(append->stream, draft);
    uint8_t *p = arena_alloc(&c->arena, n);
    if (p == NULL) {
        return ERR_LIMIT;
    }
    struct command_event *event = &c->events[c->event_count];
    *event = (struct command_event){.append = (uint32_t)(c->append_count - 1),
                                    .tag_count = draft->tag_count,
                                    .id_given = draft->id_given};
    err = copy_tags(c, draft, &event->tags);
    if (err != ERR_OK) {
        return err;
    }
    record_encode_draft(p, append->stream, draft, &event->draft);
    append->event_count++;
    c->event_count++;
    c->bytes += n + RECORD_STAMP_BYTES_MAX;
    return ERR_OK;
}

err_t command_add_check(struct command *c, struct bytes stream, struct expectation expected)
{
    struct bytes name;
    err_t err = c->kind != COMMAND_APPEND ? ERR_INVALID : copy_name(c, stream, false, &name);
    if (err != ERR_OK) {
        return err;
    }
    err = grow(&c->arena, (void **)&c->checks, c->check_count, &c->check_cap, sizeof *c->checks);
    if (err != ERR_OK) {
        return err;
    }
    c->guard_bytes += name.n + sizeof *c->checks;
    c->checks[c->check_count++] = (struct command_check){.stream = name, .expected = expected};
    return ERR_OK;
}

static err_t copy_names(struct command *c, const struct bytes *names, size_t n,
                        const struct bytes **ret)
{
    *ret = NULL;
    if (n == 0) {
        return ERR_OK;
    }
    struct bytes *copies = arena_alloc(&c->arena, n * sizeof *copies);
    err_t err = copies == NULL ? ERR_LIMIT : ERR_OK;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        err = copy_name(c, names[i], false, &copies[i]);
        c->guard_bytes += sizeof *copies + names[i].n;
    }
    *ret = copies;
    return err;
}

err_t command_add_condition_item(struct command *c, const struct condition_item *item)
{
    if (c->kind != COMMAND_APPEND || item->type_count + item->tag_count == 0 ||
        item->type_count > CONDITION_TYPES_MAX || item->tag_count > CONDITION_TAGS_MAX) {
        return ERR_INVALID;
    }
    if (c->item_count == CONDITION_ITEMS_MAX) {
        return ERR_LIMIT;
    }
    err_t err = grow(&c->arena, (void **)&c->items, c->item_count, &c->item_cap, sizeof *c->items);
    if (err != ERR_OK) {
        return err;
    }
    struct condition_item *copy = &c->items[c->item_count];
    *copy = *item;
    err = copy_names(c, item->types, item->type_count, &copy->types);
    if (err == ERR_OK) {
        err = copy_names(c, item->tags, item->tag_count, &copy->tags);
    }
    c->item_count += err == ERR_OK;
    return err;
}

void command_set_condition_after(struct command *c, uint64_t position)
{
    c->condition_after = position;
}

/* ---- a stream's life ---- */

/* The record that such a command makes: its event's names and numbers, and names, custom metadata
 * and reason twice, once escaped for JSON (commit_life.c). */
#define LIFE_RECORD_BYTES 1024

static size_t life_record_bytes(const struct command_life *l)
{
    return LIFE_RECORD_BYTES + 7 * l->stream.n + 2 * LIFE_CUSTOM_BYTES_MAX + 7 * l->reason.n;
}

static err_t start_life(struct command *c, enum command_kind kind, struct bytes stream,
                        struct bytes id)
{
    struct bytes name;
    bool empty = c->kind == COMMAND_APPEND && c->append_count + c->check_count + c->item_count == 0;
    if (!empty || id.n != UUID_BYTES) {
        return ERR_INVALID;
    }
    err_t err = copy_name(c, stream, false, &name);
    if (err == ERR_OK) {
        c->life = (struct command_life){.stream = name};
        memcpy(c->life.id, id.p, UUID_BYTES);
        c->kind = kind;
        c->bytes = life_record_bytes(&c->life);
    }
    return err;
}

err_t command_set_metadata(struct command *c, struct bytes stream, struct expectation expected,
                           const struct life_change *change, struct bytes id)
{
    struct bytes custom = BYTES_NONE;
    err_t err = change->custom.n <= LIFE_CUSTOM_BYTES_MAX ? ERR_OK : ERR_LIMIT;
    if (err == ERR_OK && change->custom.n > 0) {
        err = arena_copy(&c->arena, change->custom, &custom);
    }
    if (err == ERR_OK) {
        err = start_life(c, COMMAND_SET_METADATA, stream, id);
    }
    if (err == ERR_OK) {
        c->life.expected = expected;
        c->life.change = *change;
        c->life.change.custom = custom;
    }
    return err;
}

err_t command_delete_stream(struct command *c, struct bytes stream, struct expectation expected,
                            bool tombstone, struct bytes id)
{
    err_t err = start_life(c, COMMAND_DELETE_STREAM, stream, id);
    if (err == ERR_OK) {
        c->life.expected = expected;
        c->life.tombstone = tombstone;
    }
    return err;
}

err_t command_redact(struct command *c, struct bytes stream, uint64_t revision, struct bytes reason,
                     struct bytes id)
{
    struct bytes copy = BYTES_NONE;
    err_t err = reason.n <= LIFE_REASON_BYTES_MAX ? ERR_OK : ERR_LIMIT;
    if (err == ERR_OK && reason.n > 0) {
        err = bytes_are_utf8(reason) ? arena_copy(&c->arena, reason, &copy) : ERR_INVALID;
    }
    if (err == ERR_OK) {
        err = start_life(c, COMMAND_REDACT, stream, id);
    }
    if (err == ERR_OK) {
        c->life.revision = revision;
        c->life.reason = copy;
        c->bytes = life_record_bytes(&c->life);
    }
    return err;
}

enum command_kind command_kind(const struct command *c)
{
    return c->kind;
}

const struct life_result *command_life_result(const struct command *c)
{
    return &c->life.result;
}

err_t command_add_violation(struct command *c, struct bytes stream, struct expectation expected,
                            uint64_t actual)
{
    c->arena.max = SIZE_MAX / 2; /* what the writer adds is bounded by what it was given */
    err_t err = grow(&c->arena, (void **)&c->violations, c->violation_count, &c->violation_cap,
                     sizeof *c->violations);
    if (err != ERR_OK) {
        return err;
    }
    c->violations[c->violation_count++] =
        (struct violation){.stream = stream, .expected = expected, .actual = actual};
    return ERR_OK;
}

err_t command_add_condition_violation(struct command *c, size_t item, uint64_t position)
{
    c->arena.max = SIZE_MAX / 2; /* there are at most as many as items */
    err_t err = grow(&c->arena, (void **)&c->condition_violations, c->condition_violation_count,
                     &c->condition_violation_cap, sizeof *c->condition_violations);
    if (err != ERR_OK) {
        return err;
    }
    c->condition_violations[c->condition_violation_count++] =
        (struct condition_violation){.item = item, .position = position};
    return ERR_OK;
}

size_t command_appends(const struct command *c)
{
    return c->append_count;
}

size_t command_events(const struct command *c)
{
    return c->kind == COMMAND_APPEND ? c->event_count : 1;
}

size_t command_bytes(const struct command *c)
{
    return c->bytes + c->guard_bytes;
}

struct bytes command_append_stream(const struct command *c, size_t i)
{
    CHECK(i < c->append_count);
    return c->appends[i].stream;
}

size_t command_append_events(const struct command *c, size_t i)
{
    CHECK(i < c->append_count);
    return c->appends[i].event_count;
}

struct bytes command_event_id(const struct command *c, size_t append, size_t event)
{
    CHECK(append < c->append_count && event < c->appends[append].event_count);
    return c->events[c->appends[append].first_event + event].draft.id;
}

enum verdict command_verdict(const struct command *c)
{
    return c->verdict;
}

err_t command_error(const struct command *c)
{
    return c->error;
}

const struct append_result *command_result(const struct command *c, size_t i)
{
    CHECK(i < c->append_count);
    return &c->appends[i].result;
}

size_t command_violations(const struct command *c)
{
    return c->violation_count;
}

const struct violation *command_violation(const struct command *c, size_t i)
{
    CHECK(i < c->violation_count);
    return &c->violations[i];
}

size_t command_condition_violations(const struct command *c)
{
    return c->condition_violation_count;
}

const struct condition_violation *command_condition_violation(const struct command *c, size_t i)
{
    CHECK(i < c->condition_violation_count);
    return &c->condition_violations[i];
}

size_t command_fault_append(const struct command *c)
{
    return c->fault_append;
}

size_t command_fault_event(const struct command *c)
{
    return c->fault_event;
}
