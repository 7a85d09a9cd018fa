/* Tests of server/config.h. */
#include "server/config.h"

#include "server/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct config config;
static struct err_text message;

/* Both lists end with NULL; argv[0] is added. */
static err_t load(const char *const *flags, const char *const *environment)
{
    char *argv[16] = {(char *)(uintptr_t) "daybookd"};
    int argc = 1;
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)flags[i];
    }
    message.text[0] = '\0';
    return config_load(argc, argv, (char **)(uintptr_t)environment, 8, &config, &message);
}

#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void must_fail(const char *const *flags, const char *const *environment, const char *part)
{
    assert_int_equal(load(flags, environment), ERR_INVALID);
    if (strstr(message.text, part) == NULL) {
        fail_msg("'%s' is not in: %s", part, message.text);
    }
}

/* The defaults are those of the contract. */
static void test_config_load_defaults(void **state)
{
    (void)state;
    assert_int_equal(load(NULL, NULL), ERR_OK);
    assert_string_equal(config.host, "127.0.0.1");
    assert_int_equal(config.port, 7407);
    assert_string_equal(config.data, "./daybook-data");
    assert_int_equal(config.event_bytes_max, 1 << 20);
    assert_int_equal(config.body_bytes_max, 16 << 20);
    assert_int_equal(config.header_bytes_max, 16 << 10);
    assert_int_equal(config.append_events_max, 10000);
    assert_int_equal(config.connections_max, 10000);
    assert_int_equal(config.queue_commands_max, 4096);
    assert_int_equal(config.http_threads, 4);
    assert_int_equal(config.log_level, LOG_LEVEL_INFO);
    assert_int_equal(config.log_requests, 0);
    assert_int_equal(config.action, CONFIG_SERVE);
}

/* A flag wins over the environment, that over the file, that over the default. */
static void test_config_load_precedence(void **state)
{
    (void)state;
    char path[] = "/tmp/daybook-test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] =
        "# a comment\n\n listen = [::1]:1 # another\nheader-timeout-s=3\nbody-timeout-s = "
        "4\nidle-timeout-s=5\nlog-level = debug";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    char variable[64];
    snprintf(variable, sizeof variable, "DAYBOOK_CONFIG=%s", path);
    const char *const environment[] = {"DAYBOOK_HEADER_TIMEOUT_S=13", "PATH=/", variable,
                                       "DAYBOOK_BODY_TIMEOUT_S=14", NULL};
    assert_int_equal(load(FLAGS("--header-timeout-s=23"), environment), ERR_OK);
    assert_int_equal(config.header_timeout_s, 23);
    assert_int_equal(config.body_timeout_s, 14);
    assert_int_equal(config.idle_timeout_s, 5);
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(config.host, "::1");
    assert_int_equal(config.queue_commands_max, 4096);
    unlink(path);
    must_fail(FLAGS("--config", path), NULL, path);
}

/* A bad line of the file is named with its number. */
static void test_config_load_bad_file(void **state)
{
    (void)state;
    static const char *const bad[] = {"listen = x\n", "nonsense\n", "lissen = a:1\n",
                                      "page-events-max = 0\n"};
    static const char *const part[] = {"HOST:PORT", ":2: 'nonsense'", "did you mean listen", ":2)"};
    for (size_t i = 0; i < 4; i++) {
        char path[] = "/tmp/daybook-test-config-XXXXXX";
        int fd = mkstemp(path);
        assert_int_equal(dprintf(fd, "\n%s", bad[i]), 1 + (int)strlen(bad[i]));
        close(fd);
        must_fail(FLAGS("--config", path), NULL, part[i]);
        unlink(path);
    }
}

/* Sizes take binary units; numbers do not; both keep to their range. */
static void test_config_load_values(void **state)
{
    (void)state;
    assert_int_equal(load(FLAGS("--body-bytes-max", "2MiB", "--tail-bytes-max=1 gib",
                                "--event-bytes-max", "2048"),
                          NULL),
                     ERR_OK);
    assert_int_equal(config.body_bytes_max, 2 << 20);
    assert_int_equal(config.tail_bytes_max, 1 << 30);
    assert_int_equal(config.event_bytes_max, 2048);
    must_fail(FLAGS("--body-bytes-max", "2MB"), NULL, "'2MB' is not a size from 1KiB to 1GiB");
    must_fail(FLAGS("--body-bytes-max", "99999999999TiB"), NULL, "flag --body-bytes-max");
    must_fail(FLAGS("--page-events-max", "1KiB"), NULL, "not a number from 1 to 1000000");
    must_fail(FLAGS("--page-events-max", "-1"), NULL, "page-events-max");
    must_fail(FLAGS("--page-events-max", "18446744073709551616"), NULL, "page-events-max");
    must_fail(FLAGS("--page-events-max="), NULL, "page-events-max");
    must_fail(FLAGS("--log-format", "xml"), NULL, "logfmt or json");
    must_fail(NULL, FLAGS("DAYBOOK_HTTP_THREADS=many"), "from DAYBOOK_HTTP_THREADS");
}

/* Names that are not known are errors that help; other programs' variables are left alone. */
static void test_config_load_unknown(void **state)
{
    (void)state;
    must_fail(FLAGS("--listne", "a:1"), NULL, "did you mean --listen?");
    must_fail(FLAGS("--nothing-like-it", "1"), NULL, "--help lists them");
    must_fail(FLAGS("data"), NULL, "not a flag");
    must_fail(FLAGS("--data"), NULL, "value is missing");
    must_fail(NULL, FLAGS("DAYBOOK_LISTN=a:1"), "did you mean DAYBOOK_LISTEN?");
    assert_int_equal(load(NULL, FLAGS("DAYBOOK_URL=http://x", "DAYBOOK_PORT_7407_TCP=tcp://x",
                                      "DAYBOOK_SERVICE_HOST=x")),
                     ERR_OK);
}

/* Addresses in all their spellings. */
static void test_config_load_listen(void **state)
{
    (void)state;
    assert_int_equal(load(FLAGS("--listen", "[::1]:0"), NULL), ERR_OK);
    assert_string_equal(config.host, "::1");
    assert_int_equal(config.port, 0);
    assert_int_equal(load(FLAGS("--listen", ":80"), NULL), ERR_OK);
    assert_string_equal(config.host, "");
    assert_int_equal(load(FLAGS("--listen", "*:65535"), NULL), ERR_OK);
    assert_string_equal(config.host, "*");
    must_fail(FLAGS("--listen", "::1:7407"), NULL, "in brackets");
    must_fail(FLAGS("--listen", "localhost"), NULL, "HOST:PORT");
    must_fail(FLAGS("--listen", "localhost:65536"), NULL, "HOST:PORT");
    must_fail(FLAGS("--listen", "localhost:"), NULL, "HOST:PORT");
}

/* Switches and modes. */
static void test_config_load_modes(void **state)
{
    (void)state;
    assert_int_equal(load(FLAGS("--verify", "--data", "d", "--log-requests"), NULL), ERR_OK);
    assert_int_equal(config.action, CONFIG_VERIFY);
    assert_int_equal(config.log_requests, 1);
    assert_int_equal(load(FLAGS("--log-requests", "--reindex"), FLAGS("DAYBOOK_LOG_REQUESTS=no")),
                     ERR_OK);
    assert_int_equal(config.action, CONFIG_REINDEX);
    assert_int_equal(config.log_requests, 1);
    assert_int_equal(load(FLAGS("--log-requests=false"), FLAGS("DAYBOOK_LOG_REQUESTS=yes")),
                     ERR_OK);
    assert_int_equal(config.log_requests, 0);
    assert_int_equal(load(FLAGS("--verify", "--help"), NULL), ERR_OK);
    assert_int_equal(config.action, CONFIG_HELP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_load_defaults), cmocka_unit_test(test_config_load_precedence),
        cmocka_unit_test(test_config_load_bad_file), cmocka_unit_test(test_config_load_values),
        cmocka_unit_test(test_config_load_unknown),  cmocka_unit_test(test_config_load_listen),
        cmocka_unit_test(test_config_load_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
