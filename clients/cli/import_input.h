/* import_input: the lines of a file, plain or gzip, or of standard input. Which of the two it is,
 * its first bytes say.
 *
 * One thread. */
#ifndef DAYBOOK_CLI_IMPORT_INPUT_H
#define DAYBOOK_CLI_IMPORT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMPORT_LINE_BYTES_MAX ((size_t)64 << 20)

struct import_input;

enum import_next {
    IMPORT_LINE,
    IMPORT_END,
    IMPORT_FAILED, /* the reason is in import_input_error */
};

/* Opens a file, or standard input ("-" or NULL). NULL with errno set. */
struct import_input *import_input_open(const char *path);
void import_input_close(struct import_input *in);

/* The next line that is not blank, without its break, until the next call. A byte order mark at the
 * start is no part of it. */
enum import_next import_input_next(struct import_input *in, const char **ret, size_t *ret_n);

/* The number of the last line that was given, from 1. */
uint64_t import_input_line(const struct import_input *in);
/* Bytes read of the file as it is on disk, and its size; 0 where it has none, as a pipe. */
uint64_t import_input_done_bytes(const struct import_input *in);
uint64_t import_input_all_bytes(const struct import_input *in);
/* Whether it is gzip; known once a line was read. */
bool import_input_is_gzip(const struct import_input *in);
/* Why reading failed; as long as `in`. */
const char *import_input_error(const struct import_input *in);

#endif
