/* check: asserts that stay on in release builds. They are for our own bugs only, never for input,
 * disk, memory or peers. */
#ifndef DAYBOOK_BASE_CHECK_H
#define DAYBOOK_BASE_CHECK_H

/* Prints what failed and where to standard error and aborts. */
_Noreturn void check_failed(const char *what, const char *file, int line);

#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#endif
