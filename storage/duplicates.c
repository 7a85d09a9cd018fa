/* duplicates: durable idempotency. Has this stream an event with this id? Every stream keeps a
 * 16-bit fingerprint of each event id beside its positions; the ones that match are confirmed
 * against the records, so that a collision costs a read and never a wrong verdict. A stream's
 * fingerprints are scanned once per command, whatever the number of its events. */
#include "commit_int.h"

#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/posting.h"

static struct bytes id_of(const struct command *c, size_t event)
{
    return c->events[event].draft.id;
}

static size_t id_hash(struct bytes id, uint32_t slot)
{
    return (size_t)bytes_hash(id, slot);
}

/* The command's event with this id for this slot, or NULL. */
static struct event_state *find_id(struct committer *w, const struct command *c, uint32_t slot,
                                   struct bytes id, size_t *ret_event)
{
    for (size_t at = id_hash(id, slot) & w->id_mask; w->ids[at] != 0; at = (at + 1) & w->id_mask) {
        size_t event = w->ids[at] - 1;
        if (w->events[event].slot == slot && bytes_equal(id_of(c, event), id)) {
            *ret_event = event;
            return &w->events[event];
        }
    }
    return NULL;
}

static void add_id(struct committer *w, const struct command *c, size_t event)
{
    uint32_t slot = w->events[event].slot;
    size_t at = id_hash(id_of(c, event), slot) & w->id_mask;
    while (w->ids[at] != 0) {
        at = (at + 1) & w->id_mask;
    }
    w->ids[at] = (uint32_t)event + 1;
}

/* ---- confirming ---- */

static err_t confirm(struct committer *w, struct command *c, uint32_t slot, uint64_t revision,
                     uint64_t position)
{
    struct event stored;
    uint64_t first;
    err_t err = committer_first(w, &w->slots[slot], &first);
    if (err == ERR_OK && revision < first) {
        return ERR_OK; /* what is gone is no duplicate, whether reclaim was there or not */
    }
    if (err == ERR_OK) {
        err = committer_record(w, position, &stored);
    }
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    size_t event;
    struct event_state *state = find_id(w, c, slot, stored.id, &event);
    if (state == NULL) {
        return ERR_OK; /* only the fingerprint was the same */
    }
    const struct record_draft *draft = &c->events[event].draft;
    bool redacted;
    err = committer_is_redacted(w, position, &redacted);
    state->revision = revision;
    state->position = position;
    state->differs = !bytes_equal(draft->type, stored.type) ||
                     (!redacted && !stored.redacted && !bytes_equal(draft->data, stored.data));
    return err;
}

static bool is_wanted(const struct committer *w, uint16_t print)
{
    return (w->wanted[print >> 3] >> (print & 7) & 1) != 0;
}

/* ---- scanning ---- */

static err_t scan_span(struct committer *w, struct command *c, uint32_t slot,
                       const struct tail_list *list, uint64_t after)
{
    uint32_t n = atomic_load_explicit(&list->n, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++) {
        if (is_wanted(w, list->prints[i]) && list->positions[i] > after) {
            err_t err = confirm(w, c, slot, list->base + i + 1, list->positions[i]);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

/* One block: only where a fingerprint matches are its positions decoded. */
static err_t scan_block(struct committer *w, struct command *c, uint32_t slot,
                        const struct kv_row *row)
{
    struct posting_block block;
    const uint8_t *prints;
    uint32_t n;
    bool decoded = false;
    err_t err = posting_prints(row, &n, &prints);
    for (uint32_t i = 0; i < n && err == ERR_OK; i++) {
        if (!is_wanted(w, (uint16_t)(prints[2 * i] | prints[2 * i + 1] << 8))) {
            continue;
        }
        if (!decoded) {
            err = posting_decode(row, NAME_STREAM, &block);
            decoded = err == ERR_OK;
        }
        if (decoded) {
            err = confirm(w, c, slot, block.ordinal + i, block.positions[i]);
        }
    }
    return err;
}

static err_t scan_blocks(struct committer *w, struct command *c, uint32_t slot)
{
    uint64_t id = w->slots[slot].stored.row.id;
    struct kv_cursor *cursor;
    err_t err = kv_cursor_open(w->view.txn, KV_POSTINGS, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t key[POSTING_KEY_BYTES];
    struct kv_row row;
    err = kv_seek(cursor, posting_key(NAME_STREAM, id, 0, key), &row);
    while (err == ERR_OK && posting_key_is(row.key, NAME_STREAM, id)) {
        err = scan_block(w, c, slot, &row);
        if (err == ERR_OK) {
            err = kv_next(cursor, &row);
        }
    }
    kv_cursor_close(cursor);
    return err == ERR_END ? ERR_OK : err;
}

/* The stream's events before the active generation: LMDB, then frozen generations (nobody changes
 * those: no lock). */
static err_t scan_stored(struct committer *w, struct command *c, uint32_t slot)
{
    struct stream_slot *s = &w->slots[slot];
    if (!s->stored_known) {
        err_t err = view_name(&w->view, NAME_STREAM, s->name, &s->stored);
        if (err != ERR_OK && err != ERR_NOT_FOUND) {
            return err;
        }
        s->stored_known = true;
    }
    err_t err = s->stored.row.id == 0 ? ERR_OK : scan_blocks(w, c, slot);
    for (size_t i = 0; i + 1 < w->view.tail.count && err == ERR_OK; i++) {
        const struct tail_list *list =
            map_get(&w->view.tail.generations[i]->names[NAME_STREAM], s->name);
        if (list != NULL) {
            err = scan_span(w, c, slot, list, s->stored.row.last);
        }
    }
    return err;
}

static void mark_wanted(struct committer *w, const struct command *c, uint32_t slot, bool wanted)
{
    for (uint32_t e = w->slots[slot].first_event; e != 0; e = w->events[e - 1].next) {
        uint16_t print = record_id_print(id_of(c, e - 1).p);
        uint8_t bit = (uint8_t)(1u << (print & 7));
        w->wanted[print >> 3] = wanted ? (uint8_t)(w->wanted[print >> 3] | bit)
                                       : (uint8_t)(w->wanted[print >> 3] & ~bit);
    }
}

static err_t scan_slot(struct committer *w, struct command *c, uint32_t slot)
{
    struct stream_slot *s = &w->slots[slot];
    if (s->first_event == 0 || s->head_before == 0) {
        return ERR_OK;
    }
    mark_wanted(w, c, slot, true);
    /* What LMDB may have of the active generation too (never: only frozen ones are applied) starts
     * after its own row. */
    err_t err = s->list == NULL ? ERR_OK : scan_span(w, c, slot, s->list, 0);
    bool all_here = s->list != NULL && s->list->base == 0;
    if (err == ERR_OK && !all_here) {
        err = scan_stored(w, c, slot);
    }
    mark_wanted(w, c, slot, false);
    return err;
}

/* ---- the command's own ids ---- */

static err_t make_id_table(struct committer *w, size_t events)
{
    size_t size = 16;
    while (size < events * 2) {
        size *= 2;
    }
    if (size > w->id_cap) {
        uint32_t *p = realloc(w->ids, size * sizeof *p);
        if (p == NULL) {
            return ERR_MEMORY;
        }
        w->ids = p;
        w->id_cap = size;
    }
    memset(w->ids, 0, size * sizeof *w->ids);
    w->id_mask = size - 1;
    return ERR_OK;
}

static void blame(struct command *c, size_t event)
{
    c->fault_append = c->events[event].append;
    c->fault_event = event - c->appends[c->fault_append].first_event;
}

err_t duplicates_find(struct committer *w, struct command *c)
{
    bool any = false;
    for (size_t i = 0; i < c->event_count && !any; i++) {
        any = c->events[i].id_given;
    }
    if (!any) {
        return ERR_OK;
    }
    err_t err = make_id_table(w, c->event_count);
    for (size_t i = 0; i < c->event_count && err == ERR_OK; i++) {
        size_t other;
        if (!c->events[i].id_given) {
            continue;
        }
        if (find_id(w, c, w->events[i].slot, id_of(c, i), &other) != NULL) {
            blame(c, i);
            return ERR_INVALID;
        }
        add_id(w, c, i);
        struct stream_slot *s = &w->slots[w->events[i].slot];
        w->events[i].next = s->first_event;
        s->first_event = (uint32_t)i + 1;
    }
    for (uint32_t slot = 0; slot < w->slot_count && err == ERR_OK; slot++) {
        err = scan_slot(w, c, slot);
    }
    return err;
}
