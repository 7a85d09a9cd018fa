/* range: see range.h. */
#include "range.h"

#include "storage/record.h"

/* A damaged row of the log has at most 512 records. */
#define DAMAGED_MAX 4096

static err_t time_of(struct store_view *v, struct source *stream, uint64_t number, int64_t *ret)
{
    uint64_t position = number;
    struct bytes body;
    uint32_t flags;
    struct record_head head;
    err_t err = stream == NULL ? ERR_OK : source_seek_revision(stream, number, &position);
    if (err == ERR_OK) {
        err = view_record(v, position, &body, &flags);
    }
    if (err == ERR_OK) {
        err = record_peek(body, &head);
    }
    if (err == ERR_OK) {
        *ret = head.time_us;
    }
    return err;
}

/* The time of the first event from *number on that can be read; moves *number to it. INT64_MAX
 * where none can up to `high`. */
static err_t time_from(struct store_view *v, struct source *stream, uint64_t *number, uint64_t high,
                       int64_t *ret)
{
    *ret = INT64_MAX;
    for (unsigned damaged = 0; damaged < DAMAGED_MAX && *number <= high; damaged++) {
        err_t err = time_of(v, stream, *number, ret);
        if (err != ERR_CORRUPT) {
            return err;
        }
        ++*number;
    }
    return *number > high ? ERR_OK : ERR_CORRUPT;
}

err_t range_find(struct store_view *v, struct source *stream, uint64_t low, uint64_t high,
                 int64_t time_us, uint64_t *ret)
{
    uint64_t end = high + 1;
    /* A read that goes on starts inside its range: that is tried first. */
    for (uint64_t middle = low; low < end; middle = low + (end - low) / 2) {
        uint64_t read = middle;
        int64_t time;
        err_t err = time_from(v, stream, &read, end - 1, &time);
        if (err != ERR_OK) {
            return err;
        }
        if (time < time_us) {
            low = read + 1;
        } else {
            end = middle; /* damaged ones before it may be early: they cannot be read anyway */
        }
    }
    *ret = low;
    return ERR_OK;
}
