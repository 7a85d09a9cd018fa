/* Tests of projections/group_catalog.c and group_json.c: what is written into the log is what is
 * read from it, limits name their field, and what is not understood is passed over. */
#include "projections/group_catalog.h"
#include "projections/group_json.h"

#include "tests/unit/support.h"

#include <cmocka.h>

static struct event_draft make(struct arena *arena, const struct group_change *change)
{
    struct event_draft draft;
    arena_init(arena, 4096, 1 << 22);
    assert_int_equal(group_make_event(change, arena, &draft), ERR_OK);
    return draft;
}

static void expect_names(const struct bytes *a, size_t n, const struct bytes *b, size_t m)
{
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        assert_true(bytes_equal(a[i], b[i]));
    }
}

/* Every setting comes back, names with quotes and control-free oddities too. */
static void test_group_definition_roundtrip(void **state)
{
    (void)state;
    struct bytes types[] = {BYTES_LITERAL("A \"quoted\\\" one"), BYTES_LITERAL("\xc3\xa4/b")};
    struct bytes one = BYTES_LITERAL("x-1"), tag = BYTES_LITERAL("k:v,]}");
    struct group_settings s = {
        .filter = {.types = types,
                   .type_count = 2,
                   .categories = &one,
                   .category_count = 1,
                   .prefixes = &one,
                   .prefix_count = 1,
                   .tags = &tag,
                   .tag_count = 1},
        .ordering = GROUP_ORDER_NONE,
        .on_park = GROUP_PARK_CONTINUE,
        .ack_timeout_us = 1500000,
        .max_attempts = 3,
        .backoff_initial_us = 7,
        .backoff_max_us = 8000000,
        .max_in_flight = 17,
        .paused = true,
        .push = BYTES_LITERAL("{\"url\":\"http://a/]}\",\"n\":[1,{\"b\":null}]}")};
    struct group_change change = {.kind = GROUP_DEFINED,
                                  .name = BYTES_LITERAL("g.1"),
                                  .settings = &s,
                                  .position = UINT64_MAX};
    struct arena arena;
    struct group_said said;
    assert_int_equal(group_settings_check(&s, NULL), ERR_OK);
    struct event_draft draft = make(&arena, &change);
    assert_int_equal(group_read_event(draft.type, draft.data, &said), ERR_OK);
    const struct group_settings *r = &said.settings;
    assert_true(bytes_equal(said.change.name, change.name));
    assert_true(said.change.position == UINT64_MAX && said.change.settings == r);
    expect_names(r->filter.types, r->filter.type_count, types, 2);
    expect_names(r->filter.categories, r->filter.category_count, &one, 1);
    expect_names(r->filter.prefixes, r->filter.prefix_count, &one, 1);
    expect_names(r->filter.tags, r->filter.tag_count, &tag, 1);
    assert_true(r->ordering == s.ordering && r->on_park == s.on_park && r->paused);
    assert_true(r->ack_timeout_us == s.ack_timeout_us && r->max_attempts == 3);
    assert_true(r->backoff_initial_us == 7 && r->backoff_max_us == 8000000);
    assert_true(r->max_in_flight == 17 && bytes_equal(r->push, s.push));
    group_said_done(&said);
    arena_done(&arena);
}

/* The other changes. */
static void test_group_changes_roundtrip(void **state)
{
    (void)state;
    uint64_t positions[] = {3, 1, UINT64_MAX};
    struct group_change acked = {.kind = GROUP_ACKED,
                                 .name = BYTES_LITERAL("g"),
                                 .group_id = 9,
                                 .positions = positions,
                                 .position_count = 3};
    struct group_change seek = {.kind = GROUP_SEEKED, .name = BYTES_LITERAL("g"), .position = 12};
    struct arena arena;
    struct group_said said;
    struct event_draft draft = make(&arena, &acked);
    assert_true(bytes_equal(draft.type, BYTES_LITERAL("$acked")));
    assert_int_equal(group_read_event(draft.type, draft.data, &said), ERR_OK);
    assert_int_equal(said.change.position_count, 3);
    assert_memory_equal(said.change.positions, positions, sizeof positions);
    assert_int_equal(said.change.group_id, 9);
    group_said_done(&said);
    arena_done(&arena);
    draft = make(&arena, &seek);
    assert_int_equal(group_read_event(draft.type, draft.data, &said), ERR_OK);
    assert_true(said.change.kind == GROUP_SEEKED && said.change.position == 12);
    group_said_done(&said);
    arena_done(&arena);
}

static err_t read_text(const char *type, const char *text)
{
    struct group_said said;
    err_t err = group_read_event(bytes_of_string(type), bytes_of_string(text), &said);
    if (err == ERR_OK) {
        group_said_done(&said);
    }
    return err;
}

/* Members of a newer binary do not matter; damage, and events of other kinds, are passed over. */
static void test_group_read_event_oddities(void **state)
{
    (void)state;
    static const char *const WRONG[] = {
        "",
        "{",
        "[]",
        "{\"group\":\"g\"",
        "{\"group\":7}",
        "{\"group\":\"g\",}",
        "{\"group\":\"a/b\"}",
        "{\"group\":\"g\" \"x\":1}",
        "{\"group\":\"g\\q\"}",
        "{\"group\":\"g\",\"max_attempts\":0}",
        "{\"group\":\"g\",\"max_attempts\":99999999999}",
        "{\"group\":\"g\",\"ordering\":\"some\"}",
        "{\"group\":\"g\",\"paused\":1}",
        "{\"group\":\"g\",\"position\":99999999999999999999}",
        "{\"group\":\"g\",\"x\":[[}",
        "{\"group\":\"g\",\"filter\":{\"type\":[\"$x\"]}}",
        "{\"group\":\"\\",
    };
    assert_int_equal(read_text("$group-deleted", " { \"group\" : \"g\" , \"new\" : "
                                                 "[1,{\"a\":\"]\"},null] } "),
                     ERR_OK);
    assert_int_equal(read_text("$group-defined", "{\"group\":\"\\u0067\"}"), ERR_OK);
    assert_int_equal(read_text("$other", "{\"group\":\"g\"}"), ERR_UNSUPPORTED);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        assert_int_equal(read_text("$group-defined", WRONG[i]), ERR_UNSUPPORTED);
    }
}

/* Cutting the text of an event anywhere is damage, not a crash. */
static void test_group_read_event_cut(void **state)
{
    (void)state;
    struct group_settings s = group_settings_default();
    struct bytes type = BYTES_LITERAL("T\"");
    s.filter.types = &type;
    s.filter.type_count = 1;
    struct group_change change = {
        .kind = GROUP_DEFINED, .name = BYTES_LITERAL("g"), .settings = &s};
    struct arena arena;
    struct group_said said;
    struct event_draft draft = make(&arena, &change);
    for (size_t n = 0; n < draft.data.n; n++) {
        err_t err = group_read_event(draft.type, bytes_of(draft.data.p, n), &said);
        assert_int_equal(err, ERR_UNSUPPORTED);
    }
    arena_done(&arena);
}

static void expect_refused(const struct group_settings *s, const char *field)
{
    struct err_text et = {0};
    assert_int_equal(group_settings_check(s, &et), ERR_INVALID);
    if (strstr(et.text, field) == NULL) {
        fail_msg("\"%s\" does not name %s", et.text, field);
    }
}

/* Each limit is refused by the name of its field. */
static void test_group_settings_limits(void **state)
{
    (void)state;
    static uint8_t big[GROUP_PUSH_MAX + 1];
    struct group_settings d = group_settings_default(), s = d;
    struct bytes bad = BYTES_LITERAL("$x");
    assert_int_equal(group_settings_check(&s, NULL), ERR_OK);
    s.ack_timeout_us = 1, expect_refused(&s, "ack_timeout_s"), s = d;
    s.max_attempts = 0, expect_refused(&s, "max_attempts"), s = d;
    s.backoff_max_us = GROUP_BACKOFF_MAX + 1, expect_refused(&s, "backoff.max_s"), s = d;
    s.backoff_initial_us = s.backoff_max_us + 1, expect_refused(&s, "backoff.initial_s"), s = d;
    s.max_in_flight = GROUP_IN_FLIGHT_MAX + 1, expect_refused(&s, "max_in_flight"), s = d;
    s.push = bytes_of(big, sizeof big), expect_refused(&s, "push"), s = d;
    s.filter.tags = &bad, s.filter.tag_count = 1, expect_refused(&s, "filter.tag"), s = d;
    s.filter.prefixes = &bad, s.filter.prefix_count = 1, expect_refused(&s, "filter.prefix");
    s = d, s.filter.types = &bad, s.filter.type_count = 65, expect_refused(&s, "filter.type");
    s = d, s.filter.system = true, expect_refused(&s, "filter");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_definition_roundtrip),
        cmocka_unit_test(test_group_changes_roundtrip),
        cmocka_unit_test(test_group_read_event_oddities),
        cmocka_unit_test(test_group_read_event_cut),
        cmocka_unit_test(test_group_settings_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
