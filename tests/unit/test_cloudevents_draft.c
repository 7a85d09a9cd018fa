/* Tests of server/cloudevents_draft.c, cloudevents_read.c and cloudevents_headers.c: from a request
 * to the events that are appended. */
#include "server/cloudevents_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a)   (sizeof(a) / sizeof *(a))
#define START      "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/x\",\"type\":\"T\""
#define EVENT      START "}"
#define UUID_EVENT "{\"specversion\":\"1.0\",\"source\":\"/x\",\"type\":\"T\",\"id\":"

static const struct app_limits limits = {
    .event_bytes_max = 1000, .body_bytes_max = 1u << 20, .append_events_max = 5};

struct made {
    struct arena arena;
    struct draft draft;
    struct cloudevents_input in;
};

static void make(struct made *m, enum draft_body body, enum cloudevents_mode mode,
                 const char *stream)
{
    arena_init(&m->arena, 4096, 1u << 20);
    draft_init(&m->draft, body, &limits, &m->arena);
    m->in.stream = bytes_of_string(stream);
    cloudevents_input_init(&m->in, &m->draft, mode);
}

static struct draft_event *read_one(struct made *m, const char *json)
{
    make(m, DRAFT_APPEND, CLOUDEVENTS_JSON, "s");
    if (!cloudevents_read_json(&m->in, bytes_of_string(json)) || !draft_check(&m->draft)) {
        fail_msg("%s: %s", m->draft.rejection.field, m->draft.rejection.detail);
    }
    assert_int_equal(m->draft.events, 1);
    return m->draft.appends.first->first;
}

static void assert_bytes(struct bytes got, const char *wanted)
{
    if (!bytes_equal(got, bytes_of_string(wanted))) {
        fail_msg("'%.*s', not '%s'", BYTES_ARGS(got), wanted);
    }
}

/* A UUID is the id itself; of others the id is made of source and id, and always the same. */
static void test_ids(void **state)
{
    (void)state;
    static const struct {
        const char *id, *uuid;
        bool kept;
    } cases[] = {
        {"\"0192d3c4-5e6f-7a8b-9c0d-1e2f3a4b5c6d\"}", "0192d3c4-5e6f-7a8b-9c0d-1e2f3a4b5c6d",
         false},
        {"\"0192D3C4-5e6f-7a8b-9c0d-1e2f3a4b5c6d\"}", "0192d3c4-5e6f-7a8b-9c0d-1e2f3a4b5c6d", true},
        {"\"1\"}", "04628a70-5efb-8382-83cf-ea03f12f6e01", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made m;
        char json[256];
        char text[UUID_TEXT_BYTES + 1] = "";
        snprintf(json, sizeof json, "%s%s", UUID_EVENT, cases[i].id);
        struct draft_event *e = read_one(&m, json);
        uuid_format(e->fields.id.p, text);
        assert_string_equal(text, cases[i].uuid);
        bool kept = memmem(e->fields.metadata.p, e->fields.metadata.n, "\"id\":", 5) != NULL;
        assert_int_equal(kept, cases[i].kept);
        arena_done(&m.arena);
    }
}

static void test_data_and_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *members, *data, *content_type, *metadata;
    } cases[] = {
        {"", "null", "", "\"datacontenttype\":null,\"no_data\":true}}"},
        {",\"data\":[1 ]", "[1 ]", "", "\"datacontenttype\":null}}"},
        {",\"data\":null", "null", "", "\"datacontenttype\":null}}"},
        {",\"data\":\"x\",\"datacontenttype\":\"text/plain\"", "x", "text/plain", "\"id\":\"1\"}}"},
        {",\"data\":\"\\n\",\"datacontenttype\":\"a/b\"", "\n", "a/b", "\"text_data\":true}}"},
        {",\"data\":\"x\",\"datacontenttype\":\"a/b+json\"", "\"x\"", "a/b+json", "\"id\":\"1\"}}"},
        {",\"data_base64\":\"eA==\"", "x", "application/octet-stream",
         "\"datacontenttype\":null}}"},
        {",\"data_base64\":\"MQ==\",\"datacontenttype\":\"application/json\"", "1",
         "application/json", "\"id\":\"1\"}}"},
        {",\"datacontenttype\":\"a/b\"", "", "a/b", "\"no_data\":true}}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made m;
        char json[256];
        snprintf(json, sizeof json, "%s%s}", START, cases[i].members);
        struct draft_event *e = read_one(&m, json);
        assert_bytes(e->fields.data, cases[i].data);
        assert_bytes(e->fields.content_type, cases[i].content_type);
        size_t n = strlen(cases[i].metadata);
        assert_true(e->fields.metadata.n > n);
        assert_bytes(bytes_of(e->fields.metadata.p + e->fields.metadata.n - n, n),
                     cases[i].metadata);
        arena_done(&m.arena);
    }
}

static void test_where_attributes_go(void **state)
{
    (void)state;
    struct made m;
    struct draft_event *e = read_one(
        &m, START ",\"n\":-1,\"b\":true,\"s\":\"\\\"\",\"cloudevents\":\"me\",\"stream\":\"s\","
                  "\"subject\":\"S\",\"time\":\"2026-01-01T00:00:00Z\",\"dataschema\":\"a:b\"}");
    assert_bytes(e->fields.occurred_at, "2026-01-01T00:00:00Z");
    assert_bytes(e->fields.type, "T");
    assert_bytes(
        e->fields.metadata,
        "{\"n\":-1,\"b\":true,\"s\":\"\\\"\",\"cloudevents\":{\"source\":\"/x\",\"id\":\"1\","
        "\"subject\":\"S\",\"dataschema\":\"a:b\",\"datacontenttype\":null,\"no_data\":true,"
        "\"cloudevents\":\"me\"}}");
    arena_done(&m.arena);
}

/* One append a stream's request; one append an event where each names its own. */
static void test_appends(void **state)
{
    (void)state;
    struct made m;
    make(&m, DRAFT_APPEND, CLOUDEVENTS_JSON_BATCH, "s");
    assert_true(cloudevents_read_json(&m.in, BYTES_LITERAL("[" EVENT "," EVENT "]")));
    assert_int_equal(m.draft.appends.n, 1);
    assert_int_equal(m.draft.events, 2);
    arena_done(&m.arena);
    make(&m, DRAFT_APPEND_MANY, CLOUDEVENTS_JSON_BATCH, "");
    assert_true(cloudevents_read_json(
        &m.in, BYTES_LITERAL("[" START ",\"stream\":\"a\"}," START ",\"subject\":\"b\"}]")));
    assert_int_equal(m.draft.appends.n, 2);
    assert_bytes(m.draft.appends.first->stream, "a");
    assert_bytes(m.draft.appends.last->stream, "b");
    arena_done(&m.arena);
}

static void test_fields_of_rejections(void **state)
{
    (void)state;
    static const struct {
        enum draft_body body;
        enum cloudevents_mode mode;
        const char *json, *field;
        enum problem problem;
    } cases[] = {
        {DRAFT_APPEND, CLOUDEVENTS_JSON, "{}", "specversion", PROBLEM_MISSING_FIELD},
        {DRAFT_APPEND, CLOUDEVENTS_JSON_BATCH, "[" EVENT ",{}]", "[1].specversion",
         PROBLEM_MISSING_FIELD},
        {DRAFT_APPEND_MANY, CLOUDEVENTS_JSON_BATCH, "[" EVENT "]", "[0].stream",
         PROBLEM_MISSING_FIELD},
        {DRAFT_APPEND_MANY, CLOUDEVENTS_JSON, EVENT, "stream", PROBLEM_MISSING_FIELD},
        {DRAFT_APPEND, CLOUDEVENTS_JSON, "{\"\xc3\xbc\":1}", "\xc3\xbc", PROBLEM_INVALID_FIELD},
        {DRAFT_APPEND, CLOUDEVENTS_JSON, START ",\"data_base64\":\"*\"}", "data_base64",
         PROBLEM_INVALID_FIELD},
        {DRAFT_APPEND, CLOUDEVENTS_JSON_BATCH,
         "[" EVENT "," EVENT "," EVENT "," EVENT "," EVENT "," EVENT "]", "",
         PROBLEM_TOO_MANY_EVENTS},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made m;
        make(&m, cases[i].body, cases[i].mode, cases[i].body == DRAFT_APPEND ? "s" : "");
        assert_false(cloudevents_read_json(&m.in, bytes_of_string(cases[i].json)));
        assert_string_equal(m.draft.rejection.field, cases[i].field);
        assert_int_equal(m.draft.rejection.problem, cases[i].problem);
        assert_true(m.draft.rejection.detail[0] != '\0');
        arena_done(&m.arena);
    }
}

static void test_headers(void **state)
{
    (void)state;
    struct made m;
    make(&m, DRAFT_APPEND, CLOUDEVENTS_BINARY, "s");
    static const char *const headers[][2] = {
        {"Host", "%"},       {"ce-specversion", "1.0"}, {"CE-Id", "%41"},
        {"ce-source", "/x"}, {"ce-type", "\"a b\""},    {"Cefalo", "x"},
    };
    for (size_t i = 0; i < COUNT(headers); i++) {
        assert_true(cloudevents_take_header(&m.in, bytes_of_string(headers[i][0]),
                                            bytes_of_string(headers[i][1])));
    }
    assert_true(cloudevents_take_body(&m.in, BYTES_LITERAL("a/b"), BYTES_LITERAL("x")));
    assert_bytes(m.draft.appends.first->first->fields.type, "a b");
    assert_false(cloudevents_take_header(&m.in, BYTES_LITERAL("Ce-X"), BYTES_LITERAL("%4")));
    assert_string_equal(m.draft.rejection.field, "header.ce-x");
    assert_false(cloudevents_take_header(&m.in, BYTES_LITERAL("ce-"), BYTES_LITERAL("1")));
    arena_done(&m.arena);
}

/* What is encoded is decoded again; what is malformed is refused. */
static void test_header_values(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *encoded;
    } cases[] = {{"", ""},
                 {"a b", "a%20b"},
                 {"\"50%\"", "%2250%25%22"},
                 {"\xc3\xbc\x7f", "%C3%BC%7F"},
                 {"!#$&'()*+,/:;=?@[]~", "!#$&'()*+,/:;=?@[]~"}};
    static const char *const malformed[] = {"%", "%4", "%zz", "a\"b", "\"\\", "%ff", "\xff"};
    struct arena arena;
    struct bytes decoded;
    arena_init(&arena, 256, 4096);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf b;
        buf_init(&b, 256);
        cloudevents_encode_header(&b, bytes_of_string(cases[i].plain));
        assert_bytes(buf_bytes(&b), cases[i].encoded);
        assert_true(cloudevents_decode_header(&arena, buf_bytes(&b), &decoded));
        assert_bytes(decoded, cases[i].plain);
        buf_done(&b);
    }
    for (size_t i = 0; i < COUNT(malformed); i++) {
        assert_false(cloudevents_decode_header(&arena, bytes_of_string(malformed[i]), &decoded));
    }
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_data_and_metadata),
        cmocka_unit_test(test_where_attributes_go),
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_fields_of_rejections),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_header_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
