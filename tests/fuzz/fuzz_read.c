/* Parameters of reads, over HTTP to the whole server: the first byte of the input chooses the route
 * and the second the Accept header; then follow the query, up to a line's end, and what the client
 * says it has seen last. What a client may not say in a header or a query is percent-encoded.
 *
 * A read is answered, or refused with its reason, never with a 500; what says that it is JSON is
 * JSON. Reads that follow end when we have closed our side. */
#include "server/json.h"
#include "storage/base/check.h"
#include "tests/fuzz/server.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUIET_MS      60
#define QUERY_MAX     2000
#define REQUEST_BYTES 16384

static const char *const ROUTES[] = {
    "/v1/events",
    "/v1/streams/s-1/events",
    "/v1/streams",
    "/v1/categories",
    "/v1/types",
    "/v1/events/1",
    "/v1/streams/s-1/events/2",
    "/v1/streams/s-1",
    "/v1/projections",
    "/v1/projections/$counts/schema",
    "/v1/projections/$counts/errors",
    "/v1/streams/s-1/state",
    "/v1/streams/nobody/events",
    "/v1/status",
};

static const char *const ACCEPTS[] = {
    "application/json",
    "application/x-ndjson",
    "application/x-protobuf",
    "text/event-stream",
    "*/*;q=0.1, text/event-stream;q=0",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/cloudevents-batch+protobuf",
};

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

static const char FIRST[] =
    "POST /v1/events HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 217\r\n\r\n"
    "{\"appends\":[{\"stream\":\"s-1\",\"events\":[{\"type\":\"A\",\"data\":1,\"tags\":[\"t:1\"]},"
    "{\"type\":\"B\",\"data\":{\"a\":[1.10]}}]},{\"stream\":\"order-a-b\",\"events\":[{\"type\":"
    "\"A\","
    "\"data_base64\":\"AAE=\",\"content_type\":\"text/plain\"}]}]}          ";

static size_t put_text(char *to, struct bytes text, const char *kept)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n && i < QUERY_MAX; i++) {
        uint8_t c = text.p[i];
        if (c > ' ' && c < 0x7f && strchr(kept, c) == NULL) {
            to[n++] = (char)c;
        } else {
            n += (size_t)snprintf(to + n, 4, "%%%02X", c);
        }
    }
    return n;
}

static size_t put_request(char *request, const uint8_t *data, struct bytes query, struct bytes seen)
{
    size_t n = (size_t)snprintf(request, 128, "GET %s?", ROUTES[data[0] % COUNT_OF(ROUTES)]);
    n += put_text(request + n, query, "#");
    n += (size_t)snprintf(request + n, 128, " HTTP/1.0\r\nAccept: %s\r\n",
                          ACCEPTS[data[1] % COUNT_OF(ACCEPTS)]);
    if (seen.n > 0) {
        n += (size_t)snprintf(request + n, 32, "Last-Event-ID: ");
        n += put_text(request + n, seen, "");
        n += (size_t)snprintf(request + n, 3, "\r\n");
    }
    return n + (size_t)snprintf(request + n, 3, "\r\n");
}

static bool has(struct bytes header, const char *text)
{
    return memmem(header.p, header.n, text, strlen(text)) != NULL;
}

static bool is_json(struct bytes header)
{
    return has(header, "\r\nContent-Type: application/json\r\n") ||
           has(header, "\r\nContent-Type: application/problem+json\r\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char request[REQUEST_BYTES];
    if (size < 2) {
        return 0;
    }
    const uint8_t *end = memchr(data + 2, '\n', size - 2);
    size_t n = end == NULL ? size - 2 : (size_t)(end - data) - 2;
    struct bytes seen = end == NULL ? BYTES_NONE : bytes_of(end + 1, size - n - 3);
    n = put_request(request, data, bytes_of(data + 2, n), seen);
    bool closed;
    struct bytes header, body;
    struct bytes answer =
        server_exchange(bytes_of_string(FIRST), bytes_of(request, n), QUIET_MS, &closed);
    unsigned status = server_status(answer, &header, &body);
    if (status == 0) {
        CHECK(!closed || answer.n == 0); /* a client that has gone away while it waited */
        return 0;
    }
    CHECK(status == 200 || status == 304 || (status >= 400 && status < 500) || status == 503);
    CHECK(has(header, "\r\nDaybook-Position: "));
    if (closed && is_json(header)) {
        char detail[JSON_DETAIL_MAX];
        CHECK(json_check(body, status >= 400, detail)); /* of an event in binary mode: any value */
        CHECK(status == 200 || has(body, "urn:daybook:problem:"));
    }
    return 0;
}
