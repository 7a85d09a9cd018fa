/* Tests of server/wire.c: the bytes of streamed answers, format by format. */
#include "server/wire.h"

#include "tests/unit/support.h"

#include <cmocka.h>

static struct bytes put_control(struct buf *b, enum encoding encoding, bool of_stream,
                                enum wire_control_kind kind)
{
    buf_clear(b);
    const struct wire_control control = {kind, 300, 7};
    wire_put_control(b, (struct wire){encoding, of_stream}, &control);
    assert_int_equal(buf_status(b), ERR_OK);
    return buf_bytes(b);
}

#define ASSERT_BYTES(found, literal)                 \
    do {                                             \
        struct bytes f_ = (found);                   \
        assert_int_equal(f_.n, sizeof(literal) - 1); \
        assert_memory_equal(f_.p, literal, f_.n);    \
    } while (0)

static void test_wire_controls(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    ASSERT_BYTES(put_control(&b, ENCODING_NDJSON, false, WIRE_CAUGHT_UP),
                 "{\"control\":\"caught_up\",\"position\":300}\n");
    ASSERT_BYTES(put_control(&b, ENCODING_NDJSON, true, WIRE_HEARTBEAT),
                 "{\"control\":\"heartbeat\",\"position\":300,\"revision\":7}\n");
    ASSERT_BYTES(put_control(&b, ENCODING_PROTOBUF, false, WIRE_CAUGHT_UP),
                 "\x12\x05\x08\x01\x10\xac\x02");
    ASSERT_BYTES(put_control(&b, ENCODING_PROTOBUF, true, WIRE_HEARTBEAT),
                 "\x12\x07\x08\x02\x10\xac\x02\x18\x07");
    ASSERT_BYTES(put_control(&b, ENCODING_SSE, false, WIRE_CAUGHT_UP),
                 "retry: 1000\nevent: caught_up\nid: 300\ndata: {\"position\":300}\n\n");
    ASSERT_BYTES(
        put_control(&b, ENCODING_SSE, true, WIRE_CAUGHT_UP),
        "retry: 1000\nevent: caught_up\nid: 7\ndata: {\"position\":300,\"revision\":7}\n\n");
    /* A comment, and an id without data: it moves Last-Event-ID and fires no event. */
    ASSERT_BYTES(put_control(&b, ENCODING_SSE, true, WIRE_HEARTBEAT), ": heartbeat\nid: 7\n\n");
    buf_done(&b);
}

/* However the data was sent, a server-sent event is three lines: id, data, nothing. */
static void test_wire_sse_event(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_put(s, "other", "T", "{}");
    test_put(s, "s", "T", "{\"a\":\r\n[1,\n2]}");
    struct store_view *v;
    struct store_record record;
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    assert_int_equal(store_get_event(v, 2, &record), ERR_OK);
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(wire_put_event(&b, (struct wire){ENCODING_SSE, false}, &record), ERR_OK);
    struct bytes start = BYTES_LITERAL("id: 2\ndata: {\"position\":2,");
    struct bytes end = BYTES_LITERAL("\"data\":{\"a\":  [1, 2]}}\n\n");
    assert_true(bytes_have_prefix(buf_bytes(&b), start));
    assert_memory_equal(b.p + b.n - end.n, end.p, end.n);
    size_t breaks = 0;
    for (size_t i = 0; i < b.n; i++) {
        breaks += b.p[i] == '\n' || b.p[i] == '\r';
    }
    assert_int_equal(breaks, 3);
    buf_clear(&b); /* of a stream the number is the revision */
    assert_int_equal(wire_put_event(&b, (struct wire){ENCODING_SSE, true}, &record), ERR_OK);
    assert_true(bytes_have_prefix(buf_bytes(&b), BYTES_LITERAL("id: 1\n")));
    buf_done(&b);
    store_view_close(v);
    store_close(s);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_controls),
        cmocka_unit_test(test_wire_sse_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
