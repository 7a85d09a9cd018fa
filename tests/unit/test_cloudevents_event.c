/* Tests of server/cloudevents_event.c, cloudevents_write.c and cloudevents_protobuf.c: from a
 * stored event to a CloudEvent, and back through protobuf. */
#include "server/cloudevents_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define PLACE                                                                      \
    "\"stream\":\"s 1\",\"revision\":\"18446744073709551615\",\"position\":\"7\"," \
    "\"recordedtime\":\"1970-01-01T00:00:00.000000Z\""
#define HEAD   "{\"specversion\":\"1.0\",\"id\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\"source\":"
#define NATIVE HEAD "\"/v1/streams/s%201\",\"type\":\"T\",\"time\":\"1970-01-01T00:00:00.000000Z\","
#define JSON   "\"datacontenttype\":\"application/json\","

static const uint8_t id[UUID_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct event stored(const char *content_type, const char *data, const char *metadata)
{
    return (struct event){.position = 7,
                          .revision = UINT64_MAX,
                          .stream = BYTES_LITERAL("s 1"),
                          .id = bytes_of(id, sizeof id),
                          .type = BYTES_LITERAL("T"),
                          .data = bytes_of_string(data),
                          .content_type = bytes_of_string(content_type),
                          .metadata = bytes_of_string(metadata)};
}

static void test_json_of_events(void **state)
{
    (void)state;
    static const struct {
        const char *content_type, *data, *metadata, *wanted;
    } cases[] = {
        {"", "{ }", "", NATIVE JSON PLACE ",\"data\":{ }}"},
        {"", "", "", NATIVE JSON PLACE "}"}, /* wiped */
        {"a/b", "x", "", NATIVE "\"datacontenttype\":\"a/b\"," PLACE ",\"data_base64\":\"eA==\"}"},
        {"text/x", "x", "", NATIVE "\"datacontenttype\":\"text/x\"," PLACE ",\"data\":\"x\"}"},
        {"text/x", "\xff", "",
         NATIVE "\"datacontenttype\":\"text/x\"," PLACE ",\"data_base64\":\"/w==\"}"},
        {"text/json", "[", "",
         NATIVE "\"datacontenttype\":\"text/json\"," PLACE ",\"data\":\"[\"}"},
        {"", "1",
         "{\"a\":\"x\",\"b\":1,\"c\":false,\"D\":1,\"e\":[],\"f\":1.5,\"id\":\"x\",\"data\":1}",
         NATIVE JSON PLACE ",\"a\":\"x\",\"b\":1,\"c\":false,\"data\":1}"},
        {"", "1", "{\"cloudevents\":{\"source\":\"/y\",\"subject\":\"S\"}}",
         HEAD "\"/y\",\"type\":\"T\",\"subject\":\"S\"," JSON PLACE ",\"data\":1}"},
        {"", "null",
         "{\"cloudevents\":{\"source\":\"/y\",\"datacontenttype\":null,\"no_data\":true}}",
         HEAD "\"/y\",\"type\":\"T\"," PLACE "}"},
        {"", "1", "{\"cloudevents\":{\"source\":\"/y\",\"no_data\":true}}",
         HEAD "\"/y\",\"type\":\"T\"," JSON PLACE ",\"data\":1}"},
        {"a/b", "x", "{\"cloudevents\":{\"source\":\"/y\",\"text_data\":true}}",
         HEAD "\"/y\",\"type\":\"T\",\"datacontenttype\":\"a/b\"," PLACE ",\"data\":\"x\"}"},
        {"a/b", "x",
         "{\"cloudevents\":{\"source\":\"/y\",\"datacontenttype\":null,\"text_data\":true}}",
         HEAD "\"/y\",\"type\":\"T\"," PLACE ",\"data_base64\":\"eA==\"}"},
        {"", "1", "{\"cloudevents\":{\"source\":\"y y\",\"id\":\"x\"},\"position\":\"no\"}",
         NATIVE JSON PLACE ",\"data\":1}"},
    };
    struct arena arena;
    arena_init(&arena, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct event e = stored(cases[i].content_type, cases[i].data, cases[i].metadata);
        struct buf b;
        buf_init(&b, 1u << 20);
        assert_int_equal(cloudevents_put_json(&b, &arena, &e), ERR_OK);
        buf_put_byte(&b, '\0');
        assert_string_equal((const char *)b.p, cases[i].wanted);
        buf_done(&b);
    }
    arena_done(&arena);
}

/* What was wiped is not there: neither data nor a source of its own, and it says so. */
static void test_redacted_events(void **state)
{
    (void)state;
    struct arena arena;
    struct buf b;
    struct event e = stored("text/plain", "", "");
    e.redacted = true;
    arena_init(&arena, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    buf_init(&b, 1u << 20);
    assert_int_equal(cloudevents_put_json(&b, &arena, &e), ERR_OK);
    buf_put_byte(&b, '\0');
    assert_string_equal((const char *)b.p,
                        NATIVE "\"datacontenttype\":\"text/plain\"," PLACE ",\"redacted\":true}");
    buf_done(&b);
    arena_done(&arena);
}

/* A message that is written is read again as the same event, but for its place. */
static void test_protobuf_there_and_back(void **state)
{
    (void)state;
    static const char metadata[] =
        "{\"s\":\"x\",\"n\":-5,\"b\":true,\"u\":\"a:b\",\"r\":\"../c\",\"w\":\"AP8=\","
        "\"t\":\"1969-12-31T23:59:59.999999999Z\","
        "\"cloudevents\":{\"source\":\"/y\",\"id\":\"1\",\"subject\":\"S\",\"attribute_types\":"
        "{\"u\":\"uri\",\"r\":\"uri_ref\",\"w\":\"bytes\",\"t\":\"timestamp\"}}}";
    static const struct app_limits limits = {
        .event_bytes_max = 1u << 20, .body_bytes_max = 1u << 20, .append_events_max = 5};
    struct arena arena, scratch;
    struct draft d;
    struct buf b;
    arena_init(&arena, 4096, 1u << 20);
    arena_init(&scratch, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    buf_init(&b, 1u << 20);
    struct event e = stored("a/b", "x", metadata);
    assert_int_equal(cloudevents_put_batch_entry(&b, &scratch, &e), ERR_OK);
    draft_init(&d, DRAFT_APPEND_MANY, &limits, &arena);
    struct cloudevents_input in = {.stream = BYTES_NONE};
    cloudevents_input_init(&in, &d, CLOUDEVENTS_PROTOBUF_BATCH);
    assert_true(cloudevents_read_protobuf(&in, buf_bytes(&b)));
    assert_true(draft_check(&d));
    const struct event_draft *f = &d.appends.first->first->fields;
    assert_true(bytes_equal(f->data, e.data) && bytes_equal(f->content_type, e.content_type));
    static const char *const wanted[] = {"\"s\":\"x\"",
                                         "\"n\":-5",
                                         "\"b\":true",
                                         "\"u\":\"a:b\"",
                                         "\"r\":\"../c\"",
                                         "\"w\":\"AP8=\"",
                                         "\"t\":\"1969-12-31T23:59:59.999999999Z\"",
                                         "\"u\":\"uri\"",
                                         "\"r\":\"uri_ref\"",
                                         "\"w\":\"bytes\"",
                                         "\"t\":\"timestamp\"",
                                         "\"subject\":\"S\"",
                                         "\"id\":\"1\""};
    for (size_t i = 0; i < COUNT(wanted); i++) {
        if (memmem(f->metadata.p, f->metadata.n, wanted[i], strlen(wanted[i])) == NULL) {
            fail_msg("%s is not in %.*s", wanted[i], BYTES_ARGS(f->metadata));
        }
    }
    buf_done(&b);
    arena_done(&scratch);
    arena_done(&arena);
}

/* No prefix of a message is read beyond its end, and each is refused or makes an event. */
static void test_protobuf_that_is_cut(void **state)
{
    (void)state;
    static const struct app_limits limits = {
        .event_bytes_max = 1u << 20, .body_bytes_max = 1u << 20, .append_events_max = 5};
    struct arena scratch;
    struct buf b;
    arena_init(&scratch, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    buf_init(&b, 1u << 20);
    struct event e = stored("a/b", "x", "{\"a\":1}");
    assert_int_equal(cloudevents_put_protobuf(&b, &scratch, &e), ERR_OK);
    for (size_t n = 0; n < b.n; n++) {
        struct arena arena;
        struct draft d;
        uint8_t *exact = malloc(n + 1);
        assert_non_null(exact);
        memcpy(exact + 1, b.p, n);
        arena_init(&arena, 4096, 1u << 20);
        draft_init(&d, DRAFT_APPEND, &limits, &arena);
        struct cloudevents_input in = {.stream = BYTES_LITERAL("s 1")};
        cloudevents_input_init(&in, &d, CLOUDEVENTS_PROTOBUF);
        if (!cloudevents_read_protobuf(&in, bytes_of(exact + 1, n))) {
            assert_true(d.rejection.detail[0] != '\0');
        }
        arena_done(&arena);
        free(exact);
    }
    buf_done(&b);
    arena_done(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_of_events),
        cmocka_unit_test(test_redacted_events),
        cmocka_unit_test(test_protobuf_there_and_back),
        cmocka_unit_test(test_protobuf_that_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
