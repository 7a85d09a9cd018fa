/* commit_life: deciding what changes a stream's life, and the system's events that say it. The
 * event is made here and not by who asks for it, because it carries the whole state that follows,
 * which depends on the head. */
#include <stdlib.h>

#include "commit_int.h"
#include "storage/base/check.h"
#include "storage/source.h"
#include "storage/wire.h"

static err_t encode(struct committer *w, const struct command *c);

/* ---- looking up ---- */

err_t committer_window(struct committer *w, const struct stream_slot *s, struct stream_window *ret)
{
    return view_window(&w->view, s->name, s->head_before, ret);
}

err_t committer_first(struct committer *w, struct stream_slot *s, uint64_t *ret)
{
    if (s->first == 0) {
        struct stream_window window;
        err_t err = committer_window(w, s, &window);
        if (err != ERR_OK) {
            return err;
        }
        s->first = window.first;
    }
    *ret = s->first;
    return ERR_OK;
}

err_t committer_is_redacted(struct committer *w, uint64_t position, bool *ret)
{
    return view_is_redacted(&w->view, position, ret);
}

/* ---- deciding ---- */

/* What is common to all of them: the stream exists, is not deleted for ever, is as expected. False:
 * the verdict is set. */
static err_t judge_stream(struct committer *w, struct command *c, struct stream_slot *s,
                          struct stream_window *window)
{
    const struct command_life *asked = &c->life;
    err_t err = committer_look_up(w, s);
    if (err == ERR_OK) {
        err = committer_window(w, s, window);
    }
    if (err != ERR_OK) {
        return err;
    }
    c->life.result = (struct life_result){.head_revision = s->head,
                                          .first_revision = window->first,
                                          .deleted = window->deleted,
                                          .tombstoned = window->life.tombstoned};
    if (s->head == 0) {
        c->verdict = VERDICT_STREAM_NOT_FOUND;
    } else if (!expectation_met(asked->expected, s->head)) {
        c->verdict = VERDICT_WRONG_EXPECTED_REVISION;
        err = command_add_violation(c, asked->stream, asked->expected, s->head);
    }
    return err;
}

/* The life that follows: the one before, with what its limits have hidden until now gone for
 * good. */
static void freeze(struct committer *w, const struct stream_slot *s,
                   const struct stream_window *window)
{
    w->life = window->life;
    w->life.stream = s->name;
    w->life.floor = window->first;
    w->life.position = w->next_position;
    w->life.reclaimed = 0;
}

static bool same_settings(const struct life *a, const struct life *b)
{
    return a->max_count == b->max_count && a->max_age_s == b->max_age_s &&
           a->truncate_before == b->truncate_before && bytes_equal(a->custom, b->custom);
}

static void judge_metadata(struct committer *w, struct command *c, const struct stream_slot *s,
                           const struct stream_window *window)
{
    const struct life_change *change = &c->life.change;
    if (window->life.tombstoned) {
        c->verdict = VERDICT_STREAM_DELETED;
        return;
    }
    if (change->set_truncate_before && change->truncate_before > s->head + 1) {
        c->verdict = VERDICT_INVALID_TRUNCATION;
        return;
    }
    freeze(w, s, window);
    struct life *l = &w->life;
    l->max_count = change->set_max_count ? change->max_count : l->max_count;
    l->max_age_s = change->set_max_age ? change->max_age_s : l->max_age_s;
    l->custom = change->set_custom ? change->custom : l->custom;
    if (change->set_truncate_before) {
        l->truncate_before = change->truncate_before;
        l->floor = l->truncate_before > l->floor ? l->truncate_before : l->floor;
    }
    bool same = same_settings(l, &window->life);
    c->verdict = same ? VERDICT_DUPLICATE : VERDICT_COMMITTED;
}

static void judge_delete(struct committer *w, struct command *c, const struct stream_slot *s,
                         const struct stream_window *window)
{
    bool done = c->life.tombstone ? window->life.tombstoned : window->deleted;
    if (done) {
        c->verdict = VERDICT_DUPLICATE;
        return;
    }
    freeze(w, s, window);
    w->life.floor = s->head + 1;
    w->life.deleted_head = s->head;
    w->life.tombstoned = c->life.tombstone;
    c->verdict = VERDICT_COMMITTED;
}

/* The position of a revision that is there: in the active generation, or before it. */
static err_t find_revision(struct committer *w, const struct stream_slot *s, uint64_t revision,
                           uint64_t *ret)
{
    if (s->list != NULL && revision > s->list->base) {
        *ret = s->list->positions[revision - s->list->base - 1];
        return ERR_OK;
    }
    struct source *source = malloc(sizeof *source);
    if (source == NULL) {
        return ERR_MEMORY;
    }
    err_t err = source_open(source, &w->view, NAME_STREAM, s->name);
    if (err == ERR_OK) {
        err = source_seek_revision(source, revision, ret);
    }
    source_close(source);
    free(source);
    return err == ERR_NOT_FOUND || err == ERR_END ? ERR_CORRUPT : err;
}

static err_t judge_redact(struct committer *w, struct command *c, const struct stream_slot *s,
                          const struct stream_window *window)
{
    struct redaction *r = &w->redaction;
    struct event event;
    bool redacted;
    *r = (struct redaction){
        .stream = s->name, .revision = c->life.revision, .reason = c->life.reason};
    if (window->deleted) {
        c->verdict = VERDICT_STREAM_DELETED;
        return ERR_OK;
    }
    if (r->revision < window->first || r->revision > s->head) {
        c->verdict = VERDICT_EVENT_NOT_FOUND;
        return ERR_OK;
    }
    err_t err = find_revision(w, s, r->revision, &r->position);
    if (err == ERR_OK) {
        err = committer_record(w, r->position, &event);
    }
    if (err == ERR_OK) {
        err = committer_is_redacted(w, r->position, &redacted);
    }
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    }
    c->verdict = redacted || event.redacted ? VERDICT_DUPLICATE : VERDICT_COMMITTED;
    return ERR_OK;
}

err_t life_judge_appends(struct committer *w, struct command *c)
{
    for (size_t i = 0; i < c->append_count; i++) {
        struct life life;
        err_t err = view_life(&w->view, c->appends[i].stream, &life);
        if (err != ERR_OK && err != ERR_NOT_FOUND) {
            return err;
        }
        if (err == ERR_OK && life.tombstoned) {
            c->verdict = VERDICT_STREAM_DELETED;
            c->fault_append = i;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* What can be read from now on; a new max_age_s may hide some at once. */
static err_t tell_result(struct committer *w, struct command *c, uint64_t head)
{
    struct life_result *result = &c->life.result;
    result->deleted = life_is_deleted(&w->life, head);
    result->tombstoned = w->life.tombstoned;
    return view_first_revision(&w->view, &w->life, head, &result->first_revision);
}

err_t life_judge(struct committer *w, struct command *c)
{
    struct stream_slot slot = {.name = c->life.stream};
    struct stream_window window;
    err_t err = judge_stream(w, c, &slot, &window);
    if (err != ERR_OK || c->verdict != VERDICT_NONE) {
        return err;
    }
    switch (c->kind) {
    case COMMAND_SET_METADATA:
        judge_metadata(w, c, &slot, &window);
        break;
    case COMMAND_DELETE_STREAM:
        judge_delete(w, c, &slot, &window);
        break;
    case COMMAND_REDACT:
        err = judge_redact(w, c, &slot, &window);
        break;
    case COMMAND_APPEND:
        CHECK(false);
    }
    if (err != ERR_OK || c->verdict != VERDICT_COMMITTED) {
        return err;
    }
    if (c->kind != COMMAND_REDACT) {
        err = tell_result(w, c, slot.head);
    }
    return err == ERR_OK ? encode(w, c) : err;
}

/* ---- the event ---- */

static void put_text(struct buf *b, const char *name, struct bytes text)
{
    buf_put_format(b, ",\"%s\":", name);
    if (text.n == 0) {
        buf_put_string(b, "null");
    } else {
        buf_put_json_string(b, text);
    }
}

static void put_limit(struct buf *b, const char *name, uint64_t v)
{
    buf_put_format(b, ",\"%s\":", name);
    if (v == 0) {
        buf_put_string(b, "null");
    } else {
        buf_put_u64(b, v);
    }
}

/* The event's data: what people read. */
static void put_data(struct committer *w, const struct command *c)
{
    struct buf *b = &w->text;
    buf_clear(b);
    buf_put_string(b, "{\"stream\":");
    buf_put_json_string(b, c->life.stream);
    if (c->kind == COMMAND_REDACT) {
        put_limit(b, "revision", w->redaction.revision);
        put_limit(b, "position", w->redaction.position);
        put_text(b, "reason", w->redaction.reason);
    } else {
        put_limit(b, "first_revision", w->life.floor);
    }
    if (c->kind == COMMAND_SET_METADATA) {
        put_limit(b, "max_count", w->life.max_count);
        put_limit(b, "max_age_s", w->life.max_age_s);
        put_limit(b, "truncate_before", w->life.truncate_before);
        buf_put_string(b, ",\"custom\":");
        buf_put(b, w->life.custom.n == 0 ? BYTES_LITERAL("null") : w->life.custom);
    }
    buf_put_string(b, "}");
}

static struct bytes type_of(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_SET_METADATA:
        return BYTES_LITERAL("$metadata");
    case COMMAND_DELETE_STREAM:
        return c->life.tombstone ? BYTES_LITERAL("$tombstoned") : BYTES_LITERAL("$deleted");
    case COMMAND_REDACT:
        return BYTES_LITERAL("$redacted");
    case COMMAND_APPEND:
        break;
    }
    return BYTES_NONE;
}

/* The field behind the draft: what recovery folds. */
static uint8_t *put_state(struct committer *w, const struct command *c, uint8_t *p)
{
    if (c->kind == COMMAND_REDACT) {
        p = wire_put_message(p, RECORD_FIELD_REDACTION, redaction_encoded_bytes(&w->redaction));
        return redaction_encode(p, &w->redaction);
    }
    p = wire_put_message(p, RECORD_FIELD_LIFE, life_encoded_bytes(&w->life));
    return life_encode(p, &w->life);
}

static err_t encode(struct committer *w, const struct command *c)
{
    struct record_draft *ret = &w->life_draft;
    put_data(w, c);
    err_t err = buf_status(&w->text);
    if (err != ERR_OK) {
        return err;
    }
    struct event_draft draft = {
        .id = bytes_of(c->life.id, UUID_BYTES), .type = type_of(c), .data = buf_bytes(&w->text)};
    size_t state = c->kind == COMMAND_REDACT ? redaction_encoded_bytes(&w->redaction)
                                             : life_encoded_bytes(&w->life);
    size_t n = record_draft_bytes(LIFE_STREAM, &draft) + WIRE_HEAD_BYTES_MAX + state;
    buf_clear(&w->record);
    uint8_t *p = buf_reserve(&w->record, n);
    if (p == NULL) {
        return buf_status(&w->record);
    }
    record_encode_draft(p, LIFE_STREAM, &draft, ret);
    uint8_t *end = put_state(w, c, p + ret->encoded.n);
    ret->encoded.n = (size_t)(end - p);
    CHECK(ret->encoded.n + RECORD_STAMP_BYTES_MAX <= c->bytes);
    return ERR_OK;
}

/* Under the tail's lock. */
static err_t put_state_in_tail(struct committer *w, const struct command *c)
{
    struct tail *t = &w->store->tail;
    if (c->kind == COMMAND_REDACT) {
        return tail_redaction_add(t, w->redaction.position, c->life.result.position);
    }
    hide_mark(w->store, w->life.stream);
    w->view.has_lives = true;
    return tail_life_add(t, &w->life);
}

err_t life_put(struct committer *w, struct command *c)
{
    struct stream_slot system = {.name = LIFE_STREAM};
    const struct record_draft *draft = &w->life_draft;
    err_t err = committer_look_up(w, &system);
    if (err != ERR_OK) {
        return err;
    }
    struct event event = {
        .stream = LIFE_STREAM, .position = w->next_position, .id = draft->id, .type = draft->type};
    c->life.result.position = event.position;
    atomic_store(&w->store->life_position, event.position);
    err = committer_put_record(w, draft, system.head + 1);
    if (err == ERR_OK) {
        tail_lock(&w->store->tail);
        err = index_add_event(&w->store->tail, &event, system.head);
        if (err == ERR_OK) {
            err = put_state_in_tail(w, c);
        }
        tail_unlock(&w->store->tail);
    }
    return err;
}
