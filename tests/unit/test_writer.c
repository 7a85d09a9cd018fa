/* The writer over a real store: every command is decided once, in the order of its submitter, and
 * nothing is lost at stop. */
#include "server/writer.h"

#include "storage/base/fault.h"
#include "tests/unit/support.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SUBMITTERS 4
#define ROUNDS     200
#define DEADLINE_S 60

static const char data[] = "{\"some\":\"data\"}";

struct fixture {
    struct test_dir dir;
    struct store *store;
    struct writer *writer;
    _Atomic int failures;
};

/* A job that somebody waits for. */
struct waited {
    struct writer_job job;
    sem_t decided;
};

static void on_decided(struct writer_job *job)
{
    sem_post(&((struct waited *)job)->decided);
}

static void on_failed(void *ctx, err_t err)
{
    struct fixture *f = ctx;
    assert_int_not_equal(err, ERR_OK);
    f->failures++;
}

static void start(struct fixture *f, size_t queue_max, uint64_t tail_bytes)
{
    struct store_options options = {.dir = f->dir.path,
                                    .map_bytes = 1u << 28,
                                    .segment_bytes = 8u << 20,
                                    .tail_bytes_max = tail_bytes};
    struct err_text et = {0};
    if (store_open(&options, &f->store, &et) != ERR_OK) {
        fail_msg("%s", et.text);
    }
    struct writer_options w = {.store = f->store,
                               .queue_commands_max = queue_max,
                               .queue_bytes_max = 1u << 24,
                               .apply_interval_ms = 20,
                               .failed = on_failed,
                               .ctx = f};
    assert_int_equal(writer_start(&w, &f->writer), ERR_OK);
}

static void stop(struct fixture *f)
{
    writer_stop(f->writer);
    writer_free(f->writer);
    store_close(f->store);
    f->writer = NULL;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_dir_make(&f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fault_arm(FAULT_JOURNAL_WRITE, 0, false);
    test_dir_remove(&f->dir);
    free(f);
    return 0;
}

static struct command *make_command(const char *stream, struct expectation expected,
                                    size_t data_bytes)
{
    static uint8_t zeros[1u << 16];
    static _Atomic uint32_t serial;
    uint8_t id[UUID_BYTES] = {0};
    uint32_t n = serial++;
    memcpy(id, &n, sizeof n);
    struct event_draft draft = {.id = bytes_of(id, sizeof id), .type = BYTES_LITERAL("T")};
    draft.data = data_bytes > 0 ? bytes_of(zeros, data_bytes) : bytes_of_string(data);
    draft.content_type = data_bytes > 0 ? BYTES_LITERAL("a/b") : BYTES_NONE;
    struct command *c = command_new(1u << 20);
    assert_non_null(c);
    assert_int_equal(command_add_append(c, bytes_of_string(stream), expected), ERR_OK);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
    return c;
}

static void wait_decided(struct waited *w)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_S;
    assert_int_equal(sem_timedwait(&w->decided, &deadline), 0);
}

static err_t submit(struct fixture *f, struct waited *w, struct command *c)
{
    w->job = (struct writer_job){.command = c, .decided = on_decided};
    sem_init(&w->decided, 0, 0);
    return writer_submit(f->writer, &w->job);
}

struct submitter {
    struct fixture *fixture;
    pthread_t thread;
    int number;
    bool ok;
};

/* Appends ROUNDS events to a stream of its own, each expecting the one before. */
static void *run_submitter(void *ctx)
{
    struct submitter *s = ctx;
    char stream[32];
    snprintf(stream, sizeof stream, "s-%d", s->number);
    s->ok = true;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct waited w;
        struct command *c = make_command(stream, (struct expectation){EXPECT_REVISION, i}, 0);
        if (submit(s->fixture, &w, c) != ERR_OK) {
            s->ok = false;
            return NULL;
        }
        wait_decided(&w);
        s->ok = s->ok && w.job.error == ERR_OK && command_verdict(c) == VERDICT_COMMITTED &&
                command_result(c, 0)->last_revision == i + 1;
        command_free(c);
    }
    return NULL;
}

static void test_many_submitters(void **state)
{
    struct fixture *f = *state;
    struct submitter submitters[SUBMITTERS];
    start(f, 1000, 0);
    for (int i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){.fixture = f, .number = i};
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, run_submitter, &submitters[i]),
                         0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(submitters[i].thread, NULL);
        assert_true(submitters[i].ok);
    }
    struct writer_stats stats;
    writer_get_stats(f->writer, &stats);
    assert_int_equal(stats.commands, SUBMITTERS * ROUNDS);
    assert_true(stats.groups >= 1 && stats.groups <= stats.commands);
    assert_int_equal(store_position(f->store), SUBMITTERS * ROUNDS);
    stop(f);
    start(f, 1000, 0);
    assert_int_equal(store_position(f->store), SUBMITTERS * ROUNDS);
    stop(f);
}

/* What was committed reaches LMDB without anything else happening. */
static void test_applies_after_the_interval(void **state)
{
    struct fixture *f = *state;
    struct waited w;
    start(f, 10, 0);
    struct command *c = make_command("a", (struct expectation){EXPECT_NO_STREAM, 0}, 0);
    assert_int_equal(submit(f, &w, c), ERR_OK);
    wait_decided(&w);
    command_free(c);
    time_t deadline = time(NULL) + DEADLINE_S;
    while (store_applied_position(f->store) < 1 && time(NULL) < deadline) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_int_equal(store_applied_position(f->store), 1);
    stop(f);
}

static bool type_is_listed(struct fixture *f)
{
    struct store_view *v;
    struct store_name_list names;
    struct store_list_query q = {.kind = STORE_TYPES, .limit = 1};
    assert_int_equal(store_view_open(f->store, &v), ERR_OK);
    assert_int_equal(store_list_names(v, &q, &names), ERR_OK);
    bool listed = names.n > 0;
    store_name_list_done(&names);
    store_view_close(v);
    return listed;
}

/* What was deleted is reclaimed without anything else happening. */
static void test_reclaims_after_a_deletion(void **state)
{
    struct fixture *f = *state;
    struct waited w;
    start(f, 10, 0);
    struct command *commands[] = {
        make_command("a", (struct expectation){EXPECT_NO_STREAM, 0}, 1u << 15),
        test_delete("a", false)};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(submit(f, &w, commands[i]), ERR_OK);
        wait_decided(&w);
        assert_int_equal(command_verdict(commands[i]), VERDICT_COMMITTED);
        command_free(commands[i]);
    }
    time_t deadline = time(NULL) + DEADLINE_S;
    while ((store_applied_position(f->store) < 2 || store_reclaim_is_wanted(f->store)) &&
           time(NULL) < deadline) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_false(store_reclaim_is_wanted(f->store));
    assert_false(type_is_listed(f));
    stop(f);
}

/* More than the tail holds goes through, because the applier makes room. */
static void test_full_tail_waits(void **state)
{
    struct fixture *f = *state;
    enum { COMMANDS = 200 }; /* which the queue holds, and the tail does not */
    static struct waited jobs[COMMANDS];
    start(f, COMMANDS, 1u << 20);
    for (int i = 0; i < COMMANDS; i++) {
        struct command *c = make_command("big", (struct expectation){EXPECT_ANY, 0}, 1u << 16);
        assert_int_equal(submit(f, &jobs[i], c), ERR_OK);
    }
    for (int i = 0; i < COMMANDS; i++) {
        wait_decided(&jobs[i]);
        assert_int_equal(jobs[i].job.error, ERR_OK);
        assert_int_equal(command_verdict(jobs[i].job.command), VERDICT_COMMITTED);
        command_free(jobs[i].job.command);
    }
    stop(f);
}

/* Submits beyond the queue's limit are refused, and everything that was taken is finished by the
 * stop. */
static void test_queue_limit_and_stop(void **state)
{
    struct fixture *f = *state;
    enum { COMMANDS = 2000 };
    static struct waited jobs[COMMANDS];
    size_t taken = 0;
    start(f, 8, 0);
    for (size_t i = 0; i < COMMANDS; i++) {
        struct command *c = make_command("q", (struct expectation){EXPECT_ANY, 0}, 0);
        err_t err = submit(f, &jobs[taken], c);
        if (err == ERR_OK) {
            taken++;
        } else {
            assert_int_equal(err, ERR_FULL);
            command_free(c);
        }
    }
    assert_true(taken < COMMANDS);
    writer_stop(f->writer);
    writer_free(f->writer);
    for (size_t i = 0; i < taken; i++) {
        assert_int_equal(sem_trywait(&jobs[i].decided), 0);
        assert_int_equal(command_verdict(jobs[i].job.command), VERDICT_COMMITTED);
        command_free(jobs[i].job.command);
    }
    assert_int_equal(store_position(f->store), taken);
    assert_int_equal(store_applied_position(f->store), taken);
    store_close(f->store);
}

/* A stop applies what is in the newest generation of the tail too, not only the one that was frozen
 * before it. */
static void test_stop_applies_all_generations(void **state)
{
    struct fixture *f = *state;
    enum { COMMANDS = 12 }; /* of 64 KiB: over half of the tail, which is when one is frozen */
    static struct waited jobs[COMMANDS];
    start(f, COMMANDS, 1u << 20);
    for (int i = 0; i < COMMANDS; i++) {
        struct command *c = make_command("big", (struct expectation){EXPECT_ANY, 0}, 1u << 16);
        assert_int_equal(submit(f, &jobs[i], c), ERR_OK);
        wait_decided(&jobs[i]);
        command_free(c);
    }
    writer_stop(f->writer);
    assert_int_equal(store_applied_position(f->store), COMMANDS);
    writer_free(f->writer);
    store_close(f->store);
}

static err_t submit_in_turn(struct fixture *f, struct waited *w, struct command *c)
{
    w->job = (struct writer_job){.command = c, .decided = on_decided};
    sem_init(&w->decided, 0, 0);
    return writer_submit_in_turn(f->writer, &w->job);
}

static bool is_decided(struct waited *w)
{
    return sem_trywait(&w->decided) == 0;
}

/* One command that comes alone, in a new store; whether it was decided when its turn had ended. */
static bool is_decided_in_turn(struct fixture *f)
{
    struct waited before, alone;
    struct command *c = make_command("t", (struct expectation){EXPECT_ANY, 0}, 0);
    start(f, 8, 0);
    assert_int_equal(submit(f, &before, c), ERR_OK);
    wait_decided(&before);
    command_free(c);
    c = make_command("t", (struct expectation){EXPECT_ANY, 0}, 0);
    assert_int_equal(submit_in_turn(f, &alone, c), ERR_OK);
    writer_end_turn(f->writer);
    bool at_once = is_decided(&alone);
    if (!at_once) {
        wait_decided(&alone);
    }
    assert_int_equal(command_verdict(c), VERDICT_COMMITTED);
    command_free(c);
    stop(f);
    return at_once;
}

/* A command that comes alone is committed when the turn ends, by then. Where the writer's thread is
 * still on its way to sleep, or a commit takes long, it goes to that thread instead, so it may take
 * some tries to see. */
static void test_alone_in_turn(void **state)
{
    struct fixture *f = *state;
    time_t deadline = time(NULL) + DEADLINE_S;
    bool at_once = false;
    while (!at_once && time(NULL) < deadline) {
        at_once = is_decided_in_turn(f);
    }
    assert_true(at_once);
}

/* Two that come in one turn wake the writer's thread without waiting for its end; a turn's end with
 * nothing queued does nothing; a stop finishes what no turn's end has seen. */
static void test_turns_and_stop(void **state)
{
    struct fixture *f = *state;
    static struct waited jobs[3];
    start(f, 8, 0);
    writer_end_turn(f->writer);
    for (int i = 0; i < 2; i++) {
        struct command *c = make_command("t", (struct expectation){EXPECT_ANY, 0}, 0);
        assert_int_equal(submit_in_turn(f, &jobs[i], c), ERR_OK);
    }
    for (int i = 0; i < 2; i++) {
        wait_decided(&jobs[i]);
    }
    struct command *c = make_command("t", (struct expectation){EXPECT_ANY, 0}, 0);
    assert_int_equal(submit_in_turn(f, &jobs[2], c), ERR_OK);
    writer_stop(f->writer);
    assert_true(is_decided(&jobs[2]));
    writer_end_turn(f->writer);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(command_verdict(jobs[i].job.command), VERDICT_COMMITTED);
        command_free(jobs[i].job.command);
    }
    assert_int_equal(store_position(f->store), 3);
    writer_free(f->writer);
    store_close(f->store);
}

/* Several loops, each with one command a turn: nobody is forgotten, nothing is decided twice. */
static void *run_loop(void *ctx)
{
    struct submitter *s = ctx;
    char stream[32];
    snprintf(stream, sizeof stream, "l-%d", s->number);
    s->ok = true;
    for (uint64_t i = 0; i < ROUNDS && s->ok; i++) {
        struct waited w;
        struct command *c = make_command(stream, (struct expectation){EXPECT_REVISION, i}, 0);
        s->ok = submit_in_turn(s->fixture, &w, c) == ERR_OK;
        writer_end_turn(s->fixture->writer);
        wait_decided(&w);
        s->ok = s->ok && command_verdict(c) == VERDICT_COMMITTED;
        command_free(c);
    }
    return NULL;
}

static void test_many_loops(void **state)
{
    struct fixture *f = *state;
    struct submitter loops[SUBMITTERS];
    start(f, 1000, 0);
    for (int i = 0; i < SUBMITTERS; i++) {
        loops[i] = (struct submitter){.fixture = f, .number = i};
        assert_int_equal(pthread_create(&loops[i].thread, NULL, run_loop, &loops[i]), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(loops[i].thread, NULL);
        assert_true(loops[i].ok);
    }
    assert_int_equal(store_position(f->store), SUBMITTERS * ROUNDS);
    stop(f);
}

/* A full tail does not hold a loop up: the command goes to the writer's thread, which waits for
 * room. */
static void test_full_tail_in_turn(void **state)
{
    struct fixture *f = *state;
    enum { COMMANDS = 100 };
    static struct waited jobs[COMMANDS];
    start(f, COMMANDS, 1u << 20);
    for (int i = 0; i < COMMANDS; i++) {
        struct command *c = make_command("big", (struct expectation){EXPECT_ANY, 0}, 1u << 16);
        assert_int_equal(submit_in_turn(f, &jobs[i], c), ERR_OK);
        writer_end_turn(f->writer);
    }
    for (int i = 0; i < COMMANDS; i++) {
        wait_decided(&jobs[i]);
        assert_int_equal(command_verdict(jobs[i].job.command), VERDICT_COMMITTED);
        command_free(jobs[i].job.command);
    }
    assert_int_equal(store_position(f->store), COMMANDS);
    stop(f);
}

/* After a failed write nothing is written any more: the failure is told once, all that come later
 * are refused. */
static void test_failed_commit_stops(void **state)
{
    struct fixture *f = *state;
    struct waited w;
    start(f, 8, 0);
    fault_arm(FAULT_JOURNAL_WRITE, 1, true);
    struct command *c = make_command("f", (struct expectation){EXPECT_ANY, 0}, 0);
    assert_int_equal(submit(f, &w, c), ERR_OK);
    wait_decided(&w);
    assert_int_not_equal(w.job.error, ERR_OK);
    assert_int_equal(f->failures, 1);
    assert_int_equal(submit(f, &w, c), ERR_CLOSED);
    command_free(c);
    writer_stop(f->writer);
    writer_free(f->writer);
    assert_int_equal(f->failures, 1);
    store_close(f->store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_submitters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_applies_after_the_interval, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reclaims_after_a_deletion, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_tail_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_limit_and_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_applies_all_generations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_alone_in_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_turns_and_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_loops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_tail_in_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_commit_stops, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
