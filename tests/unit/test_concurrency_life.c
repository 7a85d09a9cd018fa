/* Tests of streams' lives with the store's threads at once: one writer that appends, deletes,
 * truncates and redacts, one applier that also reclaims, several readers. In every view the log,
 * the streams and their facts must say the same. What a thread finds wrong ends the program
 * (CHECK). */
#include "storage/base/check.h"
#include "tests/unit/support.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define READERS    3
#define STREAMS    12
#define SECONDS    2
#define DEADLINE_S 45

struct shared {
    struct store *store;
    uint64_t seed;
    _Atomic bool stop, writer_done;
    _Atomic uint64_t reads, hidden;
};

struct reader {
    struct shared *shared;
    uint64_t random;
    uint64_t first[STREAMS], last[STREAMS], count[STREAMS]; /* of a read of the log */
};

static struct bytes stream_name(uint64_t i, char ret[16])
{
    snprintf(ret, 16, "c%" PRIu64 "-%" PRIu64, i % 3, i);
    return bytes_of_string(ret);
}

/* ---- the writer ---- */

static struct command *append_to(uint64_t stream, uint64_t *random)
{
    char name[16];
    struct command *c = command_new((size_t)1 << 20);
    CHECK(c != NULL);
    CHECK(command_add_append(c, stream_name(stream, name), TEST_ANY) == ERR_OK);
    for (uint64_t n = 1 + test_below(random, 5); n > 0; n--) {
        uint8_t id[UUID_BYTES];
        test_id(test_random(random), id);
        struct bytes tag = BYTES_LITERAL("tag");
        struct event_draft draft = {.id = bytes_of(id, sizeof id),
                                    .type = BYTES_LITERAL("T"),
                                    .data = BYTES_LITERAL("{\"data\":true}"),
                                    .tags = &tag,
                                    .tag_count = 1};
        CHECK(command_add_event(c, &draft) == ERR_OK);
    }
    return c;
}

static struct command *next_command(struct shared *shared, uint64_t *random)
{
    char name[16];
    uint8_t id[UUID_BYTES];
    uint64_t stream = test_below(random, STREAMS), pick = test_below(random, 40);
    if (pick > 3) {
        return append_to(stream, random);
    }
    struct command *c = command_new((size_t)1 << 20);
    CHECK(c != NULL);
    test_id(test_random(random), id);
    struct bytes n = stream_name(stream, name), fresh = bytes_of(id, sizeof id);
    struct life_change change = {.set_max_count = true, .max_count = test_below(random, 100)};
    uint64_t revision = 1 + test_below(random, store_position(shared->store) / STREAMS + 1);
    err_t err = pick == 0   ? command_delete_stream(c, n, TEST_ANY, false, fresh)
                : pick == 1 ? command_set_metadata(c, n, TEST_ANY, &change, fresh)
                            : command_redact(c, n, revision, BYTES_NONE, fresh);
    CHECK(err == ERR_OK);
    return c;
}

static void *write_events(void *ctx)
{
    struct shared *shared = ctx;
    uint64_t random = shared->seed;
    for (int64_t now_us = TEST_TIME_US; !atomic_load(&shared->stop); now_us++) {
        struct command *c = next_command(shared, &random);
        err_t err;
        while ((err = store_commit(shared->store, &c, 1, now_us)) == ERR_FULL) {
            sched_yield();
        }
        CHECK(err == ERR_OK && command_verdict(c) != VERDICT_FAILED);
        command_free(c);
    }
    atomic_store(&shared->writer_done, true);
    return NULL;
}

/* ---- the applier ---- */

static void *apply_and_reclaim(void *ctx)
{
    struct shared *shared = ctx;
    uint64_t random = shared->seed + 1;
    while (!atomic_load(&shared->writer_done)) {
        bool more;
        CHECK(store_apply(shared->store, test_below(&random, 8) == 0, &more) == ERR_OK);
        CHECK(store_prepare(shared->store) == ERR_OK);
        CHECK(store_reclaim(shared->store, TEST_TIME_US, &more) == ERR_OK);
        if (!more) {
            sched_yield();
        }
    }
    return NULL;
}

/* ---- the readers ---- */

static void take_event(struct reader *r, const struct event *e)
{
    uint64_t stream = strtoull((const char *)e->stream.p + 3, NULL, 10);
    CHECK(stream < STREAMS);
    CHECK(r->count[stream] == 0 || e->revision == r->last[stream] + 1);
    CHECK(e->redacted ? e->data.n == 0 : bytes_equal(e->data, BYTES_LITERAL("{\"data\":true}")));
    r->first[stream] = r->count[stream]++ == 0 ? e->revision : r->first[stream];
    r->last[stream] = e->revision;
}

/* The log, by itself or by the lists of type and tag that every event has. */
static void read_log(struct reader *r, struct store_view *v)
{
    struct bytes type = BYTES_LITERAL("T"), tag = BYTES_LITERAL("tag");
    struct store_query q = {.filter = {.types = &type,
                                       .type_count = test_below(&r->random, 2),
                                       .tags = &tag,
                                       .tag_count = test_below(&r->random, 2)}};
    struct store_read *read;
    struct store_record record;
    struct event event;
    err_t err = store_read_open(v, &q, &read);
    CHECK(err == ERR_OK);
    memset(r->count, 0, sizeof r->count);
    while ((err = store_read_next(read, &record)) == ERR_OK || err == ERR_FULL) {
        if (err == ERR_OK) {
            CHECK(store_record_decode(&record, &event) == ERR_OK);
            take_event(r, &event);
        }
    }
    CHECK(err == ERR_END);
    store_read_close(read);
}

/* The facts of each stream are what the log's read has shown. */
static void check_streams(struct reader *r, struct store_view *v)
{
    for (uint64_t i = 0; i < STREAMS; i++) {
        char name[16];
        struct store_stream_info info;
        err_t err = store_get_stream(v, stream_name(i, name), &info);
        if (err == ERR_NOT_FOUND) {
            CHECK(r->count[i] == 0);
            continue;
        }
        CHECK(err == ERR_OK && info.events == r->count[i]);
        CHECK(info.events == info.head_revision + 1 - info.first_revision);
        CHECK(r->count[i] == 0 || r->first[i] == info.first_revision);
        atomic_fetch_add(&r->shared->hidden, info.first_revision - 1);
    }
}

/* A stream from its end. */
static void read_stream(struct reader *r, struct store_view *v)
{
    char name[16];
    uint64_t i = test_below(&r->random, STREAMS), n = 0;
    struct store_query q = {.stream = stream_name(i, name), .backward = true};
    struct store_read *read;
    struct store_record record;
    err_t err = store_read_open(v, &q, &read);
    CHECK(err == ERR_OK || err == ERR_NOT_FOUND || (err == ERR_GONE && r->count[i] == 0));
    if (err != ERR_OK) {
        return;
    }
    while ((err = store_read_next(read, &record)) == ERR_OK) {
        n++;
    }
    CHECK(err == ERR_END && n == r->count[i]);
    store_read_close(read);
}

static void *read_events(void *ctx)
{
    struct reader *r = ctx;
    while (!atomic_load(&r->shared->stop)) {
        struct store_view *v;
        CHECK(store_view_open(r->shared->store, &v) == ERR_OK);
        read_log(r, v);
        check_streams(r, v);
        read_stream(r, v);
        store_view_close(v);
        atomic_fetch_add(&r->shared->reads, 1);
    }
    return NULL;
}

/* ---- the test ---- */

/* SECONDS, and on a machine that is slow or busy as long as it takes until a read met what is
 * hidden. */
static void wait_for_the_end(struct shared *shared)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    time_t deadline = until.tv_sec + DEADLINE_S;
    until.tv_sec += SECONDS;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0 &&
           until.tv_sec < deadline &&
           (atomic_load(&shared->reads) == 0 || atomic_load(&shared->hidden) == 0)) {
        until.tv_sec++;
    }
}

static void run_threads(struct shared *shared)
{
    static struct reader readers[READERS];
    pthread_t threads[READERS + 2];
    assert_int_equal(pthread_create(&threads[0], NULL, write_events, shared), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, apply_and_reclaim, shared), 0);
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.shared = shared, .random = shared->seed + 2 + i};
        assert_int_equal(pthread_create(&threads[i + 2], NULL, read_events, &readers[i]), 0);
    }
    wait_for_the_end(shared);
    atomic_store(&shared->stop, true);
    for (size_t i = 0; i < READERS + 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

/* In every view, while events are hidden and taken away, all reads agree. */
static void test_views_agree_while_reclaiming(void **state)
{
    (void)state;
    struct test_dir dir;
    struct shared shared = {.seed = test_seed()};
    test_dir_make(&dir);
    shared.store = test_open(&dir);
    run_threads(&shared);
    print_message("%" PRIu64 " events, %" PRIu64 " reads, %" PRIu64 " hidden\n",
                  store_position(shared.store), atomic_load(&shared.reads),
                  atomic_load(&shared.hidden));
    assert_true(atomic_load(&shared.reads) > 0 && atomic_load(&shared.hidden) > 0);
    test_verify_clean(shared.store, store_position(shared.store));
    test_apply_all(shared.store);
    test_reclaim_all(shared.store, TEST_TIME_US);
    test_verify_clean(shared.store, store_position(shared.store));
    store_close(shared.store);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_agree_while_reclaiming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
