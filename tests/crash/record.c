/* record: see record.h. The real calls are made with syscall(2), so that nothing has to be looked
 * up. */
#include "tests/crash/record.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storage/base/check.h"

#define LOG_BYTES_MAX ((size_t)1 << 30) /* address space; used as far as it is written */
#define NAMES_MAX     256
#define FULL_PATH_MAX 512

struct name {
    char path[RECORD_PATH_MAX];
    uint32_t object;
};

struct log {
    char root[FULL_PATH_MAX];
    size_t root_n;
    struct name names[NAMES_MAX]; /* as they are now */
    size_t name_count;
    uint32_t objects;
    size_t end; /* of the entries that follow this struct */
};

static struct log *the_log; /* shared with children */
static bool is_on;

#define FIRST_ENTRY ((sizeof(struct log) + 7) & ~(size_t)7)

/* ---- the log ---- */

void record_begin(const char *root)
{
    record_end();
    const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
    /* cppcheck-suppress invalidFunctionArg ; an anonymous map is of no file: -1 */
    void *p = mmap(NULL, LOG_BYTES_MAX, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(p != MAP_FAILED);
    the_log = p;
    the_log->root_n = strlen(root);
    CHECK(the_log->root_n < FULL_PATH_MAX);
    memcpy(the_log->root, root, the_log->root_n + 1);
    the_log->end = FIRST_ENTRY;
}

void record_switch(bool on)
{
    is_on = on;
}

void record_end(void)
{
    is_on = false;
    if (the_log != NULL) {
        munmap(the_log, LOG_BYTES_MAX);
        the_log = NULL;
    }
}

static size_t entry_bytes(const struct record_entry *e)
{
    size_t data = e->op == RECORD_WRITE ? (size_t)e->n : 0;
    return (sizeof *e + data + 7) & ~(size_t)7;
}

const struct record_entry *record_next(const struct record_entry *previous)
{
    const uint8_t *base = (const uint8_t *)the_log;
    const uint8_t *p =
        previous == NULL ? base + FIRST_ENTRY : (const uint8_t *)previous + entry_bytes(previous);
    return p == base + the_log->end ? NULL : (const struct record_entry *)(const void *)p;
}

const uint8_t *record_data(const struct record_entry *e)
{
    return (const uint8_t *)(e + 1);
}

static struct record_entry *add(enum record_op op, const char *path, size_t data)
{
    CHECK(the_log->end + sizeof(struct record_entry) + data + 8 <= LOG_BYTES_MAX);
    struct record_entry *e = (void *)((uint8_t *)the_log + the_log->end);
    memset(e, 0, sizeof *e);
    e->op = op;
    snprintf(e->path, sizeof e->path, "%s", path);
    e->n = data;
    the_log->end += (sizeof *e + data + 7) & ~(size_t)7;
    return e;
}

void record_mark(uint32_t what, uint64_t value)
{
    struct record_entry *e = add(RECORD_MARK, "", 0);
    e->object = what;
    e->at = value;
}

/* ---- names ---- */

/* The path below the root; false: it is none of ours. */
static bool below_root(const char *path, char ret[RECORD_PATH_MAX])
{
    if (strncmp(path, the_log->root, the_log->root_n) != 0) {
        return false;
    }
    const char *rest = path + the_log->root_n;
    if (*rest != '\0' && *rest != '/') {
        return false;
    }
    rest += *rest == '/';
    CHECK(strlen(rest) < RECORD_PATH_MAX);
    memcpy(ret, rest, strlen(rest) + 1);
    return true;
}

static bool path_of_fd(int fd, char ret[RECORD_PATH_MAX])
{
    char link[64], full[FULL_PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, full, sizeof full - 1);
    if (n < 0) {
        return false;
    }
    full[n] = '\0';
    return below_root(full, ret);
}

/* A path as the calls take it, made absolute through its directory. */
static bool path_at(int dir_fd, const char *path, char ret[RECORD_PATH_MAX])
{
    char dir[RECORD_PATH_MAX];
    if (path[0] == '/' || dir_fd == AT_FDCWD) {
        return below_root(path, ret);
    }
    if (!path_of_fd(dir_fd, dir)) {
        return false;
    }
    int n = snprintf(ret, RECORD_PATH_MAX, "%s/%s", dir, path);
    CHECK(n > 0 && n < RECORD_PATH_MAX);
    return true;
}

static struct name *find_name(const char *path)
{
    for (size_t i = 0; i < the_log->name_count; i++) {
        if (strcmp(the_log->names[i].path, path) == 0) {
            return &the_log->names[i];
        }
    }
    return NULL;
}

static void forget_name(const char *path)
{
    struct name *name = find_name(path);
    if (name != NULL) {
        *name = the_log->names[--the_log->name_count];
    }
}

/* A file is noted when something is first done to it. LMDB's lock file is made anew at a start. */
static bool object_of(const char *path, uint32_t *ret)
{
    size_t n = strlen(path);
    if (n >= 8 && strcmp(path + n - 8, "lock.mdb") == 0) {
        return false;
    }
    struct name *name = find_name(path);
    if (name == NULL) {
        CHECK(the_log->name_count < NAMES_MAX);
        name = &the_log->names[the_log->name_count++];
        memcpy(name->path, path, n + 1);
        name->object = the_log->objects++;
        add(RECORD_CREATE, path, 0)->object = name->object;
    }
    *ret = name->object;
    return true;
}

static bool object_of_fd(int fd, uint32_t *ret)
{
    char path[RECORD_PATH_MAX];
    return is_on && path_of_fd(fd, path) && object_of(path, ret);
}

/* ---- what is written ---- */

static void note_write(int fd, uint64_t at, const struct iovec *parts, int count, size_t n)
{
    uint32_t object;
    if (!object_of_fd(fd, &object)) {
        return;
    }
    struct record_entry *e = add(RECORD_WRITE, "", n);
    e->object = object;
    e->at = at;
    e->synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0; /* a part of O_SYNC */
    uint8_t *p = (uint8_t *)(e + 1);
    for (int i = 0; i < count && n > 0; i++) {
        size_t part = parts[i].iov_len < n ? parts[i].iov_len : n;
        memcpy(p, parts[i].iov_base, part);
        p += part, n -= part;
    }
}

static uint64_t place_of(int fd)
{
    long at = syscall(SYS_lseek, fd, 0L, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

static struct iovec part_of(const void *p, size_t n)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    long done = syscall(SYS_pwrite64, fd, p, n, at);
    if (done > 0) {
        struct iovec part = part_of(p, n);
        note_write(fd, (uint64_t)at, &part, 1, (size_t)done);
    }
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    long done = syscall(SYS_pwritev, fd, parts, (long)count, at, 0L);
    if (done > 0) {
        note_write(fd, (uint64_t)at, parts, count, (size_t)done);
    }
    return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
    uint64_t at = is_on ? place_of(fd) : 0;
    long done = syscall(SYS_write, fd, p, n);
    if (done > 0) {
        struct iovec part = part_of(p, n);
        note_write(fd, at, &part, 1, (size_t)done);
    }
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    uint64_t at = is_on ? place_of(fd) : 0;
    long done = syscall(SYS_writev, fd, parts, (long)count);
    if (done > 0) {
        note_write(fd, at, parts, count, (size_t)done);
    }
    return done;
}

static void note_size(int fd, uint64_t size)
{
    uint32_t object;
    if (object_of_fd(fd, &object)) {
        struct record_entry *e = add(RECORD_SIZE, "", 0);
        e->object = object;
        e->at = size;
    }
}

int ftruncate(int fd, off_t size)
{
    long code = syscall(SYS_ftruncate, fd, size);
    if (code == 0) {
        note_size(fd, (uint64_t)size);
    }
    return (int)code;
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || syscall(SYS_fallocate, fd, 0L, at, n) != 0) {
        return errno;
    }
    if (at + n > st.st_size) {
        note_size(fd, (uint64_t)(at + n));
    }
    return 0;
}

/* A hole is a write of zeroes. Other uses are not known here. */
int fallocate(int fd, int mode, off_t at, off_t n)
{
    static const uint8_t ZEROES[1 << 16];
    CHECK(!is_on || mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
    long code = syscall(SYS_fallocate, fd, (long)mode, at, n);
    for (off_t done = 0; code == 0 && is_on && done < n; done += (off_t)sizeof ZEROES) {
        size_t left = (size_t)(n - done);
        struct iovec part = part_of(ZEROES, left < sizeof ZEROES ? left : sizeof ZEROES);
        note_write(fd, (uint64_t)(at + done), &part, 1, part.iov_len);
    }
    return (int)code;
}

/* ---- what is synced ---- */

static void note_sync(int fd)
{
    char path[RECORD_PATH_MAX];
    struct stat st;
    uint32_t object;
    if (!is_on || !path_of_fd(fd, path) || fstat(fd, &st) != 0) {
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        add(RECORD_SYNC_DIR, path, 0);
    } else if (object_of(path, &object)) {
        add(RECORD_SYNC, "", 0)->object = object;
    }
}

int fsync(int fd)
{
    long code = syscall(SYS_fsync, fd);
    if (code == 0) {
        note_sync(fd);
    }
    return (int)code;
}

int fdatasync(int fd)
{
    long code = syscall(SYS_fdatasync, fd);
    if (code == 0) {
        note_sync(fd);
    }
    return (int)code;
}

/* ---- names that change ---- */

static bool is_directory(const char *path)
{
    char full[FULL_PATH_MAX + RECORD_PATH_MAX];
    struct stat st;
    snprintf(full, sizeof full, "%s/%s", the_log->root, path);
    return stat(full, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The names below a directory go with it. */
static void move_names(const char *from, const char *to)
{
    size_t n = strlen(from);
    for (size_t i = 0; i < the_log->name_count; i++) {
        char *path = the_log->names[i].path, moved[RECORD_PATH_MAX * 2];
        if (strncmp(path, from, n) == 0 && (path[n] == '/' || path[n] == '\0')) {
            int length = snprintf(moved, sizeof moved, "%s%s", to, path + n);
            CHECK(length > 0 && length < RECORD_PATH_MAX);
            memcpy(path, moved, (size_t)length + 1);
        }
    }
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    char a[RECORD_PATH_MAX], b[RECORD_PATH_MAX];
    uint32_t object;
    long code = syscall(SYS_renameat, from_fd, from, to_fd, to);
    if (code == 0 && is_on && path_at(from_fd, from, a) && path_at(to_fd, to, b)) {
        if (!is_directory(b)) {
            (void)object_of(a, &object);
        }
        memcpy(add(RECORD_RENAME, a, 0)->to, b, sizeof b);
        forget_name(b);
        move_names(a, b);
    }
    return (int)code;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    char full[RECORD_PATH_MAX];
    long code = syscall(SYS_unlinkat, dir_fd, path, (long)flags);
    if (code == 0 && is_on && path_at(dir_fd, path, full)) {
        add(RECORD_UNLINK, full, 0);
        forget_name(full);
    }
    return (int)code;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    char full[RECORD_PATH_MAX];
    long code = syscall(SYS_mkdirat, AT_FDCWD, path, (long)mode);
    if (code == 0 && is_on && below_root(path, full)) {
        add(RECORD_MKDIR, full, 0);
    }
    return (int)code;
}
