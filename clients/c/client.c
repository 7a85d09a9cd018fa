/* client: the handle. */
#include "client_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#ifndef DAYBOOK_VERSION
#define DAYBOOK_VERSION "unknown"
#endif

#define CONNECT_TIMEOUT_MS 5000
#define TIMEOUT_MS         30000
#define RETRY_MS           5000
#define TIMEOUT_MS_MAX     INT32_MAX
#define ANSWER_BYTES_MAX   ((size_t)256 << 20)
#define URL_BYTES_MAX      ((size_t)1 << 20)
#define REQUEST_BYTES_MAX  ((size_t)1 << 30)
#define VALUES_BYTES_MAX   ((size_t)4 << 30)

static bool prepare(struct daybook *db, const char *url, const struct daybook_options *options);
static void fill_in_options(struct daybook_options *o, const struct daybook_options *given);
static bool is_loopback(const char *url);
static bool add_header(struct curl_slist **list, const char *header);

enum daybook_result daybook_open(const char *url, const struct daybook_options *options,
                                 struct daybook **ret)
{
    if (url == NULL ||
        (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)) {
        return DAYBOOK_ERR_ARGUMENT;
    }
    struct daybook *db = calloc(1, sizeof *db);
    if (db != NULL) {
        db->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (db == NULL || db->interrupt_fd < 0 || !prepare(db, url, options)) {
        daybook_close(db);
        return DAYBOOK_ERR_MEMORY;
    }
    *ret = db;
    return DAYBOOK_OK;
}

static bool prepare(struct daybook *db, const char *url, const struct daybook_options *options)
{
    db->problem =
        (struct daybook_problem){.code = "", .title = "", .detail = "", .hint = "", .field = ""};
    fill_in_options(&db->options, options);
    daybook_buffer_init(&db->url, URL_BYTES_MAX);
    daybook_buffer_init(&db->request, REQUEST_BYTES_MAX);
    daybook_buffer_init(&db->values, VALUES_BYTES_MAX);
    db->base_url = strdup(url);
    db->user_agent = strdup(db->options.user_agent);
    db->multi = curl_multi_init();
    if (db->base_url == NULL || db->user_agent == NULL || db->multi == NULL) {
        return false;
    }
    for (size_t n = strlen(db->base_url); n > 0 && db->base_url[n - 1] == '/'; n--) {
        db->base_url[n - 1] = '\0';
    }
    db->options.user_agent = db->user_agent;
    db->direct = is_loopback(url);
    /* No "Expect": waiting for leave to send a body only costs a round trip. */
    return add_header(&db->get_headers, "Accept: " DAYBOOK_PROTOBUF) &&
           add_header(&db->post_headers, "Accept: " DAYBOOK_PROTOBUF) &&
           add_header(&db->post_headers, "Content-Type: " DAYBOOK_PROTOBUF) &&
           add_header(&db->post_headers, "Expect:") &&
           daybook_transfer_init(&db->call, db, ANSWER_BYTES_MAX);
}

static void fill_in_options(struct daybook_options *o, const struct daybook_options *given)
{
    if (given != NULL) {
        *o = *given;
    }
    if (o->connect_timeout_ms == 0) {
        o->connect_timeout_ms = CONNECT_TIMEOUT_MS;
    }
    if (o->connect_timeout_ms > TIMEOUT_MS_MAX) {
        o->connect_timeout_ms = TIMEOUT_MS_MAX;
    }
    if (o->timeout_ms == 0) {
        o->timeout_ms = TIMEOUT_MS;
    }
    if (o->retry_ms == 0) {
        o->retry_ms = RETRY_MS;
    }
    if (o->user_agent == NULL) {
        o->user_agent = "libdaybook/" DAYBOOK_VERSION;
    }
}

/* A proxy that the environment names is never meant for this machine. */
static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"127.", "localhost:", "localhost/", "[::1]"};
    const char *host = strstr(url, "://") + 3;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        if (strncasecmp(host, hosts[i], strlen(hosts[i])) == 0) {
            return true;
        }
    }
    return strcasecmp(host, "localhost") == 0;
}

static bool add_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);
    if (longer == NULL) {
        return false;
    }
    *list = longer;
    return true;
}

void daybook_close(struct daybook *db)
{
    if (db == NULL) {
        return;
    }
    daybook_transfer_done(&db->call);
    if (db->multi != NULL) {
        (void)curl_multi_cleanup(db->multi);
    }
    curl_slist_free_all(db->get_headers);
    curl_slist_free_all(db->post_headers);
    daybook_buffer_done(&db->url);
    daybook_buffer_done(&db->request);
    daybook_buffer_done(&db->values);
    daybook_arena_done(&db->arena);
    daybook_arena_done(&db->problem_arena);
    if (db->interrupt_fd >= 0) {
        (void)close(db->interrupt_fd);
    }
    free(db->base_url);
    free(db->user_agent);
    free(db);
}

/* The flag first: who is woken up looks at it. The eventfd stays readable, so nobody sleeps
 * again. */
void daybook_interrupt(struct daybook *db)
{
    int error = errno;
    db->interrupted = true;
    (void)eventfd_write(db->interrupt_fd, 1);
    errno = error;
}

const char *daybook_version(void)
{
    return DAYBOOK_VERSION;
}

/* RFC 9562: 48 bits of Unix milliseconds, then random bits with version and variant set. */
void daybook_make_id(uint8_t ret[16])
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (int i = 0; i < 6; i++) {
        ret[i] = (uint8_t)(unix_ms >> (8 * (5 - i)));
    }
    /* Up to 256 bytes are given at once and whole; only a signal at boot could cut in. */
    while (getrandom(ret + 6, 10, 0) != 10) {
    }
    ret[6] = (uint8_t)(0x70 | (ret[6] & 0x0f));
    ret[8] = (uint8_t)(0x80 | (ret[8] & 0x3f));
}

/* ---- unpacking ---- */

static void *arena_alloc(void *arena, size_t n)
{
    return daybook_arena_get(arena, n);
}

static void arena_free(void *arena, void *piece)
{
    (void)arena;
    (void)piece;
}

ProtobufCAllocator daybook_arena_allocator(struct daybook_arena *arena)
{
    return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
}
