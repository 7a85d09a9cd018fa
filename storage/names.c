/* names: keys and rows of the directory. */
#include "names.h"

#include <assert.h>

#include "storage/base/crc32c.h"

#define NAME_ROW_BYTES  36
#define NAME_ROW_AT_CRC 32 /* of the key and all before it */

static_assert(EVENT_TAGS_MAX <= 1 << NAME_ID_TAG_BITS, "an id says which tag it is");

struct bytes names_key(enum name_kind kind, struct bytes name, uint8_t *key)
{
    key[0] = (uint8_t)kind;
    if (name.n > 0) {
        memcpy(key + 1, name.p, name.n);
    }
    return bytes_of(key, 1 + name.n);
}

/* A row that says another id leads to another name's events, and a smaller head of a stream to
 * revisions that were given already and to events that are hidden. */
static uint32_t checksum(struct bytes key, const uint8_t *value)
{
    return crc32c(crc32c(0, key), bytes_of(value, NAME_ROW_AT_CRC));
}

static err_t decode_row(struct bytes key, struct bytes value, struct name_row *ret)
{
    if (value.n != NAME_ROW_BYTES ||
        bytes_get_u32le(value.p + NAME_ROW_AT_CRC) != checksum(key, value.p)) {
        return ERR_CORRUPT;
    }
    ret->id = bytes_get_u64le(value.p);
    ret->count = bytes_get_u64le(value.p + 8);
    ret->last = bytes_get_u64le(value.p + 16);
    ret->first = bytes_get_u64le(value.p + 24);
    return ret->first > 0 && ret->first >= ret->id >> NAME_ID_TAG_BITS && ret->id > 0 &&
                   ret->last >= ret->first && ret->count > 0
               ? ERR_OK
               : ERR_CORRUPT;
}

err_t names_get(struct kv_txn *txn, enum name_kind kind, struct bytes name, struct name_row *ret)
{
    uint8_t key[NAME_KEY_BYTES_MAX];
    struct bytes value;
    *ret = (struct name_row){0};
    if (name.n > EVENT_NAME_MAX) {
        return ERR_NOT_FOUND; /* no event can have it */
    }
    struct bytes k = names_key(kind, name, key);
    err_t err = kv_get(txn, KV_NAMES, k, &value);
    return err == ERR_OK ? decode_row(k, value, ret) : err;
}

err_t names_put(struct kv_txn *txn, enum name_kind kind, struct bytes name,
                const struct name_row *row)
{
    uint8_t key[NAME_KEY_BYTES_MAX], value[NAME_ROW_BYTES];
    bytes_put_u64le(value, row->id);
    bytes_put_u64le(value + 8, row->count);
    bytes_put_u64le(value + 16, row->last);
    bytes_put_u64le(value + 24, row->first);
    struct bytes k = names_key(kind, name, key);
    bytes_put_u32le(value + NAME_ROW_AT_CRC, checksum(k, value));
    return kv_put(txn, KV_NAMES, k, bytes_of(value, sizeof value));
}

err_t names_delete(struct kv_txn *txn, enum name_kind kind, struct bytes name)
{
    uint8_t key[NAME_KEY_BYTES_MAX];
    return kv_delete(txn, KV_NAMES, names_key(kind, name, key));
}

err_t names_decode(const struct kv_row *row, enum name_kind *ret_kind, struct bytes *ret_name,
                   struct name_row *ret)
{
    if (row->key.n < 2 || row->key.n > NAME_KEY_BYTES_MAX || row->key.p[0] >= NAME_KINDS) {
        return ERR_CORRUPT;
    }
    *ret_kind = (enum name_kind)row->key.p[0];
    *ret_name = bytes_of(row->key.p + 1, row->key.n - 1);
    return decode_row(row->key, row->value, ret);
}
