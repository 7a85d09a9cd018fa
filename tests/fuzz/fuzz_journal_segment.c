/* fuzz_journal_segment: any bytes as a segment in memory: every group found lies inside it, and a
 * search finds what reading finds. */
#include "storage/journal_segment.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_group(struct bytes file, uint64_t at, struct bytes records)
{
    uint64_t end = at + JOURNAL_GROUP_HEADER_BYTES + records.n;
    if (records.p != file.p + at + JOURNAL_GROUP_HEADER_BYTES || end > file.n) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes file = bytes_of(data, size), records;
    struct segment_header segment = {.base = 0, .size = size, .salt = 7};
    struct group_header header;
    uint64_t found, first = UINT64_MAX;
    for (uint64_t at = 0; at <= size + 8; at += 8) {
        if (segment_read_group(file, &segment, at, &header, &records)) {
            check_group(file, at, records);
            first = first == UINT64_MAX ? at : first;
            if (header.offset != at || header.count == 0 || header.first_position == 0) {
                abort();
            }
        }
    }
    bool any = segment_find_group(file, &segment, 0, &found);
    if (any != (first != UINT64_MAX) || (any && found != first)) {
        abort();
    }
    return 0;
}
