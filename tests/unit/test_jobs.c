/* Tests of server/jobs.c, over a real HTTP server: jobs that answer, wait, are too many, lose their
 * client, or are there when the server stops. */
#include "server/jobs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/workers.h"
#include "tests/unit/support.h"

#include <cmocka.h>

#define ANSWER_MAX 4096
#define PATIENCE_S 60

struct fixture {
    struct app app;
    sem_t running, go; /* of jobs that hold a thread */
    _Atomic bool open; /* what jobs wait for */
    _Atomic bool saw_gone;
    _Atomic size_t submitted;
    char answer[ANSWER_MAX];
};

static struct fixture f;

/* ---- jobs, by the path of their request ---- */

static void put(struct job *job, const char *text)
{
    buf_init(&job->body, 1024);
    buf_put_string(&job->body, text);
    job->position = 7;
}

static void run_answer(struct job *job)
{
    put(job, job->late ? "late" : "answered");
}

static void run_tag(struct job *job)
{
    put(job, "tagged");
    snprintf(job->etag, sizeof job->etag, "\"1.2\"");
}

static void run_fail(struct job *job)
{
    job_fail(job, PROBLEM_INVALID_QUERY, "sql", "number %d", 5);
}

static void run_error(struct job *job)
{
    job_error(job, ERR_DISK_FULL, "trying");
}

static void run_hold(struct job *job)
{
    sem_post(&f.running);
    while (sem_wait(&f.go) != 0) {
    }
    put(job, "held");
}

static void run_until_gone(struct job *job)
{
    sem_post(&f.running);
    int64_t until_us = workers_now_us() + PATIENCE_S * INT64_C(1000000);
    while (!job_client_is_gone(job) && workers_now_us() < until_us) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    f.saw_gone = job->gone;
    put(job, "nobody reads this");
}

static bool is_open(struct job *job)
{
    (void)job;
    return f.open;
}

static bool never(struct job *job)
{
    (void)job;
    return false;
}

static const struct {
    const char *path;
    void (*run)(struct job *job);
    bool (*is_ready)(struct job *job);
    int64_t wait_us;
} paths[] = {
    {"answer", run_answer, NULL, 0},
    {"tag", run_tag, NULL, 0},
    {"fail", run_fail, NULL, 0},
    {"error", run_error, NULL, 0},
    {"hold", run_hold, NULL, 0},
    {"gone", run_until_gone, NULL, 0},
    {"wait", run_answer, is_open, PATIENCE_S *INT64_C(1000000)},
    {"late", run_answer, never, 20000},
};

static void handle(struct http_request *rq, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (bytes_equal(http_path_segment(rq, 0), bytes_of_string(paths[i].path))) {
            struct job *job = job_new(rq, &f.app, 1);
            if (job != NULL) {
                job->run = paths[i].run;
                job->is_ready = paths[i].is_ready;
                job->wait_us = paths[i].wait_us;
                jobs_submit(f.app.jobs, job);
                f.submitted++;
            }
            return;
        }
    }
    reply_problem(rq, PROBLEM_NOT_FOUND, NULL);
}

/* ---- the server ---- */

static void start(unsigned threads, size_t jobs_max)
{
    struct err_text et = {0};
    const struct jobs_options jobs = {.threads = threads, .jobs_max = jobs_max};
    const struct http_options http = {.host = "127.0.0.1",
                                      .threads = 1,
                                      .connections_max = 64,
                                      .header_bytes_max = 16384,
                                      .body_bytes_max = 1 << 20,
                                      .body_memory_max = 1 << 24,
                                      .header_timeout_s = PATIENCE_S,
                                      .body_timeout_s = PATIENCE_S,
                                      .idle_timeout_s = PATIENCE_S,
                                      .handle = handle,
                                      .refuse = reply_refusal};
    f = (struct fixture){0};
    sem_init(&f.running, 0, 0);
    sem_init(&f.go, 0, 0);
    assert_int_equal(jobs_start(&jobs, &f.app.jobs), ERR_OK);
    assert_int_equal(http_start(&http, &f.app.http, &et), ERR_OK);
}

/* In the order of the server: main.c. */
static void stop(void)
{
    http_drain(f.app.http);
    jobs_stop(f.app.jobs);
    http_stop(f.app.http);
    jobs_free(f.app.jobs);
    sem_destroy(&f.running);
    sem_destroy(&f.go);
}

/* ---- clients ---- */

static int ask(const char *path, const char *header)
{
    char request[512];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_port(f.app.http)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&to, sizeof to), 0);
    int n = snprintf(request, sizeof request,
                     "GET /%s HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n\r\n", path, header);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* Reads to the end and closes; the answer is whole. */
static const char *answer_of(int fd)
{
    size_t n = 0;
    ssize_t more;
    while ((more = recv(fd, f.answer + n, sizeof f.answer - 1 - n, 0)) > 0) {
        n += (size_t)more;
    }
    assert_int_equal(more, 0);
    f.answer[n] = '\0';
    close(fd);
    return f.answer;
}

static void expect(const char *answer, const char *status, const char *part)
{
    if (strncmp(answer + strlen("HTTP/1.1 "), status, 3) != 0 || strstr(answer, part) == NULL) {
        fail_msg("not %s with %s: %s", status, part, answer);
    }
}

static void await(sem_t *sem)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    assert_int_equal(sem_timedwait(sem, &until), 0);
}

static void await_submitted(size_t n)
{
    int64_t until_us = workers_now_us() + PATIENCE_S * INT64_C(1000000);
    while (f.submitted < n) {
        assert_true(workers_now_us() < until_us);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* ---- tests ---- */

/* A body, a tag that the client has or has not, a problem, an error. */
static void test_jobs_answer(void **state)
{
    (void)state;
    start(2, 10);
    expect(answer_of(ask("answer", "")), "200", "\r\n\r\nanswered");
    expect(f.answer, "200", "Daybook-Position: 7");
    expect(answer_of(ask("tag", "")), "200", "ETag: \"1.2\"");
    expect(answer_of(ask("tag", "If-None-Match: \"1.2\"\r\n")), "304", "ETag: \"1.2\"");
    expect(answer_of(ask("tag", "If-None-Match: \"1.3\"\r\n")), "200", "tagged");
    expect(answer_of(ask("fail", "")), "400", "problem:invalid-query");
    expect(f.answer, "400", "\"number 5\"");
    expect(answer_of(ask("error", "")), "507", "problem:insufficient-storage");
    stop();
}

/* One that waits holds no thread, runs after a kick when its time has come, and late when that is
 * over. */
static void test_jobs_wait(void **state)
{
    (void)state;
    start(1, 10);
    int fd = ask("wait", "");
    expect(answer_of(ask("answer", "")), "200", "answered");
    jobs_kick(f.app.jobs);
    expect(answer_of(ask("late", "")), "200", "\r\n\r\nlate");
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 0), 0);
    f.open = true;
    jobs_kick(f.app.jobs);
    expect(answer_of(fd), "200", "answered");
    stop();
}

/* Beyond the limit the answer comes at once, and those that are there are not disturbed. */
static void test_jobs_full(void **state)
{
    (void)state;
    start(1, 2);
    int held = ask("hold", "");
    await(&f.running);
    int queued = ask("wait", "");
    await_submitted(2);
    expect(answer_of(ask("answer", "")), "503", "problem:overloaded");
    f.open = true;
    sem_post(&f.go);
    expect(answer_of(held), "200", "held");
    jobs_kick(f.app.jobs);
    expect(answer_of(queued), "200", "answered");
    stop();
}

static void test_jobs_client_gone(void **state)
{
    (void)state;
    start(1, 10);
    int fd = ask("gone", "");
    await(&f.running);
    close(fd);
    expect(answer_of(ask("answer", "")), "200", "answered"); /* the only thread is free again */
    assert_true(f.saw_gone);
    stop();
}

/* What runs is finished, what waits is told. */
static void test_jobs_stop(void **state)
{
    (void)state;
    start(1, 10);
    int waiting = ask("wait", "");
    int held = ask("hold", "");
    await(&f.running);
    await_submitted(2);
    assert_false(jobs_are_stopping(f.app.jobs));
    http_drain(f.app.http);
    sem_post(&f.go);
    jobs_stop(f.app.jobs);
    assert_true(jobs_are_stopping(f.app.jobs));
    expect(answer_of(held), "200", "held");
    expect(answer_of(waiting), "503", "problem:shutting-down");
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_answer), cmocka_unit_test(test_jobs_wait),
        cmocka_unit_test(test_jobs_full),   cmocka_unit_test(test_jobs_client_gone),
        cmocka_unit_test(test_jobs_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
