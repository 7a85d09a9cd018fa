/* support_group: see support_group.h. */
#include "tests/unit/support_group.h"

#include <stdlib.h>

#define STATE_MAP_BYTES ((uint64_t)1 << 28)
#define LEASES_MAX      20000

static void open_groups(struct test_groups *t)
{
    struct err_text et = {0};
    err_t err = groups_open(t->env, &t->groups, &et);
    if (err != ERR_OK) {
        fail_msg("groups_open: %s: %s", err_name(err), et.text);
    }
}

static void open_env(struct test_groups *t)
{
    char path[TEST_PATH_MAX];
    test_path(&t->dir, "state", path);
    assert_int_equal(state_env_open(path, STATE_MAP_BYTES, &t->env, NULL), ERR_OK);
}

struct test_groups *test_groups_open(void)
{
    struct test_groups *t = calloc(1, sizeof *t);
    assert_non_null(t);
    test_dir_make(&t->dir);
    t->store = test_open(&t->dir);
    t->now_us = TEST_TIME_US + 1000 * TEST_SECOND;
    t->random = 1;
    open_env(t);
    open_groups(t);
    return t;
}

void test_groups_close(struct test_groups *t)
{
    groups_close(t->groups);
    state_env_close(t->env);
    if (t->view != NULL) {
        store_view_close(t->view);
    }
    store_close(t->store);
    test_dir_remove(&t->dir);
    free(t);
}

void test_groups_crash(struct test_groups *t, bool env)
{
    groups_close(t->groups);
    if (t->view != NULL) {
        store_view_close(t->view);
        t->view = NULL;
    }
    if (env) {
        state_env_close(t->env);
        open_env(t);
    }
    open_groups(t);
}

/* ---- transactions ---- */

static void close_view(struct test_groups *t)
{
    store_view_close(t->view);
    t->view = NULL;
}

void test_begin(struct test_groups *t)
{
    assert_int_equal(store_view_open(t->store, &t->view), ERR_OK);
    assert_int_equal(groups_begin(t->groups, t->view, t->now_us), ERR_OK);
}

err_t test_try_end(struct test_groups *t)
{
    err_t err = groups_commit(t->groups);
    close_view(t);
    return err;
}

void test_end(struct test_groups *t)
{
    assert_int_equal(test_try_end(t), ERR_OK);
}

void test_abort(struct test_groups *t)
{
    groups_abort(t->groups);
    close_view(t);
}

/* ---- definitions ---- */

void test_change(struct test_groups *t, const struct group_change *change)
{
    struct arena arena;
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    arena_init(&arena, 4096, 1 << 20);
    assert_int_equal(group_make_event(change, &arena, &draft), ERR_OK);
    test_id(test_random(&t->random), id);
    draft.id = bytes_of(id, sizeof id);
    struct command *c = test_command();
    assert_int_equal(command_add_system_append(c, BYTES_LITERAL(GROUPS_STREAM), TEST_ANY), ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    assert_int_equal(test_commit(t->store, c), VERDICT_COMMITTED);
    command_free(c);
    arena_done(&arena);
}

void test_define(struct test_groups *t, const char *name, const struct group_settings *settings,
                 uint64_t position)
{
    test_change(t, &(struct group_change){.kind = GROUP_DEFINED,
                                          .name = bytes_of_string(name),
                                          .settings = settings,
                                          .position = position});
}

void test_seek(struct test_groups *t, const char *name, uint64_t position)
{
    test_change(t, &(struct group_change){
                       .kind = GROUP_SEEKED, .name = bytes_of_string(name), .position = position});
}

/* ---- work ---- */

static err_t take(void *ctx, const struct group_delivery *d)
{
    struct test_groups *t = ctx;
    assert_true(t->n < TEST_DELIVERED_MAX);
    t->got[t->n++] = (struct test_delivered){d->record.position, d->lease, d->attempt, d->replay};
    return ERR_OK;
}

err_t test_try_fetch(struct test_groups *t, const char *name, uint32_t max)
{
    struct group_fetch fetch = {
        .group = bytes_of_string(name), .consumer = BYTES_LITERAL("c"), .max = max};
    bytes_put_u64le(fetch.token, test_random(&t->random));
    bytes_put_u64le(fetch.token + 8, test_random(&t->random));
    t->n = 0;
    return groups_fetch(t->groups, &fetch, take, t, &t->fetched);
}

size_t test_fetch(struct test_groups *t, const char *name, uint32_t max)
{
    test_begin(t);
    assert_int_equal(test_try_fetch(t, name, max), ERR_OK);
    test_end(t);
    assert_int_equal(t->fetched.count, t->n);
    return t->n;
}

static struct group_leases leases_of(struct test_groups *t, const char *name, size_t from, size_t n)
{
    static struct group_lease items[LEASES_MAX];
    static bool lost[LEASES_MAX];
    assert_true(n <= LEASES_MAX);
    for (size_t i = 0; i < n; i++) {
        items[i] = t->got[from + i].lease;
    }
    return (struct group_leases){
        .group = bytes_of_string(name), .items = items, .n = n, .lost = lost};
}

size_t test_ack(struct test_groups *t, const char *name, size_t from, size_t n)
{
    struct group_leases leases = leases_of(t, name, from, n);
    size_t lost = 0;
    test_begin(t);
    assert_int_equal(groups_ack(t->groups, &leases, &lost), ERR_OK);
    test_end(t);
    return lost;
}

size_t test_nack(struct test_groups *t, const char *name, size_t from, size_t n,
                 const struct group_nack *nack)
{
    struct group_leases leases = leases_of(t, name, from, n);
    size_t lost = 0;
    test_begin(t);
    assert_int_equal(groups_nack(t->groups, &leases, nack, &lost, NULL), ERR_OK);
    test_end(t);
    return lost;
}

struct group_status test_status(struct test_groups *t, const char *name)
{
    struct group_status status;
    test_begin(t);
    assert_int_equal(groups_status(t->groups, bytes_of_string(name), &status), ERR_OK);
    test_end(t);
    return status;
}

struct listed {
    uint64_t *positions;
    size_t n, max;
};

static err_t list_one(void *ctx, const struct group_parked *parked)
{
    struct listed *l = ctx;
    if (l->n < l->max) {
        l->positions[l->n] = parked->position;
    }
    l->n++;
    return ERR_OK;
}

size_t test_parked(struct test_groups *t, const char *name, uint64_t *positions, size_t max)
{
    struct listed l = {.positions = positions, .max = max};
    bool end = false;
    test_begin(t);
    while (!end) {
        uint64_t after = l.n == 0 ? 0 : positions[l.n - 1];
        struct group_parked_page page = {bytes_of_string(name), after, 100};
        assert_int_equal(groups_parked(t->groups, &page, list_one, &l, &end), ERR_OK);
        assert_true(l.n <= max);
    }
    test_end(t);
    return l.n;
}

struct group_selected test_select(struct test_groups *t, const struct group_selection *selection,
                                  bool replay)
{
    struct group_selection s = *selection;
    struct group_selected all = {0}, some;
    test_begin(t);
    do {
        err_t err =
            replay ? groups_replay(t->groups, &s, &some) : groups_discard(t->groups, &s, &some);
        assert_int_equal(err, ERR_OK);
        all.count += some.count;
        all.gone += some.gone;
        s.from = some.next;
    } while (some.next != 0);
    test_end(t);
    return all;
}
