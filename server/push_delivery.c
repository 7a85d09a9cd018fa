/* push_delivery: see push_delivery.h. */
#include "server/push_delivery.h"

#include "server/push_message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ANSWER_BYTES_MAX 65536 /* of a receiver's answer; more of it is not read */
#define CONNECT_MS       5000
#define RETRY_AFTER_MAX  3600
#define STATUS_OK(s)     ((s) >= 200 && (s) < 300)

void delivery_free(struct delivery *d)
{
    curl_easy_cleanup(d->curl);
    curl_slist_free_all(d->headers);
    buf_done(&d->body);
    free(d);
}

/* ---- sending ---- */

static size_t discard_answer(char *p, size_t size, size_t n, void *ctx)
{
    struct delivery *d = ctx;
    (void)p;
    d->answer_bytes += size * n;
    return d->answer_bytes > ANSWER_BYTES_MAX ? 0 : size * n;
}

/* The address is the one that the connection is made to, whatever the name meant before. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct delivery *d = ctx;
    (void)purpose;
    if (!d->private_addresses && push_address_is_private(&address->addr)) {
        d->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool add_header(struct delivery *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool add_header(struct delivery *d, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    struct curl_slist *more = curl_slist_append(d->headers, line);
    d->headers = more != NULL ? more : d->headers;
    return more != NULL;
}

static bool add_headers(struct delivery *d, const struct delivery_options *o)
{
    int64_t now_s = (int64_t)time(NULL);
    bool ok = add_header(d, "Content-Type: application/cloudevents+json; charset=utf-8") &&
              add_header(d, "Expect:") && add_header(d, "webhook-id: %s", d->id) &&
              add_header(d, "webhook-timestamp: %" PRId64, now_s) &&
              add_header(d, "Daybook-Group: %s", o->group) &&
              add_header(d, "Daybook-Attempt: %" PRIu32, d->attempt);
    if (ok && o->secret.n > 0) {
        struct buf b;
        buf_init(&b, 128);
        push_sign(&b, o->secret, bytes_of_string(d->id), now_s, buf_bytes(&d->body));
        ok = buf_status(&b) == ERR_OK &&
             add_header(d, "webhook-signature: %.*s", (int)b.n, (const char *)b.p);
        buf_done(&b);
    }
    return ok;
}

bool delivery_prepare(struct delivery *d, const struct delivery_options *options)
{
    CURL *c = d->curl = curl_easy_init();
    d->private_addresses = options->private_addresses;
    if (c == NULL || !add_headers(d, options)) {
        return false;
    }
    long timeout_ms = (long)(options->timeout_us / 1000);
    return curl_easy_setopt(c, CURLOPT_URL, options->url) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_USERAGENT, "daybook/" DAYBOOK_VERSION) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                            timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_HTTPHEADER, d->headers) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)d->body.p) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->body.n) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, discard_answer) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEDATA, d) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, d) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PRIVATE, d) == CURLE_OK;
}

/* ---- what came of it ---- */

/* What a failure is called, in status and with the event where that is parked. */
static void describe(const struct delivery *d, CURLcode code, long status,
                     char ret[PUSH_DETAIL_MAX])
{
    if (d->refused) {
        snprintf(ret, PUSH_DETAIL_MAX, "the address is not public (see push-private)");
    } else if (status != 0 && (code == CURLE_OK || !STATUS_OK(status))) {
        snprintf(ret, PUSH_DETAIL_MAX, "the receiver answered %ld", status);
    } else {
        snprintf(ret, PUSH_DETAIL_MAX, "%s", curl_easy_strerror(code));
    }
}

void delivery_read_end(struct delivery *d, CURLcode code, struct delivery_end *ret)
{
    long status = 0;
    curl_off_t after_s = 0;
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(d->curl, CURLINFO_RETRY_AFTER, &after_s);
    /* More than we wanted to read is no failure; less than it promised is. */
    bool enough = code == CURLE_WRITE_ERROR && d->answer_bytes > ANSWER_BYTES_MAX;
    *ret = (struct delivery_end){.retry_after_us = -1};
    ret->ok = (code == CURLE_OK || enough) && STATUS_OK(status);
    if (!ret->ok) {
        describe(d, code, status, ret->why);
        if ((status == 429 || status == 503) && after_s > 0) {
            after_s = after_s < RETRY_AFTER_MAX ? after_s : RETRY_AFTER_MAX;
            ret->retry_after_us = after_s * INT64_C(1000000);
        }
    }
}
