/* Tests of server/workers.c, workers_models.c, workers_state.c and workers_errors.c: the threads
 * keep what is defined up to the log, swap versions, obey orders, and go on after a restart. */
#include "server/workers.h"

#include <ftw.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define PATIENCE_US INT64_C(60000000)

static const char COUNTING[] =
    "CREATE TABLE t (k INTEGER PRIMARY KEY, n INTEGER);\n"
    "-- @on *\nINSERT INTO t VALUES (1, 1) ON CONFLICT DO UPDATE SET n = n + 1;\n";
static const char TABLE[] = "CREATE TABLE t (p INTEGER PRIMARY KEY);\n"
                            "-- @on *\nINSERT INTO t VALUES (:position);\n";
static const char FAMILY[] = "CREATE TABLE parents (id TEXT PRIMARY KEY);\n"
                             "CREATE TABLE t (p INTEGER PRIMARY KEY, parent TEXT NOT NULL);\n"
                             "-- @on Parent\nINSERT INTO parents VALUES (:entity);\n"
                             "-- @on Child\nINSERT INTO t VALUES (:position,"
                             " (SELECT id FROM parents WHERE id = :entity));\n";

struct fixture {
    struct test_dir dir, data;
    struct store *store;
    struct feed feed;
    struct workers *workers;
    _Atomic size_t moves;
};

static void moved(void *ctx)
{
    struct fixture *f = ctx;
    f->moves++;
}

static void start(struct fixture *f)
{
    struct err_text et = {0};
    feed_init(&f->feed, store_position(f->store));
    const struct workers_options options = {.store = f->store,
                                            .feed = &f->feed,
                                            .dir = f->data.path,
                                            .threads = 2,
                                            .rest_ms = 1,
                                            .counts = true,
                                            .moved = moved,
                                            .ctx = f};
    assert_int_equal(workers_start(&options, &f->workers, &et), ERR_OK);
}

static void stop(struct fixture *f)
{
    workers_stop(f->workers);
    workers_free(f->workers);
    f->workers = NULL;
}

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    test_dir_make(&f.data);
    f.store = test_open(&f.dir);
    start(&f);
    *state = &f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop(f);
    store_close(f->store);
    test_dir_remove(&f->dir);
    assert_int_equal(nftw(f->data.path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    return 0;
}

/* ---- what a server does ---- */

static void change(struct fixture *f, const struct catalog_change *change)
{
    static uint64_t next_id = 1000;
    struct arena arena;
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    arena_init(&arena, 4096, 1 << 20);
    const struct catalog *catalog = workers_begin_change(f->workers);
    assert_int_equal(catalog_make_event(change, &arena, &draft), ERR_OK);
    test_id(next_id++, id);
    draft.id = bytes_of(id, sizeof id);
    struct command *c = test_command();
    assert_int_equal(command_add_system_append(c, BYTES_LITERAL(CATALOG_STREAM),
                                               TEST_AT(catalog_revision(catalog))),
                     ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    command_free(c);
    arena_done(&arena);
    feed_publish(&f->feed, store_position(f->store));
    assert_int_equal(workers_refresh(f->workers), ERR_OK);
    workers_end_change(f->workers);
}

static struct projection *define(struct fixture *f, const char *source, uint64_t version,
                                 bool set_aside)
{
    const struct catalog_definition d = {.kind = &model_table,
                                         .source = bytes_of_string(source),
                                         .policy = {.set_aside = set_aside, .attempts = 1}};
    change(f, &(struct catalog_change){.kind = CATALOG_DEFINED,
                                       .name = BYTES_LITERAL("p"),
                                       .version = version,
                                       .definition = &d});
    return workers_find(f->workers, BYTES_LITERAL("p"));
}

static uint64_t put(struct fixture *f, const char *stream, const char *type)
{
    uint64_t position = test_put(f->store, stream, type, "{}");
    feed_publish(&f->feed, position);
    return position;
}

static struct projection_status status_of(struct fixture *f, struct projection *p)
{
    struct projection_status status;
    assert_true(workers_get_status(f->workers, p, &status));
    return status;
}

/* Fails at a deadline that nothing but a hang reaches. */
static void nap(int64_t since_us)
{
    assert_true(workers_now_us() - since_us < PATIENCE_US);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void wait_ready(struct fixture *f, struct projection *p, uint64_t version)
{
    int64_t since_us = workers_now_us();
    uint64_t position;
    while (status_of(f, p).serving.version != version ||
           workers_readiness(f->workers, p, store_position(f->store), &position) != WORKERS_READY) {
        nap(since_us);
    }
}

static void wait_state(struct fixture *f, struct projection *p, enum runner_state state)
{
    int64_t since_us = workers_now_us();
    while (status_of(f, p).serving.state != state) {
        nap(since_us);
    }
}

static err_t skip_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

static err_t take_number(void *ctx, const struct sql_value *values, unsigned n)
{
    (void)n;
    *(int64_t *)ctx = values[0].integer;
    return ERR_OK;
}

static int64_t ask(struct fixture *f, struct projection *p, const char *sql)
{
    int64_t number = -1;
    struct reader *r;
    struct err_text et = {0};
    uint64_t version, position;
    const struct query_sink sink = {skip_columns, take_number, &number};
    const struct model_query q = {
        .sql = bytes_of_string(sql), .rows_max = 10, .bytes_max = 1 << 20};
    assert_int_equal(workers_take_reader(f->workers, p, &r, &version, &et), ERR_OK);
    assert_int_equal(reader_query(r, &q, &sink, &position, &et), ERR_OK);
    workers_give_reader(f->workers, p, r, version);
    return number;
}

/* ---- tests ---- */

/* What is defined is built, serves, goes along, and is told of; the counts are built in. */
static void test_workers_define(void **state)
{
    struct fixture *f = *state;
    test_fill(f->store, 50, 3);
    feed_publish(&f->feed, 50);
    assert_null(workers_find(f->workers, BYTES_LITERAL("p")));
    struct projection *p = define(f, TABLE, 1, false);
    wait_ready(f, p, 1);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 50);
    put(f, "s", "A");
    wait_ready(f, p, 1);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 51);
    assert_true(f->moves > 0);
    struct projection_status s = status_of(f, p);
    assert_string_equal(s.kind, "table");
    assert_int_equal(s.serving.state, RUNNER_LIVE);
    assert_int_equal(s.serving.lag_events, 0);
    assert_int_equal(s.building.version, 0);
    struct buf source;
    buf_init(&source, 1 << 20);
    assert_true(workers_get_source(f->workers, p, &source));
    assert_true(bytes_equal(buf_bytes(&source), bytes_of_string(TABLE)));
    buf_done(&source);
    struct projection *counts = workers_find(f->workers, BYTES_LITERAL("$counts"));
    assert_ptr_equal(workers_at(f->workers, 0), counts);
    wait_ready(f, counts, 1);
    assert_int_equal(ask(f, counts, "SELECT sum(events) FROM by_type"), 51);
    assert_true(status_of(f, counts).builtin);
}

/* A changed definition is swapped in and can be gone back from; `since` tells readers apart. */
static void test_workers_versions(void **state)
{
    struct fixture *f = *state;
    struct workers_model model;
    struct projection *p = define(f, TABLE, 1, false);
    wait_ready(f, p, 1);
    uint64_t last = put(f, "s", "A");
    wait_ready(f, p, 1);
    define(f, COUNTING, 2, false);
    wait_ready(f, p, 2);
    assert_int_equal(status_of(f, p).previous, 1);
    assert_true(workers_get_model(f->workers, p, &model));
    assert_int_equal(model.version, 2);
    assert_true(model.since >= last && model.position >= model.since);
    change(f, &(struct catalog_change){
                  .kind = CATALOG_ROLLED_BACK, .name = BYTES_LITERAL("p"), .version = 1});
    wait_ready(f, p, 1);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 1);
    assert_int_equal(status_of(f, p).previous, 2);
}

/* An event that was set aside is taken late or discarded; both are seen by readers. */
static void test_workers_errors(void **state)
{
    struct fixture *f = *state;
    struct err_text et = {0};
    struct workers_model before, after;
    struct projection *p = define(f, FAMILY, 1, true);
    wait_ready(f, p, 1);
    uint64_t first = put(f, "f-1", "Child"), second = put(f, "f-2", "Child");
    wait_ready(f, p, 1);
    assert_int_equal(workers_retry_error(f->workers, p, first, &et), ERR_INVALID);
    put(f, "f-1", "Parent");
    wait_ready(f, p, 1);
    assert_true(workers_get_model(f->workers, p, &before));
    assert_int_equal(workers_retry_error(f->workers, p, first, &et), ERR_OK);
    assert_true(workers_get_model(f->workers, p, &after));
    assert_int_equal(after.patches, before.patches + 1);
    assert_int_equal(after.since, after.position);
    assert_int_equal(ask(f, p, "SELECT p FROM t"), first);
    assert_int_equal(workers_retry_error(f->workers, p, first, &et), ERR_NOT_FOUND);
    assert_int_equal(workers_discard_error(f->workers, p, second, &et), ERR_OK);
    assert_int_equal(workers_discard_error(f->workers, p, second, &et), ERR_NOT_FOUND);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 1);
    put(f, "f-1", "Child");
    wait_ready(f, p, 1);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 2);
}

/* A fault is stood at, retried and skipped. */
static void test_workers_faults(void **state)
{
    struct fixture *f = *state;
    struct err_text et = {0};
    struct projection *p = define(f, FAMILY, 1, false);
    wait_ready(f, p, 1);
    assert_int_equal(workers_skip(f->workers, p, &et), ERR_INVALID);
    uint64_t bad = put(f, "f-1", "Child");
    wait_state(f, p, RUNNER_FAULTED);
    struct projection_status s = status_of(f, p);
    assert_int_equal(s.serving.fault_position, bad);
    assert_non_null(strstr(s.serving.fault, "NOT NULL"));
    assert_int_equal(workers_retry(f->workers, p, &et), ERR_OK);
    wait_state(f, p, RUNNER_FAULTED);
    assert_int_equal(workers_skip(f->workers, p, &et), ERR_OK);
    wait_ready(f, p, 1);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 0);
}

/* Paused it stands and answers; deleted it is gone, with its files, and can be defined anew. */
static void test_workers_pause_delete(void **state)
{
    struct fixture *f = *state;
    struct err_text et = {0};
    struct projection_status s;
    struct projection *p = define(f, TABLE, 1, false);
    wait_ready(f, p, 1);
    change(f, &(struct catalog_change){.kind = CATALOG_PAUSED, .name = BYTES_LITERAL("p")});
    assert_int_equal(status_of(f, p).serving.state, RUNNER_PAUSED);
    put(f, "s", "A");
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 0);
    change(f, &(struct catalog_change){.kind = CATALOG_RESUMED, .name = BYTES_LITERAL("p")});
    wait_ready(f, p, 1);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 1);
    size_t moves = f->moves;
    change(f, &(struct catalog_change){.kind = CATALOG_DELETED, .name = BYTES_LITERAL("p")});
    assert_true(f->moves > moves);
    assert_false(workers_get_status(f->workers, p, &s));
    assert_false(workers_get_model(f->workers, p, &(struct workers_model){0}));
    assert_int_equal(workers_retry_error(f->workers, p, 1, &et), ERR_BUSY);
    char path[TEST_PATH_MAX];
    assert_int_equal(access(test_path(&f->data, "models/p@1", path), F_OK), -1);
    assert_ptr_equal(define(f, TABLE, 2, false), p);
    wait_ready(f, p, 2);
    assert_int_equal(ask(f, p, "SELECT count(*) FROM t"), 1);
}

/* After a stop the same version serves, from where it was, and nothing is counted twice. */
static void test_workers_restart(void **state)
{
    struct fixture *f = *state;
    struct projection *p = define(f, COUNTING, 1, false);
    wait_ready(f, p, 1);
    for (uint64_t i = 1; i <= 5; i++) {
        put(f, "s", "A");
        stop(f);
        start(f);
        p = workers_find(f->workers, BYTES_LITERAL("p"));
        assert_int_equal(status_of(f, p).serving.version, 1);
        wait_ready(f, p, 1);
        assert_int_equal(ask(f, p, "SELECT n FROM t"), i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_workers_define, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_workers_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_workers_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_workers_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_workers_pause_delete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_workers_restart, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
