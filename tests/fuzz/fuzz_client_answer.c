/* fuzz_client_answer: any bytes as the answer to a read, as the client library takes it apart: the
 * same fields whether it comes at once or byte by byte, none outside what came, and of an event
 * that unpacks every string can be read. */
#include "clients/c/client_int.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* A part wants more than there is; of a whole field the same is seen however much is behind it. */
static void check_pieces(const uint8_t *p, size_t have, const struct daybook_field *whole)
{
    struct daybook_field field;
    size_t all = whole->size < have ? whole->size : have;
    for (size_t n = 0; n < all; n++) {
        enum daybook_front front = daybook_front_look(p, n, &field);
        check(front == DAYBOOK_FRONT_PART && field.size > n && field.size <= whole->size);
    }
    check(daybook_front_look(p, whole->size, &field) == DAYBOOK_FRONT_FIELD);
    check(field.number == whole->number && field.bytes.n == whole->bytes.n);
}

static void check_event(struct daybook_bytes packed)
{
    struct daybook_arena arena = {0};
    struct daybook_event e;
    if (daybook_event_unpack(&arena, packed, &e)) {
        size_t n = strlen(e.stream) + strlen(e.type) + strlen(e.content_type) + e.data.n;
        for (size_t i = 0; i < e.tags_n; i++) {
            n += strlen(e.tags[i]);
        }
        check(n <= packed.n + strlen("application/json"));
    }
    daybook_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct daybook_field field;
    size_t at = 0;
    while (daybook_front_look(data + at, size - at, &field) == DAYBOOK_FRONT_FIELD) {
        const uint8_t *p = field.bytes.p;
        check(field.size <= size - at && p >= data + at && p + field.bytes.n <= data + size);
        if (field.size < 4096) {
            check_pieces(data + at, size - at, &field);
        }
        if (field.number == DAYBOOK_FIELD_EVENTS) {
            check_event(field.bytes);
        }
        at += field.size;
    }
    return 0;
}
