/* bench_load: connections to one server, each with one request outstanding, driven by epoll in the
 * calling thread.
 *
 * Not libcurl: its bookkeeping for a transfer costs more than the whole exchange does here, and the
 * load generator shares the machine with what it measures. An exchange is one send, one recv and
 * one reading of the clock; nothing is allocated once the connections are open.
 *
 * What is sent is up to a job. Where something stops a run (the server cannot be reached, goes
 * away, or says nothing for long), it is reported with cli_error and the call returns false. */
#ifndef DAYBOOK_BENCH_LOAD_H
#define DAYBOOK_BENCH_LOAD_H

#include "bench_answer.h"
#include "bench_hist.h"

#define BENCH_CONNECTIONS_MAX 20000

struct bench_load;

/* Bytes to send; they stay as they are until the request's answer is there. */
struct bench_request {
    const uint8_t *p;
    size_t n;
    enum bench_count count; /* of events in the answer */
    uint64_t due_ns;        /* when it was to begin, from which its latency counts; 0: now */
};

/* What a run does on its connections. */
struct bench_job {
    void *context;
    /* The next request of a connection; false: it has none any more. */
    bool (*next)(void *context, size_t connection, uint64_t now_ns, struct bench_request *ret);
    /* The answer to it. May set its `events`. Returns whether it is what was to come. */
    bool (*done)(void *context, size_t connection, struct bench_answer *answer);
    /* A part of an answer that goes on. NULL: nobody asks. */
    void (*part)(void *context, size_t connection, const struct bench_answer *answer);
    /* Where the leases in an answer go (BENCH_COUNT_LEASES). NULL: no answer has any. */
    struct bench_leases *(*leases)(void *context, size_t connection);
    /* Whether the run is over, whatever is under way. NULL: not before nothing is. */
    bool (*over)(void *context, uint64_t now_ns);
    /* When to ask connections without a request for their next one again; UINT64_MAX: never. NULL:
     * never. */
    uint64_t (*wake_ns)(void *context);
};

/* What came of a run. {0} at first; runs add up. */
struct bench_stats {
    struct bench_hist latency;           /* of the requests that were answered well */
    struct bench_hist delivery;          /* from an append's answer to its event at a follower */
    uint64_t requests, events;           /* answered well, and what was in them */
    uint64_t bytes_sent, bytes_received; /* with HTTP's heads */
    uint64_t statuses[600];              /* of the other answers */
    uint64_t lost;   /* connections that ended, or broke the protocol, before an answer */
    uint64_t failed; /* all of these together */
    char failure[BENCH_TEXT_MAX + 1]; /* body of the first other answer */
    double seconds;
};

uint64_t bench_now_ns(void);

/* Opens the connections to "http://host[:port][/prefix]"; raises the limit of open files for
 * them. */
bool bench_load_open(const char *url, size_t connections, struct bench_load **ret);
void bench_load_close(struct bench_load *load);
/* How long to go on asking for answers before the thread sleeps; 0 at first. Sleeping costs the
 * other side a wake-up for each answer, where a client that is faster than the server sleeps every
 * time; asking takes processor time from a server that could use it. */
void bench_load_set_spin(struct bench_load *load, uint64_t spin_us);
size_t bench_load_connections(const struct bench_load *load);
/* Whether a request of this connection is under way. */
bool bench_load_is_busy(const struct bench_load *load, size_t connection);
/* For the header Host, and for the front of every path ("" where there is none). Borrowed. */
const char *bench_load_host(const struct bench_load *load);
const char *bench_load_prefix(const struct bench_load *load);
/* Until no connection has a request any more, or the job says so, or Ctrl-C: what is under way then
 * does not count. It goes on in the next run. */
bool bench_load_run(struct bench_load *load, const struct bench_job *job,
                    struct bench_stats *stats);

#endif
