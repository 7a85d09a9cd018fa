/* workload: see workload.h. */
#include "tests/model/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support.h"

#define EVENTS_MAX    6
#define DATA_MAX      (24u << 10)
#define COMMANDS_MAX  16
#define TIME_STEP_US  1000
#define COMMAND_BYTES (1u << 20)
#define LIFE_EVERY    12

/* ---- what follows from the seed ---- */

static uint64_t value_of(uint64_t seed, uint64_t position, uint64_t what)
{
    uint64_t state = seed ^ position * 0x9e3779b97f4a7c15u ^ what << 56;
    return test_random(&state);
}

/* A command writes to one stream, or to one an event. */
static bool is_mixed(uint64_t seed, uint64_t start)
{
    return value_of(seed, start, 2) % 2 == 0;
}

static size_t stream_at(uint64_t seed, uint64_t start, uint64_t position)
{
    return value_of(seed, is_mixed(seed, start) ? position : start, 3) % WORKLOAD_STREAMS;
}

const char *workload_stream_name(size_t stream, char ret[16])
{
    snprintf(ret, 16, "c%d-%d", (int)(stream % 3), (int)stream);
    return ret;
}

static size_t data_of(uint64_t seed, uint64_t position, char ret[DATA_MAX])
{
    uint64_t v = value_of(seed, position, 4);
    size_t pad = v % 40 == 0 ? v / 40 % (DATA_MAX - 100) : v % 400;
    size_t n = (size_t)snprintf(ret, DATA_MAX, "{\"p\":%" PRIu64 ",\"pad\":\"", position);
    memset(ret + n, 'a' + (int)(v % 26), pad);
    n += pad;
    memcpy(ret + n, "\"}", 3);
    return n + 2;
}

/* ---- the state ---- */

void workload_init(struct workload *w, uint64_t seed)
{
    *w = (struct workload){.seed = seed};
    for (size_t i = 0; i < WORKLOAD_STREAMS; i++) {
        w->streams[i].first = 1;
    }
}

void workload_init_at(struct workload *w, uint64_t seed, uint64_t position)
{
    workload_init(w, seed);
    while (w->position < position) {
        (void)workload_next(w);
    }
}

/* The first revision that can be read. */
static uint64_t visible_from(const struct workload_stream *s)
{
    uint64_t limit = s->max_count > 0 && s->head > s->max_count ? s->head - s->max_count + 1 : 1;
    return limit > s->first ? limit : s->first;
}

static bool is_redacted(const struct workload *w, size_t stream, uint64_t revision)
{
    for (size_t i = 0; i < w->redacted_count; i++) {
        if (w->redacted[i].stream == stream && w->redacted[i].revision == revision) {
            return true;
        }
    }
    return false;
}

/* What a change of a life would be here; false: there is nothing to change, so an append comes
 * instead. */
static bool plan_life(const struct workload *w, struct workload_command *c)
{
    uint64_t v = value_of(w->seed, c->start, 5);
    c->stream = v % WORKLOAD_STREAMS;
    c->kind = WORKLOAD_LIMIT + v / WORKLOAD_STREAMS % 4;
    const struct workload_stream *s = &w->streams[c->stream];
    uint64_t from = visible_from(s), choice = v >> 32;
    if (s->head == 0 || from > s->head) {
        return false;
    }
    switch (c->kind) {
    case WORKLOAD_LIMIT:
        c->value = 3 + choice % 20;
        return c->value != s->max_count;
    case WORKLOAD_TRUNCATE:
        c->value = from + 1 + choice % (s->head + 1 - from);
        return true;
    case WORKLOAD_REDACT:
        c->value = from + choice % (s->head + 1 - from);
        return !is_redacted(w, c->stream, c->value) && w->redacted_count < WORKLOAD_REDACTED_MAX;
    case WORKLOAD_DELETE:
    case WORKLOAD_APPEND:
        break;
    }
    return true;
}

static void change_life(struct workload *w, const struct workload_command *c)
{
    struct workload_stream *s = &w->streams[c->stream];
    if (c->kind == WORKLOAD_REDACT) {
        w->redacted[w->redacted_count].stream = c->stream;
        w->redacted[w->redacted_count++].revision = c->value;
        return;
    }
    s->first = visible_from(s); /* what is hidden stays so */
    if (c->kind == WORKLOAD_LIMIT) {
        s->max_count = c->value;
    } else if (c->kind == WORKLOAD_TRUNCATE) {
        s->first = c->value;
    } else {
        s->first = s->head + 1;
        s->deleted = true;
    }
}

struct workload_command workload_next(struct workload *w)
{
    struct workload_command c = {.start = w->position + 1, .events = 1};
    if (value_of(w->seed, c.start, 6) % LIFE_EVERY == 0 && plan_life(w, &c)) {
        change_life(w, &c);
    } else {
        uint64_t v = value_of(w->seed, c.start, 1);
        c.kind = WORKLOAD_APPEND;
        c.events = v % 3 == 0 ? 2 + v / 3 % (EVENTS_MAX - 1) : 1;
        for (uint64_t p = c.start; p < c.start + c.events; p++) {
            struct workload_stream *s = &w->streams[stream_at(w->seed, c.start, p)];
            s->head++;
            s->deleted = false;
        }
    }
    w->position += c.events;
    return c;
}

/* ---- writing it ---- */

static void add_event(struct command *c, uint64_t seed, uint64_t position)
{
    static char data[DATA_MAX];
    char type[16], tag[16];
    uint8_t id[UUID_BYTES];
    test_id(position, id);
    snprintf(type, sizeof type, "T%d", (int)(position % 3));
    snprintf(tag, sizeof tag, "t%d", (int)(position % 7));
    struct bytes tags[] = {bytes_of_string(tag)};
    size_t n = data_of(seed, position, data);
    struct event_draft draft = {.id = bytes_of(id, UUID_BYTES),
                                .id_given = true,
                                .type = bytes_of_string(type),
                                .data = bytes_of((const uint8_t *)data, n),
                                .tags = tags,
                                .tag_count = 1};
    err_t err = command_add_event(c, &draft);
    assert_int_equal(err, ERR_OK);
}

static void add_append(struct command *c, uint64_t seed, const struct workload_command *plan)
{
    for (uint64_t p = plan->start; p < plan->start + plan->events; p++) {
        char stream[16];
        workload_stream_name(stream_at(seed, plan->start, p), stream);
        if (p == plan->start || is_mixed(seed, plan->start)) {
            test_add_append(c, stream, TEST_ANY);
        }
        add_event(c, seed, p);
    }
}

static err_t add_life(struct command *c, const struct workload_command *plan)
{
    char name[16];
    uint8_t id[UUID_BYTES];
    struct bytes stream = bytes_of_string(workload_stream_name(plan->stream, name));
    struct life_change change = {.set_max_count = plan->kind == WORKLOAD_LIMIT,
                                 .max_count = plan->value,
                                 .set_truncate_before = plan->kind == WORKLOAD_TRUNCATE,
                                 .truncate_before = plan->value};
    test_id(plan->start, id);
    struct bytes fresh = bytes_of(id, UUID_BYTES);
    switch (plan->kind) {
    case WORKLOAD_LIMIT:
    case WORKLOAD_TRUNCATE:
        return command_set_metadata(c, stream, TEST_ANY, &change, fresh);
    case WORKLOAD_DELETE:
        return command_delete_stream(c, stream, TEST_ANY, false, fresh);
    case WORKLOAD_REDACT:
        return command_redact(c, stream, plan->value, BYTES_NONE, fresh);
    case WORKLOAD_APPEND:
        break;
    }
    return ERR_INVALID;
}

static struct command *make_command(uint64_t seed, const struct workload_command *plan)
{
    struct command *c = command_new(COMMAND_BYTES);
    assert_non_null(c);
    if (plan->kind == WORKLOAD_APPEND) {
        add_append(c, seed, plan);
    } else {
        err_t err = add_life(c, plan);
        assert_int_equal(err, ERR_OK);
    }
    return c;
}

err_t workload_commit(struct store *s, struct workload *w, size_t commands,
                      void (*submitted)(uint64_t position))
{
    struct command *group[COMMANDS_MAX];
    struct workload_command plans[COMMANDS_MAX];
    struct workload next = *w;
    assert_true(commands <= COMMANDS_MAX);
    for (size_t i = 0; i < commands; i++) {
        plans[i] = workload_next(&next);
        group[i] = make_command(w->seed, &plans[i]);
    }
    if (submitted != NULL) {
        submitted(next.position);
    }
    err_t err =
        store_commit(s, group, commands, TEST_TIME_US + (int64_t)w->position * TIME_STEP_US);
    w->refused = ERR_OK;
    for (size_t i = 0; i < commands; i++) {
        /* What fails is the rest of a call: none after it may be in. */
        enum verdict verdict = err == ERR_OK ? command_verdict(group[i]) : VERDICT_NONE;
        if (verdict == VERDICT_FAILED) {
            w->refused = command_error(group[i]);
        } else if (err == ERR_OK) {
            assert_int_equal(verdict, VERDICT_COMMITTED);
            assert_int_equal(w->refused, ERR_OK);
            (void)workload_next(w);
        }
        command_free(group[i]);
    }
    return err;
}

/* ---- checking it ---- */

static char wrong[256];

static const char *say(uint64_t position, const char *what)
{
    snprintf(wrong, sizeof wrong, "position %" PRIu64 ": %s", position, what);
    return wrong;
}

struct workload_event *workload_events(uint64_t seed, uint64_t position)
{
    struct workload end, w;
    uint64_t heads[WORKLOAD_STREAMS] = {0};
    struct workload_event *events = calloc(position + 1, sizeof *events);
    assert_non_null(events);
    workload_init_at(&end, seed, position);
    workload_init(&w, seed);
    while (w.position < position) {
        struct workload_command c = workload_next(&w);
        for (uint64_t p = c.start; p < c.start + c.events && p <= position; p++) {
            size_t stream = stream_at(seed, c.start, p);
            const struct workload_stream *s = &end.streams[stream];
            if (c.kind != WORKLOAD_APPEND) {
                events[p] = (struct workload_event){.life = true, .visible = true};
                continue;
            }
            uint64_t revision = ++heads[stream];
            events[p] =
                (struct workload_event){.stream = stream,
                                        .revision = revision,
                                        .visible = !s->deleted && revision >= visible_from(s),
                                        .redacted = is_redacted(&end, stream, revision)};
        }
    }
    return events;
}

bool workload_is(uint64_t seed, const struct workload_event *events, const struct event *e)
{
    static char data[DATA_MAX];
    char stream[16], type[16];
    const struct workload_event *x = &events[e->position];
    if (x->life) {
        return bytes_equal(e->stream, bytes_of_string("$streams"));
    }
    snprintf(type, sizeof type, "T%d", (int)(e->position % 3));
    struct bytes wanted = bytes_of((const uint8_t *)data, data_of(seed, e->position, data));
    return e->revision == x->revision &&
           bytes_equal(e->stream, bytes_of_string(workload_stream_name(x->stream, stream))) &&
           bytes_equal(e->type, bytes_of_string(type)) && e->redacted == x->redacted &&
           (x->redacted ? e->data.n == 0 : bytes_equal(e->data, wanted));
}

static bool is_hidden(err_t err)
{
    return err == ERR_NOT_FOUND || err == ERR_GONE;
}

/* Of an append: by its stream and revision it is what it is by its position. */
static const char *check_by_stream(struct store_view *v, const struct workload_event *x,
                                   uint64_t position)
{
    char stream[16];
    struct store_record record;
    struct bytes name = bytes_of_string(workload_stream_name(x->stream, stream));
    err_t err = store_get_stream_event(v, name, x->revision, &record);
    if (!x->visible) {
        return is_hidden(err) ? NULL : say(position, "a hidden event is shown by its stream");
    }
    bool good = err == ERR_OK && record.position == position;
    return good ? NULL : say(position, "not found by its stream");
}

static const char *check_position(struct store_view *v, uint64_t seed,
                                  const struct workload_event *events, uint64_t position)
{
    struct store_record record;
    struct event e;
    const struct workload_event *x = &events[position];
    err_t err = store_get_event(v, position, &record);
    if (!x->visible && !is_hidden(err)) {
        return say(position, "a hidden event is shown");
    }
    if (x->visible && err == ERR_OK) {
        err = store_record_decode(&record, &e);
    }
    if (x->visible && err != ERR_OK) {
        return say(position, err_name(err));
    }
    if (x->visible && !workload_is(seed, events, &e)) {
        return say(position, "another event");
    }
    return x->life ? NULL : check_by_stream(v, x, position);
}

static const char *check_view(struct store_view *v, uint64_t seed)
{
    struct workload end;
    uint64_t position = store_view_position(v);
    workload_init_at(&end, seed, position);
    if (end.position != position) {
        return say(position, "the store ends inside a command");
    }
    struct workload_event *events = workload_events(seed, position);
    const char *bad = NULL;
    for (uint64_t p = 1; p <= position && bad == NULL; p++) {
        bad = check_position(v, seed, events, p);
    }
    free(events);
    return bad;
}

const char *workload_check(struct store *s, uint64_t seed)
{
    struct store_view *v;
    err_t err = store_view_open(s, &v);
    if (err != ERR_OK) {
        return "no view can be opened";
    }
    const char *bad = check_view(v, seed);
    store_view_close(v);
    return bad;
}
