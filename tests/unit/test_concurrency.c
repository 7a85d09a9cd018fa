/* Tests of the store with its threads at once: one writer, one applier, several readers. What a
 * thread finds wrong ends the program (CHECK): cmocka's asserts are for the main thread. */
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

#define READERS       3
#define STREAMS       40
#define GROUP_MAX     8
#define EVENTS_MAX    200000
#define SECONDS       2
#define DEADLINE_S    45
#define READ_RECENT   2000
#define FULL_READ_ONE 16 /* one read in so many is of the whole log */

struct shared {
    struct store *store;
    uint64_t seed;
    _Atomic bool stop, writer_done; /* the writer may wait for the applier, never the other way */
    _Atomic uint64_t acknowledged;  /* the last position that a writer was told of */
    _Atomic uint64_t reads;
};

struct reader {
    struct shared *shared;
    uint64_t random;
    uint64_t seen;               /* position of the last view */
    uint64_t revisions[STREAMS]; /* of the read under way */
    uint64_t typed, all;         /* of the read under way */
};

/* ---- the writer ---- */

static struct command *next_command(uint64_t *random, uint64_t heads[STREAMS])
{
    char stream[32], type[32], data[32];
    uint64_t i = test_below(random, STREAMS), n = 1 + test_below(random, 4);
    struct command *c = command_new((size_t)1 << 20);
    CHECK(c != NULL);
    snprintf(stream, sizeof stream, "c%" PRIu64 "-%" PRIu64, i % 3, i);
    struct expectation expected = {EXPECT_REVISION, heads[i]};
    CHECK(command_add_append(c, bytes_of_string(stream), expected) == ERR_OK);
    while (n-- > 0) {
        uint8_t id[UUID_BYTES];
        heads[i]++;
        test_id(i << 32 | heads[i], id);
        snprintf(type, sizeof type, "T%" PRIu64, heads[i] % 3);
        snprintf(data, sizeof data, "%" PRIu64, heads[i]);
        struct event_draft draft = {.id = bytes_of(id, sizeof id),
                                    .id_given = test_below(random, 4) == 0,
                                    .type = bytes_of_string(type),
                                    .data = bytes_of_string(data)};
        CHECK(command_add_event(c, &draft) == ERR_OK);
    }
    return c;
}

static void commit(struct shared *shared, struct command **commands, size_t n, int64_t now_us)
{
    err_t err;
    while ((err = store_commit(shared->store, commands, n, now_us)) == ERR_FULL) {
        sched_yield();
    }
    CHECK(err == ERR_OK);
    for (size_t i = 0; i < n; i++) {
        CHECK(command_verdict(commands[i]) == VERDICT_COMMITTED);
        atomic_store(&shared->acknowledged, command_result(commands[i], 0)->last_position);
        command_free(commands[i]);
    }
}

static void *write_events(void *ctx)
{
    struct shared *shared = ctx;
    uint64_t random = shared->seed, heads[STREAMS] = {0};
    struct command *commands[GROUP_MAX];
    for (int64_t now_us = TEST_TIME_US; !atomic_load(&shared->stop); now_us++) {
        size_t n = 1 + test_below(&random, GROUP_MAX);
        for (size_t i = 0; i < n; i++) {
            commands[i] = next_command(&random, heads);
        }
        commit(shared, commands, n, now_us);
        if (store_position(shared->store) >= EVENTS_MAX) {
            break;
        }
    }
    atomic_store(&shared->writer_done, true);
    return NULL;
}

/* ---- the applier ---- */

static void *apply_events(void *ctx)
{
    struct shared *shared = ctx;
    uint64_t random = shared->seed + 1;
    while (!atomic_load(&shared->writer_done)) {
        bool more;
        CHECK(store_apply(shared->store, test_below(&random, 8) == 0, &more) == ERR_OK);
        CHECK(store_prepare(shared->store) == ERR_OK);
        if (!more) {
            sched_yield();
        }
    }
    return NULL;
}

/* ---- the readers ---- */

static struct event next_event(struct store_read *read, err_t *ret)
{
    struct event event = {0};
    struct store_record record;
    do {
        *ret = store_read_next(read, &record);
    } while (*ret == ERR_FULL);
    CHECK(*ret == ERR_OK || *ret == ERR_END);
    if (*ret == ERR_OK) {
        CHECK(store_record_decode(&record, &event) == ERR_OK);
    }
    return event;
}

static uint64_t number_after(struct bytes text, char mark)
{
    char digits[32] = {0};
    const uint8_t *p = mark == '\0' ? text.p : memchr(text.p, mark, text.n);
    CHECK(p != NULL && text.n < sizeof digits);
    p += mark != '\0';
    memcpy(digits, p, text.n - (size_t)(p - text.p));
    return strtoull(digits, NULL, 10);
}

/* Revisions of each stream go up by one; the payload says the same as the record. */
static void check_event(struct reader *r, const struct event *e, bool backward)
{
    uint64_t stream = number_after(e->stream, '-');
    CHECK(stream < STREAMS);
    uint64_t before = r->revisions[stream];
    CHECK(before == 0 || e->revision == (backward ? before - 1 : before + 1));
    CHECK(number_after(e->data, '\0') == e->revision);
    CHECK(number_after(e->type, 'T') == e->revision % 3);
    r->revisions[stream] = e->revision;
    r->typed += e->revision % 3 == 1;
    r->all++;
}

static void start_read(struct reader *r)
{
    memset(r->revisions, 0, sizeof r->revisions);
    r->typed = r->all = 0;
}

/* The log without a gap from `from` on, to the end of the view. */
static void read_forward(struct reader *r, struct store_view *v, uint64_t from)
{
    struct store_query q = {.from = from};
    struct store_read *read;
    err_t err = store_read_open(v, &q, &read);
    CHECK(err == ERR_OK);
    start_read(r);
    uint64_t position = from;
    for (struct event e = next_event(read, &err); err == ERR_OK; e = next_event(read, &err)) {
        CHECK(e.position == ++position);
        check_event(r, &e, false);
    }
    CHECK(position == store_view_position(v));
    store_read_close(read);
}

/* One type: as many events as the unfiltered read has counted. */
static void read_typed(struct reader *r, struct store_view *v, uint64_t from)
{
    struct bytes type = BYTES_LITERAL("T1");
    struct store_query q = {.from = from, .filter = {.types = &type, .type_count = 1}};
    struct store_read *read;
    uint64_t expected = r->typed, before = from, n = 0;
    err_t err = store_read_open(v, &q, &read);
    CHECK(err == ERR_OK);
    for (struct event e = next_event(read, &err); err == ERR_OK; e = next_event(read, &err)) {
        CHECK(e.position > before && e.revision % 3 == 1);
        before = e.position;
        n++;
    }
    CHECK(n == expected);
    store_read_close(read);
}

static void read_backward(struct reader *r, struct store_view *v)
{
    struct store_query q = {.backward = true};
    struct store_read *read;
    uint64_t position = store_view_position(v) + 1;
    err_t err = store_read_open(v, &q, &read);
    CHECK(err == ERR_OK);
    start_read(r);
    for (struct event e = next_event(read, &err); err == ERR_OK; e = next_event(read, &err)) {
        CHECK(e.position == --position);
        check_event(r, &e, true);
        if (r->all == READ_RECENT) {
            break;
        }
    }
    CHECK(r->all == READ_RECENT || position == 1);
    store_read_close(read);
}

/* One stream, all of it, and its directory entry. */
static void read_stream(struct reader *r, struct store_view *v)
{
    char name[32];
    struct store_stream_info info;
    struct store_read *read;
    uint64_t stream = test_below(&r->random, STREAMS), revision = 0;
    snprintf(name, sizeof name, "c%" PRIu64 "-%" PRIu64, stream % 3, stream);
    struct store_query q = {.stream = bytes_of_string(name)};
    err_t err = store_read_open(v, &q, &read);
    CHECK(err == ERR_OK || err == ERR_NOT_FOUND);
    if (err == ERR_NOT_FOUND) {
        return;
    }
    start_read(r);
    for (struct event e = next_event(read, &err); err == ERR_OK; e = next_event(read, &err)) {
        CHECK(e.revision == ++revision);
        check_event(r, &e, false);
    }
    CHECK(store_get_stream(v, q.stream, &info) == ERR_OK && info.head_revision == revision);
    store_read_close(read);
}

static void list_streams(struct store_view *v)
{
    struct store_list_query q = {.kind = STORE_STREAMS, .limit = STREAMS};
    struct store_name_list list;
    uint64_t sum = 0;
    CHECK(store_list_names(v, &q, &list) == ERR_OK);
    for (size_t i = 0; i < list.n; i++) {
        sum += list.items[i].events;
    }
    CHECK(list.end && sum == store_view_position(v));
    store_name_list_done(&list);
}

static void *read_events(void *ctx)
{
    struct reader *r = ctx;
    while (!atomic_load(&r->shared->stop)) {
        struct store_view *v;
        uint64_t acknowledged = atomic_load(&r->shared->acknowledged);
        CHECK(store_view_open(r->shared->store, &v) == ERR_OK);
        uint64_t position = store_view_position(v);
        CHECK(position >= acknowledged && position >= r->seen);
        r->seen = position;
        bool full = position < READ_RECENT || test_below(&r->random, FULL_READ_ONE) == 0;
        uint64_t from = full ? 0 : position - READ_RECENT;
        read_forward(r, v, from);
        read_typed(r, v, from);
        read_backward(r, v);
        read_stream(r, v);
        list_streams(v);
        store_view_close(v);
        atomic_fetch_add(&r->shared->reads, 1);
    }
    return NULL;
}

/* ---- the test ---- */

/* SECONDS, and on a machine that is slow or busy as long as it takes until there was a read. */
static void wait_for_the_end(struct shared *shared)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    time_t deadline = until.tv_sec + DEADLINE_S;
    until.tv_sec += SECONDS;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0 &&
           until.tv_sec < deadline &&
           (store_position(shared->store) == 0 || atomic_load(&shared->reads) == 0)) {
        until.tv_sec++;
    }
}

/* While events are written and moved to LMDB every view is gapless, has every stream in order, has
 * what was acknowledged before it was opened, and never goes back. */
static void test_store_views_are_consistent_under_load(void **state)
{
    (void)state;
    struct test_dir dir;
    static struct reader readers[READERS];
    struct shared shared = {.seed = test_seed()};
    pthread_t threads[READERS + 2];
    test_dir_make(&dir);
    shared.store = test_open(&dir);
    assert_int_equal(pthread_create(&threads[0], NULL, write_events, &shared), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, apply_events, &shared), 0);
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.shared = &shared, .random = shared.seed + 2 + i};
        assert_int_equal(pthread_create(&threads[i + 2], NULL, read_events, &readers[i]), 0);
    }
    wait_for_the_end(&shared);
    atomic_store(&shared.stop, true);
    for (size_t i = 0; i < READERS + 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    uint64_t position = store_position(shared.store);
    print_message("%" PRIu64 " events, %" PRIu64 " reads\n", position, atomic_load(&shared.reads));
    assert_true(position > 0 && atomic_load(&shared.reads) > 0);
    test_verify_clean(shared.store, position);
    store_close(shared.store);
    shared.store = test_open(&dir);
    test_verify_clean(shared.store, position);
    store_close(shared.store);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_views_are_consistent_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
