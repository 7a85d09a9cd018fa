/* bench_load: see the header. */
#include "bench_load.h"

#include "cli.h"
#include "interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PORT    "80"
#define RECEIVE_BYTES   ((size_t)256 * 1024)
#define READS_IN_A_TURN 8 /* of one connection, before the others get theirs */
#define EVENTS_MAX      256
#define SILENCE_MS      30000
#define LOST_MAX        1000
#define OTHER_FILES     16

struct connection {
    int fd; /* -1: closed */
    bool busy;
    bool want_write;
    uint64_t sent_ns; /* when its request was begun */
    struct bench_request request;
    size_t sent;
    struct bench_answer answer;
};

struct bench_load {
    int epoll_fd;
    size_t n, busy;
    uint64_t spin_ns;
    struct connection *connections; /* owned, as all below */
    char *url, *host, *prefix;
    struct sockaddr_storage address;
    socklen_t address_n;
    uint8_t *received;
    /* Of the current run. */
    const struct bench_job *job;
    struct bench_stats *stats;
    bool broken; /* stop; the reason was reported */
};

uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- opening ---- */

static bool resolve(struct bench_load *load, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0) {
        cli_error("cannot find the host of %s: %s", load->url, gai_strerror(error));
        return false;
    }
    memcpy(&load->address, found->ai_addr, found->ai_addrlen);
    load->address_n = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* Splits "http://host[:port][/prefix]" and looks the host up. */
static bool read_url(struct bench_load *load)
{
    static const char scheme[] = "http://";
    if (strncmp(load->url, scheme, sizeof scheme - 1) != 0) {
        cli_error("bench speaks plain HTTP only: the URL %s does not begin with http://",
                  load->url);
        return false;
    }
    const char *authority = load->url + sizeof scheme - 1;
    size_t authority_n = strcspn(authority, "/?#");
    load->host = strndup(authority, authority_n);
    load->prefix = strdup(authority + authority_n);
    char *name = strndup(authority, authority_n);
    if (load->host == NULL || load->prefix == NULL || name == NULL) {
        free(name);
        cli_error("no memory");
        return false;
    }
    size_t prefix_n = strlen(load->prefix);
    while (prefix_n > 0 && load->prefix[prefix_n - 1] == '/') {
        load->prefix[--prefix_n] = '\0';
    }
    char *host = name;
    char *host_end = name + strcspn(name, ":");
    if (*name == '[') { /* IPv6 */
        host++;
        host_end = name + strcspn(name, "]");
    }
    char *colon = strchr(host_end, ':');
    *host_end = '\0';
    bool ok = resolve(load, host, colon == NULL ? DEFAULT_PORT : colon + 1);
    free(name);
    return ok;
}

static bool open_connection(struct bench_load *load, struct connection *c)
{
    const int on = 1;
    c->fd = socket(load->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        cli_error("cannot open %zu connections: %s", load->n, strerror(errno));
        cli_hint("raise the number of open files: ulimit -n");
        return false;
    }
    if (connect(c->fd, (const struct sockaddr *)&load->address, load->address_n) < 0) {
        cli_error("cannot reach %s: %s", load->url, strerror(errno));
        cli_hint("start a server (daybookd --data DIR), or name another one with --url");
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) {
        cli_error("cannot prepare a connection: %s", strerror(errno));
        return false;
    }
    return true;
}

/* As far as it goes; where it does not go far enough, opening says so. */
static void raise_open_files(size_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

bool bench_load_open(const char *url, size_t connections, struct bench_load **ret)
{
    struct bench_load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        cli_error("no memory");
        return false;
    }
    load->n = connections;
    raise_open_files(connections + OTHER_FILES);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->url = strdup(url);
    load->received = malloc(RECEIVE_BYTES);
    load->connections = calloc(connections, sizeof *load->connections);
    if (load->epoll_fd < 0 || load->url == NULL || load->received == NULL ||
        load->connections == NULL) {
        cli_error("no memory for %zu connections", connections);
        load->n = 0;
        goto fail;
    }
    for (size_t i = 0; i < connections; i++) {
        load->connections[i].fd = -1;
    }
    if (!read_url(load)) {
        goto fail;
    }
    for (size_t i = 0; i < connections; i++) {
        if (!open_connection(load, &load->connections[i])) {
            goto fail;
        }
    }
    *ret = load;
    return true;
fail:
    bench_load_close(load);
    return false;
}

void bench_load_close(struct bench_load *load)
{
    if (load == NULL) {
        return;
    }
    for (size_t i = 0; i < load->n; i++) {
        if (load->connections[i].fd >= 0) {
            close(load->connections[i].fd);
        }
    }
    if (load->epoll_fd >= 0) {
        close(load->epoll_fd);
    }
    free(load->connections);
    free(load->received);
    free(load->url);
    free(load->host);
    free(load->prefix);
    free(load);
}

void bench_load_set_spin(struct bench_load *load, uint64_t spin_us)
{
    load->spin_ns = spin_us * 1000;
}

size_t bench_load_connections(const struct bench_load *load)
{
    return load->n;
}

bool bench_load_is_busy(const struct bench_load *load, size_t connection)
{
    return load->connections[connection].busy;
}

const char *bench_load_host(const struct bench_load *load)
{
    return load->host;
}

const char *bench_load_prefix(const struct bench_load *load)
{
    return load->prefix;
}

/* ---- an exchange ---- */

/* A request stays unanswered, or a connection without one was closed: opens another in its
 * place. */
static void lose(struct bench_load *load, struct connection *c)
{
    if (c->busy) {
        c->busy = false;
        load->busy--;
        load->stats->lost++;
        load->stats->failed++;
    }
    close(c->fd);
    c->fd = -1;
    c->want_write = false;
    if (load->stats->lost > LOST_MAX) {
        cli_error("%s closed more than %d connections without an answer", load->url, LOST_MAX);
        load->broken = true;
    } else if (!open_connection(load, c)) {
        load->broken = true;
    }
}

static void watch(struct bench_load *load, struct connection *c, bool want_write)
{
    if (c->want_write == want_write) {
        return;
    }
    struct epoll_event event = {.events = want_write ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    c->want_write = want_write;
    epoll_ctl(load->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

/* False: the connection is lost. */
static bool send_more(struct bench_load *load, struct connection *c)
{
    ssize_t n = send(c->fd, c->request.p + c->sent, c->request.n - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        return false;
    }
    if (n > 0) {
        c->sent += (size_t)n;
        load->stats->bytes_sent += (uint64_t)n;
    }
    watch(load, c, c->sent < c->request.n);
    return true;
}

/* Begins the next request of an idle connection, if it has one. */
static void begin(struct bench_load *load, struct connection *c, uint64_t now_ns)
{
    size_t index = (size_t)(c - load->connections);
    while (!load->broken && !interrupt_came() &&
           load->job->next(load->job->context, index, now_ns, &c->request)) {
        bench_answer_reset(&c->answer, c->request.count);
        c->answer.leases =
            load->job->leases == NULL ? NULL : load->job->leases(load->job->context, index);
        c->sent = 0;
        c->sent_ns = c->request.due_ns > 0 ? c->request.due_ns : now_ns;
        c->busy = true;
        load->busy++;
        if (send_more(load, c)) {
            return;
        }
        lose(load, c);
    }
}

static void count_failure(struct bench_stats *stats, const struct bench_answer *answer)
{
    stats->failed++;
    stats->statuses[answer->status < 600 ? answer->status : 599]++;
    if (stats->failure[0] == '\0') {
        memcpy(stats->failure, answer->text, sizeof stats->failure);
    }
}

static void finish(struct bench_load *load, struct connection *c)
{
    uint64_t now_ns = bench_now_ns();
    struct bench_stats *stats = load->stats;
    size_t index = (size_t)(c - load->connections);
    c->busy = false;
    load->busy--;
    if (load->job->done(load->job->context, index, &c->answer)) {
        bench_hist_add(&stats->latency, now_ns - c->sent_ns);
        stats->requests++;
        stats->events += c->answer.events;
    } else {
        count_failure(stats, &c->answer);
    }
    if (c->answer.close) {
        lose(load, c);
    }
    begin(load, c, now_ns);
}

static void receive(struct bench_load *load, struct connection *c)
{
    for (int reads = 0; reads < READS_IN_A_TURN; reads++) {
        ssize_t n = recv(c->fd, load->received, RECEIVE_BYTES, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        /* An end, an error, or bytes that nobody asked for. */
        bool ok = n > 0 && c->busy;
        if (ok) {
            load->stats->bytes_received += (uint64_t)n;
            size_t taken = bench_answer_feed(&c->answer, (const char *)load->received, (size_t)n);
            ok = taken == (size_t)n && c->answer.state != BENCH_ANSWER_BROKEN;
        }
        if (!ok) {
            lose(load, c);
            begin(load, c, bench_now_ns());
            return;
        }
        if (c->answer.state == BENCH_ANSWER_DONE) {
            finish(load, c);
            return;
        }
        if (load->job->part != NULL) {
            load->job->part(load->job->context, (size_t)(c - load->connections), &c->answer);
        }
        if ((size_t)n < RECEIVE_BYTES) {
            return;
        }
    }
}

/* Waits for answers, awake for a while if so wanted, until the job wants to begin something at
 * most; like epoll_wait. */
static int wait_events(struct bench_load *load, struct epoll_event *events, uint64_t wake_ns)
{
    uint64_t now_ns = bench_now_ns();
    uint64_t wait_ns = (uint64_t)SILENCE_MS * 1000000;
    if (load->spin_ns > 0) {
        uint64_t until_ns = now_ns + load->spin_ns;
        do {
            int n = epoll_wait(load->epoll_fd, events, EVENTS_MAX, 0);
            if (n != 0) {
                return n;
            }
            now_ns = bench_now_ns();
        } while (now_ns < until_ns && now_ns < wake_ns);
    }
    if (wake_ns < now_ns + wait_ns) {
        wait_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
    }
    struct timespec wait = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
    return epoll_pwait2(load->epoll_fd, events, EVENTS_MAX, &wait, NULL);
}

/* Asks every connection that has none for a request. */
static void begin_idle(struct bench_load *load)
{
    uint64_t now_ns = bench_now_ns();
    for (size_t i = 0; i < load->n && !load->broken; i++) {
        if (!load->connections[i].busy) {
            begin(load, &load->connections[i], now_ns);
        }
    }
}

static void turn(struct bench_load *load, uint64_t wake_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int n = wait_events(load, events, wake_ns);
    bool woken = wake_ns < UINT64_MAX && bench_now_ns() >= wake_ns;
    if ((n == 0 && !woken) || (n < 0 && errno != EINTR)) {
        cli_error("no answer from %s for %d seconds", load->url, SILENCE_MS / 1000);
        load->broken = true;
    }
    for (int i = 0; i < n && !load->broken; i++) {
        struct connection *c = events[i].data.ptr;
        if ((events[i].events & EPOLLOUT) != 0 && !send_more(load, c)) {
            lose(load, c);
            begin(load, c, bench_now_ns());
        } else if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            receive(load, c);
        }
    }
    if (woken) {
        begin_idle(load);
    }
}

static uint64_t next_wake_ns(const struct bench_load *load)
{
    return load->job->wake_ns != NULL ? load->job->wake_ns(load->job->context) : UINT64_MAX;
}

static bool is_over(const struct bench_load *load, uint64_t wake_ns)
{
    return load->broken || interrupt_came() || (load->busy == 0 && wake_ns == UINT64_MAX) ||
           (load->job->over != NULL && load->job->over(load->job->context, bench_now_ns()));
}

bool bench_load_run(struct bench_load *load, const struct bench_job *job, struct bench_stats *stats)
{
    load->job = job;
    load->stats = stats;
    load->broken = false;
    uint64_t begun_ns = bench_now_ns();
    begin_idle(load);
    for (uint64_t wake_ns; !is_over(load, wake_ns = next_wake_ns(load));) {
        turn(load, wake_ns);
    }
    stats->seconds += (double)(bench_now_ns() - begun_ns) / 1e9;
    return !load->broken;
}
