/* Request targets with their query strings: what http_target takes apart lies inside what came, and
 * each parameter is read as every kind there is. What is accepted means the same when it is written
 * again in its plain form; whatever is refused must say why. */
#include "server/http_target.h"
#include "server/query.h"
#include "storage/base/check.h"
#include "storage/base/timestamp.h"

#include <inttypes.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool parse(enum query_kind kind, struct bytes value, void *ret)
{
    char detail[QUERY_DETAIL_MAX] = {0};
    if (query_parse(kind, value, ret, detail)) {
        return true;
    }
    CHECK(detail[0] != '\0' && memchr(detail, '\0', sizeof detail) != NULL);
    return false;
}

static void check_number(enum query_kind kind, struct bytes value)
{
    struct query_number n = {0}, again = {0};
    if (!parse(kind, value, &n)) {
        return;
    }
    char plain[32];
    int length =
        snprintf(plain, sizeof plain, "%" PRIu64 "%s", n.value, kind == QUERY_WAIT ? "ms" : "");
    CHECK(n.given && n.value <= INT64_MAX && (kind != QUERY_POSITIVE || n.value > 0));
    CHECK(!n.end || (kind == QUERY_NUMBER_OR_END && n.value == 0));
    CHECK(kind != QUERY_WAIT || n.value <= QUERY_WAIT_MS_MAX);
    CHECK(parse(kind, bytes_of(plain, (size_t)length), &again) && again.value == n.value);
}

static void check_time(struct bytes value)
{
    struct query_time t = {0}, again = {0};
    if (parse(QUERY_TIME, value, &t)) {
        char plain[TIMESTAMP_TEXT_BYTES];
        timestamp_format(t.us, plain);
        CHECK(parse(QUERY_TIME, bytes_of(plain, sizeof plain), &again) && again.us == t.us);
    }
}

static void check_value(struct bytes value)
{
    static const enum query_kind numbers[] = {QUERY_NUMBER, QUERY_POSITIVE, QUERY_NUMBER_OR_END,
                                              QUERY_WAIT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        check_number(numbers[i], value);
    }
    check_time(value);
    bool flag = false;
    (void)parse(QUERY_FLAG, value, &flag);
    (void)parse(QUERY_DIRECTION, value, &flag);
    struct bytes name = BYTES_NONE;
    CHECK(parse(QUERY_NAME, value, &name) == event_name_is_valid(value));
    struct query_expectation x = {0};
    CHECK(!parse(QUERY_EXPECTATION, value, &x) || x.value.kind <= EXPECT_REVISION);
}

/* A segment or a parameter is never longer than what it was decoded from. */
static void check_target(const struct http_target *t, struct bytes target)
{
    struct query_names names = {0};
    size_t decoded = 0;
    CHECK(t->path.n <= target.n && t->path.p[t->path.n] == '\0');
    for (size_t i = 0; i < t->segment_count; i++) {
        decoded += t->segments[i].n;
    }
    for (size_t i = 0; i < t->parameter_count; i++) {
        const struct http_parameter *p = &t->parameters[i];
        decoded += p->name.n + p->value.n;
        check_value(p->name);
        check_value(p->value);
        (void)parse(QUERY_NAMES, p->value, &names);
    }
    CHECK(decoded <= target.n && names.n <= STORE_FILTER_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct http_target target;
    const char *fault = NULL;
    arena_init(&arena, 1024, 1u << 22);
    err_t err = http_target_parse(&arena, bytes_of(data, size), &target, &fault);
    if (err == ERR_OK) {
        check_target(&target, bytes_of(data, size));
    } else {
        CHECK(err == ERR_MEMORY || fault != NULL);
    }
    arena_done(&arena);
    return 0;
}
