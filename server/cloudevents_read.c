/* cloudevents_read: the JSON event format, one event or a batch. */
#include "server/base64.h"
#include "server/cloudevents_int.h"
#include "server/json_members.h"

struct reader {
    struct cloudevents_input *in;
    /* Of the event that is being read: what its data means, datacontenttype decides at the end. */
    bool has_data, has_base64;
    struct json_found data;
    struct bytes base64;
};

static bool on_open(void *ctx);
static bool on_member(void *ctx, const struct json_found *found);
static bool on_close(void *ctx);

bool cloudevents_read_json(struct cloudevents_input *in, struct bytes body)
{
    char detail[JSON_DETAIL_MAX];
    struct reader r = {.in = in};
    struct json_members_handler handler = {on_open, on_member, on_close, &r};
    bool batch = in->mode == CLOUDEVENTS_JSON_BATCH;
    switch (json_read_members(body, batch, in->draft->arena, &handler, detail)) {
    case JSON_MEMBERS_OK:
        break;
    case JSON_MEMBERS_INVALID:
        return draft_reject(in->draft, PROBLEM_INVALID_JSON, (struct draft_place){-1, -1, -1}, "",
                            "%s", detail);
    case JSON_MEMBERS_KIND:
        return batch ? cloudevents_reject(in, PROBLEM_INVALID_FIELD, BYTES_NONE,
                                          "a batch must be an array of objects")
                     : cloudevents_reject(in, PROBLEM_INVALID_FIELD, BYTES_NONE,
                                          "a CloudEvent must be an object; several are "
                                          "application/cloudevents-batch+json");
    case JSON_MEMBERS_MEMORY:
        return cloudevents_reject(in, PROBLEM_OVERLOADED, BYTES_NONE,
                                  "there is not enough memory for this request");
    case JSON_MEMBERS_STOPPED:
        return false;
    }
    return in->index > 0 ||
           draft_reject(in->draft, PROBLEM_MISSING_FIELD, (struct draft_place){-1, -1, -1}, "",
                        "the batch is empty: at least one event is required");
}

static bool on_open(void *ctx)
{
    struct reader *r = ctx;
    r->has_data = r->has_base64 = false;
    return true;
}

static bool take_base64(struct reader *r, const struct json_found *found)
{
    struct bytes name = BYTES_LITERAL("data_base64");
    if (r->has_base64) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, name, "the member is there twice");
    }
    if (found->kind != KIND_STRING) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, name, "must be a string");
    }
    r->has_base64 = true;
    r->base64 = found->text;
    return true;
}

static bool take_data(struct reader *r, const struct json_found *found)
{
    if (r->has_data) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, found->name,
                                  "the member is there twice");
    }
    r->has_data = true;
    r->data = *found;
    return true;
}

/* A null is as if the member were not there, except of data, where it is a value. */
static bool on_member(void *ctx, const struct json_found *found)
{
    struct reader *r = ctx;
    char why[CLOUDEVENT_WHY_MAX];
    enum cloudevent_type type = CLOUDEVENT_STRING;
    struct bytes text = found->text;
    if (bytes_equal(found->name, BYTES_LITERAL("data"))) {
        return take_data(r, found);
    }
    bool is_null = found->kind == KIND_NULL;
    if (bytes_equal(found->name, BYTES_LITERAL("data_base64")) && !is_null) {
        return take_base64(r, found);
    }
    if (is_null) {
        return true;
    }
    if (found->kind == KIND_OBJECT || found->kind == KIND_ARRAY) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, found->name,
                                  "an attribute is a string, a boolean or an integer");
    }
    if (found->kind != KIND_STRING) {
        type = found->kind == KIND_BOOLEAN ? CLOUDEVENT_BOOLEAN : CLOUDEVENT_INTEGER;
        text = found->source;
    }
    return cloudevent_set(&r->in->event, found->name, type, text, why) ||
           cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, found->name, why);
}

static bool decode_base64(struct reader *r)
{
    struct cloudevent *ce = &r->in->event;
    uint8_t *to = arena_alloc(r->in->draft->arena, BASE64_DECODED_MAX(r->base64.n));
    if (to == NULL) {
        return cloudevents_reject(r->in, PROBLEM_OVERLOADED, BYTES_NONE,
                                  "there is not enough memory for this request");
    }
    size_t n;
    if (!base64_decode(r->base64, to, &n)) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("data_base64"),
                                  "must be base64 with padding and no line breaks");
    }
    ce->form = CLOUDEVENT_DATA_BASE64;
    ce->data = bytes_of(to, n);
    return true;
}

static bool on_close(void *ctx)
{
    struct reader *r = ctx;
    struct cloudevent *ce = &r->in->event;
    if (r->has_data && r->has_base64) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("data_base64"),
                                  "data is there too: send one of them");
    }
    if (r->has_base64) {
        return decode_base64(r) && cloudevents_add(r->in);
    }
    if (r->has_data && cloudevent_media_is_json(ce->datacontenttype)) {
        ce->form = CLOUDEVENT_DATA_JSON;
        ce->data = r->data.source;
    } else if (r->has_data && r->data.kind == KIND_STRING) {
        ce->form = CLOUDEVENT_DATA_TEXT;
        ce->data = r->data.text;
    } else if (r->has_data) {
        return cloudevents_reject(r->in, PROBLEM_INVALID_FIELD, BYTES_LITERAL("data"),
                                  "must be a string, since datacontenttype is not JSON");
    }
    return cloudevents_add(r->in);
}
