/* model_life: see model_life.h. */
#include "tests/model/model_life.h"

#include <stdlib.h>

#include "storage/base/check.h"

struct model_life model_life_at(const struct model *m, unsigned stream, uint64_t position)
{
    const struct model_stream_state *s = &m->streams[stream];
    struct model_life found = {0};
    for (size_t i = 0; i < s->life_count && s->lives[i].position <= position; i++) {
        found = s->lives[i];
    }
    return found;
}

uint64_t model_first(const struct model *m, unsigned stream, uint64_t position, int64_t time_us)
{
    struct model_life l = model_life_at(m, stream, position);
    uint64_t head = model_head(m, stream, position), first = l.floor == 0 ? 1 : l.floor;
    for (; first <= head; first++) {
        const struct model_event *e = &m->events[m->streams[stream].positions[first - 1] - 1];
        bool too_many = l.max_count > 0 && head - first >= l.max_count;
        bool too_old = l.max_age_s > 0 && e->time_us < time_us - (int64_t)l.max_age_s * 1000000;
        if (!too_many && !too_old) {
            break;
        }
    }
    return first;
}

bool model_is_deleted(const struct model *m, unsigned stream, uint64_t position)
{
    struct model_life l = model_life_at(m, stream, position);
    return l.tombstoned ||
           (l.deleted_head > 0 && l.deleted_head == model_head(m, stream, position));
}

bool model_is_hidden(const struct model *m, uint64_t event, uint64_t position, int64_t time_us)
{
    const struct model_event *e = &m->events[event - 1];
    return !e->system && e->revision < model_first(m, e->stream, position, time_us);
}

/* ---- deciding ---- */

static void add_life(struct model *m, unsigned stream, struct model_life life)
{
    struct model_stream_state *s = &m->streams[stream];
    if (s->life_count == s->life_cap) {
        s->life_cap = s->life_cap == 0 ? 8 : s->life_cap * 2;
        s->lives = realloc(s->lives, s->life_cap * sizeof *s->lives);
        CHECK(s->lives != NULL);
    }
    life.position = model_append_system(m);
    s->lives[s->life_count++] = life;
}

static void set_metadata(struct model *m, struct plan *p, struct model_life life, uint64_t head)
{
    const struct life_change *c = &p->life.change;
    struct model_life before = life;
    if (life.tombstoned) {
        p->verdict = VERDICT_STREAM_DELETED;
        return;
    }
    if (c->set_truncate_before && c->truncate_before > head + 1) {
        p->verdict = VERDICT_INVALID_TRUNCATION;
        return;
    }
    life.max_count = c->set_max_count ? c->max_count : life.max_count;
    life.max_age_s = c->set_max_age ? c->max_age_s : life.max_age_s;
    life.truncate_before = c->set_truncate_before ? c->truncate_before : life.truncate_before;
    bool same = life.max_count == before.max_count && life.max_age_s == before.max_age_s &&
                life.truncate_before == before.truncate_before;
    if (same) {
        p->verdict = VERDICT_DUPLICATE;
        return;
    }
    if (c->set_truncate_before && c->truncate_before > life.floor) {
        life.floor = c->truncate_before;
    }
    add_life(m, p->life.stream, life);
    p->verdict = VERDICT_COMMITTED;
}

static void delete_stream(struct model *m, struct plan *p, struct model_life life, uint64_t head)
{
    bool deleted = model_is_deleted(m, p->life.stream, m->n);
    if (p->life.tombstone ? life.tombstoned : deleted) {
        p->verdict = VERDICT_DUPLICATE;
        return;
    }
    life.floor = head + 1;
    life.deleted_head = head;
    life.tombstoned = p->life.tombstone;
    add_life(m, p->life.stream, life);
    p->verdict = VERDICT_COMMITTED;
}

static void redact(struct model *m, struct plan *p, uint64_t first, uint64_t head)
{
    uint64_t revision = p->life.revision;
    if (model_is_deleted(m, p->life.stream, m->n)) {
        p->verdict = VERDICT_STREAM_DELETED;
        return;
    }
    if (revision < first || revision > head) {
        p->verdict = VERDICT_EVENT_NOT_FOUND;
        return;
    }
    uint64_t target = m->streams[p->life.stream].positions[revision - 1];
    p->verdict = m->events[target - 1].redacted_at > 0 ? VERDICT_DUPLICATE : VERDICT_COMMITTED;
    if (p->verdict == VERDICT_COMMITTED) {
        uint64_t position = model_append_system(m);
        m->events[target - 1].redacted_at = position;
    }
}

void model_decide_life(struct model *m, struct plan *p)
{
    unsigned stream = p->life.stream;
    uint64_t head = m->streams[stream].n, before = m->n;
    uint64_t first = model_first(m, stream, m->n, m->last_time_us);
    struct model_life life = model_life_at(m, stream, m->n);
    life.floor = first; /* what is hidden now stays hidden */
    if (head == 0) {
        p->verdict = VERDICT_STREAM_NOT_FOUND;
        return;
    }
    switch (p->kind) {
    case COMMAND_SET_METADATA:
        set_metadata(m, p, life, head);
        break;
    case COMMAND_DELETE_STREAM:
        delete_stream(m, p, life, head);
        break;
    case COMMAND_REDACT:
        redact(m, p, first, head);
        break;
    case COMMAND_APPEND:
        CHECK(false);
    }
    life = model_life_at(m, stream, m->n);
    p->life.result =
        (struct life_result){.position = m->n > before ? m->n : 0,
                             .head_revision = head,
                             .first_revision = model_first(m, stream, m->n, m->last_time_us),
                             .deleted = model_is_deleted(m, stream, m->n),
                             .tombstoned = life.tombstoned};
}
