/* CloudEvents in every mode: the first byte of the input chooses it, and whether the stream is
 * given. What is accepted makes a command whose metadata is an object, and comes out again as JSON
 * and as protobuf; whatever is refused must say why. In binary mode the input is lines "name:
 * value", an empty one, and the body. */
#include "server/cloudevents_int.h"
#include "server/json.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct app_limits limits = {
    .event_bytes_max = 4096, .body_bytes_max = 1u << 20, .append_events_max = 100};

/* The text up to a byte; *rest becomes what follows it. */
static struct bytes next_part(struct bytes *rest, uint8_t separator)
{
    const uint8_t *end = rest->n == 0 ? NULL : memchr(rest->p, separator, rest->n);
    size_t n = end == NULL ? rest->n : (size_t)(end - rest->p);
    struct bytes part = bytes_of(rest->p, n);
    size_t used = n + (end != NULL);
    *rest = bytes_of(rest->p + used, rest->n - used);
    return part;
}

static bool read_headers(struct cloudevents_input *in, struct bytes text)
{
    struct bytes content_type = BYTES_NONE;
    while (text.n > 0) {
        struct bytes value = next_part(&text, '\n');
        if (value.n == 0) {
            break;
        }
        struct bytes name = next_part(&value, ':');
        if (bytes_equal(name, BYTES_LITERAL("Content-Type"))) {
            content_type = value;
        } else if (!cloudevents_take_header(in, name, value)) {
            return false;
        }
    }
    return cloudevents_take_body(in, content_type, text);
}

static bool read_input(struct cloudevents_input *in, struct bytes text)
{
    switch (in->mode) {
    case CLOUDEVENTS_JSON:
    case CLOUDEVENTS_JSON_BATCH:
        return cloudevents_read_json(in, text);
    case CLOUDEVENTS_PROTOBUF:
    case CLOUDEVENTS_PROTOBUF_BATCH:
        return cloudevents_read_protobuf(in, text);
    case CLOUDEVENTS_NONE:
    case CLOUDEVENTS_BINARY:
        break;
    }
    return read_headers(in, text);
}

static void check_event(const struct draft_event *d)
{
    char detail[JSON_DETAIL_MAX];
    struct buf b;
    struct arena scratch;
    struct event e = {.position = 1,
                      .revision = 1,
                      .stream = BYTES_LITERAL("s"),
                      .id = d->fields.id,
                      .type = d->fields.type,
                      .data = d->fields.data,
                      .content_type = d->fields.content_type,
                      .metadata = d->fields.metadata,
                      .occurred_at = d->fields.occurred_at};
    CHECK(json_check(e.metadata, true, detail));
    buf_init(&b, 1u << 20);
    arena_init(&scratch, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    CHECK(cloudevents_put_json(&b, &scratch, &e) == ERR_OK);
    CHECK(json_check(buf_bytes(&b), true, detail));
    buf_clear(&b);
    CHECK(cloudevents_put_protobuf(&b, &scratch, &e) == ERR_OK);
    arena_done(&scratch);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct arena arena;
    struct draft d;
    struct command *c;
    bool many = (data[0] & 8) != 0;
    arena_init(&arena, 1024, 1u << 22);
    draft_init(&d, many ? DRAFT_APPEND_MANY : DRAFT_APPEND, &limits, &arena);
    struct cloudevents_input in = {.stream = many ? BYTES_NONE : BYTES_LITERAL("s")};
    cloudevents_input_init(&in, &d, (enum cloudevents_mode)(CLOUDEVENTS_BINARY + data[0] % 5));
    if (read_input(&in, bytes_of(data + 1, size - 1)) && draft_check(&d) && draft_build(&d, &c)) {
        for (const struct draft_append *a = d.appends.first; a != NULL; a = a->next) {
            for (const struct draft_event *e = a->first; e != NULL; e = e->next) {
                check_event(e);
            }
        }
        CHECK(command_events(c) == d.events);
        command_free(c);
    } else {
        CHECK(d.rejection.detail[0] != '\0');
        CHECK(bytes_are_utf8(bytes_of_string(d.rejection.field)));
        CHECK(bytes_are_utf8(bytes_of_string(d.rejection.detail)));
    }
    arena_done(&arena);
    return 0;
}
