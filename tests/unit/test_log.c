/* Tests of server/log.h: lines are read back from a pipe. */
#include "server/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static int pipe_fds[2];
static char line[64 << 10];

static int open_pipe(void **state)
{
    (void)state;
    return pipe(pipe_fds);
}

static int close_pipe(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, STDERR_FILENO);
    return close(pipe_fds[0]) + close(pipe_fds[1]);
}

/* The line without its time, which is checked for its length only. */
static const char *read_line(const char *before)
{
    ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_int_equal(strncmp(line, before, strlen(before)), 0);
    return line + strlen(before) + 27;
}

/* Plain values stay plain, others become quoted and escaped, a line is one line. */
static void test_log_line_logfmt(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, pipe_fds[1]);
    log_line(LOG_LEVEL_WARN, "it happened", log_text("plain", "a/b?c"), log_text("space", "a b"),
             log_text("quote", "a\"b\\c\n"), log_text("empty", ""), log_number("n", -7),
             log_bytes("bad", bytes_of("a\xff"
                                       "b",
                                       3)),
             log_bytes("utf8", BYTES_LITERAL("ü")));
    assert_string_equal(read_line("time="),
                        " level=warn message=\"it happened\" plain=a/b?c space=\"a b\" "
                        "quote=\"a\\\"b\\\\c\\n\" empty=\"\" n=-7 bad=\"a?b\" utf8=ü\n");
}

/* The same as one JSON object. */
static void test_log_line_json(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, pipe_fds[1]);
    log_line(LOG_LEVEL_ERROR, "done", log_text("a", "x\"\ny"), log_number("n", 5));
    assert_string_equal(
        read_line("{\"time\":\""),
        "\",\"level\":\"error\",\"message\":\"done\",\"a\":\"x\\\"\\ny\",\"n\":5}\n");
}

/* What is below the level is not written; a long value is cut. */
static void test_log_line_limits(void **state)
{
    (void)state;
    static char value[3 * LOG_VALUE_MAX];
    memset(value, '\n', sizeof value - 1);
    log_open(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, pipe_fds[1]);
    assert_false(log_is_on(LOG_LEVEL_INFO));
    log_line(LOG_LEVEL_INFO, "not written", log_number("n", 1));
    log_line(LOG_LEVEL_WARN, "long", log_text("v", value));
    const char *rest = read_line("time=");
    const char *before = " level=warn message=long v=\"";
    assert_int_equal(strlen(rest), strlen(before) + (size_t)2 * LOG_VALUE_MAX + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_line_logfmt, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_log_line_json, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_log_line_limits, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
