/* Tests of projections/runner.c, model.c and native.c: states, errors, and that every event is in a
 * model exactly once, whatever was killed when. */
#include "tests/unit/support_model.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CRASH_EVENTS 3000
#define CRASHES      40

static const char COUNTING[] =
    "CREATE TABLE t (stream TEXT PRIMARY KEY, n INTEGER, last INTEGER);\n"
    "CREATE TABLE seen (position INTEGER PRIMARY KEY);\n"
    "-- @on *\n"
    "INSERT INTO t VALUES (:stream, 1, :position) ON CONFLICT DO UPDATE"
    " SET n = n + 1, last = excluded.last;\n"
    "INSERT INTO seen VALUES (:position);\n";

/* Fails on events whose data say so. */
static const char PICKY[] = "CREATE TABLE t (p INTEGER PRIMARY KEY, bad CHECK (bad IS NULL));\n"
                            "-- @on *\n"
                            "INSERT INTO t VALUES (:position, :data ->> 'bad');\n";

struct fixture {
    struct test_dir dir, models;
    struct store *store;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    test_dir_make(&f.models);
    f.store = test_open(&f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    test_dir_remove(&f->dir);
    test_model_dir_remove(&f->models);
    return 0;
}

static struct runner_status status_of(struct runner *r)
{
    struct runner_status status;
    runner_get_status(r, &status);
    return status;
}

/* The table of moves, as it is meant. */
static void test_moves(void **state)
{
    (void)state;
    static const struct {
        enum runner_state from;
        enum runner_move move;
        enum runner_state to;
    } allowed[] = {
        {RUNNER_BUILDING, RUNNER_CATCH_UP, RUNNER_LIVE},
        {RUNNER_BUILDING, RUNNER_PAUSE, RUNNER_PAUSED},
        {RUNNER_BUILDING, RUNNER_FAIL, RUNNER_FAULTED},
        {RUNNER_LIVE, RUNNER_CATCH_UP, RUNNER_LIVE},
        {RUNNER_LIVE, RUNNER_PAUSE, RUNNER_PAUSED},
        {RUNNER_LIVE, RUNNER_FAIL, RUNNER_FAULTED},
        {RUNNER_PAUSED, RUNNER_RESUME, RUNNER_BUILDING},
        {RUNNER_FAULTED, RUNNER_RESUME, RUNNER_BUILDING},
        {RUNNER_FAULTED, RUNNER_PAUSE, RUNNER_PAUSED},
        {RUNNER_FAULTED, RUNNER_FAIL, RUNNER_FAULTED},
    };
    size_t found = 0;
    for (int from = 0; from < RUNNER_STATE_COUNT; from++) {
        for (int move = 0; move < RUNNER_MOVE_COUNT; move++) {
            enum runner_state to;
            found += runner_next_state((enum runner_state)from, (enum runner_move)move, &to);
        }
    }
    assert_int_equal(found, sizeof allowed / sizeof *allowed);
    for (size_t i = 0; i < found; i++) {
        enum runner_state to;
        assert_true(runner_next_state(allowed[i].from, allowed[i].move, &to));
        assert_int_equal(to, allowed[i].to);
    }
}

/* It goes along, pauses, resumes, and goes on where it was after it was closed. */
static void test_step_resume(void **state)
{
    struct fixture *f = *state;
    test_fill(f->store, 100, 7);
    struct runner *r = test_runner(&f->models, &model_table, COUNTING, &TEST_STOP);
    assert_int_equal(status_of(r).state, RUNNER_BUILDING);
    test_run(r, f->store);
    assert_int_equal(status_of(r).state, RUNNER_LIVE);
    assert_int_equal(status_of(r).position, 100);
    assert_int_equal(status_of(r).events, 100);
    assert_int_equal(status_of(r).time_us, TEST_TIME_US);
    assert_int_equal(runner_resume(r, NULL), ERR_INVALID);
    assert_int_equal(runner_pause(r), ERR_OK);
    assert_int_equal(runner_pause(r), ERR_INVALID);
    assert_int_equal(runner_resume(r, NULL), ERR_OK);
    runner_free(r);
    test_fill(f->store, 50, 7);
    r = test_runner(&f->models, &model_table, COUNTING, &TEST_STOP);
    test_run(r, f->store);
    assert_int_equal(status_of(r).events, 50);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT sum(n), max(last), count(*) FROM t"),
                        "150|150|7\n");
}

/* What was served once starts as live. */
static void test_served(void **state)
{
    struct fixture *f = *state;
    struct runner *r = test_runner(&f->models, &model_table, COUNTING, &TEST_STOP);
    assert_int_equal(model_set_fact(runner_model(r), MODEL_SERVED, BYTES_LITERAL("7"), NULL),
                     ERR_OK);
    runner_free(r);
    r = test_runner(&f->models, &model_table, COUNTING, &TEST_STOP);
    assert_int_equal(status_of(r).state, RUNNER_LIVE);
    assert_true(bytes_equal(model_fact(runner_model(r), MODEL_SERVED), BYTES_LITERAL("7")));
    runner_free(r);
}

static void put_picky(struct fixture *f)
{
    for (int i = 1; i <= 30; i++) {
        test_put(f->store, "s", "A", i % 10 == 0 ? "{\"bad\":1}" : "{}");
    }
}

/* By the policy set_aside bad events are written down and the others are all there. */
static void test_set_aside(void **state)
{
    struct fixture *f = *state;
    static const struct runner_policy policy = {.set_aside = true, .attempts = 3};
    put_picky(f);
    struct runner *r = test_runner(&f->models, &model_table, PICKY, &policy);
    test_run(r, f->store);
    assert_int_equal(status_of(r).state, RUNNER_LIVE);
    assert_int_equal(status_of(r).position, 30);
    assert_int_equal(status_of(r).events, 27);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT count(*), sum(p) FROM t"), "27|405\n");
    assert_string_equal(test_errors(&f->models),
                        "10|s|A|1700000000000000|3|0|event 10 (A): line 3: CHECK constraint "
                        "failed: bad IS NULL\n"
                        "20|s|A|1700000000000000|3|0|event 20 (A): line 3: CHECK constraint "
                        "failed: bad IS NULL\n"
                        "30|s|A|1700000000000000|3|0|event 30 (A): line 3: CHECK constraint "
                        "failed: bad IS NULL\n");
}

/* By the policy stop it stands before the bad event, also after it was closed; resuming tries
 * again, skipping leaves it out. */
static void test_stop_resume_skip(void **state)
{
    struct fixture *f = *state;
    put_picky(f);
    struct runner *r = test_runner(&f->models, &model_table, PICKY, &TEST_STOP);
    test_run(r, f->store);
    assert_int_equal(status_of(r).position, 9);
    for (uint64_t bad = 10; bad <= 30; bad += 10) {
        assert_int_equal(status_of(r).state, RUNNER_FAULTED);
        assert_int_equal(status_of(r).fault_position, bad);
        assert_int_equal(runner_resume(r, NULL), ERR_OK);
        test_run(r, f->store);
        assert_int_equal(status_of(r).fault_position, bad);
        runner_free(r);
        r = test_runner(&f->models, &model_table, PICKY, &TEST_STOP);
        assert_int_equal(status_of(r).state, RUNNER_FAULTED);
        struct store_view *v;
        assert_int_equal(store_view_open(f->store, &v), ERR_OK);
        assert_int_equal(runner_skip(r, v, NULL), ERR_OK);
        store_view_close(v);
        test_run(r, f->store);
    }
    assert_int_equal(status_of(r).state, RUNNER_LIVE);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT count(*), sum(p) FROM t"), "27|405\n");
    assert_non_null(strstr(test_errors(&f->models), "\n20|s|A|1700000000000000|1|1|event 20"));
}

/* A child whose parent has not come yet fails; SQL that only works once it has. */
static const char FAMILY[] =
    "CREATE TABLE parents (id TEXT PRIMARY KEY);\n"
    "CREATE TABLE children (p INTEGER PRIMARY KEY, parent TEXT NOT NULL);\n"
    "-- @on Parent\n"
    "INSERT INTO parents VALUES (:entity);\n"
    "-- @on Child\n"
    "INSERT INTO children VALUES (:position,"
    " (SELECT id FROM parents WHERE id = :entity));\n";

static err_t retry_error(struct runner *r, struct store *store, uint64_t position,
                         struct err_text *et)
{
    struct store_view *v;
    assert_int_equal(store_view_open(store, &v), ERR_OK);
    err_t err = runner_retry_error(r, v, position, et);
    store_view_close(v);
    return err;
}

/* An event that was set aside is taken later, once, and is off the list; one that fails again stays
 * there, with one more attempt and the newest reason; one that is discarded is off the list. */
static void test_retry_discard(void **state)
{
    struct fixture *f = *state;
    static const struct runner_policy policy = {.set_aside = true, .attempts = 1};
    struct err_text et = {0};
    test_put(f->store, "f-1", "Child", "{}");
    test_put(f->store, "f-2", "Child", "{}");
    test_put(f->store, "f-3", "Child", "{}");
    test_put(f->store, "f-1", "Parent", "{}");
    struct runner *r = test_runner(&f->models, &model_table, FAMILY, &policy);
    test_run(r, f->store);
    int64_t time_us = status_of(r).time_us;
    assert_int_equal(retry_error(r, f->store, 2, &et), ERR_INVALID);
    assert_non_null(strstr(et.text, "event 2 (Child): line 6: NOT NULL"));
    assert_int_equal(retry_error(r, f->store, 1, &et), ERR_OK);
    assert_int_equal(retry_error(r, f->store, 1, &et), ERR_NOT_FOUND);
    assert_int_equal(retry_error(r, f->store, 4, &et), ERR_NOT_FOUND);
    assert_int_equal(runner_discard_error(r, 3, &et), ERR_OK);
    assert_int_equal(runner_discard_error(r, 3, &et), ERR_NOT_FOUND);
    assert_int_equal(status_of(r).position, 4);
    assert_int_equal(status_of(r).time_us, time_us);
    /* It goes on as if nothing had been. */
    test_put(f->store, "f-1", "Child", "{}");
    test_run(r, f->store);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT p, parent FROM children ORDER BY p"),
                        "1|1\n5|1\n");
    assert_string_equal(test_errors(&f->models),
                        "2|f-2|Child|1700000000000000|2|0|event 2 (Child): line 6: NOT NULL "
                        "constraint failed: children.parent\n");
    r = test_runner(&f->models, &model_table, FAMILY, &policy);
    assert_int_equal(retry_error(r, f->store, 2, &et), ERR_INVALID);
    runner_free(r);
}

/* What a document's handler fails on, and what only shows when it is written: neither changes the
 * document nor the list. */
static void test_retry_documents(void **state)
{
    struct fixture *f = *state;
    static const char script[] =
        "return { on = { Set = function(s, e) if e.data.bad and not s.open then error('shut') end"
        " s.n = (s.n or 0) + 1 s.v = e.data.nan and 0/0 or s.n return s end,"
        " Open = function(s) s.open = true return s end } }";
    static const struct runner_policy policy = {.set_aside = true, .attempts = 1};
    struct err_text et = {0};
    test_put(f->store, "s", "Set", "{}");
    test_put(f->store, "s", "Set", "{\"bad\":true}");
    test_put(f->store, "s", "Set", "{\"nan\":true}");
    test_put(f->store, "s", "Open", "{}");
    struct runner *r = test_runner(&f->models, &model_document, script, &policy);
    test_run(r, f->store);
    assert_int_equal(retry_error(r, f->store, 3, &et), ERR_INVALID);
    assert_string_equal(test_query(&f->models, "SELECT document ->> 'n', position FROM documents"),
                        "1|4\n");
    assert_int_equal(retry_error(r, f->store, 2, &et), ERR_OK);
    assert_string_equal(test_query(&f->models, "SELECT document ->> 'n', position FROM documents"),
                        "2|4\n");
    runner_free(r);
    assert_non_null(strstr(test_errors(&f->models), "3|s|Set|1700000000000000|2|0|"));
}

static bool every_tenth(void *ctx)
{
    size_t *n = ctx;
    return ++*n % 10 == 0;
}

/* A batch can be ended early, and is committed then. */
static void test_step_enough(void **state)
{
    struct fixture *f = *state;
    test_fill(f->store, 25, 3);
    struct runner *r = test_runner(&f->models, &model_table, COUNTING, &TEST_STOP);
    static const uint64_t expected[] = {10, 20, 25};
    bool caught_up = false;
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        struct store_view *v;
        assert_false(caught_up);
        assert_int_equal(store_view_open(f->store, &v), ERR_OK);
        assert_int_equal(runner_step(r, v, every_tenth, &n, &caught_up, NULL), ERR_OK);
        store_view_close(v);
        assert_int_equal(status_of(r).position, expected[i]);
    }
    assert_true(caught_up);
    runner_free(r);
}

/* The built-in counts are those of the log, over more than one batch. */
static void test_counts(void **state)
{
    struct fixture *f = *state;
    test_fill(f->store, 700, 11);
    struct runner *r = test_runner(&f->models, &model_counts, "", &TEST_STOP);
    test_run(r, f->store);
    test_fill(f->store, 300, 11);
    test_put(f->store, "other", "T0", "{}");
    test_run(r, f->store);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_type"),
                        "T0|334\nT1|334\nT2|333\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_category"), "other|1\ns|1000\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM by_day"), "2023-11-14|1001\n");
    assert_string_equal(
        test_query(&f->models, "SELECT count(*), sum(events), min(events) FROM by_stream"),
        "12|1001|1\n");
    assert_string_equal(test_query(&f->models, "SELECT events FROM by_stream WHERE stream = 's-1'"),
                        "91\n");
}

/* ---- crashes ---- */

/* Runs in small batches until it is killed or done. */
_Noreturn static void run_until_killed(struct fixture *f, const struct model_kind *kind,
                                       const char *source, int started)
{
    struct store *s = test_open(&f->dir);
    struct runner *r = test_runner(&f->models, kind, source, &TEST_STOP);
    bool caught_up = false;
    size_t n = 0;
    (void)!write(started, "x", 1);
    while (!caught_up) {
        struct store_view *v;
        if (store_view_open(s, &v) != ERR_OK ||
            runner_step(r, v, every_tenth, &n, &caught_up, NULL) != ERR_OK) {
            _exit(1);
        }
        store_view_close(v);
    }
    _exit(0);
}

/* Starts a child that builds, and kills it after some microseconds. True where it was done. */
static bool crash_once(struct fixture *f, const struct model_kind *kind, const char *source,
                       useconds_t after_us)
{
    int started[2];
    char byte;
    assert_int_equal(pipe(started), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(started[0]);
        run_until_killed(f, kind, source, started[1]);
    }
    close(started[1]);
    assert_int_equal(read(started[0], &byte, 1), 1);
    close(started[0]);
    usleep(after_us);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return !WIFSIGNALED(status);
}

/* Wherever it is killed, what is there equals what was taken: nothing twice, nothing missing. Each
 * finished model is compared with the log and removed, and the next one is begun. */
static void crash_often(struct fixture *f, const struct model_kind *kind, const char *source,
                        const char *check, const char *final, const char *expected)
{
    uint64_t random = test_seed();
    const char *wanted = getenv("DAYBOOK_TEST_CRASHES");
    unsigned long crashes = wanted != NULL ? strtoul(wanted, NULL, 10) : CRASHES;
    test_fill(f->store, CRASH_EVENTS, 50);
    store_close(f->store);
    while (crashes > 0) {
        if (crash_once(f, kind, source, (useconds_t)test_below(&random, 3000))) {
            char path[TEST_PATH_MAX];
            assert_string_equal(test_query(&f->models, final), expected);
            assert_int_equal(model_remove(test_path(&f->models, "model", path)), ERR_OK);
        } else {
            assert_string_equal(test_query(&f->models, check), "1\n");
            crashes--;
        }
    }
    f->store = test_open(&f->dir);
    struct runner *r = test_runner(&f->models, kind, source, &TEST_STOP);
    test_run(r, f->store);
    runner_free(r);
    assert_string_equal(test_query(&f->models, final), expected);
}

static void test_crash_table(void **state)
{
    crash_often(*state, &model_table, COUNTING,
                "SELECT (SELECT coalesce(sum(n), 0) FROM t) = count(*) AND "
                "coalesce(max(position), 0) = count(*) FROM seen",
                "SELECT sum(n), max(last), count(*), (SELECT count(*) FROM seen) FROM t",
                "3000|3000|50|3000\n");
}

static void test_crash_counts(void **state)
{
    crash_often(*state, &model_counts, "",
                "SELECT (SELECT coalesce(sum(events), 0) FROM by_stream) = coalesce(sum(events), 0)"
                " FROM by_type",
                "SELECT count(*), min(events), max(events), (SELECT max(events) FROM by_type)"
                " FROM by_stream",
                "50|60|60|1000\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test_setup_teardown(test_step_resume, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_set_aside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_resume_skip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_discard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_documents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_step_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_crash_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_crash_counts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
