/* server: see server.h. What starts and stops a daybookd is main.c's, and stays so: it is part of
 * this file, with its wait for a signal replaced by one for us. */
#include "tests/fuzz/server.h"

#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct app;
static int serve_until_told(const struct app *app, int *ret_signal);
int daybookd_main(int argc, char **argv);

#define main                  daybookd_main
#define sigwait(set, ret_sig) serve_until_told(&app, ret_sig)
#include "server/main.c" /* NOLINT(bugprone-suspicious-include) */
#undef sigwait
#undef main

#define PATH_BYTES  256
#define ANSWER_MAX  (4u << 20)
#define ADDRESSES   200
#define PATIENCE_MS 20000
#define DESCRIPTORS 16

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    char dir[PATH_BYTES];
    unsigned port; /* 0: it does not serve */
    bool told;
    unsigned exchanges;
    bool at_exit;
} server = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint8_t answer[ANSWER_MAX];

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "tests/fuzz/server: %s\n", what);
    abort();
}

/* ---- its life ---- */

static int serve_until_told(const struct app *app, int *ret_signal)
{
    pthread_mutex_lock(&server.mutex);
    server.port = http_port(app->http);
    pthread_cond_broadcast(&server.changed);
    while (!server.told) {
        pthread_cond_wait(&server.changed, &server.mutex);
    }
    server.port = 0;
    pthread_mutex_unlock(&server.mutex);
    *ret_signal = SIGTERM;
    return 0;
}

/* Small enough that limits are met, quick enough that nothing waits. */
static void *run(void *ctx)
{
    (void)ctx;
    char *arguments[] = {"daybookd",    "--data",
                         server.dir,    "--listen",
                         "127.0.0.1:0", "--log-level",
                         "error",       "--http-threads",
                         "1",           "--body-bytes-max",
                         "64KiB",       "--event-bytes-max",
                         "16KiB",       "--segment-bytes",
                         "1MiB",        "--tail-bytes-max",
                         "1MiB",        "--projections-max",
                         "4",           "--query-time-ms",
                         "50",          "--query-rows-max",
                         "100",         "--disk-free-min-bytes",
                         "1MiB",        "--map-bytes",
                         "1GiB",        "--header-timeout-s",
                         "1",           "--body-timeout-s",
                         "1",           "--connections-max",
                         "64",          "--append-events-max",
                         "100"};
    int status = daybookd_main((int)(sizeof arguments / sizeof *arguments), arguments);
    if (status != EXIT_SUCCESS) {
        give_up("daybookd did not end well");
    }
    return NULL;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void stop_server(void)
{
    if (server.dir[0] == '\0') {
        return;
    }
    pthread_mutex_lock(&server.mutex);
    server.told = true;
    pthread_cond_broadcast(&server.changed);
    pthread_mutex_unlock(&server.mutex);
    pthread_join(server.thread, NULL);
    nftw(server.dir, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    server.dir[0] = '\0';
}

static void start_server(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(server.dir, sizeof server.dir, "%s/daybook-fuzz-XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(server.dir) == NULL) {
        give_up("no directory");
    }
    server.told = false;
    server.exchanges = 0;
    if (pthread_create(&server.thread, NULL, run, NULL) != 0) {
        give_up("no thread");
    }
    pthread_mutex_lock(&server.mutex);
    while (server.port == 0) {
        pthread_cond_wait(&server.changed, &server.mutex);
    }
    pthread_mutex_unlock(&server.mutex);
    if (!server.at_exit) {
        server.at_exit = atexit(stop_server) == 0;
    }
}

/* ---- one exchange ---- */

/* From other addresses in turn: a thousand connections a second would use up the ports of one,
 * since a closed one is kept by the kernel for a minute. */
static int connect_to_it(void)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr =
                                   htonl(INADDR_LOOPBACK + server.exchanges % ADDRESSES)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        fprintf(stderr, "connect: %s\n", strerror(errno));
        give_up("it takes no connection");
    }
    return fd;
}

/* What the server does not take any more is not its business: it may refuse and close. */
static void send_some(int fd, struct bytes *left)
{
    ssize_t n = send(fd, left->p, left->n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    size_t taken = n < 0 ? left->n : (size_t)n;
    *left = bytes_of(left->p + taken, left->n - taken);
    if (left->n == 0) {
        shutdown(fd, SHUT_WR);
    }
}

/* Until it closes, is quiet, or has said more than we want to hear. */
static size_t exchange(struct bytes left, int quiet_ms, bool *ret_closed)
{
    int fd = connect_to_it();
    size_t got = 0;
    *ret_closed = false;
    if (left.n == 0) {
        shutdown(fd, SHUT_WR);
    }
    while (got < sizeof answer) {
        struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (left.n > 0 ? POLLOUT : 0))};
        if (poll(&p, 1, quiet_ms) == 0) {
            break;
        }
        if ((p.revents & POLLOUT) != 0) {
            send_some(fd, &left);
        }
        if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            ssize_t n = recv(fd, answer + got, sizeof answer - got, 0);
            *ret_closed = n <= 0;
            if (n <= 0) {
                break;
            }
            got += (size_t)n;
        }
    }
    close(fd);
    return got;
}

static void expect_alive(void)
{
    bool closed;
    size_t n = exchange(BYTES_LITERAL("GET /healthz HTTP/1.0\r\n\r\n"), PATIENCE_MS, &closed);
    if (!closed || !bytes_have_prefix(bytes_of(answer, n), BYTES_LITERAL("HTTP/1.1 200 "))) {
        fprintf(stderr, "%s after %zu bytes: %.*s\n", closed ? "closed" : "quiet", n, (int)n,
                (const char *)answer);
        give_up("it does not answer any more");
    }
}

struct bytes server_exchange(struct bytes first, struct bytes request, int quiet_ms,
                             bool *ret_closed)
{
    if (server.exchanges++ >= SERVER_EXCHANGES) {
        stop_server();
    }
    if (server.dir[0] == '\0') {
        start_server();
        (void)exchange(first, PATIENCE_MS, ret_closed);
    }
    size_t n = exchange(request, quiet_ms, ret_closed);
    if (!*ret_closed && n < sizeof answer) {
        static uint8_t kept[ANSWER_MAX];
        memcpy(kept, answer, n);
        expect_alive();
        return bytes_of(kept, n);
    }
    return bytes_of(answer, n);
}

unsigned server_status(struct bytes text, struct bytes *ret_header, struct bytes *ret_body)
{
    *ret_header = *ret_body = BYTES_NONE;
    const uint8_t *end = text.n == 0 ? NULL : memmem(text.p, text.n, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t n = (size_t)(end - text.p);
    *ret_header = bytes_of(text.p, n + 2);
    *ret_body = bytes_of(end + 4, text.n - n - 4);
    bool is_http = bytes_have_prefix(text, BYTES_LITERAL("HTTP/1.1 ")) ||
                   bytes_have_prefix(text, BYTES_LITERAL("HTTP/1.0 "));
    unsigned status = 0;
    for (size_t i = 9; is_http && i < 12 && i < n; i++) {
        status = status * 10 + ((unsigned)text.p[i] - '0');
    }
    if (status < 100 || status > 599) {
        fprintf(stderr, "%.*s\n", BYTES_ARGS(*ret_header));
        give_up("an answer that is not HTTP");
    }
    return status;
}
