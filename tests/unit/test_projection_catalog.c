/* Tests of projections/catalog.c: definitions are what their events say, through the store. */
#include "projections/catalog.h"

#include "tests/unit/support.h"

#include <cmocka.h>

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct catalog *catalog;
};

static int set_up(void **state)
{
    static struct fixture f;
    test_dir_make(&f.dir);
    f.store = test_open(&f.dir);
    assert_int_equal(catalog_new(&f.catalog), ERR_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    catalog_free(f->catalog);
    store_close(f->store);
    test_dir_remove(&f->dir);
    return 0;
}

/* Reads what the catalog has not seen yet. */
static void refresh(struct fixture *f)
{
    struct store_view *v;
    struct store_read *read;
    struct store_record record;
    struct store_query query = {.stream = BYTES_LITERAL(CATALOG_STREAM),
                                .from = catalog_revision(f->catalog),
                                .filter.system = true};
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_read_open(v, &query, &read), ERR_OK);
    while (store_read_next(read, &record) == ERR_OK) {
        struct event e;
        assert_int_equal(store_record_decode(&record, &e), ERR_OK);
        assert_int_equal(catalog_fold(f->catalog, &e), ERR_OK);
    }
    store_read_close(read);
    store_view_close(v);
}

static void change(struct fixture *f, const struct catalog_change *change)
{
    static uint64_t next_id = 1000;
    struct arena arena;
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    arena_init(&arena, 4096, 1 << 20);
    assert_int_equal(catalog_make_event(change, &arena, &draft), ERR_OK);
    test_id(next_id++, id);
    draft.id = bytes_of(id, sizeof id);
    struct command *c = test_command();
    assert_int_equal(command_add_system_append(c, BYTES_LITERAL(CATALOG_STREAM),
                                               TEST_AT(catalog_revision(f->catalog))),
                     ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    command_free(c);
    arena_done(&arena);
    refresh(f);
}

static void define(struct fixture *f, const char *name, uint64_t version, const char *source)
{
    struct catalog_definition d = {.kind = &model_table,
                                   .source = bytes_of_string(source),
                                   .policy = {.set_aside = version > 1, .attempts = 3}};
    change(f, &(struct catalog_change){.kind = CATALOG_DEFINED,
                                       .name = bytes_of_string(name),
                                       .version = version,
                                       .definition = &d});
}

static void change_version(struct fixture *f, enum catalog_change_kind kind, const char *name,
                           uint64_t version)
{
    change(f, &(struct catalog_change){
                  .kind = kind, .name = bytes_of_string(name), .version = version});
}

/* Define, redefine, roll back, pause, resume, delete, define again. */
static void test_fold(void **state)
{
    struct fixture *f = *state;
    assert_null(catalog_find(f->catalog, BYTES_LITERAL("a")));
    define(f, "a", 1, "one");
    define(f, "b", 1, "other");
    define(f, "a", 2, "two");
    const struct catalog_projection *p = catalog_find(f->catalog, BYTES_LITERAL("a"));
    assert_non_null(p);
    assert_int_equal(catalog_count(f->catalog), 2);
    assert_int_equal(p->desired, 2);
    const struct catalog_definition *d = catalog_version(p, 1);
    assert_true(bytes_equal(d->source, BYTES_LITERAL("one")));
    assert_false(d->policy.set_aside);
    d = catalog_version(p, 2);
    assert_true(bytes_equal(d->source, BYTES_LITERAL("two")));
    assert_true(d->policy.set_aside);
    assert_int_equal(d->policy.attempts, 3);
    assert_ptr_equal(d->kind, &model_table);
    change_version(f, CATALOG_ROLLED_BACK, "a", 1);
    assert_int_equal(p->desired, 1);
    change_version(f, CATALOG_ROLLED_BACK, "a", 9);
    assert_int_equal(p->desired, 1);
    change_version(f, CATALOG_PAUSED, "a", 0);
    assert_true(p->paused);
    change_version(f, CATALOG_RESUMED, "a", 0);
    assert_false(p->paused);
    change_version(f, CATALOG_DELETED, "a", 0);
    assert_null(catalog_find(f->catalog, BYTES_LITERAL("a")));
    assert_int_equal(catalog_find_any(f->catalog, BYTES_LITERAL("a"))->last, 2);
    define(f, "a", 3, "three");
    assert_int_equal(catalog_find(f->catalog, BYTES_LITERAL("a"))->desired, 3);
    assert_int_equal(catalog_revision(f->catalog), 9);
}

/* Old versions are forgotten, but never the one that shall serve. */
static void test_fold_forgets_versions(void **state)
{
    struct fixture *f = *state;
    define(f, "a", 1, "one");
    for (uint64_t v = 2; v <= CATALOG_VERSIONS_MAX + 5; v++) {
        define(f, "a", v, "more");
    }
    const struct catalog_projection *p = catalog_find(f->catalog, BYTES_LITERAL("a"));
    assert_int_equal(p->version_count, CATALOG_VERSIONS_MAX);
    assert_null(catalog_version(p, 5));
    assert_non_null(catalog_version(p, 6));
    change_version(f, CATALOG_ROLLED_BACK, "a", 6);
    assert_int_equal(p->desired, 6);
    define(f, "a", p->last + 1, "most");
    assert_non_null(catalog_version(p, 6));
    assert_null(catalog_version(p, 7));
}

/* Definitions do not show where the system is not asked for, and no client's command can make
 * one. */
static void test_events_are_the_systems(void **state)
{
    struct fixture *f = *state;
    define(f, "a", 1, "one");
    struct store_view *v;
    struct store_read *read;
    struct store_record record;
    struct store_query query = {0};
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_read_open(v, &query, &read), ERR_OK);
    assert_int_equal(store_read_next(read, &record), ERR_END);
    store_read_close(read);
    store_view_close(v);
    struct command *c = test_command();
    struct bytes stream = BYTES_LITERAL(CATALOG_STREAM);
    assert_int_equal(command_add_append(c, stream, TEST_ANY), ERR_INVALID);
    assert_int_equal(command_add_system_append(c, BYTES_LITERAL("plain"), TEST_ANY), ERR_INVALID);
    assert_int_equal(command_add_system_append(c, stream, TEST_ANY), ERR_OK);
    uint8_t id[UUID_BYTES] = {1};
    struct event_draft draft = {
        .id = bytes_of(id, sizeof id), .type = BYTES_LITERAL("Plain"), .data = BYTES_LITERAL("{}")};
    assert_int_equal(command_add_event(c, &draft), ERR_INVALID);
    command_free(c);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "orders", "A1_b-c.d", "0", "_x"};
    static const char *const bad[] = {"", "-a", ".", "..", "a/b", "a b", "$a", "\xc3\xa4", "a@1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(catalog_name_is_valid(bytes_of_string(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(catalog_name_is_valid(bytes_of_string(bad[i])));
    }
    char longest[CATALOG_NAME_MAX + 1];
    memset(longest, 'a', sizeof longest);
    assert_true(catalog_name_is_valid(bytes_of(longest, CATALOG_NAME_MAX)));
    assert_false(catalog_name_is_valid(bytes_of(longest, CATALOG_NAME_MAX + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fold_forgets_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_are_the_systems, set_up, tear_down),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
