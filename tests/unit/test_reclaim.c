/* Tests of storage/reclaim*.c, unpost.c, kv_scrub.c and journal_purge.c together: what is hidden
 * goes from log, index and files, and nothing else does, whatever is in the way. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/fault.h"
#include "storage/posting.h"
#include "storage/reclaim.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define SECRET "the-secret-of-the-stream"
#define KEPT   "what-is-kept"

struct fixture {
    struct test_dir dir;
    struct store *store;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fault_arm(FAULT_KV_PUT, 0, false);
    fault_arm(FAULT_KV_COMMIT, 0, false);
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

static enum verdict commit(struct fixture *f, struct command *c)
{
    enum verdict verdict = test_commit(f->store, c);
    command_free(c);
    return verdict;
}

/* n events, every other one of the stream "secret" with tags and type of its own. */
static void fill(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char data[100], tag[40];
        uint8_t id[UUID_BYTES];
        bool secret = i % 2 == 0;
        snprintf(data, sizeof data, "{\"%s\":%u}", secret ? SECRET : KEPT, i);
        snprintf(tag, sizeof tag, secret ? "secret:%u" : "kept:%u", i % 10);
        struct bytes tags[] = {bytes_of_string(tag), BYTES_LITERAL("both")};
        test_id(i + 1, id);
        struct event_draft draft = {.id = bytes_of(id, UUID_BYTES),
                                    .id_given = true,
                                    .type =
                                        secret ? BYTES_LITERAL("Secret") : BYTES_LITERAL("Kept"),
                                    .data = bytes_of_string(data),
                                    .metadata = bytes_of_string(data),
                                    .tags = tags,
                                    .tag_count = 2};
        struct command *c = test_command();
        test_add_append(c, secret ? "secret-1" : "kept-1", TEST_ANY);
        assert_int_equal(command_add_event(c, &draft), ERR_OK);
        assert_int_equal(commit(f, c), VERDICT_COMMITTED);
    }
}

static uint64_t count_of(struct fixture *f, enum name_kind kind, const char *name)
{
    struct store_view *v;
    struct name_state state;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    err_t err = view_name(v, kind, bytes_of_string(name), &state);
    store_view_close(v);
    assert_true(err == ERR_OK || err == ERR_NOT_FOUND);
    return err == ERR_OK ? state.count : 0;
}

/* Bytes, where they can be found: they must be there before, else the test shows nothing. */
static void expect_gone(struct fixture *f)
{
    assert_false(test_dir_has(&f->dir, SECRET));
    assert_true(test_dir_has(&f->dir, KEPT));
}

/* After a deletion and a pass nothing of the stream's events is in any file, open or closed; its
 * numbers and everything of others is as it was. */
static void test_reclaim_deleted_stream(void **state)
{
    struct fixture *f = *state;
    fill(f, 600);
    test_apply_all(f->store);
    assert_true(test_dir_has(&f->dir, SECRET));
    assert_int_equal(commit(f, test_delete("secret-1", false)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    assert_true(store_reclaim_is_wanted(f->store));
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
    assert_int_equal(count_of(f, NAME_TYPE, "Secret"), 0);
    assert_int_equal(count_of(f, NAME_CATEGORY, "secret"), 0);
    assert_int_equal(count_of(f, NAME_TAG, "secret:4"), 0);
    assert_int_equal(count_of(f, NAME_TAG, "both"), 300);
    assert_int_equal(count_of(f, NAME_STREAM, "secret-1"), 300);
    test_verify_clean(f->store, 601);
    store_close(f->store);
    expect_gone(f);
    f->store = test_open(&f->dir);
    expect_gone(f);
    assert_int_equal(commit(f, test_one("secret-1", TEST_AT(300), 1, "Secret", "{}")),
                     VERDICT_COMMITTED);
    test_apply_all(f->store);
    assert_int_equal(count_of(f, NAME_TYPE, "Secret"), 1);
    assert_int_equal(count_of(f, NAME_STREAM, "secret-1"), 301);
    test_verify_clean(f->store, 602);
}

/* The same when the events were never in LMDB before the deletion was committed, and small. */
static void test_reclaim_deleted_at_once(void **state)
{
    struct fixture *f = *state;
    fill(f, 4);
    assert_int_equal(commit(f, test_delete("secret-1", true)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
    test_verify_clean(f->store, 5);
}

/* Redacted events' data and metadata are in no file either; the others of the stream are. */
static void test_reclaim_redacted(void **state)
{
    struct fixture *f = *state;
    fill(f, 100);
    test_apply_all(f->store);
    for (uint64_t revision = 1; revision <= 50; revision++) {
        assert_int_equal(commit(f, test_redact("secret-1", revision)), VERDICT_COMMITTED);
    }
    test_apply_all(f->store);
    assert_true(test_dir_has(&f->dir, SECRET));
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
    assert_int_equal(count_of(f, NAME_TYPE, "Secret"), 50);
    test_verify_clean(f->store, 150);
    store_close(f->store);
    expect_gone(f);
    f->store = test_open(&f->dir);
    assert_int_equal(commit(f, test_redact("secret-1", 7)), VERDICT_DUPLICATE);
    assert_int_equal(store_reindex(f->store, NULL, NULL), ERR_OK);
    test_verify_clean(f->store, 150);
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
}

/* Steps, reads and appends interleave; a reader that holds an old snapshot is not disturbed, and is
 * waited for before its pages are wiped. */
static void test_reclaim_waits_for_readers(void **state)
{
    struct fixture *f = *state;
    struct store_view *v;
    struct store_record record;
    struct event event;
    bool more = true;
    fill(f, 400);
    test_apply_all(f->store);
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(commit(f, test_delete("secret-1", false)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    while (more) {
        assert_int_equal(store_reclaim(f->store, TEST_TIME_US, &more), ERR_OK);
    }
    assert_true(store_reclaim_is_wanted(f->store));
    for (uint64_t p = 1; p <= 400; p++) {
        assert_int_equal(store_get_event(v, p, &record), ERR_OK);
        assert_int_equal(store_record_decode(&record, &event), ERR_OK);
        assert_non_null(memmem(event.data.p, event.data.n, p % 2 == 1 ? SECRET : KEPT, 8));
    }
    store_view_close(v);
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
    test_verify_clean(f->store, 401);
}

/* A crash after each step, and each put and commit that fails, lose nothing and hide nothing. */
static void crash_copy(struct fixture *f, uint64_t events)
{
    struct test_dir copy;
    test_dir_crash(&f->dir, &copy);
    struct store_options options = test_options(&copy);
    struct store *s = test_open_with(&options);
    test_verify_clean(s, events);
    test_apply_all(s);
    test_reclaim_all(s, TEST_TIME_US);
    test_verify_clean(s, events);
    assert_false(test_dir_has(&copy, SECRET));
    store_close(s);
    test_dir_remove(&copy);
}

static void test_reclaim_crash_at_every_step(void **state)
{
    struct fixture *f = *state;
    bool more = true;
    fill(f, 300);
    assert_int_equal(commit(f, test_redact("secret-1", 100)), VERDICT_COMMITTED);
    struct life_change change = {.set_truncate_before = true, .truncate_before = 100};
    assert_int_equal(commit(f, test_metadata("secret-1", &change)), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_delete("secret-1", true)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    int steps = 0;
    for (; more; steps++) {
        assert_int_equal(store_reclaim(f->store, TEST_TIME_US, &more), ERR_OK);
        crash_copy(f, 303);
    }
    assert_true(steps >= 5);
    expect_gone(f);
}

static void test_reclaim_fails_at_every_put(void **state)
{
    struct fixture *f = *state;
    static const enum fault FAULTS[] = {FAULT_KV_PUT, FAULT_KV_COMMIT};
    bool more = true;
    fill(f, 200);
    assert_int_equal(commit(f, test_redact("kept-1", 1)), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_delete("secret-1", true)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    for (long n = 1; more || store_reclaim_is_wanted(f->store); n++) {
        enum fault fault = FAULTS[n % 2];
        fault_arm(fault, (n + 1) / 2, false);
        err_t err = store_reclaim(f->store, TEST_TIME_US, &more);
        fault_arm(fault, 0, false);
        assert_true(err == ERR_OK || err == ERR_DISK_FULL || err == ERR_IO);
        n = err == ERR_OK ? 0 : n;
        test_verify_clean(f->store, 202);
    }
    expect_gone(f);
}

/* Commands, applying and reclaiming go on together; a stream that is deleted over and over keeps
 * its numbers. */
static void test_reclaim_interleaved(void **state)
{
    struct fixture *f = *state;
    uint64_t head = 0;
    bool more;
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 5; i++, head++) {
            assert_int_equal(commit(f, test_one("secret-1", TEST_AT(head), 0, "T", SECRET)),
                             VERDICT_COMMITTED);
            assert_int_equal(commit(f, test_one("kept-1", TEST_ANY, 0, "T", KEPT)),
                             VERDICT_COMMITTED);
        }
        assert_int_equal(commit(f, test_delete("secret-1", false)), VERDICT_COMMITTED);
        if (round % 3 != 0) {
            test_apply_all(f->store);
        }
        for (unsigned steps = round % 5; steps > 0; steps--) {
            assert_int_equal(store_reclaim(f->store, TEST_TIME_US, &more), ERR_OK);
        }
        assert_int_equal(store_prepare(f->store), ERR_OK);
    }
    test_apply_all(f->store);
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
    assert_int_equal(count_of(f, NAME_TYPE, "T"), 200);
    test_verify_clean(f->store, 440);
}

/* What max_count and max_age_s hide goes too, by the time that reclaim is told. */
static void test_reclaim_rolling_limits(void **state)
{
    struct fixture *f = *state;
    fill(f, 200);
    struct life_change count = {.set_max_count = true, .max_count = 10};
    struct life_change age = {.set_max_age = true, .max_age_s = 60};
    assert_int_equal(commit(f, test_metadata("secret-1", &count)), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_metadata("kept-1", &age)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    test_reclaim_all(f->store, TEST_TIME_US);
    assert_int_equal(count_of(f, NAME_TYPE, "Secret"), 10);
    assert_int_equal(count_of(f, NAME_TYPE, "Kept"), 100);
    test_reclaim_all(f->store, TEST_TIME_US + 61000000);
    assert_int_equal(count_of(f, NAME_TYPE, "Kept"), 0);
    assert_int_equal(count_of(f, NAME_STREAM, "kept-1"), 100);
    test_verify_clean(f->store, 202);
    assert_int_equal(store_reindex(f->store, NULL, NULL), ERR_OK);
    assert_int_equal(count_of(f, NAME_TYPE, "Secret"), 10);
    test_verify_clean(f->store, 202);
}

/* A max_age_s that a later command has lifted takes nothing more, also while only the old one is
 * applied. */
static void test_reclaim_heeds_the_newest_life(void **state)
{
    struct fixture *f = *state;
    struct store_view *v;
    struct store_record record;
    bool more;
    fill(f, 10);
    struct life_change age = {.set_max_age = true, .max_age_s = 60};
    assert_int_equal(commit(f, test_metadata("kept-1", &age)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    age.max_age_s = 0;
    assert_int_equal(commit(f, test_metadata("kept-1", &age)), VERDICT_COMMITTED);
    do {
        assert_int_equal(store_reclaim(f->store, TEST_TIME_US + 61000000, &more), ERR_OK);
    } while (more);
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_get_event(v, 2, &record), ERR_OK);
    store_view_close(v);
    test_verify_clean(f->store, 12);
}

/* After a crash between the log and its index nothing is reclaimed until the index is complete. */
static void test_reclaim_waits_for_the_index(void **state)
{
    struct fixture *f = *state;
    struct test_dir copy;
    bool more;
    fill(f, 100);
    assert_int_equal(commit(f, test_delete("secret-1", true)), VERDICT_COMMITTED);
    while (f->store->applier.stage != APPLY_INDEX) {
        assert_int_equal(store_apply(f->store, true, &more), ERR_OK);
    }
    test_dir_crash(&f->dir, &copy);
    struct store *s = test_open(&copy);
    assert_int_equal(store_reclaim(s, TEST_TIME_US, &more), ERR_OK);
    assert_false(more);
    assert_false(s->reclaimer->under_way);
    test_apply_all(s);
    test_reclaim_all(s, TEST_TIME_US);
    test_verify_clean(s, 101);
    assert_false(test_dir_has(&copy, SECRET));
    store_close(s);
    test_dir_remove(&copy);
}

/* Makes the stream's list lead to an event of another one: revision 5 to position 10. */
static void damage_list(struct fixture *f)
{
    struct kv_txn *txn;
    struct name_row name;
    struct posting_block block;
    struct bytes value;
    uint8_t key[POSTING_KEY_BYTES], bytes[POSTING_BYTES_MAX];
    assert_int_equal(kv_begin(f->store->kv, true, &txn), ERR_OK);
    assert_int_equal(names_get(txn, NAME_STREAM, BYTES_LITERAL("secret-1"), &name), ERR_OK);
    struct bytes k = posting_key(NAME_STREAM, name.id, 1, key);
    assert_int_equal(kv_get(txn, KV_POSTINGS, k, &value), ERR_OK);
    struct kv_row row = {.key = k, .value = value};
    assert_int_equal(posting_decode(&row, NAME_STREAM, &block), ERR_OK);
    assert_int_equal(block.positions[4], 9);
    block.positions[4] = 10;
    size_t n = posting_encode(&block, NAME_STREAM, bytes);
    assert_int_equal(kv_put(txn, KV_POSTINGS, k, bytes_of(bytes, n)), ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
}

/* A damaged list makes nobody else's event go; a reindex mends it, and then its own goes. */
static void test_reclaim_damaged_list(void **state)
{
    struct fixture *f = *state;
    bool more = true;
    fill(f, 20);
    assert_int_equal(commit(f, test_delete("secret-1", true)), VERDICT_COMMITTED);
    test_apply_all(f->store);
    damage_list(f);
    while (more) {
        assert_int_equal(store_reclaim(f->store, TEST_TIME_US, &more), ERR_OK);
    }
    test_expect_event(f->store, 10, "kept-1", 5, "{\"" KEPT "\":9}");
    assert_true(test_dir_has(&f->dir, SECRET));
    assert_int_equal(store_reindex(f->store, NULL, NULL), ERR_OK);
    test_reclaim_all(f->store, TEST_TIME_US);
    expect_gone(f);
    test_verify_clean(f->store, 21);
}

/* ---- bytes, at random ---- */

#define MARKED_MAX 3000

/* Events whose data and metadata say their number, some of which must be gone. */
struct marked {
    bool gone[MARKED_MAX], found[MARKED_MAX];
    unsigned n;
    unsigned stream_of[MARKED_MAX], revision_of[MARKED_MAX], heads[4], floors[4];
};

static void append_marked(struct fixture *f, struct marked *m, uint64_t *random)
{
    static char data[20000];
    char stream[8], mark[16];
    unsigned s = (unsigned)test_below(random, 4);
    size_t n = test_below(random, 20) == 0 ? 1 + test_below(random, sizeof data / 12)
                                           : 1 + test_below(random, 20);
    snprintf(stream, sizeof stream, "m-%u", s);
    snprintf(mark, sizeof mark, "<<%08u>>", m->n);
    for (size_t i = 0; i < n; i++) {
        memcpy(data + i * 12, mark, 12);
    }
    uint8_t id[UUID_BYTES];
    test_id(m->n + 1, id);
    struct event_draft draft = {.id = bytes_of(id, UUID_BYTES),
                                .type = BYTES_LITERAL("T"),
                                .data = bytes_of(data, n * 12),
                                .metadata = bytes_of(data, 12),
                                .content_type = BYTES_LITERAL("text/plain")};
    struct command *c = test_command();
    test_add_append(c, stream, TEST_ANY);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    assert_int_equal(commit(f, c), VERDICT_COMMITTED);
    m->stream_of[m->n] = s;
    m->revision_of[m->n++] = ++m->heads[s];
}

static void hide_marked(struct fixture *f, struct marked *m, uint64_t *random)
{
    char stream[8];
    unsigned s = (unsigned)test_below(random, 4);
    snprintf(stream, sizeof stream, "m-%u", s);
    if (m->heads[s] == 0) {
        return;
    }
    unsigned revision = 1 + (unsigned)test_below(random, m->heads[s]);
    uint64_t pick = test_below(random, 10);
    struct life_change change = {.set_truncate_before = true, .truncate_before = revision};
    (void)commit(f, pick == 0   ? test_delete(stream, false)
                    : pick == 1 ? test_metadata(stream, &change)
                                : test_redact(stream, revision));
    for (unsigned i = 0; i < m->n; i++) {
        bool hit = pick == 0   ? true
                   : pick == 1 ? m->revision_of[i] < revision
                               : m->revision_of[i] == revision;
        m->gone[i] = m->gone[i] || (m->stream_of[i] == s && hit);
    }
}

static void find_marks(void *ctx, const uint8_t *p, size_t n)
{
    struct marked *m = ctx;
    for (size_t i = 0; i + 12 <= n; i++) {
        if (p[i] == '<' && p[i + 1] == '<' && p[i + 10] == '>' && p[i + 11] == '>') {
            unsigned long number = strtoul((const char *)p + i + 2, NULL, 10);
            m->found[number < MARKED_MAX ? number : 0] = true;
        }
    }
}

/* Small and large events, applied in bits or at once, hidden in every way: after a pass exactly
 * those that can be read are in the files. */
static void test_reclaim_random_bytes(void **state)
{
    struct fixture *f = *state;
    static struct marked m;
    uint64_t random = test_seed();
    m = (struct marked){0};
    for (unsigned i = 0; i < 2500; i++) {
        append_marked(f, &m, &random);
        if (test_below(&random, 12) == 0) {
            hide_marked(f, &m, &random);
        }
        if (test_below(&random, 10) == 0) {
            test_apply_all(f->store);
            assert_int_equal(store_prepare(f->store), ERR_OK);
        }
        if (i % 250 == 249) {
            test_apply_all(f->store);
            test_reclaim_all(f->store, TEST_TIME_US);
            memset(m.found, 0, sizeof m.found);
            test_dir_each(&f->dir, find_marks, &m);
            for (unsigned k = 0; k < m.n; k++) {
                assert_int_equal(m.found[k], !m.gone[k]);
            }
        }
    }
    test_verify_clean(f->store, store_position(f->store));
}

/* Reclaim takes no part in verdicts: the same commands come to the same with it and without. */
static void test_reclaim_changes_no_verdict(void **state)
{
    struct fixture *f = *state;
    struct test_dir other_dir;
    test_dir_make(&other_dir);
    struct store *other = test_open(&other_dir);
    uint64_t random = test_seed();
    for (unsigned i = 0; i < 1500; i++) {
        uint64_t seed = test_random(&random);
        enum verdict verdicts[2];
        uint64_t positions[2];
        for (int k = 0; k < 2; k++) {
            uint64_t r = seed;
            struct store *s = k == 0 ? f->store : other;
            char stream[8];
            struct command *c;
            snprintf(stream, sizeof stream, "s-%u", (unsigned)test_below(&r, 3));
            struct life_change change = {.set_max_count = test_below(&r, 2) == 0,
                                         .max_count = test_below(&r, 4),
                                         .set_max_age = test_below(&r, 2) == 0,
                                         .max_age_s = test_below(&r, 4)};
            uint64_t pick = test_below(&r, 20);
            c = pick == 0   ? test_delete(stream, test_below(&r, 10) == 0 && i > 1000)
                : pick == 1 ? test_metadata(stream, &change)
                : pick == 2 ? test_redact(stream, test_below(&r, 200))
                            : test_one(stream, TEST_ANY, 1 + test_below(&r, 60), "T", "{}");
            test_commit_group(s, &c, 1, TEST_TIME_US + (int64_t)i * 100000);
            verdicts[k] = command_verdict(c);
            positions[k] = store_position(s);
            command_free(c);
        }
        assert_int_equal(verdicts[0], verdicts[1]);
        assert_int_equal(positions[0], positions[1]);
        if (i % 10 == 0) {
            bool more;
            test_apply_all(f->store);
            do {
                assert_int_equal(store_reclaim(f->store, TEST_TIME_US + (int64_t)i * 100000, &more),
                                 ERR_OK);
            } while (more && test_below(&random, 5) != 0);
        }
    }
    test_verify_clean(f->store, store_position(f->store));
    store_close(other);
    test_dir_remove(&other_dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_reclaim_deleted_stream),
        TEST(test_reclaim_deleted_at_once),
        TEST(test_reclaim_redacted),
        TEST(test_reclaim_waits_for_readers),
        TEST(test_reclaim_crash_at_every_step),
        TEST(test_reclaim_fails_at_every_put),
        TEST(test_reclaim_interleaved),
        TEST(test_reclaim_rolling_limits),
        TEST(test_reclaim_heeds_the_newest_life),
        TEST(test_reclaim_waits_for_the_index),
        TEST(test_reclaim_damaged_list),
        TEST(test_reclaim_random_bytes),
        TEST(test_reclaim_changes_no_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
