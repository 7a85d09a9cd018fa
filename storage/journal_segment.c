/* journal_segment: read and write the bytes of one segment. */
#include "journal_segment.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"

#define SEGMENT_MAGIC    "DAYBKJNL"
#define GROUP_MAGIC      0x474a4244u /* "DBJG" */
#define ZERO_CHUNK_BYTES (1u << 20)

/* Places in the segment header; all numbers little-endian. */
enum {
    SEGMENT_AT_VERSION = 8,
    SEGMENT_AT_STORE_ID = 16,
    SEGMENT_AT_BASE = 32,
    SEGMENT_AT_SIZE = 40,
    SEGMENT_AT_SALT = 48,
    SEGMENT_AT_CRC = 56, /* of all before it */
};

/* Places in a group's header. */
enum {
    GROUP_AT_MAGIC = 0,
    GROUP_AT_CRC = 4, /* of the rest of the header and the records */
    GROUP_AT_OFFSET = 8,
    GROUP_AT_FIRST = 16,
    GROUP_AT_COUNT = 24,
    GROUP_AT_BYTES = 28,
};
static_assert(GROUP_AT_BYTES + 4 == JOURNAL_GROUP_HEADER_BYTES, "the group header is packed");

void segment_name(uint64_t base, char ret[JOURNAL_NAME_BYTES])
{
    snprintf(ret, JOURNAL_NAME_BYTES, "%016" PRIx64 ".seg", base);
}

static bool parse_name(const char *name, uint64_t *ret)
{
    char again[JOURNAL_NAME_BYTES];
    char *end;
    errno = 0;
    *ret = strtoull(name, &end, 16);
    segment_name(*ret, again);
    return errno == 0 && strcmp(again, name) == 0;
}

static int compare_bases(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static err_t list_into(DIR *dir, uint64_t **bases, size_t *n)
{
    size_t cap = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint64_t base;
        if (!parse_name(entry->d_name, &base)) {
            continue;
        }
        if (*n == cap) {
            cap = cap == 0 ? 16 : cap * 2;
            uint64_t *p = realloc(*bases, cap * sizeof *p);
            if (p == NULL) {
                return ERR_MEMORY;
            }
            *bases = p;
        }
        (*bases)[(*n)++] = base;
    }
    return ERR_OK;
}

err_t segment_list(int dir_fd, uint64_t **ret, size_t *ret_n)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        return err_from_errno(errno);
    }
    uint64_t *bases = NULL;
    size_t n = 0;
    err_t err = list_into(dir, &bases, &n);
    closedir(dir);
    if (err != ERR_OK) {
        free(bases);
        return err;
    }
    if (n > 0) {
        qsort(bases, n, sizeof *bases, compare_bases);
    }
    *ret = bases;
    *ret_n = n;
    return ERR_OK;
}

static err_t write_all(int fd, const uint8_t *p, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return err_from_errno(done == 0 ? EIO : errno);
        }
        p += done, n -= (size_t)done, at += (uint64_t)done;
    }
    return ERR_OK;
}

err_t segment_zero(int fd, uint64_t size)
{
    int code = posix_fallocate(fd, 0, (off_t)size);
    if (code != 0) {
        return err_from_errno(code);
    }
    uint8_t *zeroes = calloc(1, ZERO_CHUNK_BYTES);
    if (zeroes == NULL) {
        return ERR_MEMORY;
    }
    err_t err = ERR_OK;
    for (uint64_t at = 0; at < size && err == ERR_OK; at += ZERO_CHUNK_BYTES) {
        uint64_t left = size - at;
        err = write_all(fd, zeroes, left < ZERO_CHUNK_BYTES ? (size_t)left : ZERO_CHUNK_BYTES, at);
    }
    free(zeroes);
    if (err == ERR_OK && fsync(fd) != 0) {
        err = err_from_errno(errno);
    }
    return err;
}

err_t segment_write_header(int fd, const struct segment_header *header)
{
    uint8_t p[JOURNAL_SEGMENT_HEADER_BYTES] = {0};
    memcpy(p, SEGMENT_MAGIC, 8);
    bytes_put_u32le(p + SEGMENT_AT_VERSION, JOURNAL_VERSION);
    memcpy(p + SEGMENT_AT_STORE_ID, header->store_id, UUID_BYTES);
    bytes_put_u64le(p + SEGMENT_AT_BASE, header->base);
    bytes_put_u64le(p + SEGMENT_AT_SIZE, header->size);
    bytes_put_u64le(p + SEGMENT_AT_SALT, header->salt);
    bytes_put_u32le(p + SEGMENT_AT_CRC, crc32c(0, bytes_of(p, SEGMENT_AT_CRC)));
    err_t err = write_all(fd, p, sizeof p, 0);
    if (err == ERR_OK && fsync(fd) != 0) {
        err = err_from_errno(errno);
    }
    return err;
}

static err_t read_all(int fd, uint8_t *p, size_t n, uint64_t from)
{
    for (size_t at = 0; at < n;) {
        ssize_t done = pread(fd, p + at, n - at, (off_t)(from + at));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return err_from_errno(done == 0 ? EIO : errno);
        }
        at += (size_t)done;
    }
    return ERR_OK;
}

static err_t check_header(const uint8_t *p, uint64_t base, uint64_t file_bytes,
                          const uint8_t store_id[UUID_BYTES], struct err_text *et)
{
    if (memcmp(p, SEGMENT_MAGIC, 8) != 0) {
        return err_set(et, ERR_CORRUPT, "journal segment %016" PRIx64 ": not a journal segment",
                       base);
    }
    uint32_t version = bytes_get_u32le(p + SEGMENT_AT_VERSION);
    if (version != JOURNAL_VERSION) {
        return err_set(et, ERR_FORMAT,
                       "the journal has format version %" PRIu32 ", this binary reads version %d",
                       version, JOURNAL_VERSION);
    }
    if (bytes_get_u32le(p + SEGMENT_AT_CRC) != crc32c(0, bytes_of(p, SEGMENT_AT_CRC)) ||
        bytes_get_u64le(p + SEGMENT_AT_BASE) != base ||
        bytes_get_u64le(p + SEGMENT_AT_SIZE) != file_bytes) {
        return err_set(et, ERR_CORRUPT, "journal segment %016" PRIx64 ": damaged header", base);
    }
    if (memcmp(p + SEGMENT_AT_STORE_ID, store_id, UUID_BYTES) != 0) {
        return err_set(et, ERR_CORRUPT, "journal segment %016" PRIx64 ": belongs to another store",
                       base);
    }
    return ERR_OK;
}

static err_t load_fd(int fd, uint64_t base, const uint8_t store_id[UUID_BYTES],
                     struct segment_header *ret, uint8_t **ret_file, struct err_text *et)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_from_errno(errno);
    }
    uint64_t size = (uint64_t)st.st_size;
    if (size < JOURNAL_SEGMENT_HEADER_BYTES || size > SIZE_MAX / 2) {
        return err_set(et, ERR_CORRUPT, "journal segment %016" PRIx64 ": cut to %" PRIu64 " bytes",
                       base, size);
    }
    uint8_t *file = malloc(size);
    if (file == NULL) {
        return ERR_MEMORY;
    }
    err_t err = read_all(fd, file, size, 0);
    if (err == ERR_OK) {
        err = check_header(file, base, size, store_id, et);
    }
    if (err != ERR_OK) {
        free(file);
        return err;
    }
    *ret = (struct segment_header){
        .base = base, .size = size, .salt = bytes_get_u64le(file + SEGMENT_AT_SALT)};
    memcpy(ret->store_id, store_id, UUID_BYTES);
    *ret_file = file;
    return ERR_OK;
}

err_t segment_load(int dir_fd, uint64_t base, const uint8_t store_id[UUID_BYTES],
                   struct segment_header *ret, uint8_t **ret_file, struct err_text *et)
{
    char name[JOURNAL_NAME_BYTES];
    segment_name(base, name);
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set(et, err_from_errno(errno), "cannot open journal segment %s", name);
    }
    err_t err = load_fd(fd, base, store_id, ret, ret_file, et);
    close(fd);
    return err;
}

/* A client cannot make bytes that pass for a group, since it does not know the salt. */
static uint32_t checksum_start(uint64_t salt)
{
    uint8_t p[8];
    bytes_put_u64le(p, salt);
    return crc32c(0, bytes_of(p, sizeof p));
}

/* Writes all parts from byte `at`; the kernel takes them in one go unless it is interrupted. */
static err_t write_parts(int fd, uint64_t at, struct iovec *parts, int n)
{
    while (n > 0) {
        ssize_t done = pwritev(fd, parts, n, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return err_from_errno(done == 0 ? EIO : errno);
        }
        at += (uint64_t)done;
        while (n > 0 && (size_t)done >= parts->iov_len) {
            done -= (ssize_t)parts->iov_len;
            parts++, n--;
        }
        if (n > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + done;
            parts->iov_len -= (size_t)done;
        }
    }
    return ERR_OK;
}

err_t segment_write_group(int fd, uint64_t at, const struct group_header *header,
                          const struct iovec *parts, int part_count, uint64_t *ret_written)
{
    static const uint8_t PADDING[8];
    uint8_t head[JOURNAL_GROUP_HEADER_BYTES];
    struct iovec all[JOURNAL_PARTS_MAX + 2] = {{.iov_base = head, .iov_len = sizeof head}};
    size_t n = 0;
    for (int i = 0; i < part_count; i++) {
        all[i + 1] = parts[i];
        n += parts[i].iov_len;
    }
    CHECK(n <= UINT32_MAX);
    bytes_put_u32le(head + GROUP_AT_MAGIC, GROUP_MAGIC);
    bytes_put_u64le(head + GROUP_AT_OFFSET, header->offset);
    bytes_put_u64le(head + GROUP_AT_FIRST, header->first_position);
    bytes_put_u32le(head + GROUP_AT_COUNT, header->count);
    bytes_put_u32le(head + GROUP_AT_BYTES, (uint32_t)n);
    uint32_t crc = checksum_start(header->salt);
    crc = crc32c(crc, bytes_of(head + GROUP_AT_OFFSET, sizeof head - GROUP_AT_OFFSET));
    for (int i = 0; i < part_count; i++) {
        crc = crc32c(crc, bytes_of(parts[i].iov_base, parts[i].iov_len));
    }
    bytes_put_u32le(head + GROUP_AT_CRC, crc);
    size_t padding = (8 - n % 8) % 8;
    all[part_count + 1] =
        (struct iovec){.iov_base = (void *)(uintptr_t)PADDING, .iov_len = padding};
    *ret_written = sizeof head + n + padding;
    return write_parts(fd, at, all, part_count + (padding > 0 ? 2 : 1));
}

err_t segment_write_again(int fd, uint64_t at, uint64_t bytes)
{
    uint8_t *p = malloc(bytes);
    if (p == NULL) {
        return ERR_MEMORY;
    }
    err_t err = read_all(fd, p, bytes, at);
    if (err == ERR_OK) {
        err = write_all(fd, p, bytes, at);
    }
    free(p);
    return err;
}

/* A header at byte `at` that names this very place. */
static bool looks_like_group(struct bytes file, uint64_t base, uint64_t at)
{
    return file.n - at >= JOURNAL_GROUP_HEADER_BYTES &&
           bytes_get_u32le(file.p + at + GROUP_AT_MAGIC) == GROUP_MAGIC &&
           bytes_get_u64le(file.p + at + GROUP_AT_OFFSET) == base + at;
}

bool segment_read_group(struct bytes file, const struct segment_header *segment, uint64_t at,
                        struct group_header *ret, struct bytes *ret_records)
{
    if (at > file.n || !looks_like_group(file, segment->base, at)) {
        return false;
    }
    const uint8_t *p = file.p + at;
    size_t n = bytes_get_u32le(p + GROUP_AT_BYTES);
    if (n > file.n - at - JOURNAL_GROUP_HEADER_BYTES) {
        return false;
    }
    size_t guarded = JOURNAL_GROUP_HEADER_BYTES - GROUP_AT_OFFSET + n;
    if (bytes_get_u32le(p + GROUP_AT_CRC) !=
        crc32c(checksum_start(segment->salt), bytes_of(p + GROUP_AT_OFFSET, guarded))) {
        return false;
    }
    *ret = (struct group_header){.salt = segment->salt,
                                 .offset = segment->base + at,
                                 .first_position = bytes_get_u64le(p + GROUP_AT_FIRST),
                                 .count = bytes_get_u32le(p + GROUP_AT_COUNT)};
    *ret_records = bytes_of(p + JOURNAL_GROUP_HEADER_BYTES, n);
    return ret->count > 0 && ret->first_position > 0;
}

bool segment_find_group(struct bytes file, const struct segment_header *segment, uint64_t at,
                        uint64_t *ret_at)
{
    struct group_header header;
    struct bytes records;
    for (uint64_t i = at; i + JOURNAL_GROUP_HEADER_BYTES <= file.n; i += 8) {
        if (segment_read_group(file, segment, i, &header, &records)) {
            *ret_at = i;
            return true;
        }
    }
    return false;
}
