/* snapshot_draft: the body of a PUT of a snapshot, on its way from its encoding to the store's
 * form; and snapshots as answers.
 *
 * Any thread; nothing is shared. */
#ifndef DAYBOOK_SERVER_SNAPSHOT_DRAFT_H
#define DAYBOOK_SERVER_SNAPSHOT_DRAFT_H

#include "projections/snapshot_row.h"
#include "server/reply.h"
#include "storage/base/arena.h"

#define SNAPSHOT_DETAIL_MAX 256

enum snapshot_data {
    SNAPSHOT_DATA_NONE,
    SNAPSHOT_DATA_JSON,
    SNAPSHOT_DATA_BASE64,
    SNAPSHOT_DATA_BINARY
};

struct snapshot_draft {
    struct arena *arena; /* decoded values live there */
    struct bytes stream; /* .p is NULL: it is not said */
    struct snapshot snapshot;
    enum snapshot_data data;
    bool revision_given;
    /* What is wrong, where a function returned false. */
    enum problem problem;
    const char *field; /* a literal, or in the arena; NULL: none */
    char detail[SNAPSHOT_DETAIL_MAX];
};

/* False. */
bool snapshot_reject(struct snapshot_draft *d, enum problem problem, const char *field,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* json_snapshot.c, codec_snapshot.c: reads the body. Values are borrowed from it, or from the
 * arena. False with the rejection set. */
bool json_read_snapshot(struct bytes body, struct snapshot_draft *d);
bool codec_read_snapshot(struct bytes body, struct snapshot_draft *d);

/* Checks the values; `stream` is the path's. False with the rejection set. */
bool snapshot_check(struct snapshot_draft *d, struct bytes stream, size_t bytes_max);

/* ---- writing; growth failures stick in the buf ---- */

void json_put_snapshot(struct buf *b, struct bytes stream, const struct snapshot *s);
void codec_put_snapshot(struct buf *b, struct bytes stream, const struct snapshot *s);

/* The answer to PUT. */
struct snapshot_answer {
    struct bytes stream;
    uint64_t revision;
    int64_t time_us;
    bool replaced;
};
void json_put_snapshot_answer(struct buf *b, const struct snapshot_answer *a);
void codec_put_snapshot_answer(struct buf *b, const struct snapshot_answer *a);

#endif
