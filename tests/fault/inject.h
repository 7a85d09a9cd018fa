/* inject: calls to the system that fail by countdown.
 *
 * Linked into a program, inject.c takes the place of the C library's calls below, for the program
 * and for the libraries that it loads (LMDB, SQLite). Only what concerns files counts: sockets,
 * pipes and the standard streams are left alone. Any thread.
 *
 * A program that does not call inject_arm is armed by its environment:
 * DAYBOOK_INJECT=CALL:N:MODE:ERROR, for instance write:12:once:EIO or memory:400:always:ENOMEM;
 * ERROR may be `short` for half a write. */
#ifndef DAYBOOK_TESTS_FAULT_INJECT_H
#define DAYBOOK_TESTS_FAULT_INJECT_H

#include <stdbool.h>

enum inject_call {
    INJECT_WRITE,  /* pwrite, pwritev, write, writev */
    INJECT_SYNC,   /* fsync, fdatasync */
    INJECT_SPACE,  /* posix_fallocate, fallocate, ftruncate */
    INJECT_NAME,   /* rename, renameat, unlink, unlinkat, mkdir */
    INJECT_MAP,    /* mmap of a file; never under ThreadSanitizer */
    INJECT_MEMORY, /* malloc, calloc, realloc; never in a sanitizer's build */
    INJECT_CALLS
};

#define INJECT_SHORT (-1)

/* The nth such call from now on (1: the next) fails with `error`, an errno or INJECT_SHORT; where
 * `always`, so do all after it. n = 0 disarms. */
void inject_arm(enum inject_call call, long n, bool always, int error);
/* Off, nothing fails and nothing counts: for what a test does for itself meanwhile. On at the
 * start. */
void inject_switch(bool on);
/* Whether a call has failed since. */
bool inject_has_hit(void);
const char *inject_name(enum inject_call call);

#endif
