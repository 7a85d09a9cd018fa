/* native: the built-in projection `$counts`: events per type, category, stream and day. It is also
 * the example of a projection in C; README.md has the four steps to another one.
 *
 * A batch is counted in memory, where most events find their counters already there, and flushed
 * with one row a counter. It counts what was appended: what is hidden later stays counted. */
#include <stdlib.h>

#include "model.h"
#include "sql.h"
#include "storage/base/arena.h"
#include "storage/base/map.h"
#include "storage/base/timestamp.h"

#define BATCH_EVENTS    100000
#define ARENA_CHUNK     ((size_t)256 << 10)
#define ARENA_BYTES_MAX ((size_t)64 << 20)
#define DAY_US          INT64_C(86400000000)
#define DAY_TEXT_BYTES  10

enum dimension { BY_TYPE, BY_CATEGORY, BY_STREAM, BY_DAY, DIMENSION_COUNT };

static const char *const SCHEMAS[DIMENSION_COUNT] = {
    "CREATE TABLE by_type (type TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE by_category (category TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE by_stream (stream TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE by_day (day TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID",
};

#define UPSERT(table)    \
    "INSERT INTO " table \
    " VALUES (?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"

static const char *const UPSERTS[DIMENSION_COUNT] = {
    UPSERT("by_type"),
    UPSERT("by_category"),
    UPSERT("by_stream"),
    UPSERT("by_day"),
};

struct counter {
    struct bytes name;
    uint64_t events;
    struct counter *category; /* of a stream */
};

struct counts {
    struct sql_statement *upserts[DIMENSION_COUNT];
    struct map counters[DIMENSION_COUNT];
    struct arena arena; /* the counters of the batch, with their names */
    int64_t day;        /* of the event before */
    struct counter *day_counter;
};

static void start_batch(struct counts *c)
{
    for (int i = 0; i < DIMENSION_COUNT; i++) {
        map_done(&c->counters[i]);
        map_init(&c->counters[i]);
    }
    arena_reset(&c->arena);
    c->day_counter = NULL;
}

static err_t counts_open(struct model *m, struct bytes source, bool fresh, struct err_text *et)
{
    (void)source;
    struct counts *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    arena_init(&c->arena, ARENA_CHUNK, ARENA_BYTES_MAX);
    start_batch(c);
    model_set_state(m, c);
    for (int i = 0; i < DIMENSION_COUNT; i++) {
        err_t err = fresh ? sql_run(model_sql(m), SCHEMAS[i], et) : ERR_OK;
        if (err == ERR_OK) {
            err = sql_prepare_ours(model_sql(m), UPSERTS[i], &c->upserts[i], et);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static void counts_close(struct model *m)
{
    struct counts *c = model_state(m);
    if (c == NULL) {
        return;
    }
    for (int i = 0; i < DIMENSION_COUNT; i++) {
        sql_finalize(c->upserts[i]);
        map_done(&c->counters[i]);
    }
    arena_done(&c->arena);
    free(c);
}

static err_t find(struct counts *c, enum dimension dimension, struct bytes name,
                  struct counter **ret)
{
    struct counter *counter = map_get(&c->counters[dimension], name);
    if (counter == NULL) {
        counter = arena_alloc(&c->arena, sizeof *counter);
        if (counter == NULL) {
            return ERR_MEMORY;
        }
        *counter = (struct counter){0};
        err_t err = arena_copy(&c->arena, name, &counter->name);
        if (err == ERR_OK) {
            err = map_add(&c->counters[dimension], counter->name, counter);
        }
        if (err != ERR_OK) {
            return ERR_MEMORY;
        }
    }
    *ret = counter;
    return ERR_OK;
}

/* A stream's counter knows its category's, which spares most events a look-up. */
static err_t count_stream(struct counts *c, struct bytes stream)
{
    struct counter *counter;
    err_t err = find(c, BY_STREAM, stream, &counter);
    if (err == ERR_OK && counter->category == NULL) {
        err = find(c, BY_CATEGORY, event_category(stream), &counter->category);
    }
    if (err == ERR_OK) {
        counter->events++;
        counter->category->events++;
    }
    return err;
}

static err_t count_day(struct counts *c, int64_t time_us)
{
    int64_t day = time_us / DAY_US;
    if (c->day_counter == NULL || c->day != day) {
        char text[TIMESTAMP_TEXT_BYTES];
        timestamp_format(time_us, text);
        err_t err = find(c, BY_DAY, bytes_of(text, DAY_TEXT_BYTES), &c->day_counter);
        if (err != ERR_OK) {
            c->day_counter = NULL;
            return err;
        }
        c->day = day;
    }
    c->day_counter->events++;
    return ERR_OK;
}

static err_t counts_apply(struct model *m, const struct event *e, struct err_text *et)
{
    (void)et;
    struct counts *c = model_state(m);
    struct counter *type;
    err_t err = find(c, BY_TYPE, e->type, &type);
    if (err == ERR_OK) {
        type->events++;
        err = count_stream(c, e->stream);
    }
    return err == ERR_OK ? count_day(c, e->time_us) : err;
}

static err_t counts_flush(struct model *m, struct err_text *et)
{
    struct counts *c = model_state(m);
    for (int i = 0; i < DIMENSION_COUNT; i++) {
        size_t iterator = 0;
        for (struct counter *counter; (counter = map_next(&c->counters[i], &iterator)) != NULL;) {
            sql_bind_text(c->upserts[i], 1, counter->name);
            sql_bind_integer(c->upserts[i], 2, counter->events);
            err_t err = sql_finish(c->upserts[i], et);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    start_batch(c);
    return ERR_OK;
}

static void counts_forget(struct model *m)
{
    start_batch(model_state(m));
}

const struct model_kind model_counts = {
    .name = "counts",
    .batch_events = BATCH_EVENTS,
    .open = counts_open,
    .apply = counts_apply,
    .flush = counts_flush,
    .forget = counts_forget,
    .close = counts_close,
};
