/* draft_life: the rules for writes that change what can be read of a stream, the same for JSON,
 * protobuf and query parameters, and the commands that are made of them. */
#include "server/draft.h"

#include "server/ids.h"
#include "server/json.h"

/* What a command needs beside what the client sent. */
#define COMMAND_BYTES_MAX ((size_t)4 << 20)
#define REVISION_MAX      INT64_MAX

static bool check_change(struct draft *d, const struct draft_life *life);
static bool check_number(struct draft *d, const char *member, uint64_t value, uint64_t max);
static bool check_custom(struct draft *d, const struct draft_life *life);
static bool check_redact(struct draft *d, const struct draft_life *life);

static const struct draft_place nowhere = {-1, -1, -1};

void draft_begin_life(struct draft *d, enum command_kind kind, const char *root)
{
    d->life = (struct draft_life){.kind = kind, .target.expected.kind = EXPECT_ANY};
    d->root = root;
}

bool draft_check_life(struct draft *d)
{
    const struct draft_life *life = &d->life;
    if (!draft_check_target(d, &life->target)) {
        return false;
    }
    switch (life->kind) {
    case COMMAND_SET_METADATA:
        return check_change(d, life);
    case COMMAND_REDACT:
        return check_redact(d, life);
    case COMMAND_DELETE_STREAM:
    case COMMAND_APPEND:
        break;
    }
    return true;
}

static bool check_change(struct draft *d, const struct draft_life *life)
{
    const struct life_change *c = &life->change;
    if (!c->set_max_count && !c->set_max_age && !c->set_truncate_before && !c->set_custom) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, nowhere, "max_count",
                            "one of max_count, max_age_s, truncate_before and custom is required");
    }
    return check_number(d, "max_count", c->max_count, REVISION_MAX) &&
           check_number(d, "max_age_s", c->max_age_s, DRAFT_AGE_MAX_S) &&
           check_number(d, "truncate_before", c->truncate_before, REVISION_MAX) &&
           check_custom(d, life);
}

/* Numbers stay where microseconds and revisions can be counted with, in every language. */
static bool check_number(struct draft *d, const char *member, uint64_t value, uint64_t max)
{
    return value <= max || draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, member,
                                        "must be at most %llu", (unsigned long long)max);
}

static bool check_custom(struct draft *d, const struct draft_life *life)
{
    struct bytes custom = life->change.custom;
    char detail[JSON_DETAIL_MAX];
    if (custom.n > LIFE_CUSTOM_BYTES_MAX) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "custom",
                            "it is %zu bytes, the limit is %d", custom.n, LIFE_CUSTOM_BYTES_MAX);
    }
    return custom.n == 0 || life->custom_is_json || json_check(custom, true, detail) ||
           draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "custom", "must be a JSON object: %s",
                        detail);
}

static bool check_redact(struct draft *d, const struct draft_life *life)
{
    if (!life->revision_given) {
        return draft_reject(d, PROBLEM_MISSING_FIELD, nowhere, "revision", "revision is required");
    }
    if (life->revision == 0) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "revision",
                            "must be an integer from 1");
    }
    if (!check_number(d, "revision", life->revision, REVISION_MAX)) {
        return false;
    }
    if (life->reason.n > LIFE_REASON_BYTES_MAX) {
        return draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "reason",
                            "it is %zu bytes, the limit is %d", life->reason.n,
                            LIFE_REASON_BYTES_MAX);
    }
    return bytes_are_utf8(life->reason) ||
           draft_reject(d, PROBLEM_INVALID_FIELD, nowhere, "reason", "it is not UTF-8");
}

/* draft_check has been here, so whatever the command refuses is a limit of memory. */
bool draft_build_life(struct draft *d, struct command **ret)
{
    const struct draft_life *life = &d->life;
    struct bytes stream = life->target.stream;
    struct expectation expected = life->target.expected;
    uint8_t id_bytes[UUID_BYTES];
    struct bytes id = bytes_of(id_bytes, sizeof id_bytes);
    struct command *c = command_new(COMMAND_BYTES_MAX);
    err_t err = c == NULL ? ERR_MEMORY : ERR_OK;
    ids_make(id_bytes);
    if (err == ERR_OK && life->kind == COMMAND_SET_METADATA) {
        err = command_set_metadata(c, stream, expected, &life->change, id);
    } else if (err == ERR_OK && life->kind == COMMAND_DELETE_STREAM) {
        err = command_delete_stream(c, stream, expected, life->tombstone, id);
    } else if (err == ERR_OK) {
        err = command_redact(c, stream, life->revision, life->reason, id);
    }
    if (err != ERR_OK) {
        command_free(c);
        return draft_reject(d, PROBLEM_OVERLOADED, nowhere, "",
                            "there is not enough memory for this request");
    }
    *ret = c;
    return true;
}
