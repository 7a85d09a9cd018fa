/* Tests of clients/cli/import_ids.h. */
#include "clients/cli/import_ids.h"

#include "clients/cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct import_event example(void)
{
    return (struct import_event){
        .stream = "loan-1",
        .event = {.type = "T", .data = {"{}", 2}, .occurred_at = "2011-10-01T00:38:44.546+02:00"}};
}

static void make(struct import_ids *ids, struct import_event event, char ret[TEXT_UUID_SIZE])
{
    uint8_t id[16];
    assert_true(import_ids_make(ids, &event, id));
    assert_int_equal(id[6] >> 4, 8);
    assert_int_equal(id[8] >> 6, 2);
    text_uuid(id, ret);
}

/* An id is what it was in every version before: an import that is repeated must find its events.
 * The expected ones were computed apart, with Python's hashlib.blake2b. */
static void test_make_is_for_ever(void **state)
{
    (void)state;
    struct import_ids *ids = import_ids_new();
    char id[TEXT_UUID_SIZE];
    make(ids, example(), id);
    assert_string_equal(id, "953bf782-eb33-8ec0-b324-10910f39cf0c");
    make(ids, example(), id);
    assert_string_equal(id, "1f36a3eb-e3f7-8386-84da-d17192164125");
    struct import_event full = example();
    const char *tags[] = {"a", "b"};
    full.event.metadata = (struct daybook_bytes){"{\"u\":1}", 7};
    full.event.tags = tags;
    full.event.tags_n = 2;
    full.event.content_type = "application/json";
    full.event.schema_version = 3;
    make(ids, full, id);
    assert_string_equal(id, "02a2d85f-e2b9-8ae5-8b79-1fe67078f2ad");
    import_ids_free(ids);
}

/* Equal lines get ids of their own, the same ones in the same order for each reader of the file. */
static void test_make_counts_equal_lines(void **state)
{
    (void)state;
    char first[3][TEXT_UUID_SIZE];
    for (int round = 0; round < 2; round++) {
        struct import_ids *ids = import_ids_new();
        for (int i = 0; i < 3; i++) {
            char id[TEXT_UUID_SIZE];
            make(ids, example(), id);
            if (round == 0) {
                memcpy(first[i], id, sizeof id);
            }
            assert_string_equal(id, first[i]);
        }
        import_ids_free(ids);
    }
    assert_string_not_equal(first[0], first[1]);
    assert_string_not_equal(first[1], first[2]);
}

/* A difference in any field is another id, also where the bytes of two fields would join
 * equally. */
static void test_make_tells_fields_apart(void **state)
{
    (void)state;
    const char *tags[] = {"a", "b"};
    const char *joined[] = {"ab"};
    struct import_event events[12];
    for (size_t i = 0; i < 12; i++) {
        events[i] = example();
    }
    events[1].stream = "loan-2";
    events[2].event.type = "U";
    events[3].event.data = (struct daybook_bytes){"{ }", 3};
    events[4].event.metadata = (struct daybook_bytes){"{}", 2};
    events[5].event.occurred_at = NULL;
    events[6].event.content_type = "application/json";
    events[7].event.schema_version = 1;
    events[8].event.tags = tags;
    events[8].event.tags_n = 2;
    events[9].event.tags = joined;
    events[9].event.tags_n = 1;
    events[10].stream = "loan-1T";
    events[10].event.type = "";
    events[11].event.data = (struct daybook_bytes){NULL, 0};
    char ids[12][TEXT_UUID_SIZE];
    struct import_ids *made = import_ids_new();
    for (size_t i = 0; i < 12; i++) {
        make(made, events[i], ids[i]);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(ids[i], ids[k]);
        }
    }
    import_ids_free(made);
}

/* Many ids are all different, and streams are counted once each. */
static void test_many(void **state)
{
    (void)state;
    struct import_ids *ids = import_ids_new();
    struct import_ids *again = import_ids_new();
    for (int i = 0; i < 20000; i++) {
        char stream[32];
        (void)snprintf(stream, sizeof stream, "s-%d", i % 7000);
        struct import_event event = example();
        event.stream = stream;
        uint8_t id[16];
        uint8_t same[16];
        assert_true(import_ids_make(ids, &event, id));
        assert_true(import_ids_make(again, &event, same));
        assert_memory_equal(id, same, 16);
        assert_true(import_ids_add_stream(ids, stream));
    }
    assert_int_equal(import_ids_streams(ids), 7000);
    import_ids_free(ids);
    import_ids_free(again);
    import_ids_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make_is_for_ever),
        cmocka_unit_test(test_make_counts_equal_lines),
        cmocka_unit_test(test_make_tells_fields_apart),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
