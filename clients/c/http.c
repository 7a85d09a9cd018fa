/* http: exchanges with the server, all on the handle's one multi, so that iterators and calls share
 * its connections and go on beside each other.
 *
 * Waiting is always for one transfer; the others move along while it waits. A transfer whose body
 * has gathered enough is paused, which stops reading from its socket: the server then waits too. */
#include "client_int.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define POLL_MS_MAX       1000
#define RETRY_MS_FIRST    20
#define RETRY_MS_MAX      1000
#define RETRY_JITTER_PART 4 /* of the wait is random */

static size_t on_body(char *p, size_t size, size_t n, void *arg);
static size_t on_header(char *p, size_t size, size_t n, void *arg);
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up);
static bool set_lasting_options(struct daybook_transfer *t);
static void collect_finished(struct daybook *db);
static void end_transfer(struct daybook_transfer *t, CURLcode outcome);
static const char *retry_reason(const struct daybook_transfer *t);
static uint64_t retry_wait_ms(const struct daybook_transfer *t, const struct daybook_retry *retry);

bool daybook_transfer_init(struct daybook_transfer *t, struct daybook *db, size_t body_max)
{
    *t = (struct daybook_transfer){
        .db = db, .body_target = SIZE_MAX, .timeout_ms = db->options.timeout_ms};
    daybook_buffer_init(&t->body, body_max);
    t->easy = curl_easy_init();
    return t->easy != NULL && set_lasting_options(t);
}

/* The options that are the same for every request. */
static bool set_lasting_options(struct daybook_transfer *t)
{
    const struct daybook_options *o = &t->db->options;
    CURL *e = t->easy;
    CURLcode c = curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    c = c ? c : curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    c = c ? c : curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    c = c ? c : curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    c = c ? c : curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    c = c ? c : curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    c = c ? c : curl_easy_setopt(e, CURLOPT_XFERINFODATA, t);
    c = c ? c : curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    c = c ? c : curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
    c = c ? c : curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    c = c ? c : curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    c = c ? c : curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    c = c ? c : curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    c = c ? c : curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    c = c ? c : curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 262144L);
    c = c ? c : curl_easy_setopt(e, CURLOPT_USERAGENT, t->db->user_agent);
    c = c ? c : curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
    if (t->db->direct) {
        c = c ? c : curl_easy_setopt(e, CURLOPT_PROXY, "");
    }
    return c == CURLE_OK;
}

void daybook_transfer_done(struct daybook_transfer *t)
{
    daybook_transfer_stop(t);
    if (t->easy != NULL) {
        curl_easy_cleanup(t->easy);
    }
    daybook_buffer_done(&t->body);
    t->easy = NULL;
}

bool daybook_transfer_start(struct daybook_transfer *t, const char *url,
                            const struct daybook_bytes *post)
{
    daybook_transfer_stop(t);
    t->body.n = 0;
    t->paused = t->headed = t->overflow = false;
    t->status = 0;
    t->outcome = CURLE_OK;
    t->moved = 0;
    t->error[0] = '\0';
    const char *method = t->shape == NULL ? NULL : t->shape->method;
    CURLcode c = curl_easy_setopt(t->easy, CURLOPT_URL, url);
    c = c ? c : curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, method);
    if (post == NULL) {
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->db->get_headers);
    } else {
        const void *p = post->n > 0 ? post->p : "";
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->n);
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, p);
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->db->post_headers);
    }
    if (t->shape != NULL) {
        c = c ? c : curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->shape->headers);
    }
    if (c != CURLE_OK || curl_multi_add_handle(t->db->multi, t->easy) != CURLM_OK) {
        return false;
    }
    t->running = true;
    return true;
}

void daybook_transfer_stop(struct daybook_transfer *t)
{
    if (t->running) {
        t->running = false;
        (void)curl_multi_remove_handle(t->db->multi, t->easy);
    }
}

/* A connection that is closed within the header of an answer is no error for libcurl. */
static void end_transfer(struct daybook_transfer *t, CURLcode outcome)
{
    t->outcome = outcome == CURLE_OK && !t->headed ? CURLE_GOT_NOTHING : outcome;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
    daybook_transfer_stop(t);
}

/* ---- waiting ---- */

void daybook_transfer_wait(struct daybook_transfer *t, size_t n)
{
    t->active_ms = daybook_now_ms();
    if (t->body_target <= n) {
        t->body_target = n + 1;
    }
    if (t->running && t->paused && t->body.n <= n) {
        t->paused = false;
        if (curl_easy_pause(t->easy, CURLPAUSE_CONT) != CURLE_OK) {
            end_transfer(t, CURLE_RECV_ERROR);
        }
    }
    while (t->running && t->body.n <= n) {
        int running;
        if (t->db->interrupted) {
            end_transfer(t, CURLE_ABORTED_BY_CALLBACK);
            break;
        }
        CURLMcode code = curl_multi_perform(t->db->multi, &running);
        collect_finished(t->db);
        if (!t->running || t->body.n > n) {
            break;
        }
        int wait_ms =
            t->timeout_ms > 0 && t->timeout_ms < POLL_MS_MAX ? (int)t->timeout_ms : POLL_MS_MAX;
        struct curl_waitfd wake = {.fd = t->db->interrupt_fd, .events = CURL_WAIT_POLLIN};
        if (code != CURLM_OK ||
            curl_multi_poll(t->db->multi, &wake, 1, wait_ms, NULL) != CURLM_OK) {
            end_transfer(t, CURLE_OUT_OF_MEMORY);
        } else if (t->timeout_ms > 0 && daybook_now_ms() - t->active_ms > t->timeout_ms) {
            end_transfer(t, CURLE_OPERATION_TIMEDOUT);
        }
    }
}

/* Marks every transfer that has come to its end, whichever is waited for. */
static void collect_finished(struct daybook *db)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(db->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode outcome = message->data.result;
        char *t = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
        end_transfer((struct daybook_transfer *)(void *)t, outcome);
    }
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct daybook_transfer *t = arg;
    if (t->body.n >= t->body_target) {
        t->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (!daybook_buffer_add(&t->body, p, size * n)) {
        t->overflow = true;
        return 0;
    }
    return size * n;
}

/* Called for each line of a header. An empty one ends it; a status line begins another, behind that
 * of a 100 Continue. */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct daybook_transfer *t = arg;
    size_t length = size * n;
    if (length > 5 && memcmp(p, "HTTP/", 5) == 0) {
        t->headed = false;
    } else if (length <= 2) {
        t->headed = true;
    }
    return length;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct daybook_transfer *t = arg;
    (void)down_total;
    (void)up_total;
    if (down + up != t->moved) {
        t->moved = down + up;
        t->active_ms = daybook_now_ms();
    }
    return 0;
}

/* ---- whole calls and trying again ---- */

enum daybook_result daybook_http_call(struct daybook *db, const struct daybook_buffer *url,
                                      const struct daybook_bytes *post)
{
    struct daybook_retry retry = {0};
    do {
        if (!daybook_transfer_start(&db->call, (const char *)url->p, post)) {
            return daybook_fail_memory(db);
        }
        daybook_transfer_wait(&db->call, SIZE_MAX - 1);
        if (daybook_transfer_ok(&db->call)) {
            return DAYBOOK_OK;
        }
    } while (daybook_http_retry(&db->call, &retry));
    return daybook_fail_transfer(&db->call);
}

/* The problem of this exchange is known. */
static bool may_repeat(const struct daybook *db, const struct daybook_shape *shape)
{
    const struct daybook_transfer *t = &db->call;
    if (t->outcome == CURLE_OK) { /* what is refused has done nothing */
        return strcmp(db->problem.code, "not-caught-up") != 0;
    }
    return !shape->once || t->outcome == CURLE_COULDNT_CONNECT;
}

enum daybook_result daybook_http_call_json(struct daybook *db, const struct daybook_buffer *url,
                                           const struct daybook_bytes *post,
                                           const struct daybook_shape *shape)
{
    struct daybook_retry retry = {0};
    enum daybook_result result;
    db->call.shape = shape;
    do {
        if (!daybook_transfer_start(&db->call, (const char *)url->p, post)) {
            result = daybook_fail_memory(db);
            break;
        }
        daybook_transfer_wait(&db->call, SIZE_MAX - 1);
        result = daybook_transfer_ok(&db->call) ? DAYBOOK_OK : daybook_fail_transfer(&db->call);
    } while (result != DAYBOOK_OK && may_repeat(db, shape) &&
             daybook_http_retry(&db->call, &retry));
    db->call.shape = NULL;
    return db->interrupted && result != DAYBOOK_OK ? daybook_fail_transfer(&db->call) : result;
}

bool daybook_http_retry(const struct daybook_transfer *t, struct daybook_retry *retry)
{
    const char *reason = retry_reason(t);
    return reason != NULL && daybook_http_wait(t, reason, retry);
}

bool daybook_http_wait(const struct daybook_transfer *t, const char *reason,
                       struct daybook_retry *retry)
{
    const struct daybook_options *o = &t->db->options;
    uint64_t limit_ms = retry->limit_ms > 0 ? retry->limit_ms : o->retry_ms;
    if (limit_ms == DAYBOOK_RETRY_NEVER) {
        return false;
    }
    uint64_t now_ms = daybook_now_ms();
    if (retry->since_ms == 0) {
        retry->since_ms = now_ms;
    }
    uint64_t failing_ms = now_ms - retry->since_ms;
    if (failing_ms >= limit_ms) {
        return false;
    }
    retry->wait_ms = retry_wait_ms(t, retry);
    uint64_t left_ms = limit_ms - failing_ms;
    uint64_t wait_ms = retry->wait_ms < left_ms ? retry->wait_ms : left_ms;
    if (o->waiting != NULL) {
        o->waiting(o->waiting_arg, reason, wait_ms);
    }
    struct pollfd wake = {.fd = t->db->interrupt_fd, .events = POLLIN};
    (void)poll(&wake, 1, (int)wait_ms);
    return !t->db->interrupted;
}

/* Why it makes sense to try again; NULL where it does not. */
static const char *retry_reason(const struct daybook_transfer *t)
{
    if (t->outcome == CURLE_OK) {
        return t->status == 503                       ? "the server is busy or not ready"
               : t->status == 502 || t->status == 504 ? "a proxy does not reach the server"
                                                      : NULL;
    }
    if (t->overflow) {
        return NULL;
    }
    static const CURLcode passing[] = {
        CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_SEND_ERROR,
        CURLE_RECV_ERROR,      CURLE_GOT_NOTHING,        CURLE_PARTIAL_FILE,
    };
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        if (t->outcome == passing[i]) {
            return curl_easy_strerror(t->outcome);
        }
    }
    return NULL;
}

/* Doubles, with a random part so that many clients do not come back at once; never shorter than the
 * server asks for. */
static uint64_t retry_wait_ms(const struct daybook_transfer *t, const struct daybook_retry *retry)
{
    uint64_t wait_ms = retry->wait_ms == 0 ? RETRY_MS_FIRST : retry->wait_ms * 2;
    if (wait_ms > RETRY_MS_MAX) {
        wait_ms = RETRY_MS_MAX;
    }
    uint16_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) == (ssize_t)sizeof random) {
        wait_ms -= random % (wait_ms / RETRY_JITTER_PART);
    }
    curl_off_t asked_s = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &asked_s);
    if (asked_s > 3600) {
        asked_s = 3600;
    }
    uint64_t asked_ms = asked_s > 0 ? (uint64_t)asked_s * 1000 : 0;
    return asked_ms > wait_ms ? asked_ms : wait_ms;
}

uint64_t daybook_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + 1;
}
