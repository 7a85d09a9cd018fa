/* commit_int: what commit.c (deciding, writing), duplicates.c (idempotency) and condition.c
 * (consistency boundaries) share. */
#ifndef DAYBOOK_STORAGE_COMMIT_INT_H
#define DAYBOOK_STORAGE_COMMIT_INT_H

#include <sys/uio.h>

#include "storage/base/buf.h"
#include "storage/command_int.h"
#include "storage/hide.h"

/* What is known of one stream while one command is decided. */
struct stream_slot {
    struct bytes name;
    struct tail_list *list;   /* in the active generation, NULL: none yet */
    struct name_state stored; /* before the active generation; not looked up where list gives it */
    bool stored_known;
    uint64_t head; /* with this command's earlier appends */
    uint64_t head_before;
    uint64_t first; /* its first revision that can be read before the command; 0: not looked up */
    uint32_t first_event; /* chain of the command's events with an id of the client's: index + 1, 0
                             ends it */
};

/* What is known of one event of the command. */
struct event_state {
    uint32_t slot;
    uint32_t next;               /* in the slot's chain */
    uint64_t revision, position; /* where the same id was found; 0: nowhere */
    bool differs;                /* it was found with another type or other data */
};

#define PRINTS 65536

struct committer {
    struct store *store;
    /* Parked between groups. Within a group its position moves on with each command that is
     * accepted, so that what is read through it sees the group's earlier ones. */
    struct store_view view;
    bool view_open;

    struct stream_slot *slots;
    size_t slot_count, slot_cap;
    struct map slots_by_name; /* only where there are many */
    uint32_t *append_slots;   /* slot of each append, then of each check */
    size_t append_slot_cap;

    struct event_state *events;
    size_t event_cap;
    uint32_t *ids; /* hash table of event index + 1 by (slot, id) */
    size_t id_cap, id_mask;
    uint8_t wanted[PRINTS / 8]; /* set of fingerprints looked for; all clear between slots */

    struct iovec parts[JOURNAL_PARTS_MAX]; /* of the open group */
    int part_count;
    uint64_t next_position;
    int64_t time_us; /* of the open group */

    /* What a command on a stream's life has come to, between judging and putting in. */
    struct life life;
    struct redaction redaction;
    struct record_draft life_draft;
    struct buf text, record; /* its memory */
};

/* Where the stream stands before the command: fills list or stored, and head. */
MUST_CHECK err_t committer_look_up(struct committer *w, struct stream_slot *s);
/* What of it can be read, of what the open group has put in too. */
MUST_CHECK err_t committer_window(struct committer *w, const struct stream_slot *s,
                                  struct stream_window *ret);
/* The slot's first revision that can be read, looked up once. */
MUST_CHECK err_t committer_first(struct committer *w, struct stream_slot *s, uint64_t *ret);
/* Whether the event at `position` is redacted, by what the open group has put in too. */
MUST_CHECK err_t committer_is_redacted(struct committer *w, uint64_t position, bool *ret);
/* Stamps a draft and puts it behind the group's other records. */
MUST_CHECK err_t committer_put_record(struct committer *w, const struct record_draft *draft,
                                      uint64_t revision);

/* STREAM_DELETED where an append is for a stream that takes none any more. */
MUST_CHECK err_t life_judge_appends(struct committer *w, struct command *c);
/* Decides a command that is not an append, sets its verdict; puts an accepted one in. */
MUST_CHECK err_t life_judge(struct committer *w, struct command *c);
MUST_CHECK err_t life_put(struct committer *w, struct command *c);

/* Finds which of the command's events their streams have already: fills revision, position and
 * differs of its states. ERR_INVALID: an id comes twice for one stream (c->fault_* say where).
 * Other errors: nothing was decided. */
MUST_CHECK err_t duplicates_find(struct committer *w, struct command *c);

/* Looks for events that match the command's condition and adds a violation for each item that has
 * one. *ret_too_broad: for some item that would have taken too long, and it is not known. */
MUST_CHECK err_t condition_judge(struct committer *w, struct command *c, bool *ret_too_broad);

/* The event at a position that the writer may see: committed or earlier in the open group; its data
 * may be redacted already. ERR_NOT_FOUND: reclaim has taken it away. */
MUST_CHECK err_t committer_record(struct committer *w, uint64_t position, struct event *ret);

#endif
