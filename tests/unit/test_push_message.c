/* Webhooks: which URLs and addresses are taken, what the log keeps, the signature. */
#include "server/push_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void test_urls(void **state)
{
    (void)state;
    static const char *const good[] = {"http://a", "https://example.org/hook?x=1&y=%20",
                                       "http://[::1]:8080/", "http://a:1/b@c"};
    static const char *const bad[] = {"",           "a",          "ftp://a/",       "http://",
                                      "http:///a",  "http://:80", "http://u@h/",    "https://u:p@h",
                                      "http://a b", "http://a#b", "http://a/\"x\"", "HTTP://a/"};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_null(push_url_fault(bytes_of_string(good[i])));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_non_null(push_url_fault(bytes_of_string(bad[i])));
    }
    char text[PUSH_URL_MAX + 2];
    memset(text, 'a', sizeof text);
    memcpy(text, "http://", 7);
    assert_null(push_url_fault(bytes_of((uint8_t *)text, PUSH_URL_MAX)));
    assert_non_null(push_url_fault(bytes_of((uint8_t *)text, PUSH_URL_MAX + 1)));
}

static bool is_private(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        return push_address_is_private((const struct sockaddr *)&v4);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return push_address_is_private((const struct sockaddr *)&v6);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const not_public[] = {"0.0.0.0",
                                             "10.1.2.3",
                                             "100.64.0.1",
                                             "100.127.255.255",
                                             "127.0.0.1",
                                             "127.255.255.255",
                                             "169.254.169.254",
                                             "172.16.0.1",
                                             "172.31.255.255",
                                             "192.0.0.1",
                                             "192.168.1.1",
                                             "198.18.0.1",
                                             "224.0.0.1",
                                             "240.0.0.1",
                                             "255.255.255.255",
                                             "::",
                                             "::1",
                                             "fe80::1",
                                             "fc00::1",
                                             "fdff::1",
                                             "ff02::1",
                                             "::ffff:10.0.0.1",
                                             "64:ff9b::a00:1",
                                             "2002:a00:1::1",
                                             "2001::1",
                                             "2001:db8::1",
                                             "::ffff:127.0.0.1"};
    static const char *const is_public[] = {"1.1.1.1",        "100.63.255.255",  "100.128.0.1",
                                            "172.15.255.255", "172.32.0.1",      "192.167.255.255",
                                            "198.20.0.1",     "223.255.255.255", "2606:4700::1111",
                                            "::ffff:1.1.1.1", "64:ff9b::101:101"};
    for (size_t i = 0; i < COUNT(not_public); i++) {
        assert_true(is_private(not_public[i]));
    }
    for (size_t i = 0; i < COUNT(is_public); i++) {
        assert_false(is_private(is_public[i]));
    }
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_true(push_address_is_private(&other));
}

static void test_settings(void **state)
{
    (void)state;
    struct buf b;
    struct push_settings s = {"https://example.org/x?y=z", 2500000, 7}, back;
    buf_init(&b, 8192);
    push_put_settings(&b, &s);
    assert_true(push_read_settings(buf_bytes(&b), &back));
    assert_string_equal(back.url, s.url);
    assert_int_equal(back.timeout_us, s.timeout_us);
    assert_int_equal(back.concurrency, s.concurrency);
    buf_done(&b);
    assert_true(push_read_settings(
        BYTES_LITERAL(
            "{\"url\":\"http://a\",\"new\":[{\"x\":1}],\"timeout_ms\":1,\"concurrency\":1}"),
        &back));
    assert_false(push_read_settings(BYTES_LITERAL("{}"), &back));
    assert_false(push_read_settings(BYTES_LITERAL("{\"url\":\"http://a\"}"), &back));
    assert_false(push_read_settings(BYTES_LITERAL("[]"), &back));
}

static void check_signature(const char *secret, const char *expected)
{
    struct buf b;
    buf_init(&b, 128);
    push_sign(&b, bytes_of_string(secret), BYTES_LITERAL("msg_p5jXN8AQM9LWM0D4loKWxJek"),
              1614265330, BYTES_LITERAL("{\"test\": 2432232314}"));
    assert_true(bytes_equal(buf_bytes(&b), bytes_of_string(expected)));
    buf_done(&b);
}

/* The example that implementations of Standard Webhooks test themselves with. */
static void test_signature(void **state)
{
    (void)state;
    check_signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
