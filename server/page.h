/* page: how a page of events is written: a JSON object that says how to go on, or a batch of
 * CloudEvents, of which the headers say it.
 *
 * Loop's thread. */
#ifndef DAYBOOK_SERVER_PAGE_H
#define DAYBOOK_SERVER_PAGE_H

#include "server/reply.h"
#include "storage/event.h"

/* The encodings of pages, as bits for reply_negotiate. */
#define PAGE_OFFERED \
    (OFFER(ENCODING_JSON) | OFFER(ENCODING_CE_JSON_BATCH) | OFFER(ENCODING_CE_PROTOBUF_BATCH))

static inline bool page_is(enum encoding encoding)
{
    return (OFFER(encoding) & PAGE_OFFERED) != 0;
}

struct page {
    enum encoding encoding;
    struct buf *out;
    size_t events; /* that were put */
};

/* Where a page ends. */
struct page_end {
    bool backward;
    uint64_t next; /* the `after` or `before` of the next page */
    bool end;      /* there is nothing more now */
    uint64_t head;
    bool from_snapshot; /* the page begins after the snapshot, at revision `after` */
    uint64_t after;
};

void page_begin(struct page *p);
MUST_CHECK err_t page_put(struct page *p, const struct event *e);
/* Ends the body; of CloudEvents it sets the headers Daybook-Next, Daybook-End, Daybook-Head, and
 * Link to the next page where there is one. */
void page_finish(struct page *p, struct http_request *rq, const struct page_end *end);

#endif
