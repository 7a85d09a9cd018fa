/* json_life: the fields of writes that change what can be read of a stream. */
#include "server/json_int.h"

/* 0 is refused: for a limit it would look like "keep none", and nothing has the revision 0. */
static bool take_number(enum json_kind kind, struct bytes text, bool *set, uint64_t *value)
{
    uint64_t number = 0;
    if (kind != KIND_NULL && (!json_parse_integer(text, INT64_MAX, &number) || number == 0)) {
        return false;
    }
    *set = true;
    *value = number;
    return true;
}

bool json_take_life(struct draft_life *life, enum json_member member, enum json_kind kind,
                    struct bytes text)
{
    struct life_change *c = &life->change;
    if (member == MEMBER_MAX_COUNT) {
        return take_number(kind, text, &c->set_max_count, &c->max_count);
    }
    if (member == MEMBER_MAX_AGE_S) {
        return take_number(kind, text, &c->set_max_age, &c->max_age_s);
    }
    if (member == MEMBER_TRUNCATE_BEFORE) {
        return take_number(kind, text, &c->set_truncate_before, &c->truncate_before);
    }
    if (member == MEMBER_CUSTOM) {
        c->set_custom = true; /* an object is captured, so this is null */
    } else if (kind == KIND_NULL) {
        return true;
    } else if (member == MEMBER_TOMBSTONE) {
        life->tombstone = bytes_equal(text, BYTES_LITERAL("true"));
    } else if (member == MEMBER_REASON) {
        life->reason = text;
    } else if (member == MEMBER_REVISION) {
        return take_number(kind, text, &life->revision_given, &life->revision);
    }
    return true;
}

bool json_take_custom(struct draft_life *life, struct bytes text)
{
    life->change.set_custom = true;
    life->change.custom = text;
    life->custom_is_json = true;
    return true;
}

void json_begin_command(struct draft *d, enum json_context command)
{
    if (command == IN_SET_METADATA) {
        draft_begin_life(d, COMMAND_SET_METADATA, "set_metadata.");
    } else if (command == IN_DELETE_STREAM) {
        draft_begin_life(d, COMMAND_DELETE_STREAM, "delete_stream.");
    } else if (command == IN_REDACT) {
        draft_begin_life(d, COMMAND_REDACT, "redact.");
    } else {
        d->many = command == IN_MANY;
        d->root = d->many ? "append_many." : "append.";
    }
}
