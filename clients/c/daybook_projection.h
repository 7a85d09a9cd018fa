/* daybook_projection: the half of the client library that defines projections, gives them orders
 * and queries what they have made. daybook.h includes it, and says which threads may call what and
 * who owns what. Not found is DAYBOOK_ERR_NOT_FOUND. */
#ifndef DAYBOOK_PROJECTION_H
#define DAYBOOK_PROJECTION_H

#include "daybook.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- values and rows ---- */

enum daybook_value_kind { DAYBOOK_NULL, DAYBOOK_INTEGER, DAYBOOK_REAL, DAYBOOK_TEXT };

/* A value of SQL. Blobs come as text, in base64. */
struct daybook_value {
    enum daybook_value_kind kind;
    int64_t integer;
    double real;
    struct daybook_bytes text; /* of an answer's numbers too: their digits, as they came */
};

struct daybook_rows {
    const char *const *columns;
    size_t columns_n;
    const struct daybook_value *values; /* row after row, columns_n each */
    size_t rows_n;
};

/* ---- what is known of a projection ---- */

struct daybook_projection_version {
    uint64_t version;  /* 0: there is none */
    const char *state; /* "building", "live", "paused" or "faulted" */
    uint64_t position; /* all events up to it are in the model */
    uint64_t lag_events;
    double lag_s, events_per_s;
    double eta_s;            /* < 0: not known */
    double stalled_s;        /* one step runs for so long already; 0: it is not unusual */
    uint64_t error_position; /* of the event it stands at; 0: none */
    const char *error;       /* "" where it is not faulted */
};

struct daybook_projection {
    const char *name;
    const char *kind; /* "table", "document"; "counts": built in */
    bool deleted;     /* the answer to a deletion: only `name` is known then */
    /* The version that answers; where none has caught up yet, the one that is being built. */
    struct daybook_projection_version current;
    struct daybook_projection_version building; /* beside one that answers; version 0: none */
    uint64_t previous_version;                  /* to roll back to; 0: none */
    bool set_aside;      /* a failed event is set aside; else it stops there */
    unsigned attempts;   /* before an event counts as failed */
    const char *defined; /* RFC 3339; "": it is built in */
    const char *source;  /* "" in a list, and of what is built in */
};

/* ---- defining ---- */

#define DAYBOOK_SQL "application/sql" /* a table projection */
#define DAYBOOK_LUA "text/x-lua"      /* a document projection */

struct daybook_definition {
    const char *media_type;      /* DAYBOOK_SQL or DAYBOOK_LUA */
    struct daybook_bytes source; /* UTF-8 */
    bool set_aside;              /* see struct daybook_projection */
    unsigned attempts;           /* 0: one */
};

/* The same definition again changes nothing; another one becomes the next version, which is built
 * beside the one that answers. ret->current or ret->building is it. Tried again as long as
 * options.retry_ms allows. */
enum daybook_result daybook_projection_put(struct daybook *db, const char *name,
                                           const struct daybook_definition *definition,
                                           struct daybook_projection *ret);

struct daybook_dry_table {
    const char *name;
    uint64_t count;             /* of its rows */
    struct daybook_rows sample; /* the first few */
};

struct daybook_projection_error {
    uint64_t position;
    const char *stream, *type, *detail;
    uint64_t attempts;
    bool skipped; /* by a user's word, not by the policy */
};

struct daybook_dry_run {
    uint64_t events;   /* that it took */
    uint64_t position; /* where it ended */
    const struct daybook_dry_table *tables;
    size_t tables_n;
    const struct daybook_projection_error *errors; /* the first few */
    size_t errors_n;
};

/* What a definition would do with the first `limit` events that it takes (0: a thousand); nothing
 * is kept. */
enum daybook_result daybook_projection_dry_run(struct daybook *db, const char *name,
                                               const struct daybook_definition *definition,
                                               uint64_t limit, struct daybook_dry_run *ret);

/* ---- looking and ordering ---- */

enum daybook_result daybook_projection_get(struct daybook *db, const char *name,
                                           struct daybook_projection *ret);
enum daybook_result daybook_projection_list(struct daybook *db,
                                            const struct daybook_projection **ret, size_t *ret_n);

enum daybook_order {
    DAYBOOK_PAUSE,
    DAYBOOK_RESUME,   /* also of a faulted one: it tries the event again */
    DAYBOOK_REBUILD,  /* the same definition as a new version */
    DAYBOOK_ROLLBACK, /* to the version that answered before */
    DAYBOOK_SKIP,     /* leave out the event that it is faulted at */
    DAYBOOK_DELETE,
};
/* Sent once: after DAYBOOK_ERR_TRANSPORT it was carried out or not; look. */
enum daybook_result daybook_projection_order(struct daybook *db, const char *name,
                                             enum daybook_order order,
                                             struct daybook_projection *ret);

struct daybook_projection_errors {
    const struct daybook_projection_error *errors;
    size_t errors_n;
    uint64_t next; /* the `after` of the next page */
    bool end;      /* there is none */
};
/* Events that were set aside, in order, after a position; at most `limit` (0: the server's
 * default). */
enum daybook_result daybook_projection_get_errors(struct daybook *db, const char *name,
                                                  uint64_t after, uint64_t limit,
                                                  struct daybook_projection_errors *ret);

struct daybook_column {
    const char *name, *type;
    bool not_null, primary_key;
};
struct daybook_table {
    const char *name;
    const char *kind; /* "table" or "view" */
    const struct daybook_column *columns;
    size_t columns_n;
};
enum daybook_result daybook_projection_get_schema(struct daybook *db, const char *name,
                                                  const struct daybook_table **ret, size_t *ret_n);

/* ---- querying ---- */

struct daybook_param {
    const char *name; /* without ':'; NULL: the next place. All have one or none has */
    struct daybook_value value;
};

struct daybook_query {
    const char *projection;
    const char *sql; /* one statement, which only reads */
    const struct daybook_param *params;
    size_t params_n;
    uint64_t min_position; /* answer once the model is there; 0: as it is */
    uint64_t wait_ms;      /* how long to wait for that, or for the first build; at most 60,000 */
};

/* Answers from one commit of the model, whole; *ret_position is that commit's. Where the model is
 * not at min_position when the wait is over: DAYBOOK_ERR_UNAVAILABLE with the code
 * "not-caught-up". */
enum daybook_result daybook_query(struct daybook *db, const struct daybook_query *query,
                                  struct daybook_rows *ret, uint64_t *ret_position);

/* The answer to the last successful call of these, as JSON. */
struct daybook_bytes daybook_json(const struct daybook *db);

#ifdef __cplusplus
}
#endif

#endif
