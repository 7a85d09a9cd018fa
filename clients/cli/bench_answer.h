/* bench_answer: reads one HTTP/1.1 answer from bytes as they come, and counts the events in it.
 *
 * Minimal and cheap: it knows the status, Content-Length, chunked and `Connection: close`, keeps
 * the first bytes of the body and counts; it builds nothing and allocates nothing. One thread. */
#ifndef DAYBOOK_BENCH_ANSWER_H
#define DAYBOOK_BENCH_ANSWER_H

#include "bench_feed.h"
#include "bench_leases.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_HEAD_MAX 8192 /* of an answer's head that comes in pieces */
#define BENCH_TEXT_MAX 512  /* of the body that is kept */

/* How events are counted. */
enum bench_count {
    BENCH_COUNT_NONE,
    BENCH_COUNT_LINES,  /* NDJSON: the ends of lines */
    BENCH_COUNT_FIELDS, /* EventBatch: its top-level fields */
    BENCH_COUNT_JSON,   /* a page: how often "position": comes up; slow, for samples */
    BENCH_COUNT_SSE,    /* a live read, as `feed` says */
    BENCH_COUNT_FEED,   /* the same in NDJSON */
    BENCH_COUNT_LEASES, /* the answer to a fetch: its leases */
};

enum bench_answer_state {
    BENCH_ANSWER_HEAD,
    BENCH_ANSWER_BODY,       /* `left` bytes of it to come */
    BENCH_ANSWER_CHUNK_SIZE, /* within the line with the size of a chunk */
    BENCH_ANSWER_CHUNK,      /* `left` bytes of a chunk to come */
    BENCH_ANSWER_CHUNK_END,  /* its CRLF */
    BENCH_ANSWER_TRAILER,    /* lines up to an empty one */
    BENCH_ANSWER_DONE,
    BENCH_ANSWER_BROKEN,
};

struct bench_answer {
    enum bench_answer_state state;
    enum bench_count count;
    unsigned status;
    bool chunked;
    bool close; /* the server will close the connection */
    uint64_t left;
    uint64_t body_bytes;
    uint64_t events;
    /* Where a count stands between two pieces. */
    uint64_t field_left;  /* bytes of a field's value to come */
    uint64_t varint;      /* of the length that is being read */
    unsigned varint_bits; /* read of it so far */
    bool in_length;       /* the tag is read, the length is not */
    unsigned matched;     /* bytes of "position": */
    unsigned line;        /* bytes in the line of a chunk's size or of a trailer */
    bool in_extension;    /* behind the digits of a chunk's size */
    struct bench_feed feed;
    struct bench_leases *leases; /* of BENCH_COUNT_LEASES; borrowed, set after the reset */
    size_t text_n, head_n;
    char text[BENCH_TEXT_MAX + 1]; /* the first of the body, and a NUL */
    char head[BENCH_HEAD_MAX];
};

/* For the next answer. */
void bench_answer_reset(struct bench_answer *a, enum bench_count count);
/* Takes bytes until they or the answer end; returns how many it took. `state` says where it
 * stands. */
size_t bench_answer_feed(struct bench_answer *a, const char *p, size_t n);

#endif
