/* verify_life: lives, redactions, and what reclaim has left. The table of lives must be what the
 * events of $streams fold to: each such event has a row that is not older, and each row is what the
 * event at its position says. */
#include <inttypes.h>

#include "storage/hide.h"
#include "storage/record.h"
#include "storage/verify_int.h"

/* ---- events ---- */

static err_t check_life(struct verifier *v, struct store_view *view, const struct event *event)
{
    struct life said, row;
    err_t err = life_decode(event->life, &said);
    if (err == ERR_OK) {
        err = lives_get(view->txn, said.stream, &row);
    }
    if (err == ERR_OK && row.position >= event->position) {
        return ERR_OK;
    }
    if (err != ERR_OK && err != ERR_CORRUPT && err != ERR_NOT_FOUND) {
        return err;
    }
    verify_find(v, "position %" PRIu64 ": what it says of a stream's life is not in the table",
                event->position);
    return ERR_OK;
}

static err_t check_redaction(struct verifier *v, struct store_view *view, const struct event *event)
{
    struct redaction redaction;
    struct bytes body;
    uint32_t flags = 0;
    err_t err = redaction_decode(event->redaction, &redaction);
    if (err == ERR_OK) {
        err = view_record(view, redaction.position, &body, &flags);
    }
    if (err == ERR_OK && (flags & (RECORD_REDACTED | RECORD_GONE)) != 0) {
        return ERR_OK;
    }
    if (err != ERR_OK && err != ERR_CORRUPT && err != ERR_NOT_FOUND) {
        return err;
    }
    verify_find(v, "position %" PRIu64 ": its redaction is not done", event->position);
    return ERR_OK;
}

/* A stub must stand for an event that its stream's life hides. */
static err_t check_gone(struct verifier *v, struct store_view *view, uint64_t position,
                        struct bytes body)
{
    bool hidden;
    err_t err = view_hides(view, body, 0, &hidden);
    if (err == ERR_CORRUPT || (err == ERR_OK && !hidden)) {
        verify_find(v, "position %" PRIu64 ": the event is gone, but nothing hides it", position);
        err = ERR_OK;
    }
    return err;
}

err_t verify_event(struct verifier *v, struct store_view *view, const struct event *event,
                   struct bytes body, uint32_t flags)
{
    err_t err = ERR_OK;
    bool redacted = (flags & RECORD_REDACTED) != 0;
    if ((flags & RECORD_GONE) != 0) {
        return check_gone(v, view, event->position, body);
    }
    if (redacted != event->redacted || (redacted && event->data.n + event->metadata.n > 0)) {
        verify_find(v, "position %" PRIu64 ": the record is half redacted", event->position);
    }
    if (event->life.n > 0) {
        err = check_life(v, view, event);
    }
    return err == ERR_OK && event->redaction.n > 0 ? check_redaction(v, view, event) : err;
}

/* ---- rows ---- */

/* The system's event at a position; false: there is none such. */
static err_t read_system_event(struct store_view *view, uint64_t position, struct event *ret,
                               bool *ret_found)
{
    struct bytes body;
    uint32_t flags;
    err_t err = view_record(view, position, &body, &flags);
    if (err == ERR_OK) {
        err = record_decode(position, body, ret);
    }
    *ret_found = err == ERR_OK && bytes_equal(ret->stream, LIFE_STREAM);
    return err == ERR_CORRUPT || err == ERR_NOT_FOUND ? ERR_OK : err;
}

static bool same_life(const struct life *a, const struct life *b)
{
    return bytes_equal(a->stream, b->stream) && a->floor == b->floor &&
           a->max_count == b->max_count && a->max_age_s == b->max_age_s &&
           a->truncate_before == b->truncate_before && bytes_equal(a->custom, b->custom) &&
           a->deleted_head == b->deleted_head && a->tombstoned == b->tombstoned;
}

static err_t check_life_row(struct verifier *v, struct store_view *view, const struct kv_row *row)
{
    struct life life, said;
    struct event event = {0};
    bool found = false;
    err_t err = lives_decode(row, &life);
    if (err == ERR_OK) {
        err = read_system_event(view, life.position, &event, &found);
    }
    bool same = found && life_decode(event.life, &said) == ERR_OK && same_life(&life, &said);
    if (err == ERR_CORRUPT || (err == ERR_OK && !same)) {
        verify_find(v, "life of stream \"%.*s\": its row is not what an event says",
                    BYTES_ARGS(row->key));
        err = ERR_OK;
    }
    return err;
}

static err_t check_redaction_row(struct verifier *v, struct store_view *view,
                                 const struct kv_row *row)
{
    struct redaction redaction;
    struct event event = {0};
    uint64_t target = 0, by;
    bool found = false;
    err_t err = redactions_decode(row, &target, &by);
    if (err == ERR_OK) {
        err = read_system_event(view, by, &event, &found);
    }
    bool same = found && redaction_decode(event.redaction, &redaction) == ERR_OK &&
                redaction.position == target;
    if (err == ERR_CORRUPT || (err == ERR_OK && !same)) {
        verify_find(v, "redaction of position %" PRIu64 ": its row has no event", target);
        err = ERR_OK;
    }
    return err;
}

static err_t walk(struct verifier *v, struct store_view *view, enum kv_table table)
{
    struct kv_cursor *cursor;
    struct kv_row row;
    err_t err = kv_cursor_open(view->txn, table, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    for (err = kv_first(cursor, &row); err == ERR_OK;) {
        err =
            table == KV_LIVES ? check_life_row(v, view, &row) : check_redaction_row(v, view, &row);
        if (err == ERR_OK) {
            err = kv_next(cursor, &row);
        }
    }
    kv_cursor_close(cursor);
    return err == ERR_END ? ERR_OK : err;
}

err_t verify_lives(struct verifier *v, struct store_view *view)
{
    err_t err = walk(v, view, KV_LIVES);
    return err == ERR_OK ? walk(v, view, KV_REDACTIONS) : err;
}
