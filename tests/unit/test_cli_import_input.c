/* Tests of clients/cli/import_input.h. */
#include "clients/cli/import_input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>
#include <cmocka.h>

static char path[] = "/tmp/daybook-test-input-XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_plain(const void *p, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(p, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void write_gzip(const void *p, size_t n, const char *mode)
{
    gzFile file = gzopen(path, mode);
    assert_non_null(file);
    assert_int_equal(gzfwrite(p, 1, n, file), n);
    assert_int_equal(gzclose(file), Z_OK);
}

static void expect_line(struct import_input *in, const char *text, uint64_t number)
{
    const char *line = NULL;
    size_t n = 0;
    assert_int_equal(import_input_next(in, &line, &n), IMPORT_LINE);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(line, text, n);
    assert_int_equal(import_input_line(in), number);
}

static void expect_end(struct import_input *in)
{
    const char *line = NULL;
    size_t n = 0;
    assert_int_equal(import_input_next(in, &line, &n), IMPORT_END);
    assert_int_equal(import_input_next(in, &line, &n), IMPORT_END);
}

static void expect_example(bool gzip)
{
    struct import_input *in = import_input_open(path);
    assert_non_null(in);
    expect_line(in, "one", 1);
    assert_int_equal(import_input_is_gzip(in), gzip);
    expect_line(in, " two ", 3);
    expect_line(in, "three", 5);
    expect_end(in);
    assert_int_equal(import_input_done_bytes(in), import_input_all_bytes(in));
    import_input_close(in);
}

static const char example[] = "\xef\xbb\xbfone\r\n\n two \n \t\r\nthree";

/* Plain and gzip are told apart by their first bytes; blank lines, line breaks of both kinds, a
 * byte order mark and a missing last break are no matter. */
static void test_next_plain_and_gzip(void **state)
{
    (void)state;
    write_plain(example, sizeof example - 1);
    expect_example(false);
    write_gzip(example, sizeof example - 1, "wb");
    expect_example(true);
}

/* Files that were compressed piece by piece, as logs are, are read to the end. */
static void test_next_gzip_members(void **state)
{
    (void)state;
    write_gzip("a\nb", 3, "wb");
    write_gzip("c\nd\n", 4, "ab");
    struct import_input *in = import_input_open(path);
    expect_line(in, "a", 1);
    expect_line(in, "bc", 2);
    expect_line(in, "d", 3);
    expect_end(in);
    import_input_close(in);
}

/* An empty file, in either form, has no lines. */
static void test_next_empty(void **state)
{
    (void)state;
    for (int gzip = 0; gzip < 2; gzip++) {
        if (gzip) {
            write_gzip("", 0, "wb");
        } else {
            write_plain("", 0);
        }
        struct import_input *in = import_input_open(path);
        expect_end(in);
        import_input_close(in);
    }
}

/* Lines of every length around the size of a read come whole. */
static void test_next_long_lines(void **state)
{
    (void)state;
    size_t n = 3 * 262144;
    char *text = malloc(n + 1);
    for (size_t length = 262144 - 2; length <= 262144 + 2; length++) {
        memset(text, 'x', n);
        text[length] = '\n';
        write_plain(text, n);
        struct import_input *in = import_input_open(path);
        const char *line = NULL;
        size_t line_n = 0;
        assert_int_equal(import_input_next(in, &line, &line_n), IMPORT_LINE);
        assert_int_equal(line_n, length);
        assert_int_equal(import_input_next(in, &line, &line_n), IMPORT_LINE);
        assert_int_equal(line_n, n - length - 1);
        expect_end(in);
        import_input_close(in);
    }
    free(text);
}

/* A gzip file that was cut short or damaged is an error, never a shorter file. */
static void test_next_gzip_cut(void **state)
{
    (void)state;
    static char text[100000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(i % 50 == 49 ? '\n' : 'a' + (i * i * 2654435761u >> 9) % 26);
    }
    write_gzip(text, sizeof text, "wb");
    FILE *file = fopen(path, "rb");
    static uint8_t bytes[200000];
    size_t n = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    for (int damage = 0; damage < 2; damage++) {
        bytes[n - 6] ^= (uint8_t)damage; /* of the checksum */
        write_plain(bytes, damage ? n : n / 2);
        struct import_input *in = import_input_open(path);
        const char *line = NULL;
        size_t line_n = 0;
        enum import_next next;
        while ((next = import_input_next(in, &line, &line_n)) == IMPORT_LINE) {
        }
        assert_int_equal(next, IMPORT_FAILED);
        assert_non_null(strstr(import_input_error(in), "cannot be read"));
        import_input_close(in);
    }
}

/* What cannot be opened says why. */
static void test_open_fails(void **state)
{
    (void)state;
    assert_null(import_input_open("/nonexistent/file"));
    assert_int_equal(errno, ENOENT);
    assert_null(import_input_open("/tmp"));
    assert_int_equal(errno, EISDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_plain_and_gzip), cmocka_unit_test(test_next_gzip_members),
        cmocka_unit_test(test_next_empty),          cmocka_unit_test(test_next_long_lines),
        cmocka_unit_test(test_next_gzip_cut),       cmocka_unit_test(test_open_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
