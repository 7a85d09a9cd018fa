/* Tests of storage/base/fault.h and check.h. */
#include "storage/base/fault.h"

#include "storage/base/check.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define THREADS 4
#define PASSES  50000

/* Disarmed, as at start, nothing ever fails. */
static void test_fault_hit_disarmed(void **state)
{
    (void)state;
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        for (int i = 0; i < 100; i++) {
            assert_false(fault_hit((enum fault)fault));
        }
    }
}

/* Exactly the nth pass fails, and the passes after it do not. */
static void test_fault_arm_once(void **state)
{
    (void)state;
    for (long n = 1; n <= 5; n++) {
        fault_arm(FAULT_KV_PUT, n, false);
        for (long pass = 1; pass <= 10; pass++) {
            assert_int_equal(fault_hit(FAULT_KV_PUT), pass == n);
        }
    }
}

/* The nth pass and all after it fail, until it is disarmed. */
static void test_fault_arm_persistent(void **state)
{
    (void)state;
    for (long n = 1; n <= 5; n++) {
        fault_arm(FAULT_KV_PUT, n, true);
        for (long pass = 1; pass <= 10; pass++) {
            assert_int_equal(fault_hit(FAULT_KV_PUT), pass >= n);
        }
        fault_arm(FAULT_KV_PUT, 0, true);
        assert_false(fault_hit(FAULT_KV_PUT));
    }
}

/* Arming anew replaces the countdown, and 0 disarms. */
static void test_fault_arm_again(void **state)
{
    (void)state;
    fault_arm(FAULT_KV_PUT, 1, false);
    fault_arm(FAULT_KV_PUT, 2, false);
    assert_false(fault_hit(FAULT_KV_PUT));
    fault_arm(FAULT_KV_PUT, 0, false);
    assert_false(fault_hit(FAULT_KV_PUT));
}

/* The points are independent of each other. */
static void test_fault_arm_independent(void **state)
{
    (void)state;
    fault_arm(FAULT_KV_COMMIT, 1, false);
    assert_false(fault_hit(FAULT_KV_PUT));
    assert_false(fault_hit(FAULT_JOURNAL_WRITE));
    assert_true(fault_hit(FAULT_KV_COMMIT));
    assert_false(fault_hit(FAULT_KV_COMMIT));
}

static void *pass_many_times(void *hits)
{
    for (int i = 0; i < PASSES; i++) {
        *(int *)hits += fault_hit(FAULT_TAIL_ALLOCATE);
    }
    return NULL;
}

static int hits_of_threads(void)
{
    pthread_t threads[THREADS];
    int hits[THREADS] = {0};
    int sum = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, pass_many_times, &hits[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        sum += hits[i];
    }
    return sum;
}

/* With several threads at one point, each pass is still counted once: exactly one fails, or exactly
 * all from the nth on. */
static void test_fault_hit_threads(void **state)
{
    (void)state;
    const long last = (long)THREADS * PASSES;
    fault_arm(FAULT_TAIL_ALLOCATE, last, false);
    assert_int_equal(hits_of_threads(), 1);
    fault_arm(FAULT_TAIL_ALLOCATE, last + 1, false);
    assert_int_equal(hits_of_threads(), 0);
    assert_true(fault_hit(FAULT_TAIL_ALLOCATE));
    fault_arm(FAULT_TAIL_ALLOCATE, last - 99, true);
    assert_int_equal(hits_of_threads(), 100);
    fault_arm(FAULT_TAIL_ALLOCATE, 0, false);
}

/* A check that holds does nothing; one that fails says what and where, and aborts. */
static void test_check_failed_aborts(void **state)
{
    (void)state;
    CHECK(1 + 1 == 2);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        CHECK(1 + 1 == 3);
        _exit(0);
    }
    close(ends[1]);
    char text[256] = {0};
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_fault.c:"));
    assert_non_null(strstr(text, "check failed: 1 + 1 == 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_hit_disarmed),    cmocka_unit_test(test_fault_arm_once),
        cmocka_unit_test(test_fault_arm_persistent),  cmocka_unit_test(test_fault_arm_again),
        cmocka_unit_test(test_fault_arm_independent), cmocka_unit_test(test_fault_hit_threads),
        cmocka_unit_test(test_check_failed_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
