/* Tests of server/negotiate.h. */
#include "server/negotiate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOTHING  (-1)
#define ALL      (OFFER(ENCODING_JSON) | OFFER(ENCODING_NDJSON) | OFFER(ENCODING_PROTOBUF))
#define COUNT(a) (sizeof(a) / sizeof *(a))

static int accepted(const char *accept, unsigned offered)
{
    enum encoding chosen;
    return negotiate_accept(bytes_of_string(accept), offered, &chosen) ? (int)chosen : NOTHING;
}

/* Quality values, wildcards, specificity and order decide as RFC 9110 section 12.5.1 says. */
static void test_negotiate_accept_cases(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        int wanted;
    } cases[] = {
        {"", ENCODING_JSON},
        {"*/*", ENCODING_JSON},
        {"application/*", ENCODING_JSON},
        {"application/json", ENCODING_JSON},
        {"APPLICATION/JSON;charset=utf-8", ENCODING_JSON},
        {"application/x-protobuf", ENCODING_PROTOBUF},
        {"application/protobuf", ENCODING_PROTOBUF},
        {"application/x-ndjson, */*", ENCODING_NDJSON},
        {"application/x-protobuf, application/json", ENCODING_PROTOBUF},
        {"application/json, application/x-protobuf", ENCODING_JSON},
        {"application/json;q=0.5, application/x-protobuf;q=0.7", ENCODING_PROTOBUF},
        {"application/json;q=0.5;x=1, application/x-protobuf; q = 0.7", ENCODING_PROTOBUF},
        {"*/*;q=0.9, application/json;q=0.1, application/x-ndjson;q=0.2", ENCODING_PROTOBUF},
        {"application/json;q=0, */*", ENCODING_NDJSON},
        {"application/json;q=0, application/x-protobuf;q=0.0, application/x-ndjson;q=0.000, */*",
         NOTHING},
        {"application/json;q=0", NOTHING},
        {"text/html", NOTHING},
        {"text/event-stream", NOTHING},
        {"text/*", NOTHING},
        {"application/jsonx, application/jso", NOTHING},
        {"application/json;q=2, application/json;q=0.1234, application/json;q=x, text/html",
         NOTHING},
        {"text/html;x=\",application/json\"", NOTHING},
        {"text/html;x=\"a\\\",b\", application/json", ENCODING_JSON},
        {",, ;q=1, ,application/json", ENCODING_JSON},
        {"*", NOTHING},
        {"\"", NOTHING},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int chosen = accepted(cases[i].accept, ALL);
        if (chosen != cases[i].wanted) {
            fail_msg("'%s': %d, not %d", cases[i].accept, chosen, cases[i].wanted);
        }
    }
}

/* What the route does not offer is never chosen. */
static void test_negotiate_accept_offered(void **state)
{
    (void)state;
    assert_int_equal(accepted("application/json", OFFER(ENCODING_PROTOBUF)), NOTHING);
    assert_int_equal(accepted("*/*", OFFER(ENCODING_PROTOBUF)), ENCODING_PROTOBUF);
    assert_int_equal(accepted("text/event-stream", ALL | OFFER(ENCODING_SSE)), ENCODING_SSE);
    assert_int_equal(accepted("text/*", ALL | OFFER(ENCODING_SSE)), ENCODING_SSE);
}

/* A problem is protobuf only for who would not read JSON. */
static void test_negotiate_only_protobuf(void **state)
{
    (void)state;
    assert_true(negotiate_only_protobuf(BYTES_LITERAL("application/x-protobuf")));
    assert_true(negotiate_only_protobuf(BYTES_LITERAL("application/protobuf;q=0.1, text/html")));
    assert_false(negotiate_only_protobuf(BYTES_LITERAL("")));
    assert_false(negotiate_only_protobuf(BYTES_LITERAL("text/html")));
    assert_false(negotiate_only_protobuf(BYTES_LITERAL("application/x-protobuf, */*;q=0.1")));
    assert_false(
        negotiate_only_protobuf(BYTES_LITERAL("application/x-protobuf, application/problem+json")));
    assert_false(
        negotiate_only_protobuf(BYTES_LITERAL("application/x-protobuf, application/json;q=0.1")));
}

/* A body is JSON unless it says protobuf; anything else is not taken. */
static void test_negotiate_content_type_cases(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int wanted;
    } cases[] = {
        {"", ENCODING_JSON},
        {"application/json", ENCODING_JSON},
        {"Application/JSON ; charset=UTF-8", ENCODING_JSON},
        {"application/json;charset=\"utf-8\"", ENCODING_JSON},
        {"application/json;charset=utf-16", NOTHING},
        {"application/x-protobuf", ENCODING_PROTOBUF},
        {"application/protobuf;messageType=x", ENCODING_PROTOBUF},
        {"application/x-www-form-urlencoded", NOTHING},
        {"text/plain", NOTHING},
        {"application/json, application/json", NOTHING},
        {"*/*", NOTHING},
        {";", NOTHING},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum encoding chosen;
        bool ok = negotiate_content_type(bytes_of_string(cases[i].type), &chosen);
        assert_int_equal(ok ? (int)chosen : NOTHING, cases[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiate_accept_cases),
        cmocka_unit_test(test_negotiate_accept_offered),
        cmocka_unit_test(test_negotiate_only_protobuf),
        cmocka_unit_test(test_negotiate_content_type_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
