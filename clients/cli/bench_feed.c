/* bench_feed: see the header. */
#include "bench_feed.h"

#include <string.h>

static bool begins(const char *line, size_t n, const char *text)
{
    size_t text_n = strlen(text);
    return n >= text_n && memcmp(line, text, text_n) == 0;
}

/* The digits at the front. */
static uint64_t read_number(const char *p, size_t n)
{
    uint64_t number = 0;
    for (size_t i = 0; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(p[i] - '0');
    }
    return number;
}

static void count_event(struct bench_feed *f, uint64_t number)
{
    f->gaps += f->number > 0 && number != f->number + 1;
    f->number = number;
    f->events++;
}

/* ---- server-sent events ---- */

/* An empty line ends what the lines before it have said. */
static void dispatch(struct bench_feed *f)
{
    if (f->is_control) {
        f->caught_up++;
    } else if (f->has_data) {
        count_event(f, f->id);
    }
    f->has_data = f->is_control = false;
}

static void take_sse_line(struct bench_feed *f, const char *line, size_t n)
{
    if (n == 0) {
        dispatch(f);
    } else if (begins(line, n, "data:")) {
        f->has_data = true;
    } else if (begins(line, n, "id: ")) {
        f->id = read_number(line + 4, n - 4);
    } else if (begins(line, n, "event: caught_up")) {
        f->is_control = true;
    }
}

/* ---- NDJSON ---- */

static void take_ndjson_line(struct bench_feed *f, const char *line, size_t n)
{
    static const char position[] = "{\"position\":";
    size_t position_n = sizeof position - 1;
    if (begins(line, n, position)) {
        count_event(f, read_number(line + position_n, n - position_n));
    } else if (begins(line, n, "{\"control\":\"caught_up\"")) {
        f->caught_up++;
    }
}

/* ---- both ---- */

static void take_line(struct bench_feed *f, const char *line, size_t n)
{
    f->ndjson ? take_ndjson_line(f, line, n) : take_sse_line(f, line, n);
}

/* A part of a line: its first bytes are kept until its end is there. */
static void keep(struct bench_feed *f, const char *p, size_t n)
{
    size_t more = n < BENCH_FEED_HEAD - f->head_n ? n : BENCH_FEED_HEAD - f->head_n;
    memcpy(f->head + f->head_n, p, more);
    f->head_n += more;
}

void bench_feed_take(struct bench_feed *f, const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        if (line_end == NULL) {
            keep(f, p, (size_t)(end - p));
            return;
        }
        if (f->head_n > 0) {
            keep(f, p, (size_t)(line_end - p));
            take_line(f, f->head, f->head_n);
            f->head_n = 0;
        } else {
            take_line(f, p, (size_t)(line_end - p));
        }
        p = line_end + 1;
    }
}
