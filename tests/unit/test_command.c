/* Tests of storage/command.c: a command owns what is put in, and refuses what is not allowed. */
#include "storage/command_int.h"

#include <string.h>

#include "tests/unit/support.h"

#include <cmocka.h>

static const struct event_draft GOOD = {.id = {(const uint8_t *)"0123456789abcdef", 16},
                                        .type = {(const uint8_t *)"T", 1},
                                        .data = {(const uint8_t *)"{}", 2}};

/* What was put in is there, and a copy. */
static void test_command_add_owns_copies(void **state)
{
    (void)state;
    char stream[] = "order-1", type[] = "Placed", tag[] = "red";
    uint8_t id[UUID_BYTES] = {1};
    struct bytes tag_bytes = bytes_of_string(tag);
    struct event_draft draft = {.id = bytes_of(id, UUID_BYTES),
                                .type = bytes_of_string(type),
                                .tag_count = 1,
                                .tags = &tag_bytes};
    struct command *c = test_command();
    assert_int_equal(command_add_append(c, bytes_of_string(stream), TEST_ANY), ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    memset(stream, 'x', 7), memset(type, 'x', 6), memset(tag, 'x', 3), memset(id, 9, UUID_BYTES);
    assert_true(bytes_equal(command_append_stream(c, 0), BYTES_LITERAL("order-1")));
    assert_true(bytes_equal(c->events[0].draft.type, BYTES_LITERAL("Placed")));
    assert_true(bytes_equal(c->events[0].tags[0], BYTES_LITERAL("red")));
    assert_int_equal(command_event_id(c, 0, 0).p[0], 1);
    command_free(c);
}

/* The numbers of appends, events and bytes add up over many. */
static void test_command_counts(void **state)
{
    (void)state;
    struct command *c = test_command();
    for (size_t i = 0; i < 50; i++) {
        test_add_append(c, "a", TEST_ANY);
        for (size_t k = 0; k < i; k++) {
            test_add_event(c, 0, "T", "12345");
        }
    }
    assert_int_equal(command_appends(c), 50);
    assert_int_equal(command_events(c), 49 * 50 / 2);
    assert_int_equal(command_append_events(c, 49), 49);
    size_t one = 3 + 18 + 3 + 7 + RECORD_STAMP_BYTES_MAX; /* stream, id, type, data */
    assert_int_equal(command_bytes(c), command_events(c) * one);
    assert_int_equal(command_verdict(c), VERDICT_NONE);
    command_free(c);
    command_free(NULL);
}

static err_t add_changed(struct command *c, void (*change)(struct event_draft *draft))
{
    struct event_draft draft = GOOD;
    change(&draft);
    return command_add_event(c, &draft);
}

static void no_type(struct event_draft *d)
{
    d->type = BYTES_NONE;
}

static void system_type(struct event_draft *d)
{
    d->type = BYTES_LITERAL("$t");
}

static void short_id(struct event_draft *d)
{
    d->id.n = 15;
}

static void too_many_tags(struct event_draft *d)
{
    static struct bytes tags[EVENT_TAGS_MAX + 1];
    for (size_t i = 0; i <= EVENT_TAGS_MAX; i++) {
        tags[i] = BYTES_LITERAL("t");
    }
    d->tags = tags;
    d->tag_count = EVENT_TAGS_MAX + 1;
}

static void empty_tag(struct event_draft *d)
{
    static const struct bytes TAG = {NULL, 0};
    d->tags = &TAG;
    d->tag_count = 1;
}

static void long_content_type(struct event_draft *d)
{
    static uint8_t text[EVENT_MEDIA_MAX + 1];
    d->content_type = bytes_of(text, sizeof text);
}

static void long_time(struct event_draft *d)
{
    static uint8_t text[EVENT_TIME_MAX + 1];
    d->occurred_at = bytes_of(text, sizeof text);
}

/* What is not allowed is refused, and the command stays as it was. */
static void test_command_add_refuses(void **state)
{
    (void)state;
    static void (*const CHANGES[])(struct event_draft *) = {
        no_type, system_type, short_id, too_many_tags, empty_tag, long_content_type, long_time};
    struct command *c = test_command();
    assert_int_equal(command_add_append(c, BYTES_NONE, TEST_ANY), ERR_INVALID);
    assert_int_equal(command_add_append(c, BYTES_LITERAL("$s"), TEST_ANY), ERR_INVALID);
    assert_int_equal(command_add_append(c, BYTES_LITERAL("a\n"), TEST_ANY), ERR_INVALID);
    assert_int_equal(command_add_check(c, BYTES_LITERAL("$s"), TEST_ANY), ERR_INVALID);
    assert_int_equal(command_appends(c), 0);
    test_add_append(c, "a", TEST_ANY);
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        assert_int_equal(add_changed(c, CHANGES[i]), ERR_INVALID);
    }
    assert_int_equal(command_events(c), 0);
    assert_int_equal(command_add_event(c, &GOOD), ERR_OK);
    assert_int_equal(command_events(c), 1);
    command_free(c);
}

/* A command never takes more memory than it was given. */
static void test_command_new_memory_max(void **state)
{
    (void)state;
    struct command *c = command_new(10000);
    err_t err = command_add_append(c, BYTES_LITERAL("a"), TEST_ANY);
    assert_int_equal(err, ERR_OK);
    size_t n = 0;
    while ((err = command_add_event(c, &GOOD)) == ERR_OK) {
        assert_true(++n < 1000);
    }
    assert_int_equal(err, ERR_LIMIT);
    assert_int_equal(command_events(c), n);
    command_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_add_owns_copies),
        cmocka_unit_test(test_command_counts),
        cmocka_unit_test(test_command_add_refuses),
        cmocka_unit_test(test_command_new_memory_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
