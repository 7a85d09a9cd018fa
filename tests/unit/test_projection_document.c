/* Tests of projections/document.c and script_lua*.c: what a script folds, what survives the way
 * through Lua, and what it cannot do. */
#include "tests/unit/support_model.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char COUNTER[] = "return {\n"
                              "  category = 'order',\n"
                              "  init = function() return {n = 0} end,\n"
                              "  on = {\n"
                              "    Placed = function(state, event)\n"
                              "      state.n = state.n + 1\n"
                              "      state.last = event.data.amount\n"
                              "      return state\n"
                              "    end,\n"
                              "    Gone = function() return nil end,\n"
                              "  },\n"
                              "}\n";

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

static const char *build(struct fixture *f, const char *source)
{
    struct runner *r = test_runner(&f->models, &model_document, source, &TEST_STOP);
    test_run(r, f->store);
    struct runner_status status;
    runner_get_status(r, &status);
    static char fault[ERR_TEXT_MAX];
    snprintf(fault, sizeof fault, "%s", status.fault_text);
    runner_free(r);
    return fault;
}

static const char *documents(struct fixture *f)
{
    return test_query(&f->models, "SELECT key, document FROM documents ORDER BY key");
}

/* Documents by stream, deleted by nil and begun anew after that. */
static void test_fold(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "order-1", "Placed", "{\"amount\":10}");
    test_put(f->store, "order-2", "Placed", "{\"amount\":null}");
    test_put(f->store, "cart-1", "Placed", "{\"amount\":30}");
    test_put(f->store, "order-1", "Placed", "{\"amount\":1.5}");
    test_put(f->store, "order-1", "Seen", "{}");
    assert_string_equal(build(f, COUNTER), "");
    assert_string_equal(documents(f), "order-1|{\"last\":1.5,\"n\":2}\n"
                                      "order-2|{\"last\":null,\"n\":1}\n");
    test_put(f->store, "order-1", "Gone", "{}");
    assert_string_equal(build(f, COUNTER), "");
    assert_string_equal(documents(f), "order-2|{\"last\":null,\"n\":1}\n");
    test_put(f->store, "order-1", "Placed", "{\"amount\":2}");
    test_put(f->store, "order-1", "Gone", "{}");
    test_put(f->store, "order-1", "Placed", "{\"amount\":3}");
    assert_string_equal(build(f, COUNTER), "");
    assert_string_equal(documents(f), "order-1|{\"last\":3,\"n\":1}\n"
                                      "order-2|{\"last\":null,\"n\":1}\n");
    assert_string_equal(test_query(&f->models, "SELECT position FROM documents ORDER BY key"),
                        "9\n2\n");
}

/* key() chooses the documents: one, several, an integer, none. */
static void test_keys(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "s-1", "A", "{\"to\":\"x\"}");
    test_put(f->store, "s-2", "A", "{\"to\":[\"x\",\"y\",\"x\"]}");
    test_put(f->store, "s-3", "A", "{}");
    test_put(f->store, "s-4", "A", "{\"to\":7}");
    static const char source[] =
        "return { key = function(event) return event.data.to end,\n"
        "on = { ['*'] = function(s, e) s[e.stream] = true return s end } }";
    assert_string_equal(build(f, source), "");
    assert_string_equal(documents(f), "7|{\"s-4\":true}\nx|{\"s-1\":true,\"s-2\":true}\n"
                                      "y|{\"s-2\":true}\n");
}

/* What is put into a state comes back as it was. */
static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    static const char *const values[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "999999999999999999",
        "-999999999999999999",
        "1000000000000000000",
        "-1000000000000000000",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "123456789012345678901234567890",
        "1e400",
        "1.5",
        "1e+20",
        "0.1",
        "-0.0",
        "\"\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "\"a\\u0000b\\n\\\"\\\\\"",
        "\"\\\\\"",
        "\"\\\"\"",
        "[]",
        "{}",
        "[[],{},[{}]]",
        "[null,1,null]",
        "{\"a\":null,\"b\":[],\"c\":{\"d\":[1,2,3]}}",
    };
    size_t n = sizeof values / sizeof *values;
    char data[256];
    for (size_t i = 0; i < n; i++) {
        snprintf(data, sizeof data, "{\"v\":%s}", values[i]);
        test_put(f->store, "s", i == 0 ? "First" : "Next", data);
    }
    /* Saved and loaded between the two passes. */
    for (int pass = 0; pass < 2; pass++) {
        assert_string_equal(
            build(f, "return { init = function() return { all = array {} } end, on = {\n"
                     "['*'] = function(s, e) s.all[#s.all + 1] = e.data.v return s end,\n"
                     "Again = function(s, e) s.again = true return s end } }"),
            "");
        test_put(f->store, "s", "Again", "{}");
    }
    struct buf expected;
    buf_init(&expected, 1 << 16);
    buf_put_string(&expected, "{\"again\":true,\"all\":[");
    for (size_t i = 0; i < n; i++) {
        buf_put_format(&expected, "%s%s", i == 0 ? "" : ",", values[i]);
    }
    buf_put_string(&expected, "]}\n");
    buf_put_byte(&expected, '\0');
    assert_string_equal(test_query(&f->models, "SELECT document FROM documents"),
                        (const char *)expected.p);
    buf_done(&expected);
}

/* An event has the names of the API. */
static void test_event_fields(void **state)
{
    struct fixture *f = *state;
    struct command *c = test_command();
    uint8_t id[UUID_BYTES];
    struct bytes tags[] = {BYTES_LITERAL("x"), BYTES_LITERAL("y")};
    test_id(7, id);
    test_add_append(c, "order-a-b", TEST_ANY);
    struct event_draft draft = {.id = bytes_of(id, sizeof id),
                                .type = BYTES_LITERAL("Placed"),
                                .data = BYTES_LITERAL("{\"n\":1}"),
                                .metadata = BYTES_LITERAL("{\"user\":\"7\"}"),
                                .occurred_at = BYTES_LITERAL("2026-01-01T00:00:00Z"),
                                .schema_version = 3,
                                .tag_count = 2,
                                .tags = tags};
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    command_free(c);
    assert_string_equal(
        build(f,
              "return { on = { Placed = function(s, e) return { e.stream, e.category, e.entity,\n"
              "e.type, e.position, e.revision, e.time, e.occurred_at, #e.id, e.data.n,\n"
              "e.metadata.user, e.tags, e.schema_version, e.content_type, e.data.nothing == nil,\n"
              "tostring(null), tostring(e.data), string.format('%05.1f', 1.25) } end } }"),
        "");
    assert_string_equal(
        test_query(&f->models, "SELECT document FROM documents"),
        "[\"order-a-b\",\"order\",\"a-b\",\"Placed\",1,1,\"2023-11-14T22:13:20.000000Z\","
        "\"2026-01-01T00:00:00Z\",36,1,\"7\",[\"x\",\"y\"],3,\"application/json\",true,"
        "\"null\",\"table\",\"001.2\"]\n");
}

/* What is wrong with a script is told with its line. */
static void test_open_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *source, *wanted;
    } cases[] = {
        {"", "must return a table"},
        {"return 1", "must return a table"},
        {"return {}", "'on'"},
        {"return { on = {} }", "no handlers"},
        {"return { on = { A = 1 } }", "functions by event type"},
        {"return { on = { A = function() end }, key = 1 }", "'key' must be a function"},
        {"return { on = { A = function() end }, category = 1 }", "'category'"},
        {"return { on = { A = function() end }, types = {1} }", "'types'"},
        {"x = 1\ny = = 2", "line 2"},
        {"\n\nlocal x = nil + 1", "line 3"},
        {"error('no')", "no"},
        {"error({})", "no text"},
        {"\x1bLua", "binary chunk"},
        {"while true do end", "more steps"},
        {"local t = {} while true do t[#t + 1] = {} end", "more"},
        {"local s = 'x' while true do s = s .. s end", "more memory"},
        {"return ('x'):rep(1 << 40)", "too large"},
        {"return ('x'):rep(1 << 26)", "more memory"},
        {"local function f() return 1 + f() end f()", "more memory"},
        {"local function f(...) return select('#', ...) + f(1, ...) end f()", "more"},
        {"local s = ('a'):rep(10000) return s:find('.-.-.-.-b')", "pattern"},
        {"local s = ('a'):rep(100000) return s:match('a*a*a*b')", "pattern"},
        {"table.sort({3, 1, 2}, function() return true end) while true do end", "line 1"},
        {"io.open('/etc/passwd')", "global 'io'"},
        {"os.exit()", "global 'os'"},
        {"require('x')", "global 'require'"},
        {"load('return 1')()", "global 'load'"},
        {"dofile('/etc/passwd')", "global 'dofile'"},
        {"string.dump(function() end)", "field 'dump'"},
        {"debug.sethook()", "global 'debug'"},
        {"coroutine.create(print)", "global 'coroutine'"},
        {"pcall(error)", "global 'pcall'"},
        {"collectgarbage()", "global 'collectgarbage'"},
        {"getmetatable('').__index = nil", "global 'getmetatable'"},
        {"setmetatable({}, {__gc = function() end})", "global 'setmetatable'"},
        {"math.random()", "field 'random'"},
        {"return string.format('%p', {})", "not allowed"},
        {"return string.format('%s', {})", "expected"},
        {"return next({})", "global 'next'"},
        {"return ('x').y.z", "nil value"},
        {"local function f(n) return {f(n + 1)} end f(1)", "more memory"},
        {"string.rep = nil return ('x'):rep(2)", "nil value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_expect_refused(&model_document, cases[i].source, cases[i].wanted);
    }
}

/* A handler that does what it must not faults at its event, with the line; the one before is
 * kept. */
static void test_handler_faults(void **state)
{
    static const struct {
        const char *body, *wanted;
    } cases[] = {
        {"while true do end", "more steps"},
        {"local t = {} for i = 1, 1 << 30 do t[i] = {i} end", "more"},
        {"local t = {} for i = 1, 1 << 40 do table.insert(t, 1, i) end", "more steps"},
        {"local t = {} for i = 1, 1 << 18 do t[i] = i end while true do table.sort(t) end",
         "steps"},
        {"local x = ('x'):rep(4000000) while true do local y = x:upper() end", "more steps"},
        {"local x = ('x'):rep(4000000) while true do x:find('y', 1, true) end", "more steps"},
        {"return s.x.y", "line 2"},
        {"s.n = 1", "returned nothing"},
        {"return e", "the event itself"},
        {"return {x = e}", "the event itself"},
        {"return {1, nil, 3}", "holes"},
        {"return {1, x = 2}", "holes or named"},
        {"return {[3] = 1}", "neither texts nor 1 to n"},
        {"return 0 / 0", "not finite"},
        {"return 1e999", "not finite"},
        {"return function() end", "cannot hold a function"},
        {"return '\\xff'", "not UTF-8"},
        {"local t = {} t.t = t return t", "nested deeper"},
        {"return ('x'):rep(2000000)", "larger than"},
        {"return e.nothing", "no field 'nothing'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *one;
        char source[512];
        set_up(&one);
        struct fixture *f = one;
        test_put(f->store, "s-1", "Good", "{}");
        test_put(f->store, "s-2", "Bad", "{}");
        test_put(f->store, "s-3", "Good", "{}");
        snprintf(
            source, sizeof source,
            "return { on = { Good = function(s, e) return {ok = true} end, Bad = function(s, e)\n"
            "%s\nend } }",
            cases[i].body);
        const char *fault = build(f, source);
        if (strstr(fault, cases[i].wanted) == NULL || strstr(fault, "event 2 (Bad)") == NULL) {
            fail_msg("%s: '%s' is not in: %s", cases[i].body, cases[i].wanted, fault);
        }
        assert_string_equal(documents(f), "s-1|{\"ok\":true}\n");
        tear_down(&one);
    }
}

/* An event that was kept for later is over then. */
static void test_kept_event(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "s", "A", "{\"n\":1}");
    test_put(f->store, "s", "A", "{\"n\":2}");
    assert_non_null(strstr(build(f, "local kept\nreturn { on = { A = function(s, e)\n"
                                    "if kept then s.n = kept.data.n end kept = e return s end } }"),
                           "this event is over"));
}

/* `pairs` goes in the order of the keys, whatever the seeds of the tables. */
static void test_pairs_order(void **state)
{
    struct fixture *f = *state;
    test_put(f->store, "s", "A", "{\"b\":1,\"a\":2,\"d\":3,\"c\":4}");
    assert_string_equal(
        build(f, "return { on = { A = function(s, e) local all = {}\n"
                 "for k, v in pairs(e.data) do all[#all + 1] = k .. v end\n"
                 "local t = {[2] = 'y', [1] = 'x', z = 0, [true] = 1}\n"
                 "for k in pairs(t) do all[#all + 1] = tostring(k) end return all end } }"),
        "");
    assert_string_equal(test_query(&f->models, "SELECT document FROM documents"),
                        "[\"a2\",\"b1\",\"c4\",\"d3\",\"1\",\"2\",\"z\",\"true\"]\n");
}

/* More states than memory holds at once are written and read back in between. */
static void test_more_states_than_memory(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 60; i++) {
            char stream[16];
            snprintf(stream, sizeof stream, "s-%d", i);
            test_put(f->store, stream, "A", "{}");
        }
    }
    assert_string_equal(
        build(f, "return { init = function() return {n = 0} end, on = { A = function(s, e)\n"
                 "s.text = ('x'):rep(900000) s.n = s.n + 1 return s end } }"),
        "");
    assert_string_equal(test_query(&f->models, "SELECT count(*), min(document ->> 'n'), "
                                               "min(length(document ->> 'text')) FROM documents"),
                        "60|2|900000\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_event_fields, set_up, tear_down),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_handler_faults),
        cmocka_unit_test_setup_teardown(test_kept_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pairs_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_states_than_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
