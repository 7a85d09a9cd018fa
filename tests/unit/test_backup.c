/* Tests of server/backup.h: what is written is read back, and no bit of it changes unnoticed. The
 * rest: tests/http/test_backup.py. */
#include "server/backup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/record.h"

#define EVENTS_A_FRAME 3
#define FRAMES         3
#define TIME_US        INT64_C(1790000000000000)
#define CLOCK_US       INT64_C(1790000000123456)

static const uint8_t ID[UUID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void put_event(struct buf *b, uint64_t position)
{
    uint8_t encoded[512];
    struct record_draft record;
    const struct event_draft draft = {.type = BYTES_LITERAL("T"),
                                      .data = BYTES_LITERAL("{\"a\":\"some data\"}"),
                                      .id = bytes_of(ID, sizeof ID)};
    struct bytes stream = BYTES_LITERAL("s");
    assert_true(record_draft_bytes(stream, &draft) <= sizeof encoded);
    record_encode_draft(encoded, stream, &draft, &record);
    uint8_t *p = buf_reserve(b, RECORD_STAMP_BYTES_MAX + record.encoded.n);
    assert_non_null(p);
    buf_advance(b, record_stamp(p, &record, position, position, TIME_US + (int64_t)position));
}

static void make(struct buf *out)
{
    struct backup_writer w;
    buf_init(out, (size_t)1 << 20);
    backup_begin(&w, ID, TIME_US, out);
    for (uint64_t last = EVENTS_A_FRAME; last <= EVENTS_A_FRAME * FRAMES; last += EVENTS_A_FRAME) {
        for (uint64_t p = last - EVENTS_A_FRAME + 1; p <= last; p++) {
            put_event(&w.records, p);
        }
        backup_put_frame(&w, last, out);
    }
    backup_put_end(&w, CLOCK_US, out);
    backup_writer_done(&w);
    assert_int_equal(buf_status(out), ERR_OK);
}

/* ERR_OK: whole and sound. */
static err_t read_all(struct bytes file, struct backup_reader *r, struct err_text *et)
{
    struct backup_frame frame;
    FILE *f = fmemopen((void *)(uintptr_t)file.p, file.n, "rb");
    assert_non_null(f);
    err_t err = backup_open(r, f, et);
    while (err == ERR_OK) {
        err = backup_next(r, &frame, et);
        if (err == ERR_OK) {
            assert_int_equal(frame.first + frame.n - 1, r->position);
        }
    }
    fclose(f);
    backup_reader_done(r);
    return err == ERR_END ? ERR_OK : err;
}

/* All that was written comes back. */
static void test_backup_round_trip(void **state)
{
    (void)state;
    struct buf b;
    struct backup_reader r;
    struct err_text et = {0};
    make(&b);
    assert_int_equal(read_all(buf_bytes(&b), &r, &et), ERR_OK);
    assert_int_equal(r.position, EVENTS_A_FRAME * FRAMES);
    assert_int_equal(r.frames, FRAMES);
    assert_int_equal(r.offset, b.n);
    assert_int_equal(r.time_us, TIME_US);
    assert_int_equal(r.clock_us, CLOCK_US);
    assert_memory_equal(r.store_id, ID, sizeof ID);
    buf_done(&b);
}

/* Each bit of the file: changed, it is found, and the message says something. */
static void test_backup_every_bit(void **state)
{
    (void)state;
    struct buf b;
    make(&b);
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        struct backup_reader r;
        struct err_text et = {0};
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        err_t err = read_all(buf_bytes(&b), &r, &et);
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (err != ERR_CORRUPT || et.text[0] == '\0') {
            fail_msg("bit %zu of byte %zu: %s", bit % 8, bit / 8, err_name(err));
        }
    }
    buf_done(&b);
}

/* Each shorter file, and a longer one. */
static void test_backup_every_cut(void **state)
{
    (void)state;
    struct buf b;
    struct backup_reader r;
    make(&b);
    for (size_t n = 1; n < b.n; n++) {
        struct err_text et = {0};
        assert_int_equal(read_all(bytes_of(b.p, n), &r, &et), ERR_CORRUPT);
        assert_non_null(strstr(et.text, "cut short"));
    }
    struct err_text et = {0};
    buf_put_byte(&b, 0);
    assert_int_equal(read_all(buf_bytes(&b), &r, &et), ERR_CORRUPT);
    assert_non_null(strstr(et.text, "behind the end"));
    buf_done(&b);
}

/* A whole frame that is missing, doubled or out of its order is found, though each is sound. */
static void test_backup_frames_in_order(void **state)
{
    (void)state;
    struct buf b, bad;
    struct backup_reader r;
    make(&b);
    size_t at[FRAMES + 1] = {40};
    for (size_t i = 0; i < FRAMES; i++) {
        at[i + 1] = at[i] + 40 + bytes_get_u32le(b.p + at[i] + 32);
    }
    static const size_t orders[][4] = {{0, 2, 9, 9}, {0, 1, 1, 2}, {1, 0, 2, 9}, {0, 1, 9, 9}};
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        struct err_text et = {0};
        buf_init(&bad, (size_t)1 << 20);
        buf_put(&bad, bytes_of(b.p, at[0]));
        for (size_t i = 0; i < 4 && orders[o][i] < FRAMES; i++) {
            size_t f = orders[o][i];
            buf_put(&bad, bytes_of(b.p + at[f], at[f + 1] - at[f]));
        }
        buf_put(&bad, bytes_of(b.p + at[FRAMES], b.n - at[FRAMES]));
        assert_int_equal(read_all(buf_bytes(&bad), &r, &et), ERR_CORRUPT);
        buf_done(&bad);
    }
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backup_round_trip),
        cmocka_unit_test(test_backup_every_bit),
        cmocka_unit_test(test_backup_every_cut),
        cmocka_unit_test(test_backup_frames_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
