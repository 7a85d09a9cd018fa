/* wire: NDJSON lines, entries of an EventBatch, and server-sent events.
 *
 * A message of server-sent events is lines up to an empty one (WHATWG HTML, section 9.2.6). `id` is
 * what the client gives back as Last-Event-ID. A message without data fires no event but moves
 * that id: so a heartbeat is a comment, for whoever looks at the bytes, and such a message. */
#include "server/wire.h"

#include "server/codec.h"
#include "server/json.h"

#define SSE_RETRY_MS "1000"

static void put_sse_id(struct buf *b, uint64_t number)
{
    buf_put_string(b, "id: ");
    buf_put_u64(b, number);
    buf_put_byte(b, '\n');
}

err_t wire_put_event(struct buf *b, struct wire wire, const struct store_record *record)
{
    if (wire.encoding == ENCODING_PROTOBUF) {
        codec_put_batch_event(b, record);
        return buf_status(b);
    }
    struct event e;
    err_t err = store_record_decode(record, &e);
    if (err != ERR_OK) {
        return err;
    }
    if (wire.encoding == ENCODING_SSE) {
        put_sse_id(b, wire.of_stream ? e.revision : e.position);
        buf_put_string(b, "data: ");
    }
    json_put_event_line(b, &e); /* without line breaks inside, which would end the data */
    if (wire.encoding == ENCODING_SSE) {
        buf_put_byte(b, '\n');
    }
    return buf_status(b);
}

static const char *kind_name(enum wire_control_kind kind)
{
    return kind == WIRE_CAUGHT_UP ? "caught_up" : "heartbeat";
}

static void put_numbers(struct buf *b, bool of_stream, const struct wire_control *control)
{
    buf_put_string(b, "\"position\":");
    buf_put_u64(b, control->position);
    if (of_stream) {
        buf_put_string(b, ",\"revision\":");
        buf_put_u64(b, control->revision);
    }
    buf_put_byte(b, '}');
}

static void put_sse_control(struct buf *b, bool of_stream, const struct wire_control *control)
{
    buf_put_string(b, control->kind == WIRE_CAUGHT_UP ? "retry: " SSE_RETRY_MS
                                                        "\nevent: caught_up\n"
                                                      : ": heartbeat\n");
    put_sse_id(b, of_stream ? control->revision : control->position);
    if (control->kind == WIRE_CAUGHT_UP) {
        buf_put_string(b, "data: {");
        put_numbers(b, of_stream, control);
        buf_put_byte(b, '\n');
    }
    buf_put_byte(b, '\n');
}

void wire_put_control(struct buf *b, struct wire wire, const struct wire_control *control)
{
    switch (wire.encoding) {
    case ENCODING_PROTOBUF:
        codec_put_batch_control(b, control, wire.of_stream);
        return;
    case ENCODING_SSE:
        put_sse_control(b, wire.of_stream, control);
        return;
    case ENCODING_JSON:
    case ENCODING_NDJSON:
    case ENCODING_CE_JSON: /* single events and pages, never streams */
    case ENCODING_CE_PROTOBUF:
    case ENCODING_CE_JSON_BATCH:
    case ENCODING_CE_PROTOBUF_BATCH:
        break;
    }
    buf_put_format(b, "{\"control\":\"%s\",", kind_name(control->kind));
    put_numbers(b, wire.of_stream, control);
    buf_put_byte(b, '\n');
}
