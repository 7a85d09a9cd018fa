/* fuzz_life: any bytes as a life, a redaction and a body to be redacted or taken away: an error, or
 * what is read comes out the same when it is written again. */
#include "storage/life.h"
#include "storage/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void life(struct bytes message)
{
    struct life a, b;
    if (life_decode(message, &a) != ERR_OK) {
        return;
    }
    size_t n = life_encoded_bytes(&a);
    uint8_t *p = malloc(n);
    expect(p != NULL && (size_t)(life_encode(p, &a) - p) == n);
    expect(life_decode(bytes_of(p, n), &b) == ERR_OK);
    expect(bytes_equal(a.stream, b.stream) && bytes_equal(a.custom, b.custom) &&
           a.floor == b.floor && a.max_count == b.max_count && a.max_age_s == b.max_age_s &&
           a.truncate_before == b.truncate_before && a.deleted_head == b.deleted_head &&
           a.tombstoned == b.tombstoned);
    uint64_t first = life_first(&a, 100);
    expect(first >= 1 && first <= 101);
    expect(life_expiry_us(&a, 1000) <= 1000);
    free(p);
}

static void redaction(struct bytes message)
{
    struct redaction a, b;
    if (redaction_decode(message, &a) != ERR_OK) {
        return;
    }
    size_t n = redaction_encoded_bytes(&a);
    uint8_t *p = malloc(n);
    expect(p != NULL && (size_t)(redaction_encode(p, &a) - p) == n);
    expect(redaction_decode(bytes_of(p, n), &b) == ERR_OK);
    expect(a.position == b.position && a.revision == b.revision && bytes_equal(a.reason, b.reason));
    free(p);
}

/* An event's body made into what reclaim leaves of it. */
static void rest_of(struct bytes body)
{
    struct event before, after;
    uint32_t flags;
    if (record_decode(7, body, &before) != ERR_OK) {
        return;
    }
    size_t room = RECORD_HEADER_BYTES + body.n + RECORD_REDACTED_BYTES;
    uint8_t *p = malloc(room);
    expect(p != NULL);
    if (record_make_redacted(body, 0, 7, p) == ERR_OK) {
        struct bytes rest;
        expect(record_size(p) <= room);
        expect(record_check(bytes_of(p, record_size(p)), 7, &rest, &flags) == ERR_OK);
        expect(record_decode(7, rest, &after) == ERR_OK && after.redacted);
        expect(after.data.n == 0 && after.metadata.n == 0 && after.tag_count == before.tag_count);
    }
    if (record_make_gone(body, 0, 7, p) == ERR_OK) {
        struct bytes rest;
        expect(record_check(bytes_of(p, record_size(p)), 7, &rest, &flags) == ERR_OK);
        expect(record_decode_stored(7, rest, flags, &after) == ERR_OK);
        expect(after.type.n == 0 && after.data.n == 0 && after.revision > 0);
    }
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes all = bytes_of(data, size);
    life(all);
    redaction(all);
    rest_of(all);
    return 0;
}
