/* workload: a store whose whole content follows from a seed: what each command is, and the event at
 * each position. So any store that was written with it can be checked by itself. */
#ifndef DAYBOOK_TESTS_MODEL_WORKLOAD_H
#define DAYBOOK_TESTS_MODEL_WORKLOAD_H

#include "storage/maintenance.h"
#include "storage/store.h"

#define WORKLOAD_STREAMS      12
#define WORKLOAD_REDACTED_MAX 512

enum workload_kind {
    WORKLOAD_APPEND,
    WORKLOAD_LIMIT,    /* max_count */
    WORKLOAD_TRUNCATE, /* truncate_before */
    WORKLOAD_DELETE,
    WORKLOAD_REDACT,
};

struct workload_stream {
    uint64_t head, first, max_count; /* first: the first revision that can be read, as far as
                                        max_count does not say it */
    bool deleted;
};

/* The state after the commands up to `position`. */
struct workload {
    uint64_t seed, position;
    struct workload_stream streams[WORKLOAD_STREAMS];
    struct {
        size_t stream;
        uint64_t revision;
    } redacted[WORKLOAD_REDACTED_MAX];
    size_t redacted_count;
    err_t refused; /* see workload_commit */
};

/* A command: its events are `start` to `start + events - 1`. */
struct workload_command {
    uint64_t start, events, value;
    enum workload_kind kind;
    size_t stream; /* of what is not an append */
};

/* At the beginning, or as it is at the command that ends at or after `position`. */
void workload_init(struct workload *w, uint64_t seed);
void workload_init_at(struct workload *w, uint64_t seed, uint64_t position);
/* What comes next, and the state after it. */
struct workload_command workload_next(struct workload *w);
/* Commits up to `commands` commands as one group; before it does, calls `submitted` (may be NULL)
 * with the position that they may bring. What is committed is in `w` afterwards. Returns the error
 * of store_commit; `w->refused` is that of a command which could not be done now, or ERR_OK. */
err_t workload_commit(struct store *s, struct workload *w, size_t commands,
                      void (*submitted)(uint64_t position));
/* What stands at a position after all commands. */
struct workload_event {
    size_t stream;
    uint64_t revision;
    bool life; /* an event of the system's, about a life */
    bool visible, redacted;
};

/* For the positions 1 to `position`, which is the end of a command: free() it. */
struct workload_event *workload_events(uint64_t seed, uint64_t position);
/* Whether `e` is what stands at its position. */
bool workload_is(uint64_t seed, const struct workload_event *events, const struct event *e);
const char *workload_stream_name(size_t stream, char ret[16]);

/* NULL where `s` holds exactly the events up to its position, which is the end of a command, shows
 * those that are to be seen, the same one by one and by stream, and none that is not; else what is
 * wrong, in a static buffer. */
const char *workload_check(struct store *s, uint64_t seed);

#endif
