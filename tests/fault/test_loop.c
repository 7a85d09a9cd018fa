/* Fault loops: of a short life of a store the n-th call to the system fails, n = 1, 2, 3 ... until
 * none does, once and from then on: every write, sync, allocation of space, change of a name, map
 * and allocation of memory. Whatever happens, nothing is told to be committed that is not, the
 * process dies of nothing and hangs in nothing, and afterwards the store opens and is whole.
 *
 * DAYBOOK_FAULT_STRIDE: only every so many n are tried (1: all). */
#include "tests/fault/inject.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/model/workload.h"
#include "tests/unit/child.h"
#include "tests/unit/support.h"

#define DEFAULT_STRIDE 29
#define COMMITS        40
#define CHILD_SECONDS  60
#define SEED           20260101

enum { ENDED = 0, DID_NOT_OPEN = 10, STOPPED = 20, SAYS_NOTHING = 99 };

struct fault {
    enum inject_call call;
    int error;
    bool always;
    long n;
};

/* Shared with the child. */
struct life {
    uint64_t submitted, acknowledged;
    bool hit;
    bool refused; /* some write was answered that it could not be done now */
};

struct run {
    struct fault fault;
    struct test_dir dir;
    struct life *life;
};

static struct life *the_life; /* the child's, for `submitted` */

/* ---- the short life ---- */

static void note_submitted(uint64_t position)
{
    the_life->submitted = position;
    inject_switch(true);
}

static struct store_options options_of(const struct test_dir *dir)
{
    struct store_options o = test_options(dir);
    o.disk_free_min_bytes = 1 << 20;
    return o;
}

/* What the server's threads do with errors: a full disk passes, after others the process stops. */
static bool passes(err_t err)
{
    return err == ERR_OK || err == ERR_DISK_FULL || err == ERR_FULL;
}

static bool apply(struct store *s)
{
    bool more = true;
    err_t err = ERR_OK;
    for (int i = 0; more && err == ERR_OK && i < 50; i++) {
        err = store_apply(s, true, &more);
    }
    more = err == ERR_OK;
    for (int i = 0; more && err == ERR_OK && i < 50; i++) {
        err = store_reclaim(s, TEST_TIME_US, &more);
    }
    if (passes(err)) {
        err = store_prepare(s);
    }
    return passes(err);
}

/* One command at a time where memory fails: that refuses one of a group and not the others. */
static bool commit(struct store *s, struct workload *w, const struct run *r)
{
    struct life *life = r->life;
    size_t commands = r->fault.call == INJECT_MEMORY ? 1 : 3;
    inject_switch(false); /* on again when the commands are made */
    err_t err = workload_commit(s, w, commands, note_submitted);
    life->refused = life->refused || w->refused != ERR_OK;
    life->acknowledged = w->position;
    return err == ERR_OK || err == ERR_FULL;
}

static int live(void *ctx)
{
    struct run *r = ctx;
    struct workload w;
    struct store *s;
    struct err_text et = {0};
    struct store_options o = options_of(&r->dir);
    the_life = r->life;
    workload_init(&w, SEED);
    inject_arm(r->fault.call, r->fault.n, r->fault.always, r->fault.error);
    err_t err = store_open(&o, &s, &et);
    bool going = err == ERR_OK;
    for (int i = 0; i < COMMITS && going; i++) {
        going = commit(s, &w, r) && (i % 4 != 3 || apply(s));
    }
    if (going) {
        store_close(s);
    }
    r->life->hit = inject_has_hit();
    inject_switch(false);
    bool says_why = et.text[0] != '\0' || err == ERR_MEMORY;
    return err != ERR_OK ? (says_why ? DID_NOT_OPEN : SAYS_NOTHING) : going ? ENDED : STOPPED;
}

/* ---- afterwards ---- */

static void fail_with(const struct run *r, const char *what)
{
    fail_msg("%s %ld, %s, %s: %s", inject_name(r->fault.call), r->fault.n,
             r->fault.always ? "always" : "once",
             r->fault.error == INJECT_SHORT ? "short" : strerror(r->fault.error), what);
}

static void check_afterwards(const struct run *r)
{
    struct store *s;
    struct err_text et = {0};
    struct workload w;
    bool found;
    struct store_options o = options_of(&r->dir);
    err_t err = store_open(&o, &s, &et);
    if (err != ERR_OK) {
        fail_with(r, et.text);
    }
    uint64_t position = store_position(s);
    if (position < r->life->acknowledged || position > r->life->submitted) {
        fail_with(r, position < r->life->acknowledged ? "acknowledged and lost" : "too much");
    }
    const char *bad = workload_check(s, SEED);
    if (bad != NULL || test_verify(s, NULL, &found) > 0) {
        fail_with(r, bad != NULL ? bad : "verify has findings");
    }
    test_apply_all(s); /* the tail may be full */
    workload_init_at(&w, SEED, position);
    err = workload_commit(s, &w, 2, NULL);
    assert_int_equal(err, ERR_OK);
    store_close(s);
}

/* One n; false: the life was over before the fault's turn came. */
static bool try(struct run *r, uint64_t counts[3])
{
    memset(r->life, 0, sizeof *r->life);
    test_dir_make(&r->dir);
    int status = child_run(live, r, CHILD_SECONDS);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code != ENDED && code != DID_NOT_OPEN && code != STOPPED) {
        fail_with(r, child_status_text(status));
    }
    counts[code / 10]++;
    bool hit = r->life->hit;
    check_afterwards(r);
    test_dir_remove(&r->dir);
    return hit;
}

static long stride(void)
{
    const char *text = getenv("DAYBOOK_FAULT_STRIDE");
    return text == NULL ? DEFAULT_STRIDE : strtol(text, NULL, 10);
}

static void loop(struct fault fault)
{
    struct run r = {.fault = fault, .life = child_shared(sizeof *r.life)};
    uint64_t counts[3] = {0};
    /* Few calls of a kind: all of them. */
    long step =
        fault.call == INJECT_MAP || fault.call == INJECT_NAME ? 1 + stride() / 10 : stride();
    long first = 1 + (long)(test_seed() % (uint64_t)step);
    for (r.fault.n = first; try(&r, counts); r.fault.n += step) {
    }
    print_message("%s, %s, %s: up to %ld: %" PRIu64 " went on, %" PRIu64 " did not start, %" PRIu64
                  " stopped\n",
                  inject_name(fault.call), fault.always ? "always" : "once",
                  fault.error == INJECT_SHORT ? "short" : strerror(fault.error), r.fault.n,
                  counts[0], counts[1], counts[2]);
    child_shared_free(r.life, sizeof *r.life);
}

static void loops(enum inject_call call, const int *errors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        loop((struct fault){.call = call, .error = errors[i]});
        loop((struct fault){.call = call, .error = errors[i], .always = true});
    }
}

static void test_writes(void **state)
{
    (void)state;
    static const int ERRORS[] = {EIO, ENOSPC, INJECT_SHORT};
    loops(INJECT_WRITE, ERRORS, 3);
}

static void test_syncs(void **state)
{
    (void)state;
    static const int ERRORS[] = {EIO, ENOSPC};
    loops(INJECT_SYNC, ERRORS, 2);
}

static void test_space(void **state)
{
    (void)state;
    static const int ERRORS[] = {ENOSPC, EIO};
    loops(INJECT_SPACE, ERRORS, 2);
}

static void test_names(void **state)
{
    (void)state;
    static const int ERRORS[] = {EIO, ENOSPC};
    loops(INJECT_NAME, ERRORS, 2);
}

static void test_maps(void **state)
{
    (void)state;
    static const int ERRORS[] = {ENOMEM};
    loops(INJECT_MAP, ERRORS, 1);
}

static void test_memory(void **state)
{
    (void)state;
    static const int ERRORS[] = {ENOMEM};
    loops(INJECT_MEMORY, ERRORS, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes), cmocka_unit_test(test_syncs), cmocka_unit_test(test_space),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_maps),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
