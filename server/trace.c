/* trace: checks the header and puts it into metadata. */
#include "server/trace.h"

#include <stdio.h>

#define PARENT_BYTES   55 /* of version 00: 00-<32>-<16>-<2> */
#define PARENT_MAX     256
#define METADATA_BYTES (PARENT_MAX + 32)

static bool is_hex(struct bytes text, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        uint8_t c = text.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool is_zero(struct bytes text, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        if (text.p[i] != '0') {
            return false;
        }
    }
    return true;
}

/* What stands behind the flags, which a later version may have; it ends up inside a JSON string. */
static bool is_plain(struct bytes text, size_t at)
{
    for (size_t i = at; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (!is_hex(text, i, 1) && c != '-') {
            return false;
        }
    }
    return true;
}

bool trace_parent_is_valid(struct bytes text)
{
    if (text.n < PARENT_BYTES || text.n > PARENT_MAX || text.p[2] != '-' || text.p[35] != '-' ||
        text.p[52] != '-' || !is_hex(text, 0, 2) || !is_hex(text, 3, 32) || !is_hex(text, 36, 16) ||
        !is_hex(text, 53, 2) || is_zero(text, 3, 32) || is_zero(text, 36, 16)) {
        return false;
    }
    if (bytes_equal(bytes_of(text.p, 2), BYTES_LITERAL("00"))) {
        return text.n == PARENT_BYTES;
    }
    return !bytes_equal(bytes_of(text.p, 2), BYTES_LITERAL("ff")) &&
           (text.n == PARENT_BYTES || text.p[PARENT_BYTES] == '-') && is_plain(text, PARENT_BYTES);
}

struct bytes trace_parent(struct http_request *rq)
{
    struct bytes text = http_header(rq, "traceparent");
    return text.p != NULL && trace_parent_is_valid(text) ? text : BYTES_NONE;
}

/* {"traceparent":"…"} */
static bool make_alone(struct draft *d, struct bytes parent, struct bytes *ret)
{
    char text[METADATA_BYTES];
    int n = snprintf(text, sizeof text, "{\"traceparent\":\"%.*s\"}", BYTES_ARGS(parent));
    return arena_copy(d->arena, bytes_of(text, (size_t)n), ret) == ERR_OK;
}

/* {"traceparent":"…", and the members that are there. */
static bool put_before(struct draft *d, struct bytes parent, struct bytes *metadata)
{
    struct buf b;
    buf_init(&b, metadata->n + METADATA_BYTES);
    bool empty = bytes_equal(*metadata, BYTES_LITERAL("{}"));
    buf_put_format(&b, "{\"traceparent\":\"%.*s\"%s", BYTES_ARGS(parent), empty ? "" : ",");
    buf_put(&b, bytes_of(metadata->p + 1, metadata->n - 1));
    bool ok = buf_status(&b) == ERR_OK && arena_copy(d->arena, buf_bytes(&b), metadata) == ERR_OK;
    buf_done(&b);
    return ok;
}

static bool has_parent(struct bytes metadata)
{
    return memmem(metadata.p, metadata.n, "\"traceparent\"", 13) != NULL;
}

bool trace_keep(struct http_request *rq, struct draft *d, bool cloudevents)
{
    struct bytes parent = trace_parent(rq), alone = BYTES_NONE;
    if (parent.n == 0) {
        return true;
    }
    bool ok = true;
    for (struct draft_append *a = d->appends.first; ok && a != NULL; a = a->next) {
        for (struct draft_event *e = a->first; ok && e != NULL; e = e->next) {
            if (e->fields.metadata.n == 0) {
                ok = alone.n > 0 || make_alone(d, parent, &alone);
                e->fields.metadata = alone;
                e->metadata_is_json = true;
            } else if (cloudevents && !has_parent(e->fields.metadata)) {
                ok = put_before(d, parent, &e->fields.metadata);
            }
        }
    }
    return ok || draft_reject(d, PROBLEM_OVERLOADED, (struct draft_place){-1, -1, -1}, "",
                              "there is not enough memory for this request");
}
