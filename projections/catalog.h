/* catalog: the definitions of all projections: a fold over the events of the stream `$projections`,
 * in which the server keeps them, and the events that change them.
 *
 * One thread at a time. It holds copies; no file, no thread, no clock. Which of the versions serves
 * is not in the log, since each node builds its models itself: see model.h, MODEL_SERVED. */
#ifndef DAYBOOK_PROJECTIONS_CATALOG_H
#define DAYBOOK_PROJECTIONS_CATALOG_H

#include "projections/runner.h"
#include "storage/event.h"

#define CATALOG_STREAM       "$projections"
#define CATALOG_NAME_MAX     64
#define CATALOG_VERSIONS_MAX 8 /* of one projection that are remembered, the newest */
#define CATALOG_ATTEMPTS_MAX 100

struct catalog_definition {
    uint64_t version;
    const struct model_kind *kind;
    struct bytes source;
    struct runner_policy policy;
    int64_t time_us; /* when it was defined */
};

struct catalog_projection {
    char name[CATALOG_NAME_MAX + 1];
    bool deleted; /* only the version number is remembered */
    bool paused;
    uint64_t desired;                                         /* the version that shall serve */
    uint64_t last;                                            /* the newest that was ever given */
    struct catalog_definition versions[CATALOG_VERSIONS_MAX]; /* oldest first */
    size_t version_count;
};

struct catalog;

MUST_CHECK err_t catalog_new(struct catalog **ret);
void catalog_free(struct catalog *c);

/* Takes the next event of CATALOG_STREAM. What it does not understand (of a newer binary) is
 * passed over. ERR_MEMORY. */
MUST_CHECK err_t catalog_fold(struct catalog *c, const struct event *e);
/* The revision of the last event folded. */
uint64_t catalog_revision(const struct catalog *c);

/* In the order in which they were first defined; deleted ones too. */
size_t catalog_count(const struct catalog *c);
const struct catalog_projection *catalog_at(const struct catalog *c, size_t i);
/* NULL: there is none, or it is deleted. */
const struct catalog_projection *catalog_find(const struct catalog *c, struct bytes name);
/* The same, deleted ones too. */
const struct catalog_projection *catalog_find_any(const struct catalog *c, struct bytes name);
/* NULL: it is not remembered. */
const struct catalog_definition *catalog_version(const struct catalog_projection *p,
                                                 uint64_t version);

/* 1 to CATALOG_NAME_MAX of letters, digits, '_', '-' and '.', the first a letter, a digit or '_':
 * a projection's directory is called so. */
bool catalog_name_is_valid(struct bytes name);

enum catalog_change_kind {
    CATALOG_DEFINED,
    CATALOG_ROLLED_BACK,
    CATALOG_PAUSED,
    CATALOG_RESUMED,
    CATALOG_DELETED,
    CATALOG_CHANGE_COUNT
};

struct catalog_change {
    enum catalog_change_kind kind;
    struct bytes name;
    uint64_t version; /* DEFINED: the new one; ROLLED_BACK: the old one */
    const struct catalog_definition *definition; /* DEFINED: kind, source, policy */
};

/* The event for a change, with its text in the arena; its id is the caller's to set. */
MUST_CHECK err_t catalog_make_event(const struct catalog_change *change, struct arena *arena,
                                    struct event_draft *ret);

#endif
