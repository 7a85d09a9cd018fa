/* Tests of storage/commit_life.c and hide.c: what the commands on a stream's life come to, and that
 * every kind of read follows at once: from the tail, from LMDB, after a crash, after a reindex. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/store_int.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define SECOND 1000000

struct fixture {
    struct test_dir dir;
    struct store *store;
    int64_t now_us;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    f.now_us = TEST_TIME_US;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

static enum verdict commit(struct fixture *f, struct command *c, struct life_result *ret)
{
    test_commit_group(f->store, &c, 1, f->now_us);
    enum verdict verdict = command_verdict(c);
    if (ret != NULL) {
        *ret = *command_life_result(c);
    }
    command_free(c);
    return verdict;
}

static void put(struct fixture *f, const char *stream, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct command *c = test_command();
        test_add_append(c, stream, TEST_ANY);
        test_add_tagged(c, 0, "Thing", "red");
        assert_int_equal(commit(f, c, NULL), VERDICT_COMMITTED);
    }
}

static enum verdict change(struct fixture *f, const char *stream, struct life_change change)
{
    return commit(f, test_metadata(stream, &change), NULL);
}

/* ---- what can be read ---- */

/* All positions that a query gives, as text: "3 4 9". */
static void read_all(struct fixture *f, const struct store_query *q, char *ret, size_t n)
{
    struct store_view *v;
    struct store_read *r;
    struct store_record record;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    store_view_set_time(v, f->now_us);
    assert_int_equal(store_read_open(v, q, &r), ERR_OK);
    size_t at = 0;
    err_t err;
    ret[0] = '\0';
    while ((err = store_read_next(r, &record)) == ERR_OK) {
        at += (size_t)snprintf(ret + at, n - at, "%s%" PRIu64, at == 0 ? "" : " ", record.position);
        assert_true(at < n);
    }
    assert_int_equal(err, ERR_END);
    store_read_close(r);
    store_view_close(v);
}

#define expect_read(f, want, ...)            \
    do {                                     \
        char got_[500];                      \
        struct store_query q_ = __VA_ARGS__; \
        read_all(f, &q_, got_, sizeof got_); \
        assert_string_equal(got_, want);     \
    } while (0)

static err_t get(struct fixture *f, uint64_t position)
{
    struct store_view *v;
    struct store_record record;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    store_view_set_time(v, f->now_us);
    err_t err = store_get_event(v, position, &record);
    store_view_close(v);
    return err;
}

static err_t get_revision(struct fixture *f, const char *stream, uint64_t revision)
{
    struct store_view *v;
    struct store_record record;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    store_view_set_time(v, f->now_us);
    err_t err = store_get_stream_event(v, bytes_of_string(stream), revision, &record);
    store_view_close(v);
    return err;
}

static struct store_stream_info info(struct fixture *f, const char *stream)
{
    struct store_view *v;
    struct store_stream_info info;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    store_view_set_time(v, f->now_us);
    assert_int_equal(store_get_stream(v, bytes_of_string(stream), &info), ERR_OK);
    store_view_close(v);
    return info;
}

/* The names of a kind, separated by spaces. */
static void list(struct fixture *f, enum store_names kind, char *ret, size_t n)
{
    struct store_view *v;
    struct store_name_list names;
    struct store_list_query q = {.kind = kind, .limit = 100};
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_list_names(v, &q, &names), ERR_OK);
    size_t at = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < names.n; i++) {
        at += (size_t)snprintf(ret + at, n - at, "%s%.*s", i == 0 ? "" : " ",
                               BYTES_ARGS(names.items[i].name));
        assert_true(at < n);
    }
    store_name_list_done(&names);
    store_view_close(v);
}

/* ---- the same in every place ---- */

static void crash(struct fixture *f)
{
    struct test_dir copy;
    test_dir_crash(&f->dir, &copy);
    store_close(f->store);
    test_dir_remove(&f->dir);
    f->dir = copy;
    f->store = test_open(&f->dir);
}

/* Calls `check` with the store's state in the tail, recovered from the journal, in LMDB, after a
 * restart and after a reindex. */
static void everywhere(struct fixture *f, void (*check)(struct fixture *f))
{
    check(f);
    crash(f);
    check(f);
    test_apply_all(f->store);
    check(f);
    test_verify_clean(f->store, store_position(f->store));
    store_close(f->store);
    f->store = test_open(&f->dir);
    check(f);
    assert_int_equal(store_reindex(f->store, NULL, NULL), ERR_OK);
    check(f);
    test_verify_clean(f->store, store_position(f->store));
    test_apply_all(f->store);
    test_reclaim_all(f->store, f->now_us);
    check(f);
    test_verify_clean(f->store, store_position(f->store));
    crash(f);
    check(f);
    assert_int_equal(store_reindex(f->store, NULL, NULL), ERR_OK);
    check(f);
    test_verify_clean(f->store, store_position(f->store));
}

static void check_truncated(struct fixture *f)
{
    expect_read(f, "3 4 5 6 7", {.from = 0});
    expect_read(f, "7 6 5 4 3", {.backward = true});
    expect_read(f, "3 4 5", {.stream = BYTES_LITERAL("a-1")});
    expect_read(f, "5 4 3", {.stream = BYTES_LITERAL("a-1"), .backward = true});
    expect_read(f, "4 5", {.stream = BYTES_LITERAL("a-1"), .from = 3});
    expect_read(f, "3", {.stream = BYTES_LITERAL("a-1"), .from = 4, .backward = true});
    expect_read(f, "", {.stream = BYTES_LITERAL("a-1"), .from = 3, .backward = true});
    struct bytes type = BYTES_LITERAL("Thing"), category = BYTES_LITERAL("a"),
                 tag = BYTES_LITERAL("red"), prefix = BYTES_LITERAL("a");
    expect_read(f, "3 4 5 6 7", {.filter = {.types = &type, .type_count = 1}});
    expect_read(f, "3 4 5", {.filter = {.categories = &category, .category_count = 1}});
    expect_read(f, "3 4 5 6 7", {.filter = {.tags = &tag, .tag_count = 1}});
    expect_read(f, "3 4 5", {.filter = {.prefixes = &prefix, .prefix_count = 1}});
    assert_int_equal(get(f, 2), ERR_NOT_FOUND);
    assert_int_equal(get(f, 3), ERR_OK);
    assert_int_equal(get_revision(f, "a-1", 2), ERR_NOT_FOUND);
    assert_int_equal(get_revision(f, "a-1", 3), ERR_OK);
    struct store_stream_info i = info(f, "a-1");
    assert_int_equal(i.first_revision, 3);
    assert_int_equal(i.head_revision, 5);
    assert_int_equal(i.events, 3);
    assert_int_equal(i.truncate_before, 3);
    assert_int_equal(i.created_position, 1);
    assert_true(bytes_equal(i.custom, BYTES_LITERAL("{\"a\":1}")));
    assert_false(i.deleted);
}

/* A truncation hides what lies before it from every kind of read. */
static void test_metadata_truncate(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 5);
    put(f, "b-1", 2);
    struct life_change asked = {.set_truncate_before = true,
                                .truncate_before = 3,
                                .set_custom = true,
                                .custom = BYTES_LITERAL("{\"a\":1}")};
    struct life_result result;
    assert_int_equal(commit(f, test_metadata("a-1", &asked), &result), VERDICT_COMMITTED);
    assert_int_equal(result.position, 8);
    assert_int_equal(result.head_revision, 5);
    assert_int_equal(result.first_revision, 3);
    everywhere(f, check_truncated);
}

/* The floor never sinks, a limit that is raised brings nothing back. */
static void test_metadata_hidden_once_is_hidden(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 5);
    assert_int_equal(change(f, "a-1", (struct life_change){.set_max_count = true, .max_count = 2}),
                     VERDICT_COMMITTED);
    assert_int_equal(info(f, "a-1").first_revision, 4);
    put(f, "a-1", 1);
    assert_int_equal(info(f, "a-1").first_revision, 5);
    assert_int_equal(change(f, "a-1", (struct life_change){.set_max_count = true}),
                     VERDICT_COMMITTED);
    assert_int_equal(info(f, "a-1").first_revision, 5);
    assert_int_equal(info(f, "a-1").max_count, 0);
    assert_int_equal(
        change(f, "a-1", (struct life_change){.set_truncate_before = true, .truncate_before = 1}),
        VERDICT_COMMITTED);
    assert_int_equal(info(f, "a-1").first_revision, 5);
    assert_int_equal(info(f, "a-1").truncate_before, 1);
}

/* What changes nothing writes nothing; what cannot be is refused. */
static void test_metadata_verdicts(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 2);
    struct life_change count = {.set_max_count = true, .max_count = 9};
    assert_int_equal(change(f, "x", count), VERDICT_STREAM_NOT_FOUND);
    assert_int_equal(change(f, "a-1", count), VERDICT_COMMITTED);
    uint64_t position = store_position(f->store);
    assert_int_equal(change(f, "a-1", count), VERDICT_DUPLICATE);
    struct life_change far = {.set_truncate_before = true, .truncate_before = 4};
    assert_int_equal(change(f, "a-1", far), VERDICT_INVALID_TRUNCATION);
    assert_int_equal(store_position(f->store), position);
    far.truncate_before = 3;
    assert_int_equal(change(f, "a-1", far), VERDICT_COMMITTED);
    assert_int_equal(info(f, "a-1").events, 0);
    assert_false(info(f, "a-1").deleted);
    expect_read(f, "", {.stream = BYTES_LITERAL("a-1")});
}

/* max_age_s hides by the view's time, and what it hid by the time it is raised stays hidden. */
static void test_metadata_max_age(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 6; i++) {
        put(f, "a-1", 1);
        f->now_us += 10 * SECOND;
    }
    struct life_change age = {.set_max_age = true, .max_age_s = 25};
    assert_int_equal(change(f, "a-1", age), VERDICT_COMMITTED);
    assert_int_equal(info(f, "a-1").first_revision, 5);
    f->now_us += 10 * SECOND;
    assert_int_equal(info(f, "a-1").first_revision, 6);
    expect_read(f, "6", {.stream = BYTES_LITERAL("a-1")});
    expect_read(f, "6", {.from = 0});
    age.max_age_s = 1000;
    assert_int_equal(change(f, "a-1", age), VERDICT_COMMITTED);
    assert_int_equal(info(f, "a-1").first_revision, 6);
    f->now_us += 2000 * SECOND;
    assert_int_equal(info(f, "a-1").events, 0);
    test_apply_all(f->store);
    expect_read(f, "", {.from = 0});
    assert_int_equal(get(f, 6), ERR_NOT_FOUND);
}

static void check_deleted(struct fixture *f)
{
    struct store_view *v;
    struct store_read *r;
    char names[200];
    struct store_query q = {.stream = BYTES_LITERAL("a-1")};
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_read_open(v, &q, &r), ERR_GONE);
    store_view_close(v);
    assert_int_equal(get_revision(f, "a-1", 1), ERR_GONE);
    assert_int_equal(get(f, 1), ERR_GONE);
    assert_true(info(f, "a-1").deleted);
    assert_int_equal(info(f, "a-1").head_revision, 3);
    assert_int_equal(info(f, "a-1").events, 0);
    expect_read(f, "4", {.from = 0});
    list(f, STORE_STREAMS, names, sizeof names);
    assert_string_equal(names, "b-1");
    list(f, STORE_CATEGORIES, names, sizeof names);
    assert_string_equal(names, "b");
}

/* A deleted stream is gone from every read, its number goes on when it is appended to again. */
static void test_delete_soft(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 3);
    put(f, "b-1", 1);
    struct life_result result;
    assert_int_equal(commit(f, test_delete("zzz", false), NULL), VERDICT_STREAM_NOT_FOUND);
    assert_int_equal(commit(f, test_delete("a-1", false), &result), VERDICT_COMMITTED);
    assert_true(result.deleted);
    assert_false(result.tombstoned);
    assert_int_equal(result.first_revision, 4);
    everywhere(f, check_deleted);
    assert_int_equal(commit(f, test_delete("a-1", false), &result), VERDICT_DUPLICATE);
    assert_int_equal(result.position, 0);
    assert_int_equal(commit(f, test_one("a-1", TEST_NO_STREAM, 0, "T", "{}"), NULL),
                     VERDICT_WRONG_EXPECTED_REVISION);
    assert_int_equal(commit(f, test_one("a-1", TEST_AT(3), 0, "T", "{}"), NULL), VERDICT_COMMITTED);
    assert_false(info(f, "a-1").deleted);
    assert_int_equal(info(f, "a-1").first_revision, 4);
    expect_read(f, "4 6", {.from = 0});
    assert_int_equal(get(f, 1), ERR_NOT_FOUND);
}

static void check_tombstoned(struct fixture *f)
{
    check_deleted(f);
    assert_true(info(f, "a-1").tombstoned);
    assert_int_equal(commit(f, test_one("a-1", TEST_ANY, 0, "T", "{}"), NULL),
                     VERDICT_STREAM_DELETED);
    assert_int_equal(commit(f, test_delete("a-1", false), NULL), VERDICT_DUPLICATE);
    assert_int_equal(commit(f, test_delete("a-1", true), NULL), VERDICT_DUPLICATE);
    assert_int_equal(commit(f, test_redact("a-1", 1), NULL), VERDICT_STREAM_DELETED);
    assert_int_equal(change(f, "a-1", (struct life_change){.set_max_count = true, .max_count = 1}),
                     VERDICT_STREAM_DELETED);
}

/* A tombstone ends a stream, also one that was deleted before. */
static void test_delete_tombstone(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 3);
    put(f, "b-1", 1);
    assert_int_equal(commit(f, test_delete("a-1", false), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_delete("a-1", true), NULL), VERDICT_COMMITTED);
    everywhere(f, check_tombstoned);
}

/* Later commands of one group see what earlier ones did. */
static void test_delete_in_one_group(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 1);
    struct command *c[] = {test_one("a-1", TEST_AT(1), 5, "T", "{}"),
                           test_redact("a-1", 2),
                           test_one("a-1", TEST_ANY, 5, "T", "{\"other\":1}"),
                           test_delete("a-1", true),
                           test_one("a-1", TEST_ANY, 6, "T", "{}"),
                           test_delete("a-1", true)};
    static const enum verdict WANT[] = {VERDICT_COMMITTED,      VERDICT_COMMITTED,
                                        VERDICT_DUPLICATE,      VERDICT_COMMITTED,
                                        VERDICT_STREAM_DELETED, VERDICT_DUPLICATE};
    test_commit_group(f->store, c, 6, f->now_us);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(command_verdict(c[i]), WANT[i]);
        command_free(c[i]);
    }
}

/* A disk that is nearly full refuses events, and lets through what frees space, also in one
 * call. */
static void test_delete_on_a_full_disk(void **state)
{
    struct fixture *f = *state;
    put(f, "a-1", 1);
    atomic_store(&f->store->disk_full, true);
    struct command *c[] = {test_one("b-1", TEST_ANY, 0, "T", "{}"), test_delete("a-1", false),
                           test_one("b-1", TEST_ANY, 0, "T", "{}")};
    test_commit_group(f->store, c, 3, f->now_us);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(command_verdict(c[i]), i == 1 ? VERDICT_COMMITTED : VERDICT_FAILED);
        command_free(c[i]);
    }
    assert_true(info(f, "a-1").deleted);
    atomic_store(&f->store->disk_full, false);
    test_verify_clean(f->store, 2);
}

/* A view shows the state of its own position, whatever was deleted since. */
static void test_delete_held_view(void **state)
{
    struct fixture *f = *state;
    struct store_view *v;
    struct store_record record;
    put(f, "a-1", 3);
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(commit(f, test_delete("a-1", true), NULL), VERDICT_COMMITTED);
    assert_int_equal(store_get_event(v, 1, &record), ERR_OK);
    test_apply_all(f->store);
    assert_int_equal(store_get_event(v, 2, &record), ERR_OK);
    assert_int_equal(store_get_stream_event(v, BYTES_LITERAL("a-1"), 3, &record), ERR_OK);
    store_view_close(v);
    assert_int_equal(get(f, 2), ERR_GONE);
}

/* An id of an event that is gone is free again; one of a redacted event is known by its type. */
static void test_ids_of_hidden_events(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit(f, test_one("a-1", TEST_ANY, 7, "T", "{}"), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_one("a-1", TEST_ANY, 7, "T", "{}"), NULL), VERDICT_DUPLICATE);
    assert_int_equal(commit(f, test_delete("a-1", false), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_one("a-1", TEST_AT(1), 7, "T", "[]"), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_redact("a-1", 2), NULL), VERDICT_COMMITTED);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(commit(f, test_one("a-1", TEST_ANY, 7, "T", "1"), NULL),
                         VERDICT_DUPLICATE);
        assert_int_equal(commit(f, test_one("a-1", TEST_ANY, 7, "U", "[]"), NULL),
                         VERDICT_ID_REUSED);
        test_apply_all(f->store);
    }
}

static void check_redacted(struct fixture *f)
{
    struct store_view *v;
    struct store_record record;
    struct event event;
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    for (uint64_t position = 1; position <= 3; position++) {
        assert_int_equal(store_get_event(v, position, &record), ERR_OK);
        assert_int_equal(store_record_decode(&record, &event), ERR_OK);
        assert_int_equal(event.redacted, position == 2);
        assert_true(bytes_equal(event.data, position == 2 ? BYTES_NONE : BYTES_LITERAL("{}")));
        assert_int_equal(event.tag_count, 1);
        assert_true(bytes_equal(event.type, BYTES_LITERAL("Thing")));
        assert_int_equal(event.id.n, UUID_BYTES);
    }
    store_view_close(v);
    expect_read(f, "1 2 3", {.stream = BYTES_LITERAL("a-1")});
}

/* Redaction wipes one event's data, and only that. */
static void test_redact_event(void **state)
{
    struct fixture *f = *state;
    struct life_result result;
    put(f, "a-1", 3);
    assert_int_equal(commit(f, test_redact("x", 1), NULL), VERDICT_STREAM_NOT_FOUND);
    assert_int_equal(commit(f, test_redact("a-1", 0), NULL), VERDICT_EVENT_NOT_FOUND);
    assert_int_equal(commit(f, test_redact("a-1", 4), NULL), VERDICT_EVENT_NOT_FOUND);
    assert_int_equal(commit(f, test_redact("a-1", 2), &result), VERDICT_COMMITTED);
    assert_int_equal(result.position, 4);
    assert_int_equal(commit(f, test_redact("a-1", 2), &result), VERDICT_DUPLICATE);
    assert_int_equal(result.position, 0);
    everywhere(f, check_redacted);
    assert_int_equal(commit(f, test_redact("a-1", 2), NULL), VERDICT_DUPLICATE);
}

/* The system's events say what was done, for people too. */
static void test_system_events(void **state)
{
    struct fixture *f = *state;
    static const char *const WANT[] = {
        "{\"stream\":\"a\\\"1\",\"first_revision\":1,\"max_count\":9,\"max_age_s\":null,"
        "\"truncate_before\":null,\"custom\":{\"x\":1}}",
        "{\"stream\":\"a\\\"1\",\"revision\":1,\"position\":1,\"reason\":\"they asked\"}",
        "{\"stream\":\"a\\\"1\",\"first_revision\":2}",
        "{\"stream\":\"a\\\"1\",\"first_revision\":2}"};
    static const char *const TYPES[] = {"$metadata", "$redacted", "$deleted", "$tombstoned"};
    put(f, "a\"1", 1);
    struct life_change asked = {.set_max_count = true,
                                .max_count = 9,
                                .set_custom = true,
                                .custom = BYTES_LITERAL("{\"x\":1}")};
    assert_int_equal(commit(f, test_metadata("a\"1", &asked), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_redact("a\"1", 1), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_delete("a\"1", false), NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_delete("a\"1", true), NULL), VERDICT_COMMITTED);
    expect_read(f, "2 3 4 5", {.filter = {.system = true}});
    expect_read(f, "", {.from = 0});
    for (uint64_t i = 0; i < 4; i++) {
        struct store_view *v;
        struct store_record record;
        struct event event;
        test_expect_event(f->store, 2 + i, "$streams", 1 + i, WANT[i]);
        assert_int_equal(store_view_open(f->store, &v), ERR_OK);
        assert_int_equal(store_get_event(v, 2 + i, &record), ERR_OK);
        assert_int_equal(store_record_decode(&record, &event), ERR_OK);
        assert_true(bytes_equal(event.type, bytes_of_string(TYPES[i])));
        store_view_close(v);
    }
    struct store_stats stats;
    assert_int_equal(store_get_stats(f->store, &stats), ERR_OK);
    assert_int_equal(stats.streams, 1);
}

static struct bytes filled(char c, size_t n, char *p)
{
    memset(p, c, n);
    p[n] = '\0';
    return bytes_of(p, n);
}

/* The longest names, custom metadata and reason fit what was reserved for them, with all of it to
 * be escaped. */
static void test_largest_commands(void **state)
{
    struct fixture *f = *state;
    static char name[EVENT_NAME_MAX + 1], custom[LIFE_CUSTOM_BYTES_MAX + 2],
        reason[LIFE_REASON_BYTES_MAX + 2];
    uint8_t id[UUID_BYTES];
    struct bytes stream = filled('"', EVENT_NAME_MAX, name), fresh = bytes_of(id, UUID_BYTES);
    struct life_change all = {.set_max_count = true,
                              .max_count = UINT64_MAX,
                              .set_max_age = true,
                              .max_age_s = UINT64_MAX,
                              .set_custom = true,
                              .custom = filled(' ', LIFE_CUSTOM_BYTES_MAX, custom)};
    test_id(1, id);
    put(f, name, 2);
    assert_int_equal(commit(f, test_metadata(name, &all), NULL), VERDICT_COMMITTED);
    assert_int_equal(info(f, name).custom.n, LIFE_CUSTOM_BYTES_MAX);
    assert_int_equal(info(f, name).events, 2);
    struct command *c = test_command();
    assert_int_equal(
        command_redact(c, stream, 1, filled('"', LIFE_REASON_BYTES_MAX, reason), fresh), ERR_OK);
    assert_int_equal(commit(f, c, NULL), VERDICT_COMMITTED);
    assert_int_equal(commit(f, test_delete(name, true), NULL), VERDICT_COMMITTED);
    crash(f);
    assert_true(info(f, name).tombstoned);
    test_apply_all(f->store);
    test_verify_clean(f->store, 5);
}

/* What a command cannot be is refused where it is built, and leaves it empty. */
static void test_builders_refuse(void **state)
{
    (void)state;
    static char long_text[LIFE_CUSTOM_BYTES_MAX + 2];
    uint8_t id[UUID_BYTES] = {1};
    struct bytes fresh = bytes_of(id, UUID_BYTES), a = BYTES_LITERAL("a");
    struct life_change change = {.set_custom = true,
                                 .custom = filled('x', LIFE_CUSTOM_BYTES_MAX + 1, long_text)};
    struct command *c = test_command();
    assert_int_equal(command_set_metadata(c, a, TEST_ANY, &change, fresh), ERR_LIMIT);
    assert_int_equal(command_redact(c, a, 1, bytes_of(long_text, LIFE_REASON_BYTES_MAX + 1), fresh),
                     ERR_LIMIT);
    assert_int_equal(command_redact(c, a, 1, BYTES_LITERAL("\xff"), fresh), ERR_INVALID);
    assert_int_equal(command_delete_stream(c, BYTES_LITERAL("$streams"), TEST_ANY, true, fresh),
                     ERR_INVALID);
    assert_int_equal(command_delete_stream(c, BYTES_NONE, TEST_ANY, true, fresh), ERR_INVALID);
    assert_int_equal(command_delete_stream(c, a, TEST_ANY, true, bytes_of(id, 3)), ERR_INVALID);
    assert_int_equal(command_kind(c), COMMAND_APPEND);
    assert_int_equal(command_delete_stream(c, a, TEST_ANY, true, fresh), ERR_OK);
    assert_int_equal(command_kind(c), COMMAND_DELETE_STREAM);
    assert_int_equal(command_delete_stream(c, a, TEST_ANY, true, fresh), ERR_INVALID);
    assert_int_equal(command_add_append(c, a, TEST_ANY), ERR_INVALID);
    assert_int_equal(command_add_check(c, a, TEST_ANY), ERR_INVALID);
    struct condition_item item = {.types = &a, .type_count = 1};
    assert_int_equal(command_add_condition_item(c, &item), ERR_INVALID);
    command_free(c);
    c = test_one("a", TEST_ANY, 0, "T", "{}");
    assert_int_equal(command_delete_stream(c, a, TEST_ANY, true, fresh), ERR_INVALID);
    command_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_metadata_truncate),   TEST(test_metadata_hidden_once_is_hidden),
        TEST(test_metadata_verdicts),   TEST(test_metadata_max_age),
        TEST(test_delete_soft),         TEST(test_delete_tombstone),
        TEST(test_delete_in_one_group), TEST(test_delete_on_a_full_disk),
        TEST(test_delete_held_view),    TEST(test_ids_of_hidden_events),
        TEST(test_redact_event),        TEST(test_system_events),
        TEST(test_largest_commands),    TEST(test_builders_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
