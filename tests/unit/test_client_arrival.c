/* Tests of clients/c/arrival.c: what lies at the front of bytes that are still arriving. */
#include "clients/c/client_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A field is there once its last byte is, and not before; until then it says how many it wants, as
 * far as that is known, and always more than there are. */
static void test_front_grows(void **state)
{
    (void)state;
    static uint8_t bytes[3 + 300 + 2] = {0x0a, 0xac, 0x02};
    bytes[303] = 0x12;
    struct daybook_field field;
    for (size_t have = 0; have < 303; have++) {
        assert_int_equal(daybook_front_look(bytes, have, &field), DAYBOOK_FRONT_PART);
        assert_true(field.size > have && field.size <= 303);
        assert_true(have < 3 || field.size == 303);
    }
    for (size_t have = 303; have <= sizeof bytes; have++) {
        assert_int_equal(daybook_front_look(bytes, have, &field), DAYBOOK_FRONT_FIELD);
        assert_int_equal(field.number, 1);
        assert_int_equal(field.size, 303);
        assert_int_equal(field.bytes.n, 300);
        assert_ptr_equal(field.bytes.p, bytes + 3);
    }
    /* An empty field is one. */
    assert_int_equal(daybook_front_look(bytes + 303, 1, &field), DAYBOOK_FRONT_PART);
    assert_int_equal(daybook_front_look(bytes + 303, 2, &field), DAYBOOK_FRONT_FIELD);
    assert_int_equal(field.number, 2);
    assert_int_equal(field.bytes.n, 0);
}

/* What is no length-delimited field, or one longer than the library takes, is damage, whatever
 * comes behind it. */
static void test_front_damaged(void **state)
{
    (void)state;
    static const uint8_t damaged[][7] = {
        {0x00},                                     /* number 0 */
        {0x08, 1},                                  /* a varint */
        {0x0d, 1, 2, 3, 4},                         /* 32 bits */
        {0x8a, 0x01, 0},                            /* number 17 */
        {'<', 'h', 't', 'm', 'l'},                  /* another kind of server */
        {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, /* a length of more than 32 bits */
        {0x0a, 0x81, 0x80, 0x80, 0x80, 0x01},       /* 256 MiB and 1 byte */
    };
    struct daybook_field field;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        assert_int_equal(daybook_front_look(damaged[i], sizeof damaged[i], &field),
                         DAYBOOK_FRONT_DAMAGED);
    }
}

/* An interrupted handle refuses to ask, at once, and says why; interrupting twice is no harm. */
static void test_interrupt(void **state)
{
    (void)state;
    struct daybook *db = NULL;
    struct daybook_status status;
    struct daybook_events *events = NULL;
    const struct daybook_event *event = NULL;
    assert_int_equal(daybook_open("http://127.0.0.1:1", NULL, &db), DAYBOOK_OK);
    daybook_interrupt(db);
    daybook_interrupt(db);
    assert_int_equal(daybook_get_status(db, &status), DAYBOOK_ERR_INTERRUPTED);
    assert_string_equal(daybook_problem(db)->title, "the call was interrupted");
    assert_int_equal(daybook_read(db, NULL, &events), DAYBOOK_OK);
    assert_int_equal(daybook_events_next(events, &event), DAYBOOK_ERR_INTERRUPTED);
    daybook_events_free(events);
    daybook_close(db);
}

/* What cannot be followed is said before anything is asked. */
static void test_follow_arguments(void **state)
{
    (void)state;
    static const struct daybook_follow_options wrong[] = {
        {.read = {.backward = true}},
        {.read = {.before = 7}},
        {.read = {.after = 7}, .from_end = true},
    };
    struct daybook *db = NULL;
    struct daybook_follower *follower = NULL;
    assert_int_equal(daybook_open("http://127.0.0.1:1", NULL, &db), DAYBOOK_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(daybook_follow(db, &wrong[i], &follower), DAYBOOK_ERR_ARGUMENT);
        assert_null(follower);
        assert_string_not_equal(daybook_problem(db)->detail, "");
    }
    daybook_follow_free(follower);
    daybook_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_front_grows),
        cmocka_unit_test(test_front_damaged),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_follow_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
