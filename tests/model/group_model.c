/* group_model: see group_model.h. */
#include "tests/model/group_model.h"

#include "storage/base/check.h"

static const char *const STREAMS[GM_STREAMS] = {"s-0", "s-1", "s-2", "s-3",  "t-0",
                                                "t-1", "t-2", "t-3", "out-0"};
static const char *const TYPES[GM_TYPES] = {"T0", "T1", "T2"};

const char *gm_stream_name(unsigned stream)
{
    return STREAMS[stream];
}

const char *gm_type_name(unsigned type)
{
    return TYPES[type];
}

struct store_filter gm_filter(unsigned filter)
{
    static struct bytes s, t, types[2], prefix;
    s = BYTES_LITERAL("s"), t = BYTES_LITERAL("t"), prefix = BYTES_LITERAL("s-");
    types[0] = BYTES_LITERAL("T0"), types[1] = BYTES_LITERAL("T1");
    switch (filter) {
    case 1:
        return (struct store_filter){.categories = &s, .category_count = 1};
    case 2:
        return (struct store_filter){.types = types, .type_count = 2};
    case 3:
        return (struct store_filter){
            .prefixes = &prefix, .prefix_count = 1, .types = types, .type_count = 1};
    case 4:
        return (struct store_filter){.categories = &t, .category_count = 1};
    default:
        return (struct store_filter){0};
    }
}

bool gm_filter_matches(unsigned filter, const struct gm_world_event *e)
{
    bool is_s = e->stream < 4, is_t = e->stream >= 4 && e->stream < 8;
    if (e->system) {
        return false;
    }
    return filter == 0 || (filter == 1 && is_s) || (filter == 2 && e->type < 2) ||
           (filter == 3 && is_s && e->type == 0) || (filter == 4 && is_t);
}

/* ---- what it is made of ---- */

static struct gm_event judged(const struct gm_group *m, const struct gm_world_event *e)
{
    return (struct gm_event){.status = gm_filter_matches(m->filter, e) ? GM_OWED : GM_NOT_OURS};
}

void gm_sync(struct gm_group *m, const struct gm_world *w)
{
    for (; m->n < w->n; m->n++) {
        m->events[m->n] = judged(m, &w->events[m->n]);
        if (m->n < m->place) {
            m->events[m->n].status = GM_NOT_OURS;
        }
    }
}

static bool is_ordered(const struct gm_group *m)
{
    return m->settings.ordering == GROUP_ORDER_STREAM;
}

void gm_park(struct gm_group *m, uint64_t position)
{
    struct gm_event *e = gm_at(m, position);
    *e = (struct gm_event){.status = GM_PARKED,
                           .blocks = is_ordered(m) && m->settings.on_park == GROUP_PARK_BLOCK};
}

void gm_settle(struct gm_group *m, uint64_t position)
{
    *gm_at(m, position) = (struct gm_event){.status = GM_SETTLED};
}

void gm_acked(struct gm_group *m, uint64_t position, uint64_t fetched)
{
    struct gm_event *e = gm_at(m, position);
    if (e->status == GM_OWED && (position <= fetched || e->replay)) {
        gm_settle(m, position);
    }
}

void gm_expire(struct gm_group *m, int64_t now_us)
{
    for (size_t i = 0; i < m->n; i++) {
        struct gm_event *e = &m->events[i];
        if (!e->leased || e->committing || e->deadline_us > now_us) {
            continue;
        }
        if (e->attempts >= m->settings.max_attempts) {
            gm_park(m, i + 1);
        } else {
            e->leased = false;
            e->due_us = 0;
        }
    }
}

/* Whether it is lost to readers: a redacted event is delivered once, but not again. */
static bool is_gone(const struct gm_event *e, const struct gm_world_event *w)
{
    bool again = e->status == GM_PARKED || e->replay || e->attempts > 0;
    return w->hidden || (w->redacted && again);
}

void gm_note_fetch(struct gm_group *m, const struct gm_world *w, uint64_t fetched)
{
    for (size_t i = 0; i < m->n && i < fetched; i++) {
        struct gm_event *e = &m->events[i];
        if (e->status == GM_OWED && !e->leased && !e->replay &&
            !gm_filter_matches(m->filter, &w->events[i])) {
            e->maybe = true;
        }
    }
}

/* ---- deliveries ---- */

static bool is_behind(const struct gm_world *w, size_t i, size_t other)
{
    return other != i && w->events[other].stream == w->events[i].stream && !w->events[other].system;
}

/* Order of a stream: none of it is leased, and none before it is certainly still to be done. A
 * replay comes when it was asked for. */
static const char *order_broken(const struct gm_group *m, const struct gm_world *w, size_t i)
{
    for (size_t o = 0; o < m->n; o++) {
        const struct gm_event *e = &m->events[o];
        if (!is_behind(w, i, o)) {
            continue;
        }
        if (e->leased) {
            return "another event of its stream is in flight";
        }
        bool before = o < i && !is_gone(e, &w->events[o]) && !m->events[i].replay;
        if (before && e->status == GM_OWED && !e->replay && !e->maybe &&
            gm_filter_matches(m->filter, &w->events[o])) {
            return "an earlier event of its stream is owed";
        }
        if (before && e->blocks) {
            return "an earlier event of its stream is parked and blocks";
        }
    }
    return NULL;
}

static const char *delivery_wrong(const struct gm_group *m, const struct gm_world *w,
                                  const struct group_delivery *d, int64_t now_us)
{
    size_t i = d->record.position - 1;
    const struct gm_event *e = &m->events[i];
    if (i >= m->n || e->status != GM_OWED) {
        return "it is not owed";
    }
    if (e->leased) {
        return "it is leased";
    }
    if (is_gone(e, &w->events[i])) {
        return "it is hidden";
    }
    if (!e->replay && !gm_filter_matches(m->filter, &w->events[i])) {
        return "it does not match";
    }
    if (e->due_us > now_us) {
        return "it is not due";
    }
    if (d->attempt != e->attempts + 1 && !e->maybe) {
        return "the attempt is wrong";
    }
    if (d->replay != e->replay) {
        return "the flag of a replay is wrong";
    }
    return is_ordered(m) ? order_broken(m, w, i) : NULL;
}

const char *gm_deliver(struct gm_group *m, const struct gm_world *w, const struct group_delivery *d,
                       int64_t now_us)
{
    size_t leased = 0;
    for (size_t i = 0; i < m->n; i++) {
        leased += m->events[i].leased ? 1 : 0;
    }
    if (leased >= m->settings.max_in_flight) {
        return "there are too many in flight";
    }
    const char *wrong = delivery_wrong(m, w, d, now_us);
    if (wrong == NULL) {
        struct gm_event *e = gm_at(m, d->record.position);
        e->leased = true;
        e->maybe = e->blocks = false;
        e->attempts = d->attempt;
        e->due_us = 0;
        e->deadline_us = now_us + m->settings.ack_timeout_us;
        e->lease = d->lease;
    }
    return wrong;
}

/* Whether something of its stream may rightly hold it back. */
static bool may_wait(const struct gm_group *m, const struct gm_world *w, size_t i, int64_t now_us)
{
    for (size_t o = 0; o < m->n; o++) {
        const struct gm_event *e = &m->events[o];
        if (!is_behind(w, i, o)) {
            continue;
        }
        bool gone = is_gone(e, &w->events[o]);
        bool owed = e->status == GM_OWED && (e->maybe || e->due_us > now_us || !gone);
        if (e->leased || (o < i && (owed || (e->blocks && !gone)))) {
            return true;
        }
    }
    return false;
}

uint64_t gm_deliverable(const struct gm_group *m, const struct gm_world *w, int64_t now_us)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct gm_event *e = &m->events[i];
        bool could = e->status == GM_OWED && !e->leased && !e->maybe && e->due_us <= now_us &&
                     !is_gone(e, &w->events[i]) &&
                     (e->replay || gm_filter_matches(m->filter, &w->events[i]));
        if (could && (!is_ordered(m) || !may_wait(m, w, i, now_us))) {
            return i + 1;
        }
    }
    return 0;
}

uint64_t gm_left(const struct gm_group *m, const struct gm_world *w)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct gm_event *e = &m->events[i];
        bool blocked = false;
        for (size_t o = 0; o < i && is_ordered(m); o++) {
            const struct gm_event *other = &m->events[o];
            blocked =
                blocked || (is_behind(w, i, o) && other->blocks && !is_gone(other, &w->events[o]));
        }
        bool wanted = e->replay || gm_filter_matches(m->filter, &w->events[i]);
        if (e->status == GM_OWED && !e->maybe && !is_gone(e, &w->events[i]) && wanted && !blocked) {
            return i + 1;
        }
    }
    return 0;
}

/* ---- changes ---- */

void gm_edit(struct gm_group *m, const struct gm_world *w, unsigned filter,
             const struct group_settings *settings, uint64_t fetched)
{
    m->filter = filter;
    m->settings = *settings;
    for (size_t i = 0; i < m->n; i++) {
        struct gm_event *e = &m->events[i];
        if (!is_ordered(m) || settings->on_park == GROUP_PARK_CONTINUE) {
            e->blocks = false;
        }
        if (i >= fetched && i >= m->place) {
            *e = judged(m, &w->events[i]);
        }
    }
}

void gm_seek(struct gm_group *m, const struct gm_world *w, uint64_t place)
{
    m->place = place;
    for (size_t i = 0; i < m->n; i++) {
        struct gm_event *e = &m->events[i];
        if (i >= place) {
            *e = judged(m, &w->events[i]);
        } else if (e->status == GM_OWED && !e->replay) {
            gm_settle(m, i + 1);
        } else if (e->leased) {
            e->leased = e->committing = false;
            e->due_us = 0;
        }
    }
}

uint64_t gm_select(struct gm_group *m, const struct gm_world *w, uint64_t from, uint64_t to,
                   unsigned filter, enum gm_select what)
{
    uint64_t count = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct gm_event *e = &m->events[i];
        bool gone = is_gone(e, &w->events[i]);
        bool all = filter >= GM_FILTERS;
        if (e->status != GM_PARKED || i + 1 < from || (to != 0 && i + 1 > to) ||
            (!all && (gone || !gm_filter_matches(filter, &w->events[i])))) {
            continue;
        }
        count += gone ? 0 : 1;
        if (what == GM_REPLAY && !gone) {
            *e = (struct gm_event){.status = GM_OWED, .replay = true, .blocks = e->blocks};
        } else if (what != GM_COUNT) {
            gm_settle(m, i + 1);
        }
    }
    return count;
}

/* ---- status ---- */

const char *gm_check_status(const struct gm_group *m, const struct gm_world *w,
                            const struct group_status *s)
{
    uint64_t leased = 0, committing = 0, owed = 0, parked = 0, parked_gone = 0;
    bool certain = true;
    for (size_t i = 0; i < m->n; i++) {
        const struct gm_event *e = &m->events[i];
        bool gone = is_gone(e, &w->events[i]);
        bool is_owed = e->status == GM_OWED && !e->replay;
        leased += e->leased ? 1 : 0;
        committing += e->committing ? 1 : 0;
        parked += e->status == GM_PARKED ? 1 : 0;
        parked_gone += e->status == GM_PARKED && gone ? 1 : 0;
        owed += is_owed ? 1 : 0;
        certain = certain && !e->maybe && !(gone && is_owed);
        if (is_owed && !gone && !e->maybe && i + 1 <= s->position) {
            return "its position is after an event that is owed";
        }
    }
    if (s->in_flight != leased || s->committing != committing) {
        return "the number of leases differs";
    }
    if (s->parked > parked || s->parked < parked - parked_gone) {
        return "the number of parked events differs";
    }
    if (certain && (!s->lag_is_exact || s->lag_events != owed)) {
        return "the lag differs";
    }
    return s->position <= s->fetched && s->fetched <= s->head ? NULL
                                                              : "its places are not in order";
}
