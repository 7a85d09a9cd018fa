/* document_follow: one document, live: server-sent events, taken apart as they come. `after` moves
 * on with every `id`, so that a connection made anew gets the document only where it has changed.
 */
#include "document_int.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_STREAM      "text/event-stream"
#define SILENCE_MS        45000 /* three heartbeats */
#define MESSAGE_BYTES_MAX ((size_t)64 << 20)

struct daybook_document_follower {
    struct daybook *db; /* borrowed */
    struct daybook_arena kept, arena;
    const char *projection, *key; /* in `kept` */
    struct daybook_transfer transfer;
    struct daybook_shape shape;
    struct daybook_buffer url;
    size_t taken; /* bytes at the front of the transfer's body */
    uint64_t after;
    struct daybook_document document;
    struct daybook_retry retry;
    enum daybook_result failed;
};

static bool start(struct daybook_document_follower *f)
{
    char mark = '?';
    f->taken = 0;
    f->transfer.timeout_ms = SILENCE_MS;
    return daybook_document_url(f->db, &f->url, f->projection, f->key) &&
           (f->after == 0 || daybook_url_number(&f->url, &mark, "after", f->after)) &&
           daybook_url_end(&f->url) &&
           daybook_transfer_start(&f->transfer, (const char *)f->url.p, NULL);
}

static bool prepare(struct daybook_document_follower *f, const char *projection, const char *key)
{
    f->projection = daybook_arena_copy(&f->kept, projection, strlen(projection));
    f->key = daybook_arena_copy(&f->kept, key, strlen(key));
    f->shape = (struct daybook_shape){.media = EVENT_STREAM};
    f->shape.headers = curl_slist_append(NULL, "Accept: " EVENT_STREAM);
    daybook_buffer_init(&f->url, MESSAGE_BYTES_MAX);
    bool ok = daybook_transfer_init(&f->transfer, f->db, MESSAGE_BYTES_MAX);
    f->transfer.shape = &f->shape;
    return ok && f->projection != NULL && f->key != NULL && f->shape.headers != NULL;
}

enum daybook_result daybook_document_follow(struct daybook *db, const char *projection,
                                            const char *key, struct daybook_document_follower **ret)
{
    if (projection == NULL || projection[0] == '\0' || key == NULL || key[0] == '\0') {
        return daybook_fail_argument(db, "the projection or the document has no name");
    }
    struct daybook_document_follower *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return daybook_fail_memory(db);
    }
    f->db = db;
    if (!prepare(f, projection, key) || !start(f)) {
        daybook_document_follow_free(f);
        return daybook_fail_memory(db);
    }
    *ret = f;
    return DAYBOOK_OK;
}

void daybook_document_follow_free(struct daybook_document_follower *f)
{
    if (f != NULL) {
        daybook_transfer_done(&f->transfer);
        daybook_buffer_done(&f->url);
        curl_slist_free_all(f->shape.headers);
        daybook_arena_done(&f->kept);
        daybook_arena_done(&f->arena);
        free(f);
    }
}

/* ---- messages ---- */

/* The value of the line, where that is the field; p is NULL: it is another. */
static struct daybook_bytes value_of(struct daybook_bytes line, const char *field)
{
    size_t n = strlen(field);
    bool is = line.n >= n && memcmp(line.p, field, n) == 0;
    return is ? (struct daybook_bytes){(const uint8_t *)line.p + n, line.n - n}
              : (struct daybook_bytes){0};
}

static uint64_t number_of(struct daybook_bytes digits)
{
    const uint8_t *p = digits.p;
    uint64_t n = 0;
    for (size_t i = 0; i < digits.n && p[i] >= '0' && p[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(p[i] - '0');
    }
    return n;
}

/* *ret_taken: it is about the document; else a heartbeat. */
static enum daybook_result take(struct daybook_document_follower *f, struct daybook_bytes message,
                                bool *ret_taken)
{
    struct daybook_bytes data = {0};
    /* The server was there: it is waited for, however long it is away. */
    f->retry = (struct daybook_retry){.limit_ms = DAYBOOK_RETRY_FOREVER};
    while (message.n > 0) {
        const uint8_t *p = message.p, *end = memchr(p, '\n', message.n);
        size_t n = end == NULL ? message.n : (size_t)(end - p);
        struct daybook_bytes line = {p, n};
        struct daybook_bytes id = value_of(line, "id: "), text = value_of(line, "data: ");
        f->after = id.p != NULL ? number_of(id) : f->after;
        data = text.p != NULL ? text : data;
        n += end != NULL;
        message = (struct daybook_bytes){p + n, message.n - n};
    }
    *ret_taken = data.p != NULL;
    daybook_arena_reset(&f->arena);
    return data.p == NULL ? DAYBOOK_OK
                          : daybook_json_document(f->db, data, &f->arena, &f->document);
}

/* An answer that is no 200 is a problem: it is waited for to its end. */
static bool find_message(const struct daybook_document_follower *f, struct daybook_bytes *ret)
{
    long status = 0;
    (void)curl_easy_getinfo(f->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    size_t left = f->transfer.body.n - f->taken;
    const uint8_t *p = left == 0 ? NULL : f->transfer.body.p + f->taken;
    const uint8_t *end = p == NULL || status != 200 ? NULL : memmem(p, left, "\n\n", 2);
    if (end == NULL) {
        return false;
    }
    *ret = (struct daybook_bytes){p, (size_t)(end - p) + 2};
    return true;
}

/* An answer that has ended as it should may be the server's last word before a restart. */
static enum daybook_result answer_is_over(struct daybook_document_follower *f)
{
    bool ended = daybook_transfer_ok(&f->transfer);
    bool again = ended
                     ? daybook_http_wait(&f->transfer, "the server has ended the answer", &f->retry)
                     : daybook_http_retry(&f->transfer, &f->retry);
    if (again) {
        return start(f) ? DAYBOOK_OK : daybook_fail_memory(f->db);
    }
    return ended && !f->db->interrupted ? daybook_fail(f->db, DAYBOOK_ERR_TRANSPORT,
                                                       "the server has ended the answer", "", "")
                                        : daybook_fail_transfer(&f->transfer);
}

enum daybook_result daybook_document_follow_next(struct daybook_document_follower *f,
                                                 const struct daybook_document **ret)
{
    while (f->failed == DAYBOOK_OK) {
        struct daybook_bytes message;
        bool taken = false;
        if (find_message(f, &message)) {
            f->failed = take(f, message, &taken);
            f->taken += message.n;
        } else if (f->transfer.running) {
            daybook_buffer_drop(&f->transfer.body, f->taken);
            f->taken = 0;
            daybook_transfer_wait(&f->transfer, f->transfer.body.n);
        } else {
            f->failed = answer_is_over(f);
        }
        if (taken && f->failed == DAYBOOK_OK) {
            *ret = &f->document;
            return DAYBOOK_OK;
        }
    }
    return f->failed;
}
