/* import_send: see import_send.h. */
#include "import_send.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES ((size_t)1 << 20) /* is enough */

struct import_sender {
    struct daybook *db;          /* borrowed; NULL: send nothing */
    struct daybook_batch *batch; /* owned, as all below */
    struct daybook_arena arena;
    struct daybook_new_event *events;
    const char **streams; /* of events[i], as lines[i] */
    uint64_t *lines;
    size_t n, max;
    size_t bytes;
    size_t sent; /* of the gathered events: how many are in the store */
    struct import_totals totals;
};

static enum daybook_result send_range(struct import_sender *s, size_t first, size_t end);
static enum daybook_result fill_batch(struct import_sender *s, size_t first, size_t end);
static size_t run_end(const struct import_sender *s, size_t first, size_t end);
static bool may_be_one_event(enum daybook_result result);
static void count(struct import_sender *s, size_t first, size_t end,
                  const struct daybook_appended *results, size_t results_n);

struct import_sender *import_sender_new(struct daybook *db, size_t events_max)
{
    struct import_sender *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->db = db;
    s->max = events_max;
    s->batch = db != NULL ? daybook_batch_new(db) : NULL;
    s->events = calloc(events_max, sizeof *s->events);
    s->streams = calloc(events_max, sizeof *s->streams);
    s->lines = calloc(events_max, sizeof *s->lines);
    if ((db != NULL && s->batch == NULL) || s->events == NULL || s->streams == NULL ||
        s->lines == NULL) {
        import_sender_free(s);
        return NULL;
    }
    return s;
}

void import_sender_free(struct import_sender *s)
{
    if (s != NULL) {
        daybook_batch_free(s->batch);
        daybook_arena_done(&s->arena);
        free(s->events);
        free(s->streams);
        free(s->lines);
        free(s);
    }
}

struct daybook_arena *import_sender_arena(struct import_sender *s)
{
    return &s->arena;
}

struct import_totals import_sender_totals(const struct import_sender *s)
{
    return s->totals;
}

uint64_t import_sender_line(const struct import_sender *s)
{
    return s->sent < s->n ? s->lines[s->sent] : 0;
}

enum daybook_result import_sender_add(struct import_sender *s, const struct import_event *event)
{
    s->events[s->n] = event->event;
    s->streams[s->n] = event->stream;
    s->lines[s->n] = event->line;
    s->n++;
    s->bytes += event->event.data.n + event->event.metadata.n + strlen(event->stream) +
                strlen(event->event.type) + 64;
    return s->n == s->max || s->bytes >= BATCH_BYTES ? import_sender_flush(s) : DAYBOOK_OK;
}

enum daybook_result import_sender_flush(struct import_sender *s)
{
    s->sent = 0;
    enum daybook_result result = send_range(s, 0, s->n);
    if (result == DAYBOOK_OK) {
        s->n = s->bytes = s->sent = 0;
        daybook_arena_reset(&s->arena);
    }
    return result;
}

/* As deep as the logarithm of the number of events. */
static enum daybook_result send_range(struct import_sender *s, size_t first, size_t end)
{
    const struct daybook_appended *results = NULL;
    size_t results_n = 0;
    if (first == end || s->db == NULL) {
        s->totals.appended += end - first;
        return DAYBOOK_OK;
    }
    enum daybook_result result = fill_batch(s, first, end);
    if (result == DAYBOOK_OK) {
        result = daybook_batch_send(s->batch, &results, &results_n);
    }
    if (result == DAYBOOK_OK) {
        count(s, first, end, results, results_n);
        s->sent = end;
        return DAYBOOK_OK;
    }
    if (end - first == 1 || !may_be_one_event(result)) {
        return result;
    }
    size_t middle = first + (end - first) / 2;
    result = send_range(s, first, middle);
    return result == DAYBOOK_OK ? send_range(s, middle, end) : result;
}

/* Whether the server refused what is in the request, rather than not taking any. */
static bool may_be_one_event(enum daybook_result result)
{
    return result == DAYBOOK_ERR_PARTIAL_DUPLICATE || result == DAYBOOK_ERR_ID_REUSED ||
           result == DAYBOOK_ERR_REJECTED || result == DAYBOOK_ERR_DELETED;
}

static enum daybook_result fill_batch(struct import_sender *s, size_t first, size_t end)
{
    const struct daybook_expect any = {.kind = DAYBOOK_ANY};
    daybook_batch_clear(s->batch);
    while (first < end) {
        size_t run = run_end(s, first, end);
        enum daybook_result result =
            daybook_batch_append(s->batch, s->streams[first], any, &s->events[first], run - first);
        if (result != DAYBOOK_OK) {
            return result;
        }
        first = run;
    }
    return DAYBOOK_OK;
}

/* The end of the events from `first` on that are of one stream. */
static size_t run_end(const struct import_sender *s, size_t first, size_t end)
{
    size_t run = first + 1;
    while (run < end && strcmp(s->streams[first], s->streams[run]) == 0) {
        run++;
    }
    return run;
}

static void count(struct import_sender *s, size_t first, size_t end,
                  const struct daybook_appended *results, size_t results_n)
{
    for (size_t i = 0; first < end && i < results_n; i++) {
        size_t run = run_end(s, first, end);
        *(results[i].duplicate ? &s->totals.duplicates : &s->totals.appended) += run - first;
        first = run;
    }
}
