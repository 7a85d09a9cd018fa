/* import_input: see import_input.h. zlib's gzip files do most of it: they look for the two magic
 * bytes and pass on as it is what does not begin with them. */
#include "import_input.h"

#include "clients/c/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define READ_BYTES ((unsigned)256 << 10)
#define BOM        "\xef\xbb\xbf"

struct import_input {
    gzFile file;
    struct daybook_buffer read; /* what was read; lines are given out of it */
    size_t at;                  /* where the next line begins */
    bool ended;
    uint64_t line;
    uint64_t all_bytes;
    char error[200];
};

static bool find_end(struct import_input *in, size_t *ret);
static bool read_more(struct import_input *in);
static bool is_blank(const char *p, size_t n);

struct import_input *import_input_open(const char *path)
{
    bool is_stdin = path == NULL || strcmp(path, "-") == 0;
    int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    struct stat st;
    struct import_input *in = calloc(1, sizeof *in);
    if (in == NULL || fstat(fd, &st) != 0) {
        goto fail;
    }
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        goto fail;
    }
    in->all_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    daybook_buffer_init(&in->read, IMPORT_LINE_BYTES_MAX + READ_BYTES);
    in->file = gzdopen(fd, "rb");
    if (in->file == NULL) {
        errno = ENOMEM;
        goto fail;
    }
    (void)gzbuffer(in->file, READ_BYTES);
    return in;

fail:
    free(in);
    (void)close(fd);
    return NULL;
}

void import_input_close(struct import_input *in)
{
    if (in != NULL) {
        (void)gzclose_r(in->file);
        daybook_buffer_done(&in->read);
        free(in);
    }
}

enum import_next import_input_next(struct import_input *in, const char **ret, size_t *ret_n)
{
    for (;;) {
        size_t end;
        if (!find_end(in, &end)) {
            return IMPORT_FAILED;
        }
        if (in->at == in->read.n) {
            return IMPORT_END;
        }
        const char *line = (const char *)in->read.p + in->at;
        size_t n = end - in->at;
        in->at = end < in->read.n ? end + 1 : end;
        in->line++;
        if (in->line == 1 && n >= 3 && memcmp(line, BOM, 3) == 0) {
            line += 3;
            n -= 3;
        }
        n -= n > 0 && line[n - 1] == '\r';
        if (!is_blank(line, n)) {
            *ret = line;
            *ret_n = n;
            return IMPORT_LINE;
        }
    }
}

/* Where the line that begins at in->at ends: at its break, or at the end of the input. */
static bool find_end(struct import_input *in, size_t *ret)
{
    for (size_t scanned = 0;;) {
        size_t left = in->read.n - in->at - scanned;
        const uint8_t *found = left > 0 ? memchr(in->read.p + in->at + scanned, '\n', left) : NULL;
        if (found != NULL || in->ended) {
            *ret = found != NULL ? (size_t)(found - in->read.p) : in->read.n;
            return true;
        }
        scanned += left;
        if (!read_more(in)) {
            return false;
        }
    }
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != ' ' && p[i] != '\t') {
            return false;
        }
    }
    return true;
}

/* Reads on behind the line that has begun. False with the error set. */
static bool read_more(struct import_input *in)
{
    daybook_buffer_drop(&in->read, in->at);
    in->at = 0;
    if (in->read.n > IMPORT_LINE_BYTES_MAX || !daybook_buffer_reserve(&in->read, READ_BYTES)) {
        (void)snprintf(in->error, sizeof in->error, "it is longer than %zu MiB",
                       IMPORT_LINE_BYTES_MAX >> 20);
        in->line++;
        return false;
    }
    int n = gzread(in->file, in->read.p + in->read.n, READ_BYTES);
    int code = Z_OK;
    const char *text = gzerror(in->file, &code);
    /* A gzip file that was cut short gives what there is, and only then says so. */
    if (n < 0 || (n == 0 && code != Z_OK)) {
        (void)snprintf(in->error, sizeof in->error, "the file cannot be read: %s",
                       code == Z_ERRNO       ? strerror(errno)
                       : code == Z_BUF_ERROR ? "the gzip data is cut short"
                                             : text);
        in->line++;
        return false;
    }
    in->read.n += (size_t)n;
    in->ended = n == 0;
    return true;
}

uint64_t import_input_line(const struct import_input *in)
{
    return in->line;
}

uint64_t import_input_done_bytes(const struct import_input *in)
{
    z_off_t offset = gzoffset(in->file);
    return offset < 0 ? 0 : (uint64_t)offset;
}

uint64_t import_input_all_bytes(const struct import_input *in)
{
    return in->all_bytes;
}

bool import_input_is_gzip(const struct import_input *in)
{
    return gzdirect(in->file) == 0;
}

const char *import_input_error(const struct import_input *in)
{
    return in->error;
}
