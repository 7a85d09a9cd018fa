/* store_int: the inside of the store, for the storage folder only: its parts and who may touch
 * them. */
#ifndef DAYBOOK_STORAGE_STORE_INT_H
#define DAYBOOK_STORAGE_STORE_INT_H

#include <stdatomic.h>

#include "storage/index.h"
#include "storage/journal.h"
#include "storage/kv.h"
#include "storage/log.h"
#include "storage/store.h"
#include "storage/tail.h"

#define STORE_FORMAT_VERSION 2

/* The filter over the names of streams that have a life (hide.c): 64 KiB of bits. */
#define HIDE_FILTER_BITS   (1u << 19)
#define HIDE_CACHE_ENTRIES 1024 /* streams that a view remembers */

/* What the applier is in the middle of. */
enum apply_stage { APPLY_IDLE, APPLY_LOG, APPLY_LIVES, APPLY_INDEX };

/* How far the lives and redactions of a generation are in their tables. */
struct life_job {
    size_t lives_at, redactions_at; /* places in the generation's maps */
    bool done;
};

struct applier {
    enum apply_stage stage;
    struct tail_generation *generation; /* the oldest of the tail, frozen */
    uint32_t log_next;                  /* its next record for the log */
    struct life_job lives;
    struct index_job job;
};

struct committer; /* commit.c's scratch memory */
struct reclaimer; /* reclaim.h */

struct store {
    struct store_options options;
    int lock_fd; /* holds the directory's lock */
    uint8_t id[UUID_BYTES];
    struct kv *kv;
    struct journal *journal;
    struct tail tail;

    struct committer *committer; /* the writer's */
    struct applier applier;      /* the applier's */
    struct reclaimer *reclaimer; /* the applier's */
    pthread_mutex_t reclaiming;  /* held for a step of reclaim, and by verify, which compares twice
                                  */
    uint64_t log_position;       /* the applier's: the last one in LMDB's log */

    _Atomic uint64_t applied;      /* log and index rows are in LMDB up to here */
    _Atomic uint64_t apply_target; /* the applier may be writing rows up to here */
    _Atomic uint64_t streams;      /* without the system's */
    _Atomic bool disk_full;

    /* The store's clock: never behind an event, nor behind what reclaim was told. */
    _Atomic int64_t clock_us;
    _Atomic bool has_lives;     /* some stream has a life */
    _Atomic bool lives_damaged; /* a row of lives or redactions was found damaged at the start */
    _Atomic uint8_t life_bits[HIDE_FILTER_BITS / 8]; /* which may */
    _Atomic uint64_t life_position;                  /* of the last event that says a life */
    _Atomic uint64_t reclaimed_position;             /* lives up to here are done (reclaim.h) */
    _Atomic uint64_t redactions_waiting;             /* rows of KV_REDACTIONS, at least */
};

struct hide_entry; /* hide.c */

struct store_view {
    struct store *store;
    struct tail_snapshot tail;
    struct kv_txn *txn;
    struct log_cursor log;

    int64_t time_us;        /* when max_age_s is judged */
    uint64_t life_position; /* lives and redactions up to here are seen */
    bool has_lives, tail_redactions, stored_redactions; /* false: nothing to look up */
    struct hide_entry *hide_cache;                      /* NULL: nothing remembered */
    struct arena wiped;                                 /* bodies of events whose redaction waits */
};

/* The stored record at a position of the view, checked, whether it is hidden or not (hide.h); the
 * data of a redacted one are wiped. ERR_NOT_FOUND, ERR_CORRUPT. */
MUST_CHECK err_t view_record(struct store_view *v, uint64_t position, struct bytes *ret_body,
                             uint32_t *ret_flags);

/* A view whose memory is the caller's: open, renew (a newer snapshot of the same), close. */
MUST_CHECK err_t view_init(struct store_view *v, struct store *s);
MUST_CHECK err_t view_renew(struct store_view *v);
/* Gives the snapshot up but keeps the memory for view_renew. */
void view_park(struct store_view *v);
void view_done(struct store_view *v);

/* Number of a name's events in the view, and its row in LMDB (zeroes where it has none).
 * ERR_NOT_FOUND where it has no event. */
struct name_state {
    struct name_row row;
    uint64_t count;
    uint64_t first_position;
};
MUST_CHECK err_t view_name(struct store_view *v, enum name_kind kind, struct bytes name,
                           struct name_state *ret);

/* Moves the store's clock on, never back. */
static inline void clock_advance(struct store *s, int64_t now_us)
{
    int64_t was = atomic_load(&s->clock_us);
    while (was < now_us && !atomic_compare_exchange_weak(&s->clock_us, &was, now_us)) {
    }
}

/* Meta rows: numbers under a name; 0 where missing. */
MUST_CHECK err_t meta_get(struct kv_txn *txn, const char *name, uint64_t *ret);
MUST_CHECK err_t meta_put(struct kv_txn *txn, const char *name, uint64_t value);
#define META_FORMAT         "format"
#define META_INDEX_POSITION "index_position"
#define META_STREAMS        "streams"
#define META_STORE_ID       "store_id"
#define META_CLOCK          "clock_us"
#define META_SCRUB          "scrub_txn"      /* free pages up to this transaction must be wiped */
#define META_PURGE          "purge_position" /* the journal's groups up to this position must go */

/* For reindex: moves the records of the whole tail into the log and leaves the index behind. */
MUST_CHECK err_t apply_records(struct store *s);

/* Puts some of a generation's lives and redactions; apply_life.c. */
MUST_CHECK err_t life_job_step(struct store *s, struct life_job *job,
                               const struct tail_generation *g);

MUST_CHECK err_t reclaimer_new(struct reclaimer **ret);
void reclaimer_free(struct reclaimer *r);

MUST_CHECK err_t committer_new(struct store *s, struct committer **ret);
void committer_free(struct committer *w);

#endif
