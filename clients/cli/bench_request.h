/* bench_request: requests that are made once and then patched: stream, expectation, event numbers.
 *
 * One thread. A request owns its bytes; patching it never allocates. Streams are called
 * "order-<n>", with numbers of the same length so that they fit in each other's place. */
#ifndef DAYBOOK_BENCH_REQUEST_H
#define DAYBOOK_BENCH_REQUEST_H

#include "clients/c/buffer.h"

#define BENCH_BATCH_MAX   10000
#define BENCH_PAYLOAD_MIN 2
#define BENCH_PAYLOAD_MAX 1000000
#define BENCH_STREAMS_MAX 1000000

/* What the requests of a run have in common. */
struct bench_shape {
    const char *host, *prefix; /* see bench_load */
    const char *path;          /* instead of the route for appends; NULL: none */
    uint64_t batch, payload, streams;
    bool exact, protobuf, ids;
    bool tagged;    /* one event with two tags, as POST /v1/events; JSON, without expectation */
    bool condition; /* of tagged: under the condition that nothing of its type has both tags */
};

struct bench_template {
    struct daybook_buffer bytes; /* head, events, then room for the expectation */
    size_t stream_at;            /* where the digits of the stream's number are; 0: nowhere */
    unsigned digits;             /* how many */
    uint64_t stream_base;        /* number of the first stream */
    size_t length_at;            /* of the digits of Content-Length */
    size_t body_at, tail_at;     /* of the body, and of what is behind the events */
    size_t number_at;            /* in the first event: the digits of its number; 0: nowhere */
    size_t id_at;                /* in the first event: the counter in its id; 0: nowhere */
    size_t stride;               /* from one event to the next */
    size_t places[5]; /* of tagged: more digits of the stream's number, all of them or the last */
    size_t place_n[5];
    size_t place_count;
    size_t after_at; /* of condition: where its position is; 0: nowhere */
    uint64_t batch;
    bool exact, protobuf;
};

/* Both: 0 streams' numbers and expectation until patched. False: no memory. bench_template_done
 * takes a template in any case. */
bool bench_append_init(struct bench_template *t, const struct bench_shape *shape);
/* GET of `path`, in which a '*' stands for the stream's number. */
bool bench_get_init(struct bench_template *t, const struct bench_shape *shape, const char *path,
                    const char *accept);
void bench_template_done(struct bench_template *t);

void bench_patch_stream(struct bench_template *t, uint64_t stream);
/* The events' numbers, which their ids come from as well: first, first + 1, ... */
void bench_patch_events(struct bench_template *t, uint64_t first);
/* The position after which the condition looks; only where there is one. */
void bench_patch_after(struct bench_template *t, uint64_t position);
/* What the stream's head is expected to be; only where the shape is exact. */
void bench_patch_expected(struct bench_template *t, uint64_t head);

#endif
