/* workers: the threads that keep projections up to the log, and what is known of each.
 *
 * Any thread may ask and order; the threads are started once. A projection has up to two versions
 * in work: one that serves and a newer one that is being built; when that has caught up they are
 * swapped. Whoever works on a projection has claimed it, so its models see one thread at a time;
 * reads go through readers of their own and wait for nobody. */
#ifndef DAYBOOK_SERVER_WORKERS_H
#define DAYBOOK_SERVER_WORKERS_H

#include "projections/catalog.h"
#include "projections/query.h"
#include "server/feed.h"
#include "storage/base/buf.h"

struct workers;
struct projection; /* stays until workers_free; a deleted one too */

struct workers_options {
    struct store *store;
    struct feed *feed;
    const char *dir; /* data directory: models are in DIR/models */
    unsigned threads;
    unsigned rest_ms; /* how long what has caught up lets events gather, while nobody waits */
    uint64_t disk_free_min_bytes; /* below it appends are refused; 0: never */
    bool counts;                  /* keep the built-in `$counts` */
    /* Called on a worker's thread after a model has moved or changed its state. */
    void (*moved)(void *ctx);
    void *ctx;
};

/* Reads the definitions, cleans up what a crash left, starts the threads. */
MUST_CHECK err_t workers_start(const struct workers_options *options, struct workers **ret,
                               struct err_text *et);
/* Ends the threads; nothing moves any more. NULL is fine. */
void workers_stop(struct workers *w);
/* After workers_stop, when nobody asks any more; closes the models. NULL is fine. */
void workers_free(struct workers *w);

/* The monotonic clock. */
int64_t workers_now_us(void);

/* ---- definitions ---- */

/* Between these two calls one thread plans and commits a change of the catalog, which stays as it
 * is meanwhile. */
const struct catalog *workers_begin_change(struct workers *w);
void workers_end_change(struct workers *w);
/* Reads what was committed to the catalog's stream and acts on it. Within a change. An error says
 * that a model could not be opened, which its status says too. */
MUST_CHECK err_t workers_refresh(struct workers *w);

/* ---- what is known ---- */

/* NULL: never defined. */
struct projection *workers_find(struct workers *w, struct bytes name);

#define WORKERS_TEXT_MAX 512

/* One version in work. */
struct version_status {
    uint64_t version; /* 0: there is none */
    enum runner_state state;
    uint64_t position, lag_events;
    int64_t lag_us;
    double events_per_second;
    double eta_s; /* < 0: not known */
    uint64_t fault_position;
    char fault[WORKERS_TEXT_MAX];
    const char *failing; /* why it is trying again; NULL: it is not */
    int64_t stalled_us;  /* a step runs for so long already; 0: not unusually long */
};

struct projection_status {
    char name[CATALOG_NAME_MAX + 1];
    const char *kind;
    bool builtin;
    struct runner_policy policy;
    int64_t defined_us;
    uint64_t previous; /* version to roll back to; 0: none */
    struct version_status serving, building;
};
/* False: it is deleted. */
bool workers_get_status(struct workers *w, struct projection *p, struct projection_status *ret);
/* The source of the version that shall serve, into an empty buf; false: it has none, or is
 * deleted. */
bool workers_get_source(struct workers *w, struct projection *p, struct buf *ret);
/* The same of one version. */
bool workers_get_version_source(struct workers *w, struct projection *p, uint64_t version,
                                struct buf *ret);
/* The i-th of those there are, in the order of their definition; NULL: no more. */
struct projection *workers_at(struct workers *w, size_t i);

/* ---- reading ---- */

/* The model that readers see. What was read of another version, or before an event that was set
 * aside was taken after all, was read at a position up to `since`. */
struct workers_model {
    uint64_t version; /* 0: none serves yet */
    const struct model_kind *kind;
    uint64_t position, since;
    uint64_t patches; /* events that were taken late, since it serves */
};
/* False: the projection is deleted. */
bool workers_get_model(struct workers *w, struct projection *p, struct workers_model *ret);

enum workers_readiness {
    WORKERS_READY,
    WORKERS_BEHIND,   /* its position is lower than asked for */
    WORKERS_BUILDING, /* no version has caught up yet */
    WORKERS_GONE,     /* deleted */
};
/* Where it is BEHIND, it does not rest before it is there; whoever goes on waiting asks again after
 * each `moved`. */
enum workers_readiness workers_readiness(struct workers *w, struct projection *p,
                                         uint64_t min_position, uint64_t *ret_position);
/* A reader of the version that serves, to be given back. ERR_NOT_FOUND: none serves. */
MUST_CHECK err_t workers_take_reader(struct workers *w, struct projection *p, struct reader **ret,
                                     uint64_t *ret_version, struct err_text *et);
void workers_give_reader(struct workers *w, struct projection *p, struct reader *take_reader,
                         uint64_t version);

/* ---- orders that are no definitions ---- */

/* What a faulted version does about its event: try again, or leave it out. ERR_INVALID: none is
 * faulted (or, to skip, not at an event). */
MUST_CHECK err_t workers_retry(struct workers *w, struct projection *p, struct err_text *et);
MUST_CHECK err_t workers_skip(struct workers *w, struct projection *p, struct err_text *et);
/* About an event that the version that serves has left out: as runner_retry_error and
 * runner_discard_error. ERR_BUSY: none serves. */
MUST_CHECK err_t workers_retry_error(struct workers *w, struct projection *p, uint64_t position,
                                     struct err_text *et);
MUST_CHECK err_t workers_discard_error(struct workers *w, struct projection *p, uint64_t position,
                                       struct err_text *et);

#endif
