/* Tests of storage/condition.c: conditions against a walk over all events, in every place that
 * events can be in. */
#include "storage/commit_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support.h"

#include <cmocka.h>

#define EVENTS      900
#define TAG_COUNT   4
#define NAMES_MAX   3
#define HASH_B      0xe7037ed1a0b428dbULL /* bytes.c's, checked below */
#define BROAD_PAIRS 50000
#define BROAD_GROUP 250

static const char *const TYPES[] = {"Placed", "Paid", "Sent", "Rare"};
static const char *const TAGS[TAG_COUNT] = {"red", "green", "vip", "course:1"};

struct row {
    unsigned type, tags; /* index; bits */
};

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct row rows[EVENTS + 1];
    uint64_t n;
};

static void open_store(struct fixture *f)
{
    struct store_options options = test_options(&f->dir);
    options.tail_bytes_max = (uint64_t)16 << 20;
    f->store = test_open_with(&options);
}

static int set_up(void **state)
{
    static struct fixture f;
    f.n = 0;
    test_dir_make(&f.dir);
    open_store(&f);
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

/* ---- commands ---- */

/* Names separated by blanks. */
static size_t split(const char *text, struct bytes ret[CONDITION_TYPES_MAX])
{
    size_t count = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        ret[count++] = bytes_of(text, n);
        text += n + (text[n] == ' ');
    }
    return count;
}

static void add_item(struct command *c, const char *types, const char *tags)
{
    struct bytes type_names[CONDITION_TYPES_MAX], tag_names[CONDITION_TYPES_MAX];
    struct condition_item item = {.types = type_names, .tags = tag_names};
    item.type_count = split(types, type_names);
    item.tag_count = split(tags, tag_names);
    assert_int_equal(command_add_condition_item(c, &item), ERR_OK);
}

/* An event for stream "w" under the condition that nothing after `after` matches. */
static struct command *guarded(const char *type, const char *event_tags, const char *types,
                               const char *tags, uint64_t after)
{
    struct command *c = test_command();
    test_add_append(c, "w", TEST_ANY);
    test_add_tagged(c, 0, type, event_tags);
    add_item(c, types, tags);
    command_set_condition_after(c, after);
    return c;
}

static enum verdict verdict_of(struct fixture *f, struct command *c)
{
    enum verdict verdict = test_commit(f->store, c);
    command_free(c);
    return verdict;
}

static uint64_t put(struct fixture *f, const char *type, const char *tags)
{
    struct command *c = test_command();
    test_add_append(c, "s", TEST_ANY);
    test_add_tagged(c, 0, type, tags);
    assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
    uint64_t position = command_result(c, 0)->first_position;
    command_free(c);
    return position;
}

static void expect_violation(struct fixture *f, struct command *c, uint64_t position)
{
    uint64_t before = store_position(f->store);
    assert_int_equal(test_commit(f->store, c), VERDICT_CONDITION_FAILED);
    assert_int_equal(command_violations(c), 0);
    assert_int_equal(command_condition_violations(c), 1);
    assert_int_equal(command_condition_violation(c, 0)->item, 0);
    assert_int_equal(command_condition_violation(c, 0)->position, position);
    assert_int_equal(store_position(f->store), before);
    command_free(c);
}

/* ---- what a condition says ---- */

/* Types are any of them, tags all of them; only what comes after the position counts. */
static void test_condition_types_and_tags(void **state)
{
    struct fixture *f = *state;
    uint64_t red = put(f, "Placed", "red");
    uint64_t both = put(f, "Paid", "red green");
    uint64_t green = put(f, "Sent", "green");
    expect_violation(f, guarded("T", "", "", "red", 0), red);
    expect_violation(f, guarded("T", "", "", "red", red), both);
    expect_violation(f, guarded("T", "", "", "green red", 0), both);
    expect_violation(f, guarded("T", "", "Sent Paid", "", 0), both);
    expect_violation(f, guarded("T", "", "Sent Paid", "green", both), green);
    assert_int_equal(verdict_of(f, guarded("T", "", "", "green red", both)), VERDICT_COMMITTED);
    assert_int_equal(verdict_of(f, guarded("T", "", "Sent", "red", 0)), VERDICT_COMMITTED);
    assert_int_equal(verdict_of(f, guarded("T", "", "Sent", "blue", 0)), VERDICT_COMMITTED);
    assert_int_equal(verdict_of(f, guarded("T", "", "Nothing", "", 0)), VERDICT_COMMITTED);
    test_verify_clean(f->store, 7);
}

/* A position that is still to come: nothing is after it, so nothing matches. */
static void test_condition_after_the_end(void **state)
{
    struct fixture *f = *state;
    put(f, "Placed", "red");
    assert_int_equal(verdict_of(f, guarded("T", "", "", "red", 1000)), VERDICT_COMMITTED);
    assert_int_equal(verdict_of(f, guarded("T", "", "", "red", UINT64_MAX)), VERDICT_COMMITTED);
}

/* Every violated item comes back, with every violated expectation and check. */
static void test_condition_reports_everything(void **state)
{
    struct fixture *f = *state;
    put(f, "Placed", "red");
    uint64_t green = put(f, "Paid", "green");
    struct command *c = test_command();
    test_add_append(c, "s", TEST_AT(1));
    test_add_event(c, 0, "T", "1");
    test_add_append(c, "w", TEST_NO_STREAM);
    test_add_event(c, 0, "T", "1");
    assert_int_equal(command_add_check(c, BYTES_LITERAL("z"), TEST_EXISTS), ERR_OK);
    add_item(c, "Placed", "");
    add_item(c, "", "blue");
    add_item(c, "Paid Placed", "");
    command_set_condition_after(c, 0);
    assert_int_equal(test_commit(f->store, c), VERDICT_WRONG_EXPECTED_REVISION);
    assert_int_equal(command_violations(c), 2);
    assert_true(bytes_equal(command_violation(c, 0)->stream, BYTES_LITERAL("s")));
    assert_true(bytes_equal(command_violation(c, 1)->stream, BYTES_LITERAL("z")));
    assert_int_equal(command_condition_violations(c), 2);
    assert_int_equal(command_condition_violation(c, 0)->item, 0);
    assert_int_equal(command_condition_violation(c, 0)->position, 1);
    assert_int_equal(command_condition_violation(c, 1)->item, 2);
    assert_int_equal(command_condition_violation(c, 1)->position, 1);
    assert_int_equal(store_position(f->store), green);
    command_free(c);
}

/* A retry of what was committed is a duplicate, though its own event violates its condition now. */
static void test_condition_retry(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        struct command *c = test_command();
        test_add_append(c, "w", TEST_ANY);
        test_add_tagged(c, 7, "Registered", "username:ann");
        add_item(c, "Registered", "username:ann");
        assert_int_equal(test_commit(f->store, c), i == 0 ? VERDICT_COMMITTED : VERDICT_DUPLICATE);
        assert_int_equal(command_result(c, 0)->first_position, 1);
        command_free(c);
        test_apply_all(f->store);
    }
}

/* In one group each command sees the ones before it, and a refused one leaves no trace. */
static void test_condition_sees_the_group(void **state)
{
    struct fixture *f = *state;
    put(f, "Placed", "red");
    struct command *group[] = {
        guarded("Taken", "seat:1", "Taken", "seat:1", 1),               /* in: position 2 */
        guarded("Taken", "seat:1", "Taken", "seat:1", 1),               /* out: 2 */
        guarded("Taken", "seat:2", "Taken", "seat:2", 1),               /* in: position 3 */
        guarded("Taken", "seat:1 seat:2", "Taken", "seat:1 seat:2", 1), /* in: neither has both */
        guarded("Other", "seat:1", "", "seat:2", 3),                    /* out: 4 has it */
        guarded("Other", "seat:1", "", "seat:2", 4),                    /* in */
    };
    static const bool accepted[] = {true, false, true, true, false, true};
    test_commit_group(f->store, group, 6, TEST_TIME_US);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(command_verdict(group[i]),
                         accepted[i] ? VERDICT_COMMITTED : VERDICT_CONDITION_FAILED);
    }
    assert_int_equal(command_condition_violation(group[1], 0)->position, 2);
    assert_int_equal(command_condition_violation(group[4], 0)->position, 4);
    for (size_t i = 0; i < 6; i++) {
        command_free(group[i]);
    }
    test_verify_clean(f->store, 5);
}

/* After a start everything is as it was, whether it had been applied or not. */
static void test_condition_after_a_start(void **state)
{
    struct fixture *f = *state;
    put(f, "Placed", "red green");
    test_apply_all(f->store);
    put(f, "Placed", "green vip");
    for (int i = 0; i < 2; i++) {
        struct test_dir crashed;
        test_dir_crash(&f->dir, &crashed);
        struct fixture again = {.dir = crashed};
        open_store(&again);
        expect_violation(&again, guarded("T", "", "", "green red", 0), 1);
        expect_violation(&again, guarded("T", "", "Placed", "green", 1), 2);
        assert_int_equal(verdict_of(&again, guarded("T", "", "", "red vip", 0)), VERDICT_COMMITTED);
        store_close(again.store);
        test_dir_remove(&crashed);
        test_apply_all(f->store);
    }
}

/* What is deleted or truncated does not count any more, from the same group on; the system's events
 * about it never do. A redacted event keeps its tags and counts. */
static void test_condition_sees_what_can_be_read(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 4; i++) { /* revisions 1 to 4 of "s" */
        put(f, "Placed", i < 2 ? "red early" : "red");
    }
    struct life_change truncation = {.set_truncate_before = true, .truncate_before = 3};
    struct command *group[] = {
        test_redact("s", 3),
        guarded("T", "", "", "early", 0), /* out: 1 has it */
        test_metadata("s", &truncation),
        guarded("T", "", "", "early", 0), /* in */
        guarded("T", "", "", "red", 0),   /* out: 3, though it is redacted */
        test_delete("s", false),
        guarded("T", "", "", "red", 0), /* in */
    };
    static const uint64_t matches[] = {0, 1, 0, 0, 3, 0, 0};
    test_commit_group(f->store, group, 7, TEST_TIME_US);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(command_verdict(group[i]),
                         matches[i] == 0 ? VERDICT_COMMITTED : VERDICT_CONDITION_FAILED);
        if (matches[i] != 0) {
            assert_int_equal(command_condition_violation(group[i], 0)->position, matches[i]);
        }
        command_free(group[i]);
    }
    test_apply_all(f->store);
    assert_int_equal(verdict_of(f, guarded("T", "", "Placed", "red", 0)), VERDICT_COMMITTED);
    put(f, "Placed", "red"); /* the stream goes on */
    assert_int_equal(verdict_of(f, guarded("T", "", "", "early", 0)), VERDICT_COMMITTED);
    assert_int_equal(verdict_of(f, guarded("T", "", "", "red", 0)), VERDICT_CONDITION_FAILED);
}

/* ---- against a walk ---- */

static bool row_matches(const struct row *row, unsigned types, unsigned tags)
{
    return (types == 0 || (types >> row->type & 1) != 0) && (row->tags & tags) == tags;
}

static uint64_t first_match(const struct fixture *f, unsigned types, unsigned tags, uint64_t after)
{
    for (uint64_t p = after + 1; p <= f->n; p++) {
        if (row_matches(&f->rows[p], types, tags)) {
            return p;
        }
    }
    return 0;
}

static void join(char *ret, size_t room, const char *const *names, size_t n, unsigned bits)
{
    ret[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if ((bits >> i & 1) != 0) {
            size_t at = strlen(ret);
            snprintf(ret + at, room - at, "%s%s", at == 0 ? "" : " ", names[i]);
        }
    }
}

/* Each of four bits is set once in four times. */
static unsigned few_bits(uint64_t *random)
{
    uint64_t bits = test_random(random);
    return (unsigned)(bits & bits >> 32) % 16;
}

/* A row with a random condition of a few items. It is appended if the walk says so. */
static void try_row(struct fixture *f, uint64_t *random)
{
    struct row row = {.type = test_below(random, 40) == 0 ? 3 : (unsigned)test_below(random, 3),
                      .tags = few_bits(random)};
    char tags[64], types[64];
    uint64_t back = test_below(random, 4) == 0 ? test_below(random, f->n + 1)
                                               : test_below(random, f->n < 6 ? f->n + 1 : 6);
    uint64_t after = f->n - back, wanted[NAMES_MAX] = {0};
    size_t items = 1 + test_below(random, NAMES_MAX), violated = 0;
    struct command *c = test_command();
    join(tags, sizeof tags, TAGS, TAG_COUNT, row.tags);
    test_add_append(c, "w", TEST_ANY);
    test_add_tagged(c, 0, TYPES[row.type], tags);
    for (size_t i = 0; i < items; i++) {
        unsigned type_bits = few_bits(random);
        unsigned tag_bits = (unsigned)test_below(random, 16);
        tag_bits = type_bits + tag_bits == 0 ? 1 : tag_bits;
        join(types, sizeof types, TYPES, 4, type_bits);
        join(tags, sizeof tags, TAGS, TAG_COUNT, tag_bits);
        add_item(c, types, tags);
        wanted[i] = first_match(f, type_bits, tag_bits, after);
    }
    command_set_condition_after(c, after);
    enum verdict verdict = test_commit(f->store, c);
    for (size_t i = 0; i < items; i++) {
        if (wanted[i] != 0) {
            assert_true(violated < command_condition_violations(c));
            assert_int_equal(command_condition_violation(c, violated)->item, i);
            assert_int_equal(command_condition_violation(c, violated)->position, wanted[i]);
            violated++;
        }
    }
    assert_int_equal(command_condition_violations(c), violated);
    assert_int_equal(verdict, violated > 0 ? VERDICT_CONDITION_FAILED : VERDICT_COMMITTED);
    if (violated == 0) {
        f->rows[++f->n] = row;
    }
    command_free(c);
}

/* Random conditions over events in LMDB, in frozen generations and in the active one: the verdict
 * and every first position are those of a walk. */
static void test_condition_walk(void **state)
{
    struct fixture *f = *state;
    uint64_t random = test_seed();
    while (f->n < EVENTS) {
        try_row(f, &random);
        uint64_t move = test_below(&random, 300);
        if (move == 0) {
            test_apply_all(f->store);
        } else if (move == 1) {
            (void)tail_oldest_frozen(&f->store->tail, true);
        } else if (move == 2) {
            store_close(f->store);
            open_store(f);
        }
    }
    test_verify_clean(f->store, EVENTS);
}

/* ---- collisions ---- */

/* Tags and types whose hashes are the same are still different names. */
static void test_condition_hash_collision(void **state)
{
    struct fixture *f = *state;
    uint64_t secret[2] = {0, 0};
    memcpy(&secret[1], "username", sizeof secret[1]);
    secret[1] ^= HASH_B; /* now the first 8 of 16 bytes cancel the rest out */
    store_close(f->store);
    bytes_hash_set_secret(secret);
    open_store(f);
    struct bytes a = BYTES_LITERAL("username:aaaaaaa"), b = BYTES_LITERAL("username:bbbbbbb");
    assert_int_equal(bytes_hash(a, 5), bytes_hash(b, 5));
    for (int place = 0; place < 3; place++) {
        uint64_t head = store_position(f->store);
        assert_int_equal(put(f, "username:ttttttt", "username:aaaaaaa"), head + 1);
        if (place == 1) {
            (void)tail_oldest_frozen(&f->store->tail, true);
        } else if (place == 2) {
            test_apply_all(f->store);
        }
        struct command *c = guarded("T", "username:ccccccc", "", "username:bbbbbbb", head);
        assert_int_equal(verdict_of(f, c), VERDICT_COMMITTED);
        c = guarded("T", "", "username:aaaaaaa", "", head);
        assert_int_equal(verdict_of(f, c), VERDICT_COMMITTED);
        c = guarded("T", "", "username:ttttttt", "username:bbbbbbb", head);
        assert_int_equal(verdict_of(f, c), VERDICT_COMMITTED);
        expect_violation(f, guarded("T", "", "", "username:aaaaaaa", head), head + 1);
        expect_violation(f, guarded("T", "", "", "username:ccccccc", head), head + 2);
        expect_violation(f, guarded("T", "", "username:ttttttt", "", head), head + 1);
    }
    store_close(f->store);
    bytes_hash_set_secret((uint64_t[2]){0, 0});
    open_store(f);
}

/* ---- limits ---- */

/* Two long lists that have nothing in common: no answer from the start of the log, at once an
 * answer from near its end, and from the start where one of the lists is short. */
static void test_condition_too_broad(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < BROAD_PAIRS / BROAD_GROUP; i++) {
        struct command *c = test_command();
        test_add_append(c, "s", TEST_ANY);
        for (int k = 0; k < BROAD_GROUP; k++) {
            test_add_tagged(c, 0, "Placed", "odd");
            test_add_tagged(c, 0, "Placed", k == 0 && i == 0 ? "even short" : "even");
        }
        assert_int_equal(test_commit(f->store, c), VERDICT_COMMITTED);
        command_free(c);
    }
    uint64_t head = store_position(f->store);
    assert_int_equal(verdict_of(f, guarded("T", "", "", "odd even", 0)),
                     VERDICT_CONDITION_TOO_BROAD);
    assert_int_equal(store_position(f->store), head);
    struct command *c = guarded("T", "", "Placed", "odd", 0); /* what is violated is told first */
    add_item(c, "", "odd even");
    assert_int_equal(verdict_of(f, c), VERDICT_CONDITION_FAILED);
    assert_int_equal(verdict_of(f, guarded("T", "", "", "odd even", head - 1000)),
                     VERDICT_COMMITTED);
    assert_int_equal(verdict_of(f, guarded("T", "", "Placed", "odd short", 0)), VERDICT_COMMITTED);
}

/* What a command cannot hold, or what says nothing. */
static void test_condition_limits(void **state)
{
    (void)state;
    struct bytes names[CONDITION_TYPES_MAX + 1];
    struct bytes system = BYTES_LITERAL("$deleted"), control = BYTES_LITERAL("a\nb");
    for (size_t i = 0; i <= CONDITION_TYPES_MAX; i++) {
        names[i] = BYTES_LITERAL("n");
    }
    const struct condition_item invalid[] = {
        {.types = names, .type_count = CONDITION_TYPES_MAX + 1},
        {.tags = names, .tag_count = CONDITION_TAGS_MAX + 1},
        {.types = names, .tags = names},
        {.types = &system, .type_count = 1},
        {.tags = &control, .tag_count = 1},
    };
    struct command *c = test_command();
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        assert_int_equal(command_add_condition_item(c, &invalid[i]), ERR_INVALID);
    }
    size_t bytes = command_bytes(c);
    struct condition_item largest = {.types = names,
                                     .type_count = CONDITION_TYPES_MAX,
                                     .tags = names,
                                     .tag_count = CONDITION_TAGS_MAX};
    for (int i = 0; i < CONDITION_ITEMS_MAX; i++) {
        assert_int_equal(command_add_condition_item(c, &largest), ERR_OK);
    }
    assert_int_equal(command_add_condition_item(c, &largest), ERR_LIMIT);
    assert_true(command_bytes(c) > bytes); /* the writer's queue counts it */
    command_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_condition_types_and_tags),
        TEST(test_condition_after_the_end),
        TEST(test_condition_reports_everything),
        TEST(test_condition_retry),
        TEST(test_condition_sees_the_group),
        TEST(test_condition_after_a_start),
        TEST(test_condition_sees_what_can_be_read),
        TEST(test_condition_walk),
        TEST(test_condition_hash_collision),
        TEST(test_condition_too_broad),
        TEST(test_condition_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
