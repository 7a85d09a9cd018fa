/* query: the calls that ask for one thing: an event, a stream, a page of streams, the server. */
#include "client_int.h"

#include "daybook/v1/status.pb-c.h"
#include "daybook/v1/streams.pb-c.h"

#include <string.h>

/* Ends the URL, makes the call and unpacks the answer into the handle's arena, as `type`. NULL
 * where that fails, with the problem set. */
static const void *ask(struct daybook *db, bool url_ok, const struct daybook_bytes *post,
                       const ProtobufCMessageDescriptor *type)
{
    if (!url_ok || !daybook_url_end(&db->url)) {
        (void)daybook_fail_memory(db);
        return NULL;
    }
    if (daybook_http_call(db, &db->url, post) != DAYBOOK_OK) {
        return NULL;
    }
    daybook_arena_reset(&db->arena);
    ProtobufCAllocator allocator = daybook_arena_allocator(&db->arena);
    const void *answer =
        protobuf_c_message_unpack(type, &allocator, db->call.body.n, db->call.body.p);
    if (answer == NULL) {
        (void)daybook_fail_protocol(db, "it is not the message that was asked for");
    }
    return answer;
}

enum daybook_result daybook_get_event(struct daybook *db, const char *stream, uint64_t number,
                                      const struct daybook_event **ret)
{
    bool ok = stream == NULL ? daybook_url_begin(db, &db->url, "/v1/events/")
                             : daybook_url_begin(db, &db->url, "/v1/streams/") &&
                                   daybook_url_segment(&db->url, stream) &&
                                   daybook_buffer_add_text(&db->url, "/events/");
    ok = ok && daybook_buffer_add_number(&db->url, number) && daybook_url_end(&db->url);
    if (!ok) {
        return daybook_fail_memory(db);
    }
    enum daybook_result result = daybook_http_call(db, &db->url, NULL);
    if (result != DAYBOOK_OK) {
        return result;
    }
    daybook_arena_reset(&db->arena);
    struct daybook_event *event = daybook_arena_get(&db->arena, sizeof *event);
    if (event == NULL) {
        return daybook_fail_memory(db);
    }
    struct daybook_bytes packed = {db->call.body.p, db->call.body.n};
    if (!daybook_event_unpack(&db->arena, packed, event)) {
        return daybook_fail_protocol(db, "it is no Event");
    }
    *ret = event;
    return DAYBOOK_OK;
}

enum daybook_result daybook_get_stream(struct daybook *db, const char *stream,
                                       struct daybook_stream_info *ret)
{
    if (stream == NULL || stream[0] == '\0') {
        return daybook_fail_argument(db, "the stream has no name");
    }
    bool ok =
        daybook_url_begin(db, &db->url, "/v1/streams/") && daybook_url_segment(&db->url, stream);
    const Daybook__V1__StreamInfo *m = ask(db, ok, NULL, &daybook__v1__stream_info__descriptor);
    if (m == NULL) {
        return db->problem.result;
    }
    *ret = (struct daybook_stream_info){
        .stream = m->stream,
        .category = m->category,
        .head_revision = m->head_revision,
        .first_revision = m->first_revision,
        .events = m->events,
        .created_position = m->created_position,
        .created_time_us = m->created_time_us,
        .deleted = m->deleted,
        .tombstoned = m->tombstoned,
        .metadata = {m->metadata.data, m->metadata.len},
        .max_count = m->max_count,
        .max_age_s = m->max_age_s,
        .truncate_before = m->truncate_before,
        .custom = {m->custom.data, m->custom.len},
    };
    return DAYBOOK_OK;
}

static bool add_list_options(struct daybook *db, const struct daybook_list_options *o)
{
    char mark = '?';
    const struct {
        const char *name, *value;
    } texts[] = {{"prefix", o->prefix}, {"category", o->category}, {"after", o->after}};
    bool ok = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].value != NULL) {
            ok = ok && daybook_url_text(&db->url, &mark, texts[i].name, texts[i].value);
        }
    }
    if (o->limit > 0) {
        ok = ok && daybook_url_number(&db->url, &mark, "limit", o->limit);
    }
    return ok;
}

enum daybook_result daybook_list_streams(struct daybook *db,
                                         const struct daybook_list_options *options,
                                         struct daybook_stream_list *ret)
{
    bool ok = daybook_url_begin(db, &db->url, "/v1/streams");
    if (options != NULL) {
        ok = ok && add_list_options(db, options);
    }
    const Daybook__V1__StreamList *m = ask(db, ok, NULL, &daybook__v1__stream_list__descriptor);
    if (m == NULL) {
        return db->problem.result;
    }
    struct daybook_stream_summary *streams =
        daybook_arena_get(&db->arena, (m->n_streams + 1) * sizeof *streams);
    if (streams == NULL) {
        return daybook_fail_memory(db);
    }
    for (size_t i = 0; i < m->n_streams; i++) {
        streams[i] = (struct daybook_stream_summary){.stream = m->streams[i]->stream,
                                                     .category = m->streams[i]->category,
                                                     .head_revision = m->streams[i]->head_revision};
    }
    *ret = (struct daybook_stream_list){
        .streams = streams, .streams_n = m->n_streams, .next = m->next, .end = m->end};
    return DAYBOOK_OK;
}

enum daybook_result daybook_get_status(struct daybook *db, struct daybook_status *ret)
{
    bool ok = daybook_url_begin(db, &db->url, "/v1/status");
    const Daybook__V1__Status *m = ask(db, ok, NULL, &daybook__v1__status__descriptor);
    if (m == NULL) {
        return db->problem.result;
    }
    *ret = (struct daybook_status){
        .version = m->version,
        .store_id = m->store_id,
        .position = m->position,
        .applied_position = m->applied_position,
        .streams = m->streams,
        .uptime_s = m->uptime_s,
        .data_bytes = m->data_bytes,
        .tail_bytes = m->tail_bytes,
        .tail_bytes_max = m->tail_bytes_max,
        .queue_length = m->queue_length,
        .queue_length_max = m->queue_length_max,
        .connections = m->connections,
        .followers = m->followers,
        .follower_lag_events = m->follower_lag_events,
        .map_used_bytes = m->map_used_bytes,
        .map_bytes = m->map_bytes,
        .disk_free_bytes = m->disk_free_bytes,
        .disk_full = m->disk_full,
        .memory_bytes = m->memory_bytes,
    };
    return DAYBOOK_OK;
}

/* The server says nothing until it has walked through everything: no limit on its silence. */
enum daybook_result daybook_verify(struct daybook *db, struct daybook_verify_report *ret)
{
    const struct daybook_bytes nothing = {NULL, 0};
    bool ok = daybook_url_begin(db, &db->url, "/v1/admin/verify");
    db->call.timeout_ms = 0;
    const Daybook__V1__VerifyReport *m =
        ask(db, ok, &nothing, &daybook__v1__verify_report__descriptor);
    db->call.timeout_ms = db->options.timeout_ms;
    if (m == NULL) {
        return db->problem.result;
    }
    *ret = (struct daybook_verify_report){
        .ok = m->ok,
        .events = m->events,
        .streams = m->streams,
        .findings = (const char *const *)m->findings,
        .findings_n = m->n_findings,
    };
    return DAYBOOK_OK;
}
