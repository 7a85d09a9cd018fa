/* support_group: what the tests of consumer groups share: a store with its groups, operations in
 * one line.
 *
 * One thread. Everything fails the running test instead of returning an error, but what says so. */
#ifndef DAYBOOK_TESTS_UNIT_SUPPORT_GROUP_H
#define DAYBOOK_TESTS_UNIT_SUPPORT_GROUP_H

#include "projections/group_admin.h"
#include "tests/unit/support.h"

#define TEST_SECOND        ((int64_t)1000000)
#define TEST_DELIVERED_MAX 20000

struct test_delivered {
    uint64_t position;
    struct group_lease lease;
    uint32_t attempt;
    bool replay;
};

struct test_groups {
    struct test_dir dir;
    struct store *store;
    struct state_env *env;
    struct groups *groups;
    struct store_view *view; /* of the open transaction */
    int64_t now_us;
    uint64_t random;
    size_t n; /* of the last fetch */
    struct test_delivered got[TEST_DELIVERED_MAX];
    struct group_fetched fetched;
};

/* A store and its groups in a fresh directory; freed by test_groups_close. */
struct test_groups *test_groups_open(void);
void test_groups_close(struct test_groups *t);
/* What a kill would leave in memory: nothing. The open transaction is gone. `env`: the environment
 * is opened again too. */
void test_groups_crash(struct test_groups *t, bool env);

void test_begin(struct test_groups *t);
void test_end(struct test_groups *t);
/* Commits with an error that the test expects, or aborts. */
err_t test_try_end(struct test_groups *t);
void test_abort(struct test_groups *t);

/* Appends the event of a change. */
void test_change(struct test_groups *t, const struct group_change *change);
/* Creates or edits a group. */
void test_define(struct test_groups *t, const char *name, const struct group_settings *settings,
                 uint64_t position);
void test_seek(struct test_groups *t, const char *name, uint64_t position);

/* Inside a transaction: into t->got. */
err_t test_try_fetch(struct test_groups *t, const char *name, uint32_t max);
/* The same, in one of its own. Returns how many. */
size_t test_fetch(struct test_groups *t, const char *name, uint32_t max);
/* In a transaction of its own: acknowledges got[from .. from + n). Returns how many are lost. */
size_t test_ack(struct test_groups *t, const char *name, size_t from, size_t n);
/* The same; delay < 0: by back-off. */
size_t test_nack(struct test_groups *t, const char *name, size_t from, size_t n,
                 const struct group_nack *nack);
struct group_status test_status(struct test_groups *t, const char *name);
/* How many were parked, and their positions, in order. */
size_t test_parked(struct test_groups *t, const char *name, uint64_t *positions, size_t max);
/* All of a selection, in as many calls as it takes, in one transaction. */
struct group_selected test_select(struct test_groups *t, const struct group_selection *selection,
                                  bool replay);

#endif
