/* Tests of projections/state_env.c: the environment is made once, kept, and refused where it is of
 * another version. */
#include "projections/state_env.h"

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define MAP_BYTES ((uint64_t)1 << 26)

static struct bytes key_of(char owner, const char *rest, uint8_t buffer[16])
{
    buffer[0] = (uint8_t)owner;
    memcpy(buffer + 1, rest, strlen(rest));
    return bytes_of(buffer, 1 + strlen(rest));
}

static void put(struct kv *kv, struct bytes key, struct bytes value)
{
    struct kv_txn *txn;
    assert_int_equal(kv_begin(kv, true, &txn), ERR_OK);
    assert_int_equal(kv_put(txn, STATE_TABLE, key, value), ERR_OK);
    assert_int_equal(kv_commit(txn), ERR_OK);
}

/* What was put is there when it is opened again. */
static void test_state_env_keeps_rows(void **state)
{
    (void)state;
    struct test_dir dir;
    char path[TEST_PATH_MAX];
    uint8_t buffer[16];
    struct state_env *env;
    struct kv_txn *txn;
    struct bytes found;
    test_dir_make(&dir);
    test_path(&dir, "state", path);
    assert_int_equal(state_env_open(path, MAP_BYTES, &env, NULL), ERR_OK);
    put(state_env_kv(env), key_of(STATE_SNAPSHOTS, "a", buffer), BYTES_LITERAL("one"));
    state_env_close(env);
    assert_int_equal(state_env_open(path, MAP_BYTES, &env, NULL), ERR_OK);
    assert_int_equal(kv_begin(state_env_kv(env), false, &txn), ERR_OK);
    assert_int_equal(kv_get(txn, STATE_TABLE, key_of(STATE_SNAPSHOTS, "a", buffer), &found),
                     ERR_OK);
    assert_true(bytes_equal(found, BYTES_LITERAL("one")));
    kv_abort(txn);
    state_env_close(env);
    test_dir_remove(&dir);
}

/* Another version's environment is refused, in words, and a parent that is missing too. */
static void test_state_env_refusals(void **state)
{
    (void)state;
    struct test_dir dir;
    char path[TEST_PATH_MAX];
    uint8_t buffer[16], version[8];
    struct state_env *env;
    struct err_text et = {0};
    test_dir_make(&dir);
    assert_int_equal(state_env_open("/nonexistent/state", MAP_BYTES, &env, &et), ERR_NOT_FOUND);
    assert_non_null(strstr(et.text, "/nonexistent/state"));
    test_path(&dir, "state", path);
    assert_int_equal(state_env_open(path, MAP_BYTES, &env, NULL), ERR_OK);
    bytes_put_u64le(version, 99);
    put(state_env_kv(env), key_of(STATE_FORMAT, "", buffer), bytes_of(version, sizeof version));
    state_env_close(env);
    assert_int_equal(state_env_open(path, MAP_BYTES, &env, &et), ERR_FORMAT);
    assert_non_null(strstr(et.text, "format 99"));
    test_dir_remove(&dir);
}

/* A full disk at the first start makes nothing half, and the next start goes well. */
static void test_state_env_disk_full_at_first(void **state)
{
    (void)state;
    struct test_dir dir;
    char path[TEST_PATH_MAX];
    struct state_env *env;
    test_dir_make(&dir);
    test_path(&dir, "state", path);
    fault_arm(FAULT_KV_PUT, 1, false);
    assert_int_equal(state_env_open(path, MAP_BYTES, &env, NULL), ERR_DISK_FULL);
    fault_arm(FAULT_KV_PUT, 0, false);
    assert_int_equal(state_env_open(path, MAP_BYTES, &env, NULL), ERR_OK);
    state_env_close(env);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_env_keeps_rows),
        cmocka_unit_test(test_state_env_refusals),
        cmocka_unit_test(test_state_env_disk_full_at_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
