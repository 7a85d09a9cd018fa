/* fuzz_record: any bytes as a record and as a body: an error or fields inside the bytes. */
#include "storage/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct bytes field, struct bytes whole)
{
    if (field.n > 0 && (field.p < whole.p || field.p + field.n > whole.p + whole.n)) {
        abort();
    }
}

static void decode(struct bytes body)
{
    struct event event;
    if (record_decode(1, body, &event) != ERR_OK) {
        return;
    }
    const struct bytes fields[] = {event.stream,       event.id,       event.type,       event.data,
                                   event.content_type, event.metadata, event.occurred_at};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        check_inside(fields[i], body);
    }
    for (uint32_t i = 0; i < event.tag_count; i++) {
        check_inside(event.tags[i], body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes at = bytes_of(data, size), body;
    uint32_t flags;
    if (record_check(at, 1, &body, &flags) == ERR_OK) {
        check_inside(body, at);
        decode(body);
    }
    decode(at);
    if (size > RECORD_HEADER_BYTES) {
        decode(bytes_of(data + RECORD_HEADER_BYTES, size - RECORD_HEADER_BYTES));
    }
    return 0;
}
