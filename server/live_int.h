/* live_int: what live.c, live_member.c and live_document.c share; the live thread's alone, but for
 * what stands under `mutex`. */
#ifndef DAYBOOK_SERVER_LIVE_INT_H
#define DAYBOOK_SERVER_LIVE_INT_H

#include "server/deadlines.h"
#include "server/feed.h"
#include "server/live.h"
#include "server/live_group.h"
#include "server/workers.h"

#include <pthread.h>

/* Where a member stands:
 *
 *   NEW -> READY -> WAITING     caught up; in its group's list until an event touches the group
 *            ^  \-> BLOCKED     the socket is full
 *            |________|         and both come back to
 * READY */
enum member_state { MEMBER_NEW, MEMBER_READY, MEMBER_WAITING, MEMBER_BLOCKED };

/* What a member that follows a document asks for, has seen and was told. */
struct live_watch {
    struct workers *workers;
    struct projection *projection;
    uint64_t min_position, after;
    size_t bytes_max;
    struct workers_model seen; /* as of the last read */
    bool told;                 /* the rest is what was sent last, or what the client has */
    bool told_there;
    uint64_t told_version, told_patches, told_changed;
    size_t key_bytes;
    uint8_t key[];
};

/* A stream that follows, or a long poll. */
struct live_member {
    struct live_member *prev, *next;         /* in the inbox, the ready list or its group's */
    struct live_member *all_prev, *all_next; /* under the mutex */
    bool of_log;                             /* the checkpoint is a position */
    _Atomic enum member_state state;         /* live_lag_max reads it, and the checkpoint */
    enum encoding encoding;
    struct http_request *rq;
    struct live_poll *poll;    /* NULL: it is a stream */
    struct follower *follower; /* until it has joined a group */
    struct live_group *group;  /* NULL: it follows a document */
    struct live_watch *watch;  /* which; NULL: it follows events */
    _Atomic uint64_t checkpoint;
    uint64_t left;            /* events that may still be sent; UINT64_MAX: no limit */
    struct live_chunk *chunk; /* what is being sent */
    struct live_chunk *last;  /* what comes after that; then it ends */
    size_t sent;              /* of it, see http_detached_send */
    bool was_told;            /* that it has caught up */
    bool beat_due;
    int64_t sent_us;       /* when something was sent last */
    int64_t heard_us;      /* when the peer was last seen to have acknowledged something, or all */
    uint64_t acknowledged; /* bytes, then */
    struct deadline deadline;
};

struct live {
    struct live_options options;
    pthread_t thread;
    int epoll_fd;
    struct feed_sleeper sleeper;

    pthread_mutex_t mutex;
    struct live_members inbox;
    struct live_member *all; /* that were taken in */
    bool stopping;

    struct live_groups groups;
    struct live_members ready;
    _Atomic size_t members; /* others read it */
    size_t waiting;
    struct live_members watching; /* waiting members that follow documents */
    _Atomic size_t watchers;      /* all of those */
    _Atomic bool moved;           /* some model has, since the last look */
    struct deadlines deadlines;
    uint64_t dispatched; /* every event up to here has been held against the groups */
    int64_t now_us;
    int64_t pause_until_us; /* no sending before */
    struct store_view *view;
    int64_t view_opened_us;
    int64_t logged_us; /* when an error was logged last */
};

void live_list_append(struct live_members *list, struct live_member *m);
void live_list_remove(struct live_members *list, struct live_member *m);

/* The round's view, opened when it is first needed. */
MUST_CHECK err_t live_view(struct live *l, struct store_view **ret);
void live_view_close(struct live *l);

/* live_document.c */
MUST_CHECK err_t live_watch_new(const struct live_document *document, struct live_watch **ret);
void live_documents_look(struct live *l);
/* Reads the document; where there is something to say it is the member's chunk. Then it waits.
 * ERR_GONE: there is no such projection any more. */
MUST_CHECK err_t live_document_next(struct live_member *m);

/* live_member.c */
/* Takes it in. Without memory it is ended instead. */
void live_member_begin(struct live *l, struct live_member *m);
/* One turn of a ready one: at most one chunk. It is waiting, blocked, ready again or gone after
 * it. */
void live_member_step(struct live *l, struct live_member *m);
/* To the ready list. */
void live_member_ready(struct live *l, struct live_member *m);
void live_member_on_socket(struct live *l, struct live_member *m, uint32_t events);
void live_member_on_deadline(struct live *l, struct live_member *m);
/* The server stops. */
void live_member_end(struct live *l, struct live_member *m);

#endif
