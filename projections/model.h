/* model: one read model: a database file with its data, its checkpoint and the events it could not
 * take, all changed in the same transactions; and what a kind of projection must do to keep one.
 *
 * A model belongs to one thread at a time. Readers (query.h) have connections of their own and see
 * it as it was after some commit. No thread, no clock, no logging. */
#ifndef DAYBOOK_PROJECTIONS_MODEL_H
#define DAYBOOK_PROJECTIONS_MODEL_H

#include "storage/store.h"

struct model;
struct sql;

/* A kind of projection. model.c does what is common (file, transaction, checkpoint), a kind what is
 * its own; `model_state` is where it keeps that. All but `open` and `close` run inside a batch. */
struct model_kind {
    const char *name;       /* "table": in definitions and answers */
    const char *media_type; /* of its source; NULL: it is built in and has none */
    size_t batch_events;    /* events of one transaction, at most */
    /* Checks and prepares `source` (which stays until close), sets the filter; where `fresh` makes
     * its tables. Cleans up after itself by `close`, which gets a half-opened model then.
     * ERR_INVALID: the source is at fault, `et` says in which line. */
    err_t (*open)(struct model *m, struct bytes source, bool fresh, struct err_text *et);
    /* ERR_INVALID, ERR_LIMIT: its handler failed on this event; other errors: the model did. Either
     * way the batch is to be aborted. */
    err_t (*apply)(struct model *m, const struct event *e, struct err_text *et);
    /* Writes what it has gathered over the batch; may be NULL. */
    err_t (*flush)(struct model *m, struct err_text *et);
    /* Drops what it has gathered: the batch was aborted; may be NULL. */
    void (*forget)(struct model *m);
    /* Passes on what model_set_cancel was told, to what is not SQLite's; may be NULL. */
    void (*set_cancel)(struct model *m, bool (*cancelled)(void *ctx), void *ctx);
    void (*close)(struct model *m);
};

/* The kinds there are; NULL: no such kind. */
extern const struct model_kind model_table, model_document, model_counts;
const struct model_kind *model_kind_of_name(struct bytes name);
/* By the media type of a definition, parameters ignored; NULL: none takes it. */
const struct model_kind *model_kind_of_media(struct bytes media_type);

/* Opens the model in `dir`, made when missing (its parent must exist); NULL: one in memory. A file
 * that was not finished making is made anew. `source` is copied. ERR_INVALID: the source is at
 * fault. ERR_CORRUPT: the file is. */
MUST_CHECK err_t model_open(const struct model_kind *kind, const char *dir, struct bytes source,
                            struct model **ret, struct err_text *et);
/* Aborts an open batch. NULL is fine. */
void model_close(struct model *m);
/* Deletes a closed model's directory; ERR_OK also where there is none. */
MUST_CHECK err_t model_remove(const char *dir);

const struct model_kind *model_kind(const struct model *m);
/* Which events it takes. Borrowed from the model. */
const struct store_filter *model_filter(const struct model *m);
/* All events up to here are in it, as of the last commit; and the time of the last of them that it
 * took (0: none yet). */
uint64_t model_checkpoint(const struct model *m);
int64_t model_time_us(const struct model *m);
/* Rows of its tables, for a dry run: calls `each` with each table's name. */
MUST_CHECK err_t model_count_rows(struct model *m,
                                  void (*each)(void *ctx, const char *table, uint64_t rows),
                                  void *ctx, struct err_text *et);

/* Asked now and then while handlers run; true ends the one that runs with ERR_CLOSED: a handler
 * that takes too long in spite of its other limits, or the end of the process. NULL: never. */
void model_set_cancel(struct model *m, bool (*cancelled)(void *ctx), void *ctx);

/* ---- batches ---- */
MUST_CHECK err_t model_begin(struct model *m, struct err_text *et);
/* See model_kind.apply. */
MUST_CHECK err_t model_apply(struct model *m, const struct event *e, struct err_text *et);
/* The same with an event from before the checkpoint, which was left out then: what came since stays
 * as it is, and so does the checkpoint. */
MUST_CHECK err_t model_apply_late(struct model *m, const struct event *e, struct err_text *et);
/* Commits what was applied together with `checkpoint`. On an error the batch is aborted. */
MUST_CHECK err_t model_commit(struct model *m, uint64_t checkpoint, struct err_text *et);
void model_abort(struct model *m);

/* ---- what is kept beside the data ---- */

/* An event that a handler failed on. */
struct model_error {
    uint64_t position, attempts;
    int64_t time_us; /* of the event */
    struct bytes stream, type, text;
    bool skipped; /* by a user's word, not by the policy */
};
/* Within a batch: writes it down. */
MUST_CHECK err_t model_put_error(struct model *m, const struct model_error *error,
                                 struct err_text *et);

/* Within a batch: takes an entry out again. ERR_NOT_FOUND: there is none of this event. */
MUST_CHECK err_t model_drop_error(struct model *m, uint64_t position, struct err_text *et);
/* A transaction of its own: one more attempt at an entry has failed, so. */
MUST_CHECK err_t model_note_attempt(struct model *m, uint64_t position, struct bytes text,
                                    struct err_text *et);

/* Whether it has served, whether it stands at an event: small durable facts. Each is a transaction
 * of its own. An empty value is the same as none. */
enum model_fact { MODEL_SERVED, MODEL_FAULT_POSITION, MODEL_FAULT_TEXT, MODEL_FACT_COUNT };
MUST_CHECK err_t model_set_fact(struct model *m, enum model_fact fact, struct bytes value,
                                struct err_text *et);
/* Borrowed from the model until it is set again. */
struct bytes model_fact(const struct model *m, enum model_fact fact);

/* Where a model's file is. */
#define MODEL_PATH_MAX 1200
MUST_CHECK err_t model_path(const char *dir, char ret[MODEL_PATH_MAX]);

/* ---- for kinds ---- */
struct sql *model_sql(struct model *m);
void *model_state(const struct model *m);
void model_set_state(struct model *m, void *state);
/* What `filter` points to must stay until `close`. */
void model_set_filter(struct model *m, const struct store_filter *filter);

#endif
