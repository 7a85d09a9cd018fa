/* err: the error codes of every Daybook library, and a buffer for what to tell a human.
 *
 * Any thread may call it; nothing is shared. What can fail returns `err_t`; ERR_OK is 0. Functions
 * that have more to say than a code also take a `struct err_text *`, which may be NULL; callers
 * prepend context on the way up. Nothing here allocates or logs. */
#ifndef DAYBOOK_BASE_ERR_H
#define DAYBOOK_BASE_ERR_H

#include <stddef.h>

enum err {
    ERR_OK = 0,
#define ERR(name, text) ERR_##name,
#include "err.def"
#undef ERR
    ERR_COUNT
};

typedef enum err err_t;

/* Put it on every function that returns err_t. */
#define MUST_CHECK __attribute__((warn_unused_result))

#define ERR_TEXT_MAX 512

/* A bounded message, context prepended as `context: message`. Zero-initialise. */
struct err_text {
    char text[ERR_TEXT_MAX];
};

/* "CORRUPT", "stored data is damaged": static strings, never NULL, also for codes out of range. */
const char *err_name(err_t err);
const char *err_describe(err_t err);

/* Sets the message (printf style) and returns `err`, so that a failure is one line:
 *   return err_set(et, ERR_CORRUPT, "segment %llu: bad magic", n);
 * `et` may be NULL. Too long a message is cut, never inside a UTF-8 character; one that is not
 * UTF-8 loses its other bytes to '?'. */
err_t err_set(struct err_text *et, err_t err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prepends `context: ` to the message; no-op where `et` is NULL. */
void err_prepend(struct err_text *et, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The code for an errno value: ENOSPC and EDQUOT are DISK_FULL, ENOMEM, EMFILE and ENFILE are
 * MEMORY, ENOENT is NOT_FOUND, all else IO. */
err_t err_from_errno(int code);

#endif
