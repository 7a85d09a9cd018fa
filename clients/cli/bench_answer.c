/* bench_answer: see the header. */
#include "bench_answer.h"

#include <string.h>
#include <strings.h>

#define DIGITS_MAX 19

static const char position_key[] = "\"position\":";

void bench_answer_reset(struct bench_answer *a, enum bench_count count)
{
    /* The two buffers need no clearing: their lengths say what is in them. */
    memset(a, 0, offsetof(struct bench_answer, text));
    a->count = count;
    a->feed.ndjson = count == BENCH_COUNT_FEED;
}

/* ---- the head ---- */

/* Whether the line begins with the name, whose ':' is included; then the value is at *ret_value. */
static bool is_header(const char *line, size_t n, const char *name, const char **ret_value)
{
    size_t name_n = strlen(name);
    if (n < name_n || strncasecmp(line, name, name_n) != 0) {
        return false;
    }
    const char *value = line + name_n;
    while (value < line + n && (*value == ' ' || *value == '\t')) {
        value++;
    }
    *ret_value = value;
    return true;
}

static bool read_length(struct bench_answer *a, const char *value, const char *end)
{
    unsigned digits = 0;
    for (a->left = 0; value < end && *value >= '0' && *value <= '9'; value++, digits++) {
        a->left = a->left * 10 + (uint64_t)(*value - '0');
    }
    return digits > 0 && digits <= DIGITS_MAX;
}

/* Only names that begin with C or T are of interest. */
static bool read_header(struct bench_answer *a, const char *line, size_t n)
{
    const char *value;
    char first = (char)(line[0] | 0x20);
    if (first == 'c') {
        if (is_header(line, n, "content-length:", &value)) {
            return read_length(a, value, line + n);
        }
        if (is_header(line, n, "connection:", &value)) {
            a->close = line + n - value >= 5 && strncasecmp(value, "close", 5) == 0;
        }
    } else if (first == 't' && is_header(line, n, "transfer-encoding:", &value)) {
        a->chunked = line + n - value >= 7 && strncasecmp(value, "chunked", 7) == 0;
        return a->chunked;
    }
    return true;
}

/* p[0..n) is a whole head with its empty line. */
static bool read_head(struct bench_answer *a, const char *p, size_t n)
{
    if (n < 14 || memcmp(p, "HTTP/1.", 7) != 0 || p[8] != ' ') {
        return false;
    }
    for (size_t i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        a->status = a->status * 10 + (unsigned)(p[i] - '0');
    }
    const char *end = p + n;
    const char *line = memchr(p, '\n', n);
    while (line != NULL && ++line < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL || !read_header(a, line, (size_t)(next - line))) {
            return false;
        }
        line = next;
    }
    return true;
}

static void begin_body(struct bench_answer *a)
{
    bool empty = a->status == 204 || a->status == 304;
    if (a->chunked && !empty) {
        a->state = BENCH_ANSWER_CHUNK_SIZE;
        a->left = 0;
    } else {
        a->state = a->left > 0 && !empty ? BENCH_ANSWER_BODY : BENCH_ANSWER_DONE;
    }
}

/* Mostly the whole head is in one piece and is read where it is; else it is gathered. */
static size_t take_head(struct bench_answer *a, const char *p, size_t n)
{
    const char *head = p;
    size_t taken = n < BENCH_HEAD_MAX - a->head_n ? n : BENCH_HEAD_MAX - a->head_n;
    size_t head_n = n;
    if (a->head_n > 0) {
        memcpy(a->head + a->head_n, p, taken);
        head = a->head;
        head_n = a->head_n + taken;
    }
    const char *end = memmem(head, head_n, "\r\n\r\n", 4);
    if (end == NULL) {
        if (a->head_n == 0) {
            memcpy(a->head, p, taken);
        }
        a->head_n += taken;
        a->state = a->head_n < BENCH_HEAD_MAX ? BENCH_ANSWER_HEAD : BENCH_ANSWER_BROKEN;
        return taken;
    }
    head_n = (size_t)(end - head) + 4;
    taken = head_n - a->head_n;
    a->head_n = 0;
    if (!read_head(a, head, head_n)) {
        a->state = BENCH_ANSWER_BROKEN;
    } else if (a->status >= 200) {
        begin_body(a);
    } else { /* 100 Continue: the answer is still to come */
        struct bench_leases *leases = a->leases;
        bench_answer_reset(a, a->count);
        a->leases = leases;
    }
    return taken;
}

/* ---- counting ---- */

static void count_lines(struct bench_answer *a, const char *p, size_t n)
{
    const char *end = p + n;
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        a->events++;
        p++;
    }
}

/* Skips what is left of a field's value, else reads one byte of a tag or a length. The tag of a
 * repeated message in EventBatch is one byte. */
static void count_fields(struct bench_answer *a, const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        if (a->field_left > 0) {
            uint64_t step =
                (uint64_t)(end - p) < a->field_left ? (uint64_t)(end - p) : a->field_left;
            p += step;
            a->field_left -= step;
            continue;
        }
        unsigned byte = (unsigned char)*p++;
        if (!a->in_length) {
            a->in_length = true;
            a->events++;
            a->varint = a->varint_bits = 0;
            continue;
        }
        a->varint |= (uint64_t)(byte & 0x7f) << a->varint_bits;
        a->varint_bits += 7;
        if ((byte & 0x80) == 0) {
            a->in_length = false;
            a->field_left = a->varint;
        } else if (a->varint_bits > 56) {
            a->state = BENCH_ANSWER_BROKEN;
            return;
        }
    }
}

static void count_json(struct bench_answer *a, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == position_key[a->matched]) {
            a->matched++;
        } else {
            a->matched = p[i] == '"';
        }
        if (a->matched == sizeof position_key - 1) {
            a->events++;
            a->matched = 0;
        }
    }
}

static void take_body(struct bench_answer *a, const char *p, size_t n)
{
    a->body_bytes += n;
    if (a->text_n < BENCH_TEXT_MAX) {
        size_t more = n < BENCH_TEXT_MAX - a->text_n ? n : BENCH_TEXT_MAX - a->text_n;
        memcpy(a->text + a->text_n, p, more);
        a->text_n += more;
    }
    switch (a->count) {
    case BENCH_COUNT_NONE:
        break;
    case BENCH_COUNT_LINES:
        count_lines(a, p, n);
        break;
    case BENCH_COUNT_FIELDS:
        count_fields(a, p, n);
        break;
    case BENCH_COUNT_JSON:
        count_json(a, p, n);
        break;
    case BENCH_COUNT_SSE:
    case BENCH_COUNT_FEED:
        bench_feed_take(&a->feed, p, n);
        a->events = a->feed.events;
        break;
    case BENCH_COUNT_LEASES:
        bench_leases_take(a->leases, p, n);
        a->events = a->leases->n;
        break;
    }
}

/* ---- the body ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* A byte of the line "<hex>[;extension]\r\n". The digits are counted in line until something
 * else. */
static void take_chunk_size(struct bench_answer *a, char c)
{
    int digit = hex_digit(c);
    if (c == '\n' && a->line == 0) {
        a->state = BENCH_ANSWER_BROKEN;
    } else if (c == '\n') {
        a->state = a->left == 0 ? BENCH_ANSWER_TRAILER : BENCH_ANSWER_CHUNK;
        a->line = 0;
        a->in_extension = false;
    } else if (digit < 0 || a->in_extension) {
        a->in_extension = true;
    } else {
        a->left = a->left << 4 | (unsigned)digit;
        if (++a->line > 15) {
            a->state = BENCH_ANSWER_BROKEN;
        }
    }
}

static void take_trailer(struct bench_answer *a, char c)
{
    if (c == '\n') {
        a->state = a->line == 0 ? BENCH_ANSWER_DONE : BENCH_ANSWER_TRAILER;
        a->line = 0;
    } else if (c != '\r') {
        a->line++;
    }
}

/* Takes at least one byte. */
static size_t take_some(struct bench_answer *a, const char *p, size_t n)
{
    size_t some = n < a->left ? n : (size_t)a->left;
    switch (a->state) {
    case BENCH_ANSWER_HEAD:
        return take_head(a, p, n);
    case BENCH_ANSWER_BODY:
    case BENCH_ANSWER_CHUNK:
        a->left -= some;
        if (a->left == 0) {
            a->state = a->chunked ? BENCH_ANSWER_CHUNK_END : BENCH_ANSWER_DONE;
        }
        take_body(a, p, some);
        return some;
    case BENCH_ANSWER_CHUNK_END:
        if (*p == '\n') {
            a->state = BENCH_ANSWER_CHUNK_SIZE;
        } else if (*p != '\r') {
            a->state = BENCH_ANSWER_BROKEN;
        }
        return 1;
    case BENCH_ANSWER_CHUNK_SIZE:
        take_chunk_size(a, *p);
        return 1;
    case BENCH_ANSWER_TRAILER:
        take_trailer(a, *p);
        return 1;
    case BENCH_ANSWER_DONE:
    case BENCH_ANSWER_BROKEN:
        break;
    }
    return n;
}

size_t bench_answer_feed(struct bench_answer *a, const char *p, size_t n)
{
    size_t taken = 0;
    while (taken < n && a->state < BENCH_ANSWER_DONE) {
        taken += take_some(a, p + taken, n - taken);
    }
    if (a->state == BENCH_ANSWER_DONE) {
        a->text[a->text_n] = '\0';
        if (a->in_length || a->field_left > 0) { /* it ended within an event */
            a->state = BENCH_ANSWER_BROKEN;
        }
    }
    return taken;
}
