/* What an append must be like, whichever encoding it came in, and the command that is made of
 * it. */
#include "server/draft.h"

#include "server/base64.h"
#include "server/etag.h"
#include "server/ids.h"
#include "server/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct app_limits limits = {
    .event_bytes_max = 100, .body_bytes_max = 1u << 20, .append_events_max = 50};

struct made {
    struct arena arena;
    struct draft draft;
    struct draft_append *append;
    struct draft_event *event;
};

/* A draft that is valid: one append of one event. */
static void make(struct made *m, enum draft_body body)
{
    arena_init(&m->arena, 4096, 1u << 20);
    draft_init(&m->draft, body, &limits, &m->arena);
    m->append = draft_add_append(&m->draft);
    m->append->stream = BYTES_LITERAL("s-1");
    m->event = draft_add_event(&m->draft, m->append);
    m->event->fields.type = BYTES_LITERAL("T");
}

static void assert_valid(struct made *m)
{
    bool ok = draft_check(&m->draft);
    if (!ok) {
        fail_msg("%s: %s", m->draft.rejection.field, m->draft.rejection.detail);
    }
    arena_done(&m->arena);
}

static void assert_rejected(struct made *m, enum problem problem, const char *field)
{
    assert_false(draft_check(&m->draft));
    assert_string_equal(m->draft.rejection.field, field);
    assert_int_equal(m->draft.rejection.problem, problem);
    assert_true(m->draft.rejection.detail[0] != '\0');
    arena_done(&m->arena);
}

static void test_names(void **state)
{
    (void)state;
    static uint8_t long_name[EVENT_NAME_MAX + 1];
    memset(long_name, 'x', sizeof long_name);
    const struct {
        struct bytes name;
        int problem; /* -1: valid */
    } cases[] = {
        {BYTES_LITERAL("a"), -1},
        {bytes_of(long_name, EVENT_NAME_MAX), -1},
        {BYTES_LITERAL("\xf0\x9f\x98\x80 /?%"), -1},
        {bytes_of(long_name, sizeof long_name), PROBLEM_INVALID_NAME},
        {bytes_of("", 0), PROBLEM_INVALID_NAME},
        {BYTES_LITERAL("a\0b"), PROBLEM_INVALID_NAME},
        {BYTES_LITERAL("a\nb"), PROBLEM_INVALID_NAME},
        {BYTES_LITERAL("\x7f"), PROBLEM_INVALID_NAME},
        {BYTES_LITERAL("\xc2\x80"), PROBLEM_INVALID_NAME},
        {BYTES_LITERAL("\xff"), PROBLEM_INVALID_NAME},
        {BYTES_LITERAL("$a"), PROBLEM_RESERVED_NAME},
        {BYTES_NONE, PROBLEM_MISSING_FIELD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made stream;
        struct made type;
        make(&stream, DRAFT_APPEND);
        make(&type, DRAFT_APPEND);
        stream.append->stream = cases[i].name;
        type.event->fields.type = cases[i].name;
        if (cases[i].problem == -1) {
            assert_valid(&stream);
            assert_valid(&type);
        } else {
            assert_rejected(&stream, (enum problem)cases[i].problem, "stream");
            assert_rejected(&type, (enum problem)cases[i].problem, "events[0].type");
        }
    }
}

static void test_paths(void **state)
{
    (void)state;
    struct made m;
    make(&m, DRAFT_APPEND_MANY);
    struct draft_append *second = draft_add_append(&m.draft);
    second->stream = BYTES_LITERAL("s");
    (void)draft_add_event(&m.draft, second);
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "appends[1].events[0].type");
    make(&m, DRAFT_COMMAND);
    m.draft.root = "append_many.";
    m.draft.many = true;
    struct draft_append *check = draft_add_check(&m.draft);
    check->stream = BYTES_LITERAL("c");
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "append_many.checks[0].expected_revision");
    make(&m, DRAFT_COMMAND);
    m.draft.root = "append.";
    m.event->fields.type = BYTES_NONE;
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "append.events[0].type");
}

/* One item with these names, and what is said of it. */
static void check_item(const struct condition_item *item, enum problem problem, const char *field)
{
    struct made m;
    make(&m, DRAFT_APPEND_MANY);
    m.draft.condition.given = m.draft.condition.query_given = true;
    draft_add_item(&m.draft)->fields =
        (struct condition_item){.types = &m.append->stream, .type_count = 1};
    draft_add_item(&m.draft)->fields = *item;
    if (field == NULL) {
        assert_valid(&m);
    } else {
        assert_rejected(&m, problem, field);
    }
}

static void test_condition(void **state)
{
    (void)state;
    struct bytes names[CONDITION_TYPES_MAX + 1];
    struct bytes bad[] = {BYTES_LITERAL("a"), BYTES_LITERAL("")};
    struct bytes system[] = {BYTES_LITERAL("a"), BYTES_LITERAL("b"), BYTES_LITERAL("$x")};
    for (size_t i = 0; i <= CONDITION_TYPES_MAX; i++) {
        names[i] = BYTES_LITERAL("same"); /* twice is once */
    }
#define ITEM "condition.fail_if_events_match.items[1]"
    check_item(&(struct condition_item){.types = names,
                                        .type_count = CONDITION_TYPES_MAX,
                                        .tags = names,
                                        .tag_count = CONDITION_TAGS_MAX},
               0, NULL);
    check_item(&(struct condition_item){0}, PROBLEM_INVALID_FIELD, ITEM);
    check_item(&(struct condition_item){.types = names, .type_count = CONDITION_TYPES_MAX + 1},
               PROBLEM_INVALID_FIELD, ITEM ".types");
    check_item(&(struct condition_item){.tags = names, .tag_count = CONDITION_TAGS_MAX + 1},
               PROBLEM_INVALID_FIELD, ITEM ".tags");
    check_item(&(struct condition_item){.types = bad, .type_count = 2}, PROBLEM_INVALID_NAME,
               ITEM ".types[1]");
    check_item(&(struct condition_item){.tags = system, .tag_count = 3}, PROBLEM_RESERVED_NAME,
               ITEM ".tags[2]");
}

/* A condition guards something, and it alone writes nothing. */
static void test_condition_is_whole(void **state)
{
    (void)state;
    struct made m;
    make(&m, DRAFT_APPEND_MANY);
    m.draft.condition.given = true;
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "condition.fail_if_events_match");
    make(&m, DRAFT_APPEND_MANY);
    m.draft.condition.given = m.draft.condition.query_given = true;
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "condition.fail_if_events_match.items");
    make(&m, DRAFT_APPEND_MANY);
    m.draft.condition.given = m.draft.condition.query_given = true;
    m.draft.condition.after = (uint64_t)INT64_MAX + 1;
    draft_add_item(&m.draft)->fields =
        (struct condition_item){.types = &m.append->stream, .type_count = 1};
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "condition.after");
    arena_init(&m.arena, 4096, 1u << 20);
    draft_init(&m.draft, DRAFT_APPEND_MANY, &limits, &m.arena);
    m.draft.condition.given = true;
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "appends");
}

/* The largest condition fits a command, whatever the body's limit is. */
static void test_condition_is_built(void **state)
{
    (void)state;
    static uint8_t name[EVENT_NAME_MAX];
    struct bytes names[CONDITION_TYPES_MAX];
    struct made m;
    memset(name, 'x', sizeof name);
    for (size_t i = 0; i < CONDITION_TYPES_MAX; i++) {
        names[i] = bytes_of(name, sizeof name);
    }
    make(&m, DRAFT_APPEND_MANY);
    m.draft.condition.given = m.draft.condition.query_given = true;
    for (int i = 0; i < CONDITION_ITEMS_MAX; i++) {
        draft_add_item(&m.draft)->fields = (struct condition_item){
            .types = names, .type_count = CONDITION_TYPES_MAX, .tags = names, .tag_count = 32};
    }
    assert_null(draft_add_item(&m.draft));
    struct command *c;
    assert_true(draft_check(&m.draft));
    assert_true(draft_build(&m.draft, &c));
    command_free(c);
    arena_done(&m.arena);
}

static void test_counts(void **state)
{
    (void)state;
    struct made m;
    make(&m, DRAFT_APPEND_MANY);
    (void)draft_add_append(&m.draft);
    m.draft.appends.last->stream = BYTES_LITERAL("s");
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "appends[1].events");
    arena_init(&m.arena, 4096, 1u << 20);
    draft_init(&m.draft, DRAFT_APPEND_MANY, &limits, &m.arena);
    draft_add_check(&m.draft)->stream = BYTES_LITERAL("s");
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "appends");
    make(&m, DRAFT_APPEND);
    for (size_t i = 1; i < limits.append_events_max; i++) {
        assert_non_null(draft_add_event(&m.draft, m.append));
    }
    assert_null(draft_add_event(&m.draft, m.append));
    assert_int_equal(m.draft.rejection.problem, PROBLEM_TOO_MANY_EVENTS);
    arena_done(&m.arena);
    make(&m, DRAFT_APPEND);
    m.append->expected = (struct expectation){EXPECT_REVISION, (uint64_t)INT64_MAX + 1};
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "expected_revision");
}

struct data_case {
    const char *content_type;
    enum draft_data form;
    const char *data;
    int problem; /* -1: valid */
    const char *field;
};

static const struct data_case data_cases[] = {
    {"", DRAFT_DATA_NONE, "", -1, ""},
    {"", DRAFT_DATA_JSON, "{}", -1, ""},
    {"", DRAFT_DATA_BINARY, "", -1, ""},
    {"", DRAFT_DATA_BINARY, " {\"a\":1} ", -1, ""},
    {"", DRAFT_DATA_BINARY, "{", PROBLEM_INVALID_FIELD, "events[0].data"},
    {"", DRAFT_DATA_BASE64, "1 2", PROBLEM_INVALID_FIELD, "events[0].data_base64"},
    {"", DRAFT_DATA_BASE64, "", PROBLEM_INVALID_FIELD, "events[0].data_base64"},
    {"", DRAFT_DATA_BASE64, "[1]", -1, ""},
    {"application/json; charset=utf-8", DRAFT_DATA_BINARY, "{", PROBLEM_INVALID_FIELD,
     "events[0].data"},
    {"application/vnd.a+json", DRAFT_DATA_BINARY, "x", PROBLEM_INVALID_FIELD, "events[0].data"},
    {"text/plain", DRAFT_DATA_BINARY, "x", -1, ""},
    {"text/plain", DRAFT_DATA_BINARY, "", -1, ""},
    {"text/plain", DRAFT_DATA_BASE64, "", -1, ""},
    {"text/plain", DRAFT_DATA_JSON, "1", PROBLEM_INVALID_FIELD, "events[0].data"},
    {"text/plain", DRAFT_DATA_NONE, "", PROBLEM_MISSING_FIELD, "events[0].data_base64"},
    {"text", DRAFT_DATA_BINARY, "", PROBLEM_INVALID_FIELD, "events[0].content_type"},
};

static void test_data(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof data_cases / sizeof *data_cases; i++) {
        const struct data_case *c = &data_cases[i];
        struct made m;
        make(&m, DRAFT_APPEND);
        m.event->fields.content_type = bytes_of_string(c->content_type);
        m.event->fields.data = bytes_of_string(c->data);
        m.event->data_form = c->form;
        if (c->problem == -1) {
            assert_valid(&m);
        } else {
            assert_rejected(&m, (enum problem)c->problem, c->field);
        }
    }
}

/* Absent JSON data is null, so that what is stored is JSON always. */
static void test_absent_data_is_null(void **state)
{
    (void)state;
    struct made m;
    make(&m, DRAFT_APPEND);
    assert_true(draft_check(&m.draft));
    assert_int_equal(m.event->fields.data.n, 4);
    assert_memory_equal(m.event->fields.data.p, "null", 4);
    arena_done(&m.arena);
}

static void test_size(void **state)
{
    (void)state;
    static const uint8_t zeros[200] = {0};
    struct made m;
    make(&m, DRAFT_APPEND);
    m.event->fields.content_type = BYTES_LITERAL("a/b");
    m.event->data_form = DRAFT_DATA_BINARY;
    m.event->fields.data = bytes_of(zeros, 98);
    m.event->fields.metadata = BYTES_LITERAL("{}");
    assert_true(draft_check(&m.draft));
    m.event->fields.data.n = 99;
    assert_rejected(&m, PROBLEM_EVENT_TOO_LARGE, "events[0]");
}

static void test_other_fields(void **state)
{
    (void)state;
    static const struct bytes twice[] = {
        {(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}, {(const uint8_t *)"a", 1}};
    struct made m;
    make(&m, DRAFT_APPEND);
    m.event->fields.tags = twice;
    m.event->fields.tag_count = 3;
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "events[0].tags[2]");
    make(&m, DRAFT_APPEND);
    m.event->fields.tags = twice;
    m.event->fields.tag_count = 2;
    assert_valid(&m);
    make(&m, DRAFT_APPEND);
    m.event->fields.metadata = BYTES_LITERAL("[]");
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "events[0].metadata");
    make(&m, DRAFT_APPEND);
    m.event->fields.occurred_at = BYTES_LITERAL("yesterday");
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "events[0].occurred_at");
    make(&m, DRAFT_APPEND);
    m.event->fields.occurred_at = BYTES_LITERAL("2011-10-01T00:38:44.546+02:00");
    assert_valid(&m);
    make(&m, DRAFT_APPEND);
    m.event->fields.id = BYTES_LITERAL("short");
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "events[0].id");
}

static void test_media_types(void **state)
{
    (void)state;
    static const char *const good[] = {"a/b", "application/json",
                                       "application/vnd.a+json; v=1;w=\"x \\\" y\"",
                                       "text/plain;charset=utf-8", "a/b ; c=d"};
    static const char *const bad[] = {"",           "a",       "a/",         "/b",     "a/b;",
                                      "a/b; c",     "a/b; c=", "a/b c",      "a /b",   "a/b; c=\"d",
                                      "\xc3\xa9/b", "a/b\n",   "a/b; c=d e", "a/b,c/d"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(draft_media_type_is_valid(bytes_of_string(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(draft_media_type_is_valid(bytes_of_string(bad[i])));
    }
}

/* The command has everything that the draft has; ids that were left out are version 7, and
 * different. */
static void test_build(void **state)
{
    (void)state;
    struct made m;
    struct command *c;
    make(&m, DRAFT_APPEND_MANY);
    assert_non_null(draft_add_event(&m.draft, m.append));
    m.append->last->fields.type = BYTES_LITERAL("U");
    m.append->last->fields.id = BYTES_LITERAL("0123456789abcdef");
    struct draft_append *check = draft_add_check(&m.draft);
    check->stream = BYTES_LITERAL("c");
    check->expected_given = true;
    assert_true(draft_check(&m.draft));
    assert_true(draft_build(&m.draft, &c));
    arena_done(&m.arena);
    assert_int_equal(command_appends(c), 1);
    assert_int_equal(command_append_events(c, 0), 2);
    struct bytes id = command_event_id(c, 0, 0);
    assert_int_equal(id.p[6] >> 4, 7);
    assert_memory_equal(command_event_id(c, 0, 1).p, "0123456789abcdef", UUID_BYTES);
    command_free(c);
    uint8_t a[UUID_BYTES];
    uint8_t b[UUID_BYTES];
    ids_make(a);
    ids_make(b);
    assert_memory_not_equal(a, b, UUID_BYTES);
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "A", "AA", "AAA", "A===", "====", "AB==", "AAB=", "AA=A", "AA==AA==", "A A=", "AA-_"};
    uint8_t to[16];
    size_t n = 99;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(base64_decode(bytes_of_string(bad[i]), to, &n));
    }
    assert_true(base64_decode(BYTES_LITERAL("/+8A"), to, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(to, "\xff\xef\x00", 3);
    assert_true(base64_decode(BYTES_LITERAL("/w=="), to, &n));
    assert_int_equal(n, 1);
    assert_true(base64_decode(BYTES_LITERAL(""), to, &n));
    assert_int_equal(n, 0);
}

static void test_query_values(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "a", "1e3"};
    char detail[QUERY_DETAIL_MAX];
    struct query_number number;
    struct bytes name;
    bool flag;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(query_parse(QUERY_NUMBER, bytes_of_string(bad[i]), &number, detail));
    }
    assert_true(query_parse(QUERY_NUMBER, BYTES_LITERAL("9223372036854775807"), &number, detail));
    assert_true(number.value == INT64_MAX && number.given && !number.end);
    assert_false(query_parse(QUERY_NUMBER, BYTES_LITERAL("end"), &number, detail));
    assert_true(query_parse(QUERY_NUMBER_OR_END, BYTES_LITERAL("end"), &number, detail));
    assert_true(number.end);
    assert_false(query_parse(QUERY_POSITIVE, BYTES_LITERAL("0"), &number, detail));
    assert_true(query_parse(QUERY_DIRECTION, BYTES_LITERAL("backward"), &flag, detail) && flag);
    assert_false(query_parse(QUERY_FLAG, BYTES_LITERAL("1"), &flag, detail));
    assert_false(query_parse(QUERY_NAME, BYTES_LITERAL(""), &name, detail));
    struct query_names names = {.n = STORE_FILTER_MAX};
    assert_false(query_parse(QUERY_NAMES, BYTES_LITERAL("a"), &names, detail));
    struct query_time time = {0};
    assert_false(query_parse(QUERY_TIME, BYTES_LITERAL("2026-01-01"), &time, detail));
    assert_null(strstr(detail, "%2B"));
    assert_false(
        query_parse(QUERY_TIME, BYTES_LITERAL("2026-01-01T00:00:00 01:00"), &time, detail));
    assert_non_null(strstr(detail, "%2B"));
    assert_true(
        query_parse(QUERY_TIME, BYTES_LITERAL("1970-01-01T01:00:00.5+01:00"), &time, detail));
    assert_true(time.given && time.us == 500000);
}

/* What DELETE takes in its query; what is wrong is said with all that is right. */
static void test_query_expectations(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "-1",  "+1", "1.0",    "9223372036854775808",
                                      "new", "Any", "1 ", "\"any\""};
    char detail[QUERY_DETAIL_MAX];
    struct query_expectation expected = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bytes value = bytes_of_string(bad[i]);
        assert_false(query_parse(QUERY_EXPECTATION, value, &expected, detail));
        assert_false(expected.given);
        assert_non_null(strstr(detail, "\"stream_exists\""));
    }
    assert_true(query_parse(QUERY_EXPECTATION, BYTES_LITERAL("0"), &expected, detail));
    assert_true(expected.given && expected.value.kind == EXPECT_REVISION);
    assert_int_equal(expected.value.revision, 0);
    assert_true(query_parse(QUERY_EXPECTATION, BYTES_LITERAL("no_stream"), &expected, detail));
    assert_int_equal(expected.value.kind, EXPECT_NO_STREAM);
}

static void test_etag_lists(void **state)
{
    (void)state;
    assert_true(etag_list_has(BYTES_LITERAL("*"), 4));
    assert_true(etag_list_has(BYTES_LITERAL("\"4\""), 4));
    assert_true(etag_list_has(BYTES_LITERAL("W/\"4\""), 4));
    assert_true(etag_list_has(BYTES_LITERAL("\"1\" ,\t\"4\""), 4));
    assert_false(etag_list_has(BYTES_LITERAL("\"40\", 4"), 4));
    assert_false(etag_list_has(BYTES_LITERAL(""), 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_condition),
        cmocka_unit_test(test_condition_is_whole),
        cmocka_unit_test(test_condition_is_built),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_absent_data_is_null),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_other_fields),
        cmocka_unit_test(test_media_types),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_query_values),
        cmocka_unit_test(test_query_expectations),
        cmocka_unit_test(test_etag_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
