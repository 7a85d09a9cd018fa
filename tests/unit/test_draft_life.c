/* The rules for writes that change what can be read of a stream, and their commands. */
#include "server/draft.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct app_limits limits = {
    .event_bytes_max = 100, .body_bytes_max = 1u << 20, .append_events_max = 50};

struct made {
    struct arena arena;
    struct draft draft;
};

/* A draft that is valid. */
static struct draft_life *make(struct made *m, enum draft_body body)
{
    arena_init(&m->arena, 4096, 1u << 20);
    draft_init(&m->draft, body, &limits, &m->arena);
    struct draft_life *life = &m->draft.life;
    life->target.stream = BYTES_LITERAL("s-1");
    life->change.set_max_count = true;
    life->change.max_count = 1;
    life->revision_given = true;
    life->revision = 1;
    return life;
}

static void assert_rejected(struct made *m, enum problem problem, const char *field)
{
    assert_false(draft_check(&m->draft));
    assert_string_equal(m->draft.rejection.field, field);
    assert_int_equal(m->draft.rejection.problem, problem);
    assert_true(m->draft.rejection.detail[0] != '\0');
    arena_done(&m->arena);
}

/* Each kind makes a command of its kind. */
static void test_build(void **state)
{
    (void)state;
    static const struct {
        enum draft_body body;
        enum command_kind kind;
    } cases[] = {
        {DRAFT_SET_METADATA, COMMAND_SET_METADATA},
        {DRAFT_DELETE_STREAM, COMMAND_DELETE_STREAM},
        {DRAFT_REDACT, COMMAND_REDACT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made m;
        struct command *c;
        make(&m, cases[i].body);
        assert_true(draft_check(&m.draft));
        assert_true(draft_build(&m.draft, &c));
        assert_int_equal(command_kind(c), cases[i].kind);
        assert_int_equal(command_appends(c), 0);
        command_free(c);
        arena_done(&m.arena);
    }
}

static void test_streams(void **state)
{
    (void)state;
    static const enum draft_body bodies[] = {DRAFT_SET_METADATA, DRAFT_DELETE_STREAM, DRAFT_REDACT};
    for (size_t i = 0; i < 3; i++) {
        struct made m;
        make(&m, bodies[i])->target.stream = BYTES_NONE;
        assert_rejected(&m, PROBLEM_MISSING_FIELD, "stream");
        make(&m, bodies[i])->target.stream = BYTES_LITERAL("a\nb");
        assert_rejected(&m, PROBLEM_INVALID_NAME, "stream");
        make(&m, bodies[i])->target.stream = BYTES_LITERAL("$streams");
        assert_rejected(&m, PROBLEM_RESERVED_NAME, "stream");
        make(&m, bodies[i])->target.expected = (struct expectation){EXPECT_REVISION, UINT64_MAX};
        assert_rejected(&m, PROBLEM_INVALID_FIELD, "expected_revision");
    }
}

static void test_metadata(void **state)
{
    (void)state;
    static uint8_t large[LIFE_CUSTOM_BYTES_MAX + 1];
    struct made m;
    struct draft_life *life = make(&m, DRAFT_SET_METADATA);
    life->change.set_max_count = false;
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "max_count");
    make(&m, DRAFT_SET_METADATA)->change.max_count = UINT64_MAX;
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "max_count");
    make(&m, DRAFT_SET_METADATA)->change.max_age_s = (uint64_t)DRAFT_AGE_MAX_S + 1;
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "max_age_s");
    make(&m, DRAFT_SET_METADATA)->change.truncate_before = UINT64_MAX;
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "truncate_before");
    make(&m, DRAFT_SET_METADATA)->change.custom = BYTES_LITERAL("[]");
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "custom");
    make(&m, DRAFT_SET_METADATA)->change.custom = BYTES_LITERAL("{\"a\":\xff}");
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "custom");
    memset(large, ' ', sizeof large);
    large[0] = '{';
    large[sizeof large - 2] = '}';
    make(&m, DRAFT_SET_METADATA)->change.custom = bytes_of(large, sizeof large);
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "custom");
    make(&m, DRAFT_SET_METADATA)->change.custom = bytes_of(large, sizeof large - 1);
    assert_true(draft_check(&m.draft));
    arena_done(&m.arena);
}

static void test_redact(void **state)
{
    (void)state;
    static uint8_t large[LIFE_REASON_BYTES_MAX + 1];
    struct made m;
    memset(large, 'x', sizeof large);
    make(&m, DRAFT_REDACT)->revision_given = false;
    assert_rejected(&m, PROBLEM_MISSING_FIELD, "revision");
    make(&m, DRAFT_REDACT)->revision = 0;
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "revision");
    make(&m, DRAFT_REDACT)->revision = UINT64_MAX;
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "revision");
    make(&m, DRAFT_REDACT)->reason = bytes_of(large, sizeof large);
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "reason");
    make(&m, DRAFT_REDACT)->reason = BYTES_LITERAL("\xff");
    assert_rejected(&m, PROBLEM_INVALID_FIELD, "reason");
    make(&m, DRAFT_REDACT)->reason = bytes_of(large, sizeof large - 1);
    assert_true(draft_check(&m.draft));
    arena_done(&m.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_redact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
