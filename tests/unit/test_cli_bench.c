/* Tests of what `daybook bench` measures with: clients/cli/bench_answer.h, bench_hist.h and
 * bench_request.h. */
#include "clients/cli/bench_answer.h"
#include "clients/cli/bench_hist.h"
#include "clients/cli/bench_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES(text) (text), sizeof(text) - 1

/* ---- answers ---- */

/* Feeds an answer in two pieces, cut at `cut`. */
static void feed(struct bench_answer *a, enum bench_count count, const char *p, size_t n,
                 size_t cut)
{
    bench_answer_reset(a, count);
    size_t taken = bench_answer_feed(a, p, cut);
    if (taken == cut && a->state < BENCH_ANSWER_DONE) {
        bench_answer_feed(a, p + cut, n - cut);
    }
}

/* An answer means the same wherever it is cut. */
static void check(enum bench_count count, const char *p, size_t n, unsigned status,
                  const char *body, uint64_t events)
{
    static struct bench_answer a;
    for (size_t cut = 0; cut <= n; cut++) {
        feed(&a, count, p, n, cut);
        assert_int_equal(a.state, BENCH_ANSWER_DONE);
        assert_int_equal(a.status, status);
        assert_string_equal(a.text, body);
        assert_int_equal(a.body_bytes, strlen(body));
        assert_int_equal(a.events, events);
    }
}

static void check_broken(enum bench_count count, const char *p, size_t n)
{
    static struct bench_answer a;
    for (size_t cut = 0; cut <= n; cut++) {
        feed(&a, count, p, n, cut);
        assert_int_equal(a.state, BENCH_ANSWER_BROKEN);
    }
}

static void test_answer_length(void **state)
{
    (void)state;
    check(BENCH_COUNT_NONE,
          BYTES("HTTP/1.1 201 Created\r\ncontent-LENGTH:  5 \r\nTrace: x\r\n\r\nhello"), 201,
          "hello", 0);
    check(BENCH_COUNT_NONE, BYTES("HTTP/1.1 204 No Content\r\n\r\n"), 204, "", 0);
    check(
        BENCH_COUNT_NONE,
        BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
        404, "no", 0);
}

static void test_answer_chunked(void **state)
{
    (void)state;
    check(BENCH_COUNT_LINES,
          BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "4\r\na\nb\n\r\n0a;x=af\r\n0123456\nc\n\r\n000\r\nTrailer: x\r\n\r\n"),
          200, "a\nb\n0123456\nc\n", 4);
}

/* Two EventBatch fields, the second longer than 127 bytes. */
static void test_answer_fields(void **state)
{
    static char bytes[512] = "HTTP/1.1 200 OK\r\nContent-Length: 136\r\n\r\n\x0a\x02xy\x0a\x81\x01";
    static char body[137] = "\x0a\x02xy\x0a\x81\x01";
    (void)state;
    size_t head_n = (size_t)(strstr(bytes, "\r\n\r\n") - bytes) + 4;
    memset(body + 7, 'z', 129);
    memcpy(bytes + head_n, body, 136);
    check(BENCH_COUNT_FIELDS, bytes, head_n + 136, 200, body, 2);
    bytes[head_n + 1] = 3; /* the first field takes a byte of the second, which then has no end */
    check_broken(BENCH_COUNT_FIELDS, bytes, head_n + 136);
}

static void test_answer_json(void **state)
{
    const char *body =
        "{\"events\":[{\"position\":1,\"x\":\"\"position\"},{\"position\":2}],\"pos\":1}";
    char bytes[256];
    (void)state;
    int n = snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                     strlen(body), body);
    check(BENCH_COUNT_JSON, bytes, (size_t)n, 200, body, 2);
}

static void test_answer_broken(void **state)
{
    (void)state;
    check_broken(BENCH_COUNT_NONE, BYTES("HTTQ/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    check_broken(BENCH_COUNT_NONE, BYTES("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"));
    check_broken(BENCH_COUNT_NONE,
                 BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n;x\r\n"));
    check_broken(
        BENCH_COUNT_NONE,
        BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naa\r\n0\r\n\r\n"));
}

/* Bytes behind an answer are not taken. */
static void test_answer_stops(void **state)
{
    static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n";
    static struct bench_answer a;
    (void)state;
    bench_answer_reset(&a, BENCH_COUNT_NONE);
    assert_int_equal(bench_answer_feed(&a, two, sizeof two - 1), strstr(two, "ok") + 2 - two);
    assert_int_equal(a.state, BENCH_ANSWER_DONE);
}

/* A head without an end is given up, in one piece or byte by byte. */
static void test_answer_endless_head(void **state)
{
    static struct bench_answer a;
    static char head[2 * BENCH_HEAD_MAX];
    (void)state;
    memset(head, 'x', sizeof head);
    bench_answer_reset(&a, BENCH_COUNT_NONE);
    bench_answer_feed(&a, head, sizeof head);
    assert_int_equal(a.state, BENCH_ANSWER_BROKEN);
    bench_answer_reset(&a, BENCH_COUNT_NONE);
    for (size_t i = 0; i < sizeof head && a.state == BENCH_ANSWER_HEAD; i++) {
        assert_int_equal(bench_answer_feed(&a, head + i, 1), 1);
    }
    assert_int_equal(a.state, BENCH_ANSWER_BROKEN);
}

/* ---- histogram ---- */

/* Any value is found again within 0.8 %, and the largest exactly. */
static void test_hist_precision(void **state)
{
    static struct bench_hist h;
    (void)state;
    assert_int_equal(bench_hist_quantile(&h, 0.5), 0);
    for (uint64_t ns = 1; ns < 4000000000000; ns = ns * 21 / 20 + 1) {
        memset(&h, 0, sizeof h);
        bench_hist_add(&h, ns);
        bench_hist_add(&h, UINT64_MAX);
        double found = (double)bench_hist_quantile(&h, 0.5);
        assert_true(found >= (double)ns * 0.992 && found <= (double)ns * 1.008);
        assert_int_equal(h.max, UINT64_MAX);
    }
}

static void test_hist_quantiles(void **state)
{
    static struct bench_hist h;
    (void)state;
    memset(&h, 0, sizeof h);
    for (uint64_t ns = 1; ns <= 100; ns++) {
        bench_hist_add(&h, ns);
    }
    assert_int_equal(bench_hist_quantile(&h, 0.5), 50);
    assert_int_equal(bench_hist_quantile(&h, 0.99), 99);
    assert_int_equal(bench_hist_quantile(&h, 0.999), 100);
    assert_int_equal(bench_hist_quantile(&h, 1), 100);
}

/* ---- requests ---- */

static const struct bench_shape shape = {
    .host = "h:1", .prefix = "/p", .batch = 2, .payload = 256, .streams = 100, .exact = true};

/* The text of the request; what must hold for all: Content-Length is that of the body. */
static char *text_of(const struct bench_template *t)
{
    char *text = strndup((const char *)t->bytes.p, t->bytes.n);
    const char *body = text == NULL ? NULL : strstr(text, "\r\n\r\n");
    const char *length = text == NULL ? NULL : strstr(text, "Content-Length:");
    if (body == NULL || length == NULL) {
        fail_msg("no head and body in the request");
        abort(); /* for analysers: fail_msg does not return */
    }
    body += 4;
    assert_int_equal(strtoull(length + 15, NULL, 10), t->bytes.n - (size_t)(body - text));
    return text;
}

static void test_append_json(void **state)
{
    struct bench_template t;
    (void)state;
    assert_true(bench_append_init(&t, &shape));
    bench_patch_stream(&t, 42);
    bench_patch_events(&t, 99);
    uint64_t heads[] = {0, 12345678901234567890U, 7};
    for (size_t i = 0; i < 3; i++) {
        char end[64];
        bench_patch_expected(&t, heads[i]);
        char *text = text_of(&t);
        snprintf(end, sizeof end, "\"}}],\"expected_revision\":%llu}",
                 (unsigned long long)heads[i]);
        assert_non_null(strstr(text, end));
        assert_int_equal(strlen(strstr(text, end)), strlen(end));
        assert_ptr_equal(
            strstr(text, "POST /p/v1/streams/order-142/events HTTP/1.1\r\nHost: h:1\r\n"), text);
        const char *first = strstr(text, "\"data\":{\"order\":\"00000099\"");
        const char *second = strstr(text, "\"data\":{\"order\":\"00000100\"");
        assert_true(first != NULL && second != NULL);
        const char *data_end = strstr(first, "\"}},{");
        assert_non_null(data_end);
        assert_int_equal(data_end + 2 - (first + 7), 256);
        free(text);
    }
    bench_template_done(&t);
}

/* Payloads of any size are exactly so long, and JSON strings or objects. */
static void test_append_payload_sizes(void **state)
{
    (void)state;
    for (uint64_t size = BENCH_PAYLOAD_MIN; size < 400; size++) {
        struct bench_template t;
        struct bench_shape s = shape;
        s.payload = size;
        s.batch = 1;
        s.exact = false;
        assert_true(bench_append_init(&t, &s));
        bench_patch_events(&t, 7);
        char *text = text_of(&t);
        const char *data = strstr(text, "\"data\":") + 7;
        const char *end = strstr(data, "}]}");
        assert_int_equal(end - data, size);
        assert_true((data[0] == '"' && end[-1] == '"') || (data[0] == '{' && end[-1] == '}'));
        free(text);
        bench_template_done(&t);
    }
}

static void test_append_ids(void **state)
{
    struct bench_template t;
    struct bench_shape s = shape;
    (void)state;
    s.ids = true;
    assert_true(bench_append_init(&t, &s));
    bench_patch_events(&t, 0xabcd);
    char *text = text_of(&t);
    const char *first = strstr(text, "\"id\":\"");
    assert_non_null(first);
    assert_int_equal(first[6 + 14], '7');
    assert_int_equal(strncmp(first + 6 + 23, "-00000000abcd\",", 15), 0);
    assert_non_null(strstr(text, "-00000000abce\","));
    free(text);
    bench_template_done(&t);
}

/* The bytes of Append{expected_revision: 300, events: [...]} as the schema has them. */
static void test_append_protobuf(void **state)
{
    struct bench_template t;
    struct bench_shape s = shape;
    (void)state;
    s.protobuf = s.ids = true;
    s.batch = 1;
    assert_true(bench_append_init(&t, &s));
    bench_patch_events(&t, 0x0102);
    bench_patch_expected(&t, 300);
    const uint8_t *p = t.bytes.p + t.body_at;
    static const uint8_t head[] = {4 << 3 | 2, 0xa2, 0x02, 1 << 3 | 2, 16};
    assert_memory_equal(p, head, sizeof head);
    static const uint8_t counter[] = {0, 0, 0, 0, 1, 2, 2 << 3 | 2, 11};
    assert_memory_equal(p + sizeof head + 10, counter, sizeof counter);
    assert_memory_equal(p + sizeof head + 10 + sizeof counter,
                        "OrderPlaced\x1a\x80\x02{\"order\":\"00000258\"", 33);
    static const uint8_t tail[] = {2 << 3 | 0, 0xac, 0x02};
    assert_memory_equal(t.bytes.p + t.bytes.n - sizeof tail, tail, sizeof tail);
    assert_int_equal(t.bytes.n - t.body_at, 3 + 0x122 + sizeof tail);
    bench_template_done(&t);
}

/* The stream's number is everywhere it belongs, and the request is JSON of one length. */
static void test_append_tagged(void **state)
{
    static const char *const wanted[] = {
        "POST /p/v1/events HTTP/1.1\r\n",
        "{\"appends\":[{\"stream\":\"order-142\",\"events\":[{\"type\":\"OrderPlaced\","
        "\"tags\":[\"order:142\",\"region:2\"],\"data\":{\"order\":\"00000099\"",
        "\"}}]}]",
        ",\"condition\":{\"fail_if_events_match\":{\"items\":[{\"types\":[\"OrderPlaced\"],"
        "\"tags\":[\"order:142\",\"region:2\"]}]},\"after\":                1234}}"};
    (void)state;
    for (int condition = 0; condition < 2; condition++) {
        struct bench_template t;
        struct bench_shape s = shape;
        s.exact = false;
        s.batch = 1;
        s.tagged = true;
        s.condition = condition == 1;
        assert_true(bench_append_init(&t, &s));
        bench_patch_stream(&t, 42);
        bench_patch_events(&t, 99);
        bench_patch_expected(&t, 5); /* says nothing here */
        bench_patch_after(&t, 99999);
        bench_patch_after(&t, 1234);
        char *text = text_of(&t);
        for (int i = 0; i < 3 + condition; i++) {
            assert_non_null(strstr(text, wanted[i]));
        }
        assert_int_equal(strstr(text, "condition") != NULL, condition);
        assert_string_equal(text + strlen(text) - 2, condition == 1 ? "}}" : "]}");
        free(text);
        bench_template_done(&t);
    }
}

static void test_get(void **state)
{
    struct bench_template t;
    (void)state;
    assert_true(bench_get_init(&t, &shape, "/v1/streams/order-*/events?limit=3", "a/b"));
    bench_patch_stream(&t, 99);
    static const char text[] =
        "GET /p/v1/streams/order-199/events?limit=3 HTTP/1.1\r\nHost: h:1\r\nAccept: a/b\r\n\r\n";
    assert_int_equal(t.bytes.n, sizeof text - 1);
    assert_memory_equal(t.bytes.p, text, sizeof text - 1);
    bench_template_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_length),        cmocka_unit_test(test_answer_chunked),
        cmocka_unit_test(test_answer_fields),        cmocka_unit_test(test_answer_json),
        cmocka_unit_test(test_answer_broken),        cmocka_unit_test(test_answer_stops),
        cmocka_unit_test(test_answer_endless_head),  cmocka_unit_test(test_hist_precision),
        cmocka_unit_test(test_hist_quantiles),       cmocka_unit_test(test_append_json),
        cmocka_unit_test(test_append_payload_sizes), cmocka_unit_test(test_append_ids),
        cmocka_unit_test(test_append_protobuf),      cmocka_unit_test(test_get),
        cmocka_unit_test(test_append_tagged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
