/* model: see model.h. Written to be obviously right, not fast. */
#include "tests/model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/model/model_life.h"

/* ---- names ---- */

struct bytes model_stream(unsigned stream, char *ret)
{
    static const char *const ODD[] = {"order", "-dash", "-",   "\xc3\xbcn\xc3\xaf-1",
                                      "o",     "a-b-c", "a-b", "order-"};
    CHECK(stream < MODEL_STREAMS);
    if (stream < 70) {
        snprintf(ret, MODEL_NAME_MAX, "order-%u", stream);
    } else if (stream < MODEL_STREAMS - 8) {
        snprintf(ret, MODEL_NAME_MAX, "c%u-%u", stream % 5, stream);
    } else {
        snprintf(ret, MODEL_NAME_MAX, "%s", ODD[stream - (MODEL_STREAMS - 8)]);
    }
    return bytes_of_string(ret);
}

struct bytes model_type(unsigned type, char *ret)
{
    snprintf(ret, MODEL_NAME_MAX, "Type%u", type);
    return bytes_of_string(ret);
}

struct bytes model_tag(unsigned tag, char *ret)
{
    snprintf(ret, MODEL_NAME_MAX, "tag:%u", tag);
    return bytes_of_string(ret);
}

struct bytes model_data(uint32_t data, char *ret)
{
    int n =
        snprintf(ret, MODEL_DATA_MAX, "{\"n\":%" PRIu32 ",\"x\":\"%.*s\"}", data, (int)(data % 61),
                 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh");
    return bytes_of(ret, (size_t)n);
}

/* ---- lifecycle ---- */

void model_init(struct model *m)
{
    *m = (struct model){0};
}

void model_done(struct model *m)
{
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        free(m->streams[i].positions);
        free(m->streams[i].lives);
    }
    free(m->events);
    *m = (struct model){0};
}

static void *grown(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return p;
    }
    *cap = *cap == 0 ? 64 : *cap * 2;
    p = realloc(p, *cap * size);
    CHECK(p != NULL);
    return p;
}

static void append_event(struct model *m, const struct model_event *event, int64_t time_us)
{
    struct model_stream_state *s = &m->streams[event->stream];
    m->events = grown(m->events, m->n, &m->cap, sizeof *m->events);
    s->positions = grown(s->positions, s->n, &s->cap, sizeof *s->positions);
    m->events[m->n] = *event;
    m->events[m->n].revision = s->n + 1;
    m->events[m->n].time_us = time_us;
    m->events[m->n].redacted_at = 0; /* it may be made from one that was */
    s->positions[s->n++] = ++m->n;
}

uint64_t model_append_system(struct model *m)
{
    m->events = grown(m->events, m->n, &m->cap, sizeof *m->events);
    m->events[m->n] = (struct model_event){
        .system = true, .revision = ++m->system_events, .time_us = m->last_time_us};
    return ++m->n;
}

/* ---- deciding ---- */

/* The position of the event with this id in this stream that can be read, 0: none. */
static uint64_t find_id(const struct model *m, unsigned stream, uint64_t id)
{
    const struct model_stream_state *s = &m->streams[stream];
    for (uint64_t i = model_first(m, stream, m->n, m->last_time_us) - 1; i < s->n; i++) {
        if (m->events[s->positions[i] - 1].id == id) {
            return s->positions[i];
        }
    }
    return 0;
}

static enum verdict blame(struct plan *p, size_t append, size_t event, enum verdict verdict)
{
    p->fault_append = append;
    p->fault_event = event;
    return verdict;
}

static bool are_twins(const struct model_event *a, const struct model_event *b)
{
    return a->id_given && b->id_given && a->id == b->id && a->stream == b->stream;
}

static void blame_event(struct plan *p, size_t event)
{
    size_t append = 0;
    while (event >= p->appends[append].first + p->appends[append].n) {
        append++;
    }
    blame(p, append, event - p->appends[append].first, VERDICT_ID_REUSED);
}

/* An id that comes twice for one stream in the command. */
static bool has_twins(struct plan *p)
{
    for (size_t i = 0; i < p->event_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (are_twins(&p->events[i], &p->events[k])) {
                blame_event(p, i);
                return true;
            }
        }
    }
    return false;
}

/* NONE: all of the append's events are new; DUPLICATE: all are there, in this order. */
static enum verdict judge_append(const struct model *m, struct plan *p, size_t append)
{
    size_t found = 0, n = p->appends[append].n;
    bool in_order = true;
    uint64_t first = 0, last = 0;
    for (size_t i = 0; i < n; i++) {
        const struct model_event *e = &p->events[p->appends[append].first + i];
        uint64_t position = e->id_given ? find_id(m, e->stream, e->id) : 0;
        if (position == 0) {
            continue;
        }
        const struct model_event *stored = &m->events[position - 1];
        if (stored->type != e->type || (stored->redacted_at == 0 && stored->data != e->data)) {
            return blame(p, append, i, VERDICT_ID_REUSED);
        }
        in_order = in_order && position > last;
        first = found++ == 0 ? position : first;
        last = position;
    }
    if (found == 0) {
        return VERDICT_NONE;
    }
    if (found < n || !in_order) {
        return VERDICT_PARTIAL_DUPLICATE;
    }
    p->results[append] = (struct append_result){m->events[first - 1].revision,
                                                m->events[last - 1].revision, first, last, true};
    return VERDICT_DUPLICATE;
}

static enum verdict judge_ids(const struct model *m, struct plan *p)
{
    size_t duplicates = 0, mixed = SIZE_MAX;
    if (has_twins(p)) {
        return VERDICT_ID_REUSED;
    }
    for (size_t i = 0; i < p->append_count; i++) {
        enum verdict verdict = judge_append(m, p, i);
        if (verdict == VERDICT_ID_REUSED) {
            return verdict;
        }
        duplicates += verdict == VERDICT_DUPLICATE;
        mixed = verdict == VERDICT_PARTIAL_DUPLICATE && mixed == SIZE_MAX ? i : mixed;
    }
    if (mixed == SIZE_MAX && duplicates == 0) {
        return VERDICT_NONE;
    }
    if (duplicates == p->append_count) {
        return VERDICT_DUPLICATE;
    }
    return blame(p, mixed == SIZE_MAX ? 0 : mixed, 0, VERDICT_PARTIAL_DUPLICATE);
}

static void expect(struct plan *p, unsigned stream, struct expectation expected, uint64_t head)
{
    bool met = expected.kind == EXPECT_ANY || (expected.kind == EXPECT_NO_STREAM && head == 0) ||
               (expected.kind == EXPECT_STREAM_EXISTS && head > 0) ||
               (expected.kind == EXPECT_REVISION && head == expected.revision);
    if (!met) {
        p->violations[p->violation_count].stream = stream;
        p->violations[p->violation_count].expected = expected;
        p->violations[p->violation_count++].actual = head;
    }
}

static void judge_expectations(const struct model *m, struct plan *p)
{
    uint64_t heads[MODEL_STREAMS];
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        heads[i] = m->streams[i].n;
    }
    for (size_t i = 0; i < p->append_count; i++) {
        expect(p, p->appends[i].stream, p->appends[i].expected, heads[p->appends[i].stream]);
        heads[p->appends[i].stream] += p->appends[i].n;
    }
    for (size_t i = 0; i < p->check_count; i++) {
        unsigned stream = p->checks[i].stream;
        expect(p, stream, p->checks[i].expected, m->streams[stream].n);
    }
}

/* Whether no event after the position matches an item. */
static bool judge_condition(const struct model *m, struct plan *p)
{
    bool holds = true;
    for (size_t i = 0; i < p->item_count; i++) {
        unsigned types = p->items[i].types, tags = p->items[i].tags;
        p->matches[i] = 0;
        for (uint64_t at = p->condition_after; at < m->n && p->matches[i] == 0; at++) {
            const struct model_event *e = &m->events[at];
            if (e->system || model_is_hidden(m, at + 1, m->n, m->last_time_us)) {
                continue;
            }
            bool match = (types == 0 || (types >> e->type & 1) != 0) && (e->tags & tags) == tags;
            p->matches[i] = match ? at + 1 : 0;
        }
        holds = holds && p->matches[i] == 0;
    }
    return holds;
}

static void accept(struct model *m, struct plan *p)
{
    for (size_t i = 0; i < p->append_count; i++) {
        uint64_t head = m->streams[p->appends[i].stream].n, n = p->appends[i].n;
        p->results[i] = (struct append_result){head + 1, head + n, m->n + 1, m->n + n, false};
        for (size_t k = 0; k < n; k++) {
            append_event(m, &p->events[p->appends[i].first + k], m->last_time_us);
        }
    }
}

static enum verdict judge_tombstones(const struct model *m, struct plan *p)
{
    for (size_t i = 0; i < p->append_count; i++) {
        if (model_life_at(m, p->appends[i].stream, m->n).tombstoned) {
            return blame(p, i, 0, VERDICT_STREAM_DELETED);
        }
    }
    return VERDICT_NONE;
}

void model_decide(struct model *m, struct plan *p, int64_t now_us)
{
    m->last_time_us = now_us > m->last_time_us ? now_us : m->last_time_us;
    p->violation_count = 0;
    if (p->kind != COMMAND_APPEND) {
        model_decide_life(m, p);
        return;
    }
    p->verdict = judge_tombstones(m, p);
    if (p->verdict == VERDICT_NONE) {
        p->verdict = judge_ids(m, p);
    }
    if (p->verdict != VERDICT_NONE) {
        return;
    }
    judge_expectations(m, p);
    bool holds = judge_condition(m, p);
    if (p->violation_count > 0 || !holds) {
        p->verdict =
            p->violation_count > 0 ? VERDICT_WRONG_EXPECTED_REVISION : VERDICT_CONDITION_FAILED;
        return;
    }
    p->verdict = VERDICT_COMMITTED;
    accept(m, p);
}

/* ---- reading ---- */

static bool is_in(struct bytes name, const struct bytes *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_equal(names[i], name)) {
            return true;
        }
    }
    return n == 0;
}

static bool has_prefix(struct bytes name, const struct bytes *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_have_prefix(name, prefixes[i])) {
            return true;
        }
    }
    return n == 0;
}

static bool has_tag(unsigned tags, const struct bytes *names, size_t n)
{
    char name[MODEL_NAME_MAX];
    for (unsigned i = 0; i < MODEL_TAGS; i++) {
        if ((tags >> i & 1) != 0 && is_in(model_tag(i, name), names, n)) {
            return true;
        }
    }
    return n == 0;
}

bool model_matches(const struct model *m, uint64_t position, const struct store_filter *f)
{
    const struct model_event *e = &m->events[position - 1];
    char stream_text[MODEL_NAME_MAX], type_text[MODEL_NAME_MAX];
    if (e->system) { /* no filter of the tests names the system's */
        return f->system &&
               f->type_count + f->category_count + f->prefix_count + f->tag_count == 0 &&
               e->time_us >= f->since_us && (f->until_us == 0 || e->time_us < f->until_us);
    }
    struct bytes stream = model_stream(e->stream, stream_text);
    return is_in(model_type(e->type, type_text), f->types, f->type_count) &&
           is_in(event_category(stream), f->categories, f->category_count) &&
           has_prefix(stream, f->prefixes, f->prefix_count) &&
           has_tag(e->tags, f->tags, f->tag_count) && e->time_us >= f->since_us &&
           (f->until_us == 0 || e->time_us < f->until_us);
}

uint64_t model_head(const struct model *m, unsigned stream, uint64_t position)
{
    const struct model_stream_state *s = &m->streams[stream];
    size_t n = s->n;
    while (n > 0 && s->positions[n - 1] > position) {
        n--;
    }
    return n;
}

/* ---- listing ---- */

static void count_name(struct model_name *names, size_t *n, struct bytes name, bool visible)
{
    for (size_t i = 0; i < *n; i++) {
        if (bytes_equal(bytes_of_string(names[i].name), name)) {
            names[i].events++;
            names[i].visible += visible;
            return;
        }
    }
    if (name.n > 0 && name.p != NULL) {
        CHECK(*n < MODEL_STREAMS);
        snprintf(names[*n].name, sizeof names[*n].name, "%.*s", BYTES_ARGS(name));
        names[*n].events = 1;
        names[(*n)++].visible = visible;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct model_name *)a)->name, ((const struct model_name *)b)->name);
}

static void count_event(const struct model_event *e, bool visible, enum store_names kind,
                        struct model_name *names, size_t *n)
{
    char text[MODEL_NAME_MAX];
    switch (kind) {
    case STORE_STREAMS:
        count_name(names, n, model_stream(e->stream, text), visible);
        break;
    case STORE_CATEGORIES:
        count_name(names, n, event_category(model_stream(e->stream, text)), visible);
        break;
    case STORE_TYPES:
        count_name(names, n, model_type(e->type, text), visible);
        break;
    case STORE_TAGS:
        for (unsigned tag = 0; tag < MODEL_TAGS; tag++) {
            if ((e->tags >> tag & 1) != 0) {
                count_name(names, n, model_tag(tag, text), visible);
            }
        }
        break;
    }
}

/* Whether a stream is left out, whose name this is. */
static bool is_deleted(const struct model *m, struct bytes name, uint64_t position)
{
    char text[MODEL_NAME_MAX];
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        if (bytes_equal(model_stream(i, text), name)) {
            return model_is_deleted(m, i, position);
        }
    }
    return false;
}

size_t model_list(const struct model *m, const struct store_list_query *q, uint64_t position,
                  int64_t time_us, struct model_name ret[MODEL_STREAMS])
{
    size_t all = 0, n = 0;
    uint64_t first[MODEL_STREAMS];
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        first[i] = model_first(m, i, position, time_us);
    }
    for (uint64_t i = 0; i < position; i++) {
        const struct model_event *e = &m->events[i];
        if (!e->system) {
            count_event(e, e->revision >= first[e->stream], q->kind, ret, &all);
        }
    }
    for (size_t i = 0; i < all; i++) {
        struct bytes name = bytes_of_string(ret[i].name);
        bool gone = q->kind == STORE_STREAMS ? is_deleted(m, name, position) : ret[i].visible == 0;
        if (!gone && bytes_have_prefix(name, q->prefix) && bytes_compare(name, q->after) > 0) {
            ret[n++] = ret[i];
        }
    }
    qsort(ret, n, sizeof *ret, compare_names);
    return n;
}
