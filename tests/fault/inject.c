/* inject: see inject.h. The real calls are made with syscall(2), memory comes from glibc's own
 * names. */
#include "tests/fault/inject.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <fcntl.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#define HAS_MEMORY 1
#else
#define HAS_MEMORY 0
#endif

/* ThreadSanitizer has to see every map. */
#if !defined(__SANITIZE_THREAD__)
#define HAS_MAP 1
#else
#define HAS_MAP 0
#endif

static _Atomic int armed = -1; /* which call */
static atomic_long countdown;
static _Atomic bool always_fails, has_hit, is_off;
static _Atomic int with_error;

static const char *const NAMES[] = {"write", "sync", "space", "name", "map", "memory"};

const char *inject_name(enum inject_call call)
{
    return NAMES[call];
}

void inject_arm(enum inject_call call, long n, bool always, int error)
{
    atomic_store(&armed, -1);
    atomic_store(&has_hit, false);
    atomic_store(&always_fails, always);
    atomic_store(&with_error, error);
    atomic_store(&countdown, n);
    atomic_store(&armed, n == 0 ? -1 : (int)call);
}

void inject_switch(bool on)
{
    atomic_store(&is_off, !on);
}

bool inject_has_hit(void)
{
    return atomic_load(&has_hit);
}

static int error_of(const char *name)
{
    static const struct {
        const char *name;
        int code;
    } ERRORS[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"ENOMEM", ENOMEM}, {"short", INJECT_SHORT}};
    for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++) {
        if (strcmp(name, ERRORS[i].name) == 0) {
            return ERRORS[i].code;
        }
    }
    return EIO;
}

__attribute__((constructor)) static void arm_by_environment(void)
{
    char call[16], number[16], mode[16], error[16];
    const char *text = getenv("DAYBOOK_INJECT");
    if (text == NULL ||
        sscanf(text, "%15[^:]:%15[^:]:%15[^:]:%15s", call, number, mode, error) != 4) {
        return;
    }
    for (int i = 0; i < INJECT_CALLS; i++) {
        if (strcmp(call, NAMES[i]) == 0) {
            inject_arm((enum inject_call)i, strtol(number, NULL, 10), strcmp(mode, "always") == 0,
                       error_of(error));
        }
    }
}

/* Whether this call is to fail; sets errno. */
static bool fails(enum inject_call call)
{
    if (atomic_load_explicit(&armed, memory_order_relaxed) != (int)call || atomic_load(&is_off)) {
        return false;
    }
    long left = atomic_fetch_sub(&countdown, 1);
    if (left == 1 || (left < 1 && atomic_load(&always_fails))) {
        atomic_store(&has_hit, true);
        errno = atomic_load(&with_error) == INJECT_SHORT ? EIO : atomic_load(&with_error);
        return true;
    }
    return false;
}

static bool is_of_files(int fd)
{
    struct stat st;
    return fd > STDERR_FILENO && atomic_load_explicit(&armed, memory_order_relaxed) >= 0 &&
           fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

/* ---- writing ---- */

/* Fails, or says by how much the write is to be cut. */
static bool write_fails(int fd, size_t n, size_t *ret_n)
{
    *ret_n = n;
    if (!is_of_files(fd) || !fails(INJECT_WRITE)) {
        return false;
    }
    if (atomic_load(&with_error) == INJECT_SHORT && n > 1) {
        *ret_n = n / 2;
        return false;
    }
    return true;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    size_t part;
    return write_fails(fd, n, &part) ? -1 : syscall(SYS_pwrite64, fd, p, part, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n, at);
}

ssize_t write(int fd, const void *p, size_t n)
{
    size_t part;
    return write_fails(fd, n, &part) ? -1 : syscall(SYS_write, fd, p, part);
}

/* A cut one is of the first part alone, cut if it is the only one. */
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    size_t part;
    if (write_fails(fd, count > 1 ? 2 : 1, &part)) {
        return -1;
    }
    bool cut = count > 1 && part == 1;
    return syscall(SYS_pwritev, fd, parts, cut ? 1L : (long)count, at, 0L);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    size_t part;
    if (write_fails(fd, count > 1 ? 2 : 1, &part)) {
        return -1;
    }
    bool cut = count > 1 && part == 1;
    return syscall(SYS_writev, fd, parts, cut ? 1L : (long)count);
}

/* ---- syncing, space, names, maps ---- */

int fsync(int fd)
{
    return is_of_files(fd) && fails(INJECT_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return is_of_files(fd) && fails(INJECT_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size)
{
    return is_of_files(fd) && fails(INJECT_SPACE) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    return is_of_files(fd) && fails(INJECT_SPACE)
               ? -1
               : (int)syscall(SYS_fallocate, fd, (long)mode, at, n);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    return fallocate(fd, 0, at, n) == 0 ? 0 : errno;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return fails(INJECT_NAME) ? -1 : (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    return fails(INJECT_NAME) ? -1 : (int)syscall(SYS_unlinkat, dir_fd, path, (long)flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    return fails(INJECT_NAME) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, (long)mode);
}

#if HAS_MAP
void *mmap(void *p, size_t n, int access, int flags, int fd, off_t at)
{
    if (fd >= 0 && fails(INJECT_MAP)) {
        return MAP_FAILED;
    }
    long got = syscall(SYS_mmap, p, n, (long)access, (long)flags, (long)fd, at);
    return got == -1 ? MAP_FAILED : (void *)(uintptr_t)got;
}

void *mmap64(void *p, size_t n, int access, int flags, int fd, off_t at)
{
    return mmap(p, n, access, flags, fd, at);
}
#endif

/* ---- memory ---- */

#if HAS_MEMORY
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    return fails(INJECT_MEMORY) ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return fails(INJECT_MEMORY) ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return fails(INJECT_MEMORY) ? NULL : __libc_realloc(p, n);
}
#endif
