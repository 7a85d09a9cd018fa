/* page: bodies and headers of pages. */
#include "server/page.h"

#include "server/cloudevents.h"
#include "server/json.h"

#include <stdio.h>

/* A longer link, which only long filters make, is left out: a response's header has little room. */
#define LINK_BYTES_MAX 4096

static void set_number(struct http_request *rq, const char *name, uint64_t number);
static void set_link(struct http_request *rq, const struct page_end *end);

void page_begin(struct page *p)
{
    p->events = 0;
    if (p->encoding == ENCODING_JSON) {
        buf_put_string(p->out, "{\"events\":[");
    } else if (p->encoding == ENCODING_CE_JSON_BATCH) {
        buf_put_byte(p->out, '[');
    }
}

static err_t put_cloudevent(struct page *p, const struct event *e)
{
    struct arena scratch;
    arena_init(&scratch, CLOUDEVENTS_CHUNK_BYTES, CLOUDEVENTS_SCRATCH_BYTES);
    err_t err = p->encoding == ENCODING_CE_JSON_BATCH
                    ? cloudevents_put_json(p->out, &scratch, e)
                    : cloudevents_put_batch_entry(p->out, &scratch, e);
    arena_done(&scratch);
    return err;
}

err_t page_put(struct page *p, const struct event *e)
{
    if (p->events++ > 0 && p->encoding != ENCODING_CE_PROTOBUF_BATCH) {
        buf_put_byte(p->out, ',');
    }
    if (p->encoding != ENCODING_JSON) {
        return put_cloudevent(p, e);
    }
    json_put_event(p->out, e);
    return buf_status(p->out);
}

void page_finish(struct page *p, struct http_request *rq, const struct page_end *end)
{
    if (p->encoding == ENCODING_JSON) {
        buf_put_string(p->out, "],\"next\":");
        buf_put_u64(p->out, end->next);
        buf_put_string(p->out, end->end ? ",\"end\":true,\"head\":" : ",\"end\":false,\"head\":");
        buf_put_u64(p->out, end->head);
        if (end->from_snapshot) {
            buf_put_string(p->out, ",\"after\":");
            buf_put_u64(p->out, end->after);
        }
        buf_put_byte(p->out, '}');
        return;
    }
    if (p->encoding == ENCODING_CE_JSON_BATCH) {
        buf_put_byte(p->out, ']');
    }
    set_number(rq, "Daybook-Next", end->next);
    set_number(rq, "Daybook-Head", end->head);
    http_reply_header(rq, "Daybook-End", end->end ? "true" : "false");
    if (!end->end) {
        set_link(rq, end);
    }
}

static void set_number(struct http_request *rq, const char *name, uint64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    http_reply_header(rq, name, digits);
}

static void put_encoded(struct buf *b, struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            buf_put_byte(b, c);
        } else {
            buf_put_format(b, "%%%02X", c);
        }
    }
}

/* The same query with another place, relative to the request's URL (RFC 8288). */
static void set_link(struct http_request *rq, const struct page_end *end)
{
    struct buf b;
    buf_init(&b, LINK_BYTES_MAX);
    buf_put_string(&b, end->backward ? "<?before=" : "<?after=");
    buf_put_u64(&b, end->next);
    for (size_t i = 0; i < http_query_count(rq); i++) {
        struct bytes name = http_query_name(rq, i);
        if (bytes_equal(name, BYTES_LITERAL("after")) ||
            bytes_equal(name, BYTES_LITERAL("before"))) {
            continue;
        }
        buf_put_byte(&b, '&');
        put_encoded(&b, name);
        buf_put_byte(&b, '=');
        put_encoded(&b, http_query_value(rq, i));
    }
    buf_put_string(&b, ">; rel=\"next\"");
    buf_put_byte(&b, '\0');
    if (buf_status(&b) == ERR_OK) {
        http_reply_header(rq, "Link", (const char *)b.p);
    }
    buf_done(&b);
}
