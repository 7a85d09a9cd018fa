/* Protobuf bodies of writes: the first byte of the input chooses the message. Whatever is accepted
 * must make a command, whose data must be JSON where it says so; whatever is refused must say
 * why. */
#include "server/codec.h"
#include "server/json.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct app_limits limits = {
    .event_bytes_max = 4096, .body_bytes_max = 1u << 20, .append_events_max = 100};

/* What was accepted as JSON in a body is JSON on its own. */
static void check_data(const struct draft *d)
{
    char detail[JSON_DETAIL_MAX];
    CHECK(d->life.change.custom.n == 0 || json_check(d->life.change.custom, true, detail));
    for (const struct draft_append *a = d->appends.first; a != NULL; a = a->next) {
        for (const struct draft_event *e = a->first; e != NULL; e = e->next) {
            if (event_content_is_json(e->fields.content_type)) {
                CHECK(json_check(e->fields.data, false, detail));
            }
            if (e->fields.metadata.n > 0) {
                CHECK(json_check(e->fields.metadata, true, detail));
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct arena arena;
    struct draft d;
    struct command *c;
    arena_init(&arena, 1024, 1u << 22);
    draft_init(&d, (enum draft_body)(data[0] % 6), &limits, &arena);
    if (codec_read_draft(bytes_of(data + 1, size - 1), &d) && draft_check(&d) &&
        draft_build(&d, &c)) {
        check_data(&d);
        CHECK(command_kind(c) == d.life.kind && command_appends(c) == d.appends.n);
        CHECK(d.life.kind != COMMAND_APPEND || command_events(c) == d.events);
        command_free(c);
    } else {
        CHECK(d.rejection.detail[0] != '\0');
        CHECK(bytes_are_utf8(bytes_of_string(d.rejection.field)));
        CHECK(bytes_are_utf8(bytes_of_string(d.rejection.detail)));
    }
    arena_done(&arena);
    return 0;
}
