/* import_send: gathers events and appends them, many streams in one request, in their order.
 *
 * A request is appended wholly or not at all. A request that the server refuses is cut in two
 * halves that are sent one after the other, and so on, down to single events: so what comes before
 * an event that cannot be appended is appended, nothing after it is, and that event's line is
 * known; and a request of which a part is there already, because an import that was cut short had
 * other bounds, or because an id comes twice in the file, is resolved into duplicates and new
 * events. One thread. */
#ifndef DAYBOOK_CLI_IMPORT_SEND_H
#define DAYBOOK_CLI_IMPORT_SEND_H

#include "import_line.h"

struct import_sender;

struct import_totals {
    uint64_t appended;
    uint64_t duplicates;
};

/* Sends through `db`, which is borrowed, at most events_max events at a time; a NULL db sends
 * nothing and counts all as appended. NULL: no memory. */
struct import_sender *import_sender_new(struct daybook *db, size_t events_max);
void import_sender_free(struct import_sender *s);

/* Where the memory of the events to be added is; taken back after they were sent. */
struct daybook_arena *import_sender_arena(struct import_sender *s);

/* Takes an event whose memory is in the arena and which has a stream and an id, and sends what has
 * gathered when that is enough. Anything but OK: the problem is the handle's, and
 * import_sender_line says at which line it was. */
enum daybook_result import_sender_add(struct import_sender *s, const struct import_event *event);
/* Sends what has gathered. */
enum daybook_result import_sender_flush(struct import_sender *s);

/* The first line that is not in the store: after a failure the one it was about; else the first of
 * those that have gathered, 0 where there are none. */
uint64_t import_sender_line(const struct import_sender *s);
struct import_totals import_sender_totals(const struct import_sender *s);

#endif
