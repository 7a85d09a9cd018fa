/* record: what a process does to the files below one directory, in order.
 *
 * Linked into a program, record.c takes the place of the C library's pwrite, pwritev, write,
 * writev, fsync, fdatasync, ftruncate, posix_fallocate, fallocate, rename, renameat, unlink,
 * unlinkat and mkdir, for the program's own calls and for those of the libraries that it loads
 * (LMDB). Each does its work and is noted while recording is on. The log stands in shared memory,
 * so that a child process can be recorded, die, and be followed by the next one. One thread. */
#ifndef DAYBOOK_TESTS_CRASH_RECORD_H
#define DAYBOOK_TESTS_CRASH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_PATH_MAX 64

enum record_op {
    RECORD_CREATE,   /* `path` is now the file `object`, which is empty */
    RECORD_MKDIR,    /* `path` is now a directory */
    RECORD_WRITE,    /* n bytes at `at` of `object`; `synced`: through a descriptor with O_DSYNC or
                        O_SYNC, so that they are durable when the call has returned */
    RECORD_SIZE,     /* `object` is made `at` bytes long; what is new is zeroes */
    RECORD_SYNC,     /* all of `object` is durable */
    RECORD_SYNC_DIR, /* all names in the directory `path` are durable */
    RECORD_RENAME,   /* `path` is called `to` */
    RECORD_UNLINK,   /* `path` is gone */
    RECORD_MARK,     /* the program's own: `object` says what, `at` the value */
};

struct record_entry {
    uint64_t at, n;
    uint32_t op, object;
    bool synced;
    char path[RECORD_PATH_MAX],
        to[RECORD_PATH_MAX]; /* relative to the recorded directory; "": itself */
};

/* Begins a new log of what happens below `root`, an absolute path; recording is off. */
void record_begin(const char *root);
/* On and off, in this process. */
void record_switch(bool on);
void record_mark(uint32_t what, uint64_t value);
/* Gives the log's memory back. */
void record_end(void);

/* The entry after `previous` (NULL: the first); NULL at the end. */
const struct record_entry *record_next(const struct record_entry *previous);
/* The bytes of a RECORD_WRITE. */
const uint8_t *record_data(const struct record_entry *e);

#endif
