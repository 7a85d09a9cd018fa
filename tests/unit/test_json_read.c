/* JSON bodies to drafts: what is kept byte for byte, and what each malformed body is told. */
#include "server/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct app_limits limits = {
    .event_bytes_max = 1024, .body_bytes_max = 1u << 20, .append_events_max = 5};

struct read {
    struct arena arena;
    struct draft draft;
    char *body; /* an exact copy on the heap, so that reading past its end is caught */
    bool ok;
};

static void read_body(struct read *r, enum draft_body body, const char *text, size_t n)
{
    arena_init(&r->arena, 4096, 1u << 24);
    draft_init(&r->draft, body, &limits, &r->arena);
    r->body = malloc(n > 0 ? n : 1);
    assert_non_null(r->body);
    memcpy(r->body, text, n);
    r->ok = json_read_draft(bytes_of(r->body, n), &r->draft);
}

static void done(struct read *r)
{
    arena_done(&r->arena);
    free(r->body);
}

static void assert_text(struct bytes actual, const char *expected)
{
    assert_int_equal(actual.n, strlen(expected));
    assert_memory_equal(actual.p, expected, actual.n);
}

/* An append with one event whose members are `members`. */
static void read_event(struct read *r, const char *members)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "{\"events\":[{\"type\":\"T\",%s}]}", members);
    read_body(r, DRAFT_APPEND, text, (size_t)n);
}

static void assert_data(const char *value)
{
    char members[2048];
    static const char *const around[][2] = {{"\"data\":", ""},
                                            {"\"data\" : \t", "\r\n "},
                                            {"\"data\":", ",\"id\":null"},
                                            {"\"data\": ", " , \"metadata\":null"}};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        struct read r;
        snprintf(members, sizeof members, "%s%s%s", around[i][0], value, around[i][1]);
        read_event(&r, members);
        assert_true(r.ok);
        assert_int_equal(r.draft.appends.first->first->data_form, DRAFT_DATA_JSON);
        assert_text(r.draft.appends.first->first->fields.data, value);
        done(&r);
    }
}

/* Data comes out as the bytes that went in, without the white space around it. */
static void test_data_is_kept_verbatim(void **state)
{
    (void)state;
    static const char *const values[] = {
        "{\"a\":1.10,\"b\":1e400,\"c\":9223372036854775809,\"a\":2}",
        "1.10",
        "-0",
        "1e400",
        "9223372036854775809",
        "true",
        "false",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "[ ]",
        "{ \"a\" : [ 1 , 2\n,\t3 ] }",
        "\"\\u0041\\n\\\"\\\\\"",
        "\"\\ud800\"",
        "{\"\\ud800\":\"\\udc00\\u0000\"}",
        "\"\xc3\xa9\xf0\x9f\x98\x80\"",
        "[[[[]]]]",
        "{\"a\":{\"b\":{}}}",
        "[\"]\",\"}\",\"\\\"]\"]",
        "{\"type\":1,\"type\":2}",
        "\"\xe2\x80\xa8\x7f\"",
        "[1,\"a\",null,true,{\"x\":[]},-1.5E+10]",
        "0",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_data(values[i]);
    }
}

/* null counts as absent, for data too. */
static void test_data_null_is_absent(void **state)
{
    (void)state;
    struct read r;
    read_event(&r, "\"data\":null,\"data_base64\":\"AAE=\"");
    assert_true(r.ok);
    assert_int_equal(r.draft.appends.first->first->data_form, DRAFT_DATA_BASE64);
    assert_int_equal(r.draft.appends.first->first->fields.data.n, 2);
    done(&r);
}

static void test_all_fields_of_an_event(void **state)
{
    (void)state;
    struct read r;
    read_event(
        &r,
        "\"id\":\"0192D3C4-5e6f-7a8b-9c0d-1e2f3a4b5c6d\",\"tags\":[\"a\",\"b\\u00e9\"],"
        "\"occurred_at\":\"2026-01-01T00:00:00Z\",\"content_type\":\"application/json\","
        "\"metadata\": { \"u\" : 1.0 } ,\"schema_version\":4294967295,\"data\":\"\\ud83d\\ude00\"");
    assert_true(r.ok);
    const struct event_draft *f = &r.draft.appends.first->first->fields;
    assert_int_equal(f->id.n, UUID_BYTES);
    assert_int_equal(f->id.p[1], 0x92);
    assert_int_equal(f->tag_count, 2);
    assert_text(f->tags[0], "a");
    assert_text(f->tags[1], "b\xc3\xa9");
    assert_text(f->occurred_at, "2026-01-01T00:00:00Z");
    assert_text(f->content_type, "application/json");
    assert_text(f->metadata, "{ \"u\" : 1.0 }");
    assert_text(f->data, "\"\\ud83d\\ude00\"");
    assert_int_equal(f->schema_version, 4294967295);
    assert_true(r.draft.appends.first->first->metadata_is_json);
    done(&r);
}

/* Fields may come in any order, and keys may be escaped. */
static void test_order_and_escaped_keys(void **state)
{
    (void)state;
    struct read r;
    const char *text = " {\"events\":[{\"t\\u0079pe\":\"A\\u0042\"},{\"type\":\"C\"}],\n"
                       "\"expected_revision\":9223372036854775807, \"stream\":\"s-1\"} ";
    read_body(&r, DRAFT_APPEND, text, strlen(text));
    assert_true(r.ok);
    const struct draft_append *a = r.draft.appends.first;
    assert_text(a->stream, "s-1");
    assert_true(a->expected_given);
    assert_int_equal(a->expected.kind, EXPECT_REVISION);
    assert_true(a->expected.revision == INT64_MAX);
    assert_int_equal(a->events, 2);
    assert_text(a->first->fields.type, "AB");
    assert_text(a->first->next->fields.type, "C");
    done(&r);
}

static void test_expectations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool given;
        enum expectation_kind kind;
    } cases[] = {{"\"any\"", true, EXPECT_ANY},
                 {"\"no_stream\"", true, EXPECT_NO_STREAM},
                 {"\"stream_exists\"", true, EXPECT_STREAM_EXISTS},
                 {"0", true, EXPECT_REVISION},
                 {"null", false, EXPECT_ANY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        struct read r;
        int n = snprintf(text, sizeof text, "{\"expected_revision\":%s}", cases[i].text);
        read_body(&r, DRAFT_APPEND, text, (size_t)n);
        assert_true(r.ok);
        assert_int_equal(r.draft.appends.first->expected_given, cases[i].given);
        assert_int_equal(r.draft.appends.first->expected.kind, cases[i].kind);
        done(&r);
    }
}

static void test_append_many_and_commands(void **state)
{
    (void)state;
    struct read r;
    const char *many = "{\"checks\":[{\"stream\":\"c\",\"expected_revision\":3}],\"appends\":["
                       "{\"stream\":\"a\",\"events\":[{\"type\":\"A\"}]},{\"stream\":\"b\","
                       "\"events\":[{\"type\":\"B\"}]}]}";
    read_body(&r, DRAFT_APPEND_MANY, many, strlen(many));
    assert_true(r.ok);
    assert_int_equal(r.draft.appends.n, 2);
    assert_int_equal(r.draft.checks.n, 1);
    assert_int_equal(r.draft.events, 2);
    assert_text(r.draft.appends.last->stream, "b");
    assert_int_equal(r.draft.checks.first->expected.revision, 3);
    done(&r);
    const char *command = "{\"append\":null,\"append_many\":{\"appends\":[]}}";
    read_body(&r, DRAFT_COMMAND, command, strlen(command));
    assert_true(r.ok);
    assert_true(r.draft.many);
    assert_string_equal(r.draft.root, "append_many.");
    done(&r);
}

#define C(members) "{\"condition\":{\"fail_if_events_match\":" members
#define ITEMS      "condition.fail_if_events_match.items"

static void test_condition(void **state)
{
    (void)state;
    struct read r;
    const char *text =
        "{\"append_many\":{\"appends\":[{\"stream\":\"a\",\"events\":[{\"type\":\"A\","
        "\"tags\":[\"t\"]}]}],\"condition\":{\"fail_if_events_match\":{\"items\":["
        "{\"types\":[\"A\",\"B\"],\"tags\":[\"x\\u003a1\"]},{\"tags\":[\"x\",\"y\"],"
        "\"types\":null},{\"types\":[]}]},\"after\":41}}}";
    read_body(&r, DRAFT_COMMAND, text, strlen(text));
    assert_true(r.ok);
    const struct draft_condition *condition = &r.draft.condition;
    assert_true(condition->given && condition->query_given);
    assert_int_equal(condition->after, 41);
    assert_int_equal(condition->n, 3);
    const struct condition_item *item = &condition->first->fields;
    assert_int_equal(item->type_count, 2);
    assert_text(item->types[1], "B");
    assert_int_equal(item->tag_count, 1);
    assert_text(item->tags[0], "x:1");
    item = &condition->first->next->fields;
    assert_int_equal(item->type_count, 0);
    assert_int_equal(item->tag_count, 2);
    assert_text(item->tags[1], "y");
    assert_int_equal(condition->last->fields.type_count, 0);
    assert_int_equal(r.draft.appends.first->first->fields.tag_count, 1);
    done(&r);
    text = "{\"appends\":[],\"condition\":null}";
    read_body(&r, DRAFT_APPEND_MANY, text, strlen(text));
    assert_true(r.ok);
    assert_false(r.draft.condition.given);
    done(&r);
}

/* Each array of names stops at its own limit. */
static void test_condition_is_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        int max;
    } lists[] = {{"types", CONDITION_TYPES_MAX}, {"tags", CONDITION_TAGS_MAX}};
    for (size_t i = 0; i < 2; i++) {
        for (int n = lists[i].max; n <= lists[i].max + 1; n++) {
            char text[1024], field[80];
            snprintf(text, sizeof text, C("{\"items\":[{},{\"%s\":["), lists[i].list);
            for (int k = 0; k < n; k++) {
                strcat(text, k == 0 ? "\"n\"" : ",\"n\"");
            }
            strcat(text, "]}]}}}");
            struct read r;
            read_body(&r, DRAFT_APPEND_MANY, text, strlen(text));
            assert_int_equal(r.ok, n == lists[i].max);
            snprintf(field, sizeof field, ITEMS "[1].%s", lists[i].list);
            assert_string_equal(r.draft.rejection.field, r.ok ? "" : field);
            done(&r);
        }
    }
    char text[1024] = C("{\"items\":[{}");
    for (int i = 0; i < CONDITION_ITEMS_MAX; i++) {
        strcat(text, ",{}");
    }
    strcat(text, "]}}}");
    struct read r;
    read_body(&r, DRAFT_APPEND_MANY, text, strlen(text));
    assert_false(r.ok);
    assert_int_equal(r.draft.rejection.problem, PROBLEM_INVALID_FIELD);
    assert_string_equal(r.draft.rejection.field, ITEMS);
    done(&r);
}

struct bad {
    enum draft_body body;
    const char *text;
    enum problem problem;
    const char *field;
};

#define E(members) "{\"events\":[{\"type\":\"T\"},{" members "}]}"

static const struct bad bad_bodies[] = {
    /* Not JSON. */
    {DRAFT_APPEND, "", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, " ", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "{", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "{\"events\":[]} x", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "{\"events\":[]}{}", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "\xef\xbb\xbf{\"events\":[]}", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "{\"events\":[],}", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "{'events':[]}", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, "{\"events\":[/* no */]}", PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":NaN"), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":01"), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":+1"), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":.5"), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":1."), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":[1,]"), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":\"a\nb\""), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":\"\\x\""), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":\"\\u12g4\""), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":\"\xff\""), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":\"\xc0\x80\""), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"data\":\"\xed\xa0\x80\""), PROBLEM_INVALID_JSON, ""},
    {DRAFT_APPEND, E("\"type\":\"\\ud800\""), PROBLEM_INVALID_JSON, "events[1]"},
    {DRAFT_APPEND, E("\"type\":\"\\udc00\""), PROBLEM_INVALID_JSON, "events[1]"},
    {DRAFT_APPEND, E("\"type\":\"\\ud800\\u0041\""), PROBLEM_INVALID_JSON, "events[1]"},
    {DRAFT_APPEND, E("\"type\":\"\\ud800\\ud800\""), PROBLEM_INVALID_JSON, "events[1]"},
    {DRAFT_APPEND, E("\"\\ud800\":1"), PROBLEM_INVALID_JSON, "events[1]"},
    /* Wrong kinds. */
    {DRAFT_APPEND, "[]", PROBLEM_INVALID_FIELD, ""},
    {DRAFT_APPEND, "null", PROBLEM_INVALID_FIELD, ""},
    {DRAFT_APPEND, "12", PROBLEM_INVALID_FIELD, ""},
    {DRAFT_APPEND, "{\"events\":{}}", PROBLEM_INVALID_FIELD, "events"},
    {DRAFT_APPEND, "{\"events\":[1]}", PROBLEM_INVALID_FIELD, "events[0]"},
    {DRAFT_APPEND, "{\"events\":[{\"type\":\"T\"},null]}", PROBLEM_INVALID_FIELD, "events[1]"},
    {DRAFT_APPEND, "{\"events\":[[]]}", PROBLEM_INVALID_FIELD, "events[0]"},
    {DRAFT_APPEND, "{\"stream\":1}", PROBLEM_INVALID_FIELD, "stream"},
    {DRAFT_APPEND, E("\"type\":1"), PROBLEM_INVALID_FIELD, "events[1].type"},
    {DRAFT_APPEND, E("\"type\":[]"), PROBLEM_INVALID_FIELD, "events[1].type"},
    {DRAFT_APPEND, E("\"metadata\":[]"), PROBLEM_INVALID_FIELD, "events[1].metadata"},
    {DRAFT_APPEND, E("\"metadata\":\"{}\""), PROBLEM_INVALID_FIELD, "events[1].metadata"},
    {DRAFT_APPEND, E("\"tags\":{}"), PROBLEM_INVALID_FIELD, "events[1].tags"},
    {DRAFT_APPEND, E("\"tags\":\"a\""), PROBLEM_INVALID_FIELD, "events[1].tags"},
    {DRAFT_APPEND, E("\"tags\":[\"a\",2]"), PROBLEM_INVALID_FIELD, "events[1].tags[1]"},
    {DRAFT_APPEND, E("\"tags\":[null]"), PROBLEM_INVALID_FIELD, "events[1].tags[0]"},
    {DRAFT_APPEND, E("\"tags\":[[]]"), PROBLEM_INVALID_FIELD, "events[1].tags[0]"},
    {DRAFT_APPEND, E("\"data_base64\":1"), PROBLEM_INVALID_FIELD, "events[1].data_base64"},
    /* Wrong values. */
    {DRAFT_APPEND, "{\"expected_revision\":1.0}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":1e3}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":-1}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":9223372036854775808}", PROBLEM_INVALID_FIELD,
     "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":99999999999999999999}", PROBLEM_INVALID_FIELD,
     "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":\"4\"}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":\"Any\"}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":true}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, "{\"expected_revision\":[]}", PROBLEM_INVALID_FIELD, "expected_revision"},
    {DRAFT_APPEND, E("\"id\":\"x\""), PROBLEM_INVALID_FIELD, "events[1].id"},
    {DRAFT_APPEND, E("\"id\":\"\""), PROBLEM_INVALID_FIELD, "events[1].id"},
    {DRAFT_APPEND, E("\"schema_version\":4294967296"), PROBLEM_INVALID_FIELD,
     "events[1].schema_version"},
    {DRAFT_APPEND, E("\"schema_version\":1.5"), PROBLEM_INVALID_FIELD, "events[1].schema_version"},
    {DRAFT_APPEND, E("\"content_type\":\"\""), PROBLEM_INVALID_FIELD, "events[1].content_type"},
    {DRAFT_APPEND, E("\"occurred_at\":\"\""), PROBLEM_INVALID_FIELD, "events[1].occurred_at"},
    {DRAFT_APPEND, E("\"data_base64\":\"A\""), PROBLEM_INVALID_FIELD, "events[1].data_base64"},
    {DRAFT_APPEND, E("\"data_base64\":\"AAB=\""), PROBLEM_INVALID_FIELD, "events[1].data_base64"},
    {DRAFT_APPEND, E("\"data_base64\":\"AA\\nA=\""), PROBLEM_INVALID_FIELD,
     "events[1].data_base64"},
    {DRAFT_APPEND, E("\"data\":1,\"data_base64\":\"AAA=\""), PROBLEM_INVALID_FIELD,
     "events[1].data_base64"},
    {DRAFT_APPEND, E("\"data_base64\":\"AAA=\",\"data\":{}"), PROBLEM_INVALID_FIELD,
     "events[1].data"},
    /* Unknown and repeated fields. */
    {DRAFT_APPEND, "{\"condition\":{}}", PROBLEM_UNKNOWN_FIELD, "condition"},
    {DRAFT_APPEND, E("\"colour\":1"), PROBLEM_UNKNOWN_FIELD, "events[1].colour"},
    {DRAFT_APPEND, E("\"\":1"), PROBLEM_UNKNOWN_FIELD, "events[1]"},
    {DRAFT_APPEND, E("\"type\":\"a\",\"type\":\"b\""), PROBLEM_INVALID_FIELD, "events[1].type"},
    {DRAFT_APPEND, E("\"data\":1,\"d\\u0061ta\":2"), PROBLEM_INVALID_FIELD, "events[1].data"},
    {DRAFT_APPEND, "{\"events\":[],\"events\":[]}", PROBLEM_INVALID_FIELD, "events"},
    {DRAFT_APPEND_MANY, "{\"appends\":[{\"stream\":\"a\"},{\"x\":1}]}", PROBLEM_UNKNOWN_FIELD,
     "appends[1].x"},
    {DRAFT_APPEND_MANY, "{\"appends\":[{\"events\":[]},7]}", PROBLEM_INVALID_FIELD, "appends[1]"},
    {DRAFT_APPEND_MANY, "{\"checks\":[{\"events\":[]}]}", PROBLEM_UNKNOWN_FIELD,
     "checks[0].events"},
    {DRAFT_APPEND_MANY, "{\"checks\":[\"a\"]}", PROBLEM_INVALID_FIELD, "checks[0]"},
    /* Conditions. */
    {DRAFT_APPEND_MANY, "{\"condition\":[]}", PROBLEM_INVALID_FIELD, "condition"},
    {DRAFT_APPEND_MANY, "{\"condition\":{\"items\":[]}}", PROBLEM_UNKNOWN_FIELD, "condition.items"},
    {DRAFT_APPEND_MANY, "{\"condition\":{\"after\":\"end\"}}", PROBLEM_INVALID_FIELD,
     "condition.after"},
    {DRAFT_APPEND_MANY, "{\"condition\":{\"after\":-1}}", PROBLEM_INVALID_FIELD, "condition.after"},
    {DRAFT_APPEND_MANY, "{\"condition\":{\"after\":1,\"after\":2}}", PROBLEM_INVALID_FIELD,
     "condition.after"},
    {DRAFT_APPEND_MANY, C("[]}}"), PROBLEM_INVALID_FIELD, "condition.fail_if_events_match"},
    {DRAFT_APPEND_MANY, C("{\"types\":[]}}}"), PROBLEM_UNKNOWN_FIELD,
     "condition.fail_if_events_match.types"},
    {DRAFT_APPEND_MANY, C("{\"items\":{}}}}"), PROBLEM_INVALID_FIELD, ITEMS},
    {DRAFT_APPEND_MANY, C("{\"items\":[{},1]}}}"), PROBLEM_INVALID_FIELD, ITEMS "[1]"},
    {DRAFT_APPEND_MANY, C("{\"items\":[{},{\"stream\":1}]}}}"), PROBLEM_UNKNOWN_FIELD,
     ITEMS "[1].stream"},
    {DRAFT_APPEND_MANY, C("{\"items\":[{\"tags\":\"a\"}]}}}"), PROBLEM_INVALID_FIELD,
     ITEMS "[0].tags"},
    {DRAFT_APPEND_MANY, C("{\"items\":[{},{\"tags\":[\"a\",2]}]}}}"), PROBLEM_INVALID_FIELD,
     ITEMS "[1].tags[1]"},
    {DRAFT_APPEND_MANY, C("{\"items\":[{\"types\":[null]}]}}}"), PROBLEM_INVALID_FIELD,
     ITEMS "[0].types[0]"},
    {DRAFT_COMMAND, "{\"append_many\":" C("{\"items\":[7]}}}}"), PROBLEM_INVALID_FIELD,
     "append_many." ITEMS "[0]"},
    {DRAFT_COMMAND, "{\"append\":" C("{}}}}"), PROBLEM_UNKNOWN_FIELD, "append.condition"},
    {DRAFT_APPEND_MANY, "{\"appends\":[{\"events\":[{\"type\":2}]}]}", PROBLEM_INVALID_FIELD,
     "appends[0].events[0].type"},
    {DRAFT_COMMAND, "{}", PROBLEM_MISSING_FIELD, "append"},
    {DRAFT_COMMAND, "{\"append\":null}", PROBLEM_MISSING_FIELD, "append"},
    {DRAFT_COMMAND, "{\"append\":{},\"append_many\":{}}", PROBLEM_INVALID_FIELD, "append"},
    {DRAFT_COMMAND, "{\"append\":{\"events\":[{\"type\":2}]}}", PROBLEM_INVALID_FIELD,
     "append.events[0].type"},
    {DRAFT_COMMAND, "{\"append_many\":{\"appends\":[{\"stream\":2}]}}", PROBLEM_INVALID_FIELD,
     "append_many.appends[0].stream"},
    /* Limits. */
    {DRAFT_APPEND, "{\"events\":[{},{},{},{},{},{}]}", PROBLEM_TOO_MANY_EVENTS, ""},
    {DRAFT_APPEND_MANY, "{\"checks\":[{},{},{},{},{},{}]}", PROBLEM_INVALID_FIELD, "checks"},
};

static void test_bad_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_bodies / sizeof *bad_bodies; i++) {
        const struct bad *b = &bad_bodies[i];
        struct read r;
        read_body(&r, b->body, b->text, strlen(b->text));
        const struct draft_rejection *got = &r.draft.rejection;
        if (r.ok || got->problem != b->problem || strcmp(got->field, b->field) != 0 ||
            got->detail[0] == '\0') {
            fail_msg("%s: ok %d, problem %d, field '%s', detail '%s'", b->text, r.ok,
                     (int)got->problem, got->field, got->detail);
        }
        done(&r);
    }
}

static void assert_depth(unsigned depth, bool ok)
{
    char members[1200] = "\"data\":";
    size_t at = strlen(members);
    for (unsigned i = 0; i < depth; i++) {
        members[at++] = '[';
    }
    for (unsigned i = 0; i < depth; i++) {
        members[at++] = ']';
    }
    members[at] = '\0';
    struct read r;
    read_event(&r, members);
    assert_int_equal(r.ok, ok);
    if (!ok) {
        assert_int_equal(r.draft.rejection.problem, PROBLEM_INVALID_FIELD);
        assert_string_equal(r.draft.rejection.field, "events[0].data");
    }
    done(&r);
    char detail[JSON_DETAIL_MAX];
    assert_int_equal(json_check(bytes_of(members + 7, 2 * (size_t)depth), false, detail), ok);
}

/* The same depth is allowed where the value is read and where it is only checked. */
static void test_depth(void **state)
{
    (void)state;
    assert_depth(JSON_DEPTH_MAX, true);
    assert_depth(JSON_DEPTH_MAX + 1, false);
    assert_depth(500, false);
}

static void test_tags_are_bounded(void **state)
{
    (void)state;
    char members[512] = "\"tags\":[";
    for (int i = 0; i < EVENT_TAGS_MAX; i++) {
        char tag[16];
        snprintf(tag, sizeof tag, "\"t%d\",", i);
        strcat(members, tag);
    }
    size_t n = strlen(members);
    struct read r;
    strcpy(members + n, "\"last\"]");
    read_event(&r, members);
    assert_false(r.ok);
    assert_string_equal(r.draft.rejection.field, "events[0].tags");
    done(&r);
    strcpy(members + n - 1, "]");
    read_event(&r, members);
    assert_true(r.ok);
    assert_int_equal(r.draft.appends.first->first->fields.tag_count, EVENT_TAGS_MAX);
    done(&r);
}

/* An unknown field's name is shown cut, never inside a character. */
static void test_long_unknown_names_are_cut(void **state)
{
    (void)state;
    char text[400] = "{\"";
    for (int i = 0; i < 80; i++) {
        strcat(text, i == 0 ? "x" : "\xc3\xa9");
    }
    strcat(text, "\":1}");
    struct read r;
    read_body(&r, DRAFT_APPEND, text, strlen(text));
    assert_false(r.ok);
    assert_int_equal(strlen(r.draft.rejection.field), 63);
    assert_true(bytes_are_utf8(bytes_of_string(r.draft.rejection.field)));
    done(&r);
}

/* Whole values only, of the kind that is wanted. */
static void test_check(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool value, object;
    } cases[] = {{"{}", true, true},
                 {" {\"a\":[{}]} ", true, true},
                 {"[]", true, false},
                 {"[{}]", true, false},
                 {"1", true, false},
                 {" null ", true, false},
                 {"\"x\"", true, false},
                 {"", false, false},
                 {" ", false, false},
                 {"1 2", false, false},
                 {"{}{}", false, false},
                 {"{}\"", false, false},
                 {"{\"a\":1} \"x", false, false},
                 {"1 \"", false, false},
                 {"\"a\"\"b", false, false},
                 {"{}\"x\\\"}", false, false},
                 {"12 ", true, false},
                 {"{", false, false},
                 {"\"\xff\"", false, false},
                 {"\"\\ud800\"", true, false},
                 {"tru", false, false},
                 {"-", false, false},
                 {"\xef\xbb\xbf{}", false, false},
                 {"1e5", true, false},
                 {"{\"a\" 1}", false, false}};
    char detail[JSON_DETAIL_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes text = bytes_of_string(cases[i].text);
        detail[0] = '\0';
        if (json_check(text, false, detail) != cases[i].value ||
            json_check(text, true, detail) != cases[i].object) {
            fail_msg("%s", cases[i].text);
        }
        assert_true(cases[i].object || detail[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_is_kept_verbatim),
        cmocka_unit_test(test_data_null_is_absent),
        cmocka_unit_test(test_all_fields_of_an_event),
        cmocka_unit_test(test_order_and_escaped_keys),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_append_many_and_commands),
        cmocka_unit_test(test_condition),
        cmocka_unit_test(test_condition_is_bounded),
        cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_tags_are_bounded),
        cmocka_unit_test(test_long_unknown_names_are_cut),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
