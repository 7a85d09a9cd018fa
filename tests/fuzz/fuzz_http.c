/* Raw bytes on a connection of the whole server, with libmicrohttpd and all threads: whatever
 * comes, the answer is HTTP, never a 500, and the server goes on serving others. */
#include "storage/base/check.h"
#include "tests/fuzz/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nobody waits longer for what may be a long poll, or a request that is not whole. */
#define QUIET_MS 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool closed;
    struct bytes header, body;
    struct bytes first =
        BYTES_LITERAL("POST /v1/streams/s-1/events HTTP/1.0\r\n"
                      "Content-Type: application/json\r\nContent-Length: 51\r\n\r\n"
                      "{\"events\":[{\"type\":\"A\",\"data\":1},{\"type\":\"B\"    }]}");
    struct bytes answer = server_exchange(first, bytes_of(data, size), QUIET_MS, &closed);
    unsigned status = server_status(answer, &header, &body);
    CHECK(status != 500);
    return 0;
}
