/* Tests of storage/change.c: what the events of the stream about streams say. */
#include "storage/change.h"

#include "tests/unit/support.h"

static void expect_change(struct store_view *v, uint64_t revision, enum change_kind kind,
                          const char *stream, uint64_t of)
{
    struct store_record record;
    struct event e;
    struct change c;
    assert_int_equal(store_get_stream_event(v, CHANGE_STREAM, revision, &record), ERR_OK);
    assert_int_equal(store_record_decode(&record, &e), ERR_OK);
    assert_int_equal(change_decode(&e, &c), ERR_OK);
    assert_int_equal(c.kind, kind);
    assert_true(bytes_equal(c.stream, bytes_of_string(stream)));
    assert_int_equal(c.revision, of);
}

static void commit(struct store *s, struct command *c)
{
    assert_int_equal(test_commit_free(s, c), VERDICT_COMMITTED);
}

/* Each kind of change is told with its stream; other events are no changes. */
static void test_change_decode_kinds(void **state)
{
    (void)state;
    struct test_dir dir;
    struct store_view *v;
    struct store_record record;
    struct event e;
    struct change c;
    const struct life_change limit = {.set_max_count = true, .max_count = 5};
    test_dir_make(&dir);
    struct store *s = test_open(&dir);
    test_put(s, "a", "T", "1");
    test_put(s, "b", "T", "1");
    commit(s, test_metadata("a", &limit));
    commit(s, test_redact("b", 1));
    commit(s, test_delete("a", false));
    commit(s, test_delete("b", true));
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    expect_change(v, 1, CHANGE_METADATA, "a", 0);
    expect_change(v, 2, CHANGE_REDACTED, "b", 1);
    expect_change(v, 3, CHANGE_DELETED, "a", 0);
    expect_change(v, 4, CHANGE_DELETED, "b", 0);
    store_view_close(v);
    test_put(s, "c", "T", "1");
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    assert_int_equal(store_get_stream_event(v, BYTES_LITERAL("c"), 1, &record), ERR_OK);
    assert_int_equal(store_record_decode(&record, &e), ERR_OK);
    assert_int_equal(change_decode(&e, &c), ERR_CORRUPT);
    store_view_close(v);
    store_close(s);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_decode_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
