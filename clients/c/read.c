/* read: the iterator over events.
 *
 * The server may go away in the middle: since an event says its own number, the request is then
 * made anew for what follows the last event taken, and the caller does not notice. */
#include "client_int.h"

#include <stdlib.h>

struct daybook_events {
    struct daybook *db;                  /* borrowed */
    struct daybook_arena kept;           /* the options' strings */
    struct daybook_read_options options; /* what is left to read: moves on with each event */
    struct daybook_arrival arrival;
    struct daybook_arena arena; /* the current event */
    struct daybook_event event;
    bool finished; /* the limit or the first event was reached */
    struct daybook_retry retry;
    enum daybook_result failed;
};

static bool start(struct daybook_events *e);
static enum daybook_result take(struct daybook_events *e, struct daybook_bytes packed);
static enum daybook_result answer_is_over(struct daybook_events *e);

enum daybook_result daybook_read(struct daybook *db, const struct daybook_read_options *options,
                                 struct daybook_events **ret)
{
    struct daybook_events *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return daybook_fail_memory(db);
    }
    e->db = db;
    if (options != NULL) {
        e->options = *options;
    }
    if (!daybook_arrival_init(&e->arrival, db) ||
        !daybook_read_options_keep(&e->kept, &e->options) || !start(e)) {
        daybook_events_free(e);
        return daybook_fail_memory(db);
    }
    *ret = e;
    return DAYBOOK_OK;
}

void daybook_events_free(struct daybook_events *e)
{
    if (e != NULL) {
        daybook_arrival_done(&e->arrival);
        daybook_arena_done(&e->kept);
        daybook_arena_done(&e->arena);
        free(e);
    }
}

/* Begins the request, or begins it again for what is left. */
static bool start(struct daybook_events *e)
{
    return daybook_arrival_start(&e->arrival, &e->options, DAYBOOK_READING_TO_THE_END);
}

enum daybook_result daybook_events_next(struct daybook_events *e, const struct daybook_event **ret)
{
    while (e->failed == DAYBOOK_OK) {
        struct daybook_field field;
        if (e->finished) {
            return DAYBOOK_END;
        }
        switch (daybook_arrival_next(&e->arrival, &field)) {
        case DAYBOOK_FRONT_FIELD:
            if (field.number != DAYBOOK_FIELD_EVENTS) {
                break;
            }
            e->failed = take(e, field.bytes);
            if (e->failed == DAYBOOK_OK) {
                *ret = &e->event;
                return DAYBOOK_OK;
            }
            break;
        case DAYBOOK_FRONT_PART:
            e->failed = answer_is_over(e);
            break;
        case DAYBOOK_FRONT_DAMAGED:
            e->failed = daybook_fail_protocol(e->db, "it is no EventBatch");
            break;
        }
    }
    return e->failed;
}

/* Makes the event the current one; what is left to read is what follows it. */
static enum daybook_result take(struct daybook_events *e, struct daybook_bytes packed)
{
    daybook_arena_reset(&e->arena);
    if (!daybook_event_unpack(&e->arena, packed, &e->event)) {
        return daybook_fail_protocol(e->db, "it has a damaged event");
    }
    struct daybook_read_options *o = &e->options;
    uint64_t number = o->stream != NULL ? e->event.revision : e->event.position;
    if (o->backward) {
        o->before = number;
        e->finished = number <= 1;
    } else {
        o->after = number;
    }
    if (o->limit > 0) {
        o->limit--;
        e->finished = e->finished || o->limit == 0;
    }
    e->retry = (struct daybook_retry){0};
    return DAYBOOK_OK;
}

/* Tries again, or says how it ended. */
static enum daybook_result answer_is_over(struct daybook_events *e)
{
    struct daybook_transfer *t = &e->arrival.transfer;
    if (daybook_transfer_ok(t)) {
        return daybook_arrival_is_cut(&e->arrival)
                   ? daybook_fail_protocol(e->db, "its last event is cut short")
                   : DAYBOOK_END;
    }
    if (!daybook_http_retry(t, &e->retry)) {
        return daybook_fail_transfer(t);
    }
    return start(e) ? DAYBOOK_OK : daybook_fail_memory(e->db);
}
