/* state_env: see state_env.h. */
#include "projections/state_env.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FORMAT_VERSION    1
#define MAP_BYTES_DEFAULT ((uint64_t)256 << 30)

struct state_env {
    struct kv *kv;
};

/* The version is the only row of its owner: one byte of key, eight of value. */
static err_t check_format(struct kv *kv, struct err_text *et)
{
    uint8_t owner = STATE_FORMAT, value[8];
    struct bytes key = bytes_of(&owner, 1), found;
    struct kv_txn *txn;
    err_t err = kv_begin(kv, true, &txn);
    if (err != ERR_OK) {
        return err_set(et, err, "cannot read the state environment");
    }
    err = kv_get(txn, STATE_TABLE, key, &found);
    if (err == ERR_OK) {
        uint64_t version = found.n == sizeof value ? bytes_get_u64le(found.p) : 0;
        kv_abort(txn);
        return version == FORMAT_VERSION
                   ? ERR_OK
                   : err_set(et, ERR_FORMAT, "the state environment has format %" PRIu64 ", not %d",
                             version, FORMAT_VERSION);
    }
    if (err == ERR_NOT_FOUND) {
        bytes_put_u64le(value, FORMAT_VERSION);
        err = kv_put(txn, STATE_TABLE, key, bytes_of(value, sizeof value));
    }
    if (err != ERR_OK) {
        kv_abort(txn);
        return err_set(et, err, "cannot set up the state environment");
    }
    err = kv_commit(txn);
    return err == ERR_OK ? ERR_OK : err_set(et, err, "cannot set up the state environment");
}

err_t state_env_open(const char *dir, uint64_t map_bytes, struct state_env **ret,
                     struct err_text *et)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return err_set(et, err_from_errno(errno), "cannot make the directory %s", dir);
    }
    struct state_env *env = calloc(1, sizeof *env);
    if (env == NULL) {
        return ERR_MEMORY;
    }
    err_t err = kv_open(dir, map_bytes == 0 ? MAP_BYTES_DEFAULT : map_bytes, false, &env->kv, et);
    if (err == ERR_OK) {
        err = check_format(env->kv, et);
    }
    if (err != ERR_OK) {
        state_env_close(env);
        return err;
    }
    *ret = env;
    return ERR_OK;
}

void state_env_close(struct state_env *env)
{
    if (env != NULL) {
        kv_close(env->kv);
        free(env);
    }
}

struct kv *state_env_kv(struct state_env *env)
{
    return env->kv;
}
