/* codec_life: protobuf of a stream's life: the writes that change it, and what is known of it. */
#include "server/codec_int.h"

#include "daybook/v1/streams.pb-c.h"
#include "server/json.h"

static const struct draft_place nowhere = {-1, -1, -1};

/* ---- reading ---- */

/* SetMetadata and DeleteStream have the same fields for what is expected. */
#define READ_EXPECTATION(d, m, MESSAGE, target)                                                 \
    do {                                                                                        \
        (target)->expected_given =                                                              \
            (m)->expected_case != DAYBOOK__V1__##MESSAGE##__EXPECTED__NOT_SET;                  \
        if ((m)->expected_case == DAYBOOK__V1__##MESSAGE##__EXPECTED_EXPECTED_REVISION) {       \
            (target)->expected = (struct expectation){EXPECT_REVISION, (m)->expected_revision}; \
        } else if ((target)->expected_given &&                                                  \
                   !codec_read_state((d), (m)->expected_state, nowhere, &(target)->expected)) { \
            return false;                                                                       \
        }                                                                                       \
    } while (0)

bool codec_read_metadata(struct draft *d, const Daybook__V1__SetMetadata *m, const char *root)
{
    draft_begin_life(d, COMMAND_SET_METADATA, root);
    struct draft_append *target = &d->life.target;
    if (codec_has_unknown(d, &m->base, nowhere)) {
        return false;
    }
    target->stream = codec_text(m->stream);
    READ_EXPECTATION(d, m, SET_METADATA, target);
    struct life_change *c = &d->life.change;
    if (m->max_count_change_case == DAYBOOK__V1__SET_METADATA__MAX_COUNT_CHANGE_MAX_COUNT) {
        c->set_max_count = true;
        c->max_count = m->max_count;
    }
    if (m->max_age_s_change_case == DAYBOOK__V1__SET_METADATA__MAX_AGE_S_CHANGE_MAX_AGE_S) {
        c->set_max_age = true;
        c->max_age_s = m->max_age_s;
    }
    if (m->truncate_before_change_case ==
        DAYBOOK__V1__SET_METADATA__TRUNCATE_BEFORE_CHANGE_TRUNCATE_BEFORE) {
        c->set_truncate_before = true;
        c->truncate_before = m->truncate_before;
    }
    if (m->custom_change_case == DAYBOOK__V1__SET_METADATA__CUSTOM_CHANGE_CUSTOM) {
        c->set_custom = true;
        c->custom = bytes_of(m->custom.data, m->custom.len);
    }
    return true;
}

bool codec_read_delete(struct draft *d, const Daybook__V1__DeleteStream *m, const char *root)
{
    draft_begin_life(d, COMMAND_DELETE_STREAM, root);
    struct draft_append *target = &d->life.target;
    if (codec_has_unknown(d, &m->base, nowhere)) {
        return false;
    }
    target->stream = codec_text(m->stream);
    READ_EXPECTATION(d, m, DELETE_STREAM, target);
    d->life.tombstone = m->tombstone != 0;
    return true;
}

bool codec_read_redact(struct draft *d, const Daybook__V1__Redact *m, const char *root)
{
    draft_begin_life(d, COMMAND_REDACT, root);
    if (codec_has_unknown(d, &m->base, nowhere)) {
        return false;
    }
    d->life.target.stream = codec_text(m->stream);
    d->life.revision = m->revision;
    d->life.revision_given = m->revision != 0;
    d->life.reason = codec_text(m->reason);
    return true;
}

/* ---- writing ---- */

void codec_put_life_result(struct buf *b, const struct life_answer *a)
{
    Daybook__V1__LifeResult message = DAYBOOK__V1__LIFE_RESULT__INIT;
    char room[EVENT_NAME_MAX + 1];
    message.stream = codec_terminated(a->stream, room);
    message.position = a->result->position;
    message.head_revision = a->result->head_revision;
    message.first_revision = a->result->first_revision;
    message.deleted = a->result->deleted;
    message.tombstoned = a->result->tombstoned;
    message.duplicate = a->duplicate;
    message.revision = a->revision;
    codec_put_message(b, &message.base);
}

static ProtobufCBinaryData binary(struct bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.n, .data = (uint8_t *)(uintptr_t)bytes.p};
}

void codec_put_stream_info(struct buf *b, struct bytes stream, const struct store_stream_info *info)
{
    Daybook__V1__StreamInfo message = DAYBOOK__V1__STREAM_INFO__INIT;
    char stream_room[EVENT_NAME_MAX + 1];
    char category_room[EVENT_NAME_MAX + 1];
    struct buf metadata;
    buf_init(&metadata, LIFE_CUSTOM_BYTES_MAX + 1024);
    json_put_stream_metadata(&metadata, info);
    message.stream = codec_terminated(stream, stream_room);
    message.category = codec_terminated(event_category(stream), category_room);
    message.head_revision = info->head_revision;
    message.first_revision = info->first_revision;
    message.events = info->events;
    message.created_position = info->created_position;
    message.created_time_us = info->created_time_us;
    message.deleted = info->deleted;
    message.metadata = binary(buf_bytes(&metadata));
    message.tombstoned = info->tombstoned;
    message.max_count = info->max_count;
    message.max_age_s = info->max_age_s;
    message.truncate_before = info->truncate_before;
    message.custom = binary(info->custom);
    codec_put_message(b, &message.base);
    buf_done(&metadata);
}
