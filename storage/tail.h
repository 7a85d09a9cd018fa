/* tail: what is committed but not yet in LMDB, in memory: records by position, and positions by
 * name.
 *
 * It is a row of generations. The newest, active one takes what the writer commits; when it is full
 * enough it is frozen, a new one takes over, and the applier moves the frozen one into LMDB and
 * drops it. A view (store.h) holds references to the generations it saw, so that what it read stays
 * in place until it is closed.
 *
 *   positions:   1 … 900 | 901 … 1500 | 1501 … 1730 . . .
 *                  LMDB  |   frozen   |   active   ^committed
 *
 * Threads: one writer, one applier, any number of snapshots. A read-write lock guards the row of
 * generations and the tables of names; it is held for a few lookups at a time, never across I/O.
 * Records and position lists only grow, and their memory never moves or goes away while their
 * generation is referenced, so readers use them outside the lock. What is not committed yet is in
 * the generation already: everybody but the writer stops at the committed position. */
#ifndef DAYBOOK_STORAGE_TAIL_H
#define DAYBOOK_STORAGE_TAIL_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/base/arena.h"
#include "storage/base/map.h"
#include "storage/life.h"
#include "storage/names.h"

#define TAIL_GENERATIONS_MAX 8
#define TAIL_EVENTS_MAX      131072 /* in one generation */

/* The positions of one name in one generation. */
struct tail_list {
    enum name_kind kind;
    struct bytes name;
    uint64_t base;       /* of a stream: its head revision before this generation */
    uint32_t tag;        /* of a tag: which one of its first event here it is */
    uint64_t *positions; /* ascending */
    uint16_t *prints;    /* of a stream: the fingerprints of the event ids */
    _Atomic uint32_t n;
    uint32_t cap;
};

/* A version of a stream's life, and the one before it in the same generation. Immutable. */
struct tail_life {
    struct life life;
    const struct tail_life *older;
};

/* Where a stream's versions hang; under the lock. */
struct tail_lives {
    struct bytes stream;
    const struct tail_life *newest;
};

struct tail_redaction {
    uint8_t key[8]; /* the target */
    uint64_t target, position;
};

struct tail_generation {
    _Atomic unsigned references;
    uint64_t first;          /* position of its first event */
    _Atomic uint32_t n;      /* events; only the writer changes it */
    const uint8_t **records; /* TAIL_EVENTS_MAX of them, by position - first */
    struct tail_chunk *chunks;
    struct arena lists; /* the lists, their names and arrays */
    struct map names[NAME_KINDS];
    struct map lives;      /* stream: struct tail_lives */
    struct map redactions; /* target (8 bytes, big-endian): struct tail_redaction */
    _Atomic bool has_lives, has_redactions;
    _Atomic size_t bytes;
};

struct tail {
    pthread_rwlock_t lock;
    struct tail_generation *generations[TAIL_GENERATIONS_MAX]; /* oldest first; the last is active
                                                                */
    size_t count;
    /* The last one again. The writer uses it outside the lock while a group is open: nobody changes
     * it then, whereas the row moves when the applier drops the oldest. */
    struct tail_generation *active;
    size_t bytes_max;
    bool group_open;    /* the writer has put in what is not committed yet */
    bool freeze_wanted; /* the applier asked while a group was open */
    _Atomic uint64_t committed;
};

/* `next` is the position of the first event to come. */
MUST_CHECK err_t tail_init(struct tail *t, uint64_t next, size_t bytes_max);
void tail_done(struct tail *t);
/* Before the threads start: another limit for what is added from now on. */
void tail_set_limit(struct tail *t, size_t bytes_max);

/* ---- the writer ---- */

/* Opens a group of up to `events` events and `bytes` of records: freezes the active generation if
 * they do not fit or if asked. ERR_FULL: the tail is full until more is applied. ERR_MEMORY. */
MUST_CHECK err_t tail_open_group(struct tail *t, size_t events, size_t bytes);
/* What was added becomes visible up to position `committed`. */
void tail_close_group(struct tail *t, uint64_t committed);

/* Memory for a record of up to n bytes in the active generation; tail_add says how many it took.
 * NULL: no memory. */
uint8_t *tail_reserve(struct tail *t, size_t n);
/* The next event's record: what was reserved last, with its real size. */
void tail_add(struct tail *t, const uint8_t *record, size_t size);

/* The list of a name in the active generation, made where missing. Under tail_lock. NULL: no
 * memory. */
struct tail_list *tail_list_get(struct tail *t, enum name_kind kind, struct bytes name,
                                uint64_t base);
/* Adds a position to a list of the active generation. Under tail_lock. ERR_MEMORY. */
MUST_CHECK err_t tail_list_add(struct tail *t, struct tail_list *list, uint64_t position,
                               uint16_t print);
/* Adds a life that an event in the active generation says, a redaction that one asks for; copied.
 * Under tail_lock. ERR_MEMORY. */
MUST_CHECK err_t tail_life_add(struct tail *t, const struct life *life);
MUST_CHECK err_t tail_redaction_add(struct tail *t, uint64_t target, uint64_t position);
void tail_lock(struct tail *t);
void tail_unlock(struct tail *t);

/* ---- the applier ---- */

/* The oldest generation, frozen if it is not and `freeze` says so; NULL where there is none to
 * apply now. */
struct tail_generation *tail_oldest_frozen(struct tail *t, bool freeze);
/* Drops the oldest, frozen generation. */
void tail_drop_oldest(struct tail *t);
size_t tail_bytes(struct tail *t);
/* Whether the active generation is large enough to be worth applying. */
bool tail_is_ripe(struct tail *t);

/* ---- snapshots ---- */

struct tail_snapshot {
    struct tail *tail;
    struct tail_generation *generations[TAIL_GENERATIONS_MAX];
    size_t count;
    uint64_t position; /* the last committed one */
    uint64_t first;    /* the first position in the tail (position + 1 where it is empty) */
};

void tail_snapshot_take(struct tail *t, struct tail_snapshot *ret);
void tail_snapshot_done(struct tail_snapshot *s);

/* The stored record of `position`, which is in [first, position]. Only its start is given: record.h
 * measures it. */
const uint8_t *tail_record(const struct tail_snapshot *s, uint64_t position);

/* One generation's positions of one name, up to the snapshot's position. */
struct tail_span {
    const uint64_t *positions;
    const uint16_t *prints;
    size_t n;
    uint64_t base;
};

/* Fills spans[0 … TAIL_GENERATIONS_MAX) oldest first and returns how many are not empty. */
size_t tail_find(const struct tail_snapshot *s, enum name_kind kind, struct bytes name,
                 struct tail_span spans[TAIL_GENERATIONS_MAX]);

/* The newest life that an event at or before `position` says; false: the snapshot has none.
 * Borrowed from the snapshot. */
bool tail_find_life(const struct tail_snapshot *s, struct bytes stream, uint64_t position,
                    struct life *ret);
/* Whether an event at or before `position` asks for this redaction. */
bool tail_find_redaction(const struct tail_snapshot *s, uint64_t target, uint64_t position);

/* Calls `each` for every list of a kind in the snapshot (a name comes once per generation that has
 * it); under the lock. */
void tail_each_name(const struct tail_snapshot *s, enum name_kind kind,
                    void (*each)(void *ctx, struct bytes name), void *ctx);

#endif
