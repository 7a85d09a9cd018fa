/* app: what the handlers work with: the store, the writer, the limits. One per process, constant
 * while requests run. */
#ifndef DAYBOOK_SERVER_APP_H
#define DAYBOOK_SERVER_APP_H

#include <stdatomic.h>

#include "server/feed.h"
#include "server/http.h"
#include "server/live.h"
#include "server/writer.h"
#include "storage/store.h"

struct app_limits {
    size_t event_bytes_max;    /* data plus metadata of one event */
    size_t snapshot_bytes_max; /* data of one */
    size_t body_bytes_max;
    size_t header_bytes_max;
    size_t append_events_max; /* events in one request */
    size_t page_events_max;   /* events in one JSON page */
    size_t page_events_default;
    size_t projections_max;
    size_t query_rows_max, query_bytes_max; /* of the answer to one query of a projection */
    uint64_t state_snapshot_events; /* a state is kept where so many events were folded for it */
    unsigned query_time_ms;         /* how long it may run */
};

struct app {
    struct store *store;
    struct writer *writer;
    struct workers *workers; /* keep the projections */
    struct jobs *jobs;       /* read and define them */
    struct state_env *state; /* small durable state that is not in the log; one for all who have
                                some */
    struct snapshots *snapshots;
    struct snapshot_writer *snapshot_writer;
    struct group_service *groups;
    struct push *push;               /* webhooks of groups */
    struct state_cache *state_cache; /* NULL: no automatic snapshots */
    struct live *live;
    struct http *http;
    struct feed feed; /* the writer publishes, the live thread listens */
    struct app_limits limits;
    int64_t started_us; /* monotonic clock */
    bool log_requests;
    unsigned connections_max, idle_timeout_s;
    _Atomic bool ready;
    _Atomic bool stopping;
};

/* A view of the store at this moment: what has become too old for its stream by now (max_age_s) is
 * hidden. As store_view_open otherwise. */
MUST_CHECK err_t app_view_open(struct store *store, struct store_view **ret);

#endif
