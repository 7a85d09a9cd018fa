/* life: the calls that change what can be read of a stream. Each is a Command. */
#include "client_int.h"

#include "daybook/v1/commands.pb-c.h"

static enum daybook_result send_command(struct daybook *db, const Daybook__V1__Command *command,
                                        struct daybook_changed *ret);
static enum daybook_result check_stream(struct daybook *db, const char *stream);

/* protobuf-c strings are not const, but packing only reads them. */
static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* SetMetadata and DeleteStream have the same fields for what is expected. */
#define SET_EXPECTATION(m, expect, MESSAGE)                                            \
    do {                                                                               \
        if ((expect).kind == DAYBOOK_REVISION) {                                       \
            (m)->expected_case = DAYBOOK__V1__##MESSAGE##__EXPECTED_EXPECTED_REVISION; \
            (m)->expected_revision = (expect).revision;                                \
        } else {                                                                       \
            (m)->expected_case = DAYBOOK__V1__##MESSAGE##__EXPECTED_EXPECTED_STATE;    \
            (m)->expected_state = daybook_state_of((expect).kind);                     \
        }                                                                              \
    } while (0)

enum daybook_result daybook_set_metadata(struct daybook *db, const char *stream,
                                         struct daybook_expect expect,
                                         const struct daybook_metadata_change *change,
                                         struct daybook_changed *ret)
{
    Daybook__V1__SetMetadata m;
    daybook__v1__set_metadata__init(&m);
    Daybook__V1__Command command = DAYBOOK__V1__COMMAND__INIT;
    enum daybook_result result = check_stream(db, stream);
    if (result != DAYBOOK_OK) {
        return result;
    }
    m.stream = unconst(stream);
    SET_EXPECTATION(&m, expect, SET_METADATA);
    if (change->set_max_count) {
        m.max_count_change_case = DAYBOOK__V1__SET_METADATA__MAX_COUNT_CHANGE_MAX_COUNT;
        m.max_count = change->max_count;
    }
    if (change->set_max_age) {
        m.max_age_s_change_case = DAYBOOK__V1__SET_METADATA__MAX_AGE_S_CHANGE_MAX_AGE_S;
        m.max_age_s = change->max_age_s;
    }
    if (change->set_truncate_before) {
        m.truncate_before_change_case =
            DAYBOOK__V1__SET_METADATA__TRUNCATE_BEFORE_CHANGE_TRUNCATE_BEFORE;
        m.truncate_before = change->truncate_before;
    }
    if (change->set_custom) {
        m.custom_change_case = DAYBOOK__V1__SET_METADATA__CUSTOM_CHANGE_CUSTOM;
        m.custom.len = change->custom.n;
        m.custom.data = (uint8_t *)(uintptr_t)change->custom.p;
    }
    command.command_case = DAYBOOK__V1__COMMAND__COMMAND_SET_METADATA;
    command.set_metadata = &m;
    return send_command(db, &command, ret);
}

enum daybook_result daybook_delete_stream(struct daybook *db, const char *stream,
                                          struct daybook_expect expect, bool tombstone,
                                          struct daybook_changed *ret)
{
    Daybook__V1__DeleteStream m = DAYBOOK__V1__DELETE_STREAM__INIT;
    Daybook__V1__Command command = DAYBOOK__V1__COMMAND__INIT;
    enum daybook_result result = check_stream(db, stream);
    if (result != DAYBOOK_OK) {
        return result;
    }
    m.stream = unconst(stream);
    SET_EXPECTATION(&m, expect, DELETE_STREAM);
    m.tombstone = tombstone;
    command.command_case = DAYBOOK__V1__COMMAND__COMMAND_DELETE_STREAM;
    command.delete_stream = &m;
    return send_command(db, &command, ret);
}

enum daybook_result daybook_redact(struct daybook *db, const char *stream, uint64_t revision,
                                   const char *reason, struct daybook_changed *ret)
{
    Daybook__V1__Redact m = DAYBOOK__V1__REDACT__INIT;
    Daybook__V1__Command command = DAYBOOK__V1__COMMAND__INIT;
    enum daybook_result result = check_stream(db, stream);
    if (result == DAYBOOK_OK && revision == 0) {
        result = daybook_fail_argument(db, "revisions count from 1");
    }
    if (result != DAYBOOK_OK) {
        return result;
    }
    m.stream = unconst(stream);
    m.revision = revision;
    if (reason != NULL) {
        m.reason = unconst(reason);
    }
    command.command_case = DAYBOOK__V1__COMMAND__COMMAND_REDACT;
    command.redact = &m;
    return send_command(db, &command, ret);
}

static enum daybook_result check_stream(struct daybook *db, const char *stream)
{
    return stream == NULL || stream[0] == '\0' ? daybook_fail_argument(db, "the stream has no name")
                                               : DAYBOOK_OK;
}

static enum daybook_result send_command(struct daybook *db, const Daybook__V1__Command *command,
                                        struct daybook_changed *ret)
{
    db->request.n = 0;
    if (!daybook_buffer_reserve(&db->request, daybook__v1__command__get_packed_size(command)) ||
        !daybook_url_begin(db, &db->url, "/v1/commands") || !daybook_url_end(&db->url)) {
        return daybook_fail_memory(db);
    }
    db->request.n = daybook__v1__command__pack(command, db->request.p);
    struct daybook_bytes body = {db->request.p, db->request.n};
    enum daybook_result result = daybook_http_call(db, &db->url, &body);
    if (result != DAYBOOK_OK) {
        return result;
    }
    daybook_arena_reset(&db->arena);
    ProtobufCAllocator allocator = daybook_arena_allocator(&db->arena);
    const Daybook__V1__LifeResult *m =
        daybook__v1__life_result__unpack(&allocator, db->call.body.n, db->call.body.p);
    if (m == NULL) {
        return daybook_fail_protocol(db, "it is no LifeResult");
    }
    *ret = (struct daybook_changed){
        .stream = m->stream,
        .position = m->position,
        .head_revision = m->head_revision,
        .first_revision = m->first_revision,
        .deleted = m->deleted,
        .tombstoned = m->tombstoned,
        .duplicate = m->duplicate,
    };
    return DAYBOOK_OK;
}
