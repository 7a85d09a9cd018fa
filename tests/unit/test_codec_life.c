/* Protobuf of a stream's life, in and out, against the generated code. */
#include "server/codec.h"

#include "daybook/v1/commands.pb-c.h"
#include "daybook/v1/streams.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct app_limits limits = {
    .event_bytes_max = 1024, .body_bytes_max = 1u << 20, .append_events_max = 5};

struct read {
    struct arena arena;
    struct draft draft;
    uint8_t body[1024]; /* what is decoded borrows from it */
    bool ok;
};

static void read_message(struct read *r, enum draft_body body, const ProtobufCMessage *message)
{
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof r->body);
    arena_init(&r->arena, 4096, 1u << 20);
    draft_init(&r->draft, body, &limits, &r->arena);
    size_t n = protobuf_c_message_pack(message, r->body);
    r->ok = codec_read_draft(bytes_of(r->body, n), &r->draft);
}

static void assert_text(struct bytes actual, const char *expected)
{
    assert_int_equal(actual.n, strlen(expected));
    assert_memory_equal(actual.p, expected, actual.n);
}

/* What is absent is not set; what is there is, 0 and empty too. */
static void test_metadata(void **state)
{
    (void)state;
    struct read r;
    Daybook__V1__SetMetadata m;
    daybook__v1__set_metadata__init(&m);
    read_message(&r, DRAFT_SET_METADATA, &m.base);
    assert_true(r.ok);
    const struct life_change *c = &r.draft.life.change;
    assert_false(c->set_max_count || c->set_max_age || c->set_truncate_before || c->set_custom);
    assert_false(r.draft.life.target.expected_given);
    arena_done(&r.arena);

    m.stream = (char *)(uintptr_t) "s-1";
    m.expected_case = DAYBOOK__V1__SET_METADATA__EXPECTED_EXPECTED_STATE;
    m.expected_state = DAYBOOK__V1__STREAM_STATE__STREAM_STATE_STREAM_EXISTS;
    m.max_count_change_case = DAYBOOK__V1__SET_METADATA__MAX_COUNT_CHANGE_MAX_COUNT;
    m.max_count = 0;
    m.max_age_s_change_case = DAYBOOK__V1__SET_METADATA__MAX_AGE_S_CHANGE_MAX_AGE_S;
    m.max_age_s = 60;
    m.truncate_before_change_case =
        DAYBOOK__V1__SET_METADATA__TRUNCATE_BEFORE_CHANGE_TRUNCATE_BEFORE;
    m.truncate_before = 9;
    m.custom_change_case = DAYBOOK__V1__SET_METADATA__CUSTOM_CHANGE_CUSTOM;
    m.custom = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "{}"};
    Daybook__V1__Command command = DAYBOOK__V1__COMMAND__INIT;
    command.command_case = DAYBOOK__V1__COMMAND__COMMAND_SET_METADATA;
    command.set_metadata = &m;
    read_message(&r, DRAFT_COMMAND, &command.base);
    assert_true(r.ok);
    assert_true(c->set_max_count && c->set_max_age && c->set_truncate_before && c->set_custom);
    assert_int_equal(c->max_count, 0);
    assert_int_equal(c->max_age_s, 60);
    assert_int_equal(c->truncate_before, 9);
    assert_text(c->custom, "{}");
    assert_false(r.draft.life.custom_is_json);
    assert_text(r.draft.life.target.stream, "s-1");
    assert_int_equal(r.draft.life.target.expected.kind, EXPECT_STREAM_EXISTS);
    assert_string_equal(r.draft.root, "set_metadata.");
    arena_done(&r.arena);
}

static void test_delete_and_redact(void **state)
{
    (void)state;
    struct read r;
    Daybook__V1__DeleteStream delete = DAYBOOK__V1__DELETE_STREAM__INIT;
    delete.stream = (char *)(uintptr_t) "s";
    delete.tombstone = true;
    delete.expected_case = DAYBOOK__V1__DELETE_STREAM__EXPECTED_EXPECTED_REVISION;
    delete.expected_revision = 3;
    Daybook__V1__Command command = DAYBOOK__V1__COMMAND__INIT;
    command.command_case = DAYBOOK__V1__COMMAND__COMMAND_DELETE_STREAM;
    command.delete_stream = &delete;
    read_message(&r, DRAFT_COMMAND, &command.base);
    assert_true(r.ok);
    assert_int_equal(r.draft.life.kind, COMMAND_DELETE_STREAM);
    assert_true(r.draft.life.tombstone);
    assert_int_equal(r.draft.life.target.expected.revision, 3);
    arena_done(&r.arena);

    Daybook__V1__Redact redact = DAYBOOK__V1__REDACT__INIT;
    redact.revision = 4;
    redact.reason = (char *)(uintptr_t) "asked for";
    read_message(&r, DRAFT_REDACT, &redact.base);
    assert_true(r.ok);
    assert_int_equal(r.draft.life.kind, COMMAND_REDACT);
    assert_true(r.draft.life.revision_given);
    assert_int_equal(r.draft.life.revision, 4);
    assert_text(r.draft.life.reason, "asked for");
    arena_done(&r.arena);
}

/* A guard of a later version is not passed over. */
static void test_unknown_fields(void **state)
{
    (void)state;
    static const struct {
        enum draft_body body;
        uint8_t bytes[2];
        const char *field;
    } cases[] = {
        {DRAFT_SET_METADATA, {0x40, 1}, "#8"},
        {DRAFT_DELETE_STREAM, {0x28, 1}, "#5"},
        {DRAFT_REDACT, {0x20, 1}, "#4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena;
        struct draft d;
        arena_init(&arena, 4096, 1u << 20);
        draft_init(&d, cases[i].body, &limits, &arena);
        assert_false(codec_read_draft(bytes_of(cases[i].bytes, 2), &d));
        assert_int_equal(d.rejection.problem, PROBLEM_UNKNOWN_FIELD);
        assert_string_equal(d.rejection.field, cases[i].field);
        arena_done(&arena);
    }
}

static void test_out(void **state)
{
    (void)state;
    const struct life_result result = {
        .position = 7, .head_revision = 3, .first_revision = 4, .deleted = true};
    const struct life_answer a = {
        .stream = BYTES_LITERAL("s"), .revision = 2, .duplicate = true, .result = &result};
    struct buf b;
    buf_init(&b, 4096);
    codec_put_life_result(&b, &a);
    Daybook__V1__LifeResult *m = daybook__v1__life_result__unpack(NULL, b.n, b.p);
    assert_non_null(m);
    assert_string_equal(m->stream, "s");
    assert_int_equal(m->position, 7);
    assert_int_equal(m->first_revision, 4);
    assert_int_equal(m->revision, 2);
    assert_true(m->deleted && !m->tombstoned && m->duplicate);
    daybook__v1__life_result__free_unpacked(m, NULL);
    buf_clear(&b);
    const struct store_stream_info info = {.head_revision = 3,
                                           .max_count = 2,
                                           .custom = BYTES_LITERAL("{\"a\":1}"),
                                           .tombstoned = true};
    codec_put_stream_info(&b, BYTES_LITERAL("s"), &info);
    Daybook__V1__StreamInfo *s = daybook__v1__stream_info__unpack(NULL, b.n, b.p);
    assert_non_null(s);
    assert_true(s->tombstoned && s->max_count == 2);
    assert_text(bytes_of(s->custom.data, s->custom.len), "{\"a\":1}");
    assert_text(bytes_of(s->metadata.data, s->metadata.len),
                "{\"max_count\":2,\"custom\":{\"a\":1}}");
    daybook__v1__stream_info__free_unpacked(s, NULL);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_delete_and_redact),
        cmocka_unit_test(test_unknown_fields),
        cmocka_unit_test(test_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
