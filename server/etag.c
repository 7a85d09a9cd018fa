/* etag: comparing and sending entity tags. */
#include "server/etag.h"

#include <stdio.h>

#define NUMBER_BYTES 24

/* The number in quotes, with a terminator that is not counted; by hand, since it is on the append's
 * path. */
static struct bytes format(uint64_t number, char room[NUMBER_BYTES])
{
    char *at = room + NUMBER_BYTES;
    *--at = '\0';
    *--at = '"';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    *--at = '"';
    return bytes_of(at, (size_t)(room + NUMBER_BYTES - 1 - at));
}

void etag_set(struct http_request *rq, uint64_t number)
{
    char room[NUMBER_BYTES];
    http_reply_header(rq, "ETag", (const char *)format(number, room).p);
}

bool etag_is_known(struct http_request *rq, uint64_t number)
{
    struct bytes list = http_header(rq, "If-None-Match");
    return list.p != NULL && etag_list_has(list, number);
}

void etag_reply_not_modified(struct http_request *rq, uint64_t position)
{
    char room[NUMBER_BYTES];
    struct buf none;
    snprintf(room, sizeof room, "%llu", (unsigned long long)position);
    http_reply_header(rq, "Daybook-Position", room);
    buf_init(&none, 1);
    http_reply(rq, 304, NULL, &none);
}

bool etag_list_has(struct bytes list, uint64_t number)
{
    char room[NUMBER_BYTES];
    return etag_list_has_text(list, format(number, room));
}

bool etag_list_has_text(struct bytes list, struct bytes wanted)
{
    if (bytes_equal(list, BYTES_LITERAL("*"))) {
        return true;
    }
    while (list.n > 0) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        struct bytes tag = bytes_of(list.p, comma == NULL ? list.n : (size_t)(comma - list.p));
        size_t taken = tag.n + (comma != NULL);
        list = bytes_of(list.p + taken, list.n - taken);
        while (tag.n > 0 && (tag.p[0] == ' ' || tag.p[0] == '\t')) {
            tag.p++, tag.n--;
        }
        while (tag.n > 0 && (tag.p[tag.n - 1] == ' ' || tag.p[tag.n - 1] == '\t')) {
            tag.n--;
        }
        if (bytes_have_prefix(tag, BYTES_LITERAL("W/"))) {
            tag.p += 2, tag.n -= 2;
        }
        if (bytes_equal(tag, wanted)) {
            return true;
        }
    }
    return false;
}
