/* Protobuf bodies to drafts and answers to protobuf, against the generated code. */
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
    uint8_t *body;
    bool ok;
};

static void read_bytes(struct read *r, enum draft_body body, const void *p, size_t n)
{
    arena_init(&r->arena, 4096, 1u << 20);
    draft_init(&r->draft, body, &limits, &r->arena);
    r->body = malloc(n > 0 ? n : 1);
    assert_non_null(r->body);
    if (n > 0) {
        memcpy(r->body, p, n);
    }
    r->ok = codec_read_draft(bytes_of(r->body, n), &r->draft);
}

static void read_message(struct read *r, enum draft_body body, const ProtobufCMessage *message)
{
    uint8_t packed[4096];
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof packed);
    read_bytes(r, body, packed, protobuf_c_message_pack(message, packed));
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

static void assert_rejected(struct read *r, enum problem problem, const char *field)
{
    assert_false(r->ok);
    assert_int_equal(r->draft.rejection.problem, problem);
    assert_string_equal(r->draft.rejection.field, field);
    assert_true(r->draft.rejection.detail[0] != '\0');
    done(r);
}

static void test_all_fields_of_an_event(void **state)
{
    (void)state;
    uint8_t bytes[] = "0123456789abcdef";
    char *tags[] = {(char *)"a", (char *)"b"};
    Daybook__V1__NewEvent event = DAYBOOK__V1__NEW_EVENT__INIT;
    event.id = (ProtobufCBinaryData){16, bytes};
    event.type = (char *)"T";
    event.data = (ProtobufCBinaryData){3, bytes};
    event.content_type = (char *)"text/plain";
    event.metadata = (ProtobufCBinaryData){2, bytes};
    event.n_tags = 2;
    event.tags = tags;
    event.occurred_at = (char *)"2026-01-01T00:00:00Z";
    event.schema_version = 9;
    Daybook__V1__NewEvent *events[] = {&event};
    Daybook__V1__Append append = DAYBOOK__V1__APPEND__INIT;
    append.stream = (char *)"s-1";
    append.n_events = 1;
    append.events = events;
    append.expected_case = DAYBOOK__V1__APPEND__EXPECTED_EXPECTED_REVISION;
    append.expected_revision = 4;

    struct read r;
    read_message(&r, DRAFT_APPEND, &append.base);
    assert_true(r.ok);
    const struct draft_append *a = r.draft.appends.first;
    assert_text(a->stream, "s-1");
    assert_true(a->expected_given);
    assert_int_equal(a->expected.kind, EXPECT_REVISION);
    assert_int_equal(a->expected.revision, 4);
    const struct event_draft *f = &a->first->fields;
    assert_text(f->id, "0123456789abcdef");
    assert_text(f->type, "T");
    assert_text(f->data, "012");
    assert_text(f->content_type, "text/plain");
    assert_text(f->metadata, "01");
    assert_text(f->occurred_at, "2026-01-01T00:00:00Z");
    assert_int_equal(f->schema_version, 9);
    assert_int_equal(f->tag_count, 2);
    assert_text(f->tags[1], "b");
    assert_int_equal(a->first->data_form, DRAFT_DATA_BINARY);
    done(&r);
}

static void test_states(void **state)
{
    (void)state;
    static const enum expectation_kind kinds[] = {EXPECT_ANY, EXPECT_NO_STREAM,
                                                  EXPECT_STREAM_EXISTS};
    for (int i = 0; i < 4; i++) {
        Daybook__V1__Append append = DAYBOOK__V1__APPEND__INIT;
        append.expected_case = DAYBOOK__V1__APPEND__EXPECTED_EXPECTED_STATE;
        append.expected_state = (Daybook__V1__StreamState)i;
        struct read r;
        read_message(&r, DRAFT_APPEND, &append.base);
        if (i == 3) {
            assert_rejected(&r, PROBLEM_INVALID_FIELD, "expected_state");
            return;
        }
        assert_true(r.ok);
        assert_true(r.draft.appends.first->expected_given);
        assert_int_equal(r.draft.appends.first->expected.kind, kinds[i]);
        done(&r);
    }
}

static void test_many_in_a_command(void **state)
{
    (void)state;
    Daybook__V1__Append append = DAYBOOK__V1__APPEND__INIT;
    Daybook__V1__Append *appends[] = {&append, &append};
    Daybook__V1__Check check = DAYBOOK__V1__CHECK__INIT;
    Daybook__V1__Check *checks[] = {&check};
    check.stream = (char *)"c";
    check.expected_case = DAYBOOK__V1__CHECK__EXPECTED_EXPECTED_REVISION;
    check.expected_revision = 2;
    Daybook__V1__AppendMany many = DAYBOOK__V1__APPEND_MANY__INIT;
    many.n_appends = 2;
    many.appends = appends;
    many.n_checks = 1;
    many.checks = checks;
    Daybook__V1__Command command = DAYBOOK__V1__COMMAND__INIT;
    command.command_case = DAYBOOK__V1__COMMAND__COMMAND_APPEND_MANY;
    command.append_many = &many;
    struct read r;
    read_message(&r, DRAFT_COMMAND, &command.base);
    assert_true(r.ok);
    assert_int_equal(r.draft.appends.n, 2);
    assert_int_equal(r.draft.checks.first->expected.revision, 2);
    assert_null(r.draft.appends.first->stream.p);
    assert_true(r.draft.many);
    assert_string_equal(r.draft.root, "append_many.");
    done(&r);
}

static void test_condition(void **state)
{
    (void)state;
    char *types[] = {(char *)"A", (char *)"B"}, *tags[] = {(char *)"x:1"};
    Daybook__V1__EventMatch item = DAYBOOK__V1__EVENT_MATCH__INIT;
    Daybook__V1__EventMatch none = DAYBOOK__V1__EVENT_MATCH__INIT;
    Daybook__V1__EventMatch *items[] = {&item, &none};
    item.n_types = 2;
    item.types = types;
    item.n_tags = 1;
    item.tags = tags;
    Daybook__V1__EventQuery query = DAYBOOK__V1__EVENT_QUERY__INIT;
    query.n_items = 2;
    query.items = items;
    Daybook__V1__Condition condition = DAYBOOK__V1__CONDITION__INIT;
    condition.fail_if_events_match = &query;
    condition.after = UINT64_MAX;
    Daybook__V1__AppendMany many = DAYBOOK__V1__APPEND_MANY__INIT;
    many.condition = &condition;
    struct read r;
    read_message(&r, DRAFT_APPEND_MANY, &many.base);
    assert_true(r.ok);
    assert_true(r.draft.condition.given && r.draft.condition.query_given);
    assert_true(r.draft.condition.after == UINT64_MAX);
    assert_int_equal(r.draft.condition.n, 2);
    assert_int_equal(r.draft.condition.first->fields.type_count, 2);
    assert_text(r.draft.condition.first->fields.types[1], "B");
    assert_text(r.draft.condition.first->fields.tags[0], "x:1");
    assert_int_equal(r.draft.condition.last->fields.tag_count, 0);
    done(&r);
    condition.fail_if_events_match = NULL;
    read_message(&r, DRAFT_APPEND_MANY, &many.base);
    assert_true(r.ok);
    assert_true(r.draft.condition.given && !r.draft.condition.query_given);
    done(&r);
}

/* What a generated struct would cut at a NUL is seen whole. */
static void test_nul_in_a_string_is_kept(void **state)
{
    (void)state;
    struct read r;
    read_bytes(&r, DRAFT_APPEND,
               "\x0a\x03"
               "a\0b",
               5);
    assert_true(r.ok);
    assert_int_equal(r.draft.appends.first->stream.n, 3);
    assert_memory_equal(r.draft.appends.first->stream.p, "a\0b", 3);
    done(&r);
}

static void test_rejections(void **state)
{
    (void)state;
    struct read r;
    read_bytes(&r, DRAFT_APPEND,
               "\x0a\x05"
               "a",
               3); /* cut */
    assert_rejected(&r, PROBLEM_INVALID_PROTOBUF, "");
    read_bytes(&r, DRAFT_APPEND, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11);
    assert_rejected(&r, PROBLEM_INVALID_PROTOBUF, "");
    read_bytes(&r, DRAFT_APPEND, "{\"events\":[]}", 13); /* JSON with the wrong Content-Type */
    assert_rejected(&r, PROBLEM_INVALID_PROTOBUF, "");
    read_bytes(&r, DRAFT_APPEND_MANY, "\x7a\x00", 2); /* field 15: a guard of a newer client */
    assert_rejected(&r, PROBLEM_UNKNOWN_FIELD, "#15");
    read_bytes(&r, DRAFT_APPEND_MANY, "\x1a\x02\x7a\x00", 4); /* in the condition, … */
    assert_rejected(&r, PROBLEM_UNKNOWN_FIELD, "condition.#15");
    read_bytes(&r, DRAFT_APPEND_MANY, "\x1a\x04\x0a\x02\x7a\x00", 6); /* … in its query, … */
    assert_rejected(&r, PROBLEM_UNKNOWN_FIELD, "condition.fail_if_events_match.#15");
    read_bytes(&r, DRAFT_APPEND_MANY, "\x1a\x06\x0a\x04\x0a\x02\x7a\x00", 8); /* … in an item */
    assert_rejected(&r, PROBLEM_UNKNOWN_FIELD, "condition.fail_if_events_match.items[0].#15");
    read_bytes(&r, DRAFT_APPEND, "\x22\x02\x78\x01", 4); /* events[0] has field 15 */
    assert_rejected(&r, PROBLEM_UNKNOWN_FIELD, "events[0].#15");
    read_bytes(&r, DRAFT_COMMAND, "", 0);
    assert_rejected(&r, PROBLEM_MISSING_FIELD, "append");
    read_bytes(&r, DRAFT_APPEND, "\x22\x00\x22\x00\x22\x00\x22\x00\x22\x00\x22\x00", 12);
    assert_rejected(&r, PROBLEM_TOO_MANY_EVENTS, "");
}

/* A body of very many empty parts ends at the arena's limit, not in memory without end. */
static void test_flood(void **state)
{
    (void)state;
    size_t n = 1u << 20;
    uint8_t *flood = malloc(n);
    assert_non_null(flood);
    for (size_t i = 0; i < n; i += 2) {
        flood[i] = 0x22;
        flood[i + 1] = 0;
    }
    struct read r;
    read_bytes(&r, DRAFT_APPEND, flood, n);
    free(flood);
    assert_rejected(&r, PROBLEM_TOO_MANY_EVENTS, "");
}

/* Stored bytes with a position before them are an Event, alone and in a batch. */
static void test_events_out(void **state)
{
    (void)state;
    static const uint8_t body[] = {0x10, 7, 0x18, 5, 0x22, 1, 's', 0x2a, 1, 'i', 0x32, 1, 'T'};
    struct store_record record = {.position = 300, .body = {body, sizeof body}};
    struct buf b;
    buf_init(&b, 4096);
    codec_put_event(&b, &record);
    Daybook__V1__Event *e = daybook__v1__event__unpack(NULL, b.n, b.p);
    assert_non_null(e);
    assert_int_equal(e->position, 300);
    assert_int_equal(e->revision, 7);
    assert_string_equal(e->type, "T");
    daybook__v1__event__free_unpacked(e, NULL);
    buf_clear(&b);
    codec_put_batch_event(&b, &record);
    record.position = UINT64_MAX;
    codec_put_batch_event(&b, &record);
    Daybook__V1__EventBatch *batch = daybook__v1__event_batch__unpack(NULL, b.n, b.p);
    assert_non_null(batch);
    assert_int_equal(batch->n_events, 2);
    assert_int_equal(batch->events[0]->position, 300);
    assert_true(batch->events[1]->position == UINT64_MAX);
    assert_string_equal(batch->events[1]->stream, "s");
    daybook__v1__event_batch__free_unpacked(batch, NULL);
    buf_done(&b);
}

static void test_lists_out(void **state)
{
    (void)state;
    struct store_name items[] = {{BYTES_LITERAL("a"), 1}, {BYTES_LITERAL("b-1"), 200}};
    struct store_name_list list = {.items = items, .n = 2, .end = true};
    struct buf b;
    buf_init(&b, 4096);
    codec_put_stream_list(&b, &list, BYTES_NONE);
    Daybook__V1__StreamList *streams = daybook__v1__stream_list__unpack(NULL, b.n, b.p);
    assert_non_null(streams);
    assert_int_equal(streams->n_streams, 2);
    assert_string_equal(streams->streams[1]->category, "b");
    assert_int_equal(streams->streams[1]->head_revision, 200);
    assert_string_equal(streams->next, "b-1");
    assert_true(streams->end);
    daybook__v1__stream_list__free_unpacked(streams, NULL);
    buf_clear(&b);
    codec_put_name_counts(&b, &list, BYTES_NONE);
    Daybook__V1__NameCountList *counts = daybook__v1__name_count_list__unpack(NULL, b.n, b.p);
    assert_non_null(counts);
    assert_int_equal(counts->items[1]->events, 200);
    daybook__v1__name_count_list__free_unpacked(counts, NULL);
    buf_done(&b);
}

static void test_stream_info_out(void **state)
{
    (void)state;
    struct store_stream_info info = {
        .head_revision = 3, .first_revision = 1, .events = 3, .created_time_us = 5};
    struct buf b;
    buf_init(&b, 4096);
    codec_put_stream_info(&b, BYTES_LITERAL("b-1"), &info);
    Daybook__V1__StreamInfo *m = daybook__v1__stream_info__unpack(NULL, b.n, b.p);
    assert_non_null(m);
    assert_string_equal(m->category, "b");
    assert_int_equal(m->head_revision, 3);
    assert_int_equal(m->created_time_us, 5);
    assert_int_equal(m->metadata.len, 2);
    daybook__v1__stream_info__free_unpacked(m, NULL);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_fields_of_an_event),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_many_in_a_command),
        cmocka_unit_test(test_condition),
        cmocka_unit_test(test_nul_in_a_string_is_kept),
        cmocka_unit_test(test_rejections),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_events_out),
        cmocka_unit_test(test_lists_out),
        cmocka_unit_test(test_stream_info_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
