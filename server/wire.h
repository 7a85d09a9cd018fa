/* wire: events and what is said between them, as they stand in an answer that is streamed. The one
 * place that knows the encodings of streams.
 *
 * Any thread; nothing is shared. Growth failures stick in the buf. */
#ifndef DAYBOOK_SERVER_WIRE_H
#define DAYBOOK_SERVER_WIRE_H

#include "server/negotiate.h"
#include "storage/base/buf.h"
#include "storage/store.h"

/* How a stream of events is written. */
struct wire {
    enum encoding encoding; /* not ENCODING_JSON */
    bool of_stream;         /* numbered by revisions, else by positions */
};

/* ERR_CORRUPT: the record does not decode. Else the buf's status. */
MUST_CHECK err_t wire_put_event(struct buf *b, struct wire wire, const struct store_record *record);

/* What a live stream says besides events. */
enum wire_control_kind {
    WIRE_CAUGHT_UP, /* once, after history */
    WIRE_HEARTBEAT, /* where nothing has been sent for a while */
};
struct wire_control {
    enum wire_control_kind kind;
    uint64_t position; /* in the log: nothing up to here is missing in what was sent */
    uint64_t revision; /* the same in the stream that is read; not used for the log */
};
void wire_put_control(struct buf *b, struct wire wire, const struct wire_control *control);

#endif
