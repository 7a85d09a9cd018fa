/* model: what a store must hold and answer, as plain arrays and loops: the expected side of the
 * random tests.
 *
 * One thread. Streams, types and tags are small numbers here; model_stream and its siblings turn
 * them into the names that the store gets. */
#ifndef DAYBOOK_TESTS_MODEL_MODEL_H
#define DAYBOOK_TESTS_MODEL_MODEL_H

#include "storage/store.h"

#define MODEL_STREAMS  96
#define MODEL_TYPES    5
#define MODEL_TAGS     6
#define MODEL_NAME_MAX 32
#define MODEL_DATA_MAX 256

#define PLAN_APPENDS_MAX 4
#define PLAN_EVENTS_MAX  12
#define PLAN_CHECKS_MAX  3
#define PLAN_ITEMS_MAX   3

struct model_event {
    uint64_t id; /* number for test_id */
    uint64_t revision;
    int64_t time_us;
    uint32_t data; /* number for model_data */
    unsigned stream, type, tags;
    bool id_given;
    bool system;          /* of the system's stream; only revision and time count */
    uint64_t redacted_at; /* position of the event that says so; 0: never */
};

/* One version of a stream's life; the events before `floor` are hidden for ever. */
struct model_life {
    uint64_t position, floor, max_count, max_age_s, truncate_before, deleted_head;
    bool tombstoned;
};

struct model_stream_state {
    uint64_t *positions; /* of its events: revision - 1 is the index */
    size_t n, cap;
    struct model_life *lives; /* oldest first */
    size_t life_count, life_cap;
};

struct model {
    struct model_event *events; /* position - 1 is the index */
    size_t n, cap;
    struct model_stream_state streams[MODEL_STREAMS];
    uint64_t system_events;
    int64_t last_time_us; /* the store's clock */
};

/* A command, and what the model says of it. */
struct plan {
    enum command_kind kind;
    struct {
        unsigned stream;
        struct life_change change;
        bool tombstone;
        uint64_t revision;
        struct life_result result;
    } life; /* where it is not an append */
    struct {
        unsigned stream;
        struct expectation expected;
        size_t first, n; /* its events */
    } appends[PLAN_APPENDS_MAX];
    struct {
        unsigned stream;
        struct expectation expected;
    } checks[PLAN_CHECKS_MAX];
    struct {
        unsigned types, tags; /* bits: any of the types, all of the tags */
    } items[PLAN_ITEMS_MAX];  /* of the condition */
    uint64_t condition_after;
    struct model_event events[PLAN_EVENTS_MAX];
    size_t append_count, check_count, item_count, event_count;

    enum verdict verdict;
    struct append_result results[PLAN_APPENDS_MAX];
    struct {
        unsigned stream;
        struct expectation expected;
        uint64_t actual;
    } violations[PLAN_APPENDS_MAX + PLAN_CHECKS_MAX];
    uint64_t matches[PLAN_ITEMS_MAX]; /* first position that matches each item; 0: none */
    size_t violation_count, fault_append, fault_event;
};

void model_init(struct model *m);
void model_done(struct model *m);

/* Appends an event of the system's at m->last_time_us; returns its position. */
uint64_t model_append_system(struct model *m);

/* Decides a plan and, where it is accepted, appends its events. */
void model_decide(struct model *m, struct plan *plan, int64_t now_us);

/* Whether the event at `position` passes a log read's filter. */
bool model_matches(const struct model *m, uint64_t position, const struct store_filter *filter);
/* Number of the stream's events up to a position. */
uint64_t model_head(const struct model *m, unsigned stream, uint64_t position);

/* The names that a listing of the store at `position` gives: all of them, sorted; returns how many
 * (at most MODEL_STREAMS). */
struct model_name {
    char name[MODEL_NAME_MAX];
    uint64_t events, visible; /* all, and what can be read of them */
};
size_t model_list(const struct model *m, const struct store_list_query *q, uint64_t position,
                  int64_t time_us, struct model_name ret[MODEL_STREAMS]);

/* Names, into buffers of MODEL_NAME_MAX. */
struct bytes model_stream(unsigned stream, char *ret);
struct bytes model_type(unsigned type, char *ret);
struct bytes model_tag(unsigned tag, char *ret);
/* The payload of an event, into MODEL_DATA_MAX bytes. */
struct bytes model_data(uint32_t data, char *ret);

#endif
