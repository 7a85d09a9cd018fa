/* Tests of storage/record.c, held against protobuf-c's own parser. */
#include "storage/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daybook/v1/events.pb-c.h"
#include "storage/base/buf.h"
#include "storage/wire.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define RECORD_MAX 4096

struct sample {
    struct event_draft draft;
    struct bytes tags[EVENT_TAGS_MAX];
    uint8_t id[UUID_BYTES];
    uint8_t text[2048];
    struct bytes stream;
    uint64_t position, revision;
    int64_t time_us;
};

static struct bytes random_bytes(struct sample *s, size_t *used, size_t most, uint64_t *random)
{
    size_t n = test_below(random, most + 1);
    uint8_t *p = s->text + *used;
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)('a' + test_below(random, 26));
    }
    *used += n;
    return bytes_of(p, n);
}

/* Numbers of every length in bits. */
static uint64_t random_number(uint64_t *random, unsigned bits)
{
    return test_random(random) >> (64 - 1 - test_below(random, bits));
}

static void random_sample(struct sample *s, uint64_t *random)
{
    size_t used = 1;
    *s = (struct sample){.position = 1 + random_number(random, 60),
                         .revision = 1 + random_number(random, 60),
                         .time_us = (int64_t)random_number(random, 62)};
    s->time_us = test_below(random, 8) == 0 ? -s->time_us : s->time_us;
    s->text[0] = test_below(random, 4) == 0 ? '$' : 's';
    test_id(test_random(random), s->id);
    s->stream = random_bytes(s, &used, 200, random);
    s->stream = bytes_of(s->stream.p - 1, s->stream.n + 1);
    s->draft.id = bytes_of(s->id, UUID_BYTES);
    s->draft.type = random_bytes(s, &used, 100, random);
    s->draft.type = s->draft.type.n == 0 ? BYTES_LITERAL("$t") : s->draft.type;
    s->draft.data = random_bytes(s, &used, 300, random);
    s->draft.content_type = random_bytes(s, &used, 40, random);
    s->draft.metadata = random_bytes(s, &used, 60, random);
    s->draft.occurred_at = random_bytes(s, &used, 30, random);
    s->draft.schema_version = (uint32_t)random_number(random, 32);
    s->draft.tag_count = (uint32_t)test_below(random, EVENT_TAGS_MAX + 1);
    s->draft.tags = s->tags;
    for (uint32_t i = 0; i < s->draft.tag_count; i++) {
        s->tags[i] = random_bytes(s, &used, 10, random);
    }
}

static size_t make_record(const struct sample *s, uint8_t record[RECORD_MAX])
{
    uint8_t encoded[RECORD_MAX];
    struct record_draft draft;
    size_t n = record_draft_bytes(s->stream, &s->draft);
    assert_true(n + RECORD_STAMP_BYTES_MAX <= RECORD_MAX);
    record_encode_draft(encoded, s->stream, &s->draft, &draft);
    assert_int_equal(draft.encoded.n, n);
    return record_stamp(record, &draft, s->position, s->revision, s->time_us);
}

static bool is_system(const struct sample *s)
{
    return event_name_is_system(s->stream) || event_name_is_system(s->draft.type);
}

static void expect_text(const char *got, struct bytes want)
{
    assert_true(bytes_equal(bytes_of_string(got), want));
}

/* protobuf-c reads position and body as one Event. */
static void compare_with_protobuf(const struct sample *s, struct bytes body)
{
    struct buf b;
    buf_init(&b, RECORD_MAX);
    buf_put_byte(&b, 1 << 3);
    buf_put_varint(&b, s->position);
    buf_put(&b, body);
    Daybook__V1__Event *e = daybook__v1__event__unpack(NULL, b.n, b.p);
    assert_non_null(e);
    assert_int_equal(e->position, s->position);
    assert_int_equal(e->revision, s->revision);
    assert_int_equal(e->time_us, s->time_us);
    expect_text(e->stream, s->stream);
    assert_true(bytes_equal(bytes_of(e->id.data, e->id.len), s->draft.id));
    expect_text(e->type, s->draft.type);
    assert_true(bytes_equal(bytes_of(e->data.data, e->data.len), s->draft.data));
    expect_text(e->content_type, s->draft.content_type);
    assert_true(bytes_equal(bytes_of(e->metadata.data, e->metadata.len), s->draft.metadata));
    expect_text(e->occurred_at, s->draft.occurred_at);
    assert_int_equal(e->schema_version, s->draft.schema_version);
    assert_int_equal(e->n_tags, s->draft.tag_count);
    for (uint32_t i = 0; i < s->draft.tag_count; i++) {
        expect_text(e->tags[i], s->tags[i]);
    }
    assert_int_equal(e->base.n_unknown_fields, 0);
    daybook__v1__event__free_unpacked(e, NULL);
    buf_done(&b);
}

static void compare_with_event(const struct sample *s, const struct event *e)
{
    assert_int_equal(e->position, s->position);
    assert_int_equal(e->revision, s->revision);
    assert_int_equal(e->time_us, s->time_us);
    assert_true(bytes_equal(e->stream, s->stream));
    assert_true(bytes_equal(e->id, s->draft.id));
    assert_true(bytes_equal(e->type, s->draft.type));
    assert_true(bytes_equal(e->data, s->draft.data));
    assert_true(bytes_equal(e->content_type, s->draft.content_type));
    assert_true(bytes_equal(e->metadata, s->draft.metadata));
    assert_true(bytes_equal(e->occurred_at, s->draft.occurred_at));
    assert_int_equal(e->schema_version, s->draft.schema_version);
    assert_int_equal(e->tag_count, s->draft.tag_count);
    for (uint32_t i = 0; i < e->tag_count; i++) {
        assert_true(bytes_equal(e->tags[i], s->tags[i]));
    }
}

/* What is encoded and stamped reads back the same, with our decoder and with protobuf-c's. */
static void test_record_stamp_round_trip(void **state)
{
    (void)state;
    static struct sample s;
    uint64_t random = test_seed();
    for (int i = 0; i < 3000; i++) {
        uint8_t record[RECORD_MAX];
        struct bytes body;
        struct event event;
        uint32_t flags;
        size_t size;
        random_sample(&s, &random);
        size_t n = make_record(&s, record);
        assert_int_equal(record_size(record), n);
        assert_int_equal(record_measure(bytes_of(record, RECORD_MAX), &size), ERR_OK);
        assert_int_equal(size, n);
        assert_int_equal(record_check(bytes_of(record, n), s.position, &body, &flags), ERR_OK);
        assert_int_equal(flags, is_system(&s) ? RECORD_SYSTEM : 0);
        assert_int_equal(record_decode(s.position, body, &event), ERR_OK);
        compare_with_event(&s, &event);
        compare_with_protobuf(&s, body);
    }
}

/* Every single flipped bit of a record is noticed. */
static void test_record_check_every_bit(void **state)
{
    (void)state;
    static struct sample s;
    uint8_t record[RECORD_MAX];
    uint64_t random = test_seed();
    random_sample(&s, &random);
    size_t n = make_record(&s, record);
    for (size_t bit = 0; bit < n * 8; bit++) {
        struct bytes body;
        uint32_t flags;
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(record_check(bytes_of(record, n), s.position, &body, &flags), ERR_CORRUPT);
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* A whole record in the wrong place is a damaged one. */
static void test_record_check_wrong_position(void **state)
{
    (void)state;
    static struct sample s;
    uint8_t record[RECORD_MAX];
    struct bytes body;
    uint32_t flags;
    uint64_t random = test_seed();
    random_sample(&s, &random);
    size_t n = make_record(&s, record);
    for (int bit = 0; bit < 64; bit++) {
        uint64_t position = s.position ^ (uint64_t)1 << bit;
        assert_int_equal(record_check(bytes_of(record, n), position, &body, &flags), ERR_CORRUPT);
    }
}

/* A record cut anywhere is noticed. */
static void test_record_check_cut(void **state)
{
    (void)state;
    static struct sample s;
    uint8_t record[RECORD_MAX];
    struct bytes body;
    uint32_t flags;
    size_t size;
    uint64_t random = test_seed();
    random_sample(&s, &random);
    size_t n = make_record(&s, record);
    for (size_t cut = 0; cut < n; cut++) {
        struct bytes at = bytes_of(record, cut);
        assert_int_equal(record_check(at, s.position, &body, &flags), ERR_CORRUPT);
        assert_int_equal(record_measure(at, &size), ERR_CORRUPT);
    }
}

/* A body that is cut or garbled decodes to an error or to fields inside the body, never beyond. */
static void test_record_decode_garbage(void **state)
{
    (void)state;
    static struct sample s;
    uint8_t record[RECORD_MAX];
    struct event event;
    uint64_t random = test_seed();
    for (int i = 0; i < 20000; i++) {
        if (i % 100 == 0) {
            random_sample(&s, &random);
        }
        size_t n = make_record(&s, record) - RECORD_HEADER_BYTES;
        uint8_t *exact = malloc(n);
        assert_non_null(exact);
        memcpy(exact, record + RECORD_HEADER_BYTES, n);
        for (uint64_t k = test_below(&random, 4); k > 0; k--) {
            exact[test_below(&random, n)] = (uint8_t)test_random(&random);
        }
        size_t cut = test_below(&random, n + 1);
        err_t err = record_decode(s.position, bytes_of(exact, cut), &event);
        assert_true(err == ERR_OK || err == ERR_CORRUPT);
        if (err == ERR_OK && event.data.n > 0) {
            assert_true(event.data.p >= exact && event.data.p + event.data.n <= exact + cut);
        }
        free(exact);
    }
}

/* Fields that must be there are missed. */
static void test_record_decode_missing_fields(void **state)
{
    (void)state;
    struct event event;
    static const uint8_t ONLY_REVISION[] = {0x10, 1};
    static const uint8_t UNKNOWN_FIELD[] = {0x10, 1, 0x68, 1};
    static const uint8_t LONG_VARINT[] = {0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0xff, 1};
    assert_int_equal(record_decode(1, BYTES_NONE, &event), ERR_CORRUPT);
    assert_int_equal(record_decode(1, bytes_of(ONLY_REVISION, 2), &event), ERR_CORRUPT);
    assert_int_equal(record_decode(1, bytes_of(UNKNOWN_FIELD, 4), &event), ERR_CORRUPT);
    assert_int_equal(record_decode(1, bytes_of(LONG_VARINT, 13), &event), ERR_CORRUPT);
}

/* Appends revision, time and stream, with one of the three of another number or kind. */
static struct bytes head_with(uint8_t body[64], int wrong, bool wrong_kind)
{
    static const unsigned FIELDS[] = {2, 3, 4}; /* revision, time_us, stream: events.proto */
    uint8_t *p = body;
    for (int i = 0; i < 3; i++) {
        bool is_bytes = (i == 2) != (i == wrong && wrong_kind);
        unsigned field = FIELDS[i] + (i == wrong && !wrong_kind ? 9 : 0);
        p = is_bytes ? wire_put_bytes(p, field, BYTES_LITERAL("s"), NULL)
                     : wire_put_number(p, field, 7);
    }
    return bytes_of(body, (size_t)(p - body));
}

/* A head is taken only from a record that begins as ours do. */
static void test_record_peek_refuses(void **state)
{
    (void)state;
    uint8_t body[64];
    struct record_head head;
    struct bytes whole = head_with(body, -1, false);
    assert_int_equal(record_peek(whole, &head), ERR_OK);
    assert_true(head.revision == 7 && head.time_us == 7 && head.stream.n == 1);
    for (size_t cut = 0; cut < whole.n; cut++) {
        assert_int_equal(record_peek(bytes_of(body, cut), &head), ERR_CORRUPT);
    }
    for (int wrong = 0; wrong < 3; wrong++) {
        assert_int_equal(record_peek(head_with(body, wrong, true), &head), ERR_CORRUPT);
        assert_int_equal(record_peek(head_with(body, wrong, false), &head), ERR_CORRUPT);
    }
}

/* What reclaim left of an event has revision, time and stream, and nothing of what was taken away.
 */
static void test_record_decode_gone(void **state)
{
    (void)state;
    static struct sample s;
    uint8_t record[RECORD_MAX], body[64], out[RECORD_MAX];
    struct event event;
    size_t n;
    uint64_t random = test_seed();
    struct bytes bare = head_with(body, -1, false);
    assert_int_equal(record_decode_stored(3, bare, RECORD_GONE, &event), ERR_OK);
    assert_true(event.position == 3 && event.revision == 7);
    assert_int_equal(record_decode_stored(3, bare, 0, &event), ERR_CORRUPT);
    random_sample(&s, &random);
    struct bytes full =
        bytes_of(record + RECORD_HEADER_BYTES, make_record(&s, record) - RECORD_HEADER_BYTES);
    assert_int_equal(record_decode_stored(s.position, full, 0, &event), ERR_OK);
    assert_int_equal(record_decode_stored(s.position, full, RECORD_GONE, &event), ERR_CORRUPT);
    static const uint8_t CUT[] = {0x10};
    assert_int_equal(record_redact(bytes_of(CUT, 1), out, &n), ERR_CORRUPT);
    assert_int_equal(record_redact(full, out, &n), ERR_OK);
    assert_int_equal(record_decode(s.position, bytes_of(out, n), &event), ERR_OK);
    assert_true(event.redacted && event.data.n == 0 && event.metadata.n == 0);
}

/* The fingerprint is a function of the whole id: it is stored. */
static void test_record_id_print_is_stable(void **state)
{
    (void)state;
    uint8_t id[UUID_BYTES] = {0};
    uint16_t zero = record_id_print(id);
    assert_int_equal(zero, record_id_print(id));
    for (size_t i = 0; i < UUID_BYTES; i++) {
        id[i] = 1;
        assert_int_not_equal(record_id_print(id), zero);
        id[i] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_stamp_round_trip),
        cmocka_unit_test(test_record_check_every_bit),
        cmocka_unit_test(test_record_check_wrong_position),
        cmocka_unit_test(test_record_check_cut),
        cmocka_unit_test(test_record_decode_garbage),
        cmocka_unit_test(test_record_decode_missing_fields),
        cmocka_unit_test(test_record_peek_refuses),
        cmocka_unit_test(test_record_decode_gone),
        cmocka_unit_test(test_record_id_print_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
