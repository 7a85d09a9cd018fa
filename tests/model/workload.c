/* workload: see workload.h. */
#include "tests/model/workload.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/unit/support.h"

#define EVENTS_MAX    6
#define DATA_MAX      (24u << 10)
#define COMMANDS_MAX  16
#define TIME_STEP_US  1000
#define COMMAND_BYTES (1u << 20)

/* ---- what follows from the seed ---- */

static uint64_t value_of(uint64_t seed, uint64_t position, uint64_t what)
{
    uint64_t state = seed ^ position * 0x9e3779b97f4a7c15u ^ what << 56;
    return test_random(&state);
}

uint64_t workload_command_events(uint64_t seed, uint64_t start)
{
    uint64_t v = value_of(seed, start, 1);
    return v % 3 == 0 ? 2 + v / 3 % (EVENTS_MAX - 1) : 1;
}

/* A command writes to one stream, or to one an event. */
static bool is_mixed(uint64_t seed, uint64_t start)
{
    return value_of(seed, start, 2) % 2 == 0;
}

static void stream_of(uint64_t seed, uint64_t start, uint64_t position, char ret[16])
{
    uint64_t v = value_of(seed, is_mixed(seed, start) ? position : start, 3);
    snprintf(ret, 16, "c%d-%d", (int)(v % 3), (int)(v % WORKLOAD_STREAMS));
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

struct command *workload_command(uint64_t seed, uint64_t start)
{
    struct command *c = command_new(COMMAND_BYTES);
    assert_non_null(c);
    uint64_t events = workload_command_events(seed, start);
    for (uint64_t p = start; p < start + events; p++) {
        char stream[16];
        stream_of(seed, start, p, stream);
        if (p == start || is_mixed(seed, start)) {
            test_add_append(c, stream, TEST_ANY);
        }
        add_event(c, seed, p);
    }
    return c;
}

err_t workload_commit(struct store *s, uint64_t seed, size_t commands, uint64_t *position)
{
    struct command *group[COMMANDS_MAX];
    uint64_t next = *position;
    assert_true(commands <= COMMANDS_MAX);
    for (size_t i = 0; i < commands; i++) {
        group[i] = workload_command(seed, next + 1);
        next += command_events(group[i]);
    }
    err_t err = store_commit(s, group, commands, TEST_TIME_US + (int64_t)*position * TIME_STEP_US);
    for (size_t i = 0; i < commands; i++) {
        /* What fails is the rest of a call: none after it may be in. */
        if (err == ERR_OK && command_verdict(group[i]) == VERDICT_FAILED) {
            err = command_error(group[i]);
        } else if (err == ERR_OK) {
            assert_int_equal(command_verdict(group[i]), VERDICT_COMMITTED);
            *position += command_events(group[i]);
        }
        command_free(group[i]);
    }
    return err;
}

/* ---- checking it ---- */

static char wrong[256];

static const char *check_event(const struct event *e, uint64_t seed, uint64_t start,
                               uint64_t revision)
{
    static char data[DATA_MAX];
    char stream[16], type[16];
    stream_of(seed, start, e->position, stream);
    snprintf(type, sizeof type, "T%d", (int)(e->position % 3));
    struct bytes wanted = bytes_of((const uint8_t *)data, data_of(seed, e->position, data));
    bool same = bytes_equal(e->stream, bytes_of_string(stream)) && e->revision == revision &&
                bytes_equal(e->type, bytes_of_string(type)) && bytes_equal(e->data, wanted);
    if (!same) {
        snprintf(wrong, sizeof wrong, "position %" PRIu64 " holds another event", e->position);
    }
    return same ? NULL : wrong;
}

static err_t get(struct store_view *v, uint64_t position, struct event *ret)
{
    struct store_record record;
    err_t err = store_get_event(v, position, &record);
    return err == ERR_OK ? store_record_decode(&record, ret) : err;
}

static size_t stream_number(struct bytes stream)
{
    size_t n = 0;
    for (size_t i = 3; i < stream.n; i++) {
        n = n * 10 + (size_t)(stream.p[i] - '0');
    }
    return n % WORKLOAD_STREAMS;
}

/* The event by its stream and revision is the one at its position. */
static bool same_by_stream(struct store_view *v, const struct event *e)
{
    struct store_record record;
    err_t err = store_get_stream_event(v, e->stream, e->revision, &record);
    return err == ERR_OK && record.position == e->position;
}

static const char *check_view(struct store_view *v, uint64_t seed)
{
    uint64_t end = store_view_position(v), start = 1, next = 1, heads[WORKLOAD_STREAMS] = {0};
    for (uint64_t p = 1; p <= end; p++) {
        struct event e;
        if (p == next) {
            start = p;
            next = p + workload_command_events(seed, p);
        }
        err_t err = get(v, p, &e);
        if (err != ERR_OK) {
            snprintf(wrong, sizeof wrong, "position %" PRIu64 ": %s", p, err_name(err));
            return wrong;
        }
        const char *bad = check_event(&e, seed, start, ++heads[stream_number(e.stream)]);
        if (bad != NULL) {
            return bad;
        }
        if (!same_by_stream(v, &e)) {
            snprintf(wrong, sizeof wrong, "position %" PRIu64 " is not found by its stream", p);
            return wrong;
        }
    }
    if (next != end + 1) {
        snprintf(wrong, sizeof wrong, "the store ends at %" PRIu64 ", inside a command", end);
        return wrong;
    }
    return NULL;
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
