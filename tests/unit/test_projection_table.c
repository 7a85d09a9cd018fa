/* Tests of projections/table.c, sql.c and query.c: what a script may do, what it may not, and what
 * queries may not. */
#include "tests/unit/support_model.h"

#include <time.h>

#include <cmocka.h>

static const char ORDERS[] =
    "-- Totals of orders.\n"
    "-- @category order\n"
    "CREATE TABLE totals (id TEXT PRIMARY KEY, amount INTEGER, paid INTEGER DEFAULT 0);\n"
    "CREATE INDEX by_amount ON totals (amount);\n"
    "CREATE VIEW unpaid AS SELECT id FROM totals WHERE paid = 0;\n"
    "-- @on Placed, Changed\n"
    "INSERT INTO totals (id, amount) VALUES (:entity, :data ->> 'amount')\n"
    "  ON CONFLICT DO UPDATE SET amount = excluded.amount;\n"
    "-- @on Paid\n"
    "UPDATE totals SET paid = 1 WHERE id = :entity;\n";

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

/* Builds the model from what is in the store, and closes it. */
static void build(struct fixture *f, const char *source)
{
    struct runner *r = test_runner(&f->models, &model_table, source, &TEST_STOP);
    test_run(r, f->store);
    runner_free(r);
}

/* Events of the listed types change the tables, others do not. */
static void test_apply_blocks(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "order-1", "Placed", "{\"amount\":10}");
    test_put(f->store, "order-2", "Placed", "{\"amount\":20}");
    test_put(f->store, "cart-3", "Placed", "{\"amount\":30}");
    test_put(f->store, "order-1", "Changed", "{\"amount\":11}");
    test_put(f->store, "order-1", "Seen", "{}");
    test_put(f->store, "order-2", "Paid", "{}");
    build(f, ORDERS);
    assert_string_equal(test_query(&f->models, "SELECT * FROM totals ORDER BY id"),
                        "1|11|0\n2|20|1\n");
    assert_string_equal(test_query(&f->models, "SELECT * FROM unpaid"), "1\n");
}

/* Every parameter has the value that the API shows. */
static void test_apply_parameters(void **state)
{
    struct fixture *f = *state;
    struct command *c = test_command();
    uint8_t id[UUID_BYTES];
    test_id(7, id);
    test_add_append(c, "order-a-b", TEST_ANY);
    struct event_draft draft = {.id = bytes_of(id, sizeof id),
                                .type = BYTES_LITERAL("Placed"),
                                .data = BYTES_LITERAL("{\"n\":1.10}"),
                                .metadata = BYTES_LITERAL("{\"user\":\"7\"}"),
                                .occurred_at = BYTES_LITERAL("2026-01-01T00:00:00Z")};
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    draft = (struct event_draft){.id = bytes_of(id, sizeof id),
                                 .type = BYTES_LITERAL("Blob"),
                                 .data = BYTES_LITERAL("abc"),
                                 .content_type = BYTES_LITERAL("text/plain")};
    id[15]++;
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    command_free(c);
    build(f, "CREATE TABLE e (a, b, c, d, e, f, g, h, i, j, k, now);\n"
             "-- @on *\n"
             "INSERT INTO e VALUES (:stream, :entity, :category, :type, :revision, :position,"
             " :time, :occurred_at, length(:id), :data, :metadata, datetime('now'));");
    assert_string_equal(
        test_query(&f->models, "SELECT * FROM e ORDER BY f"),
        "order-a-b|a-b|order|Placed|1|1|2023-11-14T22:13:20.000000Z|2026-01-01T00:00:00Z|36|"
        "{\"n\":1.10}|{\"user\":\"7\"}|2023-11-14 22:13:20\n"
        "order-a-b|a-b|order|Blob|2|2|2023-11-14T22:13:20.000000Z|-|36|abc|-|"
        "2023-11-14 22:13:20\n");
    assert_string_equal(test_query(&f->models, "SELECT typeof(j) FROM e ORDER BY f"),
                        "text\nblob\n");
}

/* Blocks of one type run in the script's order, `*` among them. */
static void test_apply_order_of_blocks(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "s", "A", "{}");
    test_put(f->store, "s", "B", "{}");
    build(f, "CREATE TABLE log (n INTEGER PRIMARY KEY, what TEXT);\n"
             "-- @on A\nINSERT INTO log (what) VALUES ('1' || :type);\n"
             "-- @on *\nINSERT INTO log (what) VALUES ('2' || :type);\n"
             "-- @on B, A\nINSERT INTO log (what) VALUES ('3' || :type);\n"
             "INSERT INTO log (what) VALUES ('4' || :type);\n");
    assert_string_equal(test_query(&f->models, "SELECT what FROM log ORDER BY n"),
                        "1A\n2A\n3A\n4A\n2B\n3B\n4B\n");
}

/* What is wrong with a script is told with its line. */
static void test_open_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *source, *wanted;
    } cases[] = {
        {"CREATE TABLE t (a);\n", "no block"},
        {"CREATE TABLE t (a);\n\nCREATE TALE u;\n-- @on A\nDELETE FROM t;", "line 3"},
        {"CREATE TABLE t (a);\n-- @on A\n\n-- why\nINSERT INTO t\nVALUES (:nothing);", "line 5"},
        {"CREATE TABLE t (a);\n-- @on A\nINSERT INTO t VALUES (:nothing);", "parameter :nothing"},
        {"CREATE TABLE t (a);\n-- @on A\nINSERT INTO t VALUES (?);", "needs a name"},
        {"CREATE TABLE t (a);\n-- @on A\nINSERT INTO u VALUES (1);", "no such table"},
        {"CREATE TABLE t (a);\n-- @on A\nINSERT INTO t VALUES (\"x\");", "line 3"},
        {"CREATE TABLE t (a);\n-- @on\nDELETE FROM t;", "no name"},
        {"CREATE TABLE t (a);\n-- @on $x\nDELETE FROM t;", "no name"},
        {"CREATE TABLE t (a);\n-- @when A\nDELETE FROM t;", "line 2: unknown directive @when"},
        {"CREATE TABLE _daybook_x (a);\n-- @on A\nSELECT 1;", "not allowed"},
        {"CREATE TABLE t (a);\nINSERT INTO t VALUES (1);\n-- @on A\nSELECT 1;", "not allowed"},
        {"DROP TABLE _daybook_facts;\n-- @on A\nSELECT 1;", "not allowed"},
        {"CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END;\n-- @on A\nSELECT 1;", "line 1"},
        {"CREATE VIRTUAL TABLE t USING fts5(a);\n-- @on A\nSELECT 1;", "not allowed"},
        {"CREATE TEMP TABLE t (a);\n-- @on A\nSELECT 1;", "not allowed"},
        {"PRAGMA journal_mode = DELETE;\n-- @on A\nSELECT 1;", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nATTACH 'x' AS y;", "not allowed here: ATTACH"},
        {"CREATE TABLE t (a);\n-- @on A\nPRAGMA user_version = 1;", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nDROP TABLE t;", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nCREATE TABLE u (a);", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nCOMMIT;", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nSAVEPOINT x;", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nVACUUM INTO '/tmp/x';", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nSELECT load_extension('x');", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nINSERT INTO t VALUES (random());", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nUPDATE _daybook_facts SET value = 0;", "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nINSERT INTO t SELECT value FROM _daybook_facts;",
         "not allowed"},
        {"CREATE TABLE t (a);\n-- @on A\nSELECT readfile('/etc/passwd');", "no such function"},
        {"CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
         " i FROM n;\n-- @on A\nSELECT 1;",
         "more steps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_expect_refused(&model_table, cases[i].source, cases[i].wanted);
    }
}

/* A directive in a quoted text or a comment is none. */
static void test_open_quoted_directives(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "s", "A", "{}");
    build(f, "/* a comment\n-- @on Never\n*/ CREATE TABLE t (a);\n"
             "-- @on A\nINSERT INTO t VALUES ('it''s\n-- @on B\n');\n"
             "-- @end\nCREATE TABLE [u\n-- @on C\n] (a);");
    assert_string_equal(test_query(&f->models, "SELECT length(a) FROM t"), "14\n");
}

/* A handler that fails stops the projection at the event and says which line it was; what came
 * before it is there, its own part is not. */
static void test_fault(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        test_put(f->store, "s", "A", i == 13 ? "{\"n\":1}" : "{}");
    }
    static const char source[] = "CREATE TABLE t (p);\nCREATE TABLE u (n CHECK (n IS NULL));\n"
                                 "-- @on A\nINSERT INTO t VALUES (:position);\n\n"
                                 "INSERT INTO u VALUES (:data ->> 'n');\n";
    build(f, source);
    assert_string_equal(test_query(&f->models, "SELECT count(*), max(p) FROM t"), "13|13\n");
    struct runner *r = test_runner(&f->models, &model_table, source, &TEST_STOP);
    struct runner_status status;
    runner_get_status(r, &status);
    assert_int_equal(status.state, RUNNER_FAULTED);
    assert_int_equal(status.fault_position, 14);
    assert_string_equal(status.fault_text, "event 14 (A): line 6: CHECK constraint failed: n IS "
                                           "NULL");
    runner_free(r);
}

/* A handler without end meets its budget. */
static void test_handler_budget(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "s", "A", "{}");
    test_put(f->store, "s", "B", "{}");
    static const struct runner_policy set_aside = {.set_aside = true, .attempts = 1};
    struct runner *r = test_runner(
        &f->models, &model_table,
        "CREATE TABLE t (a);\n-- @on A\nINSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
        "SELECT i + 1 FROM n) SELECT i FROM n;\n-- @on B\nINSERT INTO t VALUES (:type);",
        &set_aside);
    test_run(r, f->store);
    runner_free(r);
    assert_string_equal(test_query(&f->models, "SELECT a FROM t"), "B\n");
    assert_non_null(strstr(test_errors(&f->models), "more steps than it may"));
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

/* A query can do nothing but read the script's tables. */
static void test_query_refuses(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *sql, *wanted;
    } cases[] = {
        {"", "no statement"},
        {" -- nothing\n;", "no statement"},
        {"SELECT 1; SELECT 2", "more than one statement"},
        {"SELECT 1; x", "more than one statement"},
        {"SELEC 1", "syntax error"},
        {"SELECT :x", "1 parameters"},
        {"DELETE FROM totals", "not allowed"},
        {"INSERT INTO totals VALUES (1, 2, 3)", "not allowed"},
        {"CREATE TABLE x (a)", "not allowed"},
        {"CREATE TEMP TABLE x (a)", "not allowed"},
        {"ATTACH '/tmp/x' AS x", "not allowed here: ATTACH"},
        {"PRAGMA user_version = 1", "not allowed"},
        {"PRAGMA query_only = OFF", "not allowed"},
        {"PRAGMA wal_checkpoint", "not allowed"},
        {"VACUUM INTO '/tmp/x'", "not allowed"},
        {"BEGIN IMMEDIATE", "not allowed"},
        {"COMMIT", "not allowed"},
        {"SELECT load_extension('x')", "not a"},
        {"SELECT readfile('/etc/passwd')", "no such function"},
        {"SELECT * FROM _daybook_facts", "not allowed"},
        {"SELECT count(*) FROM _daybook_errors", "not allowed"},
        {"SELECT * FROM pragma_journal_mode('x')", "error"},
        {"SELECT zeroblob(100000000)", "too big"},
    };
    build(f, ORDERS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer = test_query(&f->models, cases[i].sql);
        if (strstr(answer, "error") != answer || strstr(answer, cases[i].wanted) == NULL) {
            fail_msg("%s: '%s' is not in: %s", cases[i].sql, cases[i].wanted, answer);
        }
    }
    assert_string_equal(test_query(&f->models, "SELECT name FROM pragma_table_info('totals')"),
                        "id\namount\npaid\n");
}

/* Bombs end at the limit of rows, or when whoever waits says so. */
static void test_query_limits(void **state)
{
    struct fixture *f = *state;
    static const char bomb[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                               "SELECT i FROM n";
    build(f, ORDERS);
    assert_string_equal(test_query_within(&f->models, bomb, 1000, NULL, NULL),
                        "error: LIMIT: the answer has more than 1000 rows");
    assert_string_equal(test_query_within(&f->models, bomb, UINT64_MAX, always, NULL),
                        "error: CLOSED: it was cancelled");
    assert_string_equal(
        test_query_within(&f->models,
                          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                          "SELECT i FROM n ORDER BY i DESC",
                          UINT64_MAX, always, NULL),
        "error: CLOSED: it was cancelled");
    const char *bytes = test_query(&f->models, "SELECT hex(zeroblob(1000000)), "
                                               "hex(zeroblob(1000000))");
    assert_string_equal(bytes, "error: LIMIT: the answer has more than 1048576 bytes");
}

/* A reader sees the last commit, whole, while the writer is in the middle of a batch. */
static void test_query_beside_writer(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "order-1", "Placed", "{\"amount\":10}");
    struct runner *r = test_runner(&f->models, &model_table, ORDERS, &TEST_STOP);
    test_run(r, f->store);
    test_put(f->store, "order-2", "Placed", "{\"amount\":10}");
    struct store_view *v;
    struct store_record record;
    struct event e;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_get_event(v, 2, &record), ERR_OK);
    assert_int_equal(store_record_decode(&record, &e), ERR_OK);
    struct model *m = runner_model(r);
    assert_int_equal(model_begin(m, NULL), ERR_OK);
    assert_int_equal(model_apply(m, &e, NULL), ERR_OK);
    assert_string_equal(test_query(&f->models, "SELECT count(*) FROM totals"), "1\n");
    assert_int_equal(model_commit(m, 2, NULL), ERR_OK);
    assert_string_equal(test_query(&f->models, "SELECT count(*) FROM totals"), "2\n");
    store_view_close(v);
    runner_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_apply_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_apply_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_apply_order_of_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_open_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_open_quoted_directives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_handler_budget, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_query_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_query_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_query_beside_writer, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
