/* Tests of projections/snapshots.c: what is put is there until the log ends it, whatever was folded
 * when, and compared with a model over random commands. */
#include "projections/snapshots.h"

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#define MAP_BYTES ((uint64_t)1 << 26)
#define BYTES_MAX ((uint64_t)1 << 20)

struct fixture {
    struct test_dir dir, state_dir;
    struct store *store;
    struct state_env *env;
    struct snapshots *snapshots;
    struct store_view *view; /* of the open transaction */
};

static void open_state(struct fixture *f, uint64_t bytes_max)
{
    char path[TEST_PATH_MAX];
    test_path(&f->state_dir, "state", path);
    assert_int_equal(state_env_open(path, MAP_BYTES, &f->env, NULL), ERR_OK);
    assert_int_equal(snapshots_open(f->env, bytes_max, &f->snapshots, NULL), ERR_OK);
}

static void close_state(struct fixture *f)
{
    snapshots_close(f->snapshots);
    state_env_close(f->env);
}

static void start(struct fixture *f)
{
    test_dir_make(&f->dir);
    test_dir_make(&f->state_dir);
    f->store = test_open(&f->dir);
    open_state(f, BYTES_MAX);
}

static void finish(struct fixture *f)
{
    char path[TEST_PATH_MAX];
    struct test_dir inner;
    close_state(f);
    store_close(f->store);
    test_path(&f->state_dir, "state", path);
    memcpy(inner.path, path, sizeof path);
    test_dir_remove(&inner);
    test_dir_remove(&f->state_dir);
    test_dir_remove(&f->dir);
}

static err_t begin(struct fixture *f)
{
    assert_int_equal(store_view_open(f->store, &f->view), ERR_OK);
    err_t err = snapshots_begin(f->snapshots, f->view);
    if (err != ERR_OK) {
        store_view_close(f->view);
    }
    return err;
}

static err_t commit(struct fixture *f)
{
    err_t err = snapshots_commit(f->snapshots);
    store_view_close(f->view);
    return err;
}

static struct snapshot_result put(struct fixture *f, const char *stream, uint64_t revision,
                                  const char *data)
{
    const struct snapshot s = {.revision = revision, .data = bytes_of_string(data)};
    struct snapshot_result result;
    assert_int_equal(begin(f), ERR_OK);
    assert_int_equal(
        snapshots_put(f->snapshots, bytes_of_string(stream), &s, TEST_TIME_US, &result), ERR_OK);
    assert_int_equal(commit(f), ERR_OK);
    return result;
}

static void fold(struct fixture *f)
{
    assert_int_equal(begin(f), ERR_OK);
    assert_int_equal(commit(f), ERR_OK);
}

/* The revision of what a reader finds, 0 for nothing. */
static uint64_t revision_of(struct fixture *f, const char *stream)
{
    struct snapshot_read r;
    struct store_view *v;
    snapshot_read_init(&r);
    assert_int_equal(snapshots_read(f->snapshots, bytes_of_string(stream), &r), ERR_OK);
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    err_t err = snapshots_judge(v, bytes_of_string(stream), &r);
    store_view_close(v);
    uint64_t revision = err == ERR_OK && r.found ? r.snapshot.revision : 0;
    snapshot_read_done(&r);
    return revision;
}

static void append(struct fixture *f, const char *stream, int n)
{
    for (int i = 0; i < n; i++) {
        test_put(f->store, stream, "T", "{}");
    }
}

/* Each verdict. */
static void test_snapshots_put_verdicts(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    append(&f, "s", 5);
    assert_int_equal(put(&f, "none", 1, "x").verdict, SNAPSHOT_NO_STREAM);
    struct snapshot_result r = put(&f, "s", 6, "x");
    assert_true(r.verdict == SNAPSHOT_BEYOND_HEAD && r.revision == 5);
    r = put(&f, "s", 3, "x");
    assert_true(r.verdict == SNAPSHOT_DONE && !r.existed);
    int64_t first_us = r.time_us;
    r = put(&f, "s", 3, "y");
    assert_true(r.verdict == SNAPSHOT_DONE && r.existed && r.time_us > first_us);
    r = put(&f, "s", 2, "x");
    assert_true(r.verdict == SNAPSHOT_STALE && r.revision == 3);
    assert_int_equal(revision_of(&f, "s"), 3);
    assert_int_equal(test_commit_free(f.store, test_delete("s", false)), VERDICT_COMMITTED);
    assert_int_equal(put(&f, "s", 3, "x").verdict, SNAPSHOT_STREAM_DELETED);
    append(&f, "s", 1);
    r = put(&f, "s", 5, "x");
    assert_true(r.verdict == SNAPSHOT_OF_DELETED && r.revision == 5);
    assert_int_equal(put(&f, "s", 6, "x").verdict, SNAPSHOT_DONE);
    finish(&f);
}

/* A change ends what was put before it: for a reader at once, and for good once it is folded, also
 * when it is folded again after a restart. What is put after it stays. */
static void test_snapshots_ended_by_the_log(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    append(&f, "s", 5);
    append(&f, "t", 5);
    put(&f, "s", 3, "x");
    put(&f, "t", 3, "x");
    assert_int_equal(test_commit_free(f.store, test_redact("s", 4)), VERDICT_COMMITTED);
    assert_int_equal(revision_of(&f, "s"), 3);
    assert_int_equal(test_commit_free(f.store, test_redact("s", 3)), VERDICT_COMMITTED);
    assert_int_equal(revision_of(&f, "s"), 0); /* not folded yet */
    fold(&f);
    assert_int_equal(revision_of(&f, "s"), 0);
    assert_int_equal(revision_of(&f, "t"), 3);
    put(&f, "s", 3, "y");
    for (int i = 0; i < 3; i++) {
        close_state(&f);
        open_state(&f, BYTES_MAX);
        assert_int_equal(revision_of(&f, "s"), 3);
        fold(&f);
    }
    assert_int_equal(revision_of(&f, "s"), 3);
    finish(&f);
}

/* All together have a limit, which counts what is there, not what was. */
static void test_snapshots_no_room(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    close_state(&f);
    open_state(&f, 3 * 4096);
    const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        append(&f, names[i], 2);
        assert_int_equal(put(&f, names[i], 1, "x").verdict,
                         i < 3 ? SNAPSHOT_DONE : SNAPSHOT_NO_ROOM);
    }
    assert_int_equal(put(&f, "a", 2, "y").verdict, SNAPSHOT_DONE);
    assert_int_equal(test_commit_free(f.store, test_delete("b", true)), VERDICT_COMMITTED);
    close_state(&f);
    open_state(&f, 3 * 4096);
    assert_int_equal(put(&f, "d", 1, "x").verdict, SNAPSHOT_DONE);
    assert_int_equal(revision_of(&f, "d"), 1);
    finish(&f);
}

/* A write that fails at any point changes nothing, and goes well the next time. */
static void test_snapshots_disk_full(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    append(&f, "s", 5);
    put(&f, "s", 2, "x");
    bool failed = true;
    for (unsigned point = 1; failed; point++) {
        const struct snapshot s = {.revision = 3, .data = BYTES_LITERAL("y")};
        struct snapshot_result result;
        assert_int_equal(begin(&f), ERR_OK);
        fault_arm(FAULT_KV_PUT, point, false);
        err_t err = snapshots_put(f.snapshots, BYTES_LITERAL("s"), &s, TEST_TIME_US, &result);
        if (err == ERR_OK) {
            err = commit(&f);
        } else {
            snapshots_abort(f.snapshots);
            store_view_close(f.view);
        }
        fault_arm(FAULT_KV_PUT, 0, false);
        failed = err != ERR_OK;
        assert_true(!failed || err == ERR_DISK_FULL);
        assert_int_equal(revision_of(&f, "s"), failed ? 2 : 3);
        assert_true(point < 10);
    }
    finish(&f);
}

static void wipe_all(struct fixture *f)
{
    while (snapshots_must_wipe(f->snapshots)) {
        bool waits;
        assert_int_equal(snapshots_wipe(f->snapshots, &waits), ERR_OK);
        assert_false(waits);
    }
}

static bool file_has(struct fixture *f, const char *bytes)
{
    struct test_dir inner;
    test_path(&f->state_dir, "state", inner.path);
    return test_dir_has(&inner, bytes);
}

/* After a redaction no byte of the snapshot is left, nor of the one that it had replaced; it waits
 * for a reader that may look at them. */
static void test_snapshots_wipe(void **state)
{
    (void)state;
    struct fixture f;
    struct kv_txn *reader;
    start(&f);
    wipe_all(&f);
    append(&f, "s", 5);
    put(&f, "s", 2, "the first secret");
    put(&f, "s", 3, "the second secret");
    assert_true(file_has(&f, "second secret"));
    fold(&f);
    assert_false(snapshots_must_wipe(f.snapshots));
    assert_int_equal(kv_begin(state_env_kv(f.env), false, &reader), ERR_OK);
    assert_int_equal(test_commit_free(f.store, test_redact("s", 1)), VERDICT_COMMITTED);
    fold(&f);
    assert_true(snapshots_must_wipe(f.snapshots));
    bool waits;
    assert_int_equal(snapshots_wipe(f.snapshots, &waits), ERR_OK);
    assert_true(waits);
    assert_true(file_has(&f, "second secret"));
    kv_abort(reader);
    wipe_all(&f);
    assert_false(file_has(&f, "first secret"));
    assert_false(file_has(&f, "second secret"));
    finish(&f);
}

/* ---- random commands against a model ---- */

#define STREAMS 4

struct model {
    uint64_t head[STREAMS], snapshot[STREAMS], deleted_at[STREAMS];
    bool deleted[STREAMS];
};

static const char *const STREAM_NAMES[STREAMS] = {"a", "b", "c", "d"};

static void model_put(struct fixture *f, struct model *m, unsigned s, uint64_t revision)
{
    enum snapshot_verdict verdict = put(f, STREAM_NAMES[s], revision, "x").verdict;
    if (m->head[s] == 0) {
        assert_int_equal(verdict, SNAPSHOT_NO_STREAM);
    } else if (m->deleted[s]) {
        assert_int_equal(verdict, SNAPSHOT_STREAM_DELETED);
    } else if (revision > m->head[s]) {
        assert_int_equal(verdict, SNAPSHOT_BEYOND_HEAD);
    } else if (revision <= m->deleted_at[s]) {
        assert_int_equal(verdict, SNAPSHOT_OF_DELETED);
    } else if (revision < m->snapshot[s]) {
        assert_int_equal(verdict, SNAPSHOT_STALE);
    } else {
        assert_int_equal(verdict, SNAPSHOT_DONE);
        m->snapshot[s] = revision;
    }
}

static void model_redact(struct fixture *f, struct model *m, unsigned s, uint64_t revision)
{
    enum verdict verdict = test_commit_free(f->store, test_redact(STREAM_NAMES[s], revision));
    if (verdict == VERDICT_COMMITTED && revision <= m->snapshot[s]) {
        m->snapshot[s] = 0;
    }
}

static void random_step(struct fixture *f, struct model *m, uint64_t *seed)
{
    unsigned s = (unsigned)test_below(seed, STREAMS);
    uint64_t some = 1 + test_below(seed, m->head[s] + 2);
    switch (test_below(seed, 8)) {
    case 0:
    case 1:
    case 2:
        append(f, STREAM_NAMES[s], 1);
        m->head[s]++;
        m->deleted[s] = false;
        break;
    case 3:
    case 4:
        model_put(f, m, s, some);
        break;
    case 5:
        model_redact(f, m, s, some);
        break;
    case 6:
        if (test_below(seed, 4) == 0 && m->head[s] > 0 && !m->deleted[s]) {
            assert_int_equal(test_commit_free(f->store, test_delete(STREAM_NAMES[s], false)),
                             VERDICT_COMMITTED);
            m->deleted[s] = true;
            m->deleted_at[s] = m->head[s];
            m->snapshot[s] = 0;
        }
        break;
    default:
        if (test_below(seed, 2) == 0) {
            fold(f);
        } else {
            close_state(f);
            open_state(f, BYTES_MAX);
        }
    }
}

static void test_snapshots_against_model(void **state)
{
    (void)state;
    struct fixture f;
    static struct model m;
    uint64_t seed = test_seed();
    start(&f);
    for (int i = 0; i < 300; i++) {
        random_step(&f, &m, &seed);
        for (unsigned s = 0; s < STREAMS; s++) {
            assert_int_equal(revision_of(&f, STREAM_NAMES[s]), m.snapshot[s]);
        }
    }
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshots_put_verdicts),
        cmocka_unit_test(test_snapshots_ended_by_the_log),
        cmocka_unit_test(test_snapshots_no_room),
        cmocka_unit_test(test_snapshots_disk_full),
        cmocka_unit_test(test_snapshots_wipe),
        cmocka_unit_test(test_snapshots_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
