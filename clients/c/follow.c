/* follow: the iterator that goes on behind the last event.
 *
 * A followed read is an EventBatch without an end: events, and between them what the server says of
 * where it is. `options.after` moves on with both, so that a connection made anew asks for what
 * follows the last thing that was said: no event comes twice, none is left out, and where a filter
 * lets little through nothing is searched again. What was received but not taken yet when a
 * connection is lost is taken first; the part of an event behind it is thrown away with the
 * connection. */
#include "client_int.h"

#include "daybook/v1/events.pb-c.h"

#include <stdlib.h>

#define HEARTBEAT_MS   15000
#define HEARTBEATS_MAX 3    /* missed */
#define STEADY_MS      1000 /* an answer that went on for so long is no failure when it ends */
#define SILENCE_MS_MAX ((uint64_t)HEARTBEATS_MAX * 3600 * 1000)

struct daybook_follower {
    struct daybook *db;        /* borrowed */
    struct daybook_arena kept; /* the options' strings */
    struct daybook_follow_options options;
    struct daybook_arrival arrival;
    struct daybook_arena arena; /* the current event */
    struct daybook_event event;
    struct daybook_followed followed;
    bool finished;
    uint64_t begun_ms;   /* when the request was made */
    uint64_t silence_ms; /* after which the connection is lost */
    bool heard, beaten;  /* since then: anything; a heartbeat */
    struct daybook_retry retry;
    enum daybook_result failed;
};

static const char *fault(const struct daybook_follow_options *o);
static uint64_t first_silence_ms(const struct daybook_follow_options *o);
static bool start(struct daybook_follower *f);
static enum daybook_result take(struct daybook_follower *f, const struct daybook_field *field,
                                bool *ret_taken);
static enum daybook_result take_event(struct daybook_follower *f, struct daybook_bytes packed);
static enum daybook_result take_control(struct daybook_follower *f, struct daybook_bytes packed,
                                        bool *ret_taken);
static void move_on(struct daybook_follower *f, uint64_t after);
static enum daybook_result answer_is_over(struct daybook_follower *f);

enum daybook_result daybook_follow(struct daybook *db, const struct daybook_follow_options *options,
                                   struct daybook_follower **ret)
{
    static const struct daybook_follow_options everything;
    const char *why = options == NULL ? NULL : fault(options);
    if (why != NULL) {
        return daybook_fail_argument(db, why);
    }
    struct daybook_follower *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return daybook_fail_memory(db);
    }
    f->db = db;
    f->options = options == NULL ? everything : *options;
    f->retry.limit_ms = f->options.first_retry_ms;
    f->silence_ms = first_silence_ms(&f->options);
    if (f->options.retry_ms == 0) {
        f->options.retry_ms = DAYBOOK_RETRY_FOREVER;
    }
    if (!daybook_arrival_init(&f->arrival, db) ||
        !daybook_read_options_keep(&f->kept, &f->options.read) || !start(f)) {
        daybook_follow_free(f);
        return daybook_fail_memory(db);
    }
    *ret = f;
    return DAYBOOK_OK;
}

/* What does not go together in the options; NULL where all does. */
static const char *fault(const struct daybook_follow_options *o)
{
    if (o->read.backward || o->read.before > 0) {
        return "only forward can be followed";
    }
    return o->from_end && o->read.after > 0 ? "from_end and after do not go together" : NULL;
}

static uint64_t first_silence_ms(const struct daybook_follow_options *o)
{
    uint64_t heartbeat_ms = o->heartbeat_ms == 0 ? HEARTBEAT_MS : o->heartbeat_ms;
    return heartbeat_ms < SILENCE_MS_MAX / HEARTBEATS_MAX ? heartbeat_ms * HEARTBEATS_MAX
                                                          : SILENCE_MS_MAX;
}

void daybook_follow_free(struct daybook_follower *f)
{
    if (f != NULL) {
        daybook_arrival_done(&f->arrival);
        daybook_arena_done(&f->kept);
        daybook_arena_done(&f->arena);
        free(f);
    }
}

/* Begins the request, or begins it again behind what came last. */
static bool start(struct daybook_follower *f)
{
    f->begun_ms = daybook_now_ms();
    f->heard = f->beaten = false;
    f->arrival.transfer.timeout_ms = f->silence_ms;
    return daybook_arrival_start(&f->arrival, &f->options.read,
                                 f->options.from_end ? DAYBOOK_READING_NEW : DAYBOOK_READING_ON);
}

enum daybook_result daybook_follow_next(struct daybook_follower *f,
                                        const struct daybook_followed **ret)
{
    while (f->failed == DAYBOOK_OK) {
        struct daybook_field field;
        bool taken = false;
        if (f->finished) {
            return DAYBOOK_END;
        }
        switch (daybook_arrival_next(&f->arrival, &field)) {
        case DAYBOOK_FRONT_FIELD:
            f->failed = take(f, &field, &taken);
            break;
        case DAYBOOK_FRONT_PART:
            f->failed = answer_is_over(f);
            break;
        case DAYBOOK_FRONT_DAMAGED:
            f->failed = daybook_fail_protocol(f->db, "it is no EventBatch");
            break;
        }
        if (taken) {
            f->followed.ready = f->finished || daybook_arrival_is_ready(&f->arrival);
            *ret = &f->followed;
            return DAYBOOK_OK;
        }
    }
    return f->failed;
}

/* ---- what was said ---- */

/* Fields that this library does not know are passed over: a newer server may have more to say. */
static enum daybook_result take(struct daybook_follower *f, const struct daybook_field *field,
                                bool *ret_taken)
{
    /* The connection works: what comes next is another failure, and a follower's own one. */
    f->retry = (struct daybook_retry){.limit_ms = f->options.retry_ms};
    f->heard = true;
    if (field->number == DAYBOOK_FIELD_EVENTS) {
        enum daybook_result result = take_event(f, field->bytes);
        *ret_taken = result == DAYBOOK_OK;
        return result;
    }
    return field->number == DAYBOOK_FIELD_CONTROLS ? take_control(f, field->bytes, ret_taken)
                                                   : DAYBOOK_OK;
}

static enum daybook_result take_event(struct daybook_follower *f, struct daybook_bytes packed)
{
    struct daybook_read_options *o = &f->options.read;
    daybook_arena_reset(&f->arena);
    if (!daybook_event_unpack(&f->arena, packed, &f->event)) {
        return daybook_fail_protocol(f->db, "it has a damaged event");
    }
    uint64_t number = o->stream != NULL ? f->event.revision : f->event.position;
    if (number <= o->after) {
        return daybook_fail_protocol(f->db, "its events are not in order");
    }
    move_on(f, number);
    f->followed = (struct daybook_followed){
        .kind = DAYBOOK_FOLLOWED_EVENT, .event = &f->event, .after = number};
    if (o->limit > 0) {
        o->limit--;
        f->finished = o->limit == 0;
    }
    return DAYBOOK_OK;
}

/* From now on it is known where to go on. */
static void move_on(struct daybook_follower *f, uint64_t after)
{
    f->options.from_end = false;
    f->options.read.after = after;
}

static enum daybook_result take_control(struct daybook_follower *f, struct daybook_bytes packed,
                                        bool *ret_taken)
{
    daybook_arena_reset(&f->arena);
    ProtobufCAllocator allocator = daybook_arena_allocator(&f->arena);
    const Daybook__V1__Control *m = daybook__v1__control__unpack(&allocator, packed.n, packed.p);
    if (m == NULL) {
        return daybook_fail_protocol(f->db, "it has a damaged control message");
    }
    uint64_t after = f->options.read.stream != NULL ? m->revision : m->position;
    if (after > f->options.read.after || f->options.from_end) {
        move_on(f, after);
    }
    *ret_taken = m->kind == DAYBOOK__V1__CONTROL_KIND__CONTROL_KIND_CAUGHT_UP ||
                 m->kind == DAYBOOK__V1__CONTROL_KIND__CONTROL_KIND_HEARTBEAT;
    f->beaten = f->beaten || m->kind == DAYBOOK__V1__CONTROL_KIND__CONTROL_KIND_HEARTBEAT;
    f->followed = (struct daybook_followed){
        .kind = m->kind == DAYBOOK__V1__CONTROL_KIND__CONTROL_KIND_CAUGHT_UP
                    ? DAYBOOK_FOLLOWED_CAUGHT_UP
                    : DAYBOOK_FOLLOWED_HEARTBEAT,
        .after = f->options.read.after,
    };
    return DAYBOOK_OK;
}

/* ---- connections that end ---- */

/* A connection that worked, and went silent without one heartbeat, may be one to a server that is
 * configured to more patience than we are told. */
static void learn_silence(struct daybook_follower *f)
{
    bool silent = f->arrival.transfer.outcome == CURLE_OPERATION_TIMEDOUT;
    if (silent && f->heard && !f->beaten) {
        f->silence_ms = f->silence_ms < SILENCE_MS_MAX / 2 ? f->silence_ms * 2 : SILENCE_MS_MAX;
    }
}

/* Whether to make the request again. An answer that the server has ended as it should, after a
 * while, may have been its last word before a restart, or on a stream that was deleted: that is
 * seen at once. One that ends soon, again and again, is waited for like a failure. */
static bool go_on(struct daybook_follower *f, bool ended)
{
    const struct daybook_transfer *t = &f->arrival.transfer;
    if (!ended) {
        learn_silence(f);
        return daybook_http_retry(t, &f->retry);
    }
    if (daybook_now_ms() - f->begun_ms >= STEADY_MS) {
        return f->options.retry_ms != DAYBOOK_RETRY_NEVER && !f->db->interrupted;
    }
    return daybook_http_wait(t, "the server has ended the answer", &f->retry);
}

static enum daybook_result answer_is_over(struct daybook_follower *f)
{
    bool ended = daybook_transfer_ok(&f->arrival.transfer);
    if (ended && daybook_arrival_is_cut(&f->arrival)) {
        return daybook_fail_protocol(f->db, "its last event is cut short");
    }
    if (go_on(f, ended)) {
        return start(f) ? DAYBOOK_OK : daybook_fail_memory(f->db);
    }
    return ended && !f->db->interrupted ? daybook_fail(f->db, DAYBOOK_ERR_TRANSPORT,
                                                       "the server has ended the answer", "", "")
                                        : daybook_fail_transfer(&f->arrival.transfer);
}
