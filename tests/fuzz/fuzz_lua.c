/* Lua of strangers: the input is a document projection's script. One that is accepted folds some
 * events; each state it makes is JSON within its limit, and put there again from that JSON it is
 * saved as the same bytes. Whatever is refused must say why. */
#include "projections/script_lua.h"
#include "server/json.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ASKED_MAX 20

static unsigned asked;

static bool cancelled(void *ctx)
{
    (void)ctx;
    return ++asked > ASKED_MAX;
}

static void expect_why(err_t err, const struct err_text *et)
{
    CHECK(err == ERR_OK || err == ERR_MEMORY || err == ERR_CLOSED || et->text[0] != '\0');
    CHECK(bytes_are_utf8(bytes_of_string(et->text)));
}

static struct event an_event(uint64_t position)
{
    static const char *const data[] = {
        "{\"a\":\"x\",\"n\":[1,2.5,{\"m\":1.10,\"z\":null}],\"big\":1e400,\"e\":[]}",
        "[9223372036854775807,9223372036854775808,-0.0,\"\\u0000\\ud83d\\ude00\",true]",
        "\"text\"",
    };
    return (struct event){
        .position = position,
        .revision = position,
        .time_us = 1700000000000000,
        .stream = BYTES_LITERAL("s-1"),
        .id = BYTES_LITERAL("0123456789abcdef"),
        .type = position % 2 == 1 ? BYTES_LITERAL("A") : BYTES_LITERAL("B"),
        .data = bytes_of_string(data[position % 3]),
        .metadata = BYTES_LITERAL("{\"user\":\"7\"}"),
        .occurred_at = BYTES_LITERAL("2026-01-01T00:00:00Z"),
        .tag_count = 1,
        .tags = {BYTES_LITERAL("t:1")},
    };
}

/* Saves a state, drops it, loads it and saves it again. */
static void check_state(struct script_lua *s, struct bytes key)
{
    struct err_text et = {0};
    struct buf first, again;
    char detail[JSON_DETAIL_MAX];
    buf_init(&first, 2 * SCRIPT_STATE_MAX);
    buf_init(&again, 2 * SCRIPT_STATE_MAX);
    err_t err = script_lua_save(s, key, &first, &et);
    expect_why(err, &et);
    if (err == ERR_OK) {
        CHECK(buf_bytes(&first).n <= SCRIPT_STATE_MAX);
        CHECK(json_check(buf_bytes(&first), false, detail));
        script_lua_forget(s);
        err = script_lua_load(s, key, buf_bytes(&first), &et);
        if (err == ERR_OK && script_lua_save(s, key, &again, &et) == ERR_OK) {
            CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&again)));
        }
    }
    buf_done(&again);
    buf_done(&first);
}

static err_t fold(struct script_lua *s, struct bytes key, struct err_text *et)
{
    bool deleted = false;
    err_t err = script_lua_fold(s, key, &deleted, et);
    if (err == ERR_NOT_FOUND) {
        err = script_lua_load(s, key, BYTES_NONE, et);
        err = err == ERR_OK ? script_lua_fold(s, key, &deleted, et) : err;
        CHECK(err != ERR_NOT_FOUND);
    }
    if (err == ERR_OK && !deleted) {
        check_state(s, key);
    }
    return err;
}

static void feed(struct script_lua *s, uint64_t position)
{
    struct err_text et = {0};
    struct event e = an_event(position);
    const struct bytes *keys;
    size_t n = 0;
    err_t err = script_lua_begin(s, &e, &keys, &n, &et);
    CHECK(n <= SCRIPT_KEYS_MAX);
    if (err == ERR_OK && n > 0) {
        err = fold(s, keys[0], &et);
    }
    if (err != ERR_OK) {
        expect_why(err, &et);
        script_lua_forget(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err_text et = {0};
    struct script_lua *s = NULL;
    err_t err = script_lua_open(bytes_of(data, size), &s, &et);
    expect_why(err, &et);
    CHECK((err == ERR_OK) == (s != NULL));
    if (s == NULL) {
        return 0;
    }
    asked = 0;
    script_lua_set_cancel(s, cancelled, NULL);
    CHECK(script_lua_filter(s)->type_count <= STORE_FILTER_MAX);
    for (uint64_t position = 1; position <= 4; position++) {
        feed(s, position);
    }
    script_lua_close(s);
    return 0;
}
