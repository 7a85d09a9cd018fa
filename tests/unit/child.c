/* child: see child.h. */
#include "tests/unit/child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/support.h"

#ifdef DAYBOOK_COVERAGE
#include <gcov.h>
#endif

/* _exit keeps nothing of what a child has counted. */
static void keep_counts(void)
{
#ifdef DAYBOOK_COVERAGE
    __gcov_dump();
#endif
}

/* cmocka's handlers would go on with the next test, in the child. */
static void leave_cmocka(void)
{
    static const int SIGNALS[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof SIGNALS / sizeof SIGNALS[0]; i++) {
        signal(SIGNALS[i], SIG_DFL);
    }
    setenv("CMOCKA_TEST_ABORT", "1", 1);
}

int child_run(int (*run)(void *ctx), void *ctx, unsigned seconds)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        leave_cmocka();
        alarm(seconds);
        int code = run(ctx);
        keep_counts();
        _exit(code);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

void *child_shared(size_t n)
{
    /* cppcheck-suppress invalidFunctionArg ; an anonymous map is of no file: -1 */
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

void child_shared_free(void *p, size_t n)
{
    munmap(p, n);
}

const char *child_status_text(int status)
{
    static char text[64];
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "died by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(status));
    }
    return text;
}
