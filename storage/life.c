/* life: the rules of hiding, and the bytes of lives and redactions. */
#include "life.h"

#include "storage/base/buf.h"
#include "storage/base/crc32c.h"
#include "storage/wire.h"

#define US_PER_SECOND 1000000
#define ROW_BYTES     20 /* checksum, position and reclaimed, in front of the message */

enum life_field {
    LIFE_STREAM_NAME = 1,
    LIFE_FLOOR = 2,
    LIFE_MAX_COUNT = 3,
    LIFE_MAX_AGE = 4,
    LIFE_TRUNCATE_BEFORE = 5,
    LIFE_CUSTOM = 6,
    LIFE_DELETED_HEAD = 7,
    LIFE_TOMBSTONED = 8,
};

enum redaction_field {
    REDACTION_STREAM = 1,
    REDACTION_REVISION = 2,
    REDACTION_POSITION = 3,
    REDACTION_REASON = 4,
};

/* ---- rules ---- */

uint64_t life_first(const struct life *l, uint64_t head)
{
    uint64_t first = l->floor == 0 ? 1 : l->floor;
    if (l->max_count > 0 && head > l->max_count && head - l->max_count + 1 > first) {
        first = head - l->max_count + 1;
    }
    return first > head + 1 ? head + 1 : first;
}

int64_t life_expiry_us(const struct life *l, int64_t now_us)
{
    if (l->max_age_s == 0 || now_us < 0 || l->max_age_s > (uint64_t)now_us / US_PER_SECOND) {
        return INT64_MIN;
    }
    return now_us - (int64_t)(l->max_age_s * US_PER_SECOND);
}

/* ---- messages ---- */

size_t life_encoded_bytes(const struct life *l)
{
    return wire_bytes_size(l->stream) + wire_optional_number_size(l->floor) +
           wire_optional_number_size(l->max_count) + wire_optional_number_size(l->max_age_s) +
           wire_optional_number_size(l->truncate_before) + wire_optional_bytes_size(l->custom) +
           wire_optional_number_size(l->deleted_head) + wire_optional_number_size(l->tombstoned);
}

static uint8_t *put_optional(uint8_t *p, unsigned field, uint64_t v)
{
    return v == 0 ? p : wire_put_number(p, field, v);
}

uint8_t *life_encode(uint8_t *p, const struct life *l)
{
    p = wire_put_bytes(p, LIFE_STREAM_NAME, l->stream, NULL);
    p = put_optional(p, LIFE_FLOOR, l->floor);
    p = put_optional(p, LIFE_MAX_COUNT, l->max_count);
    p = put_optional(p, LIFE_MAX_AGE, l->max_age_s);
    p = put_optional(p, LIFE_TRUNCATE_BEFORE, l->truncate_before);
    if (l->custom.n > 0) {
        p = wire_put_bytes(p, LIFE_CUSTOM, l->custom, NULL);
    }
    p = put_optional(p, LIFE_DELETED_HEAD, l->deleted_head);
    return put_optional(p, LIFE_TOMBSTONED, l->tombstoned);
}

static bool set_life(struct life *l, const struct wire_field *f)
{
    if (f->is_bytes) {
        struct bytes *to = f->number == LIFE_STREAM_NAME ? &l->stream
                           : f->number == LIFE_CUSTOM    ? &l->custom
                                                         : NULL;
        if (to != NULL) {
            *to = f->content;
        }
        return to != NULL;
    }
    switch (f->number) {
    case LIFE_FLOOR:
        l->floor = f->value;
        return true;
    case LIFE_MAX_COUNT:
        l->max_count = f->value;
        return true;
    case LIFE_MAX_AGE:
        l->max_age_s = f->value;
        return true;
    case LIFE_TRUNCATE_BEFORE:
        l->truncate_before = f->value;
        return true;
    case LIFE_DELETED_HEAD:
        l->deleted_head = f->value;
        return true;
    case LIFE_TOMBSTONED:
        l->tombstoned = f->value == 1;
        return true;
    default:
        return false;
    }
}

err_t life_decode(struct bytes message, struct life *ret)
{
    const uint8_t *p = message.p, *end = message.p + message.n;
    *ret = (struct life){0};
    while (p < end) {
        struct wire_field f;
        if (!wire_get_field(&p, end, &f) || !set_life(ret, &f)) {
            return ERR_CORRUPT;
        }
    }
    bool sound = ret->stream.n > 0 && ret->stream.n <= EVENT_NAME_MAX;
    return sound ? ERR_OK : ERR_CORRUPT;
}

size_t redaction_encoded_bytes(const struct redaction *r)
{
    return wire_bytes_size(r->stream) + wire_optional_number_size(r->revision) +
           wire_optional_number_size(r->position) + wire_optional_bytes_size(r->reason);
}

uint8_t *redaction_encode(uint8_t *p, const struct redaction *r)
{
    p = wire_put_bytes(p, REDACTION_STREAM, r->stream, NULL);
    p = put_optional(p, REDACTION_REVISION, r->revision);
    p = put_optional(p, REDACTION_POSITION, r->position);
    return r->reason.n == 0 ? p : wire_put_bytes(p, REDACTION_REASON, r->reason, NULL);
}

err_t redaction_decode(struct bytes message, struct redaction *ret)
{
    const uint8_t *p = message.p, *end = message.p + message.n;
    *ret = (struct redaction){0};
    while (p < end) {
        struct wire_field f;
        if (!wire_get_field(&p, end, &f)) {
            return ERR_CORRUPT;
        }
        if (f.is_bytes && f.number == REDACTION_STREAM) {
            ret->stream = f.content;
        } else if (f.is_bytes && f.number == REDACTION_REASON) {
            ret->reason = f.content;
        } else if (!f.is_bytes && f.number == REDACTION_REVISION) {
            ret->revision = f.value;
        } else if (!f.is_bytes && f.number == REDACTION_POSITION) {
            ret->position = f.value;
        } else {
            return ERR_CORRUPT;
        }
    }
    return ret->position > 0 && ret->stream.n > 0 ? ERR_OK : ERR_CORRUPT;
}

/* ---- the tables ---- */

/* These rows say what must not be shown: that they say it for another stream, or no more, has to be
 * noticed before anything is. */
uint32_t life_row_checksum(struct bytes key, struct bytes value)
{
    return crc32c(crc32c(0, key), bytes_of(value.p + 4, value.n - 4));
}

static bool is_whole(struct bytes key, struct bytes value, size_t bytes_min)
{
    return value.n >= bytes_min && bytes_get_u32le(value.p) == life_row_checksum(key, value);
}

static err_t decode_value(struct bytes key, struct bytes value, struct life *ret)
{
    if (!is_whole(key, value, ROW_BYTES)) {
        return ERR_CORRUPT;
    }
    err_t err = life_decode(bytes_of(value.p + ROW_BYTES, value.n - ROW_BYTES), ret);
    ret->position = bytes_get_u64le(value.p + 4);
    ret->reclaimed = bytes_get_u64le(value.p + 12);
    return err;
}

err_t lives_get(struct kv_txn *txn, struct bytes stream, struct life *ret)
{
    struct bytes value;
    if (stream.n == 0 || stream.n > EVENT_NAME_MAX) {
        return ERR_NOT_FOUND;
    }
    err_t err = kv_get(txn, KV_LIVES, stream, &value);
    return err == ERR_OK ? decode_value(stream, value, ret) : err;
}

err_t lives_put(struct kv_txn *txn, const struct life *l)
{
    struct buf b;
    size_t n = ROW_BYTES + life_encoded_bytes(l);
    buf_init(&b, n);
    uint8_t *p = buf_reserve(&b, n);
    if (p == NULL) {
        return buf_status(&b);
    }
    bytes_put_u64le(p + 4, l->position);
    bytes_put_u64le(p + 12, l->reclaimed);
    life_encode(p + ROW_BYTES, l);
    bytes_put_u32le(p, life_row_checksum(l->stream, bytes_of(p, n)));
    err_t err = kv_put(txn, KV_LIVES, l->stream, bytes_of(p, n));
    buf_done(&b);
    return err;
}

err_t lives_decode(const struct kv_row *row, struct life *ret)
{
    err_t err = decode_value(row->key, row->value, ret);
    return err == ERR_OK && !bytes_equal(row->key, ret->stream) ? ERR_CORRUPT : err;
}

static struct bytes redaction_key(uint64_t target, uint8_t key[REDACTION_KEY_BYTES])
{
    bytes_put_u64be(key, target);
    return bytes_of(key, REDACTION_KEY_BYTES);
}

err_t redactions_put(struct kv_txn *txn, uint64_t target, uint64_t position)
{
    uint8_t key[REDACTION_KEY_BYTES], value[REDACTION_VALUE_BYTES];
    struct bytes k = redaction_key(target, key), v = bytes_of(value, sizeof value);
    bytes_put_u64le(value + 4, position);
    bytes_put_u32le(value, life_row_checksum(k, v));
    return kv_put(txn, KV_REDACTIONS, k, v);
}

static err_t decode_redaction(struct bytes key, struct bytes value, uint64_t *ret_position)
{
    if (value.n != REDACTION_VALUE_BYTES || !is_whole(key, value, REDACTION_VALUE_BYTES)) {
        return ERR_CORRUPT;
    }
    *ret_position = bytes_get_u64le(value.p + 4);
    return ERR_OK;
}

err_t redactions_get(struct kv_txn *txn, uint64_t target, uint64_t *ret_position)
{
    uint8_t key[REDACTION_KEY_BYTES];
    struct bytes value, k = redaction_key(target, key);
    err_t err = kv_get(txn, KV_REDACTIONS, k, &value);
    return err == ERR_OK ? decode_redaction(k, value, ret_position) : err;
}

err_t redactions_delete(struct kv_txn *txn, uint64_t target)
{
    uint8_t key[REDACTION_KEY_BYTES];
    return kv_delete(txn, KV_REDACTIONS, redaction_key(target, key));
}

err_t redactions_decode(const struct kv_row *row, uint64_t *ret_target, uint64_t *ret_position)
{
    if (row->key.n != REDACTION_KEY_BYTES) {
        return ERR_CORRUPT;
    }
    *ret_target = bytes_get_u64be(row->key.p);
    err_t err = decode_redaction(row->key, row->value, ret_position);
    return err == ERR_OK && *ret_target == 0 ? ERR_CORRUPT : err;
}
