/* hide: what a view must not show: events below the first revision of their stream that can be
 * read, and the data of redacted ones.
 *
 * The view's thread. Nothing is looked up while no stream has a life and no redaction waits; else a
 * bit filter over the names of streams that have a life tells most others apart. */
#ifndef DAYBOOK_STORAGE_HIDE_H
#define DAYBOOK_STORAGE_HIDE_H

#include "storage/life.h"
#include "storage/store_int.h"

/* Fills the filter and counts the redactions that wait, at a start. */
MUST_CHECK err_t hide_load(struct store *s);
void hide_forget(struct store *s);
/* Says that the stream has a life, before any view can see it. */
void hide_mark(struct store *s, struct bytes stream);

/* The stream's life in the view; ERR_NOT_FOUND: it has none. Borrowed from the view. */
MUST_CHECK err_t view_life(struct store_view *v, struct bytes stream, struct life *ret);

/* The first revision that can be read of a stream with this head and life, at the view's time;
 * head + 1: none. */
MUST_CHECK err_t view_first_revision(struct store_view *v, const struct life *life, uint64_t head,
                                     uint64_t *ret);

/* What can be read of a stream whose head in the view is `head`: all from `first` on. */
struct stream_window {
    uint64_t first;
    bool deleted;
    bool has_life;
    struct life life;
};
MUST_CHECK err_t view_window(struct store_view *v, struct bytes stream, uint64_t head,
                             struct stream_window *ret);

/* Whether a record must not be shown. */
MUST_CHECK err_t view_hides(struct store_view *v, struct bytes body, uint32_t flags, bool *ret);

/* Forgets what was remembered of streams: something has changed in the view. */
void view_forget_hidden(struct store_view *v);

/* Whether a redaction of the event at `position` waits to be done. */
MUST_CHECK err_t view_is_redacted(struct store_view *v, uint64_t position, bool *ret);

#endif
