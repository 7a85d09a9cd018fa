/* json_snapshot: snapshots in JSON; the state's bytes are kept as they came. */
#include "server/base64.h"
#include "server/json_int.h"
#include "server/json_members.h"
#include "server/snapshot_draft.h"

#include <stdio.h>

#define SHOWN_NAME_MAX 64

enum member {
    MEMBER_OF_STREAM,
    MEMBER_OF_REVISION,
    MEMBER_OF_DATA,
    MEMBER_OF_BASE64,
    MEMBER_OF_CONTENT_TYPE,
    MEMBER_OF_SCHEMA_VERSION,
    MEMBER_OF_NAME,
    MEMBER_COUNT
};

static const struct {
    const char *name;
    unsigned kinds;
    const char *wanted;
} members[MEMBER_COUNT] = {
    [MEMBER_OF_STREAM] = {"stream", BIT(KIND_STRING), "a string"},
    [MEMBER_OF_REVISION] = {"revision", BIT(KIND_NUMBER), "an integer from 1"},
    [MEMBER_OF_DATA] = {"data", ANY_KIND, ""},
    [MEMBER_OF_BASE64] = {"data_base64", BIT(KIND_STRING), "a base64 string"},
    [MEMBER_OF_CONTENT_TYPE] = {"content_type", BIT(KIND_STRING), "a string"},
    [MEMBER_OF_SCHEMA_VERSION] = {"schema_version", BIT(KIND_NUMBER),
                                  "an integer from 0 to 4294967295"},
    [MEMBER_OF_NAME] = {"name", BIT(KIND_STRING), "a string"},
};

struct reading {
    struct snapshot_draft *d;
    unsigned seen;
};

static bool reject_unknown(struct snapshot_draft *d, struct bytes name)
{
    size_t n = name.n > SHOWN_NAME_MAX ? SHOWN_NAME_MAX : name.n;
    bool showable = event_name_is_valid(bytes_of(name.p, n));
    char *field = showable ? arena_alloc(d->arena, n + 1) : NULL;
    if (field != NULL) {
        memcpy(field, name.p, n);
        field[n] = '\0';
    }
    return snapshot_reject(d, PROBLEM_UNKNOWN_FIELD, field,
                           "a snapshot has revision, data or data_base64, content_type, "
                           "schema_version and name");
}

static bool take_data(struct snapshot_draft *d, struct bytes data, enum snapshot_data form)
{
    if (d->data != SNAPSHOT_DATA_NONE) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "data_base64",
                               "data is there too: send one of them");
    }
    d->data = form;
    d->snapshot.data = data;
    return true;
}

static bool take_base64(struct snapshot_draft *d, struct bytes text)
{
    size_t n;
    uint8_t *to = arena_alloc(d->arena, BASE64_DECODED_MAX(text.n));
    if (to == NULL) {
        return snapshot_reject(d, PROBLEM_OVERLOADED, NULL,
                               "there is not enough memory for this request");
    }
    if (!base64_decode(text, to, &n)) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "data_base64",
                               "must be base64 with padding and no line breaks");
    }
    return take_data(d, bytes_of(to, n), SNAPSHOT_DATA_BASE64);
}

static bool take_number(struct snapshot_draft *d, enum member member, struct bytes text)
{
    bool is_revision = member == MEMBER_OF_REVISION;
    uint64_t number = 0;
    if (!json_parse_integer(text, is_revision ? INT64_MAX : UINT32_MAX, &number)) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, members[member].name, "must be %s",
                               members[member].wanted);
    }
    if (is_revision) {
        d->revision_given = true;
        d->snapshot.revision = number;
    } else {
        d->snapshot.schema_version = (uint32_t)number;
    }
    return true;
}

/* Where a value is null the field counts as absent, but for the state, which may be null. */
static bool take(struct snapshot_draft *d, enum member member, const struct json_found *found)
{
    if (found->kind == KIND_NULL && member != MEMBER_OF_DATA) {
        return true;
    }
    if ((members[member].kinds & BIT(found->kind)) == 0) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, members[member].name, "must be %s",
                               members[member].wanted);
    }
    switch (member) {
    case MEMBER_OF_STREAM:
        d->stream = found->text;
        return true;
    case MEMBER_OF_DATA:
        return take_data(d, found->source, SNAPSHOT_DATA_JSON);
    case MEMBER_OF_BASE64:
        return take_base64(d, found->text);
    case MEMBER_OF_CONTENT_TYPE:
        d->snapshot.content_type = found->text;
        return true;
    case MEMBER_OF_NAME:
        d->snapshot.name = found->text;
        return true;
    case MEMBER_OF_REVISION:
    case MEMBER_OF_SCHEMA_VERSION:
    case MEMBER_COUNT:
        break;
    }
    return take_number(d, member, found->source);
}

static bool take_member(void *ctx, const struct json_found *found)
{
    struct reading *r = ctx;
    unsigned i = 0;
    while (i < MEMBER_COUNT && !bytes_equal(found->name, bytes_of_string(members[i].name))) {
        i++;
    }
    if (i == MEMBER_COUNT) {
        return reject_unknown(r->d, found->name);
    }
    if ((r->seen & 1u << i) != 0) {
        return snapshot_reject(r->d, PROBLEM_INVALID_FIELD, members[i].name,
                               "the field is there twice");
    }
    r->seen |= 1u << i;
    return take(r->d, (enum member)i, found);
}

bool json_read_snapshot(struct bytes body, struct snapshot_draft *d)
{
    struct reading r = {.d = d};
    const struct json_members_handler handler = {.member = take_member, .ctx = &r};
    char detail[JSON_DETAIL_MAX];
    switch (json_read_members(body, false, d->arena, &handler, detail)) {
    case JSON_MEMBERS_OK:
        return true;
    case JSON_MEMBERS_INVALID:
        return snapshot_reject(d, PROBLEM_INVALID_JSON, NULL, "%s", detail);
    case JSON_MEMBERS_KIND:
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, NULL, "the body must be an object");
    case JSON_MEMBERS_MEMORY:
        return snapshot_reject(d, PROBLEM_OVERLOADED, NULL,
                               "there is not enough memory for this request");
    case JSON_MEMBERS_STOPPED:
        break;
    }
    return false;
}

/* ---- writing ---- */

static void put_head(struct buf *b, struct bytes stream, uint64_t revision)
{
    buf_put_string(b, "{\"stream\":");
    buf_put_json_string(b, stream);
    buf_put_string(b, ",\"revision\":");
    buf_put_u64(b, revision);
}

void json_put_snapshot(struct buf *b, struct bytes stream, const struct snapshot *s)
{
    bool is_json = event_content_is_json(s->content_type);
    put_head(b, stream, s->revision);
    if (s->name.n > 0) {
        buf_put_string(b, ",\"name\":");
        buf_put_json_string(b, s->name);
    }
    if (s->schema_version > 0) {
        buf_put_string(b, ",\"schema_version\":");
        buf_put_u64(b, s->schema_version);
    }
    buf_put_string(b, ",\"time\":");
    json_put_time(b, s->time_us);
    buf_put_string(b, ",\"content_type\":");
    buf_put_json_string(b, s->content_type.n > 0 ? s->content_type
                                                 : BYTES_LITERAL("application/json"));
    if (is_json) {
        buf_put_string(b, ",\"data\":");
        buf_put(b, s->data);
        buf_put_byte(b, '}');
    } else {
        buf_put_string(b, ",\"data_base64\":\"");
        buf_put_base64(b, s->data);
        buf_put_string(b, "\"}");
    }
}

void json_put_snapshot_answer(struct buf *b, const struct snapshot_answer *a)
{
    put_head(b, a->stream, a->revision);
    buf_put_string(b, ",\"time\":");
    json_put_time(b, a->time_us);
    buf_put_string(b, a->replaced ? ",\"replaced\":true}" : ",\"replaced\":false}");
}
