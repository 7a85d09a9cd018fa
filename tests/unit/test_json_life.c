/* JSON bodies of writes that change what can be read of a stream. */
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

static void read_body(struct read *r, enum draft_body body, const char *text)
{
    size_t n = strlen(text);
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

static void assert_rejected(enum draft_body body, const char *text, enum problem problem,
                            const char *field)
{
    struct read r;
    read_body(&r, body, text);
    assert_false(r.ok);
    assert_string_equal(r.draft.rejection.field, field);
    assert_int_equal(r.draft.rejection.problem, problem);
    assert_true(r.draft.rejection.detail[0] != '\0');
    done(&r);
}

/* Each field is set by its value; custom is kept byte for byte. */
static void test_metadata(void **state)
{
    (void)state;
    struct read r;
    read_body(&r, DRAFT_SET_METADATA,
              "{\"max_count\":5,\"max_age_s\":60,\"truncate_before\":3,\"expected_revision\":4,"
              "\"custom\": { \"a\" : [1.10, {\"b\":null}] } ,\"stream\":\"s\\u002d1\"}");
    assert_true(r.ok);
    const struct draft_life *life = &r.draft.life;
    assert_int_equal(life->kind, COMMAND_SET_METADATA);
    assert_text(life->target.stream, "s-1");
    assert_true(life->target.expected_given);
    assert_int_equal(life->target.expected.kind, EXPECT_REVISION);
    assert_int_equal(life->target.expected.revision, 4);
    assert_true(life->change.set_max_count && life->change.set_max_age);
    assert_int_equal(life->change.max_count, 5);
    assert_int_equal(life->change.max_age_s, 60);
    assert_true(life->change.set_truncate_before);
    assert_int_equal(life->change.truncate_before, 3);
    assert_true(life->change.set_custom && life->custom_is_json);
    assert_text(life->change.custom, "{ \"a\" : [1.10, {\"b\":null}] }");
    assert_string_equal(r.draft.root, "");
    done(&r);
}

/* null removes, absent leaves. */
static void test_null_and_absent(void **state)
{
    (void)state;
    struct read r;
    read_body(&r, DRAFT_SET_METADATA, "{}");
    assert_true(r.ok);
    assert_false(r.draft.life.change.set_max_count || r.draft.life.change.set_max_age);
    assert_false(r.draft.life.change.set_truncate_before || r.draft.life.change.set_custom);
    done(&r);
    read_body(&r, DRAFT_SET_METADATA,
              "{\"max_count\":null,\"max_age_s\":null,\"truncate_before\":null,\"custom\":null,"
              "\"stream\":null,\"expected_revision\":null}");
    assert_true(r.ok);
    const struct life_change *c = &r.draft.life.change;
    assert_true(c->set_max_count && c->set_max_age && c->set_truncate_before && c->set_custom);
    assert_int_equal(c->max_count + c->max_age_s + c->truncate_before + c->custom.n, 0);
    assert_false(r.draft.life.target.expected_given);
    assert_null(r.draft.life.target.stream.p);
    done(&r);
}

static void test_commands(void **state)
{
    (void)state;
    struct read r;
    read_body(&r, DRAFT_COMMAND, "{\"set_metadata\":{\"stream\":\"s\",\"max_count\":1}}");
    assert_true(r.ok);
    assert_int_equal(r.draft.life.kind, COMMAND_SET_METADATA);
    assert_string_equal(r.draft.root, "set_metadata.");
    done(&r);
    read_body(&r, DRAFT_COMMAND,
              "{\"delete_stream\":{\"tombstone\":true,\"stream\":\"s\","
              "\"expected_revision\":\"stream_exists\"}}");
    assert_true(r.ok);
    assert_int_equal(r.draft.life.kind, COMMAND_DELETE_STREAM);
    assert_true(r.draft.life.tombstone);
    assert_int_equal(r.draft.life.target.expected.kind, EXPECT_STREAM_EXISTS);
    done(&r);
    read_body(&r, DRAFT_COMMAND, "{\"delete_stream\":{\"tombstone\":false,\"stream\":\"s\"}}");
    assert_true(r.ok);
    assert_false(r.draft.life.tombstone);
    done(&r);
    read_body(&r, DRAFT_COMMAND,
              "{\"redact\":{\"stream\":\"s\",\"revision\":7,\"reason\":\"a\\nb\"}}");
    assert_true(r.ok);
    assert_int_equal(r.draft.life.kind, COMMAND_REDACT);
    assert_int_equal(r.draft.life.revision, 7);
    assert_text(r.draft.life.reason, "a\nb");
    assert_string_equal(r.draft.root, "redact.");
    done(&r);
}

static void test_rejections(void **state)
{
    (void)state;
    static const char *const wrong_numbers[] = {
        "0",     "-1",   "1.0", "1e3", "9223372036854775808", "99999999999999999999",
        "\"5\"", "true", "[]",  "{}"};
    static const char *const members[] = {"max_count", "max_age_s", "truncate_before"};
    for (size_t m = 0; m < 3; m++) {
        for (size_t i = 0; i < sizeof wrong_numbers / sizeof *wrong_numbers; i++) {
            char text[128];
            (void)snprintf(text, sizeof text, "{\"%s\":%s}", members[m], wrong_numbers[i]);
            assert_rejected(DRAFT_SET_METADATA, text, PROBLEM_INVALID_FIELD, members[m]);
        }
    }
    assert_rejected(DRAFT_SET_METADATA, "{\"custom\":[]}", PROBLEM_INVALID_FIELD, "custom");
    assert_rejected(DRAFT_SET_METADATA, "{\"custom\":\"{}\"}", PROBLEM_INVALID_FIELD, "custom");
    assert_rejected(DRAFT_SET_METADATA, "{\"custom\":{\"a\":}}", PROBLEM_INVALID_JSON, "");
    assert_rejected(DRAFT_SET_METADATA, "{\"max_counts\":1}", PROBLEM_UNKNOWN_FIELD, "max_counts");
    assert_rejected(DRAFT_SET_METADATA, "{\"max_count\":1,\"max_count\":2}", PROBLEM_INVALID_FIELD,
                    "max_count");
    assert_rejected(DRAFT_SET_METADATA, "[]", PROBLEM_INVALID_FIELD, "");
    assert_rejected(DRAFT_SET_METADATA, "", PROBLEM_INVALID_JSON, "");
    assert_rejected(DRAFT_REDACT, "{\"reason\":5}", PROBLEM_INVALID_FIELD, "reason");
    assert_rejected(DRAFT_COMMAND, "{\"redact\":{\"revision\":-1}}", PROBLEM_INVALID_FIELD,
                    "redact.revision");
    assert_rejected(DRAFT_COMMAND, "{\"delete_stream\":{\"tombstone\":\"true\"}}",
                    PROBLEM_INVALID_FIELD, "delete_stream.tombstone");
    assert_rejected(DRAFT_COMMAND, "{\"delete_stream\":[]}", PROBLEM_INVALID_FIELD,
                    "delete_stream");
    assert_rejected(DRAFT_COMMAND, "{\"delete_stream\":{},\"redact\":{}}", PROBLEM_INVALID_FIELD,
                    "delete_stream");
    assert_rejected(DRAFT_COMMAND, "{\"redact\":null}", PROBLEM_MISSING_FIELD, "append");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_null_and_absent),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_rejections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
