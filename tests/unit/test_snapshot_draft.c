/* Tests of server/snapshot_draft.c, json_snapshot.c and codec_snapshot.c: the same snapshot from
 * both encodings, and what is wrong named by its field. */
#include "server/snapshot_draft.h"

#include "daybook/v1/snapshots.pb-c.h"
#include "tests/unit/support.h"

#define BYTES_LIMIT 100

struct fixture {
    struct arena arena;
    struct snapshot_draft d;
};

static void start(struct fixture *f)
{
    arena_init(&f->arena, 4096, 1 << 20);
    f->d = (struct snapshot_draft){.arena = &f->arena};
}

static bool read_json(struct fixture *f, const char *body)
{
    start(f);
    return json_read_snapshot(bytes_of_string(body), &f->d) &&
           snapshot_check(&f->d, BYTES_LITERAL("s"), BYTES_LIMIT);
}

static void expect_refused(const char *body, enum problem problem, const char *field)
{
    struct fixture f;
    assert_false(read_json(&f, body));
    assert_int_equal(f.d.problem, problem);
    if (field == NULL) {
        assert_null(f.d.field);
    } else {
        assert_string_equal(f.d.field, field);
    }
    arena_done(&f.arena);
}

static void test_json_read_fields(void **state)
{
    (void)state;
    struct fixture f;
    assert_true(read_json(&f, "{\"name\":\"\\u00e9\",\"data\":{\"a\":[1, 2.50]},\"revision\":7,"
                              "\"schema_version\":3,\"stream\":\"s\"}"));
    assert_int_equal(f.d.snapshot.revision, 7);
    assert_int_equal(f.d.snapshot.schema_version, 3);
    assert_true(bytes_equal(f.d.snapshot.name, BYTES_LITERAL("\xc3\xa9")));
    assert_true(bytes_equal(f.d.snapshot.data, BYTES_LITERAL("{\"a\":[1, 2.50]}")));
    arena_done(&f.arena);
    assert_true(
        read_json(&f, "{\"revision\":1,\"data_base64\":\"AAE=\",\"content_type\":\"image/png\"}"));
    assert_true(bytes_equal(f.d.snapshot.data, bytes_of("\0\1", 2)));
    arena_done(&f.arena);
}

static void test_json_read_refusals(void **state)
{
    (void)state;
    expect_refused("{", PROBLEM_INVALID_JSON, NULL);
    expect_refused("[]", PROBLEM_INVALID_FIELD, NULL);
    expect_refused("{\"data\":1}", PROBLEM_MISSING_FIELD, "revision");
    expect_refused("{\"revision\":1}", PROBLEM_MISSING_FIELD, "data");
    expect_refused("{\"revision\":0,\"data\":1}", PROBLEM_INVALID_FIELD, "revision");
    expect_refused("{\"revision\":1e1,\"data\":1}", PROBLEM_INVALID_FIELD, "revision");
    expect_refused("{\"revision\":1,\"data\":1,\"x\":1}", PROBLEM_UNKNOWN_FIELD, "x");
    expect_refused("{\"revision\":1,\"data\":1,\"revision\":1}", PROBLEM_INVALID_FIELD, "revision");
    expect_refused("{\"revision\":1,\"data\":1,\"stream\":\"t\"}", PROBLEM_INVALID_FIELD, "stream");
    expect_refused("{\"revision\":1,\"data_base64\":\"=\"}", PROBLEM_INVALID_FIELD, "data_base64");
    expect_refused("{\"revision\":1,\"data\":1,\"content_type\":\"a/b\"}", PROBLEM_INVALID_FIELD,
                   "data");
    expect_refused("{\"revision\":1,\"data\":"
                   "\"01234567890123456789012345678901234567890123456789012345678901234567890123"
                   "4567890123456789012345678\"}",
                   PROBLEM_SNAPSHOT_TOO_LARGE, "data");
}

static bool read_protobuf(struct fixture *f, const Daybook__V1__PutSnapshot *m)
{
    uint8_t room[1024];
    size_t n = daybook__v1__put_snapshot__pack(m, room);
    start(f);
    return codec_read_snapshot(bytes_of(room, n), &f->d) &&
           snapshot_check(&f->d, BYTES_LITERAL("s"), BYTES_LIMIT);
}

static void test_codec_read(void **state)
{
    (void)state;
    struct fixture f;
    Daybook__V1__PutSnapshot m = DAYBOOK__V1__PUT_SNAPSHOT__INIT;
    uint8_t data[] = "[1]";
    char name[] = "Order", stream[] = "s";
    m.revision = 7;
    m.data = (ProtobufCBinaryData){3, data};
    m.name = name;
    m.stream = stream;
    assert_true(read_protobuf(&f, &m));
    assert_true(f.d.snapshot.revision == 7 && f.d.snapshot.data.n == 3);
    arena_done(&f.arena);
    m.data.len = 2;
    assert_false(read_protobuf(&f, &m));
    assert_string_equal(f.d.field, "data");
    arena_done(&f.arena);
    m.data.len = 0;
    assert_false(read_protobuf(&f, &m));
    assert_int_equal(f.d.problem, PROBLEM_MISSING_FIELD);
    arena_done(&f.arena);
    start(&f);
    assert_false(codec_read_snapshot(BYTES_LITERAL("\xff"), &f.d));
    assert_int_equal(f.d.problem, PROBLEM_INVALID_PROTOBUF);
    arena_done(&f.arena);
}

/* Both say the same, data as it is. */
static void test_put_both(void **state)
{
    (void)state;
    const struct snapshot s = {.revision = 2,
                               .schema_version = 1,
                               .name = BYTES_LITERAL("n"),
                               .data = BYTES_LITERAL("{ }"),
                               .time_us = 0};
    struct buf b;
    buf_init(&b, 4096);
    json_put_snapshot(&b, BYTES_LITERAL("s"), &s);
    buf_put_byte(&b, '\0');
    assert_string_equal((const char *)b.p,
                        "{\"stream\":\"s\",\"revision\":2,\"name\":\"n\",\"schema_version\":1,"
                        "\"time\":\"1970-01-01T00:00:00.000000Z\",\"content_type\":"
                        "\"application/json\",\"data\":{ }}");
    buf_clear(&b);
    codec_put_snapshot(&b, BYTES_LITERAL("s"), &s);
    Daybook__V1__Snapshot *m = daybook__v1__snapshot__unpack(NULL, b.n, b.p);
    assert_non_null(m);
    assert_true(m->revision == 2 && m->schema_version == 1 && m->data.len == 3);
    assert_string_equal(m->name, "n");
    daybook__v1__snapshot__free_unpacked(m, NULL);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_read_fields),
        cmocka_unit_test(test_json_read_refusals),
        cmocka_unit_test(test_codec_read),
        cmocka_unit_test(test_put_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
