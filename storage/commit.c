/* commit: one group of commands: decide each in order, stamp what is accepted, one synced write,
 * publish.
 *
 * Happy path: the group's room is made sure of first (tail, journal). Each command is decided
 * against the streams as its predecessors in the group leave them; what is accepted goes straight
 * into the active generation of the tail, beyond the committed position, where only the writer
 * looks. One journal write then makes the group durable, and moving the committed position makes it
 * visible. Verdicts count only when store_commit returns ERR_OK.
 *
 * Failure modes: before anything of a command is put in, an error is that command's verdict and
 * nothing else happened. If the journal write fails, it is not known what a later start will find,
 * so the process must stop; nobody was told anything. */
#include <stdlib.h>

#include "commit_int.h"
#include "storage/base/check.h"

#define GROUP_BYTES_MAX  (4u << 20)
#define GROUP_EVENTS_MAX 16384
#define SLOTS_LINEAR     16
#define LIFE_BYTES_MAX   ((size_t)1 << 20) /* of one event about a life */

err_t committer_new(struct store *s, struct committer **ret)
{
    struct committer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_MEMORY;
    }
    w->store = s;
    map_init(&w->slots_by_name);
    buf_init(&w->text, LIFE_BYTES_MAX);
    buf_init(&w->record, LIFE_BYTES_MAX);
    *ret = w;
    return ERR_OK;
}

void committer_free(struct committer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->view_open) {
        view_done(&w->view);
    }
    buf_done(&w->text);
    buf_done(&w->record);
    map_done(&w->slots_by_name);
    free(w->slots);
    free(w->append_slots);
    free(w->events);
    free(w->ids);
    free(w);
}

static struct tail_generation *active(struct committer *w)
{
    return w->view.tail.generations[w->view.tail.count - 1];
}

err_t committer_record(struct committer *w, uint64_t position, struct event *ret)
{
    struct bytes body;
    struct tail_generation *g = active(w);
    if (position < g->first) {
        uint32_t flags;
        err_t err = view_record(&w->view, position, &body, &flags);
        if (err == ERR_OK && (flags & RECORD_GONE) != 0) {
            return ERR_NOT_FOUND;
        }
        return err == ERR_OK ? record_decode(position, body, ret) : err;
    }
    CHECK(position - g->first < g->n);
    const uint8_t *p = g->records[position - g->first];
    body = bytes_of(p + RECORD_HEADER_BYTES, record_size(p) - RECORD_HEADER_BYTES);
    return record_decode(position, body, ret);
}

/* ---- slots: the streams of a command ---- */

static err_t grow(void **p, size_t *cap, size_t needed, size_t size)
{
    if (needed <= *cap) {
        return ERR_OK;
    }
    size_t wanted = needed * 2;
    void *more = realloc(*p, wanted * size);
    if (more == NULL) {
        return ERR_MEMORY;
    }
    *p = more;
    *cap = wanted;
    return ERR_OK;
}

static bool find_slot(struct committer *w, struct bytes name, bool linear, uint32_t *ret)
{
    if (!linear) {
        struct stream_slot *s = map_get(&w->slots_by_name, name);
        *ret = s == NULL ? 0 : (uint32_t)(s - w->slots);
        return s != NULL;
    }
    for (uint32_t i = 0; i < w->slot_count; i++) {
        if (bytes_equal(w->slots[i].name, name)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

err_t committer_look_up(struct committer *w, struct stream_slot *s)
{
    s->list = map_get(&active(w)->names[NAME_STREAM], s->name);
    if (s->list != NULL) {
        s->head = s->list->base + atomic_load_explicit(&s->list->n, memory_order_relaxed);
    } else {
        err_t err = view_name(&w->view, NAME_STREAM, s->name, &s->stored);
        if (err != ERR_OK && err != ERR_NOT_FOUND) {
            return err;
        }
        s->stored_known = true;
        s->head = s->stored.count;
    }
    s->head_before = s->head;
    return ERR_OK;
}

static err_t take_slot(struct committer *w, struct bytes name, bool linear, uint32_t *ret)
{
    if (find_slot(w, name, linear, ret)) {
        return ERR_OK;
    }
    struct stream_slot *s = &w->slots[w->slot_count];
    *s = (struct stream_slot){.name = name};
    err_t err = committer_look_up(w, s);
    if (err == ERR_OK && !linear) {
        err = map_add(&w->slots_by_name, name, s);
    }
    if (err == ERR_OK) {
        *ret = (uint32_t)w->slot_count++;
    }
    return err;
}

static err_t take_slots(struct committer *w, struct command *c)
{
    size_t n = c->append_count + c->check_count;
    bool linear = n <= SLOTS_LINEAR;
    w->slot_count = 0;
    if (w->slots_by_name.n > 0) {
        map_done(&w->slots_by_name);
        map_init(&w->slots_by_name);
    }
    err_t err = grow((void **)&w->slots, &w->slot_cap, n, sizeof *w->slots);
    if (err == ERR_OK) {
        err = grow((void **)&w->append_slots, &w->append_slot_cap, n, sizeof *w->append_slots);
    }
    if (err == ERR_OK) {
        err = grow((void **)&w->events, &w->event_cap, c->event_count, sizeof *w->events);
    }
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        struct bytes name =
            i < c->append_count ? c->appends[i].stream : c->checks[i - c->append_count].stream;
        err = take_slot(w, name, linear, &w->append_slots[i]);
    }
    for (size_t i = 0; i < c->event_count && err == ERR_OK; i++) {
        w->events[i] = (struct event_state){.slot = w->append_slots[c->events[i].append]};
    }
    return err;
}

/* ---- deciding ---- */

enum append_kind { APPEND_NEW, APPEND_DUPLICATE, APPEND_MIXED, APPEND_DIFFERENT };

/* Whether the append's events are all new, or all there in this order, or neither; *ret_event is
 * the first at fault. */
static enum append_kind classify(const struct committer *w, const struct command_append *a,
                                 size_t *ret_event)
{
    size_t found = 0;
    bool ascending = true;
    uint64_t before = 0;
    *ret_event = 0;
    for (size_t i = 0; i < a->event_count; i++) {
        const struct event_state *e = &w->events[a->first_event + i];
        if (e->position != 0 && e->differs) {
            *ret_event = i;
            return APPEND_DIFFERENT;
        }
        if (e->position == 0) {
            continue;
        }
        ascending = ascending && e->revision > before;
        before = e->revision;
        found++;
    }
    if (found == 0) {
        return APPEND_NEW;
    }
    return found == a->event_count && ascending ? APPEND_DUPLICATE : APPEND_MIXED;
}

static void set_original_numbers(const struct committer *w, struct command_append *a)
{
    const struct event_state *first = &w->events[a->first_event];
    const struct event_state *last = first + a->event_count - 1;
    a->result = (struct append_result){.first_revision = first->revision,
                                       .last_revision = last->revision,
                                       .first_position = first->position,
                                       .last_position = last->position,
                                       .duplicate = true};
}

/* DUPLICATE, ID_REUSED, PARTIAL_DUPLICATE, or NONE where all is new. */
static enum verdict judge_duplicates(const struct committer *w, struct command *c)
{
    size_t duplicates = 0, mixed = SIZE_MAX;
    for (size_t i = 0; i < c->append_count; i++) {
        size_t event;
        switch (classify(w, &c->appends[i], &event)) {
        case APPEND_NEW:
            break;
        case APPEND_DUPLICATE:
            set_original_numbers(w, &c->appends[i]);
            duplicates++;
            break;
        case APPEND_MIXED:
            mixed = mixed == SIZE_MAX ? i : mixed;
            break;
        case APPEND_DIFFERENT:
            c->fault_append = i;
            c->fault_event = event;
            return VERDICT_ID_REUSED;
        }
    }
    if (mixed == SIZE_MAX && duplicates == 0) {
        return VERDICT_NONE;
    }
    if (duplicates == c->append_count) {
        return VERDICT_DUPLICATE;
    }
    c->fault_append = mixed == SIZE_MAX ? 0 : mixed;
    c->fault_event = 0;
    return VERDICT_PARTIAL_DUPLICATE;
}

/* All expectations that are not met become violations. Checks see the state before the command,
 * appends what the ones before them leave. */
static err_t judge_expectations(struct committer *w, struct command *c)
{
    for (size_t i = 0; i < c->append_count; i++) {
        const struct command_append *a = &c->appends[i];
        struct stream_slot *s = &w->slots[w->append_slots[i]];
        if (!expectation_met(a->expected, s->head)) {
            err_t err = command_add_violation(c, a->stream, a->expected, s->head);
            if (err != ERR_OK) {
                return err;
            }
        }
        s->head += a->event_count;
    }
    for (size_t i = 0; i < c->check_count; i++) {
        const struct command_check *k = &c->checks[i];
        const struct stream_slot *s = &w->slots[w->append_slots[c->append_count + i]];
        if (!expectation_met(k->expected, s->head_before)) {
            err_t err = command_add_violation(c, k->stream, k->expected, s->head_before);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

/* Whatever guards the command is looked at, so that all that is violated is told at once. */
static err_t judge_guards(struct committer *w, struct command *c)
{
    bool too_broad = false;
    err_t err = judge_expectations(w, c);
    if (err == ERR_OK && c->item_count > 0) {
        err = condition_judge(w, c, &too_broad);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (c->violation_count > 0) {
        c->verdict = VERDICT_WRONG_EXPECTED_REVISION;
    } else if (c->condition_violation_count > 0) {
        c->verdict = VERDICT_CONDITION_FAILED;
    } else {
        c->verdict = too_broad ? VERDICT_CONDITION_TOO_BROAD : VERDICT_COMMITTED;
    }
    return ERR_OK;
}

static err_t judge(struct committer *w, struct command *c)
{
    if (c->kind != COMMAND_APPEND) {
        return life_judge(w, c);
    }
    err_t err = take_slots(w, c);
    if (err == ERR_OK) {
        err = life_judge_appends(w, c);
    }
    if (err != ERR_OK || c->verdict == VERDICT_STREAM_DELETED) {
        return err;
    }
    err = duplicates_find(w, c);
    if (err == ERR_INVALID) {
        c->verdict = VERDICT_ID_REUSED;
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    c->verdict = judge_duplicates(w, c);
    return c->verdict == VERDICT_NONE ? judge_guards(w, c) : ERR_OK;
}

/* ---- putting in ---- */

/* Adds the record's bytes to the group's parts; a record right behind the last one makes that part
 * longer. */
static void add_part(struct committer *w, uint8_t *p, size_t n)
{
    struct iovec *last = w->part_count == 0 ? NULL : &w->parts[w->part_count - 1];
    if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == p) {
        last->iov_len += n;
        return;
    }
    CHECK(w->part_count < JOURNAL_PARTS_MAX);
    w->parts[w->part_count++] = (struct iovec){.iov_base = p, .iov_len = n};
}

err_t committer_put_record(struct committer *w, const struct record_draft *draft, uint64_t revision)
{
    struct tail *t = &w->store->tail;
    uint8_t *p = tail_reserve(t, draft->encoded.n + RECORD_STAMP_BYTES_MAX);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    size_t n = record_stamp(p, draft, w->next_position, revision, w->time_us);
    tail_add(t, p, n);
    add_part(w, p, n);
    w->next_position++;
    return ERR_OK;
}

static err_t put_records(struct committer *w, struct command *c)
{
    for (uint32_t i = 0; i < w->slot_count; i++) {
        w->slots[i].head = w->slots[i].head_before;
    }
    for (size_t i = 0; i < c->append_count; i++) {
        struct command_append *a = &c->appends[i];
        struct stream_slot *s = &w->slots[w->append_slots[i]];
        a->result = (struct append_result){.first_revision = s->head + 1,
                                           .last_revision = s->head + a->event_count,
                                           .first_position = w->next_position,
                                           .last_position = w->next_position + a->event_count - 1};
        for (size_t k = 0; k < a->event_count; k++) {
            const struct record_draft *draft = &c->events[a->first_event + k].draft;
            err_t err = committer_put_record(w, draft, ++s->head);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

static err_t put_names(struct committer *w, struct command *c)
{
    struct event event; /* only what index_add_event looks at */
    struct tail *t = &w->store->tail;
    for (size_t i = 0; i < c->append_count; i++) {
        const struct command_append *a = &c->appends[i];
        const struct stream_slot *s = &w->slots[w->append_slots[i]];
        event.stream = a->stream;
        event.position = a->result.first_position;
        for (size_t k = 0; k < a->event_count; k++, event.position++) {
            const struct command_event *e = &c->events[a->first_event + k];
            event.id = e->draft.id;
            event.type = e->draft.type;
            event.tag_count = e->tag_count;
            for (uint32_t g = 0; g < e->tag_count; g++) {
                event.tags[g] = e->tags[g];
            }
            err_t err = index_add_event(t, &event, s->head_before);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

/* From here on an error is the end: the tail holds half a command. */
static err_t put(struct committer *w, struct command *c)
{
    if (c->kind != COMMAND_APPEND) {
        return life_put(w, c);
    }
    err_t err = put_records(w, c);
    if (err != ERR_OK) {
        return err;
    }
    for (uint32_t i = 0; i < w->slot_count; i++) {
        struct stream_slot *s = &w->slots[i];
        if (s->head_before == 0 && s->head > 0) {
            atomic_fetch_add_explicit(&w->store->streams, 1, memory_order_relaxed);
        }
    }
    tail_lock(&w->store->tail);
    err = put_names(w, c);
    tail_unlock(&w->store->tail);
    return err;
}

/* ---- the group ---- */

/* The writer's own view: it also sees the lives that the open group brings. */
static err_t open_view(struct committer *w)
{
    err_t err = w->view_open ? view_renew(&w->view) : view_init(&w->view, w->store);
    w->view_open = w->view_open || err == ERR_OK;
    if (err == ERR_OK) {
        w->view.life_position = UINT64_MAX;
        w->view.tail_redactions = true;
        w->view.time_us = w->time_us;
    }
    return err;
}

static void fail_all(struct command **commands, size_t n, err_t err)
{
    for (size_t i = 0; i < n; i++) {
        commands[i]->verdict = VERDICT_FAILED;
        commands[i]->error = err;
    }
}

/* Nobody shall take for true what was decided before the write failed. */
static void forget_all(struct command **commands, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        commands[i]->verdict = VERDICT_NONE;
    }
}

static err_t decide(struct committer *w, struct command **commands, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct command *c = commands[i];
        err_t err = judge(w, c);
        if (err != ERR_OK) {
            c->verdict = VERDICT_FAILED;
            c->error = err;
            continue;
        }
        err = c->verdict == VERDICT_COMMITTED ? put(w, c) : ERR_OK;
        if (err != ERR_OK) {
            return err;
        }
        /* The next commands' conditions see this one's events. */
        w->view.tail.position = w->next_position - 1;
        view_forget_hidden(&w->view);
    }
    return ERR_OK;
}

static err_t write_group(struct committer *w, uint64_t first)
{
    if (w->next_position == first) {
        return ERR_OK;
    }
    struct journal *j = w->store->journal;
    return j->methods->append(j, first, (uint32_t)(w->next_position - first), w->parts,
                              w->part_count);
}

static err_t run_group(struct committer *w, struct command **commands, size_t n, int64_t now_us)
{
    struct store *s = w->store;
    uint64_t first = store_position(s) + 1;
    int64_t clock_us = atomic_load(&s->clock_us);
    w->time_us = now_us > clock_us ? now_us : clock_us;
    w->next_position = first;
    w->part_count = 0;
    err_t err = open_view(w);
    if (err != ERR_OK) {
        /* Nothing is in the tail yet. */
        tail_close_group(&s->tail, first - 1);
        fail_all(commands, n, err);
        return ERR_OK;
    }
    err = decide(w, commands, n);
    view_park(&w->view);
    if (err == ERR_OK) {
        err = write_group(w, first);
    }
    if (err != ERR_OK) {
        return err;
    }
    clock_advance(s, w->time_us);
    tail_close_group(&s->tail, w->next_position - 1);
    return ERR_OK;
}

/* A group stands in one journal segment. */
static size_t group_bytes_max(const struct store *s)
{
    uint64_t room =
        s->options.segment_bytes - JOURNAL_SEGMENT_HEADER_BYTES - JOURNAL_GROUP_HEADER_BYTES;
    return room < GROUP_BYTES_MAX ? (size_t)room : GROUP_BYTES_MAX;
}

/* What changes a stream's life is let through where the disk is nearly full: it frees space. */
static bool frees_space(const struct command *c)
{
    return c->kind != COMMAND_APPEND;
}

/* How many commands from the first on make one group. `apart`: so that what frees space does not
 * fail with others, it does not share one. */
static size_t measure_group(struct command **commands, size_t n, size_t bytes_max, bool apart,
                            size_t *ret_events, size_t *ret_bytes)
{
    size_t taken = 0, events = 0, bytes = 0;
    while (taken < n) {
        const struct command *c = commands[taken];
        size_t more = command_events(c);
        bool fits = bytes + c->bytes <= bytes_max && events + more <= GROUP_EVENTS_MAX;
        bool alike = !apart || frees_space(c) == frees_space(commands[0]);
        if (taken > 0 && !(fits && alike)) {
            break;
        }
        events += more;
        bytes += c->bytes;
        taken++;
    }
    *ret_events = events;
    *ret_bytes = bytes;
    return taken;
}

/* Makes sure of the room; where the disk has none the commands fail and the group is over. */
static err_t make_room(struct store *s, size_t events, size_t bytes)
{
    if (events > TAIL_EVENTS_MAX) {
        return ERR_LIMIT;
    }
    err_t err = s->journal->methods->reserve(s->journal, bytes);
    return err == ERR_OK ? tail_open_group(&s->tail, events, bytes) : err;
}

err_t store_commit(struct store *s, struct command **commands, size_t n, int64_t now_us)
{
    for (size_t done = 0; done < n;) {
        size_t events, bytes;
        bool full = atomic_load(&s->disk_full);
        size_t taken =
            measure_group(commands + done, n - done, group_bytes_max(s), full, &events, &bytes);
        bool refused = full && !frees_space(commands[done]);
        err_t err = refused ? ERR_DISK_FULL : make_room(s, events, bytes);
        if (err == ERR_FULL && done == 0) {
            return err;
        }
        if (err == ERR_FULL || err == ERR_DISK_FULL || err == ERR_LIMIT || err == ERR_MEMORY) {
            /* The tail may be full for the second group of a call: those commands may be sent
             * again. */
            fail_all(commands + done, taken, err);
        } else if (err == ERR_OK) {
            err = run_group(s->committer, commands + done, taken, now_us);
            if (err != ERR_OK) {
                forget_all(commands + done, taken);
                return err;
            }
        } else {
            return err;
        }
        done += taken;
    }
    return ERR_OK;
}
